"""Typing never waits for the network, and nothing typed is lost: killed servers, reloads, two tabs, sleep."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.async_api import WebSocketRoute

from tests.gateway.running import command
from tests.gateway.web.conftest import PATIENCE_S, Server, Visit, Visitor
from tests.gateway.web.holding import Held

TEXT = {"mode": "text", "text": "what you typed is never lost, and that is a promise"}
TEN = {"mode": "words", "count": 10}
"""Such a test is never begun without a server."""


def keys(visitor: Visitor) -> str:
    """The keys that the server was sent, without what was sent twice."""
    log: list[str] = []
    for frame in visitor.sent("keys"):
        log[frame["n"] :] = frame["e"][1::2]
    return "".join(log)


async def test_a_server_killed_in_mid_test_loses_nothing(visit: Visit, own_server: Server) -> None:
    """Typing on meanwhile; a new process on the same data: the test goes on, and its result is stored once."""
    visitor = await visit(settings=TEXT, server=own_server, may_lose_server=True)
    await visitor.type(TEXT["text"][:20])
    await visitor.until(lambda: bool(visitor.got("tick")))
    own_server.kill()
    await visitor.type(TEXT["text"][20:30])
    assert "".join(await visitor.marks("typed")) == TEXT["text"][:30].replace(" ", "")
    await visitor.notice("Connection lost")
    await asyncio.to_thread(own_server.start)
    await visitor.until(lambda: bool(visitor.got("resumed")))
    await visitor.type(TEXT["text"][30:])
    await visitor.state("stored")
    assert keys(visitor) == TEXT["text"]
    assert visitor.got("result")[-1]["chars"] == [len(TEXT["text"]), 0, 0, 0]
    assert await visitor.page.inner_text("#notice") == ""
    assert await _history(visitor) == 1


async def test_a_loss_is_said_however_soon_the_tries_to_come_back_fail(visit: Visit) -> None:
    """What is quiet is counted from the loss, and not anew from each try."""
    soon = "Math.random = () => 0.02;"  # no try is farther from the next than 400 ms
    visitor = await visit(settings=TEXT, path="v1/languages", ready=False, script=soon)
    lines: list[WebSocketRoute] = []
    lost = False

    async def connected(line: WebSocketRoute) -> None:
        if lost:
            await line.close(code=4000)
        else:
            lines.append(line)
            line.connect_to_server()

    await visitor.page.context.route_web_socket("**/ws", connected)
    await visitor.page.goto(visitor.url)
    await visitor.ready()
    await visitor.type(TEXT["text"][:9])
    lost = True
    await lines[0].close(code=4000)
    await visitor.notice("Connection lost")


async def test_what_is_said_again_at_each_try_is_heard_once_and_its_button_keeps_the_focus(visit: Visit) -> None:
    visitor = await visit(settings=TEN, path="v1/languages", ready=False, script="Math.random = () => 0.02;")
    page = visitor.page
    tried = asyncio.Event()

    async def connected(line: WebSocketRoute) -> None:
        await line.close(code=4000)
        tried.set()

    await page.context.route_web_socket("**/ws", connected)
    await page.goto(visitor.url)
    await visitor.notice("No connection")
    await page.focus("#notice button")
    await page.evaluate("() => (window.said.notice.length = 0)")
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(4):  # what the first of these came to is said by then
            tried.clear()
            await tried.wait()
    assert await page.evaluate("() => document.activeElement.matches('#notice button')")
    assert await page.evaluate("() => window.said.notice") == []


async def _history(visitor: Visitor) -> int:
    await visitor.page.click("#nav-history")
    await visitor.page.wait_for_selector(".results tbody tr")
    return await visitor.page.locator(".results tbody tr").count()


async def test_a_test_finished_without_the_server_is_saved_when_it_is_back(visit: Visit, own_server: Server) -> None:
    visitor = await visit(settings=TEXT, server=own_server, may_lose_server=True)
    await visitor.type(TEXT["text"][:9])
    own_server.kill()
    await visitor.type(TEXT["text"][9:])
    await visitor.state("unsent")
    assert await visitor.figure("acc") == "100%"  # the page's own figures
    assert "kept in this browser" in await visitor.page.inner_text(".state")
    await asyncio.to_thread(own_server.start)
    await visitor.state("stored")
    assert keys(visitor) == TEXT["text"]
    assert await visitor.logs() == []


async def test_a_finished_test_that_is_asked_back_is_not_taken_from_the_page_by_itself(
    visit: Visit, own_server: Server
) -> None:
    """Who asks for another test before the server has answered keeps the connection, and both results are saved."""
    visitor = await visit(settings=TEXT, server=own_server, may_lose_server=True)
    slow: list[WebSocketRoute] = []
    held: list[str | bytes] = []
    holding = False

    def connected(line: WebSocketRoute) -> None:
        server = line.connect_to_server()

        def heard(text: str | bytes) -> None:
            if holding and not slow and json.loads(text)["t"] == "ready":
                slow.append(line)
            if holding and line in slow:
                held.append(text)
            else:
                line.send(text)

        server.on_message(heard)

    await visitor.page.route_web_socket("**/ws", connected)
    await visitor.page.reload()
    await visitor.ready()
    await visitor.type(TEXT["text"][:9])
    own_server.kill()
    await visitor.type(TEXT["text"][9:])
    await visitor.state("unsent")
    starts, holding = len(visitor.sent("start")), True
    await asyncio.to_thread(own_server.start)
    await visitor.until(lambda: bool(visitor.sent("resume")) and bool(held))
    await visitor.page.keyboard.press("Tab")
    await visitor.until(lambda: len(visitor.sent("start")) > starts)
    slow[0].send(held.pop(0))
    await visitor.page.evaluate("new Promise((done) => setTimeout(done, 500))")
    assert len(visitor.sent("resume")) == 1, "it is under way already"
    holding = False
    for text in held:
        slow[0].send(text)
    await visitor.until(lambda: bool(visitor.got("stored")))
    await visitor.ready()
    await visitor.type(TEXT["text"])
    await visitor.state("stored")
    assert await visitor.logs() == []
    assert await _history(visitor) == 2
    assert len(visitor.sent("start")) == starts + 1, "the page's own connection was not lost"


async def test_a_reload_in_mid_test_goes_on_where_it_was(visit: Visit) -> None:
    visitor = await visit(settings=TEXT)
    await visitor.type(TEXT["text"][:17])
    await visitor.page.reload()
    await visitor.ready()
    assert "".join(await visitor.marks("typed")) == TEXT["text"][:17].replace(" ", "")
    await visitor.until(lambda: bool(visitor.got("resumed")))
    await visitor.type(TEXT["text"][17:])
    await visitor.state("stored")
    assert visitor.got("result")[-1]["chars"] == [len(TEXT["text"]), 0, 0, 0]


HELD = """
async (name) => {
  while (!(await navigator.locks.query()).held.some((one) => one.name === name)) {
    await new Promise((again) => setTimeout(again, 20));
  }
}
"""
PENDING = """
async (name) => {
  while (!(await navigator.locks.query()).pending.some((one) => one.name === name)) {
    await new Promise((again) => setTimeout(again, 20));
  }
}
"""
LATE = """
(name) => {
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  navigator.locks.request(name, async () => {
    while (!(await navigator.locks.query()).pending.some((one) => one.name === name)) await pause(20);
    await pause(1000);
  });
}
"""


async def test_a_reload_takes_the_test_up_however_late_the_page_before_lets_go_of_it(visit: Visit) -> None:
    visitor = await visit(settings=TEXT)
    await visitor.type(TEXT["text"][:17])
    lock = f"typegate:{visitor.got('started')[0]['session']}"
    await visitor.page.evaluate(HELD, lock)
    other = await visit(context=visitor.page.context, path="v1/languages", ready=False)
    await other.page.evaluate(LATE, lock)  # comes after the page that lives, and before the one that is loaded
    await visitor.page.reload()
    await visitor.ready()
    assert "".join(await visitor.marks("typed")) == TEXT["text"][:17].replace(" ", "")
    await visitor.type(TEXT["text"][17:])
    await visitor.state("stored")
    assert keys(visitor) == TEXT["text"]


async def test_a_wall_clock_set_back_during_a_reload_stops_no_time(visit: Visit) -> None:
    """Keys typed after it still have their gaps: a test on the clock would never end else."""
    visitor = await visit(settings=TEXT)
    await visitor.type(TEXT["text"][:17])
    await visitor.until(lambda: keys(visitor) == TEXT["text"][:17])
    await visitor.page.evaluate(
        """() => {
            const name = Object.keys(localStorage).find((key) => key.endsWith(".test"));
            const kept = JSON.parse(localStorage.getItem(name));
            localStorage.setItem(name, JSON.stringify({ ...kept, startedWallMs: kept.startedWallMs + 3600000 }));
        }"""
    )
    await visitor.page.reload()
    await visitor.ready()
    await visitor.until(lambda: bool(visitor.got("resumed")))
    await visitor.type(TEXT["text"][17:])
    await visitor.state("stored")
    assert sum(sum(frame["e"][::2]) for frame in visitor.sent("keys") if frame["n"] >= 17) > 0


async def test_a_result_that_never_came_is_fetched_on_the_next_visit(visit: Visit, own_server: Server) -> None:
    """It is told beside the test that the visit begins with, not in the moment before there is one."""
    visitor = await visit(settings=TEXT, server=own_server, may_lose_server=True)
    await visitor.type(TEXT["text"][:9])
    own_server.kill()
    await visitor.type(TEXT["text"][9:])
    await visitor.state("unsent")
    context = visitor.page.context
    await visitor.page.close()
    await asyncio.to_thread(own_server.start)
    await context.add_init_script(f"localStorage.setItem('typegate.settings', {json.dumps(json.dumps(TEN))});")
    held = await Held.back(context, "started")
    again = await visit(context=context, server=own_server, ready=False)
    await again.page.wait_for_function("() => !Object.keys(localStorage).some((key) => key.includes('.log.'))")
    assert not await again.page.evaluate("window.said.notice.some((line) => line.includes('earlier result'))")
    await again.until(lambda: bool(again.got("started")))
    held.let_go()
    await again.ready()
    await again.notice("earlier result")
    assert await again.logs() == []
    assert keys(again) == TEXT["text"]


async def test_a_finished_test_survives_a_reload_without_the_server(visit: Visit, own_server: Server) -> None:
    """Its address shows the page's own figures from the kept log until the server has it, and then "Saved"."""
    visitor = await visit(settings=TEXT, server=own_server, may_lose_server=True)
    await visitor.type(TEXT["text"][:9])
    await visitor.until(lambda: bool(visitor.got("tick")))
    own_server.kill()
    await visitor.type(TEXT["text"][9:])
    await visitor.state("unsent")
    await asyncio.to_thread(own_server.start)
    await visitor.page.reload()
    await visitor.state("stored")
    assert await visitor.figure("acc") == "100%"
    assert await visitor.logs() == []


