"""What can be edited: a scene and where its objects stand, views by lot, and views one edit away.

Objects stand in cells: one large in the centre, or smaller ones left and right or top and bottom. A removal leaves
the other object where it is; an addition takes the free cell, and makes room where one object filled the centre.
"""

from dataclasses import dataclass, replace

from world import (COLOURS, NATURAL_COLOUR, PLACES, RELATIONS, SHAPES, STYLES, TIMES, Scene, Thing, draw_scene)

CELLS = ("centre", "left", "right", "top", "bottom")
OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
STACKS = ("on", "above")
LIGHTS = ("sun", "moon")
AIRBORNE = ("sun", "moon", "cloud")
KINDS = {"recolour": 14, "swap": 17, "add": 16, "remove": 10, "time": 15, "place": 15, "plain": 8, "style": 9}


@dataclass(frozen=True)
class View:
    """A scene with the cell of every object. `stack`: whether top and bottom touch. `bare`: no sun or moon of its own."""
    scene: Scene
    cells: tuple
    stack: str
    bare: bool

    @property
    def things(self):
        return self.scene.things

    def cell_of(self, shape):
        return next(c for t, c in zip(self.things, self.cells) if t.shape == shape)


def shows_light(things):
    return any(t.shape in LIGHTS for t in things)


def view_of(things, cells, stack, background, style, bare):
    """A view with its objects in order: the upper or left one first."""
    both = sorted(zip(things, cells), key=lambda pair: CELLS.index(pair[1]))
    relation = RELATIONS[0] if len(both) < 2 else "beside" if both[0][1] == "left" else stack
    scene = Scene(tuple(t for t, _ in both), relation, background, style)
    return View(scene, tuple(c for _, c in both), stack, bare or shows_light(scene.things))


def draw_view(rng):
    """A view by lot: half of them with two objects, one object in a cell of its own or filling the centre."""
    count = rng.choices((0, 1, 2), (3, 43, 54))[0]
    while len((scene := draw_scene(rng)).things) != count:
        pass
    stack = scene.relation if scene.relation in STACKS else rng.choice(STACKS)
    cells = ("left", "right") if scene.relation == "beside" else ("top", "bottom")
    if count < 2:
        cells = (rng.choice(CELLS[1:]) if rng.random() < .3 else "centre",) * count
    return view_of(scene.things, cells, stack, scene.background, scene.style, False)


def _free_colours(view, *others):
    """Colours that are seen on this background."""
    taken = {view.scene.background.split()[1]} if view.scene.place == "plain" else set()
    return [c for c in COLOURS if c not in taken | set(others)]


def _with_things(view, things, cells=None, stack=None):
    return view_of(things, cells or view.cells, stack or view.stack, view.scene.background, view.scene.style, view.bare)


def recolour(view, rng):
    if not view.things:
        return None
    at = rng.randrange(len(view.things))
    thing = view.things[at]
    new = Thing(thing.shape, rng.choice(_free_colours(view, thing.colour)))
    return _with_things(view, view.things[:at] + (new,) + view.things[at + 1:])


def swap(view, rng):
    """Another object in the same cell, usually of the same colour."""
    if not view.things:
        return None
    at = rng.randrange(len(view.things))
    shape = rng.choice([s for s in SHAPES if all(t.shape != s for t in view.things)])
    colour = view.things[at].colour if rng.random() < .7 else rng.choice(_free_colours(view))
    return _with_things(view, view.things[:at] + (Thing(shape, colour),) + view.things[at + 1:])


def usual_spot(view, shape):
    """The cell of a new object when nothing is said: the free one, above for what flies, else to the right."""
    if not view.things:
        return "centre"
    if view.cells[0] != "centre":
        return OPPOSITE[view.cells[0]]
    return "top" if shape in AIRBORNE else "right"


def add(view, rng):
    if len(view.things) > 1:
        return None
    shape = rng.choice([s for s in SHAPES if all(t.shape != s for t in view.things)])
    free = _free_colours(view)
    natural = NATURAL_COLOUR[shape]
    colour = natural if natural in free and rng.random() < .5 else rng.choice(free)
    cell, stack = usual_spot(view, shape), view.stack
    if view.cells == ("centre",):
        if rng.random() < .6:
            cell = rng.choice(CELLS[1:])
        stack = "on" if cell == "top" and shape not in AIRBORNE and rng.random() < .5 else "above"
    cells = view.cells + (cell,)
    if len(cells) == 2:
        cells = (OPPOSITE[cell], cell)
    return _with_things(view, view.things + (Thing(shape, colour),), cells, stack)


def remove(view, rng):
    if not view.things:
        return None
    at = rng.randrange(len(view.things))
    return _with_things(view, view.things[:at] + view.things[at + 1:], view.cells[:at] + view.cells[at + 1:])


def _on(view, background):
    return replace(view, scene=replace(view.scene, background=background))


def time(view, rng):
    place, now = view.scene.background.split()
    if place == "plain":
        return _on(view, f"sky {rng.choice(TIMES)}") if rng.random() < .3 else None
    return _on(view, f"{place} {rng.choice([t for t in TIMES if t != now])}")


def place(view, rng):
    here, now = view.scene.background.split()
    there = rng.choice([p for p in PLACES if p != here])
    kept = "day" if here == "plain" else now
    return _on(view, f"{there} {kept if rng.random() < .75 else rng.choice(TIMES)}")


def plain(view, rng):
    taken = {t.colour for t in view.things} | {view.scene.background.split()[1]}
    return _on(view, f"plain {rng.choice([c for c in COLOURS if c not in taken])}")


def style(view, rng):
    other = rng.choice([s for s in STYLES if s != view.scene.style])
    return replace(view, scene=replace(view.scene, style=other))


CHANGES = {f.__name__: f for f in (recolour, swap, add, remove, time, place, plain, style)}


def draw_variants(view, rng, count):
    """Views that are one edit away, of different kinds where possible."""
    kinds, out = list(KINDS), []
    while len(out) < count:
        kind = rng.choices(kinds, [KINDS[k] for k in kinds])[0]
        new = CHANGES[kind](view, rng)
        if new is not None and new not in out:
            out.append(new)
            kinds.remove(kind)
    return out
