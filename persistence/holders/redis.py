"""Records in Redis: `session:{id}`, a msgpack array [version, epoch, node, token, former node].

The token names the call that wrote it: a call may be carried out twice where an answer is lost, and the second time it
is told what it was told the first. Whoever adds to the array's end keeps the version. What is no record of ours is
overwritten.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import msgpack

from persistence.errors import StoreError
from persistence.holders.port import KEPT_S, LAST_EPOCH, Holding
from persistence.redis import Call, RedisServers, Script
from persistence.redis.gathering import Gathering
from session.identity import session_to_text

__all__ = ["RedisHolders"]

_VERSION = 1
_TOKEN_BYTES = 8

# ARGV: node, floor, token, time to live in ms, version, last epoch.
_TAKE = Script("""\
local epoch, former, kept = 0, '', redis.call('GET', KEYS[1])
if kept then
  local ok, record = pcall(cmsgpack.unpack, kept)
  if ok and type(record) == 'table' and type(record[2]) == 'number' and type(record[3]) == 'string'
      and record[2] >= 0 and record[2] < tonumber(ARGV[6]) then
    if record[4] == ARGV[3] then return {record[2], record[5]} end
    epoch, former = record[2], record[3]
  end
end
epoch = math.max(epoch + 1, tonumber(ARGV[2]))
redis.call('SET', KEYS[1], cmsgpack.pack({tonumber(ARGV[5]), epoch, ARGV[1], ARGV[3], former}), 'PX', ARGV[4])
return {epoch, former}
""")


class RedisHolders:
    """`Holders` for all processes. Calls that come while others are under way go to Redis together."""

    def __init__(self, servers: RedisServers) -> None:
        self._prefix = f"{servers.prefix}session:"
        self._gathering = Gathering(servers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._gathering.__aexit__(kind, error, trace)

    async def take(self, session: bytes, node: str, *, floor: int) -> tuple[int, str]:
        """Make `node` the holder."""
        call = _TAKE.call(
            (self._key(session),), node, floor, os.urandom(_TOKEN_BYTES).hex(), KEPT_S * 1000, _VERSION, LAST_EPOCH
        )
        epoch, former = (await self._gathering.ask(call)).value
        return epoch, former.decode("utf-8", "replace")

    async def read(self, sessions: Sequence[bytes]) -> list[Holding | None]:
        """The records of sessions."""
        keys = [self._key(session) for session in sessions]
        answers = await self._gathering.each([Call(key, ("GET", key)) for key in keys])
        found = []
        for answer in answers:
            if isinstance(answer, StoreError):
                raise answer
            found.append(_record(answer.value))
        return found

    def _key(self, session: bytes) -> str:
        return self._prefix + session_to_text(session)


def _record(packed: bytes | None) -> Holding | None:
    """What a record says; None where there is none, or none of ours."""
    if packed is None:
        return None
    try:
        parts: Any = msgpack.unpackb(packed)
    except Exception:  # whatever msgpack stumbles over; it is somebody else's
        return None
    match parts:
        case [_, int(epoch), str(node), *_] if 0 <= epoch < LAST_EPOCH:
            return Holding(epoch, node)
    return None
