"""The settings: plain colour, or sky, sea, meadow and snow by day, at sunset and at night."""

import numpy as np
from PIL import Image, ImageDraw

from palette import INK, PAINT, WHITE, mix

SKY = {
    "day": ((84, 168, 240), (150, 208, 250), (214, 238, 252)),
    "sunset": ((98, 62, 150), (238, 104, 110), (255, 206, 122)),
    "night": ((10, 14, 46), (24, 32, 84), (52, 64, 130)),
}
GROUND = {
    ("sky", "day"): (142, 190, 176), ("sky", "sunset"): (122, 62, 110), ("sky", "night"): (22, 28, 66),
    ("sea", "day"): (38, 126, 196), ("sea", "sunset"): (150, 78, 128), ("sea", "night"): (16, 42, 96),
    ("meadow", "day"): (122, 194, 84), ("meadow", "sunset"): (150, 140, 62), ("meadow", "night"): (28, 82, 66),
    ("snow", "day"): (240, 246, 253), ("snow", "sunset"): (250, 214, 206), ("snow", "night"): (156, 178, 222),
}
HORIZON = {"sky": .84, "sea": .56, "meadow": .60, "snow": .62}


def tone(colour, style, amount=.42):
    """Line drawings are tinted lightly."""
    return mix(colour, WHITE, amount) if style == "outline" else colour


def main_colour(scene):
    """The colour most of the picture has behind its objects."""
    place, tint = scene.background.split()
    return PAINT[tint] if place == "plain" else SKY[tint][1]


def _gradient(stops, size, horizon, flat):
    if flat:
        return Image.new("RGB", (size, size), stops[1])
    y = np.clip(np.arange(size) / (size * horizon), 0, 1)
    rows = np.stack([np.interp(y, (0, .55, 1), [s[i] for s in stops]) for i in range(3)], 1)
    return Image.fromarray(np.repeat(rows[:, None].round().astype(np.uint8), size, 1))


_GLOW = {}


def glow(image, cx, cy, radius, colour, strength):
    """A soft round light."""
    side = int(radius * 2)
    if side not in _GLOW:
        y, x = np.mgrid[-1:1:complex(side), -1:1:complex(side)]
        _GLOW[side] = np.clip(1 - np.hypot(x, y), 0, 1) ** 1.6
    mask = Image.fromarray((_GLOW[side] * 255 * strength).astype(np.uint8))
    image.paste(colour, (int(cx - radius), int(cy - radius)), mask)


def disc(draw, cx, cy, r, fill, outline=None, width=0):
    draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=fill, outline=outline, width=width)


def _puff(draw, cx, cy, r, fill):
    for dx, dy, k in ((-1.1, .15, .6), (0, -.2, .85), (1.1, .12, .62), (.5, .1, .7), (-.5, .15, .7)):
        draw.ellipse((cx + (dx - k) * r, cy + (dy - k * .62) * r, cx + (dx + k) * r, cy + (dy + k * .62) * r), fill=fill)


def _heaven(image, scene, time, size, rng):
    """Clouds, sun glow, moon and stars."""
    draw = ImageDraw.Draw(image)
    style, s = scene.style, size
    bare = any(t.shape in ("sun", "moon") for t in scene.things)
    jitter = lambda k: rng.uniform(-k, k) * s
    if time == "day":
        fill = mix(SKY["day"][2], WHITE, .75)
        _puff(draw, .16 * s + jitter(.04), .17 * s + jitter(.03), .085 * s, fill)
        _puff(draw, .83 * s + jitter(.04), .27 * s + jitter(.03), .07 * s, fill)
    elif time == "sunset":
        for y, w in ((.13, .30), (.24, .22), (.34, .34)):
            x = (.2 if w > .25 else .82) * s + jitter(.05)
            draw.rounded_rectangle((x - w * s / 2, y * s, x + w * s / 2, (y + .022) * s), 5, fill=tone((250, 150, 130), style))
        if not bare:
            x, y = .80 * s + jitter(.02), HORIZON[scene.place] * s - .05 * s
            if style != "outline":
                glow(image, x, y, .34 * s, (255, 236, 170), .85)
            disc(draw, x, y, .105 * s, tone((255, 236, 150), style), INK if style == "outline" else None, 10)
    else:
        for _ in range(16):
            x, y = rng.uniform(.04, .96) * s, rng.uniform(.03, .52) * s
            disc(draw, x, y, rng.choice((2.2, 2.8, 4.0)), (255, 250, 220))
        if not bare:
            x, y = .84 * s + jitter(.02), .16 * s + jitter(.02)
            if style != "outline":
                glow(image, x, y, .24 * s, (200, 210, 255), .55)
            disc(draw, x, y, .08 * s, (255, 246, 205), INK if style == "outline" else None, 10)


def _ridge(draw, size, base, height, waves, phase, fill, ink):
    x = np.linspace(-4, size + 4, 40)
    y = size * (base + height * np.sin(x / size * waves * 2 * np.pi + phase))
    line = list(zip(x.tolist(), y.tolist()))
    draw.polygon(line + [(size + 4, size + 4), (-4, size + 4)], fill=fill)
    if ink:
        draw.line(line, fill=INK, width=9)


def _ground(image, scene, time, size, rng):
    draw = ImageDraw.Draw(image)
    place, style, s = scene.place, scene.style, size
    colour, ink = tone(GROUND[place, time], style), style == "outline"
    far, near = mix(colour, tone(SKY[time][2], style), .28), mix(colour, (10, 20, 50), .10)
    h, phase = HORIZON[place], rng.uniform(0, 6.28)
    if place == "sea":
        _ridge(draw, s, h, 0, 1, 0, far, ink)
        for k, fill in ((.07, mix(far, colour, .5)), (.18, colour), (.31, near)):
            _ridge(draw, s, h + k, .012, 3.5, phase + k * 20, fill, ink)
        crest = mix(colour, WHITE, .45)
        for _ in range(0 if ink else 7):
            x, y = rng.uniform(.05, .9) * s, rng.uniform(h + .05, .95) * s
            draw.arc((x, y, x + .09 * s, y + .03 * s), 200, 340, fill=crest, width=5)
        return
    _ridge(draw, s, h - (.03 if place == "sky" else .05), .03, .8, phase, far, ink)
    _ridge(draw, s, h + .05, .022, .7, phase + 2.2, colour, ink)
    if place == "sky":
        return
    _ridge(draw, s, h + .26, .016, .8, phase + 4, mix(colour, near, .7), False)
    for _ in range(14 if place == "snow" else 9):
        if place == "snow":
            disc(draw, rng.uniform(.02, .98) * s, rng.uniform(.02, .95) * s, rng.choice((3, 4, 5)), tone((255, 255, 255), style))
            continue
        x, y = rng.uniform(.03, .97) * s, rng.uniform(h + .12, .97) * s
        petal = mix(rng.choice(((255, 255, 255), (255, 220, 90), (250, 150, 180))), colour, .5 if time == "night" else .1)
        disc(draw, x, y, 5, petal)


def paint_setting(scene, size, rng, ground_rng=None):
    """The background of a scene as an RGB picture of `size` pixels square.

    With dice of its own the ground looks the same under every sky.
    """
    place, tint = scene.background.split()
    if place == "plain":
        return Image.new("RGB", (size, size), tone(PAINT[tint], scene.style, .25))
    stops = [tone(c, scene.style) for c in SKY[tint]]
    image = _gradient(stops, size, HORIZON[place] + .05, scene.style == "outline")
    _heaven(image, scene, tint, size, rng)
    _ground(image, scene, tint, size, ground_rng or rng)
    return image
