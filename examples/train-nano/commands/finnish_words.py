"""Finnish words of the nano world with the forms that sentences need, and what each means in English.

A word is (basic form, genitive, partitive, English); every other case follows from these three, see `cases`.
"""

NOUNS = {
    "circle": (("ympyrä", "ympyrän", "ympyrää", "circle"), ("pallo", "pallon", "palloa", "ball"), ("kiekko", "kiekon", "kiekkoa", "disc"),
               ("piste", "pisteen", "pistettä", "dot")),
    "square": (("neliö", "neliön", "neliötä", "square"), ("laatikko", "laatikon", "laatikkoa", "box"),
               ("kuutio", "kuution", "kuutiota", "cube")),
    "triangle": (("kolmio", "kolmion", "kolmiota", "triangle"), ("pyramidi", "pyramidin", "pyramidia", "pyramid")),
    "star": (("tähti", "tähden", "tähteä", "star"),),
    "heart": (("sydän", "sydämen", "sydäntä", "heart"),),
    "tree": (("puu", "puun", "puuta", "tree"), ("tammi", "tammen", "tammea", "oak"), ("omenapuu", "omenapuun", "omenapuuta", "apple tree"),
             ("vaahtera", "vaahteran", "vaahteraa", "maple")),
    "house": (("talo", "talon", "taloa", "house"), ("mökki", "mökin", "mökkiä", "cottage"), ("maja", "majan", "majaa", "hut"),
              ("rakennus", "rakennuksen", "rakennusta", "building"), ("hirsimökki", "hirsimökin", "hirsimökkiä", "cabin")),
    "boat": (("vene", "veneen", "venettä", "boat"), ("laiva", "laivan", "laivaa", "ship"),
             ("purjevene", "purjeveneen", "purjevenettä", "sailing boat"),
             ("jahti", "jahdin", "jahtia", "yacht"), ("purjelaiva", "purjelaivan", "purjelaivaa", "sailing ship"),
             ("jolla", "jollan", "jollaa", "dinghy")),
    "mountain": (("vuori", "vuoren", "vuorta", "mountain"), ("vuorenhuippu", "vuorenhuipun", "vuorenhuippua", "mountain peak")),
    "sun": (("aurinko", "auringon", "aurinkoa", "sun"),),
    "moon": (("kuu", "kuun", "kuuta", "moon"), ("kuunsirppi", "kuunsirpin", "kuunsirppiä", "crescent moon"),
             ("puolikuu", "puolikuun", "puolikuuta", "half moon")),
    "cloud": (("pilvi", "pilven", "pilveä", "cloud"), ("hattarapilvi", "hattarapilven", "hattarapilveä", "fluffy cloud")),
    "flower": (("kukka", "kukan", "kukkaa", "flower"), ("ruusu", "ruusun", "ruusua", "rose"),
               ("tulppaani", "tulppaanin", "tulppaania", "tulip"),
               ("päivänkakkara", "päivänkakkaran", "päivänkakkaraa", "daisy")),
    "fish": (("kala", "kalan", "kalaa", "fish"), ("kultakala", "kultakalan", "kultakalaa", "goldfish"),
             ("taimen", "taimenen", "taimenta", "trout"),
             ("karppi", "karpin", "karppia", "carp")),
    "cat": (("kissa", "kissan", "kissaa", "cat"), ("kissanpentu", "kissanpennun", "kissanpentua", "kitten"),
            ("kollikissa", "kollikissan", "kollikissaa", "tomcat")),
}
COLOURS = {
    "red": (("punainen", "punaisen", "punaista", "red"),) * 3 + (("kirkkaanpunainen", "kirkkaanpunaisen", "kirkkaanpunaista", "bright red"),
            ("tummanpunainen", "tummanpunaisen", "tummanpunaista", "deep red"), ("kirsikanpunainen", "kirsikanpunaisen", "kirsikanpunaista",
                                                                                 "cherry red")),
    "orange": (("oranssi", "oranssin", "oranssia", "orange"),) * 3 + (("kirkkaanoranssi", "kirkkaanoranssin", "kirkkaanoranssia",
                                                                       "bright orange"),),
    "yellow": (("keltainen", "keltaisen", "keltaista", "yellow"),) * 3 + (("kultainen", "kultaisen", "kultaista", "golden"),
               ("sitruunankeltainen", "sitruunankeltaisen", "sitruunankeltaista", "lemon yellow"),
               ("kirkkaankeltainen", "kirkkaankeltaisen", "kirkkaankeltaista", "bright yellow")),
    "green": (("vihreä", "vihreän", "vihreää", "green"),) * 3 + (("tummanvihreä", "tummanvihreän", "tummanvihreää", "dark green"),
              ("ruohonvihreä", "ruohonvihreän", "ruohonvihreää", "grass green"), ("lehdenvihreä", "lehdenvihreän", "lehdenvihreää",
                                                                                  "leaf green")),
    "blue": (("sininen", "sinisen", "sinistä", "blue"),) * 3 + (("tummansininen", "tummansinisen", "tummansinistä", "dark blue"),
             ("taivaansininen", "taivaansinisen", "taivaansinistä", "azure"), ("laivastonsininen", "laivastonsinisen", "laivastonsinistä",
                                                                               "navy")),
    "purple": (("violetti", "violetin", "violettia", "purple"),) * 3 + (("liila", "liilan", "liilaa", "lilac"),
               ("laventelinsininen", "laventelinsinisen", "laventelinsinistä", "lavender")),
    "pink": (("vaaleanpunainen", "vaaleanpunaisen", "vaaleanpunaista", "pink"),) * 2 + (("pinkki", "pinkin", "pinkkiä", "pink"),
             ("ruusunpunainen", "ruusunpunaisen", "ruusunpunaista", "rose pink"), ("lohenpunainen", "lohenpunaisen", "lohenpunaista",
                                                                                   "salmon pink")),
    "brown": (("ruskea", "ruskean", "ruskeaa", "brown"),) * 3 + (("tummanruskea", "tummanruskean", "tummanruskeaa", "dark brown"),
              ("kastanjanruskea", "kastanjanruskean", "kastanjanruskeaa", "chestnut")),
    "black": (("musta", "mustan", "mustaa", "black"),) * 3 + (("pikimusta", "pikimustan", "pikimustaa", "pitch black"),
              ("sysimusta", "sysimustan", "sysimustaa", "coal black")),
    "white": (("valkoinen", "valkoisen", "valkoista", "white"),) * 3 + (("lumivalkoinen", "lumivalkoisen", "lumivalkoista", "snow white"),
              ("norsunluunvalkoinen", "norsunluunvalkoisen", "norsunluunvalkoista", "ivory")),
}
SIZES = (("pieni", "pienen", "pientä", "small"), ("pieni", "pienen", "pientä", "small"), ("iso", "ison", "isoa", "big"),
         ("iso", "ison", "isoa", "big"),
         ("suuri", "suuren", "suurta", "large"), ("söpö", "söpön", "söpöä", "cute"), ("kaunis", "kauniin", "kaunista", "beautiful"),
         ("pikkuinen", "pikkuisen", "pikkuista", "little"), ("yksinkertainen", "yksinkertaisen", "yksinkertaista", "simple"),
         ("pienenpieni", "pienenpienen", "pienenpientä", "tiny"), ("kirkas", "kirkkaan", "kirkasta", "bright"))
