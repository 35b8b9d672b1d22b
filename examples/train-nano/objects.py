"""The fifteen objects, each as groups of polygons in a box from -1 to 1 (y downwards).

A group is a list of parts that share one outline; a part is (points, colour, is_detail).
Details (shading, highlights) are left out of line drawings.
"""

import numpy as np

from palette import PAINT, WHITE, light, luma, mix, shade

BARK = (112, 72, 44)
LEAF = (78, 150, 66)
CREAM = (255, 244, 214)


def oval(cx, cy, rx, ry, n=36, start=0.0, stop=2 * np.pi):
    """Points of an ellipse or of a slice of its rim."""
    a = np.linspace(start, stop, n, endpoint=abs(stop - start) < 6.28)
    return np.stack([cx + rx * np.cos(a), cy + ry * np.sin(a)], 1)


def poly(*xy):
    return np.array(xy, float).reshape(-1, 2)


def part(points, colour):
    return points, colour, False


def detail(points, colour):
    return points, colour, True


def circle(c):
    return [[part(oval(0, 0, .95, .95), c)],
            [detail(oval(.06, .06, .87, .87), shade(c)), detail(oval(-.07, -.07, .80, .80), c),
             detail(oval(-.34, -.42, .26, .18), light(c))]]


def square(c):
    return [[part(poly(-.88, -.88, .88, -.88, .88, .88, -.88, .88), c)],
            [detail(poly(-.80, .80, .80, .80, .80, -.80, .62, -.62, .62, .62, -.62, .62), shade(c)),
             detail(poly(-.80, -.80, .80, -.80, .62, -.62, -.62, -.62, -.62, .62, -.80, .80), light(c))]]


def triangle(c):
    return [[part(poly(0, -.92, .98, .82, -.98, .82), c)],
            [detail(poly(0, -.78, .84, .74, .16, .74), shade(c)),
             detail(poly(-.10, -.50, -.02, -.40, -.58, .58, -.72, .58), light(c))]]


def star(c):
    a = -np.pi / 2 + np.arange(10) * np.pi / 5
    r = np.where(np.arange(10) % 2 == 0, 1.02, .44)
    rim = np.stack([r * np.cos(a), .06 + r * np.sin(a)], 1)
    facets = [detail(np.array([(0, .06), rim[i] * .93, rim[(i + 1) % 10] * .93]), shade(c)) for i in range(0, 10, 2)]
    return [[part(rim, c)], facets]


def heart(c):
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x = np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 16.5
    rim = np.stack([x, y + .02], 1)
    return [[part(rim, c)],
            [detail(rim * .88 + (.03, .03), shade(c)), detail(rim * .80 + (-.04, -.04), c),
             detail(oval(-.46, -.42, .20, .15), light(c))]]


def tree(c):
    bark = BARK if c != PAINT["brown"] else (84, 50, 30)
    crown = [oval(-.42, -.10, .46, .44), oval(.42, -.10, .46, .44), oval(0, -.46, .54, .50), oval(0, .05, .5, .36)]
    return [[part(poly(-.15, .20, .15, .20, .22, .95, -.22, .95), bark)],
            [part(p, c) for p in crown],
            [detail(oval(.26, .06, .46, .26), shade(c)), detail(oval(-.06, -.12, .52, .36), c),
             detail(oval(-.20, -.58, .22, .17), light(c)), detail(oval(-.50, -.20, .15, .12), light(c))]]


def house(c):
    roof = mix(c, (60, 30, 40), .42) if luma(c) > 60 else mix(c, WHITE, .28)
    door = BARK if c != PAINT["brown"] else CREAM
    glass = (255, 226, 130) if c != PAINT["yellow"] else (150, 205, 240)
    return [[part(poly(.36, -.82, .60, -.82, .60, -.2, .36, -.2), roof)],
            [part(poly(-.72, -.12, .72, -.12, .72, .92, -.72, .92), c)],
            [detail(poly(.42, -.1, .68, -.1, .68, .88, .42, .88), shade(c))],
            [part(poly(-.98, -.06, 0, -.92, .98, -.06), roof)],
            [part(poly(-.16, .36, .20, .36, .20, .92, -.16, .92), door)],
            [part(poly(-.58, .12, -.28, .12, -.28, .44, -.58, .44), glass)],
            [part(poly(.32, .12, .58, .12, .58, .44, .32, .44), glass)]]


def boat(c):
    sail = CREAM if luma(c) < 200 else (214, 226, 240)
    return [[part(poly(-.06, -.95, .04, -.95, .04, .40, -.06, .40), BARK)],
            [part(poly(.10, -.86, .82, .24, .10, .24), sail)],
            [part(poly(-.12, -.70, -.12, .24, -.66, .24), mix(sail, c, .28))],
            [part(poly(-.98, .36, .98, .36, .66, .90, -.62, .90), c)],
            [detail(poly(-.74, .66, .78, .66, .64, .84, -.58, .84), shade(c)),
             detail(poly(-.86, .42, .86, .42, .84, .50, -.82, .50), light(c))]]


def mountain(c):
    cap = (252, 253, 255) if luma(c) < 225 else (176, 204, 236)
    return [[part(poly(.38, -.38, 1.06, .86, -.3, .86), mix(c, shade(c), .7))],
            [part(poly(-.26, -.92, .66, .86, -1.06, .86), c)],
            [detail(poly(-.26, -.82, .56, .80, -.06, .80, -.16, .1), shade(c))],
            [part(poly(-.26, -.92, .02, -.38, -.12, -.48, -.22, -.28, -.36, -.46, -.51, -.36), cap)]]


