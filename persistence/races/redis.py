"""Races in Redis, standalone or Cluster: each a value of its own, changed by compare-and-set.

    race:{id}                 version (8 bytes, big-endian) | the packed race; expires
    races                     ZSET of ids that are not over, by when they are forgotten: how many there are
    races:open:{language}     ZSET of "band id" of public lobbies with room, by when they are closed at the latest

(The braces are placeholders.) The value decides; the two lists lie in other slots of a Cluster and follow it. What they
lack or have too much because a node died in between is mended by time: entries end, and who joins asks the value.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import structlog

from persistence.errors import StoreError
from persistence.races.clock import RaceClock
from persistence.races.memory import FULL, FULL_RETRY_MS
from persistence.races.nearness import nearest
from persistence.races.port import RacesFacts, RacesOptions, Step
from persistence.redis import Call, RedisServers, Script
from session.identity import is_race
from session.messages import Error
from session.race import DamagedRace, Race
from session.state import Phase

__all__ = ["RedisRaces"]

log = structlog.get_logger(__name__)

_HEAD_BYTES = 8

# ARGV: the version that is expected ('' for none), the new value, how long to keep it. A value that is the new one
# already was written by this very call, whose answer was lost. The answer is 1, or what is there instead.
_PUT = Script("""\
local value = redis.call('GET', KEYS[1])
local version = value and value:sub(1, 8) or ''
if version ~= ARGV[1] and value ~= ARGV[2] then return value end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
""")
# ARGV: the id, now, when it is forgotten, the most there may be, how long the list is kept. The answer: is there room?
_ENTER = Script("""\
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[2])
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[4]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
""")
# ARGV: the member, now, its end, the most there may be, how long the list is kept.
_LIST = Script("""\
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[2])
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[4]))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
""")


class RedisRaces:
    """A `Races` in Redis. Opening it needs no Redis: without one, changes fail."""

    def __init__(
        self, servers: RedisServers, options: RacesOptions | None = None, *, chance: random.Random | None = None
    ) -> None:
        self._servers = servers
        self._options = options or RacesOptions()
        self._chance = chance or random.Random()
        self._count = f"{servers.prefix}races"
        self._clock = RaceClock(servers, self._count, every_ms=self._options.clock_ms)
        self._changes = self._conflicts = self._failures = 0

    async def __aenter__(self) -> Self:
        await self._clock.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._clock.__aexit__(kind, error, trace)

    @property
    def timed(self) -> bool:
        """Whether the server's clock was ever read."""
        return self._clock.known

    def now_ms(self) -> int:
        """The clock of the server that counts races."""
        return self._clock.now_ms()

    async def read(self, race: str) -> Race | None:
        """The race with this id."""
        if not is_race(race):
            return None
        answer = await self._servers.ask(Call(self._key(race), ("GET", self._key(race))))
        return self._unpacked(race, answer.value)

    async def change(self, race: str, step: Step) -> Race | Error:
        """Change or make a race."""
        try:
            return await self._change(race, step)
        except StoreError:
            self._failures += 1
            raise

    async def _change(self, race: str, step: Step) -> Race | Error:
        if not self._clock.known:
            await self._clock.read()
        before = await self.read(race)
        entered = False  # it is counted before it is there: rather one too many for a while than one beyond the limit
        for attempt in range(self._options.tries):
            if attempt:
                self._conflicts += 1
                wait_ms = self._options.retry_ms * min(2 ** (attempt - 1), 16)
                await asyncio.sleep(self._chance.uniform(0, wait_ms) / 1000)
                before = await self.read(race)  # others went on while this waited
            after = step(before, self.now_ms())
            if isinstance(after, Error) or after is before:
                return after
            if before is None and not entered:
                entered = await self._enter(race)
                if not entered:
                    self._failures += 1
                    return Error("races_full", FULL, FULL_RETRY_MS)
            if await self._put(race, before, after):
                self._changes += 1
                await self._follow(before, after)
                return after
        raise StoreError(f"race {race} was changed by others {self._options.tries} times meanwhile", retriable=True)

    async def _put(self, race: str, before: Race | None, after: Race) -> bool:
        """Write what a race has become, unless somebody else was quicker."""
        expected = b"" if before is None else before.version.to_bytes(_HEAD_BYTES, "big")
        value = after.version.to_bytes(_HEAD_BYTES, "big") + after.pack()
        keep_ms = self._options.settled_ms if after.phase is Phase.SETTLED else self._options.live_ms
        answer = await self._servers.ask(_PUT.call((self._key(race),), expected, value, keep_ms))
        return bool(answer.value == 1)

    async def _enter(self, race: str) -> bool:
        """Count a new race, if there is room for it."""
        now_ms, live_ms = self.now_ms(), self._options.live_ms
        call = _ENTER.call((self._count,), race, now_ms, now_ms + live_ms, self._options.most, live_ms)
        return bool((await self._servers.ask(call)).value)

    async def _follow(self, before: Race | None, after: Race) -> None:
        """Let the lists follow the value; what fails here is mended by time."""
        calls = []
        now_ms = self.now_ms()
        listed, member = f"{self._servers.prefix}races:open:{after.text.language}", f"{after.band} {after.id}"
        if after.open:
            until_ms = now_ms + self._options.live_ms
            calls.append(
                _LIST.call((listed,), member, now_ms, until_ms, self._options.open_most, self._options.live_ms)
            )
        elif before is not None and before.open:
            calls.append(Call(listed, ("ZREM", listed, member)))
        if after.phase is Phase.SETTLED and (before is None or before.phase is not Phase.SETTLED):
            calls.append(Call(self._count, ("ZREM", self._count, after.id)))
        for answer in await self._servers.each(calls):
            if isinstance(answer, StoreError):
                log.warning("the list of races did not follow one", race=after.id, reason=str(answer))

    async def open(self, language: str, band: int) -> list[str]:
        """Ids of public lobbies with room."""
        listed = f"{self._servers.prefix}races:open:{language}"
        call = Call(listed, ("ZRANGE", listed, self.now_ms(), "+inf", "BYSCORE", "LIMIT", 0, self._options.open_most))
        return nearest(_lobbies((await self._servers.ask(call)).value), band)

    def facts(self) -> RacesFacts:
        """Facts for metrics."""
        return RacesFacts(self._changes, self._conflicts, self._failures)

    async def ping(self) -> None:
        """Raise `StoreError` where Redis does not answer."""
        await self._servers.ping()

    def _key(self, race: str) -> str:
        return f"{self._servers.prefix}race:{race}"

    def _unpacked(self, race: str, value: bytes | None) -> Race | None:
        if value is None:
            return None
        try:
            return Race.unpack(value[_HEAD_BYTES:])
        except DamagedRace as exc:
            raise StoreError(f"race {race} cannot be read: {exc}", retriable=False) from None


def _lobbies(members: Sequence[bytes]) -> list[tuple[str, int]]:
    """Ids and bands of what a list of open lobbies has; what is none is passed over."""
    found = []
    for member in members:
        band, _, race = member.decode(errors="replace").partition(" ")
        if is_race(race) and len(band) == 1 and band.isdecimal():
            found.append((race, int(band)))
    return found
