"""The race's clock as a page knows it (race-clock.js): the median of what `hb` says and how long the way was."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

from tests.simulation.log import Message
from tests.simulation.world import Timer, cancel

if TYPE_CHECKING:
    from tests.simulation.page import Page

READINGS: Final = 9
AT_FIRST: Final = 5
FIRST_MS: Final = 120
THEN_MS: Final = 5_000


class RaceClock:
    """One a page."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._offsets: list[float] = []
        self._left = 0
        self._fresh = False
        self._timer: Timer | None = None

    def connected(self) -> None:
        """There is a new connection: other servers have other clocks by a little."""
        cancel(self._timer)
        self._left, self._fresh = AT_FIRST, True
        self._ask()

    def _ask(self) -> None:
        page = self._page
        if not page.link.send({"t": "hb", "c": page.browser.clock_ms()}):
            return
        if self._fresh:
            self._offsets = self._offsets[-1:]
        self._fresh = False
        self._left -= 1
        self._timer = page.timer(FIRST_MS if self._left > 0 else THEN_MS, self._ask)

    def heard(self, message: Message) -> None:
        """An answer has come."""
        there, asked, now = message.get("s"), message.get("c"), self._page.browser.clock_ms()
        if there is not None and asked is not None and asked <= now:
            self._offsets.append(there - (asked + now) / 2)
            del self._offsets[:-READINGS]

    @property
    def is_set(self) -> bool:
        """Whether anything was heard of it: before that nobody is told to go."""
        return bool(self._offsets)

    def at(self, ms: float) -> float:
        """The page's clock at an instant of the race's."""
        browser = self._page.browser
        return ms - (median(self._offsets) if self._offsets else browser.wall_ms() - browser.clock_ms())
