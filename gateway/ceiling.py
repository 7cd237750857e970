"""Most tests under way, over all processes (`connection.tests`), and the queue of those who wait to start one.

Each process has a share of the tests, a little more than it has under way: within it a `start` is answered at once and
asks nobody. Beyond it, or while anybody waits, Redis is asked, which has all shares and the one queue, in the order in
which users came. Who does not get in is told the place and when to ask again: `error full` with `place` answers the
`start`, the user keeps the place by asking again in time, and nothing is kept here for it. One gets in when there is
room for all before it and for it too. So nobody overtakes (but in the first `_RENEW_S` of a queue, within another
process's share), and nobody is woken: those far behind ask more rarely, each at an instant of its own.

While anybody waits no process has more than it uses. One that dies loses its share after `_LEASE_MS`. Users who go lose
their place after `_GONE_MS`, so that a page may be loaded anew, those who do not ask again after `_PATIENCE_MS`.
Races and tests that are resumed wait for nobody, and count: with them there may be more than the ceiling. A test in
which nothing was typed for `_UNTOUCHED_MS` gives its place up, since pages begin one when they are opened, and takes
one again with its first key or when another begins in its stead: with these too. Without Redis this process has it
all; while one is away, its equal part, and a queue of its own.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Final, NamedTuple, Self

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric

from gateway.connection import Connection
from gateway.hub import Hub
from persistence.errors import StoreError
from persistence.redis import RedisServers, Script
from session.identity import created_at_ms

__all__ = ["Ceiling", "Line", "Wait", "families", "retry_ms"]

_RENEW_S: Final = 0.5
_LEASE_MS: Final = 5_000
_GONE_MS: Final = 5_000
_PATIENCE_MS: Final = 30_000
_MOST: Final = 100_000
"""Users who may wait; who comes then has no place, and asks again all the same."""
_UNTOUCHED_MS: Final = 60_000
_AT_ONCE: Final = 500
"""Tests looked at in one step: 0.1 ms."""
_ASKED_AT_ONCE: Final = 200
"""Users in one question: Redis serves others in between."""
_KEPT_S: Final = 3600
_SPARE: Final = 50
"""One part in so many of the ceiling is what a process may have beyond its tests, while nobody waits."""
_RETRY_MS: Final = (1_000, 15_000)
_RETRY_A_PLACE_MS: Final = 20

_BEGIN: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local live, limit = tonumber(ARGV[2]), tonumber(ARGV[3])
local others = 0
local shares = redis.call('HGETALL', KEYS[1])
for i = 1, #shares, 2 do
    local count, ends = string.match(shares[i + 1], '^(%d+):(%d+)$')
    if not ends or tonumber(ends) < now then
        redis.call('HDEL', KEYS[1], shares[i])
    elseif shares[i] ~= ARGV[1] then
        others = others + tonumber(count)
    end
end
for _, user in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now)) do
    redis.call('ZREM', KEYS[2], user)
    redis.call('ZREM', KEYS[3], user)
end
local function have(count)
    redis.call('HSET', KEYS[1], ARGV[1], string.format('%d:%d', count, now + tonumber(ARGV[4])))
    for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[5]) end
    return count
end
"""
"""KEYS: shares by process, as `count:ends`; the queue by number; until when each who waits is waited for.
ARGV: this process, its tests, the ceiling, the lease, how long keys are kept."""

_SHARE: Final = Script(
    _BEGIN
    + """
    for i = 8, #ARGV do
        if redis.call('ZSCORE', KEYS[3], ARGV[i]) then
            redis.call('ZADD', KEYS[3], now + tonumber(ARGV[7]), ARGV[i])
        end
    end
    local waiting = redis.call('ZCARD', KEYS[2])
    local spare = 0
    if waiting == 0 then
        spare = math.max(0, math.min(tonumber(ARGV[6]), limit - others - live))
    end
    return {have(live + spare), waiting}
    """
)
"""Renew this process's share; users who went follow. Its share, and how many wait."""

_ASK: Final = Script(
    _BEGIN
    + """
    local answers = {}
    for i = 8, #ARGV do
        local user = ARGV[i]
        local rank = redis.call('ZRANK', KEYS[2], user)
        local place = rank or redis.call('ZCARD', KEYS[2])
        if place < limit - others - live then
            redis.call('ZREM', KEYS[2], user)
            redis.call('ZREM', KEYS[3], user)
            live = live + 1
            place = 0
        elseif not rank and place >= tonumber(ARGV[7]) then
            place = -1
        else
            if not rank then
                local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
                redis.call('ZADD', KEYS[2], tonumber(last[2] or 0) + 1, user)
            end
            redis.call('ZADD', KEYS[3], now + tonumber(ARGV[6]), user)
            place = place + 1
        end
        answers[#answers + 1] = place
    end
    return {have(live), answers}
    """
)
"""May these users start? This process's share, and for each 0 for yes, else the place; -1: there is none to be had."""

