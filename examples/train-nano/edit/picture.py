"""Views to pictures: what an edit does not ask for is painted with the same dice before and after it."""

import random
from dataclasses import replace

import numpy as np

from render import AIRBORNE, BIG, finish, place_things
from settings import paint_setting
from world import Thing


class Hand:
    """Everything that chance decides in the pictures of one family: sizes, places, clouds, waves, paper."""

    def __init__(self, seed, view):
        self.seed = seed
        dice = random.Random(f"{seed}/layout")
        j = lambda k: dice.uniform(-k, k)
        self.grow = 1.14 if view.scene.style == "pixel" else 1.0
        flies = any(t.shape in AIRBORNE for t in view.things) and view.scene.place != "plain"
        self.large = (.5 + j(.05), .54 + j(.03) - (.08 if flies else 0), .30 * self.grow + j(.03))
        self.small = (.5 + j(.03), j(.02), .20 * self.grow + j(.012))

    def box(self, cell, stack):
        """Centre and radius of an object in a cell, as fractions of the width; cells as `render` lays objects out."""
        x, y, r = self.small
        if cell == "centre":
            return self.large
        if cell in ("left", "right"):
            return x + (.235 if cell == "right" else -.235), .58 + y, r
        high, low = ((.335, .71) if stack == "on" else (.245, .755))
        if cell == "top":
            return x, high + y, r * .95
        return x, low + y, r * (1.05 if stack == "on" else 1.0)

    def paint(self, view):
        """The picture of a view of this family, as an array of bytes."""
        dice = lambda part: random.Random(f"{self.seed}/{part}")
        scene = view.scene
        setting = replace(scene, things=(Thing("moon", "yellow"),)) if view.bare else scene
        image = paint_setting(setting, BIG, dice(f"heaven/{scene.background.split()[1]}"), dice("ground"))
        boxes = [self.box(cell, view.stack) for cell in view.cells]
        floats = view.cells == ("top",) and view.stack == "above"
        place_things(image, replace(scene, relation="above") if floats else scene, boxes)
        return np.asarray(finish(image, scene, dice("paper")))
