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
        "not_understood": "No command was found", "busy": "full at the moment", "failed": "could not be made",
        "of_tomorrow": "That did not work: so it is",
    }
    for code, words in expected.items():
        answer(visit, ("transcript", {"text": "mumble", "language": "en"}), ("error", {"code": code, "message": "so it is"}))
        visit.write("mumble")
        expect(visit.at("#notice-text")).to_contain_text(words)
        expect(visit.at("#notice-act")).to_be_visible(visible=code in ("busy", "failed"))
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
    body["modes"] = {name: {"available": False, "reason": "the model is not there"} for name in modes}
    visit.page.reload()
    expect(visit.at("#notice-text")).to_contain_text("No model can draw")
