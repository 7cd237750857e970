"""The shared cache: values in Redis, for all processes.

A value lies under its key in an envelope: which run of the server it was put into, until when it is fresh, until when
it is given at all. Beside it, while one process loads, lies that process's lock, in the same slot. A loader puts its
value in only if its lock is still there, and whoever pushes or drops takes the lock away: so a value that was read
before a change is never kept after it, in whatever order processes get there.

A server that was started anew, or a replica that took its place, may hold values from before a change that it had
acknowledged. Their envelopes name another run, so they count as missing.

What could not be pushed or dropped is owed: the keys are remembered, and dropped when Redis answers again.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import chain
from struct import Struct
from types import TracebackType
from typing import NamedTuple, Self

import structlog

from persistence.cache.loading import Loaders, Loading
from persistence.cache.port import CacheFacts, CacheOptions, Load, Unkept
from persistence.cache.rows import Row, pack_row
from persistence.errors import StoreError
from persistence.redis import Answer, Call, RedisServers, Script

log = structlog.get_logger(__name__)

_HEAD = Struct(">BB40sQQ")
"""Version of the envelope, whether there is a value, the server's run, fresh until, given until (epoch ms)."""
_VERSION = 1
_LOOK_MS = 20
"""First wait before looking again for a value that another process loads; half longer each time."""
_LOOK_MOST_MS = 250
_OWED = 100_000
"""Most keys remembered whose values are to be dropped."""
_OWED_AT_ONCE = 500
_KEPT_AT_ONCE = 100
"""Values that a server is asked for in one call, where it may be."""
_OWED_RETRY_S = 1.0

# KEYS of all: the value, the lock. The token names the loader.
_TAKE = Script("""\
local mine = redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2])
return {mine and 1 or 0, redis.call('GET', KEYS[1])}
""")
_EXTEND = Script("""\
return redis.call('GET', KEYS[2]) == ARGV[1] and redis.call('PEXPIRE', KEYS[2], ARGV[2])
""")
_FILL = Script("""\
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
if #ARGV > 1 then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
""")
# Of as many values as there are, each followed by its lock; the answer is a digit for each, which is read at once.
_KEPT = Script("""\
local kept = {}
for i = 1, #KEYS, 2 do
  redis.call('DEL', KEYS[i + 1])
  kept[#kept + 1] = redis.call('EXISTS', KEYS[i])
end
return table.concat(kept)
""")
_DROP = Script("return redis.call('DEL', KEYS[1], KEYS[2])")
# ARGV: the packed row, its id, most rows, length of the envelope's head and its version, most bytes. Ids are compared
# byte by byte: Lua's own comparison follows the server's locale.
_PUSH = Script("""\
redis.call('DEL', KEYS[2])
local value = redis.call('GET', KEYS[1])
if not value then return 0 end
if value:byte(1) ~= tonumber(ARGV[5]) or value:byte(2) == 0 then return redis.call('DEL', KEYS[1]) end
local function less(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x < y end
  end
  return #a < #b
end
local head, most = tonumber(ARGV[4]), tonumber(ARGV[3])
local parts, placed, at = {value:sub(1, head)}, false, head + 1
while at <= #value do
  local length, size = struct.unpack('>BI4', value, at)
  local id = value:sub(at + 5, at + 4 + length)
  local after = at + 5 + length + size
  if id == ARGV[2] then return redis.call('DEL', KEYS[1]) end
  if not placed and less(id, ARGV[2]) then
    parts[#parts + 1] = ARGV[1]
    placed = true
  end
  parts[#parts + 1] = value:sub(at, after - 1)
  at = after
end
if not placed then parts[#parts + 1] = ARGV[1] end
local list = table.concat(parts, '', 1, math.min(#parts, most + 1))
if #list > tonumber(ARGV[6]) then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], list, 'KEEPTTL')
return 1
""")


_THERE = ord("1")


class _Entry(NamedTuple):
    """A value that may be given."""

    value: bytes | None
    fresh: bool


