"""The shared leaderboards: in Redis, for all processes.

A board says of which run of its server it is complete. A server that was started anew, or a replica that took its
place, is another run: it may have lost what was submitted, so its boards are not used until they are filled again.
Whoever meets a board that is not complete begins to fill it; one process at a time does, by a token that ends with it.
While it does, the old board, where there is one, goes on, and is replaced in the end; what is submitted meanwhile comes
to both, and beats what the filling reads.

A full board has a *floor*, the worst entry that it has had room for. Workers know the floor for some seconds and do not
tell of what is below it. So a filling of a full board, which may lower the floor, first waits for so long.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeAlias

import structlog

from persistence.boards import reading, scripts
from persistence.boards.entries import Entry, best_of, entry_of, user_of
from persistence.boards.port import (
    BoardPage,
    BoardsFacts,
    BoardsOptions,
    Progressed,
    Ranked,
    is_kept,
    is_news,
    kept_until_ms,
)
from persistence.errors import StoreError
from persistence.redis import Answer, Argument, Call, RedisServers, Script
from persistence.results.bests import Board, Period, Span
from persistence.results.port import ResultStore, Written

log = structlog.get_logger(__name__)

Name: TypeAlias = tuple[Board, Period]

_FILLING_MS = 30_000
"""How long a filling outlives whoever does it."""
_FILLINGS = 2
"""Boards that one process fills at a time; others wait for their turn."""
_AGAIN_S = 5.0
"""Rest after a filling that did not come to its end."""
_LOOK_S = 0.1
"""Rest between two looks whether another process has ended its filling."""
_FLOORS = 1_000
"""Boards whose floor is remembered."""
_INDEX = "leaderboards"
"""The set of the names of all boards that were filled, so that a user can be removed from them."""


@dataclass(slots=True)
class _Change:
    """What is to be told to a board."""

    at: int
    span: Span
    user: int
    session: bytes
    entry: Entry | None
    own: bool
    """Whether the entry is the session's own: then its rank is news."""

    def arguments(self) -> tuple[Argument, ...]:
        score, member = self.entry or ("", b"")
        return (_user(self.user), self.session, score, member)