# beyond the nano world: what is asked of a bigger picture model
BEYOND = (
    ("lohikäärme", "lohikäärmeen", "lohikäärmettä", "dragon"), ("koira", "koiran", "koiraa", "dog"),
    ("hevonen", "hevosen", "hevosta", "horse"),
    ("lintu", "linnun", "lintua", "bird"), ("linna", "linnan", "linnaa", "castle"), ("auto", "auton", "autoa", "car"),
    ("juna", "junan", "junaa", "train"),
    ("robotti", "robotin", "robottia", "robot"), ("silta", "sillan", "siltaa", "bridge"), ("leijona", "leijonan", "leijonaa", "lion"),
    ("norsu", "norsun", "norsua", "elephant"), ("omena", "omenan", "omenaa", "apple"), ("banaani", "banaanin", "banaania", "banana"),
    ("polkupyörä", "polkupyörän", "polkupyörää", "bicycle"), ("kani", "kanin", "kania", "rabbit"), ("karhu", "karhun", "karhua", "bear"),
    ("pöllö", "pöllön", "pöllöä", "owl"), ("kettu", "ketun", "kettua", "fox"), ("torni", "tornin", "tornia", "tower"),
    ("kirkko", "kirkon", "kirkkoa", "church"),
    ("majakka", "majakan", "majakkaa", "lighthouse"), ("velho", "velhon", "velhoa", "wizard"), ("ritari", "ritarin", "ritaria", "knight"),
    ("kello", "kellon", "kelloa", "clock"), ("tuoli", "tuolin", "tuolia", "chair"), ("pöytä", "pöydän", "pöytää", "table"),
    ("lamppu", "lampun", "lamppua", "lamp"),
    ("kitara", "kitaran", "kitaraa", "guitar"), ("piano", "pianon", "pianoa", "piano"), ("raketti", "raketin", "rakettia", "rocket"),
    ("planeetta", "planeetan", "planeettaa", "planet"), ("tulivuori", "tulivuoren", "tulivuorta", "volcano"),
    ("vesiputous", "vesiputouksen", "vesiputousta", "waterfall"),
    ("joki", "joen", "jokea", "river"), ("metsä", "metsän", "metsää", "forest"), ("saari", "saaren", "saarta", "island"),
    ("palmu", "palmun", "palmua", "palm tree"),
    ("lumiukko", "lumiukon", "lumiukkoa", "snowman"), ("pingviini", "pingviinin", "pingviiniä", "penguin"),
    ("valas", "valaan", "valasta", "whale"),
    ("hai", "hain", "haita", "shark"), ("delfiini", "delfiinin", "delfiiniä", "dolphin"),
    ("kilpikonna", "kilpikonnan", "kilpikonnaa", "turtle"),
    ("sammakko", "sammakon", "sammakkoa", "frog"), ("perhonen", "perhosen", "perhosta", "butterfly"),
    ("mehiläinen", "mehiläisen", "mehiläistä", "bee"),
    ("hämähäkki", "hämähäkin", "hämähäkkiä", "spider"), ("hiiri", "hiiren", "hiirtä", "mouse"), ("lehmä", "lehmän", "lehmää", "cow"),
    ("sika", "sian", "sikaa", "pig"),
    ("lammas", "lampaan", "lammasta", "sheep"), ("kana", "kanan", "kanaa", "chicken"), ("ankka", "ankan", "ankkaa", "duck"),
    ("joutsen", "joutsenen", "joutsenta", "swan"),
    ("tiikeri", "tiikerin", "tiikeriä", "tiger"), ("apina", "apinan", "apinaa", "monkey"), ("kameli", "kamelin", "kamelia", "camel"),
    ("seepra", "seepran", "seepraa", "zebra"),
    ("bussi", "bussin", "bussia", "bus"), ("lentokone", "lentokoneen", "lentokonetta", "airplane"),
    ("ilmapallo", "ilmapallon", "ilmapalloa", "balloon"),
    ("leija", "leijan", "leijaa", "kite"), ("sateenvarjo", "sateenvarjon", "sateenvarjoa", "umbrella"), ("hattu", "hatun", "hattua", "hat"),
    ("kakku", "kakun", "kakkua", "cake"), ("kuppi", "kupin", "kuppia", "cup"), ("kirja", "kirjan", "kirjaa", "book"),
    ("kynttilä", "kynttilän", "kynttilää", "candle"),
    ("kruunu", "kruunun", "kruunua", "crown"), ("miekka", "miekan", "miekkaa", "sword"), ("aave", "aaveen", "aavetta", "ghost"),
    ("noita", "noidan", "noitaa", "witch"),
    ("prinsessa", "prinsessan", "prinsessaa", "princess"), ("kuningas", "kuninkaan", "kuningasta", "king"),
    ("merenneito", "merenneidon", "merenneitoa", "mermaid"),
    ("patsas", "patsaan", "patsasta", "statue"), ("tuulimylly", "tuulimyllyn", "tuulimyllyä", "windmill"),
    ("teltta", "teltan", "telttaa", "tent"), ("ovi", "oven", "ovea", "door"),
    ("ikkuna", "ikkunan", "ikkunaa", "window"), ("avain", "avaimen", "avainta", "key"), ("timantti", "timantin", "timanttia", "diamond"),
    ("sieni", "sienen", "sientä", "mushroom"),
    ("kaktus", "kaktuksen", "kaktusta", "cactus"), ("kurpitsa", "kurpitsan", "kurpitsaa", "pumpkin"),
    ("mansikka", "mansikan", "mansikkaa", "strawberry"),
    ("sitruuna", "sitruunan", "sitruunaa", "lemon"), ("käärme", "käärmeen", "käärmettä", "snake"), ("susi", "suden", "sutta", "wolf"),
    ("peura", "peuran", "peuraa", "deer"))

