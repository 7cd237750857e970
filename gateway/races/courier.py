"""What the rooms of this node tell other nodes of their progress: a message a node, however many rooms are in it.

    rooms, in one turn of the loop ─> tell ─┬─> races:{node a} ─> heard ─> their rooms there
                                            └─> races:{node b}

What the rooms of one turn have for a node goes together, on that node's own channel. So nobody hears what is for
others, or what it said itself; and what it costs to say and to hear something is shared by all rooms of the moment.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from gateway.bus import Bus
from gateway.races.facts import RoomFacts

if TYPE_CHECKING:
    from gateway.races.progress import Row
    from gateway.races.sharing import Sharing

__all__ = ["Courier", "channel_of"]

MOST_ROOMS = 32
"""Rooms in one message: some 2 ms of work where it is heard, so that nothing holds that loop for longer."""

MOST_ROWS = 1_000
"""Beyond so many rows a message is sent, too: with a room more it has 24 KB at the most."""

SLICE_MS = 3.0
"""Rooms that have waited long enough are served for no longer than this at once."""

MISHEARD_RACE = "?"

_Entry: TypeAlias = "tuple[str, list[Row], bool]"
"""A race, the rows of it that are told, and whether they answer something."""


def channel_of(node: str) -> str:
    """Where a node hears what other nodes' rooms tell it."""
    return f"races:{node}"


class Courier:
    """One a process. `heard` is given what other nodes tell: race, node, rows, and whether that answers what we told;
    it raises for what makes no sense.

    `missed` is called when some of it may not have come, `misheard` with a race and why for what makes no sense.
    """

    def __init__(
        self,
        bus: Bus,
        loop: asyncio.AbstractEventLoop,
        facts: RoomFacts,
        *,
        node: str,
        heard: Callable[[str, str, Any, bool], None],
        missed: Callable[[], None],
        misheard: Callable[[str, Exception], None],
    ) -> None:
        self.node = node
        self._bus = bus
        self._loop = loop
        self._facts = facts
        self._hear = heard
        self._misheard = misheard
        self._letters: dict[str, list[_Entry]] = {}
        self._rows: dict[str, int] = {}
        """Rows in each letter of this turn."""
        self._sending = False
        self._waiting: deque[tuple[float, Sharing]] = deque()
        """Rooms that wait for other nodes, and until when: all wait equally long, so the first is due first."""
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._subscription = bus.subscribe(channel_of(node), self._heard, resync=missed)

    def close(self) -> None:
        """Hear and wait for nothing any more."""
        self._subscription.close()
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()
        self._letters.clear()

    # --- telling ---

    def tell(self, node: str, race: str, rows: list[Row], *, answer: bool = False) -> None:
        """Tell a node these rows of a race, with this turn's others; without any it is told that there are none.

        `answer`: because it has told, or asked for, something.
        """
        letter = self._letters.get(node)
        if letter is None:
            letter = self._letters[node] = []
            self._rows[node] = 0
            if not self._sending:
                self._sending = True
                self._loop.call_soon(self._send)
        letter.append((race, rows, answer))
        count = self._rows[node] = self._rows[node] + len(rows)
        if len(letter) >= MOST_ROOMS or count >= MOST_ROWS:
            del self._letters[node]
            self._post(node, letter)

    def _send(self) -> None:
        self._sending = False
        letters, self._letters = self._letters, {}
        self._rows.clear()
        for node, letter in letters.items():
            self._post(node, letter)

    def _post(self, node: str, letter: list[_Entry]) -> None:
        try:
            self._bus.post(channel_of(node), ["p", self.node, letter])
        except ValueError:  # longer than the bus may be told to bring
            if len(letter) == 1:
                raise
            half = len(letter) // 2
            self._post(node, letter[:half])
            self._post(node, letter[half:])
        else:
            self._facts.posted += 1

    # --- hearing ---

    def _heard(self, message: Any) -> None:
        match message:
            case ["p", str(node), list(letter), *_]:
                for entry in letter:
                    match entry:
                        case [str(race), list(rows), bool(answer), *_]:
                            try:
                                self._hear(race, node, rows, answer)
                            except (ValueError, TypeError) as fault:
                                self._misheard(race, fault)
                        case _:
                            self._misheard(MISHEARD_RACE, ValueError(f"nothing that is said of a race: {entry!r:.80}"))
            case _:
                self._misheard(MISHEARD_RACE, ValueError(f"nothing that is said of races: {message!r:.80}"))

    # --- waiting for others ---

    def wait(self, sharing: Sharing, until_ms: float) -> None:
        """Have a room's progress sent at an instant of the loop's clock, if it still waits for others by then."""
        self._waiting.append((until_ms, sharing))
        if self._timer is None:
            self._timer = self._loop.call_at(until_ms / 1000, self._overdue)

    def _overdue(self) -> None:
        self._timer = None
        waiting, clock = self._waiting, self._loop.time
        now_ms = clock() * 1000
        limit_ms = now_ms + SLICE_MS
        while waiting and waiting[0][0] <= now_ms + 1:  # the loop's timers are whole milliseconds
            until_ms, sharing = waiting.popleft()
            sharing.overdue(until_ms)
            if clock() * 1000 >= limit_ms:
                break
        if waiting:
            self._timer = self._loop.call_at(waiting[0][0] / 1000, self._overdue)
