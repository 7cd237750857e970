"""Leaderboards on the page, personal bests where a result shows, and notices of both."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from playwright.async_api import Route

from persistence.folder import DataFolder
from persistence.results import SqliteResults
from tests.gateway.issuer import public_pem, token
from tests.gateway.web.conftest import Server, Visit, Visitor
from tests.persistence.samples import ranked

KEY = Ed25519PrivateKey.generate()
TYPISTS = 120
TIME_15 = {"mode": "time", "seconds": 15}
TEN = {"mode": "words", "count": 10}
CONFIG = """
[auth]
algorithm = "EdDSA"
issuer = "https://site.example"
audience = "typegate"
key_file = "{}"
"""

HEAR = """
const Real = WebSocket;
window.WebSocket = class extends Real {
  constructor(...given) {
    super(...given);
    window.hear = (message) => this.onmessage(new MessageEvent("message", { data: JSON.stringify(message) }));
  }
};
"""
"""Lets a test say what a server would."""

ALL_WELL = """
const speeds = [50, 70, 60];
const known = new Map();
const speedOf = (session) => known.get(session) ?? known.set(session, speeds.shift()).get(session);
const Real = WebSocket;
window.WebSocket = class extends Real {
  set onmessage(listener) {
    super.onmessage = (event) => {
      const message = JSON.parse(event.data);
      if (message.t === "stored") message.verdict = "ok";
      if (message.t === "result") message.wpm = speedOf(message.session);
      listener.call(this, new MessageEvent("message", { data: JSON.stringify(message) }));
    };
  }
};
"""
"""Tests type like machines, at the machine's speed; here every result counts all the same, as one of these speeds."""


async def fill(folder: Path) -> None:
    """Results of an hour ago: typist n has 40 + n / 2 wpm on time 15."""
    data = DataFolder(folder)
    data.open()
    an_hour_ago = time.time_ns() // 1_000_000 - 3_600_000
    async with SqliteResults(data.results) as store:
        results = [ranked(n, wpm=40 + n / 2, user=n, created_ms=an_hour_ago + n) for n in range(1, TYPISTS + 1)]
        for start in range(0, TYPISTS, 40):
            await store.write(results[start : start + 40])
        await store.name_users({TYPISTS: "Ada <b>"})


@pytest.fixture(name="ranking", scope="module")
def _ranking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with accounts and their results."""
    folder = tmp_path_factory.mktemp("ranking")
    (folder / "key.pem").write_bytes(public_pem(KEY))
    (folder / "typegate.toml").write_text(CONFIG.format(folder / "key.pem"))
    asyncio.run(fill(folder / "data"))
    server = Server(folder / "data", "--config", str(folder / "typegate.toml"))
    server.start()
    yield server
    server.stop()


def account(user: int) -> str:
    """A script with which a browser is this account's."""
    signed = token(KEY, "EdDSA", uid=user, exp=4_000_000_000)
    return f"localStorage.setItem('typegate.token', {json.dumps(signed)});"


async def ranks(visitor: Visitor) -> list[str]:
    """The ranks that show."""
    await visitor.page.wait_for_selector(".ranks tbody tr")
    return await visitor.page.locator(".ranks tbody th").all_inner_texts()


async def test_an_account_sees_the_board_and_its_own_place(visit: Visit, ranking: Server) -> None:
    """Rank, speed and percentile; the board around it, with its own row marked; and the board from the first again."""
    visitor = await visit(settings=TIME_15, server=ranking, script=account(50), path="#/leaderboards", ready=False)
    page = visitor.page
    assert await ranks(visitor) == [str(n) for n in range(1, 51)]
    assert await page.locator(".ranks tbody tr").nth(0).locator("td.main").inner_text() == f"{40 + TYPISTS / 2:.1f}"
    names = page.locator(".ranks tbody td.who")
    assert await names.nth(0).inner_text() == "Ada <b>"
    assert (await names.nth(1).inner_text()).startswith("Typist ")
    rank = TYPISTS - 50 + 1
    await page.wait_for_selector(f".own:has-text('65.0 wpm, rank {rank}, faster than')")
    assert await page.locator(".ranks .me").count() == 0
    await page.click("text=Around me")
    assert str(rank) in await ranks(visitor)
    assert (await page.inner_text(".ranks .me")).split()[:3] == [str(rank), "you", "65.0"]
    await page.click("text=From the first")
    await page.wait_for_selector(".ranks tbody tr:first-child th:text-is('1')")


