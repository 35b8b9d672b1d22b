"""Trains the tokenizer: Whisper's byte-level BPE, on spoken commands in both languages, and its special tokens.

    python -m ear.tokenizer --out WORK/ear/tokenizer
All 256 bytes are in the vocabulary, so any text encodes. The order of special tokens is OpenAI's.
"""

import argparse
import json
from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from commands.bank import sentences
from ear.bank import BEYOND, LANGUAGES

POSITIONS = 500         # of a window of ten seconds; as many timestamps and one more
END, START = "<|endoftext|>", "<|startoftranscript|>"
SPECIALS = [END, START, *(f"<|{code}|>" for code in LANGUAGES), "<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>",
            "<|nospeech|>", "<|notimestamps|>", *(f"<|{step * 0.02:.2f}|>" for step in range(POSITIONS + 1))]


def corpus(count, split="train", seed=7):
    """As they are written in a transcript, with a space before them."""
    for language in LANGUAGES.values():
        for sentence in islice(sentences(split, language, seed, BEYOND), count):
            yield " " + sentence.text


def build(count=20_000, size=800):
    """Whisper's tokenizer in the form of the tokenizers library."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made.train_from_iterator(corpus(count), trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, min_frequency=20, show_progress=False))
    made.add_special_tokens(SPECIALS)
    return made


class Words:
    """Text to ids and back, and the ids of special tokens."""

    def __init__(self, folder):
        self.tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self.end, self.start, self.previous, self.silence, self.untimed, self.transcribe = (
            self.special(name) for name in (END, START, "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>", "<|transcribe|>"))
        self.first_time = self.special("<|0.00|>")
        self.languages = {code: self.special(f"<|{code}|>") for code in LANGUAGES}

    def special(self, name):
        return self.tokenizer.token_to_id(name)

    def ids(self, text):
        """Of a text as in a transcript."""
        return self.tokenizer.encode(" " + text).ids

    def text(self, ids):
        return self.tokenizer.decode([i for i in ids if i < self.end]).strip()

    def time(self, seconds):
        """The id of a time, to a tenth of a second."""
        return self.first_time + min(POSITIONS, 5 * round(seconds * 10))

    def __len__(self):
        return self.tokenizer.get_vocab_size()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    made = build()
    marks = {"bos_token": END, "eos_token": END, "unk_token": END, "pad_token": END}
    PreTrainedTokenizerFast(tokenizer_object=made, **marks).save_pretrained(args.out)
    config = args.out / "tokenizer_config.json"
    settings = json.loads(config.read_text()) | {"tokenizer_class": "WhisperTokenizer", "model_max_length": 128}
    config.write_text(json.dumps(settings, indent=2) + "\n")
    words = Words(args.out)
    longest = max(len(words.ids(text.strip())) for text in corpus(3_000, seed=8))
    print(f"{len(words)} ids; the longest of 6000 commands has {longest}")


if __name__ == "__main__":
    main()