@pytest.mark.parametrize("where", ["at its own address", "elsewhere"])
async def test_a_kept_result_that_the_server_will_never_take_is_not_said_to_be_kept(
    visit: Visit, own_server: Server, where: str
) -> None:
    """Its log goes; that is said where it shows, and by the way anywhere else."""
    damage = """
    for (const name of Object.keys(localStorage).filter((name) => /^typegate\\.log\\..*\\.test$/.test(name))) {
      const kept = JSON.parse(localStorage.getItem(name));
      kept.started.ticket = "AAAA";
      localStorage.setItem(name, JSON.stringify(kept));
    }
    """
    visitor = await visit(settings=TEXT, server=own_server, may_lose_server=True)
    await visitor.type(TEXT["text"][:9])
    own_server.kill()
    await visitor.type(TEXT["text"][9:])
    await visitor.state("unsent")
    [session] = await visitor.logs()
    context = visitor.page.context
    await visitor.page.close()
    await asyncio.to_thread(own_server.start)
    await context.add_init_script(damage)
    path = f"#/result/{session}" if where == "at its own address" else ""
    again = await visit(context=context, server=own_server, ready=False, path=path)
    if path:
        await again.state("failed")
        assert (await again.page.inner_text(".state")).startswith("Not saved: ticket and receipt")
    else:
        await again.notice("cannot be saved")
    assert await again.logs() == []


