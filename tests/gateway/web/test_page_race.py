"""Races on the page: two browsers against each other from the link to the table, and all that may come between."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import expect

from tests.gateway.web.conftest import QUICK_RACES, Server, Visit
from tests.gateway.web.racing import choosing, meet, ready, run, table, to_the_end, type_as_a_person

VISIBILITY = "getComputedStyle(document.getElementById('text')).visibility"


async def test_two_pages_race(visit: Visit, track: Server) -> None:
    """One text, one start; both see each other, the same table, everybody's course and their own result; then again."""
    ada, zoe = racers = await meet(visit, track, "Ada", "<b>Zoë</b>")
    await ready(ada, zoe)
    assert await ada.typed_text() == await zoe.typed_text() != ""
    assert ada.got("started")[0]["start_ms"] == zoe.got("started")[0]["start_ms"]
    await asyncio.gather(run(ada, wpm=150), run(zoe, wpm=110, seed=2))
    await to_the_end(ada, zoe)
    rows = await table(ada)
    assert rows == await table(zoe)
    assert {row[1] for row in rows} == {"Ada", "<b>Zoë</b>"}
    assert [row[0] for row in rows] == ["1st", "2nd"]
    for visitor in racers:
        await visitor.page.wait_for_selector("#outcome .state[data-state=stored]")
        assert await visitor.page.locator(".graph .plot .key").all_text_contents() != []
        own = visitor.got("result")[0]
        assert float(await visitor.page.inner_text(".me td.main")) == pytest.approx(own["wpm"], abs=0.06)
        assert await visitor.logs() == []
        assert await visitor.page.evaluate("window.shift") < 0.02
    names = await ada.page.locator("#outcome > .graph .key").all_text_contents()
    assert sorted(names) == ["<b>Zoë</b>", "Ada"]
    first = ada.page.url
    assert await ada.page.evaluate(VISIBILITY) == "visible"
    await ada.page.get_by_role("button", name="Race again").click()
    await ada.page.wait_for_selector("#lobby:not([hidden])")
    assert await ada.page.evaluate(VISIBILITY) == "hidden", "the last race's text does not show in the next one"
    await expect(zoe.page.locator("#outcome > .after .quiet")).to_contain_text("Another race")
    await zoe.page.get_by_role("button", name="Race again").click()
    await zoe.page.wait_for_selector("#lobby:not([hidden])")
    assert ada.page.url == zoe.page.url != first
    await ready(ada, zoe)
    assert await ada.typed_text() == await zoe.typed_text()
    assert await ada.page.evaluate(VISIBILITY) == "visible"


