"""Who speaks: espeak-ng's accents and voice variants, and which of them no training ever hears.

A voice is an accent and a variant, such as `en-us+m3`. Held out is a variant as a whole, in both languages and with
everything that is made of it (Steph2 with Steph), and one English accent besides.
"""

import random
from dataclasses import dataclass

# `en` is British; as `en-gb` espeak-ng 1.51 knows no variants of it
ACCENTS = {
    "en": ("en", "en-us", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc"),
    "fi": ("fi",),
}
# the test's English voices have the accent of nobody in training; Finnish has only one
TEST_ACCENTS = {"en": ("en-gb-x-rp", "en", "en-us"), "fi": ("fi",)}
TEST = ("f4", "m7", "Annie", "Michael", "paul", "steph2", "victor")
VALIDATION = ("m4", "linda", "david")
# left away: siblings of held-out voices, whispering, croaking, effects, and what is faster than speech
TRAINING = (
    "m1", "m2", "m3", "m5", "m6", "m8", "f1", "f2", "f3", "f5", "Alex", "Alicia", "Andrea", "Andy", "Denis", "Diogo", "Gene", "Gene2",
    "Henrique", "Hugo", "Jacky", "Lee", "Marco", "Mario", "Mike", "Nguyen", "RicishayMax", "RicishayMax2", "RicishayMax3", "adam", "anika",
    "antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "ed", "edward", "edward2", "grandma", "grandpa", "gustave", "iven",
    "iven2", "iven3", "iven4", "john", "kaukovalta", "klatt2", "klatt3", "klatt4", "marcelo", "max", "miguel", "norbert", "pablo",
    "pedro", "quincy", "rob", "robert", "robosoft", "robosoft3", "robosoft5", "sandro", "shelby", "travis", "zac", "",
)
VARIANTS = {"train": TRAINING, "validation": VALIDATION, "test": TEST}
# words a minute, pitch from 0 to 99, further pause between words in hundredths of a second
WIDE = {"speed": (125, 235), "pitch": (25, 75), "gap": (0, 4)}
USUAL = {"speed": (135, 185), "pitch": (35, 65), "gap": (0, 2)}


@dataclass(frozen=True)
class Voice:
    """How somebody speaks."""
    name: str
    speed: int
    pitch: int
    gap: int


def accents(language, split):
    return (TEST_ACCENTS if split == "test" else ACCENTS)[language]


def voice_named(language, variant, accent=0, split="test"):
    """A voice at its middle speed and pitch."""
    return Voice(_name(accents(language, split)[accent], variant), 155, 50, 0)


def draw_voice(language, split, rng: random.Random):
    """Somebody of a split; those who train speak faster, slower, higher and lower than others."""
    how = WIDE if split == "train" else USUAL
    name = _name(rng.choice(accents(language, split)), rng.choice(VARIANTS[split]))
    return Voice(name, *(rng.randint(*how[key]) for key in ("speed", "pitch", "gap")))


def _name(accent, variant):
    return f"{accent}+{variant}" if variant else accent