async def test_events_that_were_lost_are_sent_again(visit: Visit) -> None:
    """The server answers a gap with the number that it expects; the page goes on from there."""
    lossy = """
    const send = WebSocket.prototype.send;
    let frames = 0;
    WebSocket.prototype.send = function (data) {
      if (JSON.parse(data).t === "keys" && ++frames === 2) return;
      send.call(this, data);
    };
    """
    visitor = await visit(settings=TEXT, script=lossy)
    await visitor.type(TEXT["text"], delay_ms=30)
    await visitor.state("stored")
    assert visitor.got("error")[0]["code"] == "gap"
    assert keys(visitor) == TEXT["text"]


async def test_two_tabs_each_have_their_own_test(visit: Visit) -> None:
    """The second tab begins a test of its own, and neither settles nor resumes what the first one works on."""
    first = await visit(settings=TEXT)
    await first.type(TEXT["text"][:10])
    await first.until(lambda: bool(first.got("tick")))
    second = await visit(context=first.page.context)
    assert second.sent("resume") == []
    await second.type(TEXT["text"])
    await second.state("stored")
    await first.page.bring_to_front()
    await first.type(TEXT["text"][10:])
    await first.state("stored")
    assert first.got("started")[0]["session"] != second.got("started")[0]["session"]
    assert keys(first) == keys(second) == TEXT["text"]
    assert await first.logs() == []


