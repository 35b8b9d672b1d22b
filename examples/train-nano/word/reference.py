"""What transformers makes of an exported model: its network and tokenizer, made of the GGUF file alone.

    python -m word.reference --model FOLDER --out host/engine/tests/golden/word/golden.json
The fixture holds examples as people understand them, and further commands and prompts with the tokens of their replies; the
engine's test wants the same ones.
"""

import argparse
import json
from pathlib import Path

import gguf
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

from word.evaluate import SCHEMA, questions
from word.export import NAME, NAMES
from word.wording import END, SPECIALS, SYSTEM, asking, opening

EXAMPLES = (
    ("create a red circle on a blue background", '{"action":"create","target":"","prompt":"a red circle on a blue background"}'),
    ("make it night", '{"action":"edit","target":"","prompt":"make it night"}'),
    ("please could you turn the circle green", '{"action":"edit","target":"the circle","prompt":"make the circle green"}'),
    ("go back to the previous image", '{"action":"undo","target":"","prompt":""}'),
    ("what time is it", '{"action":"none","target":"","prompt":""}'),
    ("luo punainen ympyrä siniselle taustalle", '{"action":"create","target":"","prompt":"a red circle on a blue background"}'),
    ("tee siitä yö", '{"action":"edit","target":"","prompt":"make it night"}'),
    ("palaa edelliseen kuvaan", '{"action":"undo","target":"","prompt":""}'),
)


def halves(values, heads):
    """Neighbours of each head become halves again."""
    return values.reshape(heads, values.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(values.shape)


def contents(reader, key):
    return reader.fields[key].contents()


def network(reader):
    """LlamaForCausalLM with the file's weights, widened."""
    of = lambda key: contents(reader, f"llama.{key}")
    heads, kv = of("attention.head_count"), of("attention.head_count_kv")
    config = LlamaConfig(
        vocab_size=of("vocab_size"), hidden_size=of("embedding_length"), intermediate_size=of("feed_forward_length"),
        num_hidden_layers=of("block_count"), num_attention_heads=heads, num_key_value_heads=kv,
        rms_norm_eps=of("attention.layer_norm_rms_epsilon"),
        max_position_embeddings=of("context_length"), tie_word_embeddings=True, bos_token_id=None, pad_token_id=None,
        eos_token_id=contents(reader, "tokenizer.ggml.eos_token_id"), rope_parameters={"rope_type": "default",
                                                                                       "rope_theta": of("rope.freq_base")})
    state = {}
    for tensor in reader.tensors:
        name, values = tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        for theirs, ours in reversed(NAMES):
            name = name.replace(ours, theirs)
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            values = halves(values, heads if "q_proj" in name else kv)
        state[name] = torch.from_numpy(values.copy())
    model = LlamaForCausalLM(config)
    missing, unknown = model.load_state_dict(state, strict=False)
    assert set(missing) <= {"lm_head.weight"} and not unknown, (missing, unknown)
    model.tie_weights()
    return model.eval()


def tokenizer_of(reader):
    words, merges = (contents(reader, f"tokenizer.ggml.{key}") for key in ("tokens", "merges"))
    ids = {word: k for k, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab={w: k for w, k in ids.items() if w not in SPECIALS},
                                     merges=[tuple(m.split(" ")) for m in merges]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    assert [tokenizer.token_to_id(text) for text in SPECIALS] == [ids[text] for text in SPECIALS]
    return tokenizer


def replies(model, tokenizer, task, texts):
    """Question, its ids after those of the system turn, the likeliest reply's ids without the end, and the reply."""
    end, system = tokenizer.token_to_id(END), len(tokenizer.encode(opening(task)).ids)
    for text in texts:
        asked = tokenizer.encode(opening(task) + asking(text)).ids
        made = model.generate(torch.tensor([asked]), max_new_tokens=160, do_sample=False, pad_token_id=end)[0, len(asked):].tolist()
        reply = made[:made.index(end)] if end in made else made
        yield {"text": text, "question": asked[system:], "reply": reply, "said": tokenizer.decode(reply)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=20, help="questions of each task and language")
    args = parser.parse_args()
    torch.manual_seed(0)
    reader = gguf.GGUFReader(Path(args.model) / f"{NAME}.gguf")
    model, tokenizer = network(reader), tokenizer_of(reader)
    asked = {task: [t for language in ("english", "finnish") for t, _ in questions(task, language, args.count)] for task in SYSTEM}
    golden = {"schema": json.dumps(SCHEMA, separators=(",", ":")), "system": SYSTEM, "examples": EXAMPLES,
              "openings": {task: tokenizer.encode(opening(task)).ids for task in SYSTEM},
              "replies": {task: list(replies(model, tokenizer, task, texts)) for task, texts in asked.items()}}
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    lines = json.dumps(golden, ensure_ascii=False, separators=(",", ":")).replace('{"text"', '\n{"text"')
    Path(args.out).write_text(lines + "\n")
    said = {row["text"]: row["said"] for row in replies(model, tokenizer, "intent", [text for text, _ in EXAMPLES])}
    print(f"examples right: {sum(said[text] == wanted for text, wanted in EXAMPLES)} of {len(EXAMPLES)}")


if __name__ == "__main__":
    main()
