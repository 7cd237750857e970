"""Bans as one process holds to them: known from the store, looked up at the door, and those who are here sent off.

All bans are in memory (`bans.most` of them at the most), so a look-up asks nobody. A process looks whether there was a
change when it is told so over the bus, when it may have missed that, and now and then, and reads what changed; all of
it at its start, and where the store does not know any more what changed since. So a change is seen by all within a
second: over Redis at once, without one, and while it is away, by looking every `bans.look_ms`. While the store is away
what was read before holds. A process that starts then goes by what the last one on its data folder had read, and where
there was none lets everybody in; it says so, and reads all as soon as it can.

The connections of whoever is banned are closed with 4505. What they were typing becomes no result: it is held as after
any lost connection, and its client, which has ticket and log, may go on where the ban ends before the ticket does.
Results that were there before go their way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, Self

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.bus import Bus
from gateway.hub import Hub
from persistence.bans import Ban, BanChanges, BanCopy, BanIndex, BanOptions, BanStore
from persistence.errors import StoreError

__all__ = ["CHANNEL", "BanFacts", "Bans", "families", "sending_off"]

CHANNEL = "bans"
TOLD_TIMES = 10
"""So much more rarely is it looked while changes are told over the bus."""
ANEW_S = 3600.0
"""After so long all are read again at the next change: so those go that are over."""
COPIED_S = 10.0
"""A copy is made no oftener: each is one of all bans."""
_AT_ONCE = 100
"""Connections whose address is looked up in one step: 0.1 ms."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class BanFacts:
    """What bans came to in this process; counts only."""

    refused_address: int = 0
    """WebSockets and requests of banned addresses."""
    refused_user: int = 0
    """WebSockets and requests of banned users."""
    readings: int = 0
    """Times that all bans were read."""
    changes: int = 0
    """Changes that were read since."""


class Bans:
    """One for a process. An async context manager: entering reads the bans, if they can be read.

    `copy`: where to keep what was read, for a start while the store is away. `told`: whether changes are told over the
    bus by whoever makes them. `new` is called with bans that were not there before.
    """

    def __init__(
        self,
        store: BanStore,
        bus: Bus,
        options: BanOptions,
        *,
        copy: BanCopy | None = None,
        told: bool,
        epoch_ms: Callable[[], int],
        new: Callable[[BanIndex], None],
    ) -> None:
        self.facts = BanFacts()
        self._store = store
        self._bus = bus
        self._copy = copy
        self._look_s = options.look_ms / 1000
        self._by_bus = told
        self._epoch_ms = epoch_ms
        self._new = new
        self._index = BanIndex()
        self._mark: bytes | None = None
        """Of what was read last; None before the first time."""
        self._anew_s = float("-inf")
        self._copied: bytes | None = None
        """Of what the copy has."""
        self._copied_s = float("-inf")
        self.by_copy = False
        """Whether what holds is an earlier process's word."""
        self._fault: str | None = None
        self._look = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._tried()
        if self._mark is None and self._copy is not None:
            await self._go_by(self._copy)
        self._subscription = self._bus.subscribe(CHANNEL, self._told, resync=self._look.set)
        self._task = asyncio.get_running_loop().create_task(self._looking(), name="bans")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._subscription.close()
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._keep()

    def __len__(self) -> int:
        return len(self._index)

    async def ping(self) -> None:
        """Raise `StoreError` where the bans could not be read when it was last tried."""
        if self._fault is not None:
            raise StoreError(self._fault, retriable=True)

    def user(self, user: int) -> Ban | None:
        """The ban of a user who is at the door, which is counted."""
        ban = self._index.user(user, now_ms=self._epoch_ms())
        if ban is not None:
            self.facts.refused_user += 1
        return ban

    def address(self, address: str) -> Ban | None:
        """The ban of an address that is at the door, which is counted."""
        if not self._index.of_addresses:
            return None
        ban = self._index.address(address, now_ms=self._epoch_ms())
        if ban is not None:
            self.facts.refused_address += 1
        return ban

    def _told(self, message: Any) -> None:
        """Somebody changed the bans; what it says is no more than a reason to look."""
        self._look.set()

    async def _looking(self) -> None:
        rests = 0
        await self._keep()
        while True:
            try:
                async with asyncio.timeout(self._look_s):
                    await self._look.wait()
            except TimeoutError:
                rests += 1
                if rests < TOLD_TIMES and await self._is_told():
                    continue
            rests = 0
            self._look.clear()
            await self._tried()
            if asyncio.get_running_loop().time() >= self._copied_s + COPIED_S:
                await self._keep()

    async def _is_told(self) -> bool:
        """Whether we would have been told of a change."""
        if not self._by_bus:
            return False
        try:
            await self._bus.ping()
        except Exception:  # whatever is wrong with it, its owner says so; we look for ourselves
            return False
        return True

    async def _tried(self) -> None:
        """Read the bans where there was a change; what is wrong is logged, once."""
        try:
            mark = await self._store.mark()
            if mark != self._mark:
                now_s = asyncio.get_running_loop().time()
                known = self._mark if now_s < self._anew_s else None
                changes = None if known is None else await self._store.since(known)
                if changes is None:
                    self._anew_s = now_s + ANEW_S
                    await self._take(await self._store.read(now_ms=self._epoch_ms()))
                    self._mark = mark  # read before them: a change meanwhile is seen the next time
                else:
                    self._change(changes)
                    self._mark = changes.mark
        except StoreError as fault:
            if self._fault is None:
                log.error("the bans cannot be read; those that were read before hold", why=str(fault))
            self._fault = str(fault)
        except Exception:
            self._fault = "the bans cannot be understood; the log says why"
            log.exception("the bans cannot be understood; those that were read before hold")
        else:
            if self._fault is not None:
                log.info("the bans can be read again")
            self._fault = None

    async def _take(self, bans: Iterable[Ban]) -> None:
        """These are all."""
        self._index, new = await asyncio.to_thread(_indexes, tuple(bans), self._index)
        self.facts.readings += 1
        self.by_copy = False
        if len(new):
            self._new(new)

    def _change(self, changes: BanChanges) -> None:
        """This became of them."""
        for who in changes.ended:
            self._index.drop(who)
        new = BanIndex(ban for ban in changes.made if self._index.put(ban))
        self.facts.changes += len(changes.ended) + len(changes.made)
        if len(new):
            self._new(new)

    # -- the copy ------------------------------------------------------------------------------------------------

    async def _go_by(self, copy: BanCopy) -> None:
        """Begin with what an earlier process read: the store is away."""
        copied = await asyncio.to_thread(copy.load, now_ms=self._epoch_ms())
        if copied is None:
            log.error("there is no copy of the bans; until they can be read nobody is banned")
            return
        self._index, _ = await asyncio.to_thread(_indexes, copied.bans, self._index)
        self.by_copy = True
        read = datetime.fromtimestamp(copied.read_ms / 1000, UTC)
        log.warning("bans are those of a copy until they can be read", bans=len(copied.bans), of=f"{read:%F %T} UTC")

    async def _keep(self) -> None:
        """Have a copy of what was read."""
        if self._copy is not None and self._mark != self._copied:
            self._copied, self._copied_s = self._mark, asyncio.get_running_loop().time()
            await asyncio.to_thread(self._copy.save, tuple(self._index.bans), now_ms=self._epoch_ms())