async def test_two_new_tabs_at_once_are_one_guest(visit: Visit) -> None:
    """The one waits until the other knows who they are; both can type."""
    slow = """
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (data) { setTimeout(() => send.call(this, data), 300); };
    """
    blank = await visit(script=slow, path="v1/languages", ready=False)
    tabs = await asyncio.gather(*(visit(context=blank.page.context) for _ in range(2)))
    assert sorted(len(tab.sent("auth")[0].get("token", "")) > 0 for tab in tabs) == [False, True]
    assert len({tab.got("ready")[0]["user"] for tab in tabs}) == 1
    kept = {await tab.page.evaluate("localStorage.getItem('typegate.guest')") for tab in tabs}
    assert len(kept) == 1


async def test_a_new_tab_waits_for_the_one_that_is_about_to_be_a_guest_however_long_that_takes(
    visit: Visit,
) -> None:
    """It does not become another one in the meantime."""
    first = await visit(path="v1/languages", ready=False)
    held = await Held.back(first.page.context, "ready")
    await first.page.goto(first.url)
    await first.until(lambda: bool(first.got("ready")))
    second = await visit(context=first.page.context, ready=False)
    await second.page.evaluate(PENDING, "typegate:guest")
    await second.page.evaluate("new Promise((done) => setTimeout(done, 3500))")
    held.let_go()
    for tab in (first, second):
        await tab.ready()
    assert first.got("ready")[-1]["user"] == second.got("ready")[-1]["user"]


async def test_a_copied_tab_does_not_take_up_the_same_test(visit: Visit) -> None:
    """Browsers copy session storage with a tab; the lock on the session tells the two apart."""
    first = await visit(settings=TEXT)
    await first.type(TEXT["text"][:10])
    await first.until(lambda: bool(first.got("tick")))
    session = first.got("started")[0]["session"]
    await first.page.evaluate(HELD, f"typegate:{session}")
    await first.page.context.add_init_script(f"sessionStorage.setItem('typegate.current', '{session}')")
    second = await visit(context=first.page.context)
    assert second.sent("resume") == []
    assert second.got("started")[0]["session"] != session


async def test_of_two_tabs_of_one_test_that_no_lock_tells_apart_only_the_one_that_goes_on_keeps_its_log(
    visit: Visit,
) -> None:
    """On plain http from another machine. What is still typed in the other one does not come into it."""
    script = 'Object.defineProperty(Navigator.prototype, "locks", { value: undefined });'
    first = await visit(settings=TEXT, script=script)
    await first.type(TEXT["text"][:10])
    await first.until(lambda: bool(first.got("tick")) and first.got("tick")[-1]["n"] == 10)  # so its log is kept
    session = first.got("started")[0]["session"]
    await first.page.context.add_init_script(f"sessionStorage.setItem('typegate.current', '{session}')")
    second = await visit(context=first.page.context)
    await second.until(lambda: bool(second.got("resumed")))
    await first.page.bring_to_front()
    await first.notice("in another tab")
    await first.type("zz")
    await first.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # now it would be kept
    await second.page.bring_to_front()
    await second.type(TEXT["text"][10:20])
    await first.type("zz")
    await first.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await first.page.keyboard.press("Tab")
    await second.page.bring_to_front()
    await second.page.reload()
    await second.ready()
    await second.until(lambda: len(second.got("resumed")) == 2)
    await second.type(TEXT["text"][20:])
    await second.state("stored")
    assert second.got("result")[-1]["chars"] == [len(TEXT["text"]), 0, 0, 0]


ANOTHER_GUEST = """
([token, user]) => {
  localStorage.setItem("typegate.token", token);
  localStorage.setItem("typegate.guest", JSON.stringify({ user, token }));
}
"""
LONG_AGO = """
for (const [name, value] of Object.entries(localStorage)) {
  if (!/^typegate\\.log\\.[0-9a-f-]+$/.test(name)) continue;
  localStorage.setItem(name, JSON.stringify({ ...JSON.parse(value), at: Date.now() - 3600_000 }));
}
"""


