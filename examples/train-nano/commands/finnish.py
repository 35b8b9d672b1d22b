"""Finnish commands by lot, each with what it asks for in English: every Finnish word has one English one.

The prompt has its parts in English order (objects, place, hour, style), wherever Finnish puts them.
"""

from commands.english import article, invented, written
from commands.finnish_frames import (BACK, CREATE_ELA, CREATE_GEN, CREATE_NOM, DEEDS, DONE, DONE_GEN, EARLIER, EARLIER_GEN, EARLIER_TO,
                                     EDITS, FILLERS, IMAGE, NONE_FRAMES, NONE_WHOLE, NONE_WORDS, POLITE_AFTER, POLITE_BEFORE, RESTORE,
                                     RESTORE_GEN, STANDING, TAGS, UNDO_WHOLE, UNDOING, UNDOING_GEN)
from commands.finnish_words import (BEYOND, COLOURS, CORNERS, GROUNDS, HOURS, LINKS, NOUNS, PLURALS, SEASONS, SIZES, SKIES, SPOTS, STYLES,
                                    TIMES, WORKS, cases, phrase)
from commands.intention import NONE, UNDO, create, edit
from world import draw_scene
import world

BACKGROUND = ("tausta", "taustan", "taustaa", "background")
PAPER = ("paperi", "paperin", "paperia", "paper")
PLAIN = ("yksivärinen", "yksivärisen", "yksiväristä", "plain")
WALL = ("seinä", "seinän", "seinää", "wall")
SE = {"nom": "se", "gen": "sen", "par": "sitä", "ela": "siitä"}
# imperatives that "ole hyvä ja" may stand before
VERBS = {w.split()[0] for w in CREATE_NOM + CREATE_ELA + RESTORE + UNDOING + BACK} | {
    "muuta", "maalaa", "väritä", "vaihda", "korvaa", "laita", "lisää", "poista", "ota", "pyyhi", "jätä", "siirrä", "vie", "aseta",
    "näytä", "piirrä", "tee"}
VERBS -= {"haluan", "haluaisin", "saisinko", "voisitko", "voitko", "kuva", "uusi", "piirretään", "maalataan", "luodaan", "tehdään",
          "palataan", "mennään", "otetaan", "palautetaan", "kumotaan", "perutaan"}


def noun(rng, shape, beyond):
    """A word of the nano world, or one from outside it: known ones and, as loanwords end in Finnish, invented ones."""
    if rng.random() >= beyond:
        return rng.choice(NOUNS[shape])
    if rng.random() < .7:
        return rng.choice(BEYOND)
    word = invented(rng)
    a = "a" if any(vowel in word for vowel in "aou") else "ä"
    return f"{word}i", f"{word}in", f"{word}i{a}", word


def thing(rng, shape, colour, beyond):
    """Words of an object, adjectives before the noun, and the English phrase without article."""
    words = [noun(rng, shape, beyond)]
    if rng.random() < .85:
        words.insert(0, rng.choice(COLOURS[colour]))
    if rng.random() < .16:
        words.insert(0, rng.choice(SIZES))
    return words, " ".join(w[3] for w in words)


def _setting(rng, scene, going):
    """Where the picture is set, standing or going there ("merellä", "merelle"), and in English."""
    place, tint = scene.background.split()
    if place == "plain":
        return _plain(rng, rng.choice(COLOURS[tint]), going)
    hours = rng.choice(HOURS[tint])
    if place == "sky":
        return rng.choice((hours,) + SKIES[tint])
    if place == "snow" and rng.random() < .2:
        spot = rng.choice(SEASONS)
    else:
        here, there, english = rng.choice(SPOTS[place])
        spot = (there if going else here), english
    if tint == "day" and rng.random() < .5:
        return spot
    return (f"{hours[0]} {spot[0]}" if rng.random() < .3 else f"{spot[0]} {hours[0]}"), f"{spot[1]} {hours[1]}"


