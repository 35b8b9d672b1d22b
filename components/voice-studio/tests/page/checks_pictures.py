"""Pictures: gallery, tree, download, deletion, reload, what others see, the limit and accounts."""

from playwright.sync_api import expect

CREATE, CHANGE = "create a red circle on a blue background", "make it night"


def check_the_gallery_chooses_downloads_and_deletes(stage):
    visit = stage.visit("gallery")
    visit.write_and_wait(CREATE)
    first = visit.source()
    visit.write_and_wait(CHANGE)
    visit.shot("gallery")
    visit.at(".tile .pick").nth(1).click()
    expect(visit.at("#picture")).to_have_attribute("src", first)
    expect(visit.at(".tile .pick").nth(1)).to_have_attribute("aria-current", "true")
    with visit.page.expect_download() as download:
        visit.at("#download").click()
    name = visit.at(".tile").nth(1).get_attribute("data-name")
    assert download.value.suggested_filename == name
    assert len(download.value.path().read_bytes()) > 100
    visit.at(".tile").nth(0).hover()
    visit.at(".tile").nth(0).locator("button").last.click()
    visit.at("#removal-keep").click()
    assert visit.count() == 2
    visit.at(".tile").nth(0).hover()
    visit.at(".tile").nth(0).locator("button").last.click()
    visit.at("#removal-go").click()
    expect(visit.at(".tile")).to_have_count(1)
    assert visit.source() == first


def check_the_tree_is_walked_by_keys(stage):
    visit = stage.visit("tree")
    visit.write_and_wait(CREATE)
    first = visit.source()
    visit.write_and_wait(CHANGE)
    visit.at("#back").click()
    expect(visit.at("#picture")).to_have_attribute("src", first, timeout=180_000)
    visit.write_and_wait("make it sunset")
    visit.at("#tab-gallery").focus()
    visit.page.keyboard.press("ArrowRight")
    expect(visit.at("#tree")).to_be_visible()
    visit.shot("tree")
    levels = [row.get_attribute("aria-level") for row in visit.at("#rows [role=treeitem]").all()]
    assert levels == ["1", "2", "2"] and visit.at("#lines path").count() == 2, levels
    visit.page.keyboard.press("Tab")
    expect(visit.at("#rows [aria-selected=true]")).to_be_focused()
    visit.page.keyboard.press("ArrowLeft")
    expect(visit.at("#rows [role=treeitem]").first).to_be_focused()
    visit.page.keyboard.press("Enter")
    expect(visit.at("#picture")).to_have_attribute("src", first)
    expect(visit.at("#rows [role=treeitem]").first).to_be_focused()


def check_a_reload_brings_everything_back(stage):
    visit = stage.visit("reload")
    visit.write_and_wait(CREATE)
    visit.write_and_wait(CHANGE)
    visit.at("#theme").click()
    visit.at("#modes label").nth(1).click()
    before = [visit.source(), visit.count(), visit.text("#account-count"), visit.text("#transcript")]
    assert visit.text("#facts")
    visit.page.reload()
    visit.settled()
    visit.ready()
    expect(visit.at("#picture")).to_have_attribute("src", before[0])
    assert before == [visit.source(), visit.count(), visit.text("#account-count"), visit.text("#transcript")]
    expect(visit.at("html")).to_have_attribute("data-theme", "dark")
    expect(visit.at("input[value=local_quality]")).to_be_checked()


def check_a_second_browser_sees_nothing_of_the_first(stage):
    one = stage.visit("one")
    one.write_and_wait(CREATE)
    other = stage.visit("other")
    assert other.count() == 0 and other.source() is None
    status = other.page.evaluate("path => fetch(path).then((answer) => answer.status)", one.source())
    assert status == 404, f"the first one's picture answers {status}"


def check_a_command_is_cancelled(stage):
    visit = stage.visit("cancel")
    visit.write_and_wait(CREATE)
    first = visit.source()
    visit.write(CHANGE)
    # the focus went from the field to the one thing that can be done now
    visit.page.keyboard.press("Enter")
    visit.settled()
    expect(visit.at("#picture")).to_have_attribute("src", first)
    assert visit.count() == 1 and not visit.seen("notices")
    assert visit.at("#prompt").input_value() == CHANGE, "what was typed is still there"
    visit.page.wait_for_timeout(1500)
    visit.page.reload()
    visit.ready()
    assert visit.count() == 1, "it was cancelled on the server as well"


def check_who_waits_is_told_their_place(stage):
    one, other = stage.visit("drawn first"), stage.visit("drawn second")
    for visit in (one, other):
        visit.at("#modes label").nth(1).click()
    one.write(CREATE)
    other.write(CREATE)
    one.settled()
    other.settled()
    phases = other.seen("phases")
    assert any("in the queue" in phase or "You are next" in phase for phase in phases), phases
    assert one.count() == other.count() == 1


