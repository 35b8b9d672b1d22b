"""How conversations become tokens: the system turns, the chat template, and a byte-level BPE trained on the bank.

    python -m word.wording --out WORK/word/tokenizer.json
All 256 bytes are in the vocabulary, so any text encodes. The system turns are those that the plugins send.
"""

import argparse
import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from word.lessons import Lessons

SYSTEM = {
    "intent": "You turn what the user of a picture studio says, in any language, into JSON. action is create for a new picture, edit to "
              "change the present one, undo to go back to the one before, none for anything else. target is the thing that an edit changes, "
              "or empty. prompt is in English: for create what the picture shows, for edit what to change, without polite words; empty for "
              "undo and none.",
    "enhance": "You enrich prompts for an image model. Keep all that the prompt says, fill in what it leaves unsaid (colours, setting, "
               "light, style), and answer with the prompt alone, in English, in one line.",
}
SPECIALS = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
END = "<|end|>"
TEMPLATE = ("{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] | trim + '<|end|>' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}")
VOCABULARY = 2560


def opening(task):
    """What every conversation of a task begins with."""
    return f"<|system|>{SYSTEM[task]}<|end|>"


def asking(text):
    return f"<|user|>{text.strip()}<|end|><|assistant|>"


def learn(texts, size=VOCABULARY):
    """GPT-2's way of cutting words, merges of our own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size - len(SPECIALS), initial_alphabet=alphabet, min_frequency=3, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    return tokenizer


def load(path):
    return Tokenizer.from_file(str(path))


def words_and_merges(tokenizer):
    """Tokens in the order of their ids, and merges as GGUF writes them."""
    count = tokenizer.get_vocab_size()
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tokenizer.id_to_token(k) for k in range(count)], [m if isinstance(m, str) else " ".join(m) for m in merges]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=60000, help="sentences that it learns from")
    args = parser.parse_args()
    lessons, texts = Lessons(seed=3), []
    for task, share in (("intent", 5), ("enhance", 1)):
        for _ in range(args.count * share // 6):
            texts += lessons.draw(task)
    # each of their words is then a word of the vocabulary, as the system turns are read with every command
    texts += list(SYSTEM.values()) * (len(texts) // 40)
    tokenizer = learn(texts)
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(args.out)
    lengths = {task: len(tokenizer.encode(opening(task)).ids) for task in SYSTEM}
    print(f"{tokenizer.get_vocab_size()} tokens; the system turns take {lengths}")


if __name__ == "__main__":
    main()
