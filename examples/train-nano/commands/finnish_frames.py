"""Finnish sentences around what is asked for. A field names its case: {thing_gen} is "punaisen kissan".

`EDITS` answers in the same English wordings as `english_frames.EDITS`. "{it}" may be "se": frames are written so that
the forms of "se" (sen, sitä, siitä) stand in them as well as a noun's.
"""

# what is drawn stands in the basic form after an imperative, in the genitive after an infinitive or a wish
CREATE_NOM = ("luo", "piirrä", "maalaa", "tee", "luo minulle", "piirrä minulle", "maalaa minulle", "tee minulle", "piirretään", "maalataan",
              "luo kuva jossa on",
              "tee kuva jossa on", "piirrä kuva jossa on", "haluan kuvan jossa on", "haluaisin kuvan jossa on", "tee uusi kuva jossa on",
              "luo uusi kuva jossa on",
              "saisinko kuvan jossa on", "maalaa kuva jossa on", "voisitko piirtää kuvan jossa on", "voisitko tehdä kuvan jossa on",
              "kuva jossa on",
              "uusi kuva jossa on", "piirräpä", "näytä minulle", "luodaan kuva jossa on", "näytä kuva jossa on",
              "voitko luoda kuvan jossa on", "aloita uusi kuva jossa on",
              "generoi", "generoi kuva jossa on", "tehdään kuva jossa on", "haluan nähdä kuvan jossa on", "tee sellainen kuva jossa on")
CREATE_GEN = ("voisitko piirtää", "voitko piirtää", "voisitko luoda", "voitko luoda", "voisitko maalata", "haluan", "haluaisin",
              "haluan nähdä", "haluaisin nähdä",
              "voisitko tehdä", "voisitko piirtää minulle", "saisinko", "haluaisin että piirrät", "voitko maalata", "voitko tehdä minulle",
              "tahdon", "tahtoisin",
              "voisitko luoda minulle", "ottaisin")
CREATE_ELA = ("tee kuva", "piirrä kuva", "luo kuva", "maalaa kuva", "haluan kuvan", "haluaisin kuvan", "kuva", "tee uusi kuva",
              "luo uusi kuva", "tee piirros",
              "voisitko tehdä kuvan", "voisitko piirtää kuvan", "tee maalaus", "piirrä minulle kuva", "tee minulle kuva", "uusi kuva",
              "saisinko kuvan",
              "maalaa minulle kuva", "näytä kuva", "haluan nähdä kuvan", "voitko luoda kuvan")

# after these what is drawn stands somewhere ("merellä"); after the others it may be drawn onto something ("merelle")
STANDING = ("jossa", "halua", "saisinko", "tahdo", "tahtoi", "ottaisin", "nähdä", "näytä")