def sun(c):
    rays = []
    for k in range(10):
        a = k * np.pi / 5
        tip = np.array([np.cos(a), np.sin(a)])
        side = np.array([-tip[1], tip[0]]) * .15
        rays.append([part(np.array([tip * .68 + side, tip * 1.04, tip * .68 - side]), c)])
    return rays + [[part(oval(0, 0, .58, .58), c)],
                   [detail(oval(.03, .03, .52, .52), shade(c)), detail(oval(-.05, -.05, .46, .46), c),
                    detail(oval(-.18, -.22, .17, .12), light(c))]]


def moon(c):
    (x, y), r1, r2 = (.46, -.20), .94, .72
    d = np.hypot(x, y)
    along = (d * d + r1 * r1 - r2 * r2) / (2 * d)
    open1, open2, tilt = np.arccos(along / r1), np.arccos((along - d) / r2), np.arctan2(y, x)
    outer = oval(-.08, 0, r1, r1, 40, tilt + open1, tilt + 2 * np.pi - open1)
    inner = oval(x - .08, y, r2, r2, 30, tilt + 2 * np.pi - open2, tilt + open2)
    rim = np.concatenate([outer, inner])
    return [[part(rim, c)],
            [detail(oval(-.62, .10, .12, .12), shade(c)), detail(oval(-.36, .56, .10, .10), shade(c)),
             detail(oval(-.56, -.36, .08, .08), shade(c))]]


def cloud(c):
    lobes = [oval(-.52, .18, .44, .34), oval(.54, .20, .42, .32), oval(-.10, -.16, .50, .46),
             oval(.34, -.02, .36, .34), oval(0, .28, .66, .25)]
    return [[part(p, c) for p in lobes],
            [detail(oval(.10, .34, .72, .15), shade(c)), detail(oval(-.2, -.28, .26, .20), light(c))]]


def flower(c):
    heart_ = (252, 208, 60) if c not in (PAINT["yellow"], PAINT["orange"]) else (150, 84, 40)
    petals = [part(oval(.42 * np.cos(a), -.36 + .42 * np.sin(a), .29, .29), c) for a in np.arange(6) * np.pi / 3]
    glints = [detail(oval(.46 * np.cos(a), -.38 + .46 * np.sin(a), .13, .13), light(c)) for a in np.arange(6) * np.pi / 3]
    return [[part(poly(-.06, .1, .06, .1, .06, .96, -.06, .96), LEAF)],
            [part(poly(.02, .82, .22, .48, .56, .44, .40, .72), LEAF),
             part(poly(-.02, .90, -.22, .58, -.54, .56, -.38, .82), LEAF)],
            petals, glints, [part(oval(0, -.36, .23, .23), heart_)]]


def fish(c):
    body = oval(-.14, 0, .76, .50)
    return [[part(poly(.44, 0, 1.0, -.50, .88, 0, 1.0, .50), mix(c, shade(c), .6))],
            [part(poly(-.34, -.38, .02, -.78, .30, -.32), mix(c, shade(c), .6))],
            [part(body, c)],
            [detail(oval(-.10, .14, .62, .30), light(c)), detail(oval(-.10, .02, .66, .30), c)],
            [part(poly(-.10, .02, .24, -.10, .20, .26), mix(c, shade(c), .8))],
            [part(oval(-.56, -.12, .13, .13), WHITE)], [part(oval(-.58, -.12, .06, .06), (20, 20, 30))]]


def cat(c):
    dark = shade(c)
    eye = (255, 255, 255) if luma(c) < 80 else (28, 30, 38)
    tail = np.concatenate([oval(.52, .50, .44, .42, 14, np.pi * .5, -np.pi * .35),
                           oval(.52, .50, .27, .26, 14, -np.pi * .35, np.pi * .5)])
    whiskers = [part(poly(s * .18, -.16 + d, s * .62, -.22 + d * 2.2, s * .62, -.18 + d * 2.2), eye) for s in (-1, 1) for d in (0, .08)]
    return [[part(tail, c)],
            [part(oval(0, .46, .48, .50), c)],
            [part(oval(0, -.30, .54, .46), c), part(poly(-.50, -.42, -.48, -.98, -.06, -.66), c),
             part(poly(.50, -.42, .48, -.98, .06, -.66), c)],
            [detail(oval(0, .58, .26, .32), light(c)), detail(poly(-.42, -.56, -.40, -.82, -.20, -.68), (246, 170, 180)),
             detail(poly(.42, -.56, .40, -.82, .20, -.68), (246, 170, 180)), detail(oval(-.2, .9, .16, .08), dark),
             detail(oval(.2, .9, .16, .08), dark)],
            [(oval(-.21, -.34, .085, .11), eye, False), (oval(.21, -.34, .085, .11), eye, False),
             (poly(-.08, -.18, .08, -.18, 0, -.09), (232, 110, 130), False)], whiskers]


BUILDERS = {f.__name__: f for f in (circle, square, triangle, star, heart, tree, house, boat, mountain,
                                    sun, moon, cloud, flower, fish, cat)}
