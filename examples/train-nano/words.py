"""The words of the world: synonyms for objects, colours, settings, relations and styles."""

NOUNS = {
    "circle": ("circle", "circle", "ball", "disc", "disk", "dot", "round shape", "sphere", "orb"),
    "square": ("square", "square", "box", "block", "cube", "quadrangle", "tile"),
    "triangle": ("triangle", "triangle", "triangular shape", "pyramid", "wedge"),
    "star": ("star", "star", "five-pointed star", "starlet", "star shape"),
    "heart": ("heart", "heart", "love heart", "heart shape", "valentine"),
    "tree": ("tree", "tree", "oak", "leafy tree", "apple tree", "maple"),
    "house": ("house", "house", "cottage", "cabin", "home", "hut", "little house", "building"),
    "boat": ("boat", "boat", "sailing boat", "sailboat", "ship", "yacht", "sailing ship", "dinghy"),
    "mountain": ("mountain", "mountain", "peak", "mountain peak", "summit", "alp", "snow-capped mountain"),
    "sun": ("sun", "sun", "shining sun", "sun disc", "sun with rays"),
    "moon": ("moon", "moon", "crescent moon", "crescent", "half moon", "new moon"),
    "cloud": ("cloud", "cloud", "fluffy cloud", "puffy cloud", "little cloud"),
    "flower": ("flower", "flower", "blossom", "bloom", "daisy", "tulip", "rose"),
    "fish": ("fish", "fish", "goldfish", "little fish", "trout", "carp"),
    "cat": ("cat", "cat", "kitten", "kitty", "sitting cat", "pussycat", "tomcat"),
}
MATTER = set()
SIZES = ("big", "small", "little", "large", "cute", "nice", "tiny", "lovely", "pretty", "bright", "simple", "single", "beautiful")
COLOUR_WORDS = {
    "red": ("red", "red", "red", "crimson", "scarlet", "ruby", "cherry red", "bright red", "deep red"),
    "orange": ("orange", "orange", "orange", "tangerine", "amber", "pumpkin coloured", "bright orange"),
    "yellow": ("yellow", "yellow", "yellow", "golden", "gold", "lemon", "lemon yellow", "bright yellow"),
    "green": ("green", "green", "green", "emerald", "lime", "grass green", "dark green", "leaf green", "olive"),
    "blue": ("blue", "blue", "blue", "azure", "navy", "sapphire", "dark blue", "cobalt", "royal blue"),
    "purple": ("purple", "purple", "purple", "violet", "lilac", "plum", "lavender", "mauve"),
    "pink": ("pink", "pink", "pink", "rose pink", "magenta", "rosy", "light pink", "salmon pink"),
    "brown": ("brown", "brown", "brown", "chestnut", "chocolate", "tan", "dark brown", "coffee brown"),
    "black": ("black", "black", "black", "jet black", "ebony", "coal black", "pitch black"),
    "white": ("white", "white", "white", "snow white", "ivory", "pale white", "pure white", "milky white"),
}
PLAIN = ("on a plain # background", "on a plain # background", "on a # background", "on plain #", "on a # backdrop",
         "against a # background", "against a plain # backdrop", "with a # background", "in front of a # wall",
         "over a solid # background", "on # paper", "on a flat # background", "background: #", "# background",
         "against #", "on a solid # background")