# where: standing there, going there, in English
SPOTS = {
    "sea": (("merellä", "merelle", "on the sea"), ("meressä", "mereen", "in the sea"), ("valtamerellä", "valtamerelle", "on the ocean"),
            ("vedessä", "veteen", "on the water"), ("aalloilla", "aalloille", "on the waves"), ("järvellä", "järvelle", "on a lake"),
            ("meren rannalla", "meren rannalle", "by the sea"), ("ulapalla", "ulapalle", "at sea")),
    "meadow": (("niityllä", "niitylle", "in a meadow"), ("nurmikolla", "nurmikolle", "on a lawn"),
               ("ruohikolla", "ruohikolle", "on the grass"),
               ("vihreällä pellolla", "vihreälle pellolle", "in a green field"), ("puutarhassa", "puutarhaan", "in the garden"),
               ("kukkaniityllä", "kukkaniitylle", "in a flowery meadow"), ("rinteellä", "rinteelle", "on a hillside"),
               ("vihreillä kukkuloilla", "vihreille kukkuloille", "on the green hills"), ("pelloilla", "pelloille", "in the fields")),
    "snow": (("lumessa", "lumeen", "in the snow"), ("lumella", "lumelle", "on the snow"),
             ("lumisella pellolla", "lumiselle pellolle", "in a snowy field"),
             ("lumisessa maisemassa", "lumiseen maisemaan", "in a snowy landscape"), ("talvimaisemassa", "talvimaisemaan",
                                                                                      "in a winter landscape"),
             ("lumisateessa", "lumisateeseen", "in the snowfall"), ("lumisella mäellä", "lumiselle mäelle", "on a snowy hill")),
    "sky": (("taivaalla", "taivaalle", "in the sky"), ("ilmassa", "ilmaan", "in the air"),
            ("taivaan alla", "taivaan alle", "under the sky")),
}
SEASONS = (("talvella", "in winter"), ("talvipäivänä", "on a winter day"))
HOURS = {
    "day": (("päivällä", "by day"), ("päivänvalossa", "in daylight"), ("aurinkoisena päivänä", "on a sunny day"),
            ("keskipäivällä", "at noon"),
            ("aamulla", "in the morning"), ("päivän aikaan", "during the day")),
    "sunset": (("auringonlaskussa", "at sunset"), ("auringonlaskun aikaan", "at sunset"), ("illalla", "in the evening"),
               ("hämärässä", "at dusk"),
               ("iltahämärässä", "at twilight"), ("auringon laskiessa", "at sundown"), ("ilta-auringossa", "in the evening light")),
    "night": (("yöllä", "at night"), ("yöllä", "at night"), ("keskiyöllä", "at midnight"), ("tähtien alla", "under the stars"),
              ("tähtitaivaan alla", "under a starry sky"), ("kuutamossa", "in the moonlight"), ("pimeässä", "in the dark"),
              ("yön aikaan", "during the night")),
}
SKIES = {
    "day": (("sinisellä taivaalla", "in the blue sky"), ("kirkkaalla taivaalla", "in a clear sky"),
            ("sinisen taivaan alla", "under a blue sky")),
    "sunset": (("iltataivaalla", "in the evening sky"), ("iltataivaan alla", "under a sunset sky"),
               ("auringonlaskua vasten", "against a sunset")),
    "night": (("yötaivaalla", "in the night sky"), ("tähtikirkkaana yönä", "in a starry night"), ("myöhään yöllä", "late at night"),
              ("yötaivasta vasten", "against the night sky")),
}
# the hour as a noun (basic form, translative) and in English
TIMES = {
    "day": (("päivä", "päiväksi", "day"), ("päivä", "päiväksi", "day"), ("aamu", "aamuksi", "morning"),
            ("keskipäivä", "keskipäiväksi", "noon")),
    "sunset": (("ilta", "illaksi", "evening"), ("auringonlasku", "auringonlaskuksi", "sunset"), ("iltahämärä", "iltahämäräksi", "twilight"),
               ("hämärä", "hämäräksi", "dusk")),
    "night": (("yö", "yöksi", "night"), ("yö", "yöksi", "night"), ("keskiyö", "keskiyöksi", "midnight"),
              ("pimeä yö", "pimeäksi yöksi", "dark night")),
}
# grounds as nouns (basic form, genitive, partitive, English)
GROUNDS = (("meri", "meren", "merta", "the sea"), ("valtameri", "valtameren", "valtamerta", "the ocean"),
           ("järvi", "järven", "järveä", "a lake"),
           ("niitty", "niityn", "niittyä", "a meadow"), ("puutarha", "puutarhan", "puutarhaa", "a garden"),
           ("nurmikko", "nurmikon", "nurmikkoa", "a lawn"),
           ("ruoho", "ruohon", "ruohoa", "grass"), ("lumi", "lumen", "lunta", "snow"), ("talvi", "talven", "talvea", "winter"),
           ("talvimaisema", "talvimaiseman", "talvimaisemaa", "a winter landscape"), ("lumihanki", "lumihangen", "lumihankea",
                                                                                      "a snowy field"),
           ("taivas", "taivaan", "taivasta", "the sky"), ("vesi", "veden", "vettä", "water"))