async def test_a_board_is_turned_page_by_page(visit: Visit, ranking: Server) -> None:
    visitor = await visit(settings=TIME_15, server=ranking, path="#/leaderboards", ready=False)
    page = visitor.page
    await page.wait_for_selector(f"text={TYPISTS} typists")
    assert await page.is_disabled("text=Before")
    await page.click("button:text-is('Next')")
    await page.wait_for_selector(".ranks tbody tr:first-child th:text-is('51')")
    await page.click("button:text-is('Next')")
    await page.wait_for_selector(".ranks tbody tr:first-child th:text-is('101')")
    assert await page.is_disabled("button:text-is('Next')")
    await page.click("text=Before")
    await page.wait_for_selector(".ranks tbody tr:first-child th:text-is('51')")


async def test_guests_see_it_and_are_told_that_they_are_not_ranked(visit: Visit, ranking: Server) -> None:
    """With a best of their own they are told how it compares."""
    visitor = await visit(settings=TIME_15, server=ranking)
    page = visitor.page
    await page.click("#nav-leaderboards")
    await page.wait_for_selector(".own:has-text('guests are not ranked')")
    assert len(await ranks(visitor)) == 50
    user = visitor.got("ready")[0]["user"]
    known = {"user": user, "complete": True, "kinds": {"time 15": {"wpm": 71, "session": "x"}}}
    await page.evaluate("known => localStorage.setItem('typegate.bests', known)", json.dumps(known))
    await page.reload()
    await page.wait_for_selector(".own:has-text('Your best, 71.0 wpm, is faster than 50% of those who are')")


async def test_what_is_chosen_stands_in_the_address(visit: Visit, ranking: Server) -> None:
    visitor = await visit(settings=TIME_15, server=ranking, path="#/leaderboards", ready=False)
    page = visitor.page
    await ranks(visitor)
    await page.select_option("#leaderboards select[name=kind]", "words 50")
    await page.select_option("#leaderboards select[name=language]", "de")
    await page.select_option("#leaderboards select[name=time]", "last-week")
    await page.wait_for_selector("text=Nobody was on this board")
    assert page.url.endswith("#/leaderboards/words-50-de/last-week")
    await page.reload()
    await page.wait_for_selector("text=Nobody was on this board")
    chosen = [await page.input_value(f"#leaderboards select[name={name}]") for name in ("kind", "language", "time")]
    assert chosen == ["words 50", "de", "last-week"]
    await page.select_option("#leaderboards select[name=time]", "today")
    await page.click("text=Type words 50")
    await visitor.ready()
    start = visitor.sent("start")[-1]
    assert (start["mode"], start["count"], start["language"]) == ("words", 50, "de")


async def test_without_a_server_the_boards_say_so(visit: Visit, own_server: Server) -> None:
    visitor = await visit(server=own_server, may_lose_server=True)
    own_server.kill()
    await visitor.page.click("#nav-leaderboards")
    await visitor.page.wait_for_selector("#leaderboards:has-text('cannot be shown now')")
    await asyncio.to_thread(own_server.start)
    await visitor.page.click("#leaderboards button:text-is('Try again')")
    await visitor.page.wait_for_selector("#leaderboards:has-text('Nobody is on this board yet')")


LEARNED = """
async () => {
  while (!JSON.parse(localStorage.getItem("typegate.bests"))?.complete) {
    await new Promise((again) => setTimeout(again, 20));
  }
}
"""


