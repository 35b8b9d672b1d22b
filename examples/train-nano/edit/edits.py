"""The one edit that leads from a view to another, if there is one, and its parts as class numbers."""

from dataclasses import dataclass

from edit.views import KINDS, OPPOSITE, usual_spot
from world import COLOURS, NATURAL_COLOUR, PLACES, SHAPES, TIMES, STYLES

SPOTS = ("on", "above", "below", "left", "right")
OPERATIONS = tuple(KINDS)


@dataclass(frozen=True)
class Edit:
    """One change. `shape` is the object meant (of the old picture), `new_*` what it becomes; None: not concerned.

    For an addition `anchor` is the object already there and `spot` where the new one goes from it. `must` names the
    parts without which the words would ask for something else.
    """
    kind: str
    shape: str | None = None
    colour: str | None = None
    new_shape: str | None = None
    new_colour: str | None = None
    anchor: str | None = None
    spot: str | None = None
    place: str | None = None
    time: str | None = None
    style: str | None = None
    must: frozenset = frozenset()


def _lights_up(before, after):
    """Whether a sun or moon of the background's own would appear without being asked for."""
    place, time = after.scene.background.split()
    return before.bare and not after.bare and place != "plain" and time != "day"


def difference(before, after):
    """The edit, or None where no single one leads there."""
    if _lights_up(before, after) or before == after:
        return None
    same_things = (before.things, before.cells) == (after.things, after.cells)
    same_setting = before.scene.background == after.scene.background
    same_style = before.scene.style == after.scene.style
    if same_things + same_setting + same_style != 2:
        return None
    if not same_style:
        return Edit("style", style=after.scene.style, must=frozenset({"style"}))
    return _setting(before, after) if not same_setting else _things(before, after)


def _setting(before, after):
    (here, now), (there, then) = before.scene.background.split(), after.scene.background.split()
    if there == "plain":
        return Edit("plain", new_colour=then, must=frozenset({"new_colour"}))
    if here == there or (here == "plain" and there == "sky"):
        return Edit("time", time=then, must=frozenset({"time"}))
    kept = "day" if here == "plain" else now
    return Edit("place", place=there, time=then, must=frozenset({"place"} | ({"time"} if then != kept else set())))


def _things(before, after):
    if len(after.things) > len(before.things):
        return _addition(before, after)
    if len(after.things) == len(before.things) - 1:
        return _removal(before, after)
    if before.cells != after.cells:      # as many objects, or two fewer
        return None
    changed = [(a, b) for a, b in zip(before.things, after.things) if a != b]
    if len(changed) != 1:
        return None
    (old, new), = changed
    if old.shape == new.shape:
        return Edit("recolour", old.shape, old.colour, new_colour=new.colour, must=frozenset({"new_colour"}))
    must = {"new_shape"} | ({"new_colour"} if old.colour != new.colour else set())
    return Edit("swap", old.shape, old.colour, new.shape, new.colour, must=frozenset(must))


def _removal(before, after):
    kept = [(t, c) for t, c in zip(before.things, before.cells) if t in after.things]
    if kept != list(zip(after.things, after.cells)):
        return None
    gone = next(t for t in before.things if t not in after.things)
    return Edit("remove", gone.shape, gone.colour)


def _addition(before, after):
    if not set(before.things) <= set(after.things) or len(after.things) - len(before.things) > 1:
        return None
    new = next(t for t in after.things if t not in before.things)
    cell, must = after.cell_of(new.shape), {"new_shape"}
    if (before.cells[0] if before.things else cell) not in ("centre", OPPOSITE.get(cell)):
        return None
    if new.colour != NATURAL_COLOUR[new.shape]:
        must.add("new_colour")
    anchor = before.things[0].shape if before.things else None
    usual = cell == usual_spot(before, new.shape)
    makes_room = before.cells == ("centre",)
    if not usual or makes_room and cell == "top" and after.stack == "on":
        must.add("spot")
    spot = {"left": "left", "right": "right", "bottom": "below", "top": after.stack}.get(cell)
    return Edit("add", None, None, new.shape, new.colour, anchor, spot, must=frozenset(must))


def answers(edit):
    """Class numbers of what an instruction says (last class: nothing), for the text encoder's lesson."""
    number = lambda names, value: len(names) if value is None else names.index(value)
    return [OPERATIONS.index(edit.kind), number(SHAPES, edit.shape), number(SHAPES, edit.new_shape),
            number(COLOURS, edit.new_colour), number(SPOTS, edit.spot), number(PLACES, edit.place),
            number(TIMES, edit.time), number(STYLES, edit.style), number(SHAPES, edit.anchor)]


ANSWER_NAMES = ("operation", "shape", "new_shape", "new_colour", "spot", "place", "time", "style", "anchor")
ANSWER_SIZES = (len(OPERATIONS), len(SHAPES) + 1, len(SHAPES) + 1, len(COLOURS) + 1, len(SPOTS) + 1,
                len(PLACES) + 1, len(TIMES) + 1, len(STYLES) + 1, len(SHAPES) + 1)
