"""The page without a network: it opens all the same, keeps what was typed, and a new release replaces it as a whole."""

import asyncio
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, Request

from tests.gateway.running import ROOT
from tests.gateway.web.conftest import Server, Visit

TEXT = {"mode": "text", "text": "the page is kept and so is what you type"}
TEN = {"mode": "words", "count": 10}
"""Such a test is the server's to choose."""

AHEAD = """
var ahead = 0;
const realNow = Date.now;
Date.now = () => realNow() + ahead;
"""
CREATED = """
async () => {
  const { ownResults } = await import("/assets/api.js");
  return (await ownResults()).results.map(({ created_at }) => created_at);
}
"""

KEPT = """
async (version) => {
  const names = [`typegate.${version}`];
  const found = async () =>
    (await navigator.serviceWorker.getRegistration())?.active?.state === "activated" &&
    String(await caches.keys()) === String(names) && (await caches.match("/"));
  while (!(await found())) await new Promise((again) => setTimeout(again, 50));
}
"""


async def version(page: Page) -> str:
    """Of which release the page is that shows."""
    address = await page.get_attribute("script[type=module]", "src")
    found = re.fullmatch(r"/assets/([0-9a-f]{16})/(?:app|race).js", address or "")
    assert found is not None, address
    return found[1]


async def kept(page: Page) -> None:
    """Wait until the browser keeps the page's release, and no other."""
    await page.evaluate(KEPT, await version(page))


async def test_without_a_server_the_page_opens_and_goes_on_when_it_is_back(visit: Visit, own_server: Server) -> None:
    visitor = await visit(settings=TEN, server=own_server, may_lose_server=True)
    await kept(visitor.page)
    own_server.kill()
    await visitor.page.reload()
    await visitor.notice("No connection")
    assert await visitor.page.is_visible("#text .ghost"), "where the text will stand"
    await asyncio.to_thread(own_server.start)
    await visitor.ready()
    await visitor.type(await visitor.typed_text())
    await visitor.state("stored")


async def test_an_own_text_is_typed_without_a_server_and_handed_in_when_it_is_back(
    visit: Visit, own_server: Server
) -> None:
    """From its first key on nobody but this browser knows of it; then its result is stored, and it has an address."""
    visitor = await visit(settings=TEXT, server=own_server, may_lose_server=True)
    await kept(visitor.page)
    own_server.kill()
    await visitor.page.reload()
    await visitor.notice("This test needs no server")
    await visitor.ready(offline=True)
    await visitor.type(TEXT["text"], delay_ms=40)
    await visitor.state("unsent")
    mine = visitor.page.url
    await asyncio.to_thread(own_server.start)
    await visitor.state("stored")
    assert visitor.page.url != mine
    assert await visitor.figure("acc") == "100%"
    assert await visitor.logs() == []
    assert visitor.sent("keys") == []
    await visitor.page.reload()
    await visitor.state("stored")
    assert await visitor.figure("acc") == "100%"
    await visitor.page.click("#nav-history")
    await visitor.page.wait_for_selector(".results tbody tr")
    assert await visitor.page.locator(".results tbody tr").count() == 1


@pytest.mark.parametrize("set_since", [False, True], ids=["still ahead", "set since"])
async def test_a_test_of_a_clock_that_ran_ahead_is_kept_once(visit: Visit, own_server: Server, set_since: bool) -> None:
    """The server refuses a start that is yet to come, and says what time it is; by that the page sets it right."""
    visitor = await visit(settings=TEXT, server=own_server, may_lose_server=True, script=AHEAD)
    page = visitor.page
    own_server.kill()
    await page.keyboard.press("Tab")
    await visitor.notice("This test needs no server")
    await visitor.ready(offline=True)
    await page.evaluate("ahead = 3_600_000")
    await page.keyboard.press("Tab")
    await visitor.notice("This test needs no server")
    await visitor.ready(offline=True)
    await visitor.type(TEXT["text"], delay_ms=40)
    await visitor.state("unsent")
    if set_since:
        await page.evaluate("ahead = 0")
    await asyncio.to_thread(own_server.start)
    await visitor.state("stored")
    assert await visitor.logs() == []
    created = await page.evaluate(CREATED)
    assert len(created) == 1
    now_ms = time.time() * 1000
    assert now_ms - 600_000 < created[0] < now_ms
    visitor.complaints = [text for text in visitor.complaints if "422" not in text]


