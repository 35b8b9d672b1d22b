"""A person in a real browser: speaks, types, presses and looks. Also notes whatever a page must not do.

`Browser` is a Chromium whose microphone is a file; `Visit` one window of it with cookies of its own. What passes too
quickly to be looked at (levels, phases, previews) is written down by an observer within the page.
"""

import os
import wave
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import expect, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--mute-audio", "--autoplay-policy=no-user-gesture-required", "--use-fake-device-for-media-stream"]
# somebody who presses a key waits a moment before they speak, and after
SILENCE_BEFORE_S, SILENCE_AFTER_S = 0.4, 0.5
# a safety net for busy machines, not a measure
PATIENCE_MS = 180_000
OBSERVER = """
window.seen = { states: [], phases: [], previews: 0, percents: [], level: 0, notices: [], violations: [] };
addEventListener("securitypolicyviolation", (event) => seen.violations.push(event.violatedDirective + " " + event.blockedURI));
addEventListener("DOMContentLoaded", () => {
  const by = (id) => document.getElementById(id);
  const look = () => {
    const last = (list, value) => value !== undefined && value !== "" && list.at(-1) !== value && list.push(value);
    last(seen.states, by("dock").dataset.state);
    last(seen.phases, by("phase").textContent);
    last(seen.notices, by("notice-text").textContent);
    if (by("progress").hasAttribute("value")) last(seen.percents, by("progress").value);
    if (by("frame").dataset.state === "preview") seen.previews += 1;
    seen.level = Math.max(seen.level, Number(by("level").style.getPropertyValue("--level")));
  };
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
});
"""


class Browser:
    def __init__(self, folder):
        self.microphone = Path(folder) / "microphone.wav"
        self.hear(None)
        self.playwright = sync_playwright().start()
        self.chromium = self.playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"),
            args=[*FLAGS, f"--use-file-for-fake-audio-capture={self.microphone}%noloop"],
        )

    def hear(self, recording):
        """What the microphone gives when it is opened the next time; without a recording, silence. Its seconds."""
        samples, rate = b"", 16_000
        if recording:
            with wave.open(str(recording)) as file:
                samples, rate = file.readframes(file.getnframes()), file.getframerate()
        pause = [bytes(2 * int(rate * seconds)) for seconds in (SILENCE_BEFORE_S, SILENCE_AFTER_S + 1)]
        with wave.open(str(self.microphone), "wb") as file:
            file.setparams((1, 2, rate, 0, "NONE", ""))
            file.writeframes(pause[0] + samples + pause[1])
        return len(samples) / 2 / rate + SILENCE_BEFORE_S + SILENCE_AFTER_S

    def close(self):
        self.chromium.close()
        self.playwright.stop()


class Visit:
    """A window. `user_agent` makes it another visitor: what can be made before a log-in is counted by address and agent."""

    def __init__(self, browser, address, agent, microphone=True, width=1440, height=900, **options):
        self.browser, self.address, self.problems = browser, address, []
        self.context = browser.chromium.new_context(
            viewport={"width": width, "height": height}, user_agent=f"atelier-page-test {agent}",
            permissions=["microphone"] if microphone else [], **options)
        self.context.set_default_timeout(PATIENCE_MS / 6)
        self.context.add_init_script(OBSERVER)
        self.page = self.context.new_page()
        self.watch()
        self.open()

    def watch(self):
        origin = urlsplit(self.address).netloc

        def asked(request):
            parts = urlsplit(request.url)
            if parts.scheme in ("http", "https") and parts.netloc != origin:
                self.problems.append(f"asked another host: {request.url}")

        def said(message):
            # that an answer is a refusal is the browser's remark, and part of many checks
            if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
                self.problems.append(f"console: {message.text}")

        self.page.on("request", asked)
        self.page.on("console", said)
        self.page.on("pageerror", lambda error: self.problems.append(f"page: {error}"))

    def open(self):
        self.page.goto(self.address)
        self.ready()

    def ready(self):
        """Everything is read from the server and shown."""
        expect(self.at("#account-count, #account.named #account-text").first).not_to_have_text("…", timeout=PATIENCE_MS)
        self.page.wait_for_load_state("networkidle")

    def at(self, selector):
        return self.page.locator(selector)

    def text(self, selector):
        return self.at(selector).text_content().strip()

    def seen(self, name):
        return self.page.evaluate(f"seen.{name}")

    def forget(self):
        self.page.evaluate("Object.assign(seen, { states: [], phases: [], previews: 0, percents: [], level: 0, notices: [] })")

    def was(self, state):
        """Waits until the dock has been in a state, however shortly."""
        self.until(lambda: state in self.seen("states"), state)

    def until(self, holds, what):
        for _ in range(PATIENCE_MS // 50):
            if holds():
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never saw {what}: {self.page.evaluate('seen')}")

    def settled(self):
        """The studio waits for the next command, and the current picture hangs."""
        self.page.wait_for_selector("#dock[data-state=idle]", timeout=PATIENCE_MS)
        self.page.wait_for_selector("#frame:is([data-state=picture], [data-state=empty])", timeout=PATIENCE_MS)

    def speak(self, recording, shot=None):
        """Holds SPACE while the recording is played into the microphone, then waits for what comes of it."""
        seconds = self.browser.hear(recording)
        # the file is read when the microphone is opened, and a page keeps it open for a while
        self.page.reload()
        self.ready()
        self.page.keyboard.down("Space")
        self.page.wait_for_selector("#dock[data-state=recording]")
        # a held key repeats
        self.page.keyboard.down("Space")
        self.page.wait_for_timeout(seconds * 1000)
        if shot:
            self.shot(shot, settle=False)
        self.page.keyboard.up("Space")
        self.was("working")

    def say_and_wait(self, recording, shot=None):
        self.speak(recording, shot)
        self.settled()

    def write(self, text):
        self.at("#prompt").fill(text)
        self.page.evaluate("seen.states = []")
        self.at("#prompt").press("Enter")
        self.was("working")

    def write_and_wait(self, text):
        self.write(text)
        self.settled()

    def source(self):
        """The address of the picture that hangs, or None."""
        hidden = self.at("#picture").is_hidden()
        return None if hidden else self.at("#picture").get_attribute("src")

    def count(self):
        return self.at(".tile").count()

    def let_go(self):
        """Focus is nowhere, as after a press beside everything."""
        self.page.evaluate("document.activeElement.blur()")

    def shot(self, name, settle=True, **options):
        """A picture of the window, if pictures are wanted; what moves has come to rest where that is not the point."""
        if self.shots:
            self.page.wait_for_timeout(800 if settle else 0)
            self.page.screenshot(path=self.shots / f"{name}.png", **options)

    shots = None

    def commands(self):
        """A list that every command sent from now on joins."""
        sent = []
        self.page.on("request", lambda request: sent.append(request) if request.url.endswith("/process_command") else None)
        return sent

    def register(self, name):
        """Opens the session's dialog and creates an account."""
        self.at("#account").click()
        self.at("#login-name").fill(name)
        self.at("#login-password").fill("a long enough password")
        self.at("#register-go").click()
        expect(self.at("#session")).to_be_hidden()

    def close(self):
        self.problems += [f"policy: {violation}" for violation in self.seen("violations")]
        self.context.close()
        assert not self.problems, "\n  ".join(["the page did what it must not:", *self.problems])