# after a picture: "akvarellina"
STYLES = {
    "flat": (("tasaisella tyylillä", "in flat style"), ("tasaisin värein", "in flat colours"),
             ("vektoripiirroksena", "as a vector drawing"),
             ("leikekuvana", "as clip art"), ("litteällä tyylillä", "in flat style")),
    "outline": (("ääriviivoina", "as an outline"), ("viivapiirroksena", "as a line drawing"), ("mustepiirroksena", "as an ink drawing"),
                ("sarjakuvana", "as a comic drawing"), ("luonnoksena", "as a sketch"), ("musteella piirrettynä", "drawn in ink"),
                ("värityskirjan tyyliin", "like a colouring book")),
    "watercolor": (("akvarellina", "as a watercolour"), ("akvarellina", "as a watercolour"), ("vesiväreillä", "in watercolour"),
                   ("vesivärityönä", "as a watercolour"), ("akvarellimaalauksena", "as a watercolor painting"),
                   ("vesivärein maalattuna", "painted in watercolour")),
    "pixel": (("pikselitaiteena", "as pixel art"), ("pikselitaiteena", "as pixel art"), ("pikselityylillä", "in pixel style"),
              ("pikseleistä tehtynä", "made of pixels"),
              ("kahdeksanbittisenä", "in 8-bit style"), ("vanhan videopelin tyyliin", "like an old video game"),
              ("pikseligrafiikkana", "in pixel art")),
}
# works (basic form, genitive, partitive, English), for "muuta kuva akvarelliksi"
WORKS = (("akvarelli", "akvarellin", "akvarellia", "a watercolour"), ("akvarellimaalaus", "akvarellimaalauksen", "akvarellimaalausta",
                                                                      "a watercolour painting"),
         ("vesivärityö", "vesivärityön", "vesivärityötä", "a watercolour"), ("pikselitaide", "pikselitaiteen", "pikselitaidetta",
                                                                             "pixel art"),
         ("pikselikuva", "pikselikuvan", "pikselikuvaa", "a pixel picture"), ("viivapiirros", "viivapiirroksen", "viivapiirrosta",
                                                                              "a line drawing"),
         ("mustepiirros", "mustepiirroksen", "mustepiirrosta", "an ink drawing"), ("luonnos", "luonnoksen", "luonnosta", "a sketch"),
         ("sarjakuva", "sarjakuvan", "sarjakuvaa", "a comic"), ("vektoripiirros", "vektoripiirroksen", "vektoripiirrosta",
                                                                "a vector drawing"),
         ("leikekuva", "leikekuvan", "leikekuvaa", "clip art"), ("ääriviivapiirros", "ääriviivapiirroksen", "ääriviivapiirrosta",
                                                                 "an outline drawing"))
