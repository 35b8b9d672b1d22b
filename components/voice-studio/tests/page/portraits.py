"""Takes the page's pictures for the documentation: a session with several pictures, as a visitor sees it.

    python portraits.py http://127.0.0.1:5001/kuvagen/ --out .

`page.png` by daylight with the gallery, `page-dark.png` with the tree, `page-phone.png`, and `page-drawing.png` while a picture
comes. The server is a real one; the mock's pictures are nothing to show.
"""

import argparse
import secrets
import tempfile
from pathlib import Path

from playwright.sync_api import expect

from visit import Browser, Visit

COMMANDS = (
    "paint a white house on a snowy hill", "make it night", "draw an orange cat in a meadow",
    "create a red boat on the sea at sunset", "make it night", "go back to the previous image", "make it day",
)
DRAWN = "create a yellow moon above a green tree at night"
SHOWN = "create a red boat on the sea at sunset"


def session(browser, address, agent):
    """A visit after the commands, with the picture that is shown; and its cookies for others."""
    visit = Visit(browser, address, agent, reduced_motion="reduce")
    for command in COMMANDS:
        visit.write_and_wait(command)
    visit.forget()
    visit.write(DRAWN)
    visit.until(lambda: visit.seen("previews") > 2, "previews")
    visit.let_go()
    visit.shot("page-drawing", settle=False)
    visit.settled()
    titles = visit.page.evaluate("fetch('gallery').then((answer) => answer.json()).then(({ images }) => images.map((image) => image.command))")
    visit.at(".tile .pick").nth(titles.index(SHOWN)).click()
    tile = visit.at(".tile").nth(titles.index(SHOWN))
    expect(visit.at("#picture")).to_have_attribute("src", "images/" + tile.get_attribute("data-name"), timeout=60_000)
    visit.let_go()
    visit.page.mouse.move(0, 0)
    return visit


def main():
    options = argparse.ArgumentParser()
    options.add_argument("address")
    options.add_argument("--out", type=Path, required=True)
    options = options.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    Visit.shots = options.out
    agent = f"portraits {secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(folder)
        visit = session(browser, options.address, agent)
        visit.shot("page")
        cookies = visit.context.storage_state()
        dark = Visit(browser, options.address, agent, storage_state=cookies, color_scheme="dark")
        dark.at("#tab-tree").click()
        dark.page.mouse.move(0, 0)
        dark.settled()
        dark.shot("page-dark")
        phone = Visit(browser, options.address, agent, storage_state=cookies, width=390, height=844, has_touch=True, is_mobile=True)
        phone.settled()
        phone.shot("page-phone")
        for each in (visit, dark, phone):
            each.close()
        browser.close()
    print(f"in {options.out}: page, page-drawing, page-dark, page-phone")


if __name__ == "__main__":
    main()
