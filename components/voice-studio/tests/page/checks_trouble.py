"""Trouble: what the page says when the server, the connection or the command is at fault. Answers are put in its way, so
that they are the same whichever server there is."""

import json

from playwright.sync_api import expect

CREATE = "create a red circle on a blue background"


def answer(visit, *events, status=200):
    """The next commands are answered with these events."""
    body = "".join(f"event: {name}\r\ndata: {json.dumps(data)}\r\n\r\n" for name, data in events)
    visit.page.route("**/process_command", lambda route: route.fulfill(status=status, content_type="text/event-stream", body=body))


def check_each_refusal_says_what_to_do(stage):
    visit = stage.visit("refused")
    expected = {
        "nothing_heard": "Nothing was heard", "nothing_to_edit": "no picture to change", "nothing_to_undo": "first picture",
        "not_understood": "No command was found", "busy": "full at the moment", "failed": "could not be made", "no_backend": "that draws is away",
        "other_site": "page of another site",
        "of_tomorrow": "That did not work: so it is",
    }
    for code, words in expected.items():
        answer(visit, ("transcript", {"text": "mumble", "language": "en"}), ("error", {"code": code, "message": "so it is"}))
        visit.write("mumble")
        expect(visit.at("#notice-text")).to_contain_text(words)
        expect(visit.at("#notice-act")).to_be_visible(visible=code in ("busy", "failed", "no_backend"))
        visit.settled()
    visit.shot("refused")
    visit.page.unroute_all()
    visit.at("#notice-close").click()
    expect(visit.at("#notice")).to_be_hidden()


def check_trying_again_repeats_the_command(stage):
    visit = stage.visit("again")
    answer(visit, ("error", {"code": "failed", "message": "no"}))
    visit.write(CREATE)
    expect(visit.at("#notice-act")).to_have_text("Try again")
    visit.page.unroute_all()
    visit.at("#notice-act").click()
    visit.page.wait_for_selector("#frame[data-state=picture]", timeout=180_000)
    visit.settled()
    assert visit.count() == 1