@pytest.fixture(name="patient", scope="module")
def _patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose countdown takes long enough for whoever looks at it on a busy machine."""
    slow = {**QUICK_RACES, "TYPEGATE_RACE_COUNTDOWN_MS": "15000"}
    server = Server(tmp_path_factory.mktemp("patient"), variables=slow)
    server.start()
    yield server
    server.stop()


async def test_keys_before_the_start_are_swallowed_and_that_is_said(patient: Server, visit: Visit) -> None:
    ada, zoe = await meet(visit, patient, "Ada", "Zoë")
    await ada.page.evaluate(EAGER)
    await ready(ada, zoe)
    await ada.notice("Too early")
    assert await ada.marks("typed") == []
    await ada.page.wait_for_selector("html.typing-now")
    assert ada.sent("keys") == []
    await ada.type((await ada.typed_text())[:3])
    await ada.until(lambda: bool(ada.sent("keys")))
    assert ada.sent("keys")[0]["e"][0] > 0, "the first key's time counts from the start"
    assert ada.got("error") == []


async def test_a_reload_in_mid_race_goes_on_where_it_was(visit: Visit, track: Server) -> None:
    ada, zoe = await meet(visit, track, "Ada", "Zoë")
    await ready(ada, zoe)
    await run(ada, part=0.5)
    await ada.until(lambda: bool(ada.got("tick")))
    await ada.page.reload()
    await ada.until(lambda: bool(ada.got("resumed")))
    await ada.page.wait_for_selector("#field:focus")
    await run(ada, done=0.5)
    await run(zoe)
    await to_the_end(ada, zoe)
    assert await table(ada) == await table(zoe)
    text = zoe.got("started")[0]["text"]
    assert ada.got("result")[0]["chars"] == [len(text), 0, 0, 0]


async def test_a_reload_before_the_first_key_keeps_the_race(visit: Visit, track: Server) -> None:
    ada, zoe = await meet(visit, track, "Ada", "Zoë")
    await ready(ada, zoe)
    await ada.page.wait_for_selector("html.typing-now")
    await ada.page.reload()
    await ada.page.wait_for_selector("#race:not([hidden]) .text .w")
    await asyncio.gather(run(ada), run(zoe))
    await to_the_end(ada, zoe)
    assert await table(ada) == await table(zoe)


async def test_after_a_race_that_was_left_the_next_one_moves(visit: Visit, track: Server) -> None:
    """In the same page: Back leads to the race that was left, and all lanes of another one glide."""
    ada, zoe = await meet(visit, track, "Ada", "Zoë")
    first = ada.page.url
    await ready(ada, zoe)
    await run(ada, part=0.3)
    await ada.page.click("#leave")
    await ada.page.wait_for_selector("#entrance:not([hidden])")
    await zoe.page.wait_for_selector("#lanes [data-state=dnf]")
    await ada.page.go_back()
    await ada.page.wait_for_selector("#outcome:not([hidden]), #race:not([hidden])")
    assert ada.page.url == first
    await ada.page.go_forward()
    await ada.page.wait_for_selector("#entrance:not([hidden])")
    await ada.page.click("#make button[type=submit]")
    await ada.page.wait_for_selector("#lobby:not([hidden])")
    await zoe.page.goto(ada.page.url)
    await zoe.page.wait_for_selector("#lobby:not([hidden])")
    await ada.page.wait_for_selector(".seat:has-text('Zoë')")
    await ready(ada, zoe)
    await asyncio.gather(run(ada, part=0.5), run(zoe, part=0.5))
    for lane in await ada.page.locator("#lanes .lane").all():
        await expect(lane.locator(".speed")).not_to_be_empty()


EAGER = """
(() => {
  const line = document.getElementById("countdown");
  const field = document.getElementById("field");
  let went = false;
  new MutationObserver(() => {
    went ||= line.textContent === "Go";
    const text = document.querySelector("#typing:not(.waiting) .text .w");
    if (window.early || !text || !/^[0-9]+$/.test(line.textContent)) return;
    window.early = { went };
    for (const data of document.getElementById("passage").textContent.slice(0, 3)) {
      field.dispatchEvent(new InputEvent("beforeinput", { inputType: "insertText", data, cancelable: true }));
    }
  }).observe(line, { childList: true, characterData: true, subtree: true });
})();
"""
"""Types as soon as a text and its countdown show; notes whether it had been over before."""

AHEAD = """
const origin = performance.timeOrigin;
Object.defineProperty(performance, "timeOrigin", { get: () => origin + 90000 });
const { now } = Date;
Date.now = () => now() + 90000;
"""


@pytest.mark.parametrize("clock", ["", AHEAD], ids=["clock right", "clock ahead"])
async def test_a_reload_in_the_countdown_leaves_keys_before_the_start_out(
    patient: Server, visit: Visit, clock: str
) -> None:
    """However wrong the computer's clock is, the page neither says Go nor takes a key before the start."""
    ada, zoe = await meet(visit, patient, "Ada", "Zoë")
    await zoe.page.context.add_init_script(f"{clock}; addEventListener('DOMContentLoaded', () => {{ {EAGER} }});")
    await ready(ada, zoe)
    await zoe.page.reload()
    await zoe.notice("Too early")
    assert await zoe.marks("typed") == []
    assert zoe.sent("keys") == []
    assert not await zoe.page.evaluate("window.early.went")
    await zoe.page.wait_for_selector("html.typing-now")
    await zoe.page.focus("#field")
    await zoe.type((await zoe.typed_text())[:3])
    await zoe.until(lambda: bool(zoe.sent("keys")))
    assert zoe.got("error") == []


async def test_who_leaves_in_mid_race_did_not_finish(visit: Visit, track: Server) -> None:
    """By the keyboard: Esc leads to the button; the other one finishes alone."""
    ada, zoe = await meet(visit, track, "Ada", "Zoë")
    await ready(ada, zoe)
    await run(zoe, part=0.3)
    await zoe.page.keyboard.press("Escape")
    await zoe.page.keyboard.press("Enter")
    await zoe.page.wait_for_selector("#entrance:not([hidden])")
    await ada.page.wait_for_selector("#lanes [data-state=dnf] .doing:has-text('did not finish')")
    await run(ada)
    await to_the_end(ada)
    rows = await table(ada)
    assert [row[:2] for row in rows] == [["1st", "Ada"], ["–", "Zoë"]]
    assert await zoe.logs() == []


async def recorded(server: Server, path: str) -> None:
    """Wait until what was spooled of a race before the server started is to be found."""
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        while True:
            answer = await http.get(f"/v1/races/{path.rpartition('/')[2]}")
            if answer.status_code == 200:
                return
            await asyncio.sleep(0.05)