EDITS = {
    "recolour": ("make {it} {to}", (
        "muuta {it_nom} {to_tra}", "maalaa {it_nom} {to_tra}", "väritä {it_nom} {to_tra}", "vaihda {it_gen} väri {to_tra}",
        "muuta {it_gen} väri {to_tra}",
        "tee {it_ela} {to_nom}", "tee {it_ela} {to_nom}", "voisitko muuttaa {it_gen} {to_tra}", "voisitko maalata {it_gen} {to_tra}",
        "haluan että {it_nom} on {to_nom}",
        "haluaisin että {it_nom} olisi {to_nom}", "{it_nom} saa olla {to_nom}", "voisiko {it_nom} olla {to_nom}",
        "voitko vaihtaa {it_gen} värin {to_tra}",
        "värjää {it_nom} {to_tra}", "{it_gen} pitäisi olla {to_nom}", "{it_nom} {to_tra}", "muutetaan {it_nom} {to_tra}",
        "haluan {it_gen} {to_tra}",
        "voisitko tehdä {it_ela} {to_gen}", "{it_gen} väri saa olla {to_nom}")),
    "swap": ("replace {it} with {new}", (
        "vaihda {it_nom} {new_tra}", "korvaa {it_nom} {new_ade}", "muuta {it_nom} {new_tra}", "tee {it_ela} {new_nom}",
        "laita {it_gen} tilalle {new_nom}",
        "vaihda kuvan {it_nom} {new_tra}", "voisitko vaihtaa {it_gen} {new_tra}", "haluan {it_gen} tilalle {new_gen}",
        "piirrä {it_gen} tilalle {new_nom}",
        "{it_gen} sijaan {new_nom}", "voisitko korvata {it_gen} {new_ade}", "vaihda {it_gen} tilalle {new_nom}",
        "haluaisin {it_gen} tilalle {new_gen}",
        "muuta {it_nom} kuvassa {new_tra}", "{it_gen} tilalle {new_nom}", "vaihdetaan {it_nom} {new_tra}",
        "voitko muuttaa {it_gen} {new_tra}",
        "{it_gen} pitäisi olla {new_nom}", "laita {new_nom} {it_gen} tilalle")),
    "add": ("add {new}", (
        "lisää {new_nom}", "lisää {new_nom}", "lisää kuvaan {new_nom}", "laita kuvaan {new_nom}", "piirrä kuvaan vielä {new_nom}",
        "lisää vielä {new_nom}",
        "voisitko lisätä {new_gen}", "haluan kuvaan {new_gen}", "kuvaan pitäisi lisätä {new_nom}", "lisää {new_nom} kuvaan",
        "haluaisin kuvaan vielä {new_gen}",
        "voitko lisätä kuvaan {new_gen}", "lisätään {new_nom}", "piirrä siihen {new_nom}", "lisää siihen {new_nom}",
        "laita siihen myös {new_nom}",
        "piirrä kuvaan myös {new_nom}", "haluan lisätä kuvaan {new_gen}", "maalaa kuvaan {new_nom}", "lisää tähän kuvaan {new_nom}")),
    "add at": ("add {new} {where}", (
        "lisää {new_nom} {where}", "lisää {where} {new_nom}", "laita {where} {new_nom}", "laita {new_nom} {where}",
        "piirrä {where} vielä {new_nom}",
        "voisitko lisätä {where} {new_gen}", "voisitko lisätä {new_gen} {where}", "haluan {where} vielä {new_gen}",
        "lisää kuvaan {new_nom} {where}",
        "voitko laittaa {where} {new_gen}", "lisätään {where} {new_nom}", "aseta {new_nom} {where}", "{where} pitäisi lisätä {new_nom}",
        "lisää vielä {new_nom} {where}")),
    "remove": ("remove {it}", (
        "poista {it_nom}", "poista {it_nom}", "ota {it_nom} pois", "hävitä {it_nom}", "pyyhi {it_nom} pois", "poista kuvasta {it_nom}",
        "poista {it_nom} kuvasta",
        "voisitko poistaa {it_gen}", "en halua {it_par}", "en halua nähdä {it_par}", "haluan {it_gen} pois", "jätä {it_nom} pois",
        "voitko ottaa {it_gen} pois",
        "ota {it_nom} pois kuvasta", "{it_nom} pois", "poistetaan {it_nom}", "en tahdo {it_par} kuvaan",
        "voisitko ottaa {it_gen} pois kuvasta", "{it_nom} saa hävitä",
        "kumita {it_nom}", "haluaisin poistaa {it_gen}", "otetaan {it_nom} pois", "{it_gen} voi poistaa")),
    "time": ("make it {hour}", (
        "tee siitä {hour_nom}", "tee siitä {hour_nom}", "muuta se {hour_tra}", "muuta kuva {hour_tra}", "vaihda ajaksi {hour_nom}",
        "tee kuvasta {hour_nom}",
        "haluan että on {hour_nom}", "vaihda vuorokaudenajaksi {hour_nom}", "voisitko muuttaa sen {hour_tra}", "muuta aika {hour_tra}",
        "olkoon {hour_nom}",
        "vaihda se {hour_tra}", "haluaisin että on {hour_nom}", "muutetaan se {hour_tra}", "voisiko olla {hour_nom}",
        "vaihda vuorokaudenaika {hour_tra}")),
    "when": ("show it {when}", (
        "näytä se {when}", "haluan sen {when}", "piirrä se {when}", "näytä sama {when}", "näytä sama kuva {when}",
        "miltä se näyttää {when}", "haluan nähdä sen {when}",
        "sama {when}", "sama kuva {when}", "voisitko näyttää sen {when}", "millainen se olisi {when}", "maalaa se {when}")),
    "spot": ("put {it} {spot}", (
        "laita {it_nom} {spot}", "siirrä {it_nom} {spot}", "vie {it_nom} {spot}", "aseta {it_nom} {spot}",
        "voisitko laittaa {it_gen} {spot}", "haluan {it_gen} {spot}",
        "voisitko siirtää {it_gen} {spot}", "siirretään {it_nom} {spot}", "sijoita {it_nom} {spot}", "haluaisin siirtää {it_gen} {spot}",
        "pane {it_nom} {spot}")),
    "ground": ("change the background to {ground}", (
        "vaihda taustaksi {ground_nom}", "muuta tausta {ground_tra}", "vaihda tausta {ground_tra}", "laita taustalle {ground_nom}",
        "tee taustasta {ground_nom}",
        "haluan taustaksi {ground_gen}", "voisitko vaihtaa taustaksi {ground_gen}", "laita taustaksi {ground_nom}",
        "korvaa tausta {ground_ade}",
        "taustaksi {ground_nom}", "vaihdetaan taustaksi {ground_nom}", "maalaa taustalle {ground_nom}",
        "haluaisin taustalle {ground_gen}")),
    "plain": ("make the background {to}", (
        "muuta tausta {to_tra}", "tee taustasta {to_nom}", "vaihda taustan väri {to_tra}", "haluan {to_gen} taustan",
        "maalaa tausta {to_tra}", "laita taustaksi {to_nom}",
        "muuta taustan väri {to_tra}", "vaihda tausta {to_tra}", "laita se {to_all} taustalle", "taustan pitäisi olla {to_nom}",
        "voisitko muuttaa taustan {to_tra}",
        "väritä tausta {to_tra}", "haluaisin {to_gen} taustan", "{to_nom} tausta", "vaihda taustaksi {to_nom}", "tausta {to_tra}",
        "siirrä se {to_all} taustalle",
        "haluan että tausta on {to_nom}", "voisiko tausta olla {to_nom}", "vaihda {to_nom} tausta")),
    "work": ("turn it into {work}", (
        "tee siitä {work_nom}", "muuta se {work_tra}", "muuta kuva {work_tra}", "tee kuvasta {work_nom}", "voisitko muuttaa sen {work_tra}",
        "haluan siitä {work_gen}",
        "vaihda se {work_tra}", "tee tästä {work_nom}", "voisitko tehdä siitä {work_gen}", "muutetaan kuva {work_tra}",
        "haluaisin siitä {work_gen}")),
    "after": ("draw it {after}", (
        "piirrä se {after}", "maalaa se {after}", "näytä se {after}", "haluan sen {after}", "tee se {after}", "sama {after}",
        "piirrä sama {after}", "voisitko piirtää sen {after}",
        "haluaisin nähdä sen {after}", "näytä kuva {after}")),
    "tag": ("change the style to {tag}", (
        "vaihda tyyliksi {tag_nom}", "muuta tyyli {tag_tra}", "muuta tyyliksi {tag_nom}", "vaihda tyyli {tag_tra}", "tyyliksi {tag_nom}",
        "haluan tyyliksi {tag_gen}",
        "laita tyyliksi {tag_nom}", "voisitko vaihtaa tyyliksi {tag_gen}")),
}
TAGS = (("akvarelli", "akvarellin", "akvarellia", "watercolour"), ("pikselitaide", "pikselitaiteen", "pikselitaidetta", "pixel art"),
        ("viivapiirros", "viivapiirroksen", "viivapiirrosta", "line drawing"), ("muste", "musteen", "mustetta", "ink"),
        ("vektori", "vektorin", "vektoria", "vector"))