def _plain(rng, colour, going):
    case, tint, roll = "all" if going else "ade", colour[3], rng.random()
    if roll < .66:
        return phrase((colour, BACKGROUND), case), f"on {article(tint)} background"
    if roll < .78:
        return phrase((colour, PAPER), case), f"on {tint} paper"
    if roll < .86:
        return phrase((PLAIN, colour, BACKGROUND), case), f"on a plain {tint} background"
    if roll < .94:
        return f"{phrase((colour, BACKGROUND), 'par')} vasten", f"against {article(tint)} background"
    return f"{phrase((colour, WALL), 'gen')} {'eteen' if going else 'edessä'}", f"in front of {article(tint)} wall"


def _subject(rng, scene, case, going, beyond):
    """One object, two joined by "ja", or the first placed by the second: "kissa talon vieressä"."""
    first, english = thing(rng, scene.things[0].shape, scene.things[0].colour, beyond)
    text, english = phrase(first, case), article(english)
    if len(scene.things) < 2:
        return text, english
    second, other = thing(rng, scene.things[1].shape, scene.things[1].colour, beyond)
    if scene.relation == "beside" and rng.random() < .4:
        return f"{text} ja {phrase(second, case)}", f"{english} and {article(other)}"
    here, there, link = rng.choice(LINKS[scene.relation])
    return f"{text} {phrase(second, 'gen')} {there if going else here}", f"{english} {link} {article(other)}"


def _create(rng, beyond):
    while not (scene := draw_scene(rng)).things:
        pass
    roll = rng.random()
    case, leads = ("nom", CREATE_NOM) if roll < .6 else ("gen", CREATE_GEN) if roll < .8 else ("ela", CREATE_ELA)
    lead = rng.choice(leads) if rng.random() < .95 or case != "nom" else ""
    going = case != "ela" and lead != "" and not any(word in lead for word in STANDING) and rng.random() < .5
    text, english = _subject(rng, scene, case, going, beyond)
    if rng.random() < .72:
        # "talon viereen niitylle" would move twice
        where, said = _setting(rng, scene, going and len(scene.things) == 1)
        text, english = f"{text} {where}", f"{english} {said}"
    if rng.random() < .3:
        style, said = rng.choice(STYLES[scene.style])
        # "tee akvarellina punainen kissa": the style may come first
        text = f"{style} {text}" if rng.random() < .15 and lead and "jossa" not in lead and case != "ela" else f"{text} {style}"
        english = f"{english} {said}"
    return f"{lead} {text}".strip(), create(english)


def reference(rng, beyond, alone):
    """The object meant: its forms, and in English."""
    if rng.random() < alone:
        return SE, "it"
    words = [noun(rng, rng.choice(world.SHAPES), beyond)]
    if rng.random() < .25:
        words.insert(0, rng.choice(COLOURS[rng.choice(world.COLOURS)]))
    elif rng.random() < .12:
        words.insert(0, rng.choice(SIZES))
    return {case: phrase(words, case) for case in ("nom", "gen", "par", "ela")}, "the " + " ".join(w[3] for w in words)


def _where(rng):
    if rng.random() < .3:
        return rng.choice(CORNERS)
    _, going, english = rng.choice(LINKS[rng.choice(list(LINKS))])
    anchor = rng.choice(NOUNS[rng.choice(world.SHAPES)])
    return f"{anchor[1]} {going}", f"{english} the {anchor[3]}"


def _new(rng, kind, beyond):
    """Forms of what is added or put in the place of another, and in English."""
    if kind == "add" and rng.random() < .1:
        plural, english = rng.choice(PLURALS)
        return {"nom": plural, "gen": plural}, english
    words, english = thing(rng, rng.choice(world.SHAPES), rng.choice(world.COLOURS), beyond)
    return {case: phrase(words, case) for case in ("nom", "gen", "tra", "ade")}, article(english)


def _spot(rng):
    _, going, english = rng.choice(SPOTS[rng.choice(list(SPOTS))])
    if rng.random() < .15:
        when, said = rng.choice(HOURS[rng.choice(world.TIMES)])
        return f"{going} {when}", f"{english} {said}"
    return going, english


def _forms(name, word):
    return {f"{name}_{case}": form for case, form in cases(word).items()}


