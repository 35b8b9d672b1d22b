"""What the model is taught: conversations of both tasks, drawn afresh for ever, as pairs of what is asked and what is answered."""

import random

from commands.bank import LANGUAGES, sentences
from commands.intention import compact
from commands.slips import slip, typed
from word.enhance import prompts

TASKS = ("intent", "enhance")
BEYOND = .12
SLIPS, TYPED = .08, .25


class Lessons:
    """Both languages by lot; the share of commands with slips, and of those that were typed rather than spoken, as above.

    `avoid`: spoken texts that are never drawn, since a slip may make a sentence of the test out of another one.
    """

    def __init__(self, seed, split="train", avoid=frozenset()):
        self.avoid = avoid
        self.rng = random.Random(f"lessons {seed}")
        self.commands = {language: sentences(split, language, seed, BEYOND) for language in LANGUAGES}
        self.prompts = {language: prompts(split, language, random.Random(f"prompts {split} {language} {seed}")) for language in LANGUAGES}

    def intent(self):
        language = self.rng.choice(list(LANGUAGES))
        sentence = next(self.commands[language])
        text = slip(sentence.text, language, self.rng) if self.rng.random() < SLIPS else sentence.text
        if text in self.avoid:
            return self.intent()
        return (typed(text, self.rng) if self.rng.random() < TYPED else text), compact(sentence.intention)

    def enhance(self):
        language = "english" if self.rng.random() < .75 else "finnish"
        prompt = next(self.prompts[language])
        if prompt.said in self.avoid:
            return self.enhance()
        return (typed(prompt.said, self.rng) if self.rng.random() < .2 else prompt.said), prompt.whole

    def draw(self, task):
        """(what is asked, what is answered)."""
        return self.intent() if task == "intent" else self.enhance()