log = structlog.get_logger(__name__)


class Wait(NamedTuple):
    """One has to wait."""

    place: int | None
    """In the queue, 1 the first; None where the queue is full too."""
    retry_ms: int


def retry_ms(place: int, *, chance: float) -> int:
    """When to ask again; `chance` (0 to 1) spreads those who came at once."""
    least, most = _RETRY_MS
    return round(min(most, least + place * _RETRY_A_PLACE_MS) * (0.8 + 0.4 * chance))


class Line:
    """The queue of one process, as the one in Redis is. Whoever asks costs the same, however many wait."""

    def __init__(self, *, most: int = _MOST) -> None:
        self._most = most
        self._last = 0
        self._numbers: list[int] = []
        """Of those who wait, in the order in which they came."""
        self._number_of: dict[int, int] = {}
        """Theirs, by user."""
        self._patient: OrderedDict[int, float] = OrderedDict()
        self._absent: OrderedDict[int, float] = OrderedDict()
        """Until when those are waited for who are there, and those who went: each alike, so the first is due first."""

    def __len__(self) -> int:
        return len(self._numbers)

    def ask(self, user: int, *, free: int, now_ms: float) -> int:
        """0: there is room; else the place, -1 where there is none to be had."""
        for waiting in (self._patient, self._absent):
            while waiting and next(iter(waiting.values())) <= now_ms:
                self._forget(next(iter(waiting)))
        number = self._number_of.get(user)
        before = len(self._numbers) if number is None else bisect_left(self._numbers, number)
        if before < free:
            self._forget(user)
            return 0
        if number is None:
            if before >= self._most:
                return -1
            self._last += 1
            self._number_of[user] = self._last
            self._numbers.append(self._last)
        self._absent.pop(user, None)
        self._patient[user] = now_ms + _PATIENCE_MS
        self._patient.move_to_end(user)
        return before + 1

    def gone(self, user: int, *, now_ms: float) -> None:
        """A user who may wait has no connection any more."""
        if user in self._number_of:
            self._patient.pop(user, None)
            self._absent[user] = now_ms + _GONE_MS
            self._absent.move_to_end(user)

    def _forget(self, user: int) -> None:
        number = self._number_of.pop(user, None)
        if number is not None:
            del self._numbers[bisect_left(self._numbers, number)]
            self._patient.pop(user, None)
            self._absent.pop(user, None)


