"""Makes the fixtures of tests/whisper.rs: tiny random-weight Whispers, and what transformers and OpenAI's own whisper make of them.

    python make_whisper.py --out whisper                               # the committed ones
    python make_whisper.py --out other/whisper --seed 7 --positions 76
    ATELIER_GOLDEN_DIR=$PWD/other cargo test --release --workspace --test whisper

transformers is the reference of the front end, the encoder, the decoder with and without its cache, and of greedy tokens;
OpenAI's whisper, run with the same weights, of all that is done with them: languages, rules of timestamps, beams, fallback,
words. Where both have a greedy decoding they are held against each other here. Three models, in files as people have them:
`multilingual` in bf16, `english` in f32 (no languages, no tasks), `large` in GGUF blocks, with 128 mels and alignment heads.
A window is `--positions` / 50 seconds in place of 30, which is all that is patched in OpenAI's code beside its vocabulary;
its samples of random tokens are drawn from torch's CPU generator by inversion, its mels are computed in f64.
"""

import argparse
import copy
import json
import pathlib
import sys

import gguf
import numpy as np
import tiktoken
import torch
import whisper
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.audio_utils import mel_filter_bank

import whisper.decoding as decoding
import whisper.model as network
import whisper.tokenizer as vocabulary
import whisper.utils

RATE, HOP, FFT = 16_000, 160, 400
LANGUAGES = 20
TEXT_POSITIONS = 64
HEADS = 2
CORPUS = [
    "create a red circle on a blue background, please!",
    "luo punainen ympyrä siniselle taustalle, kiitos.",
    "make it night; go back to the previous image. What's that? It's the moon, they'll say: \"yes\" (really).",
    "日本語 日本 café café",
]
TEXTS = [
    "", " ", "create a red circle", " The previous image, it's they'll", "ympyrä café naïve 日本語", "<|endoftext|>no special <|en|>",
    "a  b\n\nc\t d", "3.14159 2026 ½", "emoji 👩🏽‍🚀 ❤️", "z" * 40, "control\x00char zero\u200bwidth",
]
# model: mels, width, layers, whether it knows languages, and how its weights are written
MODELS = {
    "multilingual": {"mels": 80, "width": 16, "layers": 2, "is_multilingual": True, "file": torch.bfloat16},
    "english": {"mels": 80, "width": 8, "layers": 1, "is_multilingual": False, "file": torch.float32},
    "large": {"mels": 128, "width": 32, "layers": 2, "is_multilingual": True, "file": gguf.GGMLQuantizationType.Q8_0},
}
# of these only some cases, which are enough for what is their own
FEW = {"english": {"greedy", "words", "fallback", "bold"}, "large": {"long", "words", "beam-words", "unspaced", "clips"}}


