"""A real server, one real browser for the folder, and pages that tolerate no complaint of the browser's."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, WebSocket, async_playwright, expect

from loadtest.servers.process import unused_port

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    # Else each context has another renderer or two for an address bar that nobody sees: two thirds of all work.
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup,HttpsUpgrades",
]
HERE = Path(__file__).parent
PATIENCE_S = 120.0
expect.set_options(timeout=PATIENCE_S * 1000)
COMMAND = [sys.executable, "-m", "gateway.cli", "serve", "--no-admin"]
READY = re.compile(rb"open (http://\S+)")

# What the page's own content policy or the types that it demands would stop is noted, whether or not it shows.
NOTE_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`);
});
"""
NOTE_SHIFTS = """
window.shift = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""

NOTE_SAYINGS = """
window.said = { notice: [], announcer: [] };
addEventListener("DOMContentLoaded", () => {
  for (const [id, lines] of Object.entries(window.said)) {
    const line = document.getElementById(id);
    const note = () => line.textContent && lines.push(line.textContent);
    if (!line) continue;
    note();
    new MutationObserver(note).observe(line, { childList: true, characterData: true, subtree: true });
  }
});
"""
"""Much of what a page says goes by itself after a while, or is followed by something else."""

HEARD = """
([id, part]) => {
  const lines = window.said[id];
  const at = lines.findIndex((line) => line.toLowerCase().includes(part.toLowerCase()));
  return at >= 0 && lines.splice(0, at + 1)[at];
}
"""

LOST = re.compile(
    r"net::ERR_(CONNECTION|EMPTY_RESPONSE|SOCKET|INCOMPLETE|CONTENT_LENGTH)"
    r"|WebSocket is closed before the connection is established"
    r"|Connection closed before receiving a handshake response"
    r"|(response code:|status of) 503"
)
"""How the browser complains of a server that goes, in whatever moment it does, or is about to go."""

STILL = """
async () => {
  for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
  const ended = document.getAnimations().filter((one) => one instanceof CSSTransition).map((one) => one.finished);
  await Promise.allSettled(ended);
}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder drives the browser, on the loop that the browser lives on."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


QUICK_RACES = {
    "TYPEGATE_RACE_READY_MS": "300",
    "TYPEGATE_RACE_COUNTDOWN_MS": "2500",
    "TYPEGATE_RACE_PUBLIC_MS": "600000",
    "TYPEGATE_RACE_AWAY_MS": "600000",
    "TYPEGATE_RACE_SHORTEST_MS": "600000",
    "TYPEGATE_RACE_CLOSING_MS": "600000",
    "TYPEGATE_RACE_CLOSING_MOST_MS": "600000",
    "TYPEGATE_RACE_VERDICTS_MS": "600000",
    "TYPEGATE_ROOMS_BURST": "100",
}
"""Races that begin soon, and in which nothing ends by time alone."""


class Server:
    """`typegate serve` as a process of its own, which can be killed and started again on the same port and data."""

    def __init__(
        self, data: Path, *arguments: str, tree: Path | None = None, variables: Mapping[str, str] | None = None
    ) -> None:
        self.data = data
        self.arguments = arguments
        self.tree = tree
        """Where the server's code lies; None: where this one does."""
        self.variables = variables or {}
        """Settings, as the environment has them."""
        self.port = 0
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it says its address."""
        self.data.mkdir(parents=True, exist_ok=True)
        self.port = self.port or unused_port()  # none that a client may be given while the server is away
        with (self.data / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*COMMAND, "--port", str(self.port), "--data", str(self.data), *self.arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.tree,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.variables},
            )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := READY.search(line):
                self.url = found[1].decode()
                return
        raise RuntimeError(f"the server did not start: {(self.data / 'server.log').read_text()[-2000:]}")

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        return self._process is not None

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as an operator would, twice: at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._end(signal.SIGTERM)

    def _end(self, sign: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(sign)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that most tests share: each has a browser context, and so a guest, of its own."""
    shared = Server(tmp_path_factory.mktemp("typegate"))
    shared.start()
    yield shared
    shared.stop()


@pytest.fixture(scope="session")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A second server, for the tests that kill one."""
    own = Server(tmp_path_factory.mktemp("mortal"))
    yield own
    own.stop()


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of quick races."""
    server = Server(tmp_path_factory.mktemp("races"), variables=QUICK_RACES)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_server(mortal: Server) -> Server:
    """A running server that the test may kill."""
    if not mortal.runs:
        mortal.start()
    return mortal


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for all."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=PATIENCE_S * 1000)
        yield browser
        await browser.close()


