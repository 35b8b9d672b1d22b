"""Commands beyond the nano world, for models that are bigger: things that move and are many, landscapes, sizes, weather.

They belong to the bank's share of what lies beyond: where that is 0, none of them is drawn.
"""

import world
from commands import finnish
from commands.english import AN, foreign, reference, spoken, thing
from commands.english_frames import DRAW, EDITS, WISH
from commands.finnish_frames import CREATE_NOM
from commands.finnish_frames import EDITS as EDITS_FINNISH
from commands.finnish_words import COLOURS, NOUNS, SPOTS, cases, phrase
from commands.intention import create, edit
from prompts import article
from words import COLOUR_WORDS, HOURS
from words import NOUNS as NOUNS_ENGLISH
from words import SPOTS as SPOTS_ENGLISH

DOING = (("istuu", "sitting"), ("nukkuu", "sleeping"), ("leikkii", "playing"), ("lentää", "flying"), ("ui", "swimming"),
         ("juoksee", "running"),
         ("seisoo", "standing"), ("kävelee", "walking"), ("tanssii", "dancing"), ("hyppii", "jumping"))
NUMBERS = (("kaksi", "two"), ("kolme", "three"), ("neljä", "four"), ("viisi", "five"), ("pari", "a few"))
LANDS = (("metsä", "metsän", "metsää", "a forest"), ("kaupunki", "kaupungin", "kaupunkia", "a city"),
         ("ranta", "rannan", "rantaa", "a beach"),
         ("autiomaa", "autiomaan", "autiomaata", "a desert"), ("vuoristo", "vuoriston", "vuoristoa", "mountains"),
         ("avaruus", "avaruuden", "avaruutta", "space"), ("kylä", "kylän", "kylää", "a village"), ("joki", "joen", "jokea", "a river"),
         ("puisto", "puiston", "puistoa", "a park"), ("linna", "linnan", "linnaa", "a castle"), ("saari", "saaren", "saarta", "an island"))
WORKS = (("öljyvärimaalaus", "öljyvärimaalauksen", "öljyvärimaalausta", "an oil painting"),
         ("valokuva", "valokuvan", "valokuvaa", "a photo"),
         ("lyijykynäpiirros", "lyijykynäpiirroksen", "lyijykynäpiirrosta", "a pencil drawing"),
         ("mosaiikki", "mosaiikin", "mosaiikkia", "a mosaic"),
         ("maalaus", "maalauksen", "maalausta", "a painting"), ("piirros", "piirroksen", "piirrosta", "a drawing"))
MORE = (("isompi", "isommaksi", "bigger"), ("suurempi", "suuremmaksi", "larger"), ("pienempi", "pienemmäksi", "smaller"),
        ("tummempi", "tummemmaksi", "darker"),
        ("kirkkaampi", "kirkkaammaksi", "brighter"), ("vaaleampi", "vaaleammaksi", "lighter"), ("kauniimpi", "kauniimmaksi", "prettier"),
        ("korkeampi", "korkeammaksi", "taller"))
WAYS = (("vasemmalle", "to the left"), ("oikealle", "to the right"), ("ylös", "up"), ("alas", "down"), ("keskelle", "to the middle"),
        ("ylemmäs", "higher"), ("alemmas", "lower"))
WEATHER = (("talvi", "winter"), ("kesä", "summer"), ("syksy", "autumn"), ("kevät", "spring"), ("sateinen", "rainy"), ("sumuinen", "foggy"),
           ("myrskyinen", "stormy"), ("aurinkoinen", "sunny"), ("pilvinen", "cloudy"))
ASKING = ("could we have", "could i have", "can i get", "can we see", "can i see", "may i have") + DRAW + WISH
ASKING_FINNISH = ("piirtäisitkö", "maalaisitko", "tekisitkö", "voisinko saada", "haluaisin nähdä", "loisitko")