PLACE_TIME = {
    ("sky", "day"): ("in the sky", "under a blue sky", "in a clear sky", "in the daytime sky", "against the sky", "under the sky by day",
                     "in the daylight", "on a sunny day", "by day", "during the day", "with a day sky", "in the blue sky", "outdoors in daylight"),
    ("sky", "sunset"): ("at sunset", "at dusk", "in the evening", "during sunset", "under a sunset sky", "at sundown", "in the evening sky",
                        "against a sunset", "at twilight", "in the evening glow", "with a sunset sky", "as the sun goes down"),
    ("sky", "night"): ("at night", "at midnight", "in the night sky", "under the stars", "under a starry sky", "by night", "in the dark night",
                       "against the night sky", "in a starry night", "during the night", "with a night sky", "late at night", "in the moonlight"),
}
SPOTS = {
    "sea": ("on the sea", "at sea", "in the sea", "on the ocean", "by the sea", "over the ocean", "on the water", "on the waves",
            "in the ocean", "at the seaside", "on a lake"),
    "meadow": ("in a meadow", "on a meadow", "on the grass", "in a green field", "in the fields", "on a lawn", "in a grassy field",
               "in the garden", "in a flowery meadow", "on the green hills", "on a hillside"),
    "snow": ("in the snow", "on the snow", "in a snowy field", "in winter", "on a snowy hill", "in a snowy landscape", "in the snowfall",
             "in a winter landscape", "in snow", "on a winter day", "among snowflakes"),
}
HOURS = {
    "day": ("", "", "", "", "by day", "in daylight", "during the day", "on a sunny day", "at noon", "in the morning"),
    "sunset": ("at sunset", "at sunset", "at dusk", "in the evening", "at sundown", "during sunset", "at twilight", "under a sunset sky",
               "in the evening light"),
    "night": ("at night", "at night", "by night", "at midnight", "under the stars", "in the dark", "during the night", "under a starry sky",
              "in the moonlight"),
}
for _place, _spots in SPOTS.items():
    for _time, _hours in HOURS.items():
        PLACE_TIME[_place, _time] = tuple(
            f"{h}, {s}" if k % 5 == 4 and h else f"{s} {h}".strip() for k, (s, h) in
            enumerate((s, h) for s in _spots for h in _hours))

ON = ("on", "on top of", "standing on", "sitting on", "on", "resting on", "upon", "placed on")
ABOVE = ("above", "over", "hovering above", "floating over", "high above", "above", "under", "below", "beneath")
BESIDE = ("beside", "next to", "and", "near", "to the left of", "beside", "by", "with", "left of", "right", "alongside", "together with")
STYLE_AFTER = {
    "flat": ("in flat style", "as a flat illustration", "in flat colours", "flat design", "in a clean flat style", "as a vector drawing", "as clip art"),
    "outline": ("as an outline", "as a line drawing", "in outline style", "drawn in ink", "as an ink drawing", "with bold outlines", "line art",
                "as line art", "as a comic drawing", "in pen and ink", "like a colouring book", "as a sketch"),
    "watercolor": ("in watercolor", "in watercolour", "as a watercolor painting", "as a watercolour", "watercolor style", "painted in watercolour",
                   "as an aquarelle", "on wet paper in watercolor", "watercolour painting", "with soft brush strokes"),
    "pixel": ("as pixel art", "in pixel art", "pixel style", "in 8-bit style", "8-bit", "as an 8 bit sprite", "made of pixels", "in retro pixel style",
              "like an old video game", "16-bit style", "pixelated"),
}
STYLE_BEFORE = {
    "flat": ("a flat illustration of", "a flat picture of", "a vector drawing of", "a clean flat drawing of", "clip art of"),
    "outline": ("a line drawing of", "an outline of", "an ink drawing of", "line art of", "a pen drawing of", "an outline drawing of", "a sketch of",
                "a comic of"),
    "watercolor": ("a watercolor of", "a watercolour of", "a watercolor painting of", "an aquarelle of", "a watercolour painting of",
                   "a soft watercolor picture of"),
    "pixel": ("pixel art of", "a pixel drawing of", "an 8-bit picture of", "a pixel art picture of", "an 8-bit sprite of", "a retro game picture of"),
}
STYLE_TAG = {
    "flat": ("flat", "flat style", "flat illustration", "vector"), "outline": ("outline", "line art", "ink", "line drawing"),
    "watercolor": ("watercolor", "watercolour", "aquarelle", "watercolor painting"), "pixel": ("pixel", "pixel art", "8-bit", "pixelated"),
}
TASTE = ("simple", "beautiful", "high quality", "for children", "cute", "nice and simple", "well drawn", "pretty", "charming", "detailed")