def _indexes(bans: tuple[Ban, ...], before: BanIndex) -> tuple[BanIndex, BanIndex]:
    """All of them, and those that were not there before. Takes a moment: not for the event loop."""
    known = frozenset(before.bans)
    return BanIndex(bans), BanIndex(ban for ban in bans if ban not in known)


def sending_off(hub: Hub, new: BanIndex) -> None:
    """Close the connections of whoever is banned, a few at a time. Whoever comes meanwhile is refused at the door."""
    now_ms = hub.epoch_ms()
    for ban in new.bans:
        if isinstance(ban.who, int) and not ban.over(now_ms):
            for connection in hub.of(ban.who):
                connection.ban(ban.told)
    if new.of_addresses:
        hub.slices.run(_by_address(hub, new, now_ms), _done, partial(log.error, "banned addresses were not sent off"))


def _by_address(hub: Hub, new: BanIndex, now_ms: int) -> Generator[None, None, None]:
    for number, connection in enumerate(tuple(hub.connections)):
        if number % _AT_ONCE == _AT_ONCE - 1:
            yield
        ban = new.address(connection.address, now_ms=now_ms)
        if ban is not None:
            connection.ban(ban.told)


def _done(_: None) -> None:
    """Nobody waits for it."""


def families(bans: Bans) -> Iterable[Metric]:
    """What operators see of bans."""
    facts = bans.facts
    yield GaugeMetricFamily("typegate_bans", "Bans that this process knows", value=len(bans))
    refused = CounterMetricFamily("typegate_bans_refused", "WebSockets and requests refused by a ban", labels=["of"])
    refused.add_metric(["address"], facts.refused_address)
    refused.add_metric(["user"], facts.refused_user)
    yield refused
    why = "1 while bans are those of a copy, since they cannot be read"
    yield GaugeMetricFamily("typegate_bans_by_copy", why, value=bans.by_copy)
    yield CounterMetricFamily("typegate_bans_readings", "Times that all bans were read", value=facts.readings)
    yield CounterMetricFamily("typegate_bans_changes", "Changes of bans that were read since", value=facts.changes)