async def test_a_best_is_celebrated_quietly_and_marked_in_the_history(visit: Visit) -> None:
    """The first of its kind is none; a faster one is, with the speed before; a slower one is not."""
    visitor = await visit(settings=TEN, script=ALL_WELL)
    page = visitor.page
    sessions: list[str] = []

    async def all_well(route: Route) -> None:
        """The history says what the connection said, whether the machine types like one or too slowly for that."""
        answer = await route.fetch()
        said = await answer.json()
        for result, wpm in zip(reversed(said["results"]), (50, 70, 60), strict=False):  # the newest come first
            result |= {"verdict": "ok", "wpm": wpm}
        await route.fulfill(response=answer, json=said)

    await page.route("**/v1/users/*/results*", all_well)
    for test in range(3):
        await visitor.type(await visitor.typed_text())
        await visitor.state("stored")
        sessions.append(visitor.got("result")[-1]["session"])
        if test == 1:
            await page.wait_for_selector(".best:has-text('Personal best · 50.0 wpm before')")
        else:
            await page.evaluate(LEARNED)
            assert await page.is_hidden(".best")
        await page.keyboard.press("Tab")
        await visitor.ready()
    await page.click("#nav-history")
    await page.wait_for_selector(".results .chip")
    assert await page.locator(".results .chip").count() == 1
    best = page.locator(".results tr:has(.chip) a")
    assert (await best.get_attribute("href") or "").endswith(sessions[1])


CASES = [
    ({"mode": "words", "count": 10, "wpm": 50, "session": "a"}, None),
    ({"mode": "words", "count": 10, "wpm": 60.5, "session": "b"}, {"before": 50}),
    ({"mode": "words", "count": 10, "wpm": 60.5, "session": "b"}, None),
    ({"mode": "words", "count": 10, "wpm": 55, "session": "c"}, None),
    ({"mode": "words", "count": 25, "wpm": 99, "session": "d"}, None),
    ({"mode": "words", "count": 10, "language": "de", "wpm": 99, "session": "e"}, None),
    ({"mode": "text", "wpm": 40, "session": "f"}, None),
    ({"mode": "text", "wpm": 90, "session": "g"}, None),
]


async def test_bests_are_of_one_kind_and_one_user(visit: Visit) -> None:
    """Own texts have none; another user of the same browser begins with nothing."""
    visitor = await visit()
    found = await visitor.page.evaluate(
        """async (cases) => {
          const { Bests } = await import("/assets/bests.js");
          let user = "-1";
          const bests = new Bests(() => user);
          const found = [];
          for (const result of cases) found.push(await bests.note(result));
          user = "-2";
          return [found, bests.of("words 10")];
        }""",
        [result for result, _ in CASES],
    )
    assert found == [[news for _, news in CASES], None]


def event(session: str, **changed: Any) -> dict[str, Any]:
    """A notice as the server sends it."""
    told = {"kind": "best", "session": session, "board": "time-15-en", "wpm": 91.25, "spans": ["day", "week", "all"]}
    return {"t": "event", "ranks": {"day": 2, "week": 9, "all": 40}} | told | changed


async def test_a_notice_joins_the_result_that_it_is_about(visit: Visit) -> None:
    """It says the rank; twice says it once; what it is the best of is said as it is."""
    visitor = await visit(settings=TEN, script=HEAR)
    await visitor.type(await visitor.typed_text())
    await visitor.state("stored")
    session = visitor.got("result")[-1]["session"]
    for _ in range(2):
        await visitor.page.evaluate("message => window.hear(message)", event(session))
    assert await visitor.page.inner_text(".best") == "Personal best · rank 40"
    week = event(session, spans=["day", "week"], ranks={"day": 1, "week": 3})
    await visitor.page.evaluate("message => window.hear(message)", week)
    assert await visitor.page.inner_text(".best") == "Your best this week · rank 3 this week"
    await visitor.page.evaluate("message => window.hear(message)", event(session, kind="something new"))
    assert await visitor.page.inner_text(".best") == "Your best this week · rank 3 this week"


async def test_a_notice_of_another_result_waits_until_nobody_types(visit: Visit) -> None:
    visitor = await visit(settings={"mode": "text", "text": "one two three"}, script=HEAR)
    await visitor.type("one ")
    other = "019b76da-9000-7123-8000-000000000001"
    await visitor.page.evaluate("message => window.hear(message)", event(other))
    assert await visitor.page.inner_text("#notice") == ""
    await visitor.type("two three")
    await visitor.state("stored")
    await visitor.page.keyboard.press("Tab")
    await visitor.notice("Personal best: 91.3 wpm (rank 40).")