async def test_what_was_begun_without_a_server_is_scored_live_once_there_is_one(
    visit: Visit, own_server: Server
) -> None:
    """Before its first key; after it the test is typed on as it is."""
    visitor = await visit(settings={"mode": "zen"}, server=own_server, may_lose_server=True)
    for typed in ("", "free "):
        own_server.kill()
        await visitor.page.keyboard.press("Tab")
        await visitor.notice("This test needs no server")
        await visitor.ready(offline=True)
        await visitor.type(typed)
        starts = len(visitor.got("started"))
        readies = len(visitor.got("ready"))
        await asyncio.to_thread(own_server.start)
        await visitor.until(lambda readies=readies: len(visitor.got("ready")) > readies)  # type: ignore[misc]
        if typed:
            await visitor.page.wait_for_selector("#notice:empty", state="attached")
            assert len(visitor.got("started")) == starts
        else:
            await visitor.until(lambda starts=starts: len(visitor.got("started")) > starts)  # type: ignore[misc]
            await visitor.ready()
    await visitor.type("as a bird")
    await visitor.page.keyboard.press("Shift+Enter")
    await visitor.state("stored")
    assert await visitor.figure("chars") == "14/0/0/0"
    assert visitor.sent("keys") == []


async def test_a_network_that_is_gone_is_called_so(visit: Visit, own_server: Server) -> None:
    visitor = await visit(settings=TEN, server=own_server, may_lose_server=True)
    await kept(visitor.page)
    own_server.kill()
    await visitor.page.context.set_offline(True)
    await visitor.page.reload()
    await visitor.notice("You are offline")
    await asyncio.to_thread(own_server.start)
    await visitor.page.context.set_offline(False)
    await visitor.ready()
    visitor.complaints = [text for text in visitor.complaints if "ERR_INTERNET_DISCONNECTED" not in text]


async def test_an_unsent_result_shows_in_a_visit_without_a_server(visit: Visit, own_server: Server) -> None:
    """From its address, and as a word about what is kept; it goes out by itself when the server is back."""
    visitor = await visit(settings=TEN, server=own_server, may_lose_server=True)
    await kept(visitor.page)
    text = await visitor.typed_text()
    await visitor.type(text[:9])
    await visitor.until(lambda: bool(visitor.got("tick")))
    own_server.kill()
    await visitor.type(text[9:])
    await visitor.state("unsent")
    await visitor.page.reload()
    await visitor.state("unsent")
    assert await visitor.figure("acc") == "100%"
    await visitor.page.click("#nav-test")
    await visitor.notice("One result is kept here")
    await visitor.page.go_back()
    await asyncio.to_thread(own_server.start)
    await visitor.state("stored")
    assert await visitor.logs() == []


@pytest.fixture(name="tree")
def _tree(tmp_path: Path) -> Path:
    """A copy of the server's code, to become another release; however slow the server is, its worker waits for it."""
    tree = tmp_path / "tree"
    for package in ("config", "gateway", "persistence", "scoring", "session"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    worker = tree / "gateway/web/worker.js"
    patient = worker.read_text().replace("PATIENCE_MS = 3000", "PATIENCE_MS = 3_600_000")
    assert patient != worker.read_text()
    worker.write_text(patient)
    return tree


@pytest.fixture(name="changing")
def _changing(tmp_path: Path, tree: Path) -> Iterator[Server]:
    """A running server whose release will change."""
    server = Server(tmp_path / "data", tree=tree)
    server.start()
    yield server
    server.stop()


async def test_a_new_release_is_taken_at_the_next_load_and_never_mixed(
    visit: Visit, changing: Server, tree: Path
) -> None:
    """All files of a load are of one release: the server's where there is one, else the one kept last."""
    asked: list[str] = []

    def note(request: Request) -> None:
        if found := re.search(r"/assets/([^/]+)/", request.url):
            asked.append(found[1])

    visitor = await visit(settings=TEN, server=changing, may_lose_server=True)
    page = visitor.page
    await kept(page)
    first = await version(page)
    changing.kill()
    with (tree / "gateway/web/base.css").open("a") as sheet:
        sheet.write(":root { --release: next; }\n")
    await asyncio.to_thread(changing.start)
    page.on("request", note)
    await page.reload()
    await visitor.ready()
    second = await version(page)
    assert second != first
    assert set(asked) == {second}
    assert await page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--release')") == "next"
    await kept(page)
    changing.kill()
    asked.clear()
    await page.reload()
    await visitor.notice("No connection")
    assert await version(page) == second
    assert set(asked) == {second}


async def test_a_release_that_changes_while_it_is_fetched_is_not_kept(
    visit: Visit, changing: Server, tree: Path
) -> None:
    """Its worker does not install, and what was kept before still opens without a server."""
    worker = tree / "gateway/web/worker.js"
    visitor = await visit(settings=TEN, server=changing, may_lose_server=True)
    page = visitor.page
    await kept(page)
    first = await version(page)
    changing.kill()
    worker.write_text('SHELL.version = "0123456789abcdef";\n' + worker.read_text())
    await asyncio.to_thread(changing.start)
    outcome = await page.evaluate(
        """async () => {
          const registration = await navigator.serviceWorker.getRegistration();
          const ended = new Promise((done) => {
            registration.addEventListener("updatefound", () => {
              const { installing } = registration;
              installing.addEventListener("statechange", () => done(installing.state));
            });
          });
          await registration.update();
          return ended;
        }"""
    )
    assert outcome == "redundant"
    changing.kill()
    await page.reload()
    await visitor.notice("No connection")
    assert await version(page) == first
