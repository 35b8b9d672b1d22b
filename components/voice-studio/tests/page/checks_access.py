"""Access: for screen readers, keys, small windows and slow lines; and the page's own promises of size and words."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

CREATE, CHANGE = "create a red circle on a blue background", "make it night"
LIMIT_BYTES = 200_000
CONTROLS = ["#talk", "#prompt", "#send", "#language", "#theme", "#account", "#modes", "#tab-gallery", "#tab-tree"]


def accessible(visit, state):
    """No finding of axe-core that is serious or worse."""
    # colours on their way from one to another are neither
    visit.page.evaluate("Promise.all(document.getAnimations().filter((motion) => motion.effect.getTiming().iterations < 9).map((motion) => motion.finished.catch(() => {})))")
    found = Axe().run(visit.page).response["violations"]
    grave = [finding for finding in found if finding["impact"] in ("serious", "critical")]
    told = [f"{finding['id']}: {finding['help']}\n    " + "\n    ".join(node["html"][:160] + "\n      " + node["failureSummary"].replace("\n", " ") for node in finding["nodes"]) for finding in grave]
    assert not grave, "\n  ".join([f"axe-core, {state}:", *told])
    for finding in found:
        print(f"        axe-core, {state}, {finding['impact']}: {finding['id']}: {finding['nodes'][0]['html'][:120]}")


def check_axe_core_finds_nothing_serious_in_any_state(stage):
    cookies = None
    for scheme in ("light", "dark"):
        visit = stage.visit(f"axe {scheme}", color_scheme=scheme, reduced_motion="reduce")
        accessible(visit, f"{scheme}, empty")
        visit.shot(f"empty-{scheme}")
        if not cookies:
            visit.write_and_wait(CREATE)
            visit.write_and_wait(CHANGE)
            cookies = visit.context.storage_state()
        visit = stage.visit(f"axe {scheme}", color_scheme=scheme, reduced_motion="reduce", storage_state=cookies)
        visit.settled()
        accessible(visit, f"{scheme}, gallery")
        visit.shot(f"picture-{scheme}")
        visit.at("#tab-tree").click()
        accessible(visit, f"{scheme}, tree")
        visit.shot(f"tree-{scheme}")
        visit.at("#account").click()
        accessible(visit, f"{scheme}, session")
        visit.shot(f"session-{scheme}")
        visit.page.keyboard.press("Escape")
        expect(visit.at("#session")).to_be_hidden()
        visit.page.keyboard.down("Space")
        visit.page.wait_for_selector("#dock[data-state=recording]")
        accessible(visit, f"{scheme}, recording")
        visit.page.keyboard.press("Escape")
        visit.page.keyboard.up("Space")
        held = []
        visit.page.route("**/process_command", lambda route: held.append(route))
        visit.write(CHANGE)
        accessible(visit, f"{scheme}, working")
        visit.context.set_offline(True)
        expect(visit.at("#notice-text")).to_contain_text("cannot be reached")
        accessible(visit, f"{scheme}, offline")
        visit.context.set_offline(False)
        held[0].abort()


def fits(visit, width):
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width, f"{width} px scrolls sideways"
    for control in CONTROLS:
        box = visit.at(control).bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= width + 0.5, f"{control} is outside at {width} px: {box}"
        assert min(box["width"], box["height"]) >= 24, f"{control} is too small for a finger: {box}"


def check_a_phone_has_room_for_everything(stage):
    maker = stage.visit("phone")
    maker.write_and_wait(CREATE)
    cookies = maker.context.storage_state()
    for width, language in ((360, "en-GB"), (360, "fi-FI"), (320, "fi-FI"), (390, "en-GB")):
        visit = stage.visit(f"phone {width} {language}", width=width, height=780, locale=language, has_touch=True, is_mobile=True, device_scale_factor=2)
        visit.shot(f"phone-empty-{width}-{language}")
        visit.context.add_cookies(cookies["cookies"])
        visit.open()
        visit.settled()
        fits(visit, width)
        accessible(visit, f"phone {width} {language}")
        visit.shot(f"phone-{width}-{language}")
    for width, language in ((320, "en-GB"), (340, "fi-FI"), (360, "fi-FI")):
        visit = stage.visit(f"account {width}", width=width, height=780, locale=language, has_touch=True, is_mobile=True, device_scale_factor=2)
        visit.register(f"a-painter-of-{width}-{stage.run}")
        fits(visit, width)
        assert stage.run in visit.at("#account").get_attribute("aria-label")
        accessible(visit, f"account {width}")
        visit.shot(f"account-{width}")
    dark = stage.visit("phone dark", storage_state=cookies, width=390, height=844, color_scheme="dark", has_touch=True, is_mobile=True, device_scale_factor=2)
    dark.settled()
    dark.shot("phone-dark")


def check_keys_alone_do_everything(stage):
    visit = stage.visit("keys")
    visit.page.keyboard.press("Tab")
    expect(visit.at(".skip")).to_be_focused()
    visit.page.keyboard.press("Enter")
    expect(visit.at("#prompt")).to_be_focused()
    visit.page.keyboard.type(CREATE)
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector("#dock[data-state=working]")
    visit.settled()
    expect(visit.at("#prompt")).to_be_focused()
    visit.let_go()
    reached = []
    for _ in range(40):
        visit.page.keyboard.press("Tab")
        reached.append(visit.page.evaluate("document.activeElement.id || document.activeElement.className || document.activeElement.name || document.activeElement.value"))
    for control in ("local_fast", "mode"):
        if control in reached:
            break
    else:
        raise AssertionError(f"no mode is reached: {reached}")
    for control in ("language", "theme", "account", "back", "download", "talk", "prompt", "send", "tab-gallery", "pick"):
        assert control in reached, f"{control} is not reached: {reached}"
    visit.at("#theme").focus()
    visit.page.keyboard.press("Space")
    assert "recording" not in visit.seen("states"), "SPACE presses the button that has the focus"
    expect(visit.at("html")).to_have_attribute("data-theme", "dark")


def check_a_pressed_button_gives_space_back(stage):
    visit = stage.visit("pointer")
    visit.at("#theme").click()
    visit.page.keyboard.down("Space")
    visit.page.wait_for_selector("#dock[data-state=recording]")
    visit.page.keyboard.press("Escape")
    visit.page.keyboard.up("Space")
    expect(visit.at("html")).to_have_attribute("data-theme", "dark")


def check_what_happens_is_said(stage):
    visit = stage.visit("listener")
    visit.page.evaluate("""() => {
      window.told = [];
      new MutationObserver(() => told.push(document.getElementById('announcer').textContent)).observe(document.getElementById('announcer'), { childList: true });
    }""")
    visit.write_and_wait(CREATE)
    visit.page.wait_for_timeout(200)
    told = visit.page.evaluate("told")
    assert any("percent" in text for text in told) and told[-1].startswith("The picture is ready"), told
    assert len(told) < 20, f"too much is said: {told}"


def check_the_page_is_small_and_its_words_are_complete(stage):
    visit = stage.visit("size")
    sizes = {}
    visit.page.on("response", lambda response: sizes.update({response.url: len(response.body())}) if response.ok else None)
    # who looks at requests has no cache: everything comes anew, as at a first visit
    visit.page.route("**/*", lambda route: route.continue_())
    visit.page.reload()
    visit.ready()
    total = sum(size for address, size in sizes.items() if "/page/" in address or address == visit.address)
    print(f"        {total} bytes in {len(sizes)} answers")
    assert 50_000 < total < LIMIT_BYTES, total
    words = visit.page.evaluate("""async () => {
      const [{ english }, { finnish }] = await Promise.all(['en', 'fi'].map((tag) => import(new URL(`page/words-${tag}.js`, location.href))));
      const values = (text) => (String(text).match(/\\{\\w+\\}/g) ?? []).sort().join();
      const named = [...document.querySelectorAll('[data-words], [data-words-label], [data-words-placeholder]')].flatMap((node) => Object.values(node.dataset));
      return {
        missing: [...Object.keys(english).filter((key) => !(key in finnish)), ...Object.keys(finnish).filter((key) => !(key in english))],
        unlike: Object.keys(english).filter((key) => values(english[key]) !== values(finnish[key])),
        unknown: named.filter((key) => /^[a-z_]+$/.test(key) && !(key in english) && !['empty', 'idle', 'error'].includes(key)),
      };
    }""")
    assert words == {"missing": [], "unlike": [], "unknown": []}, words


def check_motion_can_be_had_without(stage):
    visit = stage.visit("still", reduced_motion="reduce")
    visit.write_and_wait(CREATE)
    moving = visit.page.evaluate("document.getAnimations().filter((motion) => motion.effect.getTiming().duration > 50).length")
    assert moving == 0


def check_with_forced_colours_the_chosen_is_marked(stage):
    visit = stage.visit("contrast", forced_colors="active")
    visit.write_and_wait(CREATE)
    visit.write_and_wait(CHANGE)

    def outlined(selector):
        return visit.at(selector).evaluate_all("nodes => nodes.map((node) => getComputedStyle(node).outlineStyle !== 'none')")

    visit.let_go()
    assert outlined(".tile .pick") == [True, False]
    assert outlined("[role=tab]") == [True, False]
    visit.at("#tab-tree").click()
    visit.let_go()
    assert outlined("[role=tab]") == [False, True]
    assert outlined("#rows .branch img") == [False, True]
    accessible(visit, "forced colours")
