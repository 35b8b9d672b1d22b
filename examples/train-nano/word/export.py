"""Writes the trained network as one GGUF file in half precision, with tokenizer and chat template, as llama.cpp's converter would.

    python -m word.export --work WORK/word --out FOLDER
Rows of queries and keys are reordered as for every file of this architecture: halves of a head become neighbours.
"""

import argparse
from pathlib import Path

import gguf
import torch

from word.network import Decoder, published
from word.wording import END, SPECIALS, TEMPLATE, load, words_and_merges

NAME = "atelier-nano-word"
# transformers' names, and llama.cpp's
NAMES = (("model.embed_tokens.", "token_embd."), ("model.norm.", "output_norm."), ("model.layers.", "blk."), ("self_attn.q_proj", "attn_q"),
         ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"), ("self_attn.o_proj", "attn_output"), ("mlp.gate_proj", "ffn_gate"),
         ("mlp.up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"), ("input_layernorm", "attn_norm"),
         ("post_attention_layernorm", "ffn_norm"))


def load_decoder(work):
    """The decoder of a saved state, and the steps that it was trained for."""
    state = torch.load(Path(work) / "state.pt", weights_only=False)
    decoder = Decoder(state["size"])
    decoder.load_state_dict(state["decoder"])
    return decoder.eval(), state["step"]


def neighbours(values, heads):
    """Halves of each head become neighbours."""
    return values.reshape(heads, 2, values.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(values.shape)


def describe(writer, size, steps):
    writer.add_name(NAME)
    writer.add_description(f"Commands of a picture studio to JSON, and richer prompts; trained for {steps} steps by examples/train-nano")
    writer.add_context_length(size.context)
    writer.add_embedding_length(size.width)
    writer.add_block_count(size.layers)
    writer.add_feed_forward_length(size.inner)
    writer.add_head_count(size.heads)
    writer.add_head_count_kv(size.kv_heads)
    writer.add_rope_dimension_count(size.head)
    writer.add_rope_freq_base(size.theta)
    writer.add_layer_norm_rms_eps(size.eps)
    writer.add_vocab_size(size.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)


def describe_words(writer, tokenizer):
    words, merges = words_and_merges(tokenizer)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(words)
    writer.add_token_types([gguf.TokenType.CONTROL if word in SPECIALS else gguf.TokenType.NORMAL for word in words])
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokenizer.token_to_id(END))
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def write(path, decoder, tokenizer, steps):
    """One file; norms stay in single precision, as everywhere."""
    size, writer = decoder.size, gguf.GGUFWriter(path, "llama")
    describe(writer, size, steps)
    describe_words(writer, tokenizer)
    for name, values in published(decoder).items():
        values = values.numpy()
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            values = neighbours(values, size.heads if "q_proj" in name else size.kv_heads)
        for theirs, ours in NAMES:
            name = name.replace(theirs, ours)
        kind = gguf.GGMLQuantizationType.F32 if values.ndim == 1 else gguf.GGMLQuantizationType.F16
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    decoder, steps = load_decoder(args.work)
    path = Path(args.out) / f"{NAME}.gguf"
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, decoder, load(Path(args.work) / "tokenizer.json"), steps)
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB after {steps} steps")


if __name__ == "__main__":
    main()
