"""Edits to instructions: one of very many ways to ask for a change, and which parts of it were said."""

from dataclasses import replace

from edit.phrases import (CORNER, DEED, FRAMES, GROUND, HOUR, NEIGHBOUR, POLITE, SKY_SPOTS, SPOT, TEST_FRAMES, VERBS, WORK)
from prompts import noun_phrase, tidy
from words import COLOUR_WORDS, HOURS, NOUNS, PLAIN, SPOTS, STYLE_AFTER, STYLE_TAG
from world import Thing

IT, COLOURED, PLURAL = .35, .3, .06


def _reference(edit, alone, rng):
    """The object meant, and whether its kind was named: "the boat", "the red boat", or "it" where there is no other."""
    if edit.shape is None or alone and rng.random() < IT:
        return "it", False
    noun = rng.choice(NOUNS[edit.shape])
    if edit.colour and rng.random() < COLOURED:
        noun = f"{rng.choice(COLOUR_WORDS[edit.colour])} {noun}"
    return f"the {noun}", True


def _new(edit, say_colour, rng):
    """The new object with an article, or now and then in the plural for one of a kind."""
    thing = Thing(edit.new_shape, edit.new_colour)
    if edit.kind == "add" and not say_colour and rng.random() < PLURAL:
        return {"cloud": "clouds", "mountain": "mountains", "flower": "flowers", "fish": "some fish"}.get(edit.new_shape) \
            or noun_phrase(rng, thing, False)
    return noun_phrase(rng, thing, say_colour)


def _where(edit, rng):
    """Where the new object goes, with or without naming the one already there."""
    if edit.anchor is None or rng.random() < .15:
        return rng.choice(CORNER[edit.spot]), False
    words = SPOT[edit.spot] + (NEIGHBOUR if edit.spot == "left" and "spot" not in edit.must else ())
    return f"{rng.choice(words)} the {rng.choice(NOUNS[edit.anchor])}", True


def _hours(time, rng):
    return rng.choice([h for h in HOURS[time] if h])


def _spot(edit, say_time, rng):
    spot = rng.choice(SKY_SPOTS if edit.place == "sky" else SPOTS[edit.place])
    return f"{spot} {_hours(edit.time, rng)}" if say_time else spot


def _fields(edit, said, reference, rng):
    """What stands in the frames of this kind of edit."""
    fields = {"it": reference}
    colour = rng.choice(COLOUR_WORDS[edit.new_colour]) if edit.new_colour else ""
    if edit.kind in ("swap", "add"):
        fields["new"] = _new(edit, said.new_colour is not None, rng)
    elif edit.new_colour:
        fields |= {"to": colour, "paper": rng.choice(PLAIN[:10]).replace("#", colour)}
    if edit.kind == "time":
        fields |= {"hour": rng.choice(HOUR[edit.time]), "when": _hours(edit.time, rng), "deed": rng.choice(DEED[edit.time])}
    if edit.kind == "place":
        late = f" {_hours(edit.time, rng)}" if said.time else ""
        fields |= {"spot": _spot(edit, said.time is not None, rng), "ground": rng.choice(GROUND[edit.place]) + late}
    if edit.kind == "style":
        fields |= {"work": rng.choice(WORK[edit.style]), "after": rng.choice(STYLE_AFTER[edit.style]),
                   "tag": rng.choice(STYLE_TAG[edit.style])}
    return fields


def _said(edit, rng):
    """The edit without the parts that this instruction leaves to the hearer."""
    say = lambda name, chance: name in edit.must or rng.random() < chance
    if edit.kind == "place" and not say("time", .12):
        edit = replace(edit, time=None)
    if edit.kind in ("add", "swap") and not say("new_colour", .35 if edit.kind == "add" else .15):
        edit = replace(edit, new_colour=None)
    if edit.kind == "add" and (edit.spot is None or not say("spot", .5)):
        edit = replace(edit, spot=None, anchor=None)
    return edit


def _polish(text, rng):
    """Courtesy and punctuation as people speak and type."""
    if text.split()[0] in VERBS and rng.random() < .15:
        text = f"{rng.choice(POLITE)} {text}"
    elif rng.random() < .06:
        text = rng.choice((f"{text} please", f"{text}, please", f"{text} now"))
    return tidy(text) + (rng.choice((".", "!", "")) if rng.random() < .15 else "")


def instruction(edit, objects, rng, test=False):
    """Text, and the edit reduced to what the text says. `objects`: how many the old picture has.

    Test instructions take their frame from those never trained on half of the time.
    """
    said = _said(edit, rng)
    frames = (TEST_FRAMES if test and rng.random() < .5 else FRAMES)["add at" if said.spot else edit.kind]
    frame, (reference, named) = rng.choice(frames), _reference(edit, objects == 1, rng)
    fields = _fields(edit, said, reference, rng)
    if said.spot:
        fields["where"], anchored = _where(edit, rng)
        said = said if anchored else replace(said, anchor=None)
    if "{it}" not in frame or not named:
        said = replace(said, shape=None)
    if edit.kind == "add" and edit.new_colour and said.new_colour is None:
        said = replace(said, new_colour=edit.new_colour)      # what is natural goes without saying
    return _polish(frame.format(**fields), rng), said