def many(noun):
    """The plural of an English noun of the nano world."""
    if noun.endswith("fish") or noun in ("trout", "carp"):
        return noun
    return noun[:-1] + "ies" if noun.endswith(("sy", "ty", "by")) else noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def _edit(kind, target="", **fields):
    return edit(AN.sub("an ", EDITS[kind][0].format(it=target or "it", **fields)), target)


def _english_create(rng):
    shape, colour, roll = rng.choice(world.SHAPES), rng.choice(world.COLOURS), rng.random()
    if roll < .4:
        place = rng.choice(SPOTS_ENGLISH[rng.choice(list(SPOTS_ENGLISH))])
        where = place if rng.random() < .5 else f"{rng.choice(('on', 'over', 'in', 'under', 'near'))} {article(foreign(rng))}"
        what = f"{thing(rng, shape, colour, .6)} {rng.choice(DOING)[1]} {where}"
    elif roll < .65:
        tint = f"{rng.choice(COLOUR_WORDS[colour])} " if rng.random() < .6 else ""
        what = f"{rng.choice(NUMBERS)[1]} {tint}{many(rng.choice(NOUNS_ENGLISH[shape]))}"
    else:
        hour = rng.choice([h for h in HOURS[rng.choice(world.TIMES)] if h])
        what = rng.choice((f"{rng.choice(LANDS)[3]} {hour}", rng.choice(LANDS)[3], "a sunset over the ocean", "a sunset over the sea",
                           f"{thing(rng, shape, colour, .3)} in {rng.choice(LANDS)[3]}", f"the night sky over {rng.choice(LANDS)[3]}"))
    return f"{rng.choice(ASKING) if rng.random() < .85 else ''} {what}".strip(), create(what)


def _english_edit(rng):
    said, it = reference(rng, .3, .3)
    target, colour = "" if it == "it" else it, rng.choice(COLOUR_WORDS[rng.choice(world.COLOURS)])
    more, way, weather = rng.choice(MORE)[2], rng.choice(WAYS)[1], rng.choice(WEATHER)[1]
    new, land, work = thing(rng, rng.choice(world.SHAPES), rng.choice(world.COLOURS), .3), rng.choice(LANDS)[3], rng.choice(WORKS)[3]
    ground, turned = rng.choice(EDITS["ground"][1]), rng.choice(EDITS["work"][1])
    return rng.choice((
        (f"make {said} {more}", edit(f"make {it} {more}", target)), (f"make the sky {more}", edit(f"make the sky {more}", "the sky")),
        (f"move {said} {way}", edit(f"move {it} {way}", target)), (f"make it {weather}", edit(f"make it {weather}")),
        (f"make everything {colour}", edit(f"make everything {colour}")), (f"no {colour}", edit(f"make it {colour}")),
        (f"change the colour to {colour}", edit(f"make it {colour}")), (f"no make it {colour}", edit(f"make it {colour}")),
        (f"i would prefer {new} instead of {said}", _edit("swap", target, new=new)),
        (ground.format(ground=land), _edit("ground", "the background", ground=land)), (turned.format(work=work), _edit("work", work=work)),
        (f"add {(few := rng.choice(NUMBERS)[1])} {(plural := many(rng.choice(NOUNS_ENGLISH[rng.choice(world.SHAPES)])))}",
         edit(f"add {few} {plural}")),
    ))