class RedisBoards:
    """`Boards` in Redis. `clock_ms` is the wall clock (epoch ms).

    Floors go by the process's own clock: a wall clock that is set back must neither keep them nor hold up a filling.
    """

    def __init__(
        self,
        servers: RedisServers,
        store: ResultStore,
        options: BoardsOptions | None = None,
        *,
        chance: random.Random | None = None,
        clock_ms: Callable[[], float] = lambda: time.time() * 1000,
    ) -> None:
        self._servers = servers
        self._store = store
        self._options = options or BoardsOptions()
        self._chance = chance or random.Random()
        self._clock_ms = clock_ms
        self._floors: OrderedDict[Name, tuple[Entry, float]] = OrderedDict()
        self._fillings: dict[Name, asyncio.Task[None]] = {}
        self._turn = asyncio.Semaphore(_FILLINGS)
        self._submitted = self._reads = self._fallbacks = self._filled = self._failures = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for filling in self._fillings.values():
            filling.cancel()
        await asyncio.gather(*self._fillings.values(), return_exceptions=True)

    # -- changing ------------------------------------------------------------------------------------------------

    async def submit(self, written: Sequence[Written]) -> list[Mapping[Span, int]]:
        """Take note of what the store told."""
        now_ms = self._clock_ms()
        changes: dict[Name, list[_Change]] = {}
        for at, one in enumerate(written):
            for place, best in one.bests.items():
                if not is_news(one, best) or not is_kept(place.period, now_ms):
                    continue
                own = best is not None and best.session == one.session
                entry = None if best is None else entry_of(best)
                name = (place.board, place.period)
                if own and entry is not None and self._below_floor(name, entry):
                    continue
                change = _Change(at, place.period.span, place.user, one.session, entry, own)
                changes.setdefault(name, []).append(change)
        ranks: list[dict[Span, int]] = [{} for _ in written]
        calls = [
            self._call(
                scripts.SUBMIT, *name, self._options.top, *(part for change in some for part in change.arguments())
            )
            for name, some in changes.items()
        ]
        answers = await self._servers.each(calls)
        fault: StoreError | None = None
        for (name, some), answer in zip(changes.items(), answers, strict=True):
            if isinstance(answer, StoreError):
                fault = answer
            else:
                self._submitted += len(some)
                self._submitted_to(name, some, answer, ranks)
        if fault is not None:
            raise StoreError(str(fault), retriable=True)
        return list(ranks)

    def _submitted_to(
        self, name: Name, changes: Sequence[_Change], answer: Answer, ranks: Sequence[dict[Span, int]]
    ) -> None:
        run, filled_ms, floor, last, filling, hole, places = answer.value
        self._floors.pop(name, None)
        if floor and not filling:
            self._floors[name] = ((int(floor), last), _monotonic_ms() + self._options.floor_ms)
            if len(self._floors) > _FLOORS:
                self._floors.popitem(last=False)
        if hole or not self._complete(name, answer.run, run, filled_ms):
            self._fill_soon(name)
        if run.decode() == answer.run:
            for change, place in zip(changes, map(int, places.split()), strict=True):
                if change.own and place >= 0:
                    ranks[change.at][change.span] = place + 1

    def _below_floor(self, name: Name, entry: Entry) -> bool:
        """Whether a board has no room for an entry, as far as is known and was not long ago."""
        known = self._floors.get(name)
        return known is not None and _monotonic_ms() < known[1] and entry > known[0]

    async def remove(self, user: int) -> None:
        """Take a user from every board."""
        names = await self._known()
        calls = [self._call(scripts.REMOVE, *name, _user(user)) for name in names]
        for name, answer in zip(names, await self._servers.each(calls), strict=True):
            if isinstance(answer, StoreError):
                raise StoreError(str(answer), retriable=True)
            if answer.value:
                self._fill_soon(name)

    async def _known(self) -> list[Name]:
        """The boards that there are; those whose time is over leave the index."""
        index = self._servers.prefix + _INDEX
        answer = await self._servers.ask(Call(index, ("SMEMBERS", index)))
        known, over = [], []
        for text in answer.value:
            name = _named(text.decode())
            if is_kept(name[1], self._clock_ms()):
                known.append(name)
            else:
                over.append(text)
        if over:
            await self._servers.ask(Call(index, ("SREM", index, *over)))
        return known

    # -- reading -------------------------------------------------------------------------------------------------

    async def page(self, board: Board, period: Period, *, offset: int, count: int) -> BoardPage:
        """`count` entries after the first `offset`."""
        found = await self._read((board, period), self._call(scripts.PAGE, board, period, offset, count))
        if found is None:
            return await reading.page(self._store, board, period, self._options.top, offset=offset, count=count)
        return found

    async def around(self, board: Board, period: Period, user: int, *, count: int) -> BoardPage:
        """`count` entries with the user's in the middle."""
        call = self._call(scripts.AROUND, board, period, _user(user), count // 2, count)
        found = await self._read((board, period), call)
        if found is None:
            return await reading.around(self._store, board, period, self._options.top, user, count=count)
        return found

    async def rank(self, board: Board, period: Period, user: int) -> Ranked | None:
        """The user's entry."""
        page = await self.around(board, period, user, count=1)
        return page.entries[0] if page.entries else None

    async def _read(self, name: Name, call: Call) -> BoardPage | None:
        """What a board answers; None where it cannot be asked."""
        self._reads += 1
        try:
            answer = await self._servers.ask(call)
        except StoreError:
            self._fallbacks += 1
            return None
        run, filled_ms, size, offset, entries = answer.value
        if not self._complete(name, answer.run, run, filled_ms):
            self._fill_soon(name)
        if run.decode() != answer.run:
            self._fallbacks += 1
            return None
        pairs = zip(entries[1::2], entries[::2], strict=True)
        ranked = (
            Ranked(rank, best_of((int(score), member), *name)) for rank, (score, member) in enumerate(pairs, offset + 1)
        )
        return BoardPage(tuple(ranked), size)

    def _complete(self, name: Name, server_run: str, run: bytes, filled_ms: int) -> bool:
        """Whether a board need not be filled: it is complete, and not for too long."""
        age_ms = self._clock_ms() - filled_ms
        # not all processes, and not all boards, at once
        longest_ms = self._options.refill_s * 1000 * self._chance.uniform(0.9, 1.1)
        return run.decode() == server_run and age_ms < longest_ms

    # -- filling -------------------------------------------------------------------------------------------------

    async def rebuild(self, board: Board, period: Period, *, progressed: Progressed | None = None) -> int:
        """Read a board from the store now, after a filling that may be running already."""
        while True:
            size = await self._fill((board, period), progressed)
            if size is not None:
                return size
            await asyncio.sleep(_LOOK_S)

    def _fill_soon(self, name: Name) -> None:
        if name not in self._fillings and is_kept(name[1], self._clock_ms()):
            task = asyncio.get_running_loop().create_task(self._fill_quietly(name), name=f"fill board {name[0]}")
            self._fillings[name] = task
            task.add_done_callback(lambda _: self._fillings.pop(name, None))

    async def _fill_quietly(self, name: Name) -> None:
        async with self._turn:
            try:
                if await self._fill(name, None) is not None:
                    return
            except StoreError as fault:
                log.warning("a leaderboard could not be filled", board=_text(name), why=str(fault))
            except Exception:
                log.exception("a leaderboard could not be filled", board=_text(name))
        await asyncio.sleep(_AGAIN_S)  # as long as this task is there no other begins

    async def _fill(self, name: Name, progressed: Progressed | None) -> int | None:
        """Read a board from the store; its size, None where another process does. Raises `StoreError`."""
        token = uuid.uuid4().bytes
        index = self._servers.prefix + _INDEX
        await self._servers.ask(Call(index, ("SADD", index, _text(name))))  # first, for who is removed meanwhile
        begun = await self._servers.ask(self._call(scripts.BEGIN, *name, token, _FILLING_MS))
        ours, had_floor = begun.value
        if not ours:
            return None
        try:
            size = await self._fill_all(name, token, begun.run, had_floor=bool(had_floor), progressed=progressed)
        except BaseException:
            self._failures += 1
            (_,) = await self._servers.each([self._call(scripts.ABANDON, *name, token)])
            raise
        self._filled += 1
        log.info("filled a leaderboard", board=_text(name), entries=size)
        return size

    async def _fill_all(
        self, name: Name, token: bytes, run: str, *, had_floor: bool, progressed: Progressed | None
    ) -> int:
        if had_floor:
            await self._wait_for_floors(name, token, run)
        filling = reading.Filling(self._store, *name, self._options.top)
        users: set[int] = set()
        async for entries in filling.parts():
            users.update(user_of(member) for _, member in entries)
            parts = [part for score, member in entries for part in (_user(user_of(member)), score, member)]
            await self._go_on(name, token, run, *parts)
            if progressed is not None:
                progressed(filling.read)
        filling.check()  # it would be short of them for hours; those that are there stay meanwhile
        until_ms = kept_until_ms(name[1])
        size = await self._ask_own(
            self._call(
                scripts.END,
                *name,
                token,
                self._options.top,
                run,
                round(self._clock_ms()),
                "" if until_ms is None else until_ms,
                len(users),
                *(filling.floor or ("", b"")),
            ),
            run,
        )
        if size < 0:
            raise StoreError("another process fills the board, or Redis dropped a part of it", retriable=True)
        return int(size)

    async def _wait_for_floors(self, name: Name, token: bytes, run: str) -> None:
        """Wait until nobody goes by the old board's floor any more."""
        until_ms = _monotonic_ms() + self._options.floor_ms
        while (left_ms := until_ms - _monotonic_ms()) > 0:
            await asyncio.sleep(min(left_ms, _FILLING_MS / 3) / 1000)
            await self._go_on(name, token, run)

    async def _go_on(self, name: Name, token: bytes, run: str, *parts: Argument) -> None:
        """Bring entries, and keep the token."""
        if not await self._ask_own(self._call(scripts.FILL, *name, token, _FILLING_MS, *parts), run):
            raise StoreError("another process fills the board, for this one was too slow", retriable=True)

    async def _ask_own(self, call: Call, run: str) -> Any:
        """Ask the server's run that the filling began with; another may have lost a part of it."""
        answer = await self._servers.ask(call)
        if answer.run != run:
            raise StoreError("Redis was started anew while a leaderboard was filled", retriable=True)
        return answer.value

    def _call(self, script: Script, board: Board, period: Period, *arguments: Argument) -> Call:
        stem = f"{self._servers.prefix}leaderboard:{{{_text((board, period))}}}:"
        return script.call(tuple(stem + key for key in scripts.KEYS), *arguments)

    def facts(self) -> BoardsFacts:
        """Facts for metrics."""
        return BoardsFacts(self._submitted, self._reads, self._fallbacks, self._filled, self._failures)

    async def ping(self) -> None:
        """Raise `StoreError` where Redis does not answer."""
        await self._servers.ping()


def _user(user: int) -> bytes:
    return user.to_bytes(8, "big")


def _text(name: Name) -> str:
    return "{}:{}".format(*name)


def _named(text: str) -> Name:
    """The board of a text that `_text` made."""
    board, _, period = text.partition(":")
    span, _, day = period.partition("-")
    return Board.named(board), Period(Span(span), int(day or 0))


def _monotonic_ms() -> float:
    return time.monotonic() * 1000
