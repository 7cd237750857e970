"""Races on the page for everybody: by keyboard, screen reader, phone and in the dark, and without a network."""

import asyncio
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.web.conftest import QUICK_RACES, Server, Visit, Visitor
from tests.gateway.web.racing import choosing, meet, ready, run, to_the_end
from tests.gateway.web.test_page_access import CONTRASTS, MARKS
from tests.gateway.web.test_page_offline import KEPT, version

_LANES = ([f"--lane-{i}" for i in range(6)], ["--ground"])


async def test_a_race_by_keyboard_alone(visit: Visit, track: Server) -> None:
    """From the main page's header to the result and the next race, without a mouse."""
    zoe = await visit(server=track, settings={"restart": "tab-enter"}, script=choosing())
    await _tab_to(zoe, "nav-race")
    await zoe.page.keyboard.press("Enter")
    await zoe.page.wait_for_selector("#entrance-title")
    await _tab_to(zoe, "find")
    await zoe.page.keyboard.press("Enter")
    await zoe.page.wait_for_selector("#lobby:not([hidden])")
    ada = await visit(server=track, path=zoe.page.url.removeprefix(track.url), ready=False, script=choosing(name="Ada"))
    await ada.page.wait_for_selector("#lobby:not([hidden])")
    for visitor in (ada, zoe):
        assert await visitor.page.evaluate("document.activeElement.textContent") == "Ready"
        await visitor.page.keyboard.press("Enter")
    for visitor in (ada, zoe):
        await visitor.page.wait_for_selector("#field:focus")
        await visitor.page.wait_for_selector("html.typing-now")
    await asyncio.gather(run(ada, wpm=220), run(zoe, wpm=200))
    await to_the_end(ada, zoe)
    assert await zoe.page.evaluate("document.activeElement.id") == "outcome-title"
    await zoe.page.keyboard.press("Tab")
    await zoe.page.keyboard.press("Enter")
    await zoe.page.wait_for_selector("#lobby:not([hidden])")


async def _tab_to(visitor: Visitor, wanted: str) -> None:
    for _ in range(40):
        await visitor.page.keyboard.press("Tab")
        if await visitor.page.evaluate("document.activeElement.id") == wanted:
            return
    raise AssertionError(wanted)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_text_of_a_race_has_a_contrast_of_4_5_and_fits_a_phone(
    visit: Visit, track: Server, scheme: str
) -> None:
    """WCAG 2.2, 1.4.3 (AA), of entrance, lobby, countdown and table; nothing is cut off sideways, by finger too."""
    contrasts = CONTRASTS.replace("product", str([list(pair) for pair in product(*_LANES)] + [list(p) for p in MARKS]))
    over = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    phone: dict[str, Any] = {"viewport": {"width": 390, "height": 760}, "has_touch": True, "is_mobile": True}

    async def sound(visitor: Visitor) -> None:
        await visitor.still()
        assert await visitor.page.evaluate(contrasts) == []
        assert await visitor.page.evaluate(over) <= 0

    entrance = await visit(server=track, path="race", ready=False, color_scheme=scheme, **phone)
    await entrance.page.wait_for_selector("#entrance:not([hidden])")
    await sound(entrance)
    ada, zoe = await meet(visit, track, "Ada", "A rather long name", color_scheme=scheme, **phone)
    await sound(ada)
    await ready(ada, zoe)
    await sound(ada)
    await asyncio.gather(run(ada, wpm=220), run(zoe, wpm=200))
    await to_the_end(ada, zoe)
    await sound(ada)
    assert await ada.page.evaluate("window.shift") < 0.05


@pytest.fixture(name="unhurried")
def _unhurried(tmp_path: Path) -> Iterator[Server]:
    """A server whose countdown outlasts a page that is held up when it begins."""
    server = Server(tmp_path, variables={**QUICK_RACES, "TYPEGATE_RACE_COUNTDOWN_MS": "7000"})
    server.start()
    yield server
    server.stop()


async def test_a_screen_reader_hears_what_matters_and_not_more(unhurried: Server, visit: Visit) -> None:
    """Who came, the last seconds, the start, the place: a sentence each, and none for the others' progress."""
    heard = """
    window.heard = [];
    addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
      const said = document.getElementById("announcer").textContent;
      if (said) window.heard.push(said);
    }).observe(document.getElementById("announcer"), { childList: true, characterData: true, subtree: true }));
    """
    ada = await visit(server=unhurried, path="race", ready=False, script=choosing(name="Ada") + heard)
    await ada.page.click("#make button[type=submit]")
    await ada.page.wait_for_selector("#lobby:not([hidden])")
    path = ada.page.url.removeprefix(unhurried.url)
    zoe = await visit(server=unhurried, path=path, ready=False, script=choosing(name="Zoë"))
    await ada.page.wait_for_selector(".seat:has-text('Zoë')")
    await ready(ada, zoe)
    await asyncio.gather(run(ada), run(zoe, wpm=100))
    await to_the_end(ada, zoe)
    await ada.announced("You came ")  # at most one sentence a second is said
    said: list[str] = await ada.page.evaluate("window.heard")
    assert any("Zoë joined" in sentence for sentence in said)
    assert {"3", "2", "1"} & set(said)  # a page that is held up counts on from where it is
    assert "Go" in said
    assert re.fullmatch(r"You came (1st|2nd) of 2\.", said[-1])
    assert len(said) < 16, said


async def test_without_a_server_the_page_opens_from_what_is_kept(visit: Visit, own_server: Server) -> None:
    """A link to a race, too; it comes in by itself when there is a server again."""
    ada = await visit(server=own_server, path="race", ready=False, may_lose_server=True, script=choosing())
    await ada.page.evaluate(KEPT, await version(ada.page))
    await ada.page.click("#make button[type=submit]")
    await ada.page.wait_for_selector("#lobby:not([hidden])")
    own_server.kill()
    await ada.page.reload()
    await ada.notice("this page tries again by itself")
    await asyncio.to_thread(own_server.start)
    await ada.page.wait_for_selector("#message:has-text('no such race') a[href='/race']")
    ada.complaints = [text for text in ada.complaints if "404" not in text]  # it asked whether it is long over


async def test_without_a_server_the_page_says_so_and_comes_in_when_it_is_back(visit: Visit, own_server: Server) -> None:
    visitor = await visit(server=own_server, path="race", ready=False, may_lose_server=True, script=choosing())
    await visitor.page.wait_for_selector("#entrance:not([hidden])")
    await visitor.until(lambda: bool(visitor.got("ready")))
    own_server.kill()
    await visitor.notice("Connection lost")
    await visitor.page.click("#make button[type=submit]")
    await asyncio.to_thread(own_server.start)
    await visitor.page.wait_for_selector("#lobby:not([hidden])")
    assert await visitor.page.inner_text("#notice") == ""
