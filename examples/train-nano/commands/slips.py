"""What happens to a command on its way: people and recognisers slip, and keyboards write capitals and stops.

What is asked for stays the same, so a model that is trained on slips learns to see through them.
"""

import re

SMALL = {"a", "an", "the", "on", "se", "ja", "kuvaan", "vielä"}
HUMS = {"english": ("um", "uh", "er", "you know", "like", "well"), "finnish": ("öö", "niinku", "tota", "siis", "no")}
LETTERS = "abcdefghijklmnopqrstuvwxyzäö"
ENDS = (".", ".", ".", "!", "?")
ALONE = re.compile(r"\bi\b")


def _drop(words, rng):
    """A small word goes missing."""
    places = [k for k, w in enumerate(words) if w in SMALL and 0 < k]
    if places:
        del words[rng.choice(places)]


def _double(words, rng):
    k = rng.randrange(len(words))
    words.insert(k, words[k])


def _hum(words, rng, language):
    words.insert(rng.randrange(len(words) + 1), rng.choice(HUMS[language]))


def _mishear(words, rng):
    """One letter of a longer word is another one, is missing, or is there twice."""
    places = [k for k, w in enumerate(words) if len(w) > 4]
    if places:
        k = rng.choice(places)
        word, at = words[k], rng.randrange(1, len(words[k]))
        words[k] = rng.choice((word[:at] + word[at + 1:], word[:at] + rng.choice(LETTERS) + word[at + 1:],
                               word[:at] + word[at] + word[at:]))


def slip(text, language, rng):
    """The command with one slip."""
    words = text.split()
    kind = rng.random()
    if kind < .3:
        _drop(words, rng)
    elif kind < .5:
        _double(words, rng)
    elif kind < .7:
        _hum(words, rng, language)
    else:
        _mishear(words, rng)
    return " ".join(words)


def typed(text, rng):
    """As a keyboard or a bigger recogniser writes it: a capital, a stop, now and then a comma or capitals all over."""
    words = text.split()
    if len(words) > 2 and rng.random() < .2:
        words[rng.randrange(len(words) - 1)] += ","
    text = ALONE.sub("I", " ".join(words))
    roll = rng.random()
    text = text.upper() if roll < .02 else text.title() if roll < .04 else text[0].upper() + text[1:] if roll < .9 else text
    return text + (rng.choice(ENDS) if rng.random() < .75 else "")