def _finnish_create(rng):
    shape, colour, roll = rng.choice(world.SHAPES), rng.choice(world.COLOURS), rng.random()
    words, english = finnish.thing(rng, shape, colour, .4)
    if roll < .35:
        (doing, said), (here, _, where) = rng.choice(DOING), rng.choice(SPOTS[rng.choice(list(SPOTS))])
        leads = [lead for lead in CREATE_NOM if lead.endswith(" on")]
        lead = rng.choice(leads)[:-3].replace("jossa", rng.choice(("jossa", "jossa", "missä")))
        return f"{lead} {phrase(words, 'nom')} {doing} {here}", create(f"{article(english)} {said} {where}")
    if roll < .55:
        (number, said), noun, tint = rng.choice(NUMBERS), rng.choice(NOUNS[shape]), rng.choice(COLOURS[colour])
        return f"{rng.choice(CREATE_NOM)} {number} {phrase((tint, noun), 'par')}", create(f"{said} {tint[3]} {many(noun[3])}")
    if roll < .8:
        return f"{rng.choice(ASKING_FINNISH)} {phrase(words, 'gen')}", create(article(english))
    land, hour = rng.choice(LANDS), rng.choice(finnish.HOURS[rng.choice(world.TIMES)])
    return f"{rng.choice(CREATE_NOM)} {land[0]} {hour[0]}", create(f"{land[3]} {hour[1]}")


def _finnish_edit(rng):
    it, named = finnish.reference(rng, .2, 0)
    words, new = finnish.thing(rng, rng.choice(world.SHAPES), rng.choice(world.COLOURS), .2)
    colour, more, way, weather = rng.choice(COLOURS[rng.choice(world.COLOURS)]), rng.choice(MORE), rng.choice(WAYS), rng.choice(WEATHER)
    (number, few), noun, new = rng.choice(NUMBERS), rng.choice(NOUNS[rng.choice(world.SHAPES)]), article(new)
    land, work = cases(rng.choice(LANDS)), cases(rng.choice(WORKS))
    english = {word[0]: word[3] for word in LANDS + WORKS}
    ground, turned = rng.choice(EDITS_FINNISH["ground"][1]), rng.choice(EDITS_FINNISH["work"][1])
    bigger, moved = edit(f"make {named} {more[2]}", named), edit(f"move {named} {way[1]}", named)
    green, gone = edit(f"make {named} {colour[3]}", named), edit(f"remove {named}", named)
    to, into = colour[0], cases(colour)["tra"]
    return rng.choice((
        (f"tee {it['ela']} {more[0]}", bigger), (f"muuta {it['nom']} {more[1]}", bigger),
        (f"tee siitä {more[0]}", edit(f"make it {more[2]}")),
        (f"muuta taivas {more[1]}", edit(f"make the sky {more[2]}", "the sky")), (f"tee taivaasta {more[0]}",
                                                                                  edit(f"make the sky {more[2]}", "the sky")),
        (f"siirrä {it['nom']} {way[0]}", moved), (f"siirrä se {way[0]}", edit(f"move it {way[1]}")),
        (f"tee siitä {weather[0]}", edit(f"make it {weather[1]}")),
        (f"muuta kaikki {into}", edit(f"make everything {colour[3]}")), (f"ei vaan {to}", edit(f"make it {colour[3]}")),
        (f"ei kun {to}", edit(f"make it {colour[3]}")), (f"muuta tuo {it['nom']} {into}", green), (f"ota tuo {it['nom']} pois", gone),
        (f"poista tämä {it['nom']}", gone), (f"en halua sitä {it['par']}", gone), (f"poista tuo {it['nom']}", gone),
        (f"haluan mieluummin {phrase(words, 'gen')} kuin {it['gen']}", _edit("swap", named, new=new)),
        (f"lisää {number} {noun[2]}", edit(f"add {few} {many(noun[3])}")),
        (ground.format(**{f"ground_{k}": v for k, v in land.items()}), _edit("ground", "the background", ground=english[land["nom"]])),
        (turned.format(**{f"work_{k}": v for k, v in work.items()}), _edit("work", work=english[work["nom"]])),
    ))


def core(rng, language):
    """A command beyond the nano world without courtesies, and what it asks for."""
    made, changed = {"english": (_english_create, _english_edit), "finnish": (_finnish_create, _finnish_edit)}[language]
    text, intention = (made if rng.random() < .45 else changed)(rng)
    return spoken(text), {name: spoken(value) for name, value in intention.items()}
