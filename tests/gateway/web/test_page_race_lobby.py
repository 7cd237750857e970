"""Lobbies of races on the page: names, who comes, leaves, falls out, and who may not in."""

import asyncio
import json
from typing import Any

from playwright.async_api import WebSocketRoute, expect

from tests.gateway.web.conftest import Server, Visit, Visitor
from tests.gateway.web.racing import choosing, meet, ready, run, table, to_the_end


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
    await to_the_end(third)
    assert await table(third) == await table(ada)
    fourth = await visit(server=track, path=path, ready=False)
    await to_the_end(fourth)
    assert await table(fourth) == await table(ada)


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