DEEDS = {
    "anna auringon laskea": "make it sunset", "laske aurinko": "make it sunset", "anna illan tulla": "make it evening",
    "anna yön tulla": "make it night",
    "anna auringon nousta": "make it day", "sammuta valot": "make it night", "sytytä valot": "make it day",
    "tee siitä aurinkoinen päivä": "make it a sunny day",
    "tee siitä pimeä": "make it dark", "tee siitä valoisa": "make it bright", "tee siitä yökuva": "make it night",
    "tee siitä öinen": "make it night",
    "tee kuvasta öinen": "make it night", "tee siitä talvinen": "put it in the snow", "tee siitä talvikuva": "put it in the snow",
    "anna sataa lunta": "put it in the snow",
    "tee siitä iltakuva": "make it evening", "tee siitä iltainen": "make it evening", "tee taivaasta pimeä": "make the sky dark",
    "tummenna taivas": "make the sky dark",
    "siirrä se tähtien alle": "put it under the stars", "anna pimeän tulla": "make it dark", "tee siitä päiväkuva": "make it day",
}
FILLERS = ("no", "no niin", "okei", "hei", "nyt", "öö", "tuota", "noh", "ja", "ja nyt", "ja sitten", "sitten", "hei nyt", "hyvä", "hmm",
           "seuraavaksi")
POLITE_BEFORE = ("ole hyvä ja", "ole kiltti ja", "ole ystävällinen ja")
POLITE_AFTER = ("kiitos", "kiitos", "kiitos", "ole hyvä", "nyt", "jooko", "jos voit", "ole kiltti", "jos sopii", "kiitos paljon")
MIDDLE = ("nyt", "vielä", "sitten", "vaikka", "nyt vaikka")

