"""Trains the tokenizer: CLIP's byte-level BPE in lower case, on prompts of this world.

    python tokenizer.py --out WORK/tokenizer
All 256 bytes are in the vocabulary, each with and without the end-of-word mark, so any text encodes.
"""

import argparse
import json
import random
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from prompts import prompt_for
from world import draw_training_scene

LENGTH = 40
START, END = "<|startoftext|>", "<|endoftext|>"


def corpus(count, seed=7):
    rng = random.Random(seed)
    for _ in range(count):
        yield prompt_for(draw_training_scene(rng), rng)


def learn_merges(texts, size):
    """Merges over CLIP's own pre-tokenisation, as pairs of strings."""
    frame = CLIPTokenizer().backend_tokenizer
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer, learner.pre_tokenizer = frame.normalizer, frame.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, end_of_word_suffix="</w>",
                                  min_frequency=5, show_progress=False)
    learner.train_from_iterator(texts, trainer)
    merges = json.loads(learner.to_str())["model"]["merges"]
    return alphabet, [tuple(m) if not isinstance(m, str) else tuple(m.split(" ")) for m in merges]


def build(count=30000, size=1100):
    """A CLIPTokenizer in CLIP's usual order: bytes, bytes at the end of a word, merges, the two marks."""
    alphabet, merges = learn_merges(corpus(count), size)
    words = alphabet + [a + "</w>" for a in alphabet] + ["".join(m) for m in merges]
    vocab = {w: i for i, w in enumerate(dict.fromkeys(words))}
    for mark in (START, END):
        vocab[mark] = len(vocab)
    return CLIPTokenizer(vocab=vocab, merges=merges, bos_token=START, eos_token=END, unk_token=END,
                         pad_token=END, model_max_length=LENGTH), vocab, merges


def save(tokenizer, vocab, merges, folder):
    """Everything transformers writes, and vocab.json and merges.txt in the older layout."""
    folder = Path(folder)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    marks = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    (folder / "special_tokens_map.json").write_text(json.dumps(marks, indent=2))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    save(*build(), args.out)
    tokenizer = CLIPTokenizer.from_pretrained(args.out)
    longest = max(len(tokenizer(text)["input_ids"]) for text in corpus(5000, seed=8))
    print(f"{len(tokenizer)} words; the longest of 5000 prompts has {longest} tokens")


if __name__ == "__main__":
    main()
