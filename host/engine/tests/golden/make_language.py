"""Makes the fixtures of tests/language.rs: tiny random-weight language models, and what transformers makes of them.

    python make_language.py --out language                            # the committed ones
    python make_language.py --out other/language --seed 7 --all       # both forms of every family
    ATELIER_GOLDEN_DIR=$PWD/other cargo test --release --workspace --test language

Every family is written as it is published (safetensors, config.json, tokenizer.json and a template), and as llama.cpp's
converter writes it: rows of Llama's queries and keys reordered, Gemma's norms plus one, Llama 3's and LongRoPE's factors as
tensors, the vocabulary and the template in the metadata. Both forms of a family have the same values. Weights are rounded to
bf16, which both files hold exactly; `blocks` has ggml's quantized blocks, which the reference computes with as they widen.
Templates are written here, in the manner of each family's own: what they use of Jinja is what those use.
"""

import argparse
import json
import math
import pathlib

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoConfig, AutoModelForCausalLM, LogitsProcessorList, MinPLogitsWarper, PreTrainedTokenizerFast, RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper,
)

CORPUS = [
    "create a red circle on a blue background, please! The quick brown fox jumps over the lazy dog.",
    "luo punainen ympyrä siniselle taustalle, kiitos. Answer in a few words: what's the capital of France?",
    "make it night; go back to the previous image. It's the moon, they'll say: \"yes\" (really).",
    "日本語 日本 café café; def main(): return {'a': 1, \"b\": [2, 3]}\n\n    print(12345)\n",
    "You are a helpful assistant. user model system assistant",
]
TEXTS = [
    "", " ", "create a red circle", " The previous image, it's they'll WE'LL", "ympyrä café naïve 日本語 Cafe\u0301", "a  b\n\nc\t d \n", "3.14159 2026 ½",
    "emoji 👩🏽‍🚀 ❤️", "z" * 40, "control\x00char zero\u200bwidth", "    indented\n\n\n    twice", "camelCaseWord HTTPServer", "\n", "  leading",
]
CONVERSATIONS = [
    [("user", "create a red circle")],
    [("system", "You are a helpful assistant."), ("user", "What's the capital of France?")],
    [("system", "Answer in a few words."), ("user", " make it night \n"), ("assistant", "Yes, café."), ("user", "日本語?\n\nplease")],
    [("user", "a"), ("assistant", "<think>\nhm\n</think>\n\nb"), ("user", "c"), ("assistant", "d"), ("user", "e")],
]
CL100K = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{%s}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K = "|".join([
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+(?i:'s|'t|'re|'ve|'m|'ll|'d)?", rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+",
])
PATTERNS = {"llama-bpe": CL100K % "1,3", "qwen2": (CL100K % "1").replace(r"\p{N}{1}", r"\p{N}"), "gpt-4o": O200K}

TEMPLATES = {
    "llama": """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
    "mistral": """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set ns = namespace(index=0) %}
{%- for message in loop_messages %}
    {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
        {{- raise_exception("conversation roles must alternate") }}
    {%- endif %}
    {%- set ns.index = ns.index + 1 %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- else %}
        {{- raise_exception("only user and assistant roles are supported") }}
    {%- endif %}
{%- endfor %}
""",
    "qwen2": """{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
""",
    "qwen3": """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
""",
    "gemma3": """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {{ item['text'] | trim }}
        {%- endfor -%}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\\n'}}
{%- endif -%}
""",
    "phi3": """{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>
' + message['content'] + '<|end|>
'}}{% elif message['role'] == 'user' %}{{'<|user|>
' + message['content'] + '<|end|>
'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>
' + message['content'] + '<|end|>
'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>
' }}{% else %}{{ eos_token }}{% endif %}""",
}

COMMON = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512}
# model_type, what differs from the above, the tokenizer, what ends a reply
FAMILIES = {
    "llama": {
        "type": "llama", "config": {"rms_norm_eps": 1e-5, "head_dim": 8, "tie_word_embeddings": False, "rope_parameters": {
            "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}},
        "pre": "llama-bpe", "specials": ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        "bos": "<|begin_of_text|>", "eos": "<|eot_id|>", "architecture": "llama", "old": True,
    },
    "mistral": {
        "type": "mistral", "config": {"sliding_window": 6, "head_dim": 4, "tie_word_embeddings": False, "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}},
        "prefix": "first", "specials": ["[INST]", "[/INST]"], "bos": "<s>", "eos": "</s>", "architecture": "llama", "old": False,
    },
    "qwen2": {
        "type": "qwen2", "config": {"tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0}},
        "pre": "qwen2", "specials": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "bos": None, "eos": "<|im_end|>", "architecture": "qwen2", "old": True,
    },
    "qwen3": {
        "type": "qwen3", "config": {"head_dim": 8, "tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0}},
        "pre": "qwen2", "specials": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "plain": ["<think>", "</think>"], "bos": None, "eos": "<|im_end|>",
        "architecture": "qwen3", "old": False,
    },
    "gemma3": {
        # one layer of six sees everything
        "type": "gemma3_text", "config": {"num_hidden_layers": 7, "head_dim": 8, "sliding_window": 5, "query_pre_attn_scalar": 8, "final_logit_softcapping": 3.0,
            "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0}, "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0}}},
        "prefix": "never", "specials": ["<start_of_turn>", "<end_of_turn>"], "plain": ["\n\n", "\n\n\n"], "bos": "<bos>", "eos": "<end_of_turn>", "architecture": "gemma3", "old": True,
    },
    "gemma2": {
        "type": "gemma2", "config": {"head_dim": 8, "sliding_window": 5, "query_pre_attn_scalar": 8, "final_logit_softcapping": 3.0, "attn_logit_softcapping": 2.0,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}},
        "prefix": "never", "specials": ["<start_of_turn>", "<end_of_turn>"], "bos": "<bos>", "eos": "<end_of_turn>", "architecture": "gemma2", "old": True, "template": "gemma3",
    },
    "phi3": {
        "type": "phi3", "config": {"num_attention_heads": 2, "num_key_value_heads": 1, "sliding_window": None, "tie_word_embeddings": False, "original_max_position_embeddings": 32, "partial_rotary_factor": 0.75,
            "pad_token_id": 0, "rope_parameters": {"rope_type": "longrope", "rope_theta": 10_000.0, "short_factor": [1.0, 1.1, 1.5], "long_factor": [1.2, 2.0, 6.0],
            "partial_rotary_factor": 0.75, "original_max_position_embeddings": 32}},
        "prefix": "each", "specials": ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"], "takes_space": True, "bos": "<s>", "eos": "<|end|>", "architecture": "phi3", "old": True,
    },
    "phi4": {
        "type": "phi3", "config": {"sliding_window": None, "tie_word_embeddings": True, "original_max_position_embeddings": 512, "partial_rotary_factor": 0.5,
            "pad_token_id": 0, "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5}},
        "pre": "gpt-4o", "specials": ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"], "bos": "<|endoftext|>", "eos": "<|end|>", "architecture": "phi3",
        "old": False, "template": "phi3",
    },
    # nothing but blocks: the network is Qwen's
    "blocks": {
        "type": "qwen2", "config": {"hidden_size": 32, "intermediate_size": 64, "tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}},
        "pre": "qwen2", "specials": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "bos": None, "eos": "<|im_end|>", "architecture": "qwen2", "old": True, "template": "qwen2",
        "blocks": ["Q8_0", "Q4_0"],
    },
    "k-blocks": {
        "type": "qwen2", "config": {"hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}},
        "pre": "qwen2", "specials": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "bos": None, "eos": "<|im_end|>", "architecture": "qwen2", "old": True, "template": "qwen2",
        "blocks": ["Q6_K", "Q4_K", "Q5_K"],
    },
}
# what is committed; `--all` makes both forms of everything
COMMITTED = {"llama": "both", "mistral": "published", "qwen2": "published", "qwen3": "gguf", "gemma2": "gguf", "gemma3": "published", "phi3": "both", "phi4": "published", "blocks": "gguf"}


def byte_level(family):
    """As Llama 3, Qwen and Phi 4 have it."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pre = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERNS[family["pre"]]), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre
    trained.train_from_iterator(CORPUS * 3, trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False))
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(pair) if not isinstance(pair, str) else tuple(pair.split(" ")) for pair in model["merges"]]
    vocabulary = model["vocab"]
    if family["pre"] == "llama-bpe":
        # Llama 3 has words that no merges lead to, and takes them whole
        vocabulary["Ġhelpful"] = len(vocabulary)
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=family["pre"] == "llama-bpe"))
    made.pre_tokenizer, made.decoder = pre, decoders.ByteLevel()
    if family["pre"] == "qwen2":
        made.normalizer = normalizers.NFC()
    return made, None


def sentence_pieces(family):
    """As SentencePiece's models become it: pieces with scores, all pairs that make a piece, and bytes where nothing fits."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.train_from_iterator(CORPUS * 3, trainers.BpeTrainer(vocab_size=130, show_progress=False))
    pieces = sorted(json.loads(trained.to_str())["model"]["vocab"].items(), key=lambda item: item[1])
    if "▁" not in dict(pieces):
        pieces.insert(0, ("▁", -1))
    pieces = [piece for piece, _ in sorted(pieces, key=lambda item: (len(item[0]) == 1, item[1]))]
    first = ["<pad>", "</s>", "<bos>", "<unk>"] if family["bos"] == "<bos>" else ["<unk>", "<s>", "</s>"]
    scored = [(piece, 0.0, 2 if piece == "<unk>" else 3) for piece in first]
    scored += [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    scored += [(piece, float(-index), 1) for index, piece in enumerate(pieces)]
    vocabulary = {piece: index for index, (piece, _, _) in enumerate(scored)}
    merges = []
    for piece, score, kind in scored:
        if kind == 1:
            cuts = [(piece[:at], piece[at:]) for at in range(1, len(piece))]
            cuts = [cut for cut in cuts if cut[0] in vocabulary and cut[1] in vocabulary]
            merges += [(cut, score) for cut in sorted(cuts, key=lambda cut: (vocabulary[cut[0]], vocabulary[cut[1]]))]
    merges = [cut for cut, _ in sorted(merges, key=lambda merge: (merge[1], len(merge[0][0]), len(merge[0][1])), reverse=True)]
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    ends = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if family["prefix"] == "first":
        made.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    elif family["prefix"] == "each":
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        made.normalizer = normalizers.Replace(" ", "▁")
        made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.decoder = decoders.Sequence(ends + ([decoders.Strip(" ", 1, 0)] if family["prefix"] != "never" else []))
    return made, scored


def tokenizer(name, family):
    made, scored = byte_level(family) if "pre" in family else sentence_pieces(family)
    special = lambda text: AddedToken(text, special=True, normalized=False, rstrip=family.get("takes_space", False) and text.startswith("<|"))
    made.add_special_tokens([special(text) for text in ([piece for piece, _, kind in scored if kind in (2, 3)] if scored else []) + family["specials"]])
    made.add_tokens([AddedToken(text, special=False, normalized=False) for text in family.get("plain", [])])
    template = TEMPLATES[family.get("template", name)]
    extra = {"bos_token": family["bos"]} if family["bos"] else {}
    whole = PreTrainedTokenizerFast(tokenizer_object=made, eos_token=family["eos"], chat_template=template, clean_up_tokenization_spaces=False, **extra)
    return whole, scored


def build(family, vocabulary, ends):
    settings = COMMON | family["config"]
    config = AutoConfig.for_model(family["type"], vocab_size=vocabulary, eos_token_id=ends, bos_token_id=None, attn_implementation="eager", **settings)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # norms differ from the ones that they start as, and tokens are not nearly as likely as each other
            if "norm" in name or name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.2)
            else:
                parameter.normal_(std=(1.2 if "embed" in name or "head" in name else 1.5) * parameter.shape[1] ** -0.5)
            parameter.copy_(parameter.bfloat16().float())
    return model


def old_style(config, name):
    """As transformers 4 wrote it, and most folders have it."""
    made = dict(config)
    rope = made.pop("rope_parameters")
    if name == "gemma3":
        made |= {"rope_theta": rope["full_attention"]["rope_theta"], "rope_local_base_freq": rope["sliding_attention"]["rope_theta"]}
        made["rope_scaling"] = {"factor": rope["full_attention"]["factor"], "rope_type": "linear"}
        made.pop("layer_types", None)
        made["sliding_window_pattern"] = 6
        return made
    made["rope_theta"] = rope["rope_theta"]
    scaling = {key: value for key, value in rope.items() if key not in ("rope_theta", "partial_rotary_factor")}
    if scaling["rope_type"] == "longrope":
        scaling = {"type": "longrope", "short_factor": rope["short_factor"], "long_factor": rope["long_factor"]}
        made |= {"partial_rotary_factor": rope["partial_rotary_factor"], "original_max_position_embeddings": rope["original_max_position_embeddings"]}
    made["rope_scaling"] = None if rope["rope_type"] == "default" else scaling
    return made


# transformers' names, and llama.cpp's; the order matters
NAMES = [
    ("model.embed_tokens.", "token_embd."), ("model.norm.", "output_norm."), ("lm_head.", "output."), ("model.layers.", "blk."), ("self_attn.qkv_proj", "attn_qkv"),
    ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"), ("self_attn.o_proj", "attn_output"), ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"), ("mlp.gate_up_proj", "ffn_up"), ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"),
    ("input_layernorm", "attn_norm"),
]
OUTER = [("post_attention_layernorm", "post_attention_norm"), ("pre_feedforward_layernorm", "ffn_norm"), ("post_feedforward_layernorm", "post_ffw_norm")]
INNER = [("post_attention_layernorm", "ffn_norm")]


def permuted(values, heads):
    """Halves of each head become neighbours."""
    return values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def rope_tensors(config):
    rope = config.rope_parameters
    if rope.get("rope_type") == "longrope":
        return {"rope_factors_short.weight": rope["short_factor"], "rope_factors_long.weight": rope["long_factor"]}
    if rope.get("rope_type") != "llama3":
        return {}
    width, old, factor, low, high = config.head_dim, *(rope[key] for key in ("original_max_position_embeddings", "factor", "low_freq_factor", "high_freq_factor"))
    made = []
    for pair in range(width // 2):
        turns = old * rope["rope_theta"] ** (-2 * pair / width) / (2 * math.pi)
        quick = min(max((turns - low) / (high - low), 0.0), 1.0)
        made.append(1.0 / ((1 - quick) / factor + quick))
    return {"rope_freqs.weight": made}


def write_gguf(path, name, family, model, whole, scored, ends):
    config, architecture = model.config, family["architecture"]
    writer = gguf.GGUFWriter(path, architecture)
    heads, kv = config.num_attention_heads, config.num_key_value_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    writer.add_block_count(config.num_hidden_layers), writer.add_context_length(config.max_position_embeddings), writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size), writer.add_head_count(heads), writer.add_head_count_kv(kv)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps), writer.add_key_length(head), writer.add_value_length(head)
    rope = config.rope_parameters
    rope = rope.get("full_attention", rope)
    writer.add_rope_freq_base(rope["rope_theta"]), writer.add_rope_dimension_count(int(head * rope.get("partial_rotary_factor", 1.0)))
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR), writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "longrope":
        old = rope["original_max_position_embeddings"]
        writer.add_rope_scaling_orig_ctx_len(old), writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(config.max_position_embeddings / old) / math.log(old)))
    if getattr(config, "sliding_window", None):
        writer.add_sliding_window(config.sliding_window)
    if getattr(config, "attn_logit_softcapping", None):
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
    if getattr(config, "final_logit_softcapping", None):
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    write_vocabulary(writer, family, whole, scored, ends)
    for tensor, values in rope_tensors(config).items():
        writer.add_tensor(tensor, np.array(values, dtype=np.float32))
    state, seen, random = model.state_dict(), {}, np.random.RandomState(len(name))
    for tensor, values in state.items():
        if tensor == "lm_head.weight" and config.tie_word_embeddings:
            continue
        array = values.numpy()
        if architecture == "llama" and tensor.endswith(("q_proj.weight", "k_proj.weight")):
            array = permuted(array, heads if "q_proj" in tensor else kv)
        if name.startswith("gemma") and "norm" in tensor:
            array = array + 1
        own = tensor
        for theirs, ours in NAMES + (OUTER if name.startswith("gemma") else INNER):
            own = own.replace(theirs, ours)
        kind = gguf.GGMLQuantizationType.F32 if array.ndim == 1 else gguf.GGMLQuantizationType.BF16
        if "blocks" in family and array.ndim == 2:
            kinds = family["blocks"]
            kind = gguf.GGMLQuantizationType[kinds[0 if "embed" in tensor else 1 + len(seen) % (len(kinds) - 1)]]
            data = quantized(array, kind, random)
            seen[tensor] = torch.from_numpy(gguf.quants.dequantize(data, kind).astype(np.float32).reshape(array.shape))
        else:
            data = gguf.quants.quantize(array, kind)
        writer.add_tensor(own, data, raw_dtype=kind)
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file(), writer.close()
    # the reference computes with what the blocks widen to
    model.load_state_dict(seen, strict=False)
    model.tie_weights()


def quantized(array, kind, random):
    if not kind.name.endswith("_K"):
        return gguf.quants.quantize(array, kind)
    # nothing but llama.cpp quantizes to these: random blocks, with scales that keep the values small
    scale = lambda value: np.frombuffer(np.float16(value).tobytes(), np.uint8)
    blocks = random.randint(0, 256, (array.shape[0], array.shape[1] // 256, gguf.GGML_QUANT_SIZES[kind][1]), dtype=np.uint8)
    if kind.name == "Q6_K":
        blocks[..., -2:] = scale(3e-5)
    else:
        blocks[..., :2], blocks[..., 2:4] = scale(1.4e-4 if kind.name == "Q4_K" else 7e-5), scale(1e-3)
    return blocks.reshape(array.shape[0], -1)


def write_vocabulary(writer, family, whole, scored, ends):
    backend = json.loads(whole.backend_tokenizer.to_str())
    ids = whole.get_vocab()
    tokens = [token for token, _ in sorted(ids.items(), key=lambda item: item[1])]
    added = {token["content"]: token["special"] for token in backend["added_tokens"]}
    kinds = [(3 if added[token] else 4) if token in added else 1 for token in tokens]
    if scored:
        for index, (piece, _, kind) in enumerate(scored):
            kinds[index] = kind
        writer.add_tokenizer_model("llama")
        writer.add_token_scores([scored[index][1] if index < len(scored) else -1000.0 for index in range(len(tokens))])
        writer.add_add_space_prefix(family["prefix"] != "never")
    else:
        writer.add_tokenizer_model("gpt2"), writer.add_tokenizer_pre(family["pre"])
        writer.add_token_merges([" ".join(pair) if not isinstance(pair, str) else pair for pair in backend["model"]["merges"]])
    writer.add_token_list(tokens), writer.add_token_types(kinds)
    writer.add_eos_token_id(ends[0])
    if len(ends) > 1:
        writer.add_eot_token_id(ends[1])
    if family["bos"]:
        writer.add_bos_token_id(ids[family["bos"]])
    writer.add_chat_template(whole.chat_template)


@torch.no_grad()
def reference(model, whole, seed):
    """Values of the network, and what is written down for it."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, count in (("short", 20), ("long", 45)):
        ids = torch.randint(0, model.config.vocab_size, (1, count), generator=generator)
        logits = model(ids, use_cache=False).logits[0, :: 1 if name == "short" else 4, ::5]
        tensors |= {f"{name}/ids": ids, f"{name}/logits": logits.contiguous()}
    written = []
    for turns in CONVERSATIONS:
        messages = [{"role": role, "content": text} for role, text in turns]
        text = whole.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = whole(text, add_special_tokens=False).input_ids
        written.append({"turns": turns, "text": text, "ids": ids, "reply": greedy(model, ids)})
    texts = [{"text": text, "ids": whole(text, add_special_tokens=False).input_ids} for text in TEXTS]
    return tensors, {"conversations": written, "texts": texts}


def greedy(model, ids, most=16):
    """The likeliest tokens, as long as rounding has no say in which they are."""
    made = []
    ends = model.config.eos_token_id
    # longer texts than the original context are turned otherwise from their first position on
    limit = (model.config.rope_parameters.get("original_max_position_embeddings", 1 << 30)) if model.config.rope_parameters.get("rope_type") == "longrope" else 1 << 30
    while len(made) < most:
        if len(ids) <= limit < len(ids) + most:
            break
        logits = model(torch.tensor([ids + made]), use_cache=False).logits[0, -1]
        best = logits.topk(2).values
        if best[0] - best[1] < 2e-3:
            break
        made.append(int(logits.argmax()))
        if made[-1] in ends:
            break
    return made


def sampling(seed):
    """What is left of random likelihoods by transformers' own processors, in its order."""
    generator, cases = torch.Generator().manual_seed(seed), []
    for temperature, top_k, top_p, min_p, penalty in [
        (1.0, 0, 1.0, 0.0, 1.0), (0.7, 5, 1.0, 0.0, 1.0), (1.3, 0, 0.8, 0.0, 1.0), (0.5, 0, 1.0, 0.1, 1.0), (0.9, 20, 0.9, 0.05, 1.3), (2.0, 3, 0.5, 0.9, 0.7), (0.01, 40, 0.95, 0.05, 1.0),
    ]:
        logits = torch.randn(1, 40, generator=generator) * 2
        before = torch.randint(0, 40, (1, 7), generator=generator)
        steps = [RepetitionPenaltyLogitsProcessor(penalty), TemperatureLogitsWarper(temperature)]
        steps += [TopKLogitsWarper(top_k)] if top_k else []
        steps += [TopPLogitsWarper(top_p)] if top_p < 1 else []
        steps += [MinPLogitsWarper(min_p)] if min_p else []
        left = LogitsProcessorList(steps)(before, logits.clone()).softmax(-1)
        cases.append({"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p, "repeat_penalty": penalty, "logits": logits[0].tolist(), "before": before[0].tolist(), "left": left[0].tolist()})
    return cases


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the weights, and of what is read")
    parser.add_argument("--all", action="store_true", help="both forms of every family, not those that are committed")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "sampling.json").write_text(json.dumps(sampling(arguments.seed)) + "\n")
    for name, family in FAMILIES.items():
        # where llama.cpp puts a space before text is not where transformers does
        own = "gguf" if "blocks" in family else "published" if family.get("prefix") == "first" else "both"
        forms = own if arguments.all else COMMITTED.get(name)
        if not forms:
            continue
        torch.manual_seed(arguments.seed)
        folder = arguments.out / name
        folder.mkdir(parents=True, exist_ok=True)
        whole, scored = tokenizer(name, family)
        ids = whole.get_vocab()
        ends = [ids[family["eos"]]] + [ids[token] for token in ("<|endoftext|>", "<|end_of_text|>") if token in ids]
        model = build(family, len(ids), ends)
        if forms != "published":
            (folder / "gguf").mkdir(exist_ok=True)
            write_gguf(folder / "gguf" / "tiny.gguf", name, family, model, whole, scored, ends)
        if forms != "gguf":
            own = folder / "published"
            whole.save_pretrained(own)
            # as published files have it, without the spaces
            (own / "tokenizer.json").write_text(json.dumps(json.loads((own / "tokenizer.json").read_text()), ensure_ascii=False, separators=(",", ":")))
            config = model.config.to_dict()
            (own / "config.json").write_text(json.dumps(old_style(config, name) if family["old"] else config, indent=1, default=str) + "\n")
            (own / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}) + "\n")
            tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
            save_file({key: values.bfloat16().contiguous() for key, values in model.state_dict().items() if key not in tied}, own / "model.safetensors", metadata={"format": "pt"})
        tensors, golden = reference(model, whole, arguments.seed)
        save_file(tensors, folder / "golden.safetensors")
        (folder / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n")
        print(name, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) // 1024, "KiB")


if __name__ == "__main__":
    main()
