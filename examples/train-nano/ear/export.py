"""Writes the finished ear as a Whisper folder of transformers, half precision, from the averaged weights.

    python -m ear.export --work WORK/ear --out FOLDER
May be run on a saved state at any moment. The folder appears at once and complete.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from transformers import GenerationConfig, WhisperFeatureExtractor

from ear.features import BANDS
from ear.model import Learner
from ear.tokenizer import POSITIONS, Words
from export import averaged, weigh

SECONDS = POSITIONS // 50


def generation_config(words):
    """What transformers and Atelier read of tokens that are no text."""
    return GenerationConfig(
        is_multilingual=True, lang_to_id={f"<|{code}|>": i for code, i in words.languages.items()},
        task_to_id={"transcribe": words.transcribe, "translate": words.special("<|translate|>")},
        no_timestamps_token_id=words.untimed, prev_sot_token_id=words.previous, max_initial_timestamp_index=50,
        begin_suppress_tokens=[words.special("Ġ")], suppress_tokens=[], decoder_start_token_id=words.start,
        bos_token_id=words.end, eos_token_id=words.end, pad_token_id=words.end, max_length=128)


def write(state, words, tokenizer, folder):
    """Network, front end, generation and tokenizer."""
    whisper = Learner(words).whisper
    whisper.load_state_dict(averaged(state["average"], "whisper"))
    whisper.generation_config = generation_config(words)
    whisper.half().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config.pop("_name_or_path", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    WhisperFeatureExtractor(feature_size=BANDS, chunk_length=SECONDS).save_pretrained(folder)
    for file in tokenizer.glob("*.json"):
        shutil.copy(file, folder / file.name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    state = torch.load(args.work / "state.pt", map_location="cpu")
    new = args.out.with_name(args.out.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    write(state, Words(args.work / "tokenizer"), args.work / "tokenizer", new)
    shutil.rmtree(args.out, ignore_errors=True)
    new.rename(args.out)
    print(f"{weigh(args.out):>10} bytes in all, after {state['step']} steps and {state['spent']:.0f} s")


if __name__ == "__main__":
    main()
