"""The words of instructions: sentence frames for every kind of edit, and what stands in them.

Frames in `TEST_FRAMES` are used for test instructions only.
"""

FRAMES = {
    "recolour": (
        "make {it} {to}", "make {it} {to}", "make {it} {to}", "turn {it} {to}", "change {it} to {to}", "paint {it} {to}",
        "colour {it} {to}", "color {it} {to}", "{it} should be {to}", "i want {it} in {to}", "give {it} a {to} colour",
        "dye {it} {to}", "change the colour of {it} to {to}", "change the color of {it} to {to}", "let {it} be {to}",
        "recolor {it} in {to}", "{it} in {to}", "make {it} {to} instead", "set the colour of {it} to {to}"),
    "swap": (
        "replace {it} with {new}", "replace {it} with {new}", "replace {it} by {new}", "swap {it} for {new}",
        "swap {it} with {new}", "turn {it} into {new}", "turn {it} into {new}", "change {it} into {new}", "change {it} to {new}",
        "make {it} {new}", "put {new} in place of {it}", "{new} instead of {it}", "exchange {it} for {new}",
        "let {it} become {new}", "i want {new} instead of {it}", "draw {new} where {it} is", "make {new} out of {it}"),
    "add": (
        "add {new}", "add {new}", "add {new}", "add {new} to the picture", "put {new} in", "put {new} into the picture",
        "there should be {new}", "i want {new} too", "also draw {new}", "give me {new} as well", "draw {new}", "insert {new}",
        "place {new} in the scene", "with {new}", "add {new} to it", "i would like {new} as well", "bring in {new}", "and {new}"),
    "add at": (
        "put {new} {where}", "put {new} {where}", "add {new} {where}", "add {new} {where}", "place {new} {where}",
        "draw {new} {where}", "i want {new} {where}", "there should be {new} {where}", "set {new} {where}",
        "insert {new} {where}", "{where} add {new}", "i would like {new} {where}", "{new} {where}"),
    "remove": (
        "remove {it}", "remove {it}", "remove {it}", "delete {it}", "take {it} away", "take away {it}", "get rid of {it}",
        "erase {it}", "take {it} out", "take out {it}", "without {it}", "i don't want {it}", "drop {it}", "{it} should go",
        "make {it} disappear", "clear {it} away", "remove {it} from the picture", "lose {it}"),
    "time": (
        "make it {hour}", "make it {hour}", "make it {hour}", "turn it into {hour}", "change the time to {hour}", "it should be {hour}",
        "now it is {hour}", "let it be {hour}", "show it {when}", "i want it {when}", "set it {when}", "switch to {hour}",
        "{when}", "change it to {hour}", "make the time {hour}", "change the time of day to {hour}", "put it {when}",
        "make it {when}", "draw it {when}", "{deed}"),
    "place": (
        "put it {spot}", "put it {spot}", "put it {spot}", "place it {spot}", "move it {spot}", "set it {spot}", "make it {spot}",
        "show it {spot}", "i want it {spot}", "let it be {spot}", "change the background to {ground}", "put everything {spot}",
        "replace the background with {ground}", "make the background {ground}", "change the place to {ground}",
        "turn the background into {ground}", "take it to {ground}", "{spot}", "put {it} {spot}", "place {it} {spot}",
        "set {it} {spot}", "change the setting to {ground}", "it should be {spot}", "draw it {spot}"),
    "plain": (
        "make the background {to}", "make the background {to}", "change the background to {to}", "put it {paper}", "put it {paper}",
        "use a {to} background", "{to} background", "turn the background {to}", "paint the background {to}",
        "replace the background with plain {to}", "the background should be {to}", "make the background plain {to}",
        "give it a {to} background", "set it {paper}", "show it {paper}", "i want it {paper}", "make everything behind it {to}",
        "change the background to plain {to}", "put {it} {paper}"),
    "style": (
        "turn it into {work}", "turn it into {work}", "make it {work}", "make it {work}", "redraw it {after}", "draw it {after}",
        "show it {after}", "change the style to {tag}", "{tag} style", "convert it to {tag}", "make it look like {work}",
        "{after}", "i want it {after}", "render it {after}", "as {work}", "make this {work}", "turn the picture into {work}",
        "switch the style to {tag}", "use the {tag} style", "change it into {work}", "make it {after}"),
}
TEST_FRAMES = {
    "recolour": ("i would like {it} to be {to}", "have {it} painted {to}", "could {it} be {to}", "make {it} look {to}"),
    "swap": ("there should be {new} instead of {it}", "substitute {new} for {it}", "have {new} in place of {it}", "convert {it} into {new}"),
    "add": ("include {new}", "let there be {new}", "now add {new} as well", "i also want {new}"),
    "add at": ("include {new} {where}", "let there be {new} {where}", "now draw {new} {where}", "have {new} {where}"),
    "remove": ("i do not want {it} any more", "let {it} vanish", "wipe {it} away", "leave out {it}"),
    "time": ("i would like it to be {hour}", "have it {when}", "let us see it {when}", "make the picture {hour}"),
    "place": ("i would like it {spot}", "have it {spot}", "let us see it {spot}", "bring it to {ground}"),
    "plain": ("i would like a {to} background", "have the background in {to}", "let the background be {to}", "move it {paper}"),
    "style": ("i would like it {after}", "have it {after}", "transform it into {work}", "let it look like {work}"),
}
VERBS = {"make", "turn", "change", "paint", "colour", "color", "give", "dye", "recolor", "set", "replace", "swap", "put", "exchange",
         "draw", "add", "insert", "place", "remove", "delete", "take", "get", "erase", "drop", "clear", "switch", "show", "move", "use",
         "redraw", "convert", "render", "bring", "let", "lose"}
