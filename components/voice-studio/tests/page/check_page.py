"""Goes through everything that the voice studio's page promises, in a real Chromium with a recording as its microphone.

    pip install -r requirements.txt         (and a Chromium: `chromium`, or its path in CHROMIUM)
    python check_page.py                    against the mock server beside this file, which it starts
    python check_page.py http://127.0.0.1:8000/kuvagen/ --shots pictures

Every check comes as visitors of its own, and goes up to their limit where it must. Each is a function of `checks_*.py` whose name
is the promise. One that fails is told with what the page showed, and the end is 1.
"""

import argparse
import secrets
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import checks_access
import checks_pictures
import checks_speech
import checks_trouble
from mock_server import PREFIX, serve
from visit import Browser, Visit

RECORDINGS = Path(__file__).parents[4] / "examples" / "voice-loop" / "recordings"


class Stage:
    """What a check gets: opens windows, and closes them with a look at what they must not have done."""

    def __init__(self, browser, address, recordings):
        self.browser, self.address, self.recordings, self.visits = browser, address, recordings, []
        # a server remembers visitors and accounts of earlier runs
        self.run = secrets.token_hex(4)

    def visit(self, agent, **options):
        self.visits.append(Visit(self.browser, self.address, f"{agent} {self.run}", **options))
        return self.visits[-1]

    def recording(self, name):
        return self.recordings / f"{name}.wav"

    def close(self):
        problems = []
        for visit in self.visits:
            try:
                visit.close()
            except AssertionError as problem:
                problems.append(str(problem))
        assert not problems, "\n".join(problems)


def checks(only):
    modules = (checks_speech, checks_pictures, checks_trouble, checks_access)
    found = [(name, check) for module in modules for name, check in vars(module).items() if name.startswith("check_")]
    return [(name.removeprefix("check_").replace("_", " "), check) for name, check in found if any(part.replace(" ", "_") in name for part in only)]


def run(name, check, stage, shots):
    """Whether a check holds; what it showed last is kept as a picture where it does not."""
    began = time.monotonic()
    try:
        check(stage)
        stage.close()
    except Exception:
        print(f"FAILED  {name}\n{traceback.format_exc(limit=3)}", flush=True)
        for visit in stage.visits:
            if shots and not visit.page.is_closed():
                visit.shot("failed-" + name.replace(" ", "-"))
        return False
    print(f"ok      {name} ({time.monotonic() - began:.1f} s)", flush=True)
    return True


def main():
    options = argparse.ArgumentParser()
    options.add_argument("address", nargs="?", help="where the page is; without it, a mock server is started")
    options.add_argument("--recordings", type=Path, default=RECORDINGS, help="16-bit WAV files named as in examples/voice-loop")
    options.add_argument("--shots", type=Path, help="a folder for screenshots")
    options.add_argument("--only", nargs="+", default=[""], metavar="PART", help="checks with one of these in their name")
    options = options.parse_args()
    if not options.address:
        server = serve(pace=0.08, limit=4)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options.address = f"http://127.0.0.1:{server.server_port}{PREFIX}"
    if options.shots:
        options.shots.mkdir(parents=True, exist_ok=True)
        Visit.shots = options.shots
    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(folder)
        chosen = checks(options.only)
        held = [run(name, check, Stage(browser, options.address, options.recordings), options.shots) for name, check in chosen]
        browser.close()
    print(f"{sum(held)} of {len(held)} hold")
    sys.exit(0 if held and all(held) else 1)


if __name__ == "__main__":
    main()
