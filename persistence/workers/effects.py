"""What follows from stored results: recent lists, leaderboards, notices, analytics, in this order.

None of it is the truth, the store is; each may be done again and comes to the same, or says by the result's id that it
was said before. What cannot be done just now raises, and all of it comes again; what can never be done (a bug, a
refusal) is this result's loss, logged, and holds up nobody.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol, TypeVar

import structlog

from persistence.cache.recent import RecentResults
from persistence.errors import StoreError
from persistence.notices import Doubt, Notice, Notices, doubt_of, notice_of
from persistence.results.bests import Span
from persistence.results.port import Stored, Written
from persistence.workers.analytics import event_of
from persistence.workers.meter import Meter

__all__ = ["Analytics", "Effects", "Ranking"]

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Ranking(Protocol):
    """The leaderboards, as far as they are told of results."""

    async def submit(self, written: Sequence[Written]) -> Sequence[Mapping[Span, int]]:
        """Take note of these; for each the places it has now. Raises a retriable `StoreError`: submit all again."""
        ...

    async def ping(self) -> None:
        """Raise `StoreError` where they do not answer."""
        ...


class Analytics(Protocol):
    """Where analytics events go."""

    async def publish(self, events: Sequence[tuple[int, bytes]]) -> None:
        """Send events, each with its user; when it returns they are durable. Raises a retriable `StoreError`."""
        ...

    async def ping(self) -> None:
        """Raise `StoreError` where events cannot be sent."""
        ...


class Effects:
    """Does what follows, as far as there is somebody to do it. Its parts belong to whoever opened them."""

    def __init__(
        self,
        meter: Meter,
        *,
        recent: RecentResults | None = None,
        boards: Ranking | None = None,
        notices: Notices | None = None,
        analytics: Analytics | None = None,
    ) -> None:
        self._meter = meter
        self._recent = recent
        self._boards = boards
        self._notices = notices
        self._analytics = analytics

    async def follow(self, stored: Sequence[Stored]) -> None:
        """Do it for these. Raises a retriable `StoreError`: do it again, for all of them."""
        ranks: Sequence[Mapping[Span, int]] = [{}] * len(stored)
        if self._recent is not None:
            await self._step("recent", self._recent.stored([one.result for one in stored]), None)
        if self._boards is not None:
            ranks = await self._step("boards", self._boards.submit([one.written for one in stored]), ranks)
        notices = [notice_of(one.result.user, one.written, places) for one, places in zip(stored, ranks, strict=True)]
        doubts = [doubt for one in stored if (doubt := doubt_of(one)) is not None]
        news: list[Notice | Doubt] = [*doubts, *(notice for notice in notices if notice is not None)]
        if self._notices is not None and news:
            await self._step("notices", self._notices.tell(news), None)
        if self._analytics is not None:
            events = [
                (one.result.user, event_of(one.result, one.written, notice))
                for one, notice in zip(stored, notices, strict=True)
            ]
            await self._step("analytics", self._analytics.publish(events), None)

    async def _step(self, name: str, work: Awaitable[T], otherwise: T) -> T:
        began = time.perf_counter()
        try:
            return await work
        except StoreError as error:
            if error.retriable:
                raise
            log.error("what follows from stored results failed", step=name, why=str(error))
        except Exception:
            log.exception("what follows from stored results failed", step=name)
        finally:
            self._meter.step(name, time.perf_counter() - began)
        return otherwise

    async def ping(self) -> None:
        """Raise `StoreError` where `follow` would fail just now."""
        for part in (self._boards, self._notices, self._analytics):
            if part is not None:
                await part.ping()