class Ceiling:
    """One for a process. An async context manager: while it is open it holds its share.

    `this` names the process and its run; `processes` says how many there are. The wheel visits it once a second.
    """

    phase = 0

    def __init__(
        self, hub: Hub, servers: RedisServers | None, *, tests: int, this: str, processes: Callable[[], int]
    ) -> None:
        self._hub = hub
        self._servers = servers
        self._tests = tests
        self._this = this
        self._processes = processes
        self._line = Line()
        self._entering: set[Connection] = set()
        """Those who may start and have not yet."""
        self._untouched = 0
        """Tests that were begun a while ago and in which nothing was typed, when it was last looked."""
        self._counting = False
        self._share = tests if servers is None else 0
        self._away = False
        self.waiting = 0
        """How many wait, over all processes."""
        self._gone: dict[int, None] = {}
        self._askers: dict[Connection, None] = {}
        """Those who ask, in the order in which they came."""
        self._places: dict[Connection, int | None] = {}
        """What those of a round were answered; None where Redis was away."""
        self._asking = asyncio.Lock()
        """One question at a time: each counts with the one before."""
        self._task: asyncio.Task[None] | None = None
        hub.leaving.append(self._left)

    async def __aenter__(self) -> Self:
        self._hub.wheel.join(self)
        if self._servers is not None:
            await self._renew()
            self._task = asyncio.get_running_loop().create_task(self._renewing(), name="share of tests")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hub.wheel.leave(self)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def share(self) -> int:
        """How many tests may be under way here."""
        return self._share

    @property
    def taken(self) -> int:
        """How many are, or are about to be."""
        return max(0, len(self._hub.live) - self._untouched) + len(self._entering)

    def enter(self, connection: Connection) -> bool:
        """Whether a test may be started without a question; it is counted then."""
        if self.taken < self._share and not self.waiting:
            self._entering.add(connection)
            return True
        return False

    def entered(self, connection: Connection) -> None:
        """Its test has begun, or could not."""
        self._entering.discard(connection)

    async def ask(self, connection: Connection) -> Wait | None:
        """Ask for a test, where `enter` said no; None: it may be started, and is counted."""
        self._askers[connection] = None
        try:
            async with self._asking:
                if connection.alive and connection not in self._places:  # nobody before has asked for it too
                    await self._round()
                place = self._places.pop(connection, None)
                if place is None:
                    place = self._in_line(connection)
        finally:
            self._askers.pop(connection, None)
            self._places.pop(connection, None)
        if place == 0:
            return None
        chance = random.random()
        if place < 0:
            return Wait(None, retry_ms(_MOST, chance=chance))
        return Wait(place, retry_ms(place, chance=chance))

    async def _round(self) -> None:
        """Ask Redis for those who came first; without it nobody has an answer, and each looks into our own queue."""
        if self._servers is None:
            return
        asking = list(islice((one for one in self._askers if one.alive), _ASKED_AT_ONCE))
        users = [str(one.user) for one in asking]
        script = _ASK.call(self._keys(), *self._arguments(), str(_PATIENCE_MS), str(_MOST), *users)
        try:
            self._share, places = (await self._servers.ask(script)).value
        except StoreError as fault:
            self._alone(fault)
            places = [None] * len(asking)
        else:
            self._away = False
            self.waiting = max(self.waiting, *places, 0)
        for one, place in zip(asking, places, strict=True):
            if self._askers.pop(one, one) is None:  # it still waits for it
                self._places[one] = place
            if place == 0 and one.alive:
                self._entering.add(one)

    def _in_line(self, connection: Connection) -> int:
        """The place in our own queue."""
        if not connection.alive:
            return -1
        now_ms = self._hub.clock() * 1000
        place = self._line.ask(connection.user, free=self._share - self.taken, now_ms=now_ms)
        self.waiting = len(self._line)
        if place == 0:
            self._entering.add(connection)
        return place

    def _left(self, connection: Connection) -> None:
        self._entering.discard(connection)
        user = connection.user
        if user and not self._hub.of(user):
            self._line.gone(user, now_ms=self._hub.clock() * 1000)
            if self._servers is not None and self.waiting and len(self._gone) < _MOST:
                self._gone[user] = None

    # -- tests in which nobody types ------------------------------------------------------------------------------

    def beat(self, now_ms: float) -> None:
        """Once a second: count them."""
        if not self._counting:
            self._counting = True
            self._hub.slices.run(self._count(), self._counted, partial(log.error, "tests were not counted"))

    def alarm(self, now_ms: float) -> None:
        """It asks for none."""

    def _count(self) -> Generator[None, None, int]:
        untouched, before_ms = 0, self._hub.epoch_ms() - _UNTOUCHED_MS
        for number, connection in enumerate(tuple(self._hub.live.values())):
            if number % _AT_ONCE == _AT_ONCE - 1:
                yield
            session, place = connection.session, connection.place
            if (
                session is not None
                and not session.n
                and created_at_ms(session.id) < before_ms
                and not (place is not None and place.racing)
            ):
                untouched += 1
        return untouched

    def _counted(self, untouched: int) -> None:
        self._untouched, self._counting = untouched, False

    # -- the share -----------------------------------------------------------------------------------------------

    async def _renewing(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_S * random.uniform(0.8, 1.2))
            try:
                async with self._asking:
                    await self._renew()
            except Exception:  # else this process's share ends with its lease, and nobody would renew it again
                log.exception("the share of tests was not renewed")

    async def _renew(self) -> None:
        assert self._servers is not None
        gone, self._gone = self._gone, {}
        spare = max(1, self._tests // _SPARE)
        script = _SHARE.call(self._keys(), *self._arguments(), str(spare), str(_GONE_MS), *map(str, gone))
        try:
            self._share, self.waiting = (await self._servers.ask(script)).value
        except StoreError as fault:
            self._alone(fault)
        else:
            if self._away or len(self._line):
                self._line = Line()  # its users ask again, and get their places in the one queue
            self._away = False

    def _alone(self, fault: StoreError) -> None:
        """Redis is away: an equal part of the ceiling is this process's."""
        if not self._away:
            log.warning("tests are limited in this process alone", why=str(fault))
        self._away = True
        self._share = -(-self._tests // max(1, self._processes()))

    def _keys(self) -> tuple[str, ...]:
        assert self._servers is not None
        return tuple(f"{self._servers.prefix}{{tests}}:{name}" for name in ("shares", "queue", "until"))

    def _arguments(self) -> tuple[str, ...]:
        return self._this, str(self.taken), str(self._tests), str(_LEASE_MS), str(_KEPT_S)


def families(ceiling: Ceiling) -> Iterable[Metric]:
    """What operators see of the ceiling."""
    yield GaugeMetricFamily("typegate_tests_share", "Tests that may be under way here", value=ceiling.share)
    yield GaugeMetricFamily("typegate_tests_taken", "Those that are, or are about to be", value=ceiling.taken)
    yield GaugeMetricFamily("typegate_tests_waiting", "Users who wait, over all processes", value=ceiling.waiting)
