"""Races on the page: two browsers against each other from the link to the table, and all that may come between."""

import asyncio
import json
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import WebSocketRoute, expect

from tests.gateway.web.conftest import Server, Visit, Visitor
from tests.gateway.web.racing import QUICK, choosing, meet, ready, run, table, to_the_end, type_as_a_person
from tests.gateway.web.test_page_access import CONTRASTS, MARKS
from tests.gateway.web.test_page_offline import KEPT, version


@pytest.fixture(scope="module", name="track")
def _track(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of quick races."""
    server = Server(tmp_path_factory.mktemp("races"), variables=QUICK)
    server.start()
    yield server
    server.stop()


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
    await ada.page.get_by_role("button", name="Race again").click()
    await ada.page.wait_for_selector("#lobby:not([hidden])")
    await expect(zoe.page.locator("#outcome > .after .quiet")).to_contain_text("Another race")
    await zoe.page.get_by_role("button", name="Race again").click()
    await zoe.page.wait_for_selector("#lobby:not([hidden])")
    assert ada.page.url == zoe.page.url != first
    await ready(ada, zoe)
    assert await ada.typed_text() == await zoe.typed_text()


@pytest.fixture(name="patient")
def _patient(tmp_path: Path) -> Iterator[Server]:
    """A server whose countdown takes long enough for whoever looks at it on a busy machine."""
    server = Server(tmp_path, variables={**QUICK, "TYPEGATE_RACE_COUNTDOWN_MS": "15000"})
    server.start()
    yield server
    server.stop()


async def test_keys_before_the_start_are_swallowed_and_that_is_said(patient: Server, visit: Visit) -> None:
    ada, zoe = await meet(visit, patient, "Ada", "Zoë")
    await ready(ada, zoe)
    assert re.fullmatch("[0-9]+", await ada.page.inner_text("#countdown"))
    await ada.type((await ada.typed_text())[:3])
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
    await zoe.page.context.add_init_script(clock + WENT)
    await ready(ada, zoe)
    await zoe.page.reload()
    await zoe.page.wait_for_selector("#race:not([hidden]) .text .w")
    await expect(zoe.page.locator("#countdown")).to_have_text(re.compile("^[0-9]+$"))
    await zoe.page.focus("#field")
    await zoe.type((await zoe.typed_text())[:3])
    await zoe.notice("Too early")
    assert await zoe.marks("typed") == []
    assert zoe.sent("keys") == []
    assert not await zoe.page.evaluate("window.went")
    await zoe.page.wait_for_selector("html.typing-now")
    await zoe.type((await zoe.typed_text())[:3])
    await zoe.until(lambda: bool(zoe.sent("keys")))
    assert zoe.got("error") == []


WENT = """
addEventListener("DOMContentLoaded", () => {
  const line = document.getElementById("countdown");
  const changes = { childList: true, characterData: true, subtree: true };
  new MutationObserver(() => (window.went ||= line.textContent === "Go")).observe(line, changes);
});
"""


async def test_a_refused_name_is_not_kept(visit: Visit, track: Server) -> None:
    """Neither one that was typed in the lobby nor one that the browser still has locks anybody out of races."""
    ada, zoe = await meet(visit, track, "Ada", "Zoë")
    await zoe.page.fill("#lobby-name", "a\u202eb")
    await zoe.page.keyboard.press("Enter")
    await zoe.notice("changes direction")
    assert await zoe.page.input_value("#lobby-name") == "Zoë"
    await zoe.page.reload()
    await zoe.page.wait_for_selector("#lobby:not([hidden]) .seat:has-text('Zoë')")
    path = ada.page.url.removeprefix(track.url)
    third = await visit(server=track, path=path, ready=False, script=choosing(name="a\u202eb"))
    await third.page.wait_for_selector("#lobby:not([hidden]) .seat:has-text('Guest')")
    await third.notice("changes direction")
    await third.page.fill("#lobby-name", "Ada")
    await third.page.keyboard.press("Enter")
    await third.page.wait_for_selector(".seat:has-text('Ada 2')")
    await third.page.reload()
    await third.page.wait_for_selector("#lobby:not([hidden]) .seat:has-text('Ada 2')")
    assert '"Ada"' in await third.page.evaluate("localStorage.getItem('typegate.race')")


async def test_who_falls_out_of_the_lobby_comes_back_by_itself(visit: Visit, track: Server) -> None:
    """And once: a server that says it again is believed."""
    ada = await visit(server=track, path="race", ready=False, script=choosing(name="Ada"))
    lines = await _told(ada)
    await ada.page.click("#make button[type=submit]")
    await ada.page.wait_for_selector("#lobby:not([hidden])")
    error = {"t": "error", "code": "not_racing", "message": "you fell out", "retry": None, "ref": None}
    for _ in range(2):
        lines[-1].send(json.dumps(error))
    await ada.notice("you fell out")
    await ada.until(lambda: bool(ada.sent("race.join")))
    assert [join["race"] for join in ada.sent("race.join")] == [ada.page.url.rpartition("/")[2]]


async def test_a_race_that_goes_on_elsewhere_says_where_to_go(visit: Visit, track: Server) -> None:
    ada = await visit(server=track, path="race", ready=False, script=choosing(name="Ada"))
    error = {"t": "error", "code": "running", "message": "you race elsewhere", "retry": None, "ref": None}
    await _told(ada, {"race.join": error})
    await ada.page.goto(f"{track.url}race/0000000000000")
    await ada.page.wait_for_selector("#message:has-text('another tab, window or device') a[href='/race/0000000000000']")


async def _told(visitor: Visitor, instead: dict[str, dict[str, Any]] | None = None) -> list[WebSocketRoute]:
    """The page's connections from its next load on, to say something in; some messages are answered here."""
    lines: list[WebSocketRoute] = []

    def connected(line: WebSocketRoute) -> None:
        server = line.connect_to_server()
        lines.append(line)

        def said(text: str | bytes) -> None:
            answer = (instead or {}).get(json.loads(text)["t"])
            if answer is None:
                server.send(text)
            else:
                line.send(json.dumps(answer))

        line.on_message(said)

    await visitor.page.route_web_socket("**/ws", connected)
    await visitor.page.reload()
    return lines


async def test_a_host_who_leaves_the_lobby_makes_room_and_another_one_host(visit: Visit, track: Server) -> None:
    ada, zoe = await meet(visit, track, "Ada", "Zoë")
    assert await zoe.page.is_hidden("button:has-text('Start now')")
    await ada.page.get_by_role("button", name="Leave").click()
    await ada.page.wait_for_selector("#entrance:not([hidden])")
    await expect(zoe.page.locator(".seat:not(.free)")).to_have_count(1)
    assert await zoe.page.inner_text(".seat .host") == "host"
    assert await zoe.page.is_disabled("button:has-text('Start now')"), "against nobody there is no race"
    await ada.page.go_back()
    await ada.page.wait_for_selector("#lobby:not([hidden])")
    await zoe.page.get_by_role("button", name="Start now").click()
    await ada.page.wait_for_selector("#race:not([hidden]) .text .w")


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


async def test_a_race_that_cannot_be_joined_says_why(visit: Visit, track: Server) -> None:
    """Unknown, full, running: each a sentence and ways on; who comes late looks on."""
    lost = await visit(server=track, path="race/0000000000000", ready=False)
    await lost.page.wait_for_selector(
        "#message:has-text('There is no such race, or it is long over. Find') a[href='/race']"
    )
    lost.complaints = [text for text in lost.complaints if "404" not in text]  # it asked whether it is long over
    await lost.page.goto(f"{track.url}race?ghost=abc")
    await lost.page.wait_for_selector("#message:has-text('no link to a result') a[href='/race']")
    assert lost.sent("race.create") == []
    ada, zoe = await meet(visit, track, "Ada", "Zoë", choices={"racers": 2})
    path = ada.page.url.removeprefix(track.url)
    third = await visit(server=track, path=path, ready=False)
    await third.page.wait_for_selector("#message:has-text('taken') a[href='/race']")
    await ready(ada, zoe)
    await third.page.reload()
    await third.page.wait_for_selector("#race:not([hidden]).watching")
    assert await third.page.evaluate("document.activeElement.textContent") == "Race: 10 words"
    assert await third.page.is_hidden("#keys-help")
    await asyncio.gather(run(ada), run(zoe))
    await to_the_end(ada, zoe)
    await third.page.wait_for_selector("#outcome:not([hidden])")
    assert await table(third) == await table(ada)
    fourth = await visit(server=track, path=path, ready=False)
    await fourth.page.wait_for_selector("#outcome:not([hidden])")
    assert await table(fourth) == await table(ada)


async def test_a_race_that_is_long_over_has_its_table(visit: Visit, tmp_path: Path) -> None:
    """Its link shows who came where, and when it was, also when the server knows of it by its record alone."""
    server = Server(tmp_path, variables=QUICK)
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


async def test_a_name_that_deceives_is_refused(visit: Visit, track: Server) -> None:
    visitor = await visit(server=track, path="race", ready=False, script=choosing(name="Guest 7"))
    await visitor.page.click("#make button[type=submit]")
    await visitor.notice("given to who has none")
    await visitor.page.fill("#name", "Ada")
    await visitor.page.click("#make button[type=submit]")
    await visitor.page.wait_for_selector("#lobby:not([hidden])")
    assert await visitor.page.inner_text(".seat .name") == "Ada"


async def test_a_name_may_be_changed_in_the_lobby(visit: Visit, track: Server) -> None:
    ada, zoe = await meet(visit, track, "Ada", "Zoë")
    await zoe.page.fill("#lobby-name", "\u200bAda")
    await zoe.page.keyboard.press("Enter")
    await zoe.notice("invisible")
    assert await ada.page.locator(".seat[data-ready=true]").count() == 0, "Enter ends the name, and is nothing else"
    await zoe.page.fill("#lobby-name", "Ada")
    await zoe.page.keyboard.press("Enter")
    await ada.page.wait_for_selector(".seat:has-text('Ada 2')")
    assert await zoe.page.evaluate("document.activeElement.textContent") == "Ready"


async def test_who_looks_for_a_race_finds_who_looks_for_one(visit: Visit, track: Server) -> None:
    ada = await visit(server=track, path="race", ready=False)
    await ada.page.click("#find")
    await ada.page.wait_for_selector("#lobby:not([hidden]) .status:has-text('looks for a race')")
    zoe = await visit(server=track, path="race", ready=False)
    await zoe.page.click("#find")
    await zoe.page.wait_for_selector("#lobby:not([hidden])")
    assert zoe.page.url == ada.page.url
    await ada.page.wait_for_selector(".status:has-text('The text comes in')")
    await ready(ada, zoe)


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
    await run(ada, done=0.5)
    await to_the_end(ada)
    rows = await table(ada)
    assert sorted(row[0] for row in rows) == ["1st", "2nd"]
    assert await ada.page.locator("#outcome > .graph .key").count() == 2


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


_LANES = ([f"--lane-{i}" for i in range(6)], ["--ground"])


async def test_a_screen_reader_hears_what_matters_and_not_more(visit: Visit, track: Server) -> None:
    """Who came, the last seconds, the start, the place: a sentence each, and none for the others' progress."""
    heard = """
    window.heard = [];
    addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
      const said = document.getElementById("announcer").textContent;
      if (said) window.heard.push(said);
    }).observe(document.getElementById("announcer"), { childList: true, characterData: true, subtree: true }));
    """
    ada = await visit(server=track, path="race", ready=False, script=choosing(name="Ada") + heard)
    await ada.page.click("#make button[type=submit]")
    await ada.page.wait_for_selector("#lobby:not([hidden])")
    path = ada.page.url.removeprefix(track.url)
    zoe = await visit(server=track, path=path, ready=False, script=choosing(name="Zoë"))
    await ada.page.wait_for_selector(".seat:has-text('Zoë')")
    await ready(ada, zoe)
    await asyncio.gather(run(ada), run(zoe, wpm=100))
    await to_the_end(ada, zoe)
    said: list[str] = await ada.page.evaluate("window.heard")
    assert any("Zoë joined" in sentence for sentence in said)
    for wanted in ("1", "Go"):
        assert wanted in said
    assert any(re.search(r"(1st|2nd)", sentence) for sentence in said)
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