async def test_a_race_that_is_long_over_has_its_table(visit: Visit, tmp_path: Path) -> None:
    """Its link shows who came where, and when it was, also when the server knows of it by its record alone."""
    server = Server(tmp_path, variables=QUICK_RACES)
    server.start()
    try:
        ada, zoe = await meet(visit, server, "Ada", "<b>Zoë</b>", may_lose_server=True)
        path = ada.page.url.removeprefix(server.url)
        await ready(ada, zoe)
        await asyncio.gather(run(ada, wpm=150), run(zoe, wpm=110, seed=2))
        await to_the_end(ada, zoe)
        rows = await table(ada)
        for visitor in (ada, zoe):
            await visitor.page.close()
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)  # live races were its memory's
        await recorded(server, path)
        late = await visit(server=server, path=path, ready=False, may_lose_server=True)
        await late.page.wait_for_selector("#outcome:not([hidden])")
        assert await table(late) == rows
        assert await late.page.inner_text("#outcome-title") == "Race: 10 words"
        assert await late.page.evaluate("document.activeElement.id") == "outcome-title"
        await expect(late.page.locator("#outcome .said")).to_have_text(re.compile(r"^Raced on .*2\d{3}.*\.$"))
        assert await late.page.locator("#outcome .said time").get_attribute("datetime") is not None
        await expect(late.page.locator("#outcome > .after .quiet")).to_have_text("Places are final.")
        assert await late.page.is_hidden("#outcome .after button")
        await late.page.get_by_role("link", name="Another race").click()
        await late.page.wait_for_selector("#entrance:not([hidden])")
        await late.page.go_back()
        await late.page.wait_for_selector("#outcome:not([hidden])")
    finally:
        await asyncio.to_thread(server.stop)


async def test_a_race_against_one_s_own_best_of_a_kind(visit: Visit, track: Server) -> None:
    """It is offered where a race is made, also by a browser that has to read the history for it."""
    ada = await visit(server=track, settings={"mode": "words", "count": 10}, script=choosing(mode="quote", count=25))
    await type_as_a_person(ada, await ada.typed_text(), wpm=150)
    await ada.state("stored")
    best = ada.got("result")[0]
    await ada.page.evaluate("localStorage.removeItem('typegate.bests')")
    await ada.page.goto(f"{track.url}race")
    await ada.page.wait_for_function("() => JSON.parse(localStorage.getItem('typegate.bests') ?? '{}').complete")
    button = ada.page.locator("#own-best")
    assert await button.is_hidden(), "there is none of quotes"
    await ada.page.locator("label:has(> input[name=mode][value=words])").click()
    assert await button.is_hidden(), "nor of 25 words"
    await ada.page.locator("label:has(> input[name=count][value='10'])").click()
    await expect(button).to_be_visible()
    found = float((await button.inner_text()).removeprefix("Race your best (").removesuffix(" wpm)"))
    assert found == pytest.approx(best["wpm"], abs=0.06)
    await button.focus()
    await ada.page.keyboard.press("Enter")
    await ada.page.wait_for_selector("#lobby:not([hidden]) .seat:has-text('ghost')")
    assert ada.sent("race.create")[0]["ghosts"] == [best["session"]]


async def test_a_race_against_the_ghost_of_an_own_result(visit: Visit, track: Server) -> None:
    """From the result to a lobby with the ghost in it; it moves along its lane, and has its place in the table."""
    ada = await visit(server=track, settings={"mode": "words", "count": 10}, script=choosing(name="Ada"))
    text = await ada.typed_text()
    await type_as_a_person(ada, text, wpm=150)
    await ada.state("stored")
    session = ada.got("result")[0]["session"]
    await ada.page.get_by_role("button", name="Race against this").click()
    await ada.page.wait_for_selector("#lobby:not([hidden]) .seat:has-text('ghost')")
    assert ada.sent("race.create")[0]["ghosts"] == [session]
    await ready(ada)
    assert await ada.typed_text() == text
    await run(ada, part=0.5)
    ghost = ada.page.locator("#lanes [data-state=ghost]")
    await expect(ghost.locator(".speed")).not_to_be_empty()
    assert await ghost.locator(".done").get_attribute("style") not in (None, "transform: translateX(-100%);")
    await ada.page.set_viewport_size({"width": 360, "height": 640})
    assert await ghost.locator(".name").evaluate("name => name.scrollWidth <= name.clientWidth"), "all of it on a phone"
    await run(ada, done=0.5)
    await to_the_end(ada)
    rows = await table(ada)
    assert sorted(row[0] for row in rows) == ["1st", "2nd"]
    assert await ada.page.locator("#outcome > .graph .key").count() == 2