PLURALS = (("pilviä", "clouds"), ("vuoria", "mountains"), ("kukkia", "flowers"), ("kaloja", "some fish"), ("puita", "trees"),
           ("tähtiä", "stars"), ("lintuja", "birds"))
# (standing there, going there, English) after a genitive
LINKS = {
    "on": (("päällä", "päälle", "on top of"), ("päällä", "päälle", "on top of")),
    "above": (("yläpuolella", "yläpuolelle", "above"), ("yllä", "ylle", "above"), ("alla", "alle", "under"),
              ("alapuolella", "alapuolelle", "below")),
    "beside": (("vieressä", "viereen", "next to"), ("vieressä", "viereen", "next to"), ("lähellä", "lähelle", "near"),
               ("rinnalla", "rinnalle", "beside"),
               ("vasemmalla puolella", "vasemmalle puolelle", "to the left of"), ("oikealla puolella", "oikealle puolelle",
                                                                                  "to the right of"),
               ("edessä", "eteen", "in front of"), ("takana", "taakse", "behind")),
}
CORNERS = (("vasemmalle", "on the left"), ("oikealle", "on the right"), ("ylös", "at the top"), ("alas", "at the bottom"),
           ("yläreunaan", "at the top"),
           ("alareunaan", "at the bottom"), ("sen viereen", "next to it"), ("sen päälle", "on top of it"), ("sen yläpuolelle", "above it"),
           ("sen alle", "under it"), ("vasemmalle puolelle", "on the left side"), ("oikealle puolelle", "on the right side"))


def cases(word):
    """The forms by name: nom, gen, par, ela (from), tra (into), ade (on), all (onto), ess (as)."""
    nominative, genitive, partitive, _ = word
    stem, a = genitive[:-1], partitive[-1]
    return {"nom": nominative, "gen": genitive, "par": partitive, "ela": f"{stem}st{a}", "tra": f"{stem}ksi", "ade": f"{stem}ll{a}",
            "all": f"{stem}lle", "ess": f"{nominative if nominative == 'yö' else stem}n{a}"}


def phrase(words, case):
    """Adjectives and noun in the same case: "siniselle taustalle"."""
    return " ".join(cases(word)[case] for word in words)
