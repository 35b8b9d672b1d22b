"""Scene to words: one of very many ways to ask for a scene.

A phrase is put together from a sentence frame and from synonyms for object, colour, setting and style.
Frames marked as held out are used for test prompts only.
"""

from words import (ABOVE, BESIDE, COLOUR_WORDS, MATTER, NOUNS, ON, PLACE_TIME, PLAIN, SIZES, STYLE_AFTER,
                   STYLE_BEFORE, STYLE_TAG, TASTE)
from world import NATURAL_BACKGROUND, NATURAL_COLOUR, Scene, Thing

FRAMES = (
    "{thing} {place}", "{thing} {place}, {style}", "{before} {thing} {place}", "{thing} {style} {place}",
    "{place}, {thing}", "{place}, {thing} {style}", "a picture of {thing} {place}, {style}",
    "please draw {thing} {place} {style}", "draw {thing} {place} {style}", "an image of {thing} {place} {style}",
    "{thing}, {place}, {style}", "{style}, {thing}, {place}", "an illustration of {thing} {place}, {style}",
    "i would like to see {thing} {place} {style}", "{before} {thing}, {place}", "make {thing} {place} {style}",
    "{tag} {thing} {place}", "{tag}: {thing} {place}", "{thing} {place} | {tag}", "show me {thing} {place} {style}",
    "paint me {thing} {place}, please, {style}", "{place} there is {thing} {style}", "{bare}, {place}, {tag}",
    "{bare} {place} {tag}", "a drawing with {thing} {place}, {style}", "a postcard with {thing} {place} {style}",
    "something with {thing} {place}, {style}", "a page with {thing}, {place}, {style}",
    "i need an image with {thing} {place} {style}", "could you make one with {thing} {place} {style}?",
)
TEST_FRAMES = (
    "can you draw {thing} {place} {style}?", "i want a picture with {thing} {place}, {style}",
    "{place} we see {thing}, all {style}", "a scene with {thing} {place}, {style}",
    "{before} {thing} that is {place}", "give me {thing} {place}, {style}",
)


def article(words):
    return ("an " if words[0] in "aeiou" else "a ") + words


def noun_phrase(rng, thing, say_colour, articles=True):
    noun = rng.choice(NOUNS[thing.shape])
    colour = rng.choice(COLOUR_WORDS[thing.colour]) if say_colour else ""
    extra = rng.choice(SIZES) + " " if rng.random() < .18 else ""
    if colour and articles and rng.random() < .10:
        return rng.choice((f"{article(extra + noun)} in {colour}", f"{article(extra + noun)} that is {colour}",
                           f"{article(extra + noun)} coloured {colour}"))
    words = f"{extra}{colour + ' ' if colour else ''}{noun}"
    if not articles:
        return words
    if noun in MATTER:
        return words
    return rng.choice(("the ", "one ", "my ", "")) + words if rng.random() < .12 else article(words)


def _subject(rng, scene, say_colour, articles=True):
    if not scene.things:
        return ""
    first = noun_phrase(rng, scene.things[0], say_colour, articles)
    if len(scene.things) == 1:
        return first
    second = noun_phrase(rng, scene.things[1], say_colour, articles)
    link = rng.choice({"on": ON, "above": ABOVE, "beside": BESIDE}[scene.relation])
    if link in ("under", "below", "beneath"):
        return f"{second} {link} {first}"
    if link == "right":
        return f"{second} {rng.choice(('to the right of', 'right of'))} {first}"
    return f"{first} {link} {second}"


def _setting(rng, scene):
    place, tint = scene.background.split()
    if place == "plain":
        return rng.choice(PLAIN).replace("#", rng.choice(COLOUR_WORDS[tint]))
    return rng.choice(PLACE_TIME[place, tint])


def tidy(text):
    text = " ".join(text.split())
    for wrong, right in ((" ,", ","), (",,", ","), (", ,", ","), (" ?", "?"), (", ?", "?"), (" :", ":"), (" |", ",")):
        text = text.replace(wrong, right)
    return text.strip(" ,:|")


def _fill(rng, frame, scene, say_colour, say_place, say_style):
    after, before, tag = STYLE_AFTER[scene.style], STYLE_BEFORE[scene.style], STYLE_TAG[scene.style]
    text = frame.format(
        thing=_subject(rng, scene, say_colour), bare=_subject(rng, scene, say_colour, False),
        place=_setting(rng, scene) if say_place else "",
        style=rng.choice(after) if say_style else "", before=rng.choice(before if say_style else ("a picture of",)),
        tag=rng.choice(tag) if say_style else "")
    return tidy(text.replace("all in", "in") if not say_style else text)


def _bare_setting(rng, scene, say_style):
    """A prompt for a picture without objects."""
    text = _setting(rng, scene)
    for start in ("on ", "in ", "at ", "over ", "under ", "by ", "against ", "with ", "during "):
        text = text.removeprefix(start)
    style = rng.choice(STYLE_AFTER[scene.style]) if say_style else ""
    return tidy(rng.choice(("{}, {}", "an empty scene, {} {}", "only {} {}", "{} {}", "just {}, {}")).format(text, style))


def _natural(scene):
    return all(t.colour == NATURAL_COLOUR[t.shape] for t in scene.things)


def prompt_for(scene, rng):
    """A training prompt. What is natural for the objects is often left unsaid, and flat style too."""
    say_style = rng.random() < (.45 if scene.style == "flat" else 1.0)
    if not scene.things:
        return _bare_setting(rng, scene, say_style)
    usual = scene.background == NATURAL_BACKGROUND[scene.things[0].shape]
    say_place = not (usual and rng.random() < .6)
    say_colour = not (_natural(scene) and rng.random() < .4)
    text = _fill(rng, rng.choice(FRAMES), scene, say_colour, say_place, say_style)
    if rng.random() < .08:
        text = tidy(f"{text}, {rng.choice(TASTE)}")
    return text + "." if rng.random() < .1 else text


def test_prompt_for(scene, rng):
    """A test prompt: says everything (flat style now and then left unsaid), half of the time in a held-out frame."""
    say_style = scene.style != "flat" or rng.random() < .6
    frame = rng.choice(TEST_FRAMES if rng.random() < .5 else FRAMES)
    return _fill(rng, frame, scene, True, True, say_style)


def plain_scene(shape, colour, background, style="flat"):
    """A scene with one object, for demonstrations."""
    return Scene((Thing(shape, colour),), "none", background, style)
