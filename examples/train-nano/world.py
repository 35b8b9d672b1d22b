"""The little world: its vocabulary, the Scene record, how scenes are drawn by lot, and what is held out."""

import zlib
from dataclasses import dataclass

SHAPES = ("circle", "square", "triangle", "star", "heart", "tree", "house", "boat",
          "mountain", "sun", "moon", "cloud", "flower", "fish", "cat")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
PLACES = ("sky", "sea", "meadow", "snow")
TIMES = ("day", "sunset", "night")
STYLES = ("flat", "outline", "watercolor", "pixel")
RELATIONS = ("none", "on", "above", "beside")
BACKGROUNDS = tuple(f"plain {c}" for c in COLOURS) + tuple(f"{p} {t}" for p in PLACES for t in TIMES)
HELD_OUT_ONE_IN = 16

NATURAL_COLOUR = {
    "circle": "red", "square": "blue", "triangle": "green", "star": "yellow", "heart": "red",
    "tree": "green", "house": "red", "boat": "red", "mountain": "purple", "sun": "yellow",
    "moon": "yellow", "cloud": "white", "flower": "pink", "fish": "orange", "cat": "orange",
}
NATURAL_BACKGROUND = {
    "circle": "plain white", "square": "plain white", "triangle": "plain white",
    "star": "sky night", "heart": "plain white", "tree": "meadow day", "house": "meadow day",
    "boat": "sea day", "mountain": "sky day", "sun": "sky day", "moon": "sky night",
    "cloud": "sky day", "flower": "meadow day", "fish": "sea day", "cat": "meadow day",
}


@dataclass(frozen=True)
class Thing:
    """One object: what it is and its colour."""
    shape: str
    colour: str


@dataclass(frozen=True)
class Scene:
    """What a picture shows. `things` holds none, one or two objects: first above or left of second."""
    things: tuple
    relation: str
    background: str
    style: str

    @property
    def place(self):
        return self.background.split()[0]

    @property
    def key(self):
        names = [f"{t.colour} {t.shape}" for t in self.things]
        return "|".join(names + [self.relation, self.background, self.style])


def labels(scene):
    """Class numbers of a scene: shape and colour of both things (last class: none), background, style, relation."""
    out = []
    for place in range(2):
        there = place < len(scene.things)
        out.append(SHAPES.index(scene.things[place].shape) if there else len(SHAPES))
        out.append(COLOURS.index(scene.things[place].colour) if there else len(COLOURS))
    return out + [BACKGROUNDS.index(scene.background), STYLES.index(scene.style), RELATIONS.index(scene.relation)]


LABEL_NAMES = ("shape1", "colour1", "shape2", "colour2", "background", "style", "relation")
LABEL_SIZES = (len(SHAPES) + 1, len(COLOURS) + 1, len(SHAPES) + 1, len(COLOURS) + 1,
               len(BACKGROUNDS), len(STYLES), len(RELATIONS))


def held_out(scene):
    """Whether this combination is kept for the test and never trained on."""
    return bool(scene.things) and zlib.crc32(scene.key.encode()) % HELD_OUT_ONE_IN == 0


def _background(rng):
    if rng.random() < 0.42:
        return "plain " + rng.choice(COLOURS)
    time = rng.choices(TIMES, (5, 3, 3))[0]
    return f"{rng.choices(PLACES, (3, 2, 2, 2))[0]} {time}"


def _colour(rng, shape, avoid):
    if NATURAL_COLOUR[shape] not in avoid and rng.random() < 0.15:
        return NATURAL_COLOUR[shape]
    return rng.choice([c for c in COLOURS if c not in avoid])


def draw_scene(rng):
    """A scene by lot, from everything the world can show."""
    background = _background(rng)
    style = rng.choices(STYLES, (4, 2, 2, 2))[0]
    count = rng.choices((0, 1, 2), (3, 67, 30))[0]
    avoid = {background.split()[1]} if background.startswith("plain") else set()
    if count == 0:
        return Scene((), "none", background, style)
    if count == 1:
        shape = rng.choice(SHAPES)
        if rng.random() < 0.12 and NATURAL_BACKGROUND[shape] != f"plain {NATURAL_COLOUR[shape]}":
            background, avoid = NATURAL_BACKGROUND[shape], set(NATURAL_BACKGROUND[shape].split()[1:])
        return Scene((Thing(shape, _colour(rng, shape, avoid)),), "none", background, style)
    first, second = rng.sample(SHAPES, 2)
    things = (Thing(first, _colour(rng, first, avoid)), Thing(second, _colour(rng, second, avoid)))
    return Scene(things, rng.choice(RELATIONS[1:]), background, style)


def draw_training_scene(rng):
    """A scene by lot that is not held out."""
    while True:
        scene = draw_scene(rng)
        if not held_out(scene):
            return scene


def draw_test_scene(rng):
    """A scene by lot from the held-out combinations."""
    while True:
        scene = draw_scene(rng)
        if held_out(scene):
            return scene