def check_at_the_limit_an_account_goes_on_with_the_command(stage):
    visit, name = stage.visit("limit"), f"painter-{stage.run}"
    limit = int(visit.page.evaluate("fetch('api/session_info').then((answer) => answer.json())")["image_limit"])
    for _ in range(limit):
        visit.write_and_wait(CREATE)
    assert visit.text("#account-count") == "0"
    visit.write(CHANGE)
    expect(visit.at("#session")).to_be_visible(timeout=180_000)
    expect(visit.at("#session-limit")).to_contain_text(f"{limit} pictures")
    visit.shot("limit")
    visit.at("#login-name").fill("nobody-of-this-name")
    visit.at("#login-password").fill("a wrong password")
    visit.at("#login-go").click()
    expect(visit.at("#login-trouble")).to_contain_text("do not match")
    visit.at("#login-name").fill(name)
    visit.at("#login-password").fill("a long enough password")
    visit.at("#register-go").click()
    expect(visit.at("#session")).to_be_hidden()
    expect(visit.at(".tile")).to_have_count(limit + 1, timeout=180_000)
    visit.settled()
    assert visit.text("#transcript") == CHANGE and visit.text("#account-text") == name
    visit.at("#account").click()
    visit.at("#logout").click()
    expect(visit.at("#account-count")).not_to_be_empty()
    expect(visit.at(".tile")).to_have_count(0)
    taken = stage.visit("taken")
    taken.at("#account").click()
    taken.at("#login-name").fill(name)
    taken.at("#login-password").fill("another long password")
    taken.at("#register-go").click()
    expect(taken.at("#login-trouble")).to_contain_text("taken")
    taken.at("#login-password").fill("a long enough password")
    taken.at("#login-go").click()
    expect(taken.at(".tile")).to_have_count(limit + 1)


def check_an_account_carries_out_nothing_that_failed_before(stage):
    visit = stage.visit("old command")
    sent = visit.commands()
    visit.write(CHANGE)
    expect(visit.at("#notice-text")).to_contain_text("no picture to change")
    visit.at("#notice-close").click()
    visit.register(f"sketcher-{stage.run}")
    expect(visit.at("#account-text")).to_have_text(f"sketcher-{stage.run}")
    visit.page.wait_for_timeout(500)
    assert len(sent) == 1, "the old command was sent again"
    assert visit.text("#notice-text") == ""


def check_two_tabs_know_of_one_another(stage):
    visit = stage.visit("two tabs")
    visit.write_and_wait(CREATE)
    visit.write_and_wait(CHANGE)
    take_down = "name => fetch(`api/images/${name}`, { method: 'DELETE' }).then((answer) => answer.status)"
    other = visit.context.new_page()
    other.goto(visit.address)
    assert other.evaluate(take_down, visit.source().removeprefix("images/")) == 204
    visit.write_and_wait("make it sunset")
    expect(visit.at("#notice-text")).to_contain_text("read anew")
    # what is said is so: the next command changes what hangs now
    expect(visit.at(".tile")).to_have_count(1)
    visit.write_and_wait("make it sunset")
    expect(visit.at(".tile")).to_have_count(2)
    assert other.evaluate(take_down, visit.source().removeprefix("images/")) == 204
    other.close()
    visit.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(visit.at(".tile")).to_have_count(1)


def check_presses_while_a_picture_is_drawn_are_answered(stage):
    visit = stage.visit("impatient")
    visit.write_and_wait(CREATE)
    visit.write_and_wait(CHANGE)
    first = visit.at(".tile .pick").nth(1)
    held = []
    visit.page.route("**/process_command", lambda route: held.append(route))
    visit.write(CHANGE)
    first.click()
    expect(visit.at("#hint")).to_contain_text("cancel it first")
    expect(visit.at("#announcer")).to_contain_text("cancel it first")
    assert float(first.locator("img").evaluate("image => getComputedStyle(image).opacity")) < 1
    visit.at("#cancel").click()
    visit.settled()
    expect(visit.at("#hint")).not_to_contain_text("cancel it first")
    visit.write(CHANGE)
    visit.at(".tile").first.hover()
    visit.at(".tile").first.locator("button").last.click()
    expect(visit.at("#hint")).to_contain_text("cancel it first")
    assert visit.at("#removal").is_hidden()
    visit.at("#tab-tree").click()
    visit.at("#language").select_option("fi")
    visit.at("#rows [role=treeitem]").first.click()
    expect(visit.at("#hint")).to_contain_text("peruuta")
    visit.at("#cancel").click()
    visit.settled()
    for route in held:
        route.abort()