async def another_guest(visit: Visit, visitor: Visitor, **options: Any) -> None:
    """What a new tab leaves behind that became a guest of its own, since no lock told it of this one."""
    other = await visit(**options)
    ready = other.got("ready")[-1]
    await visitor.page.evaluate(ANOTHER_GUEST, [ready["token"], ready["user"]])
    await visitor.page.bring_to_front()


async def test_a_tab_stays_the_guest_that_it_is_though_the_browser_is_another_one_by_now(visit: Visit) -> None:
    """A reload in mid-test goes on: as another one it would lose the test."""
    visitor = await visit(settings=TEXT)
    await another_guest(visit, visitor)
    await visitor.type(TEXT["text"][:17])
    await visitor.until(lambda: keys(visitor) == TEXT["text"][:17])
    await visitor.page.reload()
    await visitor.ready()
    await visitor.until(lambda: bool(visitor.got("resumed")))
    await visitor.type(TEXT["text"][17:])
    await visitor.state("stored")
    assert visitor.got("result")[-1]["chars"] == [len(TEXT["text"]), 0, 0, 0]
    assert len({ready["user"] for ready in visitor.got("ready")}) == 1


async def test_a_kept_log_of_a_guest_that_the_browser_is_no_more_is_brought_in_as_its_own(
    visit: Visit, own_server: Server
) -> None:
    """It bears the token of who typed it. Once it is old: a tab that is open sends its own itself."""
    visitor = await visit(settings=TEXT, server=own_server, may_lose_server=True)
    await another_guest(visit, visitor, server=own_server, may_lose_server=True)
    typist = visitor.got("ready")[-1]["user"]
    await visitor.type(TEXT["text"][:9])
    own_server.kill()
    await visitor.type(TEXT["text"][9:])
    await visitor.state("unsent")
    context = visitor.page.context
    await visitor.page.close()
    await asyncio.to_thread(own_server.start)
    young = await visit(context=context, server=own_server)
    assert young.got("ready")[-1]["user"] != typist
    await young.page.close()
    assert not young.sent("resume")
    await context.add_init_script(LONG_AGO)
    again = await visit(context=context, server=own_server)
    await again.notice("earlier result")
    await again.page.wait_for_function("() => !Object.keys(localStorage).some((key) => key.includes('.log.'))")
    assert {ready["user"] for ready in again.got("ready")} >= {typist, young.got("ready")[-1]["user"]}
    assert keys(again) == TEXT["text"]


async def test_without_a_server_the_page_says_so_and_goes_on_by_itself(visit: Visit, own_server: Server) -> None:
    visitor = await visit(settings={"mode": "words", "count": 10}, server=own_server, may_lose_server=True)
    own_server.kill()
    await visitor.notice("Connection lost")
    await visitor.page.keyboard.press("Tab")
    await visitor.notice("No connection")
    assert await visitor.page.is_visible("#notice button")
    await asyncio.to_thread(own_server.start)
    # The page tries by itself too, and may be back, and its button gone, before the click.
    await visitor.page.evaluate("document.querySelector('#notice button')?.click()")
    await visitor.ready()
    await visitor.type(await visitor.typed_text())
    await visitor.state("stored")


async def test_a_drained_server_is_left_and_the_test_resumed(visit: Visit, own_server: Server) -> None:
    """SIGTERM tells the page to reconnect; typing goes on, and the next process takes the test over."""
    visitor = await visit(settings=TEXT, server=own_server, may_lose_server=True)
    await visitor.type(TEXT["text"][:10])
    await asyncio.to_thread(own_server.stop)
    await visitor.type(TEXT["text"][10:20])
    await asyncio.to_thread(own_server.start)
    await visitor.type(TEXT["text"][20:])
    await visitor.state("stored")
    assert keys(visitor) == TEXT["text"]


async def test_a_machine_that_slept_ends_the_test_and_says_so(visit: Visit) -> None:
    """The wall clock ran on while the page's stood still: no result, and nobody is flagged."""
    visitor = await visit(settings=TEXT)
    await visitor.type(TEXT["text"][:10])
    await visitor.page.evaluate("{ const now = Date.now; Date.now = () => now.call(Date) + 3600000; }")
    await visitor.notice("slept")
    await visitor.until(lambda: bool(visitor.sent("abort")))
    assert await visitor.logs() == []
    await visitor.page.click("#notice button")
    await visitor.ready()
    await visitor.type(TEXT["text"])
    await visitor.state("stored")


