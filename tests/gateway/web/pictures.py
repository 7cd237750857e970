"""Takes README's screenshots: a seeded typist on a server of its own, in light and dark.

python -m tests.gateway.web.pictures
"""

import random
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.gateway.web.conftest import ARGUMENTS, CHROMIUM, Server

FOLDER = Path(__file__).with_name("pictures")
SEED = 2026
TYPED_SHARE = 0.55
"""How far the test has gone when it is pictured."""


def _type(page: Page, keys: str, chance: random.Random) -> None:
    """Type as people do: uneven gaps, and now and then a wrong key that is taken back."""
    for key in keys:
        if key != " " and chance.random() < 0.04:
            page.keyboard.type(chance.choice("etaoinshrdlu"))
            page.wait_for_timeout(chance.lognormvariate(5.3, 0.2))
            if chance.random() < 0.75:
                page.keyboard.press("Backspace")
                page.wait_for_timeout(chance.lognormvariate(5.0, 0.2))
            else:
                continue
        page.keyboard.type(key)
        page.wait_for_timeout(chance.lognormvariate(4.55, 0.35))


def _picture(page: Page, name: str) -> None:
    page.screenshot(path=FOLDER / f"{name}.png")


def main() -> None:
    """Write typing.png, result.png (light) and dark.png."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Server(Path(folder))
        server.start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            for scheme in ("light", "dark"):
                chance = random.Random(SEED)
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
                part = round(len(text) * TYPED_SHARE)
                _type(page, text[:part], chance)
                if scheme == "light":
                    _picture(page, "typing")
                _type(page, text[part:], chance)
                if page.locator("#result[hidden]").count():
                    page.keyboard.type(" ")  # a wrong last letter: the space ends the test
                page.wait_for_selector("#result:not([hidden]) .state[data-state=stored]")
                page.wait_for_timeout(600)  # what moves has come to rest
                _picture(page, "result" if scheme == "light" else "dark")
                context.close()
        finally:
            browser.close()
            server.stop()


if __name__ == "__main__":
    main()