@dataclass
class Visitor:
    """A page with what its tests do and ask all the time."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    """Console errors, exceptions, requests to anywhere else."""
    frames: list[dict[str, Any]] = field(default_factory=list)
    """Messages sent and received, in order, each with `way`: > or <."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with every message."""

    async def typed_text(self) -> str:
        """The text of the test at hand."""
        return await self.page.locator("#passage").text_content() or ""

    async def ready(self, *, offline: bool = False) -> None:
        """Wait until there is a text, and the field has the focus; `offline`: a text that no server knows of.

        Where the connection takes long, a page begins without it and begins anew once it is there.
        """
        known = "[data-offline]" if offline else ":not([data-offline])"
        await self.page.wait_for_selector(f"#typing:not(.waiting){known} .text .w")
        if await self.page.is_visible(".unfocused .with-touch"):
            await self.page.tap(".unfocused")
        await self.page.wait_for_selector("#field:focus")

    async def type(self, text: str, *, delay_ms: float = 12) -> None:
        """Type with the hardware keyboard."""
        await self.page.keyboard.type(text, delay=delay_ms)

    async def marks(self, name: str) -> list[str]:
        """The pieces of text that stand marked so."""
        pieces: list[str] = await self.page.evaluate(
            "name => Array.from(CSS.highlights.get(name) ?? [], range => range.toString()).filter(Boolean)", name
        )
        return pieces

    async def state(self, wanted: str) -> None:
        """Wait for the result to have come so far."""
        await self.page.wait_for_selector(f"#result:not([hidden]) .state[data-state={wanted}]")

    async def notice(self, part: str) -> str:
        """Wait until the line under the text has said something with this in it, after what was waited for before."""
        return await self._heard("notice", part)

    async def announced(self, part: str) -> str:
        """The same of what a screen reader is told."""
        return await self._heard("announcer", part)

    async def _heard(self, line: str, part: str) -> str:
        heard = await self.page.wait_for_function(HEARD, arg=[line, part])
        sentence: str = await heard.json_value()
        return sentence

    async def still(self) -> None:
        """Wait until what the page had to show is shown, and nothing glides or fades any more."""
        await self.page.evaluate(STILL)

    async def figure(self, name: str) -> str:
        """A figure of the result that is shown."""
        return await self.page.inner_text(f"[data-figure={name}] dd")

    async def logs(self) -> list[str]:
        """The sessions that the browser keeps a log of."""
        names: list[str] = await self.page.evaluate("Object.keys(localStorage)")
        return [name.split(".")[2] for name in names if re.fullmatch(r"typegate\.log\.[0-9a-f-]+", name)]

    def sent(self, t: str) -> list[dict[str, Any]]:
        """Messages of a kind that the page sent."""
        return [frame for frame in self.frames if frame["way"] == ">" and frame["t"] == t]

    def got(self, t: str) -> list[dict[str, Any]]:
        """Messages of a kind that came."""
        return [frame for frame in self.frames if frame["way"] == "<" and frame["t"] == t]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the messages so far fulfil this."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.news.clear()
                await self.news.wait()


Visit = Callable[..., Awaitable[Visitor]]


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[Visit]:
    """Opens the page: `await visit(settings={...}, server=..., context=..., ready=True, **context options)`.

    At the end no page may have complained: no console error, no exception, no violation of the content policy, no
    request to another origin. `may_lose_server=True` allows what a lost server brings about.
    """
    visitors: list[tuple[Visitor, bool]] = []
    contexts: list[BrowserContext] = []

    async def opened(
        *,
        settings: dict[str, Any] | None = None,
        server: Server | None = None,
        context: BrowserContext | None = None,
        ready: bool = True,
        may_lose_server: bool = False,
        script: str = "",
        path: str = "",
        **options: Any,
    ) -> Visitor:
        at = server or request.getfixturevalue("server")
        if context is None:
            context = await browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
            contexts.append(context)
            context.set_default_timeout(PATIENCE_S * 1000)
            chosen = json.dumps(json.dumps(settings or {}))
            await context.add_init_script(
                f"if (!localStorage.getItem('typegate.settings')) localStorage.setItem('typegate.settings', {chosen});"
            )
            await context.add_init_script(NOTE_VIOLATIONS + NOTE_SHIFTS + NOTE_SAYINGS + script)
        page = await context.new_page()
        visitor = Visitor(page, at.url)
        visitors.append((visitor, may_lose_server))
        _listen(visitor)
        await page.goto(at.url + path)
        if ready:
            await visitor.ready()
        return visitor

    yield opened
    for visitor, _ in visitors:
        if not visitor.page.is_closed():
            visitor.complaints += await visitor.page.evaluate("window.violations ?? []")
    for context in contexts:
        await context.close()
    for visitor, may_lose_server in visitors:
        heard = [text for text in visitor.complaints if not (may_lose_server and LOST.search(text))]
        assert heard == [], visitor.url


def whole(figure: float) -> str:
    """A figure as the page rounds it: half up, and not to the even number as Python does."""
    return str(int(figure + 0.5))


def _listen(visitor: Visitor) -> None:
    page, complaints = visitor.page, visitor.complaints

    def frame(way: str, payload: str | bytes) -> None:
        visitor.frames.append({"way": way, **json.loads(payload)})
        visitor.news.set()

    def console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    def websocket(socket: WebSocket) -> None:
        socket.on("framesent", lambda payload: frame(">", payload))
        socket.on("framereceived", lambda payload: frame("<", payload))

    page.on("console", console)
    page.on("pageerror", lambda error: complaints.append(f"{error}"))
    page.on("request", lambda sent: None if _own(sent.url, visitor.url) else complaints.append(sent.url))
    page.on("websocket", websocket)


def _own(url: str, origin: str) -> bool:
    return url.startswith((origin, "data:", "blob:"))
