"""What follows from stored results, in which order, and what becomes of it when one of the parts fails."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from persistence.cache import MemoryCache, RecentResults
from persistence.errors import StoreError
from persistence.notices import Doubt, Notice
from persistence.results import SqliteResults, Stored, Written
from persistence.results.bests import Span
from persistence.workers.effects import Effects
from persistence.workers.meter import Meter
from session.identity import session_to_text
from tests.persistence.samples import sample


class Part:
    """A part that is told things, and fails where it is said to."""

    def __init__(self, name: str, told: list[tuple[str, object]]) -> None:
        self.name = name
        self.told = told
        self.fault: Exception | None = None

    async def _tell(self, what: object) -> None:
        if self.fault is not None:
            raise self.fault
        self.told.append((self.name, what))

    async def submit(self, written: Sequence[Written]) -> list[Mapping[Span, int]]:
        await self._tell([one.session for one in written])
        return [{Span.DAY: place, Span.ALL: 10 + place} for place in range(1, 1 + len(written))]

    async def tell(self, notices: Sequence[Notice | Doubt]) -> None:
        await self._tell([(one.user, one.verdict if isinstance(one, Doubt) else dict(one.ranks)) for one in notices])

    async def publish(self, events: Sequence[tuple[int, bytes]]) -> None:
        await self._tell([(user, json.loads(event)["id"], json.loads(event)["notice"]) for user, event in events])

    async def ping(self) -> None:
        if self.fault is not None:
            raise self.fault


class Steps(Meter):
    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, name: str, seconds: float) -> None:
        self.steps.append(name)


class Parts:
    """All of them on a real store, and what they were told."""

    def __init__(self, store: SqliteResults) -> None:
        self.told: list[tuple[str, object]] = []
        self.meter = Steps()
        self.store = store
        self.recent = RecentResults(MemoryCache(), store)
        self.boards, self.notices, self.analytics = (Part(n, self.told) for n in ("boards", "notices", "analytics"))
        self.effects = Effects(
            self.meter, recent=self.recent, boards=self.boards, notices=self.notices, analytics=self.analytics
        )

    async def stored(self) -> list[Stored]:
        """Three results in the store: an account's that is a best, a guest's, and one under review."""
        results = [
            replace(sample(1, user=7), seconds=60),
            replace(sample(2, user=-3), seconds=60),
            replace(sample(3, user=8), seconds=60, verdict="review"),
        ]
        return [Stored(*pair) for pair in zip(results, await self.store.write(results), strict=True)]


@pytest.fixture(name="parts")
async def _parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with SqliteResults(tmp_path / "results.db") as store:
        yield Parts(store)


async def test_everything_follows_in_order(parts: Parts) -> None:
    """A notice goes to whom it is good news, with the places; an event for each, with the notice in it."""
    stored = await parts.stored()
    await parts.effects.follow(stored)
    sessions = [one.result.session for one in stored]
    ids = [session_to_text(session) for session in sessions]
    (boards, told, analytics) = parts.told
    assert boards == ("boards", sessions)
    assert told == ("notices", [(7, {Span.DAY: 1, Span.ALL: 11})])
    name, events = analytics
    assert name == "analytics"
    assert isinstance(events, list)
    assert [(user, event_id) for user, event_id, _ in events] == list(zip((7, -3, 8), ids, strict=True))
    assert [notice and notice["ranks"] for _, _, notice in events] == [{"day": 1, "all": 11}, None, None]
    assert parts.meter.steps == ["recent", "boards", "notices", "analytics"]


async def test_a_verdict_that_has_become_stricter_is_told(parts: Parts) -> None:
    """Before any good news: of who typed a test that was played again, or of which there is another log."""
    first, second, _ = await parts.stored()
    other = replace(second.result, core_hash=bytes(16))
    (conflict,) = await parts.store.write([other])
    await parts.effects.follow([first, Stored(other, conflict), second._replace(doubted=True)])
    assert parts.told[1] == ("notices", [(-3, "review"), (7, {Span.DAY: 1, Span.ALL: 11})])


async def test_a_recent_list_that_is_kept_gets_them(parts: Parts) -> None:
    assert await parts.recent.of(7) == []
    stored = await parts.stored()
    await parts.effects.follow(stored)
    assert [result.session for result in await parts.recent.of(7)] == [stored[0].result.session]


@pytest.mark.parametrize("name", ["boards", "notices", "analytics"])
async def test_what_cannot_be_done_now_comes_again_whole(parts: Parts, name: str) -> None:
    part: Part = getattr(parts, name)
    stored = await parts.stored()
    part.fault = StoreError("away", retriable=True)
    with pytest.raises(StoreError, match="away"):
        await parts.effects.follow(stored)
    with pytest.raises(StoreError, match="away"):
        await parts.effects.ping()
    part.fault = None
    await parts.effects.ping()
    parts.told.clear()
    await parts.effects.follow(stored)
    assert [name for name, _ in parts.told] == ["boards", "notices", "analytics"]


@pytest.mark.parametrize("fault", [RuntimeError("a bug"), StoreError("refused", retriable=False)])
@pytest.mark.parametrize("name", ["boards", "notices", "analytics"])
async def test_what_can_never_be_done_holds_up_nobody(parts: Parts, name: str, fault: Exception) -> None:
    getattr(parts, name).fault = fault
    await parts.effects.follow(await parts.stored())
    assert [told for told, _ in parts.told] == [other for other in ("boards", "notices", "analytics") if other != name]


async def test_a_part_that_is_not_there_is_left_out(parts: Parts) -> None:
    await Effects(parts.meter).follow(await parts.stored())
    await Effects(parts.meter).ping()
    assert parts.meter.steps == []
