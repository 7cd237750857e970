"""The page without a network: it opens all the same, keeps what was typed, and a new release replaces it as a whole."""

import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, Request

from tests.gateway.running import ROOT
from tests.gateway.web.conftest import Server, Visit

TEXT = {"mode": "text", "text": "the page is kept and so is what you type"}

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
    found = re.fullmatch(r"/assets/([0-9a-f]{16})/app.js", address or "")
    assert found is not None, address
    return found[1]


async def kept(page: Page) -> None:
    """Wait until the browser keeps the page's release, and no other."""
    await page.evaluate(KEPT, await version(page))


async def test_without_a_server_the_page_opens_and_goes_on_when_it_is_back(visit: Visit, own_server: Server) -> None:
    visitor = await visit(settings=TEXT, server=own_server, may_lose_server=True)
    await kept(visitor.page)
    own_server.kill()
    await visitor.page.reload()
    await visitor.notice("No connection")
    assert await visitor.page.is_visible("#text .ghost"), "where the text will stand"
    await asyncio.to_thread(own_server.start)
    await visitor.ready()
    await visitor.type(TEXT["text"])
    await visitor.state("stored")


async def test_a_network_that_is_gone_is_called_so(visit: Visit, own_server: Server) -> None:
    visitor = await visit(settings=TEXT, server=own_server, may_lose_server=True)
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
    visitor = await visit(settings=TEXT, server=own_server, may_lose_server=True)
    await kept(visitor.page)
    await visitor.type(TEXT["text"][:9])
    await visitor.until(lambda: bool(visitor.got("tick")))
    own_server.kill()
    await visitor.type(TEXT["text"][9:])
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
    """A copy of the server's code, for another release."""
    tree = tmp_path / "tree"
    for package in ("config", "gateway", "persistence", "scoring", "session"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tree


@pytest.fixture(name="changing")
def _changing(tmp_path: Path) -> Iterator[Server]:
    """A running server whose release will change."""
    server = Server(tmp_path / "data")
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

    with (tree / "gateway/web/base.css").open("a") as sheet:
        sheet.write(":root { --release: next; }\n")
    visitor = await visit(settings=TEXT, server=changing, may_lose_server=True)
    page = visitor.page
    page.on("request", note)
    await kept(page)
    first = await version(page)
    changing.kill()
    changing.tree = tree
    await asyncio.to_thread(changing.start)
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
    worker.write_text('SHELL.version = "0123456789abcdef";\n' + worker.read_text())
    visitor = await visit(settings=TEXT, server=changing, may_lose_server=True)
    page = visitor.page
    await kept(page)
    first = await version(page)
    changing.kill()
    changing.tree = tree
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