def signal(seed, samples):
    """Speech-like enough: triangle waves that start, change and stop, over noise. Whole numbers only, so that any language
    makes the same samples: f32 of n / 32768."""
    state, out = seed * 2_654_435_761 + 1 & 0xFFFFFFFF, np.zeros(samples, dtype=np.int64)
    pieces = []
    for _ in range(samples // 1_600 + 1):
        state = state * 1_664_525 + 1_013_904_223 & 0xFFFFFFFF
        pieces.append((state >> 8 & 127, state >> 15 & 127, state >> 22 & 7))
    for at in range(samples):
        first, second, loudness = pieces[at // 1_600]
        state = state * 1_664_525 + 1_013_904_223 & 0xFFFFFFFF
        triangle = lambda period: abs(at % period * 2 - period) * 2_000 // period - 1_000
        out[at] = (triangle(40 + first) + triangle(9 + second // 4)) * loudness + (state >> 16) % 200 - 100
    return (out / 32_768).astype(np.float32)


def byte_alphabet():
    """GPT-2's characters for bytes, in the order of its ids."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(rest))]
    return dict(zip(letters, printable + rest))


def words():
    """Words of byte-level BPE with their merges, and each word's bytes."""
    alphabet = byte_alphabet()
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.train_from_iterator(CORPUS * 3, trainers.BpeTrainer(vocab_size=330, initial_alphabet=sorted(alphabet), show_progress=False))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    ids = {letter: index for index, letter in enumerate(alphabet)}
    for merge in merges:
        ids.setdefault(merge.replace(" ", ""), len(ids))
    return ids, merges, {bytes(alphabet[letter] for letter in word): id for word, id in ids.items()}


def specials(positions):
    languages = list(vocabulary.LANGUAGES)[:LANGUAGES]
    return [
        "<|endoftext|>", "<|startoftranscript|>", *[f"<|{language}|>" for language in languages], "<|translate|>", "<|transcribe|>",
        "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>", *[f"<|{step * 0.02:.2f}|>" for step in range(positions + 1)],
    ]


def encoding(positions):
    """OpenAI's form of the vocabulary."""
    _, _, ranks = words()
    ids = {token: len(ranks) + index for index, token in enumerate(specials(positions))}
    pattern = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
    return tiktoken.Encoding("tiny", pat_str=pattern, mergeable_ranks=ranks, special_tokens=ids)


def write_tokenizer(folder, positions, with_timestamps):
    """transformers' form; older folders have no timestamps in it."""
    ids, merges, _ = words()
    made = Tokenizer(models.BPE(vocab=ids, merges=[tuple(merge.split(" ")) for merge in merges]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokens = specials(positions)
    made.add_special_tokens(tokens if with_timestamps else tokens[: -(positions + 1)])
    (folder / "tokenizer.json").write_text(json.dumps(json.loads(made.to_str()), ensure_ascii=False, separators=(",", ":")))
    return made


class TinyWhisper(network.Whisper):
    """OpenAI's model, which tells from the size of the vocabulary what it can."""

    is_multilingual, num_languages = True, LANGUAGES


def patch_openai(positions):
    """A shorter window, the small vocabulary, mels in f64."""
    transcribe, encoded = sys.modules["whisper.transcribe"], encoding(positions)
    transcribe.N_FRAMES, transcribe.N_SAMPLES, decoding.CHUNK_LENGTH = 2 * positions, 2 * positions * HOP, positions / 50
    vocabulary.get_encoding = lambda name, num_languages: encoded
    vocabulary.get_tokenizer.cache_clear()
    transcribe.log_mel_spectrogram = lambda audio, mels, padding: torch.from_numpy(mel_of(np.pad(audio, (0, padding)), mels))


def mel_of(samples, mels):
    """transformers' own, by numpy in f64; by torch in f32 quiet places are off by 1e-4."""
    return WhisperFeatureExtractor(feature_size=mels)._np_extract_fbank_features(samples[None], "cpu")[0].astype(np.float32)


class Drawn:
    """Takes the place of torch's sampling: the first token whose cumulative probability is above a uniform number."""

    generator = torch.Generator()

    def __init__(self, logits):
        self.probabilities = torch.softmax(logits.double(), -1)

    def sample(self):
        sums = self.probabilities.cumsum(-1)
        uniform = [torch.rand((), dtype=torch.float64, generator=Drawn.generator) for _ in sums]
        return torch.stack([(row > number * row[-1]).nonzero()[0, 0] for row, number in zip(sums, uniform)])


decoding.Categorical = Drawn


class TextOnly(vocabulary.Tokenizer):
    """A token that is no text is never shown as one; a trained model writes none where text belongs."""

    def decode(self, ids, **kwargs):
        return self.encoding.decode([id for id in ids if id < self.eot], **kwargs)

    @property
    def all_language_codes(self):
        return tuple(self.encoding.decode([id]).strip("<|>") for id in self.all_language_tokens)


vocabulary.Tokenizer = TextOnly


def build(shape, positions):
    tokens = specials(positions)
    first = len(words()[0])
    id = lambda token: first + tokens.index(token)
    config = WhisperConfig(
        vocab_size=first + len(tokens), num_mel_bins=shape["mels"], d_model=shape["width"], encoder_layers=1, decoder_layers=shape["layers"],
        encoder_attention_heads=HEADS, decoder_attention_heads=HEADS, encoder_ffn_dim=2 * shape["width"], decoder_ffn_dim=2 * shape["width"],
        max_source_positions=positions, max_target_positions=TEXT_POSITIONS, decoder_start_token_id=id("<|startoftranscript|>"),
        eos_token_id=id("<|endoftext|>"), bos_token_id=id("<|endoftext|>"), pad_token_id=id("<|endoftext|>"), suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # as they come, all tokens are nearly as likely; norms differ from the ones that they start as
            if "norm" in name or name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.2)
            elif "embed_positions" in name and "decoder" in name:
                parameter.normal_(std=1.0)
            elif "embed_tokens" in name:
                parameter.normal_(std=0.5)
            elif "encoder.embed_positions" not in name:
                parameter.normal_(std=1.2 * parameter[0].numel() ** -0.5)
    return model


def generation_config(shape, positions, config):
    tokens, first = specials(positions), len(words()[0])
    id = lambda token: first + tokens.index(token)
    alphabet = byte_alphabet()
    # bytes that are no character alone: random ones would be nothing but errors of UTF-8
    lone = [index for index, letter in enumerate(alphabet) if alphabet[letter] >= 128 or alphabet[letter] < 32]
    space = words()[0]["Ġ"]
    made = {
        "begin_suppress_tokens": [space, id("<|endoftext|>")], "suppress_tokens": lone[:-3], "is_multilingual": shape["is_multilingual"],
        "no_timestamps_token_id": id("<|notimestamps|>"), "decoder_start_token_id": id("<|startoftranscript|>"), "eos_token_id": id("<|endoftext|>"),
        "max_initial_timestamp_index": 50, "prev_sot_token_id": id("<|startofprev|>"),
    }
    if shape["is_multilingual"]:
        made["lang_to_id"] = {token: id(token) for token in tokens[2 : 2 + LANGUAGES]}
        made["task_to_id"] = {"transcribe": id("<|transcribe|>"), "translate": id("<|translate|>")}
    if shape["width"] == 32:
        made["alignment_heads"] = [[0, 1], [1, 0]]
    return made


def write_weights(model, folder, kind):
    """Writes them, and gives the model what the file's values widen to."""
    state = {name: values for name, values in model.state_dict().items() if name != "proj_out.weight"}
    if not isinstance(kind, gguf.GGMLQuantizationType):
        state = {name: values.to(kind).contiguous() for name, values in state.items()}
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        writer = gguf.GGUFWriter(folder / "model-q8_0.gguf", "whisper")
        for name, values in state.items():
            array, own = values.numpy(), gguf.GGMLQuantizationType.F32
            if array.ndim == 2 and array.shape[1] % 32 == 0:
                own = kind
            elif array.ndim == 3:
                own = gguf.GGMLQuantizationType.F16
            data = gguf.quants.quantize(array, own)
            writer.add_tensor(name, data, raw_dtype=own)
            state[name] = torch.from_numpy(gguf.quants.dequantize(data, own).astype(np.float32).reshape(array.shape))
        writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file(), writer.close()
    model.load_state_dict({name: values.float() for name, values in state.items()}, strict=False)
    model.tie_weights()


# transformers' names, and OpenAI's
NAMES = [
    ("model.", ""), (".layers.", ".blocks."), ("encoder_attn_layer_norm", "cross_attn_ln"), ("self_attn_layer_norm", "attn_ln"),
    ("final_layer_norm", "mlp_ln"), ("encoder_attn.", "cross_attn."), ("self_attn.", "attn."), ("q_proj", "query"), ("k_proj", "key"),
    ("v_proj", "value"), ("out_proj", "out"), ("fc1", "mlp.0"), ("fc2", "mlp.2"), ("embed_tokens", "token_embedding"),
    ("embed_positions.weight", "positional_embedding"), ("encoder.layer_norm", "encoder.ln_post"), ("decoder.layer_norm", "decoder.ln"),
]


def openai_model(model, shape, alignment):
    config = model.config
    made = TinyWhisper(network.ModelDimensions(
        config.num_mel_bins, config.max_source_positions, config.d_model, HEADS, config.encoder_layers, config.vocab_size,
        config.max_target_positions, config.d_model, HEADS, config.decoder_layers,
    )).eval()
    # its feed-forward parts are four times as wide, whatever the configuration
    for block in [*made.encoder.blocks, *made.decoder.blocks]:
        block.mlp[0], block.mlp[2] = network.Linear(config.d_model, config.encoder_ffn_dim), network.Linear(config.encoder_ffn_dim, config.d_model)
    state = {}
    for name, values in model.state_dict().items():
        for theirs, own in NAMES:
            name = name.replace(theirs, own)
        state[name] = values
    state.pop("proj_out.weight")
    missing, unknown = made.load_state_dict(state, strict=False)
    assert not missing and not unknown, (missing, unknown)
    made.is_multilingual = shape["is_multilingual"]
    if alignment:
        heads = torch.zeros(config.decoder_layers, HEADS, dtype=torch.bool)
        heads[tuple(zip(*alignment))] = True
        made.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)
    return made


def cases(shape, seconds):
    """What is asked of OpenAI's transcribe; the names are those of our options."""
    long = {"seconds": 3.3 * seconds, "temperatures": [0.0], "no_speech_threshold": None}
    made = {
        "greedy": long | {"seconds": 0.9 * seconds}, "long": long, "no-context": long | {"condition_on_previous_text": False},
        "prompt": long | {"initial_prompt": "go back to the previous image"}, "text-only": long | {"timestamps": "none"},
        "words": long | {"timestamps": "words"}, "beams": long | {"beam_size": 3, "length_penalty": 0.6}, "patient": long | {"beam_size": 2, "patience": 2.0},
        "beam-words": long | {"beam_size": 4, "timestamps": "words"}, "sampled": long | {"temperatures": [0.7], "seed": 5},
        "best-of": long | {"temperatures": [0.4], "best_of": 3, "seed": 6},
        "fallback": long | {"temperatures": [0.0, 0.4, 0.9], "logprob_threshold": -1.6, "compression_ratio_threshold": 1.1, "seed": 7, "beam_size": 2, "best_of": 2},
        "no-speech": long | {"no_speech_threshold": 1e-4, "logprob_threshold": -0.5}, "clips": long | {"clips": [[0.31, 1.1 * seconds], [1.5 * seconds, 2.9 * seconds]]},
        "bold": long | {"suppress_tokens": [7], "suppress_blank": False, "max_initial_timestamp": None},
    }
    if shape["is_multilingual"]:
        made |= {"named": long | {"language": "fi"}, "translated": long | {"language": "ru", "task": "translate"}, "unspaced": long | {"language": "zh", "timestamps": "words"}}
    return made


@torch.no_grad()
def ask(model, case, seed, suppressed):
    """One case, by OpenAI's transcribe."""
    vocabulary_size, window_steps = model.dims.n_vocab, model.dims.n_audio_ctx + 1
    options = {
        "fp16": False, "temperature": tuple(case["temperatures"]), "suppress_tokens": case.get("suppress_tokens", list(suppressed)),
        "without_timestamps": case.get("timestamps") == "none", "word_timestamps": case.get("timestamps") == "words",
    }
    for key in ["no_speech_threshold", "initial_prompt", "condition_on_previous_text", "logprob_threshold", "compression_ratio_threshold",
                "beam_size", "patience", "best_of", "length_penalty", "language", "task", "suppress_blank", "max_initial_timestamp"]:
        if key in case:
            options[key] = case[key]
    if options["without_timestamps"]:
        # a random model would write timestamps all the same, and say again that there are none
        options["suppress_tokens"] = [*options["suppress_tokens"], *range(vocabulary_size - window_steps - 1, vocabulary_size)]
    if "clips" in case:
        options["clip_timestamps"] = [time for clip in case["clips"] for time in clip]
    Drawn.generator.manual_seed(case.get("seed", 0))
    result = model.transcribe(signal(seed, int(case["seconds"] * RATE)), **options)
    keys = ["start", "end", "text", "tokens", "temperature", "avg_logprob", "compression_ratio", "no_speech_prob"]
    short = lambda value: float(f"{value:.7g}") if isinstance(value, float) else value
    segments = [{key: short(segment[key]) for key in keys} for segment in result["segments"]]
    for segment, whole in zip(segments, result["segments"]):
        if "words" in whole:
            segment["words"] = [{key: short(float(value) if key != "word" else value) for key, value in word.items()} for word in whole["words"]]
    # a segment without text is none of ours
    segments = [segment for segment in segments if segment["text"]]
    return {"text": result["text"], "language": result["language"], "segments": segments}


def disturbed(openai, seed):
    """The same model but for what rounding could do to it."""
    made, generator = copy.deepcopy(openai), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(1 + 3e-6 * torch.randn(parameter.shape, generator=generator))
    return made


def answers(openai, shape, positions, seed, suppressed, wanted):
    """Every case with its answer, but for those that hang by a thread: where rounding decides, nobody is right."""
    other, made, ratios = disturbed(openai, seed), {}, []
    tell = lambda text: ratios.append(whisper.utils.compression_ratio(text)) or ratios[-1]
    decoding.compression_ratio = tell
    for name, case in cases(shape, positions / 50).items():
        if name not in wanted:
            continue
        # implementations of zlib differ: far from the ratios of all texts that are tried
        for threshold in [case.get("compression_ratio_threshold"), 1.6, 2.3, 3.3, 5.0, 8.0, 1e3]:
            case |= {} if threshold is None else {"compression_ratio_threshold": threshold}
            ratios.clear()
            answer = ask(openai, case, seed, suppressed)
            if "compression_ratio_threshold" not in case or all(abs(ratio / threshold - 1) > 0.25 for ratio in ratios):
                break
        tokens = lambda answer: [segment["tokens"] for segment in answer["segments"]]
        if tokens(answer) == tokens(ask(other, case, seed, suppressed)):
            made[name] = {"asked": case, "answer": answer}
        else:
            print("left out:", name)
    return made


@torch.no_grad()
def networks(model, openai, shape, positions, seed, suppressed):
    """Front end, encoder and decoder of transformers, two windows at once."""
    # shorter than the window: where audio fills it to the end, transformers mirrors it there, and OpenAI hears silence after it
    windows = [signal(seed + index, 2 * positions * HOP - 800 - index * 4_000) for index in range(2)]
    mels = np.stack([mel_of(np.pad(window, (0, 2 * positions * HOP - len(window))), shape["mels"]) for window in windows])
    encoded = model.model.encoder(torch.from_numpy(mels)).last_hidden_state
    tokens = torch.randint(0, model.config.vocab_size, (2, 4), generator=torch.Generator().manual_seed(seed))
    logits = model(encoder_outputs=(encoded,), decoder_input_ids=tokens).logits
    past, steps = None, []
    for part in tokens.split([2, 1, 1], dim=1):
        out = model(encoder_outputs=(encoded,), decoder_input_ids=part, past_key_values=past, use_cache=True)
        past = out.past_key_values
        steps.append(out.logits)
    cached = torch.cat(steps, 1)
    assert torch.allclose(cached, logits, atol=1e-4), (cached - logits).abs().max()
    assert torch.allclose(openai.logits(tokens, openai.encoder(torch.from_numpy(mels))), logits, atol=1e-4)
    frames = [0, 1, positions // 2, 2 * positions - 1]
    kept = list(range(0, positions, 8))
    filters = mel_filter_bank(201, shape["mels"], 0.0, 8_000.0, RATE, norm="slaney", mel_scale="slaney")
    return {
        "mel": torch.from_numpy(mels[:, :, frames].copy()), "frames": torch.tensor(frames, dtype=torch.int64), "filters": torch.from_numpy(filters.sum(0)),
        "positions": torch.tensor(kept, dtype=torch.int64), "encoded": encoded[:, kept], "tokens": tokens, "logits": logits[..., ::5],
    }


@torch.no_grad()
def languages(model, positions, shape, seed):
    if not shape["is_multilingual"]:
        return {}
    samples = np.pad(signal(seed, 2 * positions * HOP), (0, HOP))
    return model.detect_language(torch.from_numpy(mel_of(samples, shape["mels"])[:, : 2 * positions]))[1]


@torch.no_grad()
def agree_on_greedy(model, openai, shape, positions, seed, suppressed, generation):
    """transformers' greedy tokens with its own rules of timestamps are OpenAI's."""
    mel = torch.from_numpy(mel_of(signal(seed, 2 * positions * HOP), shape["mels"]))
    options = decoding.DecodingOptions(fp16=False, language="en", suppress_tokens=list(suppressed), sample_len=20)
    own = openai.decode(mel, options).tokens
    for key, value in generation.items():
        setattr(model.generation_config, key, value)
    extra = {"language": "en", "task": "transcribe"} if shape["is_multilingual"] else {}
    first = len(words()[0])
    hidden = [first + specials(positions).index(token) for token in ["<|translate|>", "<|transcribe|>", "<|startoftranscript|>", "<|startofprev|>", "<|startoflm|>", "<|nospeech|>"]]
    model.generation_config.suppress_tokens = sorted({*suppressed, *hidden})
    theirs = model.generate(mel[None], return_timestamps=True, max_new_tokens=20, num_beams=1, do_sample=False, **extra)[0].tolist()
    theirs = [id for id in theirs if id not in hidden and not (first + 2 <= id < first + 2 + LANGUAGES)]
    theirs = [id for id in theirs if id != generation["eos_token_id"]]
    own = [id for id in own if not (first + 2 <= id < first + 2 + LANGUAGES)]
    # transformers goes on by itself from the last pair of timestamps
    last = max([0, *(index for index in range(1, len(own)) if min(own[index - 1 : index + 1]) > generation["no_timestamps_token_id"])])
    last = last + 1 if last else min(len(own), len(theirs))
    assert own[:last] == theirs[:last] and last > 2, (own, theirs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the weights, and of what is heard")
    parser.add_argument("--positions", type=int, default=64, help="states of a window; 50 are a second")
    arguments = parser.parse_args()
    positions, seed = arguments.positions, arguments.seed
    patch_openai(positions)
    for name, shape in MODELS.items():
        torch.manual_seed(seed)
        folder = arguments.out / name
        folder.mkdir(parents=True, exist_ok=True)
        tokens = write_tokenizer(folder, positions, name == "multilingual")
        for text in TEXTS:
            special = set(specials(positions))
            assert any(token in text for token in special) or tokens.encode(text).ids == encoding(positions).encode(text), text
        model = build(shape, positions)
        write_weights(model, folder, shape["file"])
        generation = generation_config(shape, positions, model.config)
        model.config.save_pretrained(folder)
        (folder / "generation_config.json").write_text(json.dumps(generation))
        front = {"feature_size": shape["mels"], "chunk_length": positions / 50, "hop_length": HOP, "n_fft": FFT, "sampling_rate": RATE, "n_samples": 2 * positions * HOP,
                 "nb_max_frames": 2 * positions, "padding_side": "right", "padding_value": 0.0, "feature_extractor_type": "WhisperFeatureExtractor"}
        (folder / "preprocessor_config.json").write_text(json.dumps(front))
        openai = openai_model(model, shape, generation.get("alignment_heads"))
        suppressed = generation["suppress_tokens"]
        save_file({stage: values.contiguous() for stage, values in networks(model, openai, shape, positions, seed, suppressed).items()}, folder / "golden.safetensors")
        asked = answers(openai, shape, positions, seed, suppressed, FEW.get(name, cases(shape, 1.0)))
        encode = lambda text: encoding(positions).encode(text, disallowed_special=())
        texts = [{"text": text, "ids": encode(text)} for text in TEXTS]
        golden = {"seed": seed, "languages": languages(openai, positions, shape, seed), "cases": asked, "texts": texts}
        (folder / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n")
        agree_on_greedy(model, openai, shape, positions, seed, suppressed, generation)
        print(name, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) // 1024, "KiB")


if __name__ == "__main__":
    main()
