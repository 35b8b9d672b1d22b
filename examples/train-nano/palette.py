"""Colours of the little world: the ten named colours, inks and simple mixing."""

PAINT = {
    "red": (221, 44, 48), "orange": (245, 138, 34), "yellow": (252, 212, 58),
    "green": (64, 160, 72), "blue": (46, 104, 216), "purple": (134, 66, 180),
    "pink": (247, 142, 186), "brown": (132, 82, 46), "black": (38, 38, 44),
    "white": (249, 249, 247),
}
PAPER = (251, 247, 239)
INK = (34, 32, 40)
WHITE = (255, 255, 255)
BLACK = (0, 0, 0)


def mix(a, b, k):
    """The colour a fraction `k` of the way from `a` to `b`."""
    return tuple(int(round(x + (y - x) * k)) for x, y in zip(a, b))


def luma(c):
    """Perceived lightness of a colour, 0 to 255."""
    return 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2]


def shade(c):
    """A darker neighbour for shaded sides."""
    return mix(c, (70, 70, 110) if luma(c) > 225 else (10, 8, 40), 0.16 if luma(c) > 225 else 0.20)


def light(c):
    """A lighter neighbour for lit sides."""
    return mix(c, WHITE, 0.16 if luma(c) < 60 else 0.30)


def edge(c, background):
    """The outline of an object painted `c`: darker, or lighter where that would vanish."""
    dark = mix(c, (15, 8, 35), 0.50 if luma(c) < 225 else 0.42)
    if luma(background) < 75 and luma(dark) < 75:
        return mix(c, (225, 230, 255), 0.55)
    return dark
