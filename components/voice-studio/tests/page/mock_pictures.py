"""Draws the mock server's pictures with nothing but the standard library: a scene by the words of a prompt, as PNG.

Four scenes (boat, house, tree, and a circle), by day, at sunset and at night, with or without a star. A picture is drawn as rows of
colours from shapes in the unit square; `grain` mixes noise in, as an unfinished picture has it.
"""

import random
import struct
import zlib

SKIES = {
    "day": ((92, 160, 226), (196, 224, 240)),
    "sunset": ((96, 62, 132), (250, 176, 110)),
    "night": ((14, 20, 52), (44, 62, 112)),
}
GROUNDS = {
    "sea": {"day": (38, 112, 168), "sunset": (122, 62, 96), "night": (18, 34, 78)},
    "snow": {"day": (238, 243, 250), "sunset": (246, 206, 196), "night": (150, 168, 212)},
    "meadow": {"day": (116, 176, 92), "sunset": (140, 118, 66), "night": (30, 66, 62)},
}
HORIZON = 0.66


def mixed(one, other, share):
    return tuple(a + (b - a) * share for a, b in zip(one, other))


def circle(x, y, radius, colour):
    return lambda px, py: colour if (px - x) ** 2 + (py - y) ** 2 < radius**2 else None


def polygon(points, colour):
    def inside(px, py):
        crossings = 0
        for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1]):
            if (ay > py) != (by > py) and px < (bx - ax) * (py - ay) / (by - ay) + ax:
                crossings += 1
        return colour if crossings % 2 else None

    return inside


BOAT = [
    polygon([(0.28, 0.66), (0.74, 0.66), (0.66, 0.78), (0.36, 0.78)], (190, 48, 40)),
    polygon([(0.495, 0.2), (0.51, 0.2), (0.51, 0.66), (0.495, 0.66)], (84, 56, 40)),
    polygon([(0.53, 0.24), (0.72, 0.61), (0.53, 0.61)], (250, 240, 222)),
    polygon([(0.475, 0.3), (0.475, 0.61), (0.33, 0.61)], (238, 218, 190)),
]
HOUSE = [
    polygon([(0.32, 0.5), (0.68, 0.5), (0.68, 0.78), (0.32, 0.78)], (246, 240, 228)),
    polygon([(0.26, 0.52), (0.5, 0.3), (0.74, 0.52)], (150, 62, 52)),
    polygon([(0.46, 0.62), (0.55, 0.62), (0.55, 0.78), (0.46, 0.78)], (96, 66, 48)),
    polygon([(0.36, 0.57), (0.43, 0.57), (0.43, 0.65), (0.36, 0.65)], (250, 206, 110)),
    polygon([(0.58, 0.57), (0.65, 0.57), (0.65, 0.65), (0.58, 0.65)], (250, 206, 110)),
]
TREE = [
    polygon([(0.47, 0.55), (0.53, 0.55), (0.55, 0.8), (0.45, 0.8)], (104, 70, 46)),
    circle(0.5, 0.4, 0.17, (56, 122, 70)), circle(0.38, 0.48, 0.12, (48, 110, 64)), circle(0.62, 0.48, 0.12, (64, 132, 76)),
]


def scene(prompt):
    """The time, the ground and the shapes, the nearest first, that a prompt speaks of."""
    words = prompt.lower()
    time = next((time for time, marks in {"night": ("night", "yö"), "sunset": ("sunset", "ilta", "aurinko", "auringon")}.items()
                 if any(mark in words for mark in marks)), "day")
    if any(mark in words for mark in ("house", "talo")):
        ground, shapes = "snow", HOUSE
    elif any(mark in words for mark in ("boat", "vene", "sea")):
        ground, shapes = "sea", BOAT
    elif "circle" in words:
        ground, shapes = "sea", [circle(0.5, 0.5, 0.26, (206, 52, 44))]
    else:
        ground, shapes = "meadow", TREE
    lights = {"day": circle(0.8, 0.2, 0.07, (255, 236, 160)), "sunset": circle(0.78, 0.6, 0.1, (255, 224, 140)),
              "night": circle(0.78, 0.2, 0.075, (236, 236, 214))}
    stars = [circle(0.2, 0.2, 0.03, (255, 240, 150))] if any(mark in words for mark in ("star", "täht")) else []
    return time, ground, [*reversed(shapes), *stars], lights[time]


def colour_at(px, py, time, ground, shapes, light):
    for shape in shapes:
        if colour := shape(px, py):
            return mixed(colour, SKIES["night"][0], 0.42) if time == "night" else colour
    if py > HORIZON:
        base = GROUNDS[ground][time]
        return mixed(base, SKIES[time][1], 0.35 * max(0, 1 - (py - HORIZON) * 6))
    return light(px, py) or mixed(*SKIES[time], py / HORIZON)


def picture(prompt, side=256, grain=0.0, seed=0):
    """A PNG file of a prompt; `grain` from 0 (finished) to 1 (noise)."""
    drawn = scene(prompt)
    random_ = random.Random(seed)
    rows = []
    for y in range(side):
        row = bytearray([0])
        for x in range(side):
            colour = colour_at((x + 0.5) / side, (y + 0.5) / side, *drawn)
            noise = (random_.random() * 255 for _ in range(3))
            row.extend(int(value) for value in (mixed(colour, noise, grain) if grain else colour))
        rows.append(bytes(row))
    return png(side, rows)


def png(side, rows):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(rows), 6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