class RedisCache:
    """A `Cache` in Redis. The limits of entries and bytes are the server's own (`maxmemory`, `allkeys-lru`).

    `clock_ms` is the wall clock (epoch ms): processes whose clocks differ take values for that much too fresh or stale.
    """

    def __init__(
        self,
        servers: RedisServers,
        options: CacheOptions | None = None,
        *,
        chance: random.Random | None = None,
        clock_ms: Callable[[], float] = lambda: time.time() * 1000,
    ) -> None:
        self._servers = servers
        self._options = options or CacheOptions()
        self._chance = chance or random.Random()
        self._clock_ms = clock_ms
        self._loaders = Loaders(self._options.max_loads)
        self._owed: dict[str, None] = {}
        self._settling: asyncio.Task[None] | None = None
        self._returned = asyncio.Event()
        self._hits = self._misses = self._stale = self._errors = 0
        servers.on_return(self._returned.set)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._loaders.close()
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.wait([self._settling])
        await self._pay()
        if self._owed:
            log.warning("values that may be old stay in Redis until their time", keys=len(self._owed))

    # -- reading -------------------------------------------------------------------------------------------------

    async def fetch(self, key: str, load: Load, *, ttl_ms: int) -> bytes | None:
        """The value under `key`, read by `load` where it is not there."""
        job = partial(self._load, key, load, ttl_ms)
        try:
            entry = self._read(key, await self._servers.ask(Call(self._key(key), ("GET", self._key(key)))))
        except StoreError:
            self._errors += 1
            return await self._loaders.value(key, load, job)
        if entry is None:
            self._misses += 1
            return await self._loaders.value(key, load, job)
        if entry.fresh:
            self._hits += 1
        else:
            self._stale += 1
            self._loaders.refresh(key, job)
        return entry.value

    def _read(self, key: str, answer: Answer) -> _Entry | None:
        """What a server has under a key, where it may be given."""
        packed: bytes | None = answer.value
        if packed is None or key in self._owed or len(packed) < _HEAD.size:
            return None
        version, there, run, fresh_until_ms, given_until_ms = _HEAD.unpack_from(packed)
        now_ms = self._clock_ms()
        if version != _VERSION or run != _run(answer) or now_ms >= given_until_ms:
            return None
        return _Entry(packed[_HEAD.size :] if there else None, now_ms < fresh_until_ms)

    # -- loading -------------------------------------------------------------------------------------------------

    async def _load(self, key: str, load: Load, ttl_ms: int, loading: Loading) -> bytes | None:
        token = uuid.uuid4().bytes
        turn = await self._turn(key, token)
        if isinstance(turn, _Entry):
            return turn.value
        if turn is None:
            return await load()
        try:
            value = await self._locked(key, token, load)
        except BaseException:
            await self._release(key, token)  # the next one need not wait
            raise
        kept = not (loading.spoiled or isinstance(value, Unkept))
        await self._fill(key, token, value, ttl_ms, turn if kept else None)
        return value

    async def _turn(self, key: str, token: bytes) -> _Entry | str | None:
        """Wait for the lock, or for what another process loads.

        The server's run where the lock is ours; None where we are to load for ourselves, and keep nothing.
        """
        patience_ms: float = self._options.lock_ms
        wait_ms: float = _LOOK_MS
        while True:
            answer = await self._ask(_TAKE.call(self._keys(key), token, self._options.lock_ms))
            if answer is None:
                return None
            mine, packed = answer.value
            entry = self._read(key, Answer(packed, answer.run))
            if entry is not None and (entry.fresh or not mine):
                if mine:
                    await self._release(key, token)
                return entry
            if mine:
                return str(answer.run)
            if patience_ms <= 0:
                return None
            await asyncio.sleep(wait_ms / 1000)
            patience_ms -= wait_ms
            wait_ms = min(1.5 * wait_ms, _LOOK_MOST_MS)

    async def _locked(self, key: str, token: bytes, load: Load) -> bytes | None:
        """Load, and keep the lock as long as that takes."""
        keeping = asyncio.get_running_loop().create_task(self._keep_lock(key, token))
        try:
            return await load()
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])

    async def _keep_lock(self, key: str, token: bytes) -> None:
        lock_ms = self._options.lock_ms
        while True:
            await asyncio.sleep(lock_ms / 3000)
            await self._ask(_EXTEND.call(self._keys(key), token, lock_ms))

    async def _fill(self, key: str, token: bytes, value: bytes | None, ttl_ms: int, run: str | None) -> None:
        """Put a value in, unless something was pushed or dropped since its lock was taken; the lock goes."""
        options = self._options
        if run is None or key in self._owed or (value is not None and len(value) > options.max_value_bytes):
            await self._release(key, token)
            return
        if value is None:
            ttl_ms = min(ttl_ms, options.negative_ms)
        fresh_ms = max(1, round(ttl_ms * (1 + options.jitter * (2 * self._chance.random() - 1))))
        # That there is nothing is never given past its time: something may just have been made.
        given_ms = fresh_ms + (0 if value is None else options.stale_ms)
        now_ms = round(self._clock_ms())
        head = _HEAD.pack(_VERSION, value is not None, run.encode(), now_ms + fresh_ms, now_ms + given_ms)
        await self._ask(_FILL.call(self._keys(key), token, head + (value or b""), given_ms))

    async def _release(self, key: str, token: bytes) -> None:
        await self._ask(_FILL.call(self._keys(key), token))

    # -- changing ------------------------------------------------------------------------------------------------

    async def kept(self, keys: Collection[str]) -> Collection[str]:
        """Those of these keys under which something is kept; what is being loaded there is spoilt."""
        keys = list(dict.fromkeys(keys))
        for key in keys:
            self._loaders.spoil(key)
        at_once = _KEPT_AT_ONCE if self._servers.one_place else 1
        parts = [keys[start : start + at_once] for start in range(0, len(keys), at_once)]
        calls = [_KEPT.call(tuple(chain.from_iterable(map(self._keys, part)))) for part in parts]
        faults: dict[str, StoreError] = {}
        kept: list[str] = []
        for part, answer in zip(parts, await self._servers.each(calls), strict=True):
            if isinstance(answer, StoreError):
                faults |= dict.fromkeys(part, answer)
            else:
                kept += [key for key, there in zip(part, answer.value, strict=True) if there == _THERE]
        self._owe(faults)
        return kept

    async def push(self, rows: Sequence[Row], *, most: int) -> None:
        """Put each row into the list under its key, where there is one."""
        calls = []
        for row in rows:
            self._loaders.spoil(row.key)
            packed = pack_row(row.id, row.value)
            largest = self._options.max_value_bytes + _HEAD.size
            calls.append(_PUSH.call(self._keys(row.key), packed, row.id, most, _HEAD.size, _VERSION, largest))
        answers = await self._servers.each(calls)
        self._owe(
            {row.key: answer for row, answer in zip(rows, answers, strict=True) if isinstance(answer, StoreError)}
        )

    async def drop(self, key: str) -> None:
        """Forget a value."""
        self._loaders.spoil(key)
        (answer,) = await self._servers.each([_DROP.call(self._keys(key))])
        self._owe({key: answer} if isinstance(answer, StoreError) else {})

    def _owe(self, faults: Mapping[str, StoreError]) -> None:
        """Remember keys that could not be changed, and say so to who wanted it."""
        if not faults:
            return
        for key in faults:
            self._owed[key] = None
        forgotten = len(self._owed) - _OWED
        if forgotten > 0:
            for key in list(self._owed)[:forgotten]:
                del self._owed[key]
            log.warning("too many values to remember changed while Redis was away; some stay old", keys=forgotten)
        if self._settling is None:
            self._settling = asyncio.get_running_loop().create_task(self._settle(), name="settle the cache's debts")
        raise StoreError(str(next(iter(faults.values()))), retriable=True)

    async def _settle(self) -> None:
        """Drop what is owed until nothing is."""
        while self._owed:
            self._returned.clear()
            if await self._pay():
                continue
            try:
                async with asyncio.timeout(_OWED_RETRY_S):
                    await self._returned.wait()
            except TimeoutError:
                pass
        self._settling = None

    async def _pay(self) -> bool:
        """Try to drop some of what is owed; whether all of these are gone."""
        keys = list(self._owed)[:_OWED_AT_ONCE]
        answers = await self._servers.each([_DROP.call(self._keys(key)) for key in keys])
        for key, answer in zip(keys, answers, strict=True):
            if not isinstance(answer, StoreError):
                self._owed.pop(key, None)
        return not any(isinstance(answer, StoreError) for answer in answers)

    # -- Redis ---------------------------------------------------------------------------------------------------

    def _key(self, key: str) -> str:
        return self._servers.prefix + key

    def _keys(self, key: str) -> tuple[str, str]:
        """The value's key, and that of its lock, which the braces put into the same slot."""
        assert "{" not in key, "braces would part the two"
        own = self._key(key)
        return own, f"{self._servers.prefix}loading:{{{own}}}"

    async def _ask(self, call: Call) -> Answer | None:
        """The answer; None where there is none."""
        try:
            return await self._servers.ask(call)
        except StoreError:
            return None

    def facts(self) -> CacheFacts:
        """Facts for metrics."""
        return CacheFacts(self._hits, self._misses, self._stale, self._errors)

    async def ping(self) -> None:
        """Raise `StoreError` where Redis does not answer."""
        await self._servers.ping()


def _run(answer: Answer) -> bytes:
    return answer.run.encode().ljust(40, b"\0")[:40]
