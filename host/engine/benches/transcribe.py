"""A Whisper in the shape of large-v3-turbo with random weights, and the same work in CTranslate2, which is the engine of
faster-whisper, for benches/transcribe.rs.

    python transcribe.py make FOLDER             # as transformers writes it, in f16, and FOLDER-ct2 as CTranslate2 reads it
    python transcribe.py run FOLDER KIND         # f32 or int8: one window of 30 s, and tokens after it; prints one line of JSON: seconds
"""

import json
import os
import pathlib
import sys
import time

import numpy as np

WORDS, LANGUAGES, MELS, FRAMES, TOKENS = 50257, 100, 128, 3000, 100
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|l{index}|>" for index in range(LANGUAGES)), "<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
END, START, TRANSCRIBE, NO_TIMES = WORDS, WORDS + 1, WORDS + LANGUAGES + 3, WORDS + LANGUAGES + 7
CONFIG = {
    "vocab_size": 51866, "num_mel_bins": MELS, "d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20, "decoder_layers": 4,
    "decoder_attention_heads": 20, "encoder_ffn_dim": 5120, "decoder_ffn_dim": 5120, "bos_token_id": END, "eos_token_id": END, "pad_token_id": END,
    "decoder_start_token_id": START,
}


def make(folder):
    import torch
    from ctranslate2.converters import TransformersConverter
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(WhisperConfig(**CONFIG)).eval()
    model.generation_config.suppress_tokens, model.generation_config.begin_suppress_tokens = [], []
    model.generation_config.alignment_heads = [[0, 0]]
    model.to(torch.float16).save_pretrained(folder)
    words = [f"w{index}" for index in range(WORDS)] + SPECIAL
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, additional_special_tokens=SPECIAL).save_pretrained(folder)
    TransformersConverter(str(folder)).convert(f"{folder}-ct2", quantization="float16", force=True)


def run(folder, kind):
    import ctranslate2

    threads = len(os.sched_getaffinity(0))
    compute = {"f32": "float32", "int8": "int8_float32"}[kind]
    model = ctranslate2.models.Whisper(f"{folder}-ct2", device="cpu", compute_type=compute, intra_threads=threads, inter_threads=1)
    window = ctranslate2.StorageView.from_array(np.random.RandomState(0).randn(1, MELS, FRAMES).astype(np.float32))
    prompt = [[START, START + 1, TRANSCRIBE, NO_TIMES]]

    def once():
        began = time.perf_counter()
        heard = model.encode(window)
        hearing = time.perf_counter() - began
        began = time.perf_counter()
        # no end comes before its time: both sides write as many tokens
        reply = model.generate(heard, prompt, beam_size=1, max_length=2 * TOKENS + 8, suppress_tokens=[END], suppress_blank=False)
        writing = time.perf_counter() - began
        return hearing, writing * TOKENS / max(len(reply[0].sequences_ids[0]), 1)

    once()  # warms up
    hearing, writing = once()
    print(json.dumps({"hear": hearing, "write": writing}))


if __name__ == "__main__":
    verb, folder, *kind = sys.argv[1:]
    {"make": make, "run": run}[verb](pathlib.Path(folder), *kind)