def check_a_broken_stream_and_a_broken_answer_are_told(stage):
    visit = stage.visit("broken")
    answer(visit, ("transcript", {"text": "half", "language": "en"}))
    visit.write("half")
    expect(visit.at("#notice-text")).to_contain_text("connection broke")
    visit.settled()
    visit.page.unroute_all()
    visit.page.route("**/process_command", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    visit.write("half")
    expect(visit.at("#notice-text")).to_contain_text("502")
    visit.page.unroute_all()


def check_being_offline_is_told_and_ends(stage):
    visit = stage.visit("offline")
    visit.context.set_offline(True)
    expect(visit.at("#notice-text")).to_contain_text("cannot be reached")
    visit.write(CREATE)
    visit.settled()
    visit.shot("offline")
    expect(visit.at("#notice-text")).to_contain_text("cannot be reached")
    visit.context.set_offline(False)
    expect(visit.at("#notice-text")).to_contain_text("server is back", timeout=20_000)
    visit.at("#notice-act").click()
    visit.page.wait_for_selector("#frame[data-state=picture]", timeout=180_000)
    assert visit.count() == 1


def check_what_a_command_says_is_text_and_nothing_else(stage):
    visit = stage.visit("markup")
    evil = "<img src=x onerror=alert(1)>"
    answer(visit, ("transcript", {"text": evil, "language": "en"}), ("understood", {"action": "none", "prompt": evil, "target": ""}),
           ("error", {"code": "of_tomorrow", "message": evil}))
    visit.write(evil)
    expect(visit.at("#transcript")).to_have_text(evil)
    expect(visit.at("#notice-text")).to_contain_text(evil)
    assert visit.at("#transcript img, #notice img").count() == 0
    visit.page.unroute_all()


def check_notes_and_waiting_are_told(stage):
    visit = stage.visit("notes")
    session = visit.page.evaluate("fetch('api/session_info').then((answer) => answer.json())")
    done = {"action": "none", "image": None, "current": None, "session": session, "notes": ["cloud did not answer; made by local fast"]}
    answer(visit, ("queued", {"position": 2, "eta_ms": 12_000}), ("queued", {"position": 0, "eta_ms": None}), ("loading", {"model": "big"}),
           ("hum", {"unknown": True}), ("transcript", {"text": "mumble", "language": "en"}), ("done", done))
    visit.forget()
    visit.write("mumble")
    visit.settled()
    expect(visit.at("#notes")).to_have_text("cloud did not answer; made by local fast")
    expect(visit.at("#notice-text")).to_contain_text("No command was found")
    visit.page.unroute_all()


def check_an_unavailable_mode_says_why(stage):
    visit = stage.visit("modes")
    modes = {"local_fast": {"available": False, "reason": "the model is not there"}, "local_quality": {"available": True}, "cloud": {"available": True}}
    body = {"available": True, "modes": modes, "default_mode": "local_quality"}
    visit.page.route("**/api/check_backend", lambda route: route.fulfill(json=body))
    visit.page.reload()
    visit.ready()
    expect(visit.at("#mode-why")).to_have_text("Local fast: the model is not there")
    expect(visit.at("input[value=local_fast]")).to_be_disabled()
    expect(visit.at("input[value=local_quality]")).to_be_checked()
    # what is for whoever runs the server does not push the page about, and is there for who looks for it
    modes["local_fast"]["reason"] = "the model is not there; " + "add it to the route's grants " * 5
    visit.page.reload()
    visit.ready()
    expect(visit.at("#mode-why")).to_have_text("Local fast: not available")
    assert "grants" in visit.at("#modes label").first.get_attribute("title")
    body["modes"] = {name: {"available": False, "reason": "the model is not there"} for name in modes}
    visit.page.reload()
    expect(visit.at("#notice-text")).to_contain_text("No model can draw")


def check_finnish_says_what_to_do_as_well(stage):
    visit = stage.visit("pulassa", locale="fi-FI")
    expect(visit.at("html")).to_have_attribute("lang", "fi")
    expected = {
        ("nothing_heard", None): "Mitään ei kuulunut", ("nothing_to_edit", None): "Muutettavaa kuvaa ei vielä ole", ("nothing_to_undo", None): "ensimmäinen kuva",
        ("not_understood", None): "ei löytynyt komentoa", ("busy", None): "täynnä", ("failed", None): "Kuvaa ei saatu", ("no_backend", None): "Piirtävä palvelin on poissa",
        ("invalid", "audio"): "Äänitettä ei voi lukea", ("too_large", None): "liian pitkä", ("storage_full", None): "ei ole tilaa", ("other_site", None): "toisen sivuston",
    }
    for (code, field), words in expected.items():
        answer(visit, ("error", {"code": code, "message": "so it is", "field": field}))
        visit.write("mumble")
        expect(visit.at("#notice-text")).to_contain_text(words)
        expect(visit.at("#notice-text")).not_to_contain_text("so it is")
        visit.settled()
    session = visit.page.evaluate("fetch('api/session_info').then((answer) => answer.json())")
    done = {"action": "none", "image": None, "current": None, "session": session, "notes": ["so it is", "a model's"], "note_codes": ["backend_away", None]}
    answer(visit, ("done", done))
    visit.write("mumble")
    visit.settled()
    expect(visit.at("#notes li").first).to_contain_text("Piirtävä palvelin on poissa")
    expect(visit.at("#notes li").last).to_have_text("a model's")
    visit.page.unroute_all()
    modes = {"local_fast": {"available": True}, "local_quality": {"available": False, "reason": "so it is"}, "cloud": {"available": False, "reason": "so it is"}}
    visit.page.route("**/api/check_backend", lambda route: route.fulfill(json={"available": True, "modes": modes, "default_mode": "local_fast"}))
    visit.page.reload()
    visit.ready()
    expect(visit.at("#mode-why")).to_have_text("Laadukas: ei käytettävissä · Pilvi: ei käytettävissä")
    visit.page.unroute_all()
    visit.context.set_offline(True)
    expect(visit.at("#notice-text")).to_contain_text("Palvelimeen ei saada yhteyttä")
    visit.shot("offline-fi")
    visit.context.set_offline(False)
    expect(visit.at("#notice-text")).to_contain_text("palvelin", ignore_case=True, timeout=20_000)
    denied = stage.visit("estetty", locale="fi-FI", microphone=False)
    denied.page.keyboard.down("Space")
    expect(denied.at("#notice-text")).to_contain_text("Mikrofoni on estetty", timeout=10_000)
    denied.page.keyboard.up("Space")
    limited = stage.visit("rajalla", locale="fi-FI")
    answer(limited, ("error", {"code": "image_limit", "message": "so it is"}))
    limited.write("mumble")
    expect(limited.at("#session-limit")).to_contain_text("kuvaa")
    limited.page.unroute_all()


def check_a_server_that_is_away_is_told_apart_from_a_picture_that_is_gone(stage):
    visit = stage.visit("stopped")
    visit.write_and_wait(CREATE)
    # the browser is online, and the server goes after the gallery was read
    asked = []

    def once(route):
        asked.append(route)
        return route.continue_() if len(asked) == 1 else route.abort("connectionrefused")

    visit.page.route("**/images/2*", lambda route: route.abort("connectionrefused"))
    visit.page.route("**/api/check_backend", once)
    visit.page.reload()
    expect(visit.at("#notice-text")).to_contain_text("cannot be reached")
    visit.page.unroute_all()
    expect(visit.at("#notice-text")).to_contain_text("server is back", timeout=20_000)
    visit.page.wait_for_selector("#frame[data-state=picture]")
    visit.page.route("**/images/2*", lambda route: route.abort("connectionreset"))
    visit.page.reload()
    expect(visit.at("#notice-text")).to_contain_text("cannot be shown")
    visit.page.unroute_all()


def check_what_is_typed_before_the_scripts_are_there_is_kept(stage):
    visit = stage.visit("early")
    held = []
    visit.page.route("**/page/app.js", lambda route: held.append(route))
    visit.page.goto(visit.address, wait_until="commit")
    visit.at("#prompt").fill(CREATE)
    visit.at("#prompt").press("Enter")
    visit.page.wait_for_timeout(300)
    assert visit.page.url == visit.address and visit.at("#prompt").input_value() == CREATE
    held[0].continue_()
    visit.page.unroute_all()
    visit.ready()
    visit.at("#prompt").press("Enter")
    expect(visit.at(".tile")).to_have_count(1, timeout=180_000)
    visit.settled()


def check_a_text_too_long_is_refused_and_not_cut(stage):
    visit = stage.visit("long")
    text = CREATE + " and more" * 120
    visit.write(text)
    expect(visit.at("#notice-text")).to_contain_text("1,000 characters")
    visit.settled()
    assert visit.at("#prompt").input_value() == text
    visit.at("#language").select_option("fi")
    expect(visit.at("#notice-text")).to_contain_text("1\u00a0000 merkkiä")


def check_a_message_is_in_the_language_of_the_page(stage):
    visit = stage.visit("languages")
    answer(visit, ("error", {"code": "busy", "message": "so it is"}))
    visit.write(CREATE)
    expect(visit.at("#notice-text")).to_contain_text("full at the moment")
    visit.at("#language").select_option("fi")
    expect(visit.at("#notice-text")).to_contain_text("täynnä")
    expect(visit.at("#notice-act")).to_have_text("Yritä uudelleen")
    visit.at("#notice-close").click()
    visit.at("#language").select_option("en")
    expect(visit.at("#notice")).to_be_hidden()
    assert visit.text("#notice-text") == ""
    visit.page.unroute_all()
