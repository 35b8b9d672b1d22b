"""English commands by lot. A prompt keeps the words that were said, without what is only courtesy.

So "draw a crimson kitten" asks for "a crimson kitten", not for "a red cat": the picture model knows the synonyms, and
what it does not know is still passed on. Only the wording around them is made one: see `english_frames.EDITS`.
"""

import re

from commands.english_frames import (BACK, BEYOND, DEEDS, DONE, DRAW, EARLIER, EDITS, FILLERS, IMAGE, NONE_FRAMES, NONE_WHOLE, NONE_WORDS,
                                     OPENERS, PICTURE, POLITE_AFTER, POLITE_BEFORE, RESTORE, UNDO_WHOLE, UNDOING, WISH)
from commands.intention import NONE, UNDO, create, edit
from edit.phrases import CORNER, GROUND, HOUR, SKY_SPOTS, SPOT, WORK
from prompts import article
from words import ABOVE, BESIDE, COLOUR_WORDS, HOURS, NOUNS, ON, PLACE_TIME, SIZES, SPOTS, STYLE_AFTER, STYLE_BEFORE, STYLE_TAG
from world import COLOURS, SHAPES, STYLES, TIMES, draw_scene

# what is said aloud, and how the picture model has it
SPOKEN = {"8-bit": "eight bit", "8 bit": "eight bit", "16-bit": "sixteen bit"}
AN = re.compile(r"\ba (?=[aeiou])")
WRITTEN = {"eight bit": "8-bit", "sixteen bit": "16-bit"}
PLAIN = ("on a plain # background", "on a # background", "on a # background", "on a # background", "on plain #", "on a # backdrop",
         "against a # background", "with a # background", "in front of a # wall", "over a solid # background", "on # paper",
         "on a flat # background", "against #", "on a solid # background")
AFTER = {style: [a for a in after if a.split()[0] in ("in", "as", "drawn", "with", "like", "painted", "on", "made")]
         for style, after in STYLE_AFTER.items()}
STARTS = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "gl", "kr", "sn", "tr", "qu", "w", "j", "st", "h", "ch")
PLURALS = ("clouds", "mountains", "flowers", "some fish", "trees", "stars", "two birds", "some flowers")
VERBS = {w.split()[0] for w in DRAW} | {frame.split()[0] for _, frames in EDITS.values() for frame in frames} | {
    "start", "begin", "undo", "revert", "reverse", "cancel", "roll", "restore", "bring", "return", "jump", "step", "take", "turn"}
VERBS -= {"i", "i'd", "{it}", "{where}", "could", "can", "there", "without", "no", "the", "let's", "how", "what", "it", "also", "now"}


def spoken(text):
    """Without commas and hyphens, digits as words."""
    for written, said in SPOKEN.items():
        text = text.replace(written, said)
    return " ".join(text.replace(",", " ").replace("-", " ").split())


def written(text):
    """The spoken words as a prompt: only the names of styles have digits."""
    for said, digits in WRITTEN.items():
        text = text.replace(said, digits)
    return text


def invented(rng):
    """A word that nobody knows, so that it can only be passed on as it was said."""
    return "".join(rng.choice(STARTS) + rng.choice("aeiou") for _ in range(rng.choice((1, 2, 2, 3)))) + rng.choice(STARTS[:12])


def foreign(rng):
    """A noun from outside the nano world: half of them known words, half invented ones."""
    return rng.choice(BEYOND) if rng.random() < .5 else invented(rng)


def noun(rng, shape, beyond):
    return foreign(rng) if rng.random() < beyond else rng.choice(NOUNS[shape])


def thing(rng, shape, colour, beyond):
    """ "a small red cat", "a cat in crimson", "one cat". """
    name, extra = noun(rng, shape, beyond), rng.choice(SIZES) + " " if rng.random() < .16 else ""
    tint = rng.choice(COLOUR_WORDS[colour]) if rng.random() < .85 else ""
    if tint and rng.random() < .06:
        return f"{article(extra + name)} {rng.choice(('in', 'that is', 'coloured'))} {tint}"
    words = f"{extra}{tint + ' ' if tint else ''}{name}"
    # never "the": a definite thing is one that is in the picture already, and belongs to an edit
    return f"one {words}" if rng.random() < .03 else article(words)


def _subject(rng, scene, beyond):
    things = [thing(rng, t.shape, t.colour, beyond) for t in scene.things]
    if len(things) < 2:
        return "".join(things)
    link = rng.choice({"on": ON, "above": ABOVE, "beside": BESIDE}[scene.relation])
    return f"{things[0]} {'right of' if link == 'right' else link} {things[1]}"


def _setting(rng, scene):
    place, tint = scene.background.split()
    if place != "plain":
        return rng.choice(PLACE_TIME[place, tint])
    colour = rng.choice(COLOUR_WORDS[tint])
    return rng.choice(PLAIN).replace("a #", article(colour)).replace("#", colour)


def description(rng, beyond):
    """What a new picture shows: objects, where, in which style; each now and then left out."""
    while not (scene := draw_scene(rng)).things:
        pass
    subject = _subject(rng, scene, beyond)
    place = _setting(rng, scene) if rng.random() < .72 else ""
    roll = rng.random()
    if roll < .10:
        return f"{rng.choice(STYLE_BEFORE[scene.style])} {subject} {place}"
    style = rng.choice(STYLE_AFTER[scene.style]) if roll < .38 else ""
    return f"{subject} {style} {place}" if rng.random() < .3 else f"{subject} {place} {style}"