POLITE = ("please", "please", "can you", "could you", "now", "then", "and", "would you", "okay")

HOUR = {
    "day": ("day", "day", "daytime", "noon", "morning", "daylight"),
    "sunset": ("sunset", "sunset", "evening", "dusk", "twilight", "sundown"),
    "night": ("night", "night", "nighttime", "midnight", "dark", "dark night"),
}
DEED = {
    "day": ("let the sun come up", "make the sky blue", "make it a sunny day", "make it bright", "show the day sky", "let the day begin"),
    "sunset": ("let the sun go down", "make it a sunset", "give it a sunset sky", "let the evening come", "make the sky red"),
    "night": ("make the sky dark", "make it dark", "give it a night sky", "let the night fall", "turn off the light", "put it under the stars"),
}
SKY_SPOTS = ("in the sky", "in the sky", "in the open sky", "up in the sky", "against the sky", "in the air", "under the sky")
GROUND = {
    "sky": ("the sky", "the sky", "the open sky", "sky"),
    "sea": ("the sea", "the sea", "the ocean", "water", "the seaside", "a lake"),
    "meadow": ("a meadow", "the meadow", "grass", "a green field", "a garden", "a lawn"),
    "snow": ("snow", "the snow", "winter", "a snowy field", "a winter landscape"),
}
SPOT = {
    "on": ("on", "on top of", "on", "standing on", "sitting on", "onto"),
    "above": ("above", "over", "above", "high above", "floating over"),
    "below": ("below", "under", "beneath", "underneath", "below"),
    "left": ("to the left of", "left of", "on the left of", "on the left side of"),
    "right": ("to the right of", "right of", "on the right of", "next to", "beside", "near", "on the right side of"),
}
NEIGHBOUR = ("next to", "beside", "near")
CORNER = {
    "above": ("above", "at the top", "on top", "above it", "over it"), "below": ("below", "at the bottom", "underneath", "under it", "below it"),
    "left": ("on the left", "on the left side", "at the left", "to the left", "to its left"),
    "right": ("on the right", "on the right side", "at the right", "to the right", "next to it", "beside it"),
    "on": ("on it", "on top of it"),
}
WORK = {
    "flat": ("a flat illustration", "a flat picture", "a vector drawing", "clip art", "flat design", "a flat drawing"),
    "outline": ("a line drawing", "an outline", "an ink drawing", "line art", "a sketch", "a comic", "an outline drawing", "a pen drawing"),
    "watercolor": ("a watercolor", "a watercolor painting", "a watercolour", "an aquarelle", "a watercolour painting", "a watercolor picture"),
    "pixel": ("pixel art", "an 8-bit picture", "a pixel drawing", "a pixel picture", "an 8-bit sprite", "a retro game picture"),
}