async def test_the_same_guest_comes_back(visit: Visit) -> None:
    visitor = await visit()
    user = visitor.got("ready")[0]["user"]
    again = await visit(context=visitor.page.context)
    assert again.got("ready")[0]["user"] == user
    assert again.sent("auth")[0]["token"] == visitor.got("ready")[0]["token"]


async def test_an_unknown_token_is_replaced_by_a_new_guest(visit: Visit) -> None:
    script = "if (!localStorage.getItem('typegate.token')) localStorage.setItem('typegate.token', 'forged');"
    visitor = await visit(script=script)
    assert visitor.sent("auth")[0]["token"] == "forged"
    assert visitor.got("ready")[0]["guest"]
    token = await visitor.page.evaluate("localStorage.getItem('typegate.token')")
    assert token == visitor.got("ready")[0]["token"]


async def test_who_is_banned_is_told_until_when_and_why(visit: Visit, own_server: Server) -> None:
    """And the page does not come back by itself."""
    visitor = await visit(settings=TEXT, server=own_server, may_lose_server=True)
    user = visitor.got("ready")[0]["user"]
    code, _, errors = await command(
        "ban", "add", user, "--reason", "a bot", "--data", str(own_server.data), folder=own_server.data
    )
    assert code == 0, errors
    await visitor.notice("The server refuses this connection. banned: for good: a bot")
    await visitor.page.goto(own_server.url + "r/01900000-0000-7000-8000-000000000001")
    await visitor.page.wait_for_selector("#result .message:text-is('You are banned for good: a bot.')")
    assert await visitor.page.locator("#result button").count() == 0, "to try again is of no use"
    visitor.complaints[:] = [text for text in visitor.complaints if "status of 403" not in text]


@pytest.fixture(name="narrow", scope="module")
def _narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with room for one test at a time."""
    folder = tmp_path_factory.mktemp("narrow")
    config = folder / "typegate.toml"
    config.write_text("[connection]\ntests = 1\n")
    server = Server(folder / "data", "--config", str(config))
    server.start()
    yield server
    server.stop()


async def test_who_has_to_wait_sees_the_place_and_starts_without_doing_anything(visit: Visit, narrow: Server) -> None:
    """As soon as another test is over."""
    first = await visit(settings=TEXT, server=narrow)
    await first.type(TEXT["text"][:5])
    second = await visit(settings=TEXT, server=narrow, ready=False)
    await second.notice("You are number 1 in the queue")
    await first.type(TEXT["text"][5:])
    await first.state("stored")
    await second.until(lambda: bool(second.got("started")))
    await second.ready()
    await second.type(TEXT["text"])
    await second.state("stored")


async def test_who_has_to_wait_asks_again_also_before_it_is_known_who_that_is(visit: Visit, narrow: Server) -> None:
    """A test is asked for without waiting for `ready`, and so it is once more when its time has come."""
    first = await visit(settings=TEXT, server=narrow)
    await first.type(TEXT["text"][:5])
    second = await visit(settings=TEN, server=narrow, path="v1/languages", ready=False)
    held = await Held.back(second.page.context, "ready")
    await second.page.goto(narrow.url)
    await second.until(lambda: any(sent["start"] > 1 for sent in held.sent))
    held.let_go()
    await first.type(TEXT["text"][5:])
    await first.state("stored")
    await second.ready()
    await second.type(await second.typed_text())
    await second.state("stored")


async def test_back_off_has_full_jitter_up_to_twenty_seconds(visit: Visit) -> None:
    visitor = await visit()
    waits = await visitor.page.evaluate(
        """async () => {
          const { backOff } = await import("/assets/connection.js");
          return [0, 1, 3, 5, 6, 60].map((attempt) => [backOff(attempt, () => 0), backOff(attempt, () => 1)]);
        }"""
    )
    assert waits == [[0, 500], [0, 1000], [0, 4000], [0, 16_000], [0, 20_000], [0, 20_000]]


async def test_the_page_knows_every_close_code_that_forbids_coming_back(visit: Visit) -> None:
    from session.messages import CloseCode

    visitor = await visit()
    final = await visitor.page.evaluate(
        "import('/assets/connection.js').then(({ FINAL_CLOSES }) => [...FINAL_CLOSES.keys()])"
    )
    assert final == [code for code in CloseCode if not code.resumable]