def _create(rng, beyond):
    what, roll = spoken(description(rng, beyond)), rng.random()
    if roll < .08:
        lead = ""
    elif roll < .16:
        lead = rng.choice(OPENERS)
    else:
        lead = rng.choice(DRAW if roll < .7 else WISH)
        # "a picture of a watercolour of" is nobody's English
        if rng.random() < .35 and " of " not in what[:30]:
            lead = f"{lead} {rng.choice(PICTURE)}"
    return f"{lead} {what}".strip(), create(written(what))


def reference(rng, beyond, alone=.3):
    """The object meant: as said ("that red boat") and as answered ("the red boat"), or "it" twice."""
    if rng.random() < alone:
        return "it", "it"
    name = noun(rng, rng.choice(SHAPES), beyond)
    if rng.random() < .25:
        name = f"{rng.choice(COLOUR_WORDS[rng.choice(COLOURS)])} {name}"
    elif rng.random() < .12:
        name = f"{rng.choice(SIZES)} {name}"
    name = spoken(name)
    return f"{rng.choice(('the',) * 9 + ('that', 'this', 'my'))} {name}", f"the {name}"


def _where(rng):
    """Beside which object, or in which corner, something is added."""
    spot = rng.choice(list(SPOT))
    return rng.choice(CORNER[spot]) if rng.random() < .35 else f"{rng.choice(SPOT[spot])} the {rng.choice(NOUNS[rng.choice(SHAPES)])}"


def _hours(rng, time):
    return rng.choice([h for h in HOURS[time] if h])


def _new(rng, kind, beyond):
    if kind == "add" and rng.random() < .08:
        return rng.choice(PLURALS)
    return thing(rng, rng.choice(SHAPES), rng.choice(COLOURS), beyond)


def _fields(rng, kind, beyond):
    """What stands in the frames of this kind of edit."""
    time, style, place = rng.choice(TIMES), rng.choice(STYLES), rng.choice(list(GROUND))
    late = f" {_hours(rng, rng.choice(TIMES))}" if rng.random() < .15 else ""
    return {
        "to": rng.choice(COLOUR_WORDS[rng.choice(COLOURS)]), "new": _new(rng, kind, beyond), "where": _where(rng),
        "hour": rng.choice(HOUR[time]), "when": _hours(rng, time), "spot": rng.choice(SPOTS.get(place, SKY_SPOTS)) + late,
        "ground": rng.choice(GROUND[place]) + late, "work": rng.choice(WORK[style]), "after": rng.choice(AFTER[style]),
        "tag": rng.choice(STYLE_TAG[style])}


KINDS = {"recolour": 15, "swap": 14, "add": 12, "add at": 12, "remove": 12, "time": 8, "when": 4, "spot": 8, "ground": 5, "plain": 8,
         "work": 6, "after": 4, "tag": 3, "deed": 2}
# what an edit of these kinds changes is the background, whoever says "it"
OF_BACKGROUND = ("ground", "plain")


def _edit(rng, beyond):
    kind = rng.choices(list(KINDS), KINDS.values())[0]
    if kind == "deed":
        text, prompt = rng.choice(list(DEEDS.items()))
        return text, edit(prompt)
    answer, frames = EDITS[kind]
    fields = {k: spoken(v) for k, v in _fields(rng, kind, beyond).items()}
    said, named = reference(rng, beyond, .75 if kind == "spot" else .12 if kind == "remove" else .3)
    if kind == "tag":
        fields["tag"] = fields["tag"].removesuffix(" style")
    text = AN.sub("an ", rng.choice(frames).format(it=said, **fields))
    target = "the background" if kind in OF_BACKGROUND else named if "{it}" in answer else ""
    return text, edit(written(answer.format(it=named, **fields)), target)


def _undo(rng, _):
    roll = rng.random()
    if roll < .3:
        text = rng.choice(UNDO_WHOLE)
    elif roll < .6:
        text = f"{rng.choice(BACK)} to {rng.choice(EARLIER).format(rng.choice(IMAGE))}"
    elif roll < .8:
        text = f"{rng.choice(UNDOING)} {rng.choice(DONE)}"
    else:
        text = f"{rng.choice(RESTORE)} {rng.choice(EARLIER[:10]).format(rng.choice(IMAGE))}" + (" again" if rng.random() < .4 else "")
    return text, UNDO


def _none(rng, _):
    if rng.random() < .4:
        return rng.choice(NONE_WHOLE), NONE
    frame = rng.choice(NONE_FRAMES)
    words = {name: rng.choice(choice) for name, choice in NONE_WORDS.items()}
    shape, colour = rng.choice(SHAPES), rng.choice(COLOURS)
    text = frame.format(noun=rng.choice(NOUNS[shape]), colour=rng.choice(COLOUR_WORDS[colour]), **words)
    return spoken(text), NONE


# what people ask for, each with what makes its commands
MAKERS = {"create": _create, "edit": _edit, "undo": _undo, "none": _none}


def courteous(rng, text):
    """The command as people say it: asked for politely, with a filler before or thanks after it."""
    if text.split()[0] in VERBS and rng.random() < .28:
        text = f"{rng.choice(POLITE_BEFORE)} {text}"
    if rng.random() < .12:
        text = f"{rng.choice(FILLERS)} {text}"
    return f"{text} {rng.choice(POLITE_AFTER)}" if rng.random() < .12 else text