BACK = ("palaa", "mene takaisin", "palataan", "siirry takaisin", "haluan palata", "voisitko palata", "mennään takaisin", "palaa takaisin",
        "vie minut takaisin", "haluaisin palata",
        "voitko palata", "siirry")
EARLIER_TO = ("edelliseen {ill}", "edeltävään {ill}", "aiempaan {ill}", "aikaisempaan {ill}", "vanhaan {ill}", "viimeiseen {ill}",
              "siihen edelliseen {ill}", "entiseen {ill}")
EARLIER = ("edellinen {nom}", "aiempi {nom}", "aikaisempi {nom}", "vanha {nom}", "se edellinen {nom}", "entinen {nom}", "edeltävä {nom}")
EARLIER_GEN = ("edellisen {gen}", "aiemman {gen}", "aikaisemman {gen}", "vanhan {gen}", "sen edellisen {gen}", "entisen {gen}")
IMAGE = ({"nom": "kuva", "gen": "kuvan", "ill": "kuvaan"}, {"nom": "kuva", "gen": "kuvan", "ill": "kuvaan"},
         {"nom": "versio", "gen": "version", "ill": "versioon"},
         {"nom": "vaihe", "gen": "vaiheen", "ill": "vaiheeseen"}, {"nom": "piirros", "gen": "piirroksen", "ill": "piirrokseen"},
         {"nom": "tilanne", "gen": "tilanteen", "ill": "tilanteeseen"})
RESTORE = ("palauta", "näytä", "tuo takaisin", "näytä taas", "palauta minulle", "otetaan takaisin", "anna takaisin", "palautetaan")
RESTORE_GEN = ("haluan takaisin", "voisitko palauttaa", "haluaisin takaisin", "voitko palauttaa", "haluan nähdä taas", "haluan")
UNDOING = ("kumoa", "peru", "peruuta", "kumotaan", "perutaan")
DONE = ("se", "tuo", "tämä", "viimeinen muutos", "edellinen muutos", "viime muutos", "viimeisin muutos", "se muutos", "tuo muutos",
        "edellinen komento", "viimeinen toiminto",
        "äskeinen", "äskeinen muutos", "viimeinen", "edellinen", "edellinen vaihe", "muutos", "viimeisin toiminto")
UNDOING_GEN = ("haluan perua", "voisitko kumota", "voisitko perua", "haluan kumota", "voitko peruuttaa", "haluaisin perua")
DONE_GEN = ("sen", "tuon", "tämän", "viimeisen muutoksen", "edellisen muutoksen", "viimeisimmän muutoksen", "tuon muutoksen",
            "edellisen komennon", "äskeisen", "äskeisen muutoksen")
UNDO_WHOLE = ("kumoa", "peru", "peruuta", "takaisin", "mene takaisin", "palaa takaisin", "askel taaksepäin", "yksi askel taaksepäin",
              "mene askel taaksepäin", "ei palaa takaisin",
              "se oli väärin kumoa", "edellinen oli parempi", "se oli parempi ennen", "tee siitä sellainen kuin se oli",
              "laita se takaisin ennalleen", "palauta ennalleen",
              "hups kumoa", "väärin peru se", "ei noin kumoa se", "en pidä siitä palaa takaisin", "unohda viimeinen muutos", "se oli virhe",
              "tein virheen palaa takaisin",
              "muuta se takaisin", "vaihda takaisin", "ota tuo takaisin", "palauta se", "entinen oli parempi", "ei kun takaisin",
              "mennään takaisin", "pidin enemmän edellisestä",
              "palauta kaikki ennalleen", "ei se ollut noin kumoa")

NONE_WHOLE = (
    "paljonko kello on", "mitä kuuluu", "kuka sinä olet", "mikä sinun nimesi on", "mitä sinä osaat", "kerro vitsi", "kiitos",
    "kiitos paljon", "hei", "moi", "terve",
    "hyvää huomenta", "hyvää iltaa", "hyvää yötä", "näkemiin", "nähdään myöhemmin", "kyllä", "ei", "ehkä", "ei se mitään", "en tiedä",
    "kiva", "tosi kiva", "hyvin tehty",
    "pidän siitä", "onpa kaunis", "se näyttää hyvältä", "seis", "odota", "odota hetki", "ole hiljaa", "apua", "tarvitsen apua",
    "oletko siellä", "kuuletko minua",
    "ymmärrätkö minua", "mistä sinä tulet", "kuinka vanha olet", "mitä mieltä olet", "mikä tämä on", "mitä kuvassa on", "onko se valmis",
    "oletko valmis", "kauanko se kestää",
    "kuka sinut teki", "puhutko suomea", "puhutko englantia", "kerro tarina", "laula minulle laulu", "mikä päivä tänään on",
    "minulla on nälkä", "olen väsynyt", "sataa vettä",
    "minun täytyy lähteä", "mennään syömään", "puhelin soi", "missä minun avaimeni ovat", "yksi kaksi kolme", "tämä on testi",
    "siinä kaikki", "ei mitään", "ei nyt",
    "tietysti", "anteeksi", "olen pahoillani", "mitä sanoit", "sano uudestaan", "puhuin jollekin toiselle", "hetkinen", "anna kun mietin",
    "hmm", "vau", "voi ei", "hienoa",
    "selvä", "miten tämä toimii", "onko täällä ketään", "tule tänne", "istu alas", "avaa ovi", "sulje ikkuna", "kahvi on valmista",
    "missä on uloskäynti", "mitä teet")