def _fields(rng, kind, beyond):
    """What stands in the frames of this kind of edit, in Finnish and in English."""
    colour, ground, work, tag = rng.choice(COLOURS[rng.choice(world.COLOURS)]), rng.choice(GROUNDS), rng.choice(WORKS), rng.choice(TAGS)
    hour, when = rng.choice(TIMES[rng.choice(world.TIMES)]), rng.choice(HOURS[rng.choice(world.TIMES)])
    after = rng.choice(STYLES[rng.choice(world.STYLES)])
    new, where, spot = _new(rng, kind, beyond), _where(rng), _spot(rng)
    finnish = {**_forms("to", colour), **_forms("ground", ground), **_forms("work", work), **_forms("tag", tag), "hour_nom": hour[0],
               "hour_tra": hour[1], "when": when[0], "after": after[0], "where": where[0], "spot": spot[0],
               **{f"new_{case}": form for case, form in new[0].items()}}
    english = {"to": colour[3], "ground": ground[3], "work": work[3], "tag": tag[3], "hour": hour[2], "when": when[1], "after": after[1],
               "where": where[1], "spot": spot[1], "new": new[1]}
    return finnish, english


KINDS = {"recolour": 15, "swap": 14, "add": 12, "add at": 12, "remove": 12, "time": 8, "when": 4, "spot": 8, "ground": 5, "plain": 8,
         "work": 5, "after": 4, "tag": 2, "deed": 2}


def _edit(rng, beyond):
    kind = rng.choices(list(KINDS), KINDS.values())[0]
    if kind == "deed":
        text, prompt = rng.choice(list(DEEDS.items()))
        return text, edit(prompt)
    answer, frames = EDITS[kind]
    frame, (finnish, english) = rng.choice(frames), _fields(rng, kind, beyond)
    # "vaihda kuvan se" is nobody's Finnish: where a frame speaks of a thing in the picture, it is named
    alone = 0 if "kuvan {it" in frame or "kuvassa" in frame else {"spot": .75, "remove": .12}.get(kind, .3)
    forms, named = reference(rng, beyond, alone)
    text = frame.format(**finnish, **{f"it_{case}": form for case, form in forms.items()})
    target = "the background" if kind in ("ground", "plain") else named if "{it}" in answer else ""
    return text, edit(written(answer.format(it=named, **english)), target)


def _undo(rng, _):
    roll, image = rng.random(), rng.choice(IMAGE)
    if roll < .3:
        text = rng.choice(UNDO_WHOLE)
    elif roll < .55:
        text = f"{rng.choice(BACK)} {rng.choice(EARLIER_TO).format(**image)}"
    elif roll < .68:
        text = f"{rng.choice(UNDOING)} {rng.choice(DONE)}"
    elif roll < .78:
        text = f"{rng.choice(UNDOING_GEN)} {rng.choice(DONE_GEN)}"
    elif roll < .9:
        text = f"{rng.choice(RESTORE)} {rng.choice(EARLIER).format(**image)}"
    else:
        text = f"{rng.choice(RESTORE_GEN)} {rng.choice(EARLIER_GEN).format(**image)}"
    return text, UNDO


def _none(rng, _):
    if rng.random() < .4:
        return rng.choice(NONE_WHOLE), NONE
    frame = rng.choice(NONE_FRAMES)
    words = {name: rng.choice(choice) for name, choice in NONE_WORDS.items()}
    thing_named, colour = rng.choice(NOUNS[rng.choice(world.SHAPES)]), rng.choice(COLOURS[rng.choice(world.COLOURS)])
    return frame.format(**_forms("noun", thing_named), **_forms("colour", colour), **words), NONE


# what people ask for, each with what makes its commands
MAKERS = {"create": _create, "edit": _edit, "undo": _undo, "none": _none}


def courteous(rng, text):
    """The command as people say it: asked for politely, with a filler before or thanks after it."""
    if text.split()[0] in VERBS and rng.random() < .12:
        text = f"{rng.choice(POLITE_BEFORE)} {text}"
    if rng.random() < .15:
        text = f"{rng.choice(FILLERS)} {text}"
    return f"{text} {rng.choice(POLITE_AFTER)}" if rng.random() < .2 else text
