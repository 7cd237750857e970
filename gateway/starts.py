"""How often a user, or an address, may start, over all processes: credits here, corrected by a bucket in Redis.

`start` is answered from this process's own credits and waits for nobody. Of a user who has spent half a burst here
Redis is told: what was spent so far, then each start, gathered for a tenth of a second. Redis keeps the user's one
bucket, which may go into debt by as much as a burst; what is left in it is all that is left here from then on. So over
all processes a user starts at most `rate` in the long run, and at once a burst, and beyond it in each further process
half a burst and what is started until its answer comes. Who types as people do costs nobody a call. While Redis is away
each process has its own credits. An address is treated likewise, where it has a limit.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable
from hashlib import blake2b
from types import TracebackType
from typing import Final, Self

import structlog

from gateway.limits import Credits
from persistence.errors import StoreError
from persistence.redis import RedisServers, Script

__all__ = ["SharedCredits"]

_GATHER_S: Final = 0.1
_AWAY_S: Final = 1.0
_AT_ONCE: Final = 500
_MOST_OWED: Final = 50_000
"""Users of whom Redis is to be told, beyond which it is not; it has been away or slow for long then."""

_SPEND: Final = Script(
    """
    local rate, burst = tonumber(ARGV[2]), tonumber(ARGV[3])
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local held = redis.call('HMGET', KEYS[1], 'left', 'at')
    local left, at = tonumber(held[1] or burst), tonumber(held[2] or now)
    left = math.min(burst, left + math.max(0, now - at) * rate) - tonumber(ARGV[1])
    left = math.max(left, -burst)
    redis.call('HSET', KEYS[1], 'left', tostring(left), 'at', now)
    redis.call('PEXPIRE', KEYS[1], math.ceil(2 * burst / rate) + 1000)
    return tostring(left)
    """
)
"""Take credits from a user's bucket, into debt too; what is left."""

log = structlog.get_logger(__name__)


class SharedCredits(Credits):
    """`Credits` of users (by id) or addresses, over all processes. An async context manager.

    `clock_ms` is the clock of `take`.
    """

    __slots__ = ("_away", "_clock_ms", "_half", "_owed", "_refill_ms", "_servers", "_task", "_told", "_wake")

    def __init__(self, servers: RedisServers, *, rate_per_s: float, burst: int, clock_ms: Callable[[], float]) -> None:
        super().__init__(rate_per_s=rate_per_s, burst=burst)
        self._servers = servers
        self._clock_ms = clock_ms
        self._half = burst / 2
        self._refill_ms = burst / rate_per_s * 1000
        self._told: dict[Hashable, float] = {}
        """When Redis was last told of a user; after `_refill_ms` it is as if it never was."""
        self._owed: dict[Hashable, int] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._away = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._telling(), name="starts of users")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def take(self, key: Hashable, *, now_ms: float) -> int:
        """As `Credits.take`."""
        wait_ms = super().take(key, now_ms=now_ms)
        if not wait_ms and (left := self.left(key, now_ms=now_ms)) < self._half and len(self._owed) < _MOST_OWED:
            told = now_ms - self._told.get(key, -self._refill_ms) < self._refill_ms
            self._owed[key] = self._owed.get(key, 0) + (1 if told or key in self._owed else round(self._burst - left))
            self._wake.set()
        return wait_ms

    async def _telling(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(_GATHER_S)
            try:
                self._away = await self._tell_all()
            except Exception:
                log.exception("starts could not be told of")
                self._away = True
            if self._away:
                await asyncio.sleep(_AWAY_S)

    async def _tell_all(self) -> bool:
        """Whether some could not be told of."""
        owed, self._owed = self._owed, {}
        users, failed = list(owed), False
        for start in range(0, len(users), _AT_ONCE):
            failed |= await self._tell(users[start : start + _AT_ONCE], owed)
        now_ms = self._clock_ms()
        self._told = {user: at for user, at in self._told.items() if now_ms - at < self._refill_ms}
        if failed:
            self._wake.set()
        return failed

    def _owe(self, user: Hashable, starts: int, *, now_ms: float) -> None:
        """Tell of these later. What has come back here since then would have come back there."""
        starts = min(starts + self._owed.get(user, 0), math.ceil(self._burst - self.left(user, now_ms=now_ms)))
        if starts > 0 and (user in self._owed or len(self._owed) < _MOST_OWED):
            self._owed[user] = starts

    async def _tell(self, users: list[Hashable], owed: dict[Hashable, int]) -> bool:
        """Whether some could not be told of; they are owed still."""
        arguments = (repr(self._rate), repr(self._burst))
        answers = await self._servers.each(
            [_SPEND.call((self._key(user),), str(owed[user]), *arguments) for user in users]
        )
        now_ms, failed = self._clock_ms(), False
        for user, answer in zip(users, answers, strict=True):
            if isinstance(answer, StoreError):
                if not self._away:
                    log.warning("starts are limited in this process alone", why=str(answer))
                failed = self._away = True
                self._owe(user, owed[user], now_ms=now_ms)
                continue
            self._told[user] = now_ms
            self.lower(user, float(answer.value), now_ms=now_ms)
        return failed

    def _key(self, who: Hashable) -> str:
        """Addresses are people's: in Redis they have a name by which they cannot be read."""
        name = f"a:{blake2b(who.encode(), digest_size=12).hexdigest()}" if isinstance(who, str) else who
        return f"{self._servers.prefix}starts:{name}"
