"""The second task: prompts that leave much unsaid, and the same prompts with all of it said.

Every word of the prompt stays. Colours go before their nouns; setting, hour, light and style follow after commas. What is filled
in is natural for the first object, so that a prompt of few words gives the picture that one would think of.
"""

import zlib
from dataclasses import dataclass

from commands.bank import PARTS
from word.voices import VOICES
from world import NATURAL_BACKGROUND, NATURAL_COLOUR, draw_scene

LIGHT = {"day": "in daylight", "sunset": "in the evening light", "night": "in the moonlight", "plain": "high quality"}
WHERE = {"sky": "in the sky", "sea": "on the sea", "meadow": "in a meadow", "snow": "in the snow"}
WHEN = {"day": "on a sunny day", "sunset": "at sunset", "night": "at night"}
PLAIN_STYLE, NATURAL_STYLE = "in flat style", "in watercolour"
# where things of no known kind are at home
ELSEWHERE = "meadow day"


@dataclass(frozen=True)
class Prompt:
    """What was said, which may be Finnish; what that is in English; the same with every colour in it; and what is put behind."""
    said: str
    meant: str
    kept: str
    added: tuple

    @property
    def whole(self):
        return ", ".join((self.kept,) + self.added)


def additions(home, colours, place, time, said, styled):
    """Setting, hour, light and style, as far as unsaid; `home` is the natural background of the first object."""
    natural, hour = home.split()
    added = []
    if place is None and time is None and natural == "plain":
        place = "plain"
        added.append(f"on a plain {'blue' if 'white' in colours else 'white'} background")
    elif place is None:
        place = "sky" if natural == "plain" else natural
        added.append(WHERE[place])
    if place != "plain" and time is None:
        time = hour if natural != "plain" else "day"
        added.append(WHEN[time])
    light = LIGHT["plain" if place == "plain" else time]
    added.append(LIGHT["plain"] if light in said else light)
    if not styled:
        added.append(PLAIN_STYLE if place == "plain" else NATURAL_STYLE)
    return tuple(added)


def own_colour(shape, background):
    """An object's natural colour, or one that is seen on this background; none for things of no known kind."""
    own = NATURAL_COLOUR.get(shape)
    return own if own is None or own != background else "black" if own == "white" else "white"


def _subject(rng, voice, scene, background, beyond):
    """The first object's shape, all objects (as said, in English, whole), and their colours."""
    things, colours = [], []
    for thing in scene.things:
        shape = "unknown" if rng.random() < beyond else thing.shape
        colour = thing.colour if rng.random() < .5 else None
        own = None if colour else own_colour(shape, background)
        colours.append(colour or own)
        things.append((shape, voice.thing(rng, shape, colour, own)))
    if len(things) == 1:
        return things[0][0], voice.alone(things[0][1]), colours
    return things[0][0], voice.link(rng, scene.relation, things[0][1], things[1][1]), colours


def draw(rng, language, beyond=.1):
    """A prompt by lot. Half of all parts are left unsaid."""
    voice = VOICES[language]
    while not (scene := draw_scene(rng)).things:
        pass
    place, tint = scene.background.split()
    says_place, says_time, says_style = rng.random() < .5, rng.random() < .5, rng.random() < .35
    plain = place == "plain"
    background = tint if plain and says_place else None
    first, things, colours = _subject(rng, voice, scene, background, beyond)
    parts = []
    if says_place:
        parts.append(voice.plain(rng, tint) if plain else voice.spot(rng, place))
    if says_time and not plain:
        parts.append(voice.hour(rng, tint))
    if says_style:
        parts.append(voice.style(rng, scene.style))
    said, meant, kept = (" ".join([text] + [part[k > 0] for part in parts]) for k, text in enumerate(things))
    added = additions(NATURAL_BACKGROUND.get(first, ELSEWHERE), colours, place if says_place else None,
                      tint if says_time and not plain else None, kept, says_style)
    return Prompt(said, meant, kept, added)


def prompts(split, language, rng, beyond=.1):
    """Prompts of a split, decided by a hash of what is said, without end."""
    while True:
        prompt = draw(rng, language, beyond)
        part = {0: "test", 1: "validation"}.get(zlib.crc32(prompt.said.encode()) % PARTS, "train")
        if part == split:
            yield prompt