NONE_FRAMES = (
    "millainen sää on {day}", "sataako {day}", "mitä teet {day}", "onko ulkona {adjective} {day}", "soita {music}", "soita {music} {room}",
    "sytytä valot {room}",
    "sulje televisio {room}", "soita {person_all}", "lähetä viesti {person_all}", "kerro {person_all} että myöhästyn",
    "aseta herätys kello {number}",
    "herätä minut kello {number}", "paljonko on {number} plus {number}", "kuinka monta ihmistä asuu {city_ine}",
    "kuinka pitkä matka on {city_ill}",
    "milloin seuraava juna lähtee {city_ill}", "mikä on {country_gen} pääkaupunki", "oletko käynyt {city_ine}",
    "muistuta minua soittamaan {person_all} {day}",
    "pidätkö {noun_ela}", "minä pidän {noun_ela}", "mitä {noun_nom} syö", "minkä värinen {noun_nom} on", "missä {noun_nom} on",
    "onko {noun_nom} {colour_nom}",
    "{noun_nom} näyttää hyvältä", "onpa {adjective} {noun_nom}", "näetkö {noun_gen}", "minun autoni on {colour_nom}",
    "minulla on kotona {colour_nom} {noun_nom}",
    "mikä on {noun_nom}", "miten kirjoitetaan {noun_nom}", "oletko nähnyt {colour_par} {noun_par}", "kuka maalasi {noun_gen}",
    "miksi {noun_nom} on {colour_nom}",
    "ostin {noun_gen} {day}", "kuinka vanha {noun_nom} on", "mikä on lempivärisi", "näin {noun_gen} {city_ine} {day}", "lue uutiset",
    "mitä {person_all} kuuluu",
    "mitä {noun_nom} maksaa", "onko kuvassa {noun_nom}", "lempivärini on {colour_nom}", "mitä on ruokana {day}",
    "varaa pöytä kello {number}", "nähdään {day} kello {number}",
    "kuinka iso {noun_nom} on", "kenen {noun_nom} se on", "missä {person_nom} asuu", "mitä {person_nom} sanoi {day}",
    "tämä {noun_nom} on {adjective}")
NONE_WORDS = {
    "day": ("tänään", "huomenna", "tänä iltana", "maanantaina", "perjantaina", "tällä viikolla", "eilen", "tänä aamuna", "ensi viikolla",
            "sunnuntaina"),
    "adjective": ("kiva", "iso", "pieni", "kylmä", "lämmin", "outo", "hauska", "kaunis", "kallis", "vanha", "uusi", "hyvä"),
    "music": ("musiikkia", "jokin laulu", "jazzia", "lempilauluni", "jotain hiljaista", "seuraava laulu", "pianoa"),
    "room": ("keittiössä", "olohuoneessa", "makuuhuoneessa", "eteisessä", "kylpyhuoneessa", "toimistossa"),
    "person_all": ("äidille", "isälle", "annalle", "pekalle", "pomolle", "siskolle", "lääkärille", "ystävälle", "veljelle", "opettajalle"),
    "person_nom": ("äiti", "isä", "anna", "pekka", "pomo", "sisko", "lääkäri", "ystävä", "veli", "opettaja"),
    "number": ("yksi", "kaksi", "kolme", "neljä", "viisi", "kuusi", "seitsemän", "kahdeksan", "yhdeksän", "kymmenen"),
    "city_ine": ("lontoossa", "pariisissa", "helsingissä", "berliinissä", "roomassa", "tampereella", "turussa", "oulussa"),
    "city_ill": ("lontooseen", "pariisiin", "helsinkiin", "berliiniin", "roomaan", "tampereelle", "turkuun", "ouluun"),
    "country_gen": ("suomen", "ranskan", "italian", "espanjan", "ruotsin", "japanin", "saksan", "norjan"),
}
