"""Scene to picture: background, objects in their places, then the style. Drawn at three times the size."""

import random

import numpy as np
from PIL import Image, ImageDraw

from objects import BUILDERS
from palette import INK, PAINT, edge, luma, mix
from settings import glow, main_colour, paint_setting, tone
from styles import pixel, watercolor

SIZE, OVER = 128, 3
BIG = SIZE * OVER
AIRBORNE = {"sun", "moon", "cloud"}


def _layout(scene, rng):
    """(centre x, centre y, radius) of every object, as fractions of the width."""
    j = lambda k: rng.uniform(-k, k)
    grow = 1.14 if scene.style == "pixel" else 1.0
    if len(scene.things) == 1:
        lift = .08 if scene.things[0].shape in AIRBORNE and scene.place != "plain" else 0
        return [(.5 + j(.05), .54 - lift + j(.03), .30 * grow + j(.03))]
    x, y, r = .5 + j(.03), j(.02), .20 * grow + j(.012)
    if scene.relation == "beside":
        return [(x - .235, .58 + y, r), (x + .235, .58 + y, r)]
    if scene.relation == "on":
        return [(x, .335 + y, r * .95), (x, .71 + y, r * 1.05)]
    return [(x, .245 + y, r * .95), (x, .755 + y, r)]


def _shadow(image, cx, cy, r, behind):
    """A soft contact shadow."""
    side = int(r * 2)
    mask = Image.new("L", (side, side), 0)
    glow(mask, side / 2, side / 2, side / 2, 255, .75 if luma(behind) > 60 else .5)
    mask = mask.resize((int(r * 2.3), int(r * .5)))
    colour = mix(behind, (5, 5, 25), .55) if luma(behind) > 60 else (0, 0, 0)
    image.paste(colour, (int(cx - mask.width / 2), int(cy - mask.height / 2)), mask)


def _draw_thing(image, thing, box, scene, behind):
    """All groups of an object: first the shared outline of a group, then its fills."""
    draw = ImageDraw.Draw(image)
    cx, cy, r = box
    lines = scene.style == "outline"
    colour = PAINT[thing.colour]
    ink, width = (INK, 13) if lines else (edge(colour, behind), 5)
    if lines and luma(colour) < 60:
        colour = mix(colour, (255, 255, 255), .08)
    for group in BUILDERS[thing.shape](colour):
        parts = [(list(map(tuple, points * r + (cx, cy))), fill) for points, fill, extra in group if not (lines and extra)]
        if not group[0][2]:
            for points, _ in parts:
                draw.line(points + points[:2], fill=ink, width=width, joint="curve")
        for points, fill in parts:
            draw.polygon(points, fill=tone(fill, scene.style, .12))


def place_things(image, scene, boxes):
    """Draws the objects over a setting, the second one first; `boxes` as from `_layout`."""
    behind = main_colour(scene)
    for thing, (x, y, r) in zip(scene.things[::-1], boxes[::-1]):
        box = (x * BIG, y * BIG, r * BIG)
        grounded = thing.shape not in AIRBORNE and not (scene.relation == "above" and thing is scene.things[0])
        if grounded and scene.style != "outline" and scene.place != "sky":
            ground = image.getpixel((int(box[0]), min(BIG - 1, int(box[1] + box[2] * .95))))
            _shadow(image, box[0], box[1] + box[2] * .93, box[2], ground)
        _draw_thing(image, thing, box, scene, behind)


def finish(image, scene, rng):
    """From the large drawing to the picture in its style."""
    image = image.reduce(OVER)
    if scene.style == "watercolor":
        return watercolor(image, rng)
    return pixel(image) if scene.style == "pixel" else image


def render(scene, seed):
    """The picture of a scene as an RGB image of 128 pixels square; the same seed gives the same picture."""
    rng = random.Random(seed)
    image = paint_setting(scene, BIG, rng)
    place_things(image, scene, _layout(scene, rng))
    return finish(image, scene, rng)


def as_array(scene, seed):
    """The same as an array of bytes, height by width by three."""
    return np.asarray(render(scene, seed))
