"""Takes README's screenshots: a seeded typist on a server of its own, in light and dark.

python -m tests.gateway.web.pictures
"""

import random
import tempfile
import time
from itertools import accumulate
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from loadtest.checking import words_of
from loadtest.crowd import Person
from loadtest.typist import Typed, Typist
from tests.gateway.web.conftest import ARGUMENTS, CHROMIUM, Server

FOLDER = Path(__file__).with_name("pictures")
SEED = 2026
WPM = 78
RACERS = (("Ada", 74), ("Grace", 66), ("Katherine", 58))
RACED_MS = 11_000
TYPED_SHARE = 0.55
"""How far the test has gone when it is pictured."""


def _type(page: Page, typed: Typed, events: range, began_s: float) -> None:
    """Type these events, each at its time since the first."""
    for i in events:
        wait_ms = sum(typed.gaps[1 : i + 1]) - (time.monotonic() - began_s) * 1000
        if wait_ms > 0:
            page.wait_for_timeout(wait_ms)
        key = typed.keys[i]
        page.keyboard.press("Backspace") if key == "\b" else page.keyboard.type(key)


def _picture(page: Page, name: str) -> None:
    page.screenshot(path=FOLDER / f"{name}.png")


def _race(browser: Browser, url: str) -> None:
    """Three type the same text; the picture is of one's page in the midst of it."""
    pages = [
        browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light").new_page() for _ in RACERS
    ]
    host = pages[0]
    for page, (name, _) in zip(pages, RACERS, strict=True):
        page.goto(host.url if page is not host else f"{url}race")
        if page is host:
            page.fill("#name", name)
            page.get_by_role("radio", name="words").check(force=True)
            page.get_by_role("button", name="Make a race").click()
            page.wait_for_url("**/race/*")
        else:
            page.fill("#lobby-name", name)
            page.keyboard.press("Enter")
    for page in pages:
        page.get_by_role("button", name="Ready").click()
    for page in pages:
        page.wait_for_selector("#race .text .w")
    text = host.evaluate("document.querySelector('#race .text').textContent")
    host.locator("#countdown", has_text="Go").wait_for()
    began_s = time.monotonic()
    plan: list[tuple[float, Page, str]] = []
    for number, (page, (_, wpm)) in enumerate(zip(pages, RACERS, strict=True)):
        typist = Typist(SEED + number)
        typist.wpm = wpm
        typed = Person(typist).type(words_of({"text": text}), chance=random.Random(SEED + number))
        plan += [(at, page, key) for at, key in zip(accumulate(typed.gaps), typed.keys, strict=True)]
    for at_ms, page, key in sorted(plan, key=lambda one: one[0]):
        if at_ms > RACED_MS:
            break
        wait_ms = at_ms - (time.monotonic() - began_s) * 1000
        if wait_ms > 0:
            page.wait_for_timeout(wait_ms)
        page.keyboard.press("Backspace") if key == "\b" else page.keyboard.type(key)
    _picture(host, "race")


def main() -> None:
    """Write typing.png, result.png (light), dark.png and race.png."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Server(Path(folder))
        server.start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            for scheme in ("light", "dark"):
                context = browser.new_context(
                    viewport={"width": 1280, "height": 800},
                    color_scheme="dark" if scheme == "dark" else "light",
                )
                page = context.new_page()
                page.goto(server.url)
                page.check("input[name=mode][value=words]")
                page.wait_for_selector("#typing:not(.waiting) .text .w")
                page.wait_for_selector("#field:focus")
                text = page.evaluate("document.getElementById('passage').textContent")
                typist = Typist(SEED)
                typist.wpm = WPM
                typed = Person(typist).type(words_of({"text": text}), chance=random.Random(SEED))
                count, part = len(typed.keys), round(len(typed.keys) * TYPED_SHARE)
                began_s = time.monotonic()
                _type(page, typed, range(part), began_s)
                if scheme == "light":
                    _picture(page, "typing")
                _type(page, typed, range(part, count), began_s)
                if page.locator("#result[hidden]").count():
                    page.keyboard.type(" ")  # a wrong last letter: the space ends the test
                page.wait_for_selector("#result:not([hidden]) .state[data-state=stored]")
                page.wait_for_timeout(600)  # what moves has come to rest
                _picture(page, "result" if scheme == "light" else "dark")
                context.close()
            _race(browser, server.url)
        finally:
            browser.close()
            server.stop()


if __name__ == "__main__":
    main()
