"""A Llama 3.2 of 1B with random weights, and the same work in llama.cpp, for benches/converse.rs.

    python converse.py make FILE KIND     # one GGUF file, in blocks of KIND: q4_k (its table in q6_k, as llama.cpp makes them) or q8_0
    python converse.py run FILE KIND      # reads and writes tokens; prints one line of JSON: seconds
"""

import json
import os
import pathlib
import sys
import time

import gguf
import numpy as np

LAYERS, WIDTH, INNER, HEADS, KV_HEADS, HEAD, VOCABULARY = 16, 2048, 8192, 32, 8, 64, 128256
READ, WRITTEN = 512, 64
# where the scales of a block stand in its bytes, and what they are: values of layers stay about as large as what they are given
SCALES = {"Q4_K": ((0, 3e-5), (2, 2e-4)), "Q6_K": ((208, 1.5e-5),), "Q8_0": ((0, 1.8e-4),)}
KINDS = {"q4_k": ("Q4_K", "Q6_K"), "q8_0": ("Q8_0", "Q8_0")}


def layers():
    yield "token_embd", VOCABULARY, WIDTH
    yield "output_norm", WIDTH, 0
    for block in (f"blk.{index}" for index in range(LAYERS)):
        yield from [
            (f"{block}.attn_norm", WIDTH, 0), (f"{block}.attn_q", HEADS * HEAD, WIDTH), (f"{block}.attn_k", KV_HEADS * HEAD, WIDTH),
            (f"{block}.attn_v", KV_HEADS * HEAD, WIDTH), (f"{block}.attn_output", WIDTH, HEADS * HEAD), (f"{block}.ffn_norm", WIDTH, 0),
            (f"{block}.ffn_gate", INNER, WIDTH), (f"{block}.ffn_up", INNER, WIDTH), (f"{block}.ffn_down", WIDTH, INNER),
        ]


def blocks(outputs, inputs, name):
    values, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    made = np.random.RandomState(outputs).randint(0, 256, (outputs, inputs // values, size), dtype=np.uint8)
    for at, scale in SCALES[name]:
        made[..., at:at + 2] = np.frombuffer(np.float16(scale).tobytes(), np.uint8)
    return made.reshape(outputs, -1)


def make(path, kind):
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS), writer.add_context_length(131072), writer.add_embedding_length(WIDTH), writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS), writer.add_head_count_kv(KV_HEADS), writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500000.0), writer.add_rope_dimension_count(HEAD), writer.add_vocab_size(VOCABULARY)
    # words that nobody reads: both sides are given ids
    writer.add_tokenizer_model("gpt2"), writer.add_tokenizer_pre("llama-bpe")
    letters = [chr(code) for code in [*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324)]]
    words = letters + [f"word{index}" for index in range(VOCABULARY - len(letters) - 2)] + ["<|begin|>", "<|end|>"]
    writer.add_token_list(words), writer.add_token_types([1] * (VOCABULARY - 2) + [3, 3]), writer.add_token_merges(["a b"])
    writer.add_bos_token_id(VOCABULARY - 2), writer.add_eos_token_id(VOCABULARY - 1)
    inner, table = KINDS[kind]
    for name, outputs, inputs in layers():
        if inputs == 0:
            writer.add_tensor(f"{name}.weight", np.ones(outputs, np.float32), raw_dtype=gguf.GGMLQuantizationType.F32)
            continue
        own = table if name == "token_embd" else inner
        writer.add_tensor(f"{name}.weight", blocks(outputs, inputs, own), raw_dtype=gguf.GGMLQuantizationType[own])
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file(), writer.close()


def run(path, _):
    from llama_cpp import Llama

    threads = len(os.sched_getaffinity(0))
    model = Llama(str(path), n_ctx=READ + WRITTEN, n_batch=READ, n_threads=threads, n_threads_batch=threads, verbose=False)
    tokens = [7 + 31 * index % 1000 for index in range(READ + WRITTEN)]
    model.eval(tokens[:READ]), model.reset()  # warms up
    began = time.perf_counter()
    model.eval(tokens[:READ])
    read = time.perf_counter() - began
    began = time.perf_counter()
    for token in tokens[READ:]:
        model.eval([token])
    print(json.dumps({"read": read, "write": time.perf_counter() - began}))


if __name__ == "__main__":
    verb, path, kind = sys.argv[1:]
    {"make": make, "run": run}[verb](pathlib.Path(path), kind)
