"""Speaking: from holding a key to a picture, in English and Finnish, and every way in which a recording begins and ends."""

from playwright.sync_api import expect


def check_a_spoken_command_becomes_a_picture_and_another_changes_it(stage):
    visit = stage.visit("speaker")
    visit.speak(stage.recording("en-create"), shot="recording")
    expect(visit.at("#transcript")).to_have_text("create a red circle on a blue background", timeout=180_000)
    expect(visit.at("#understood")).to_have_text("New picture: a red circle on a blue background", timeout=180_000)
    visit.until(lambda: visit.seen("previews"), "a preview")
    visit.shot("progress", settle=False)
    visit.settled()
    assert visit.seen("level") > 0.2, "the level meter stood still"
    percents = visit.seen("percents")
    assert len(percents) > 1 and percents == sorted(percents), percents
    assert any("step" in phase for phase in visit.seen("phases")), visit.seen("phases")
    first = visit.source()
    assert first.startswith("images/") and visit.count() == 1

    visit.say_and_wait(stage.recording("en-night"))
    assert visit.text("#transcript") == "make it night"
    changed = visit.source()
    assert changed != first and visit.count() == 2
    assert visit.at("#lines path").count() == 1, "the tree shows where the change came from"

    visit.say_and_wait(stage.recording("en-back"))
    assert visit.text("#understood") == "Go back"
    assert visit.source() == first and visit.count() == 2
    expect(visit.at(".tile").nth(1)).to_have_attribute("data-name", first.removeprefix("images/"))


def check_finnish_is_spoken_and_shown(stage):
    visit = stage.visit("puhuja", locale="fi-FI")
    # Auto takes the browser's language
    expect(visit.at("html")).to_have_attribute("lang", "fi")
    visit.at("#language").select_option("fi")
    expect(visit.at("#empty .lead")).to_have_text("Mitä haluaisit nähdä?")
    visit.say_and_wait(stage.recording("fi-luo"))
    assert visit.text("#transcript") == "luo punainen ympyrä siniselle taustalle"
    assert visit.text("#understood").startswith("Uusi kuva:")
    visit.say_and_wait(stage.recording("fi-yo"))
    assert visit.text("#transcript") == "tee siitä yö" and visit.count() == 2
    visit.shot("finnish")
    visit.say_and_wait(stage.recording("fi-palaa"))
    assert visit.text("#understood") == "Paluu edelliseen"
    assert visit.at("html").get_attribute("lang") == "fi", "the choice outlives a reload"


def check_space_in_a_field_is_a_space(stage):
    visit = stage.visit("typist")
    visit.at("#prompt").click()
    visit.page.keyboard.type("a b")
    assert visit.at("#prompt").input_value() == "a b"
    assert "recording" not in visit.seen("states")


def check_after_a_written_command_the_next_is_spoken(stage):
    visit = stage.visit("both")
    visit.write_and_wait("create a red circle on a blue background")
    expect(visit.at("#prompt")).to_be_focused()
    visit.page.keyboard.down("Space")
    visit.page.wait_for_selector("#dock[data-state=recording]")
    visit.page.keyboard.press("Escape")
    visit.page.keyboard.up("Space")
    visit.page.wait_for_selector("#dock[data-state=idle]")
    assert visit.at("#prompt").input_value() == ""


def check_a_slip_of_the_finger_sends_nothing(stage):
    visit = stage.visit("slip")
    visit.page.keyboard.press("Space")
    visit.settled()
    # the microphone is open then, and a second slip records; within the page, since a busy machine makes a slip from here long
    expect(visit.at("#hint")).to_contain_text("microphone is ready")
    visit.page.evaluate("""async () => {
      const space = (type) => document.body.dispatchEvent(new KeyboardEvent(type, { code: "Space", key: " ", bubbles: true, cancelable: true }));
      space("keydown");
      while (document.getElementById("dock").dataset.state !== "recording") await new Promise(requestAnimationFrame);
      space("keyup");
    }""")
    visit.settled()
    visit.page.wait_for_timeout(300)
    assert "working" not in visit.seen("states") and visit.count() == 0
    expect(visit.at("#hint")).to_contain_text("too short")


def check_a_lost_window_and_escape_end_a_recording(stage):
    visit = stage.visit("away")
    visit.page.keyboard.down("Space")
    visit.page.wait_for_selector("#dock[data-state=recording]")
    visit.page.evaluate("window.dispatchEvent(new Event('blur'))")
    visit.page.wait_for_selector("#dock:not([data-state=recording])")
    visit.page.keyboard.up("Space")
    visit.settled()
    visit.forget()
    visit.page.keyboard.down("Space")
    visit.page.wait_for_selector("#dock[data-state=recording]")
    visit.page.wait_for_timeout(600)
    visit.page.keyboard.press("Escape")
    visit.page.wait_for_selector("#dock[data-state=idle]")
    visit.page.keyboard.up("Space")
    visit.page.wait_for_timeout(300)
    assert "working" not in visit.seen("states"), "what was discarded is not sent"


def check_the_button_records_by_pointer_and_enter(stage):
    visit = stage.visit("button")
    box = visit.at("#talk").bounding_box()
    visit.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    visit.page.mouse.down()
    visit.page.wait_for_selector("#dock[data-state=recording]")
    # a finger that slides off the button has not let go
    visit.page.mouse.move(box["x"] + 500, box["y"] - 200)
    visit.page.wait_for_timeout(500)
    assert visit.at("#dock").get_attribute("data-state") == "recording"
    visit.at("#discard").evaluate("button => button.click()")
    visit.page.mouse.up()
    visit.settled()
    assert "working" not in visit.seen("states")
    visit.at("#talk").focus()
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector("#dock[data-state=recording]")
    expect(visit.at("#talk")).to_have_attribute("aria-pressed", "true")
    visit.page.wait_for_timeout(600)
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector("#dock:is([data-state=working], [data-state=idle])")
    visit.settled()
    assert "working" in visit.seen("states"), "a second press sends"


def check_a_finger_on_the_button_records(stage):
    visit = stage.visit("finger", width=390, height=844, has_touch=True, is_mobile=True)
    box = visit.at("#talk").bounding_box()
    finger = visit.context.new_cdp_session(visit.page)
    point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    visit.page.wait_for_selector("#dock[data-state=recording]")
    visit.page.wait_for_timeout(600)
    visit.shot("phone-recording", settle=False)
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    visit.was("working")
    visit.settled()


def check_a_denied_microphone_says_what_to_do(stage):
    visit = stage.visit("denied", microphone=False)
    visit.page.keyboard.down("Space")
    expect(visit.at("#notice-text")).to_contain_text("microphone is blocked", timeout=10_000)
    visit.page.keyboard.up("Space")
    visit.shot("microphone-denied")
    assert visit.at("#dock").get_attribute("data-state") == "idle"
    # typing is an equal path
    visit.write_and_wait("create a red circle on a blue background")
    assert visit.source()
