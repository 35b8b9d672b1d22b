"""Parts of prompts in either language, each as said and in English; objects also whole, with a colour where none was said."""

from commands import finnish
from commands.english import AN, foreign, spoken, written
from commands.finnish_words import COLOURS, HOURS, LINKS, NOUNS, SIZES, SPOTS, STYLES, phrase
from prompts import article
import words


class English:
    """Said and meant are the same words."""

    def thing(self, rng, shape, colour, own):
        """As said, in English, and with the colour `own` where none was said. Unknown shapes are from beyond the nano world."""
        noun = spoken(rng.choice(words.NOUNS[shape])) if shape in words.NOUNS else foreign(rng)
        size = rng.choice(words.SIZES) if rng.random() < .15 else ""
        tint = spoken(rng.choice(words.COLOUR_WORDS[colour])) if colour else ""
        said, whole = (article(" ".join(f"{size} {t} {noun}".split())) for t in (tint, tint or own or ""))
        return said, said, whole

    def link(self, rng, relation, first, second):
        """Two objects placed by each other."""
        link = rng.choice({"on": words.ON, "above": words.ABOVE, "beside": words.BESIDE}[relation])
        link = "right of" if link == "right" else link
        return tuple(f"{a} {link} {b}" for a, b in zip(first, second))

    def alone(self, thing):
        return thing

    def plain(self, rng, colour):
        frame = rng.choice(("on a {} background", "on a plain {} background", "against a {} background", "on {} paper",
                            "in front of a {} wall"))
        text = AN.sub("an ", frame.format(spoken(rng.choice(words.COLOUR_WORDS[colour]))))
        return text, text

    def spot(self, rng, place):
        text = rng.choice(words.SPOTS.get(place, ("in the sky", "up in the sky")))
        return text, text

    def hour(self, rng, time):
        text = rng.choice([h for h in words.HOURS[time] if h])
        return text, text

    def style(self, rng, style):
        text = spoken(rng.choice(words.STYLE_AFTER[style]))
        return text, written(text)


class Finnish:
    """Inflected words, and what they mean."""

    def thing(self, rng, shape, colour, own):
        chosen = [finnish.noun(rng, shape, 0.0 if shape in NOUNS else 1.0)]
        if colour:
            chosen.insert(0, rng.choice(COLOURS[colour]))
        if rng.random() < .15:
            chosen.insert(0, rng.choice(SIZES))
        english = [w[3] for w in chosen]
        whole = english if colour or not own else english[:-1] + [own] + english[-1:]
        return chosen, article(" ".join(english)), article(" ".join(whole))

    def link(self, rng, relation, first, second):
        here, _, link = rng.choice(LINKS[relation])
        said = f"{phrase(first[0], 'nom')} {phrase(second[0], 'gen')} {here}"
        return said, *(f"{a} {link} {b}" for a, b in zip(first[1:], second[1:]))

    def alone(self, thing):
        return phrase(thing[0], "nom"), *thing[1:]

    def plain(self, rng, colour):
        word = rng.choice(COLOURS[colour])
        return phrase((word, finnish.BACKGROUND), "ade"), f"on {article(word[3])} background"

    def spot(self, rng, place):
        here, _, english = rng.choice(SPOTS[place])
        return here, english

    def hour(self, rng, time):
        return rng.choice(HOURS[time])

    def style(self, rng, style):
        return rng.choice(STYLES[style])


VOICES = {"english": English(), "finnish": Finnish()}
