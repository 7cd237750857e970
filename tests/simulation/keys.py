"""What Redis keeps for races and the directory: values, sets, lists by score, and the scripts, each in one piece."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gateway.bus import lease
from persistence.errors import StoreError
from persistence.races import redis as races
from persistence.redis import Answer, Argument, Call
from session.race import Race

if TYPE_CHECKING:
    from tests.simulation.redis import Redis

_TWICE = 0.01
"""Share of the calls that are carried out twice."""
_SLOW = 0.3
"""Share of the answers that take their time; the others come at once."""
_VERSION_BYTES = 8


class Keys:
    """The data of one server. `now_ms` is its clock."""

    def __init__(self, now_ms: Callable[[], float]) -> None:
        self._now_ms = now_ms
        self.run = 0
        """Another one after each loss."""
        self.races: list[Race] = []
        """What races have become, each change of each."""
        self.latest: dict[str, tuple[int, float]] = {}
        """The version of each race, and since when, by this clock."""
        self._values: dict[str, tuple[bytes, float]] = {}
        self._sets: dict[str, set[bytes]] = {}
        self._scores: dict[str, dict[bytes, float]] = {}
        self._scripts: dict[str, Callable[[list[str], list[bytes]], Any]] = {
            races._PUT.digest: self._put,
            races._ENTER.digest: self._enter,
            races._LIST.digest: self._list,
            lease._RENEW.digest: self._renew,
            lease._LEAVE.digest: self._leave,
        }

    def lose(self) -> None:
        """Lose all data, and start anew."""
        self.run += 1
        for kept in (self._values, self._sets, self._scores):
            kept.clear()

    def race(self, race: str) -> Race | None:
        """A race as it is kept."""
        value = self._get(f"race:{race}")
        return None if value is None else Race.unpack(value[_VERSION_BYTES:])

    def do(self, command: Sequence[Argument]) -> Any:
        """Carry out a command."""
        name, *rest = command
        match name, rest:
            case "EVALSHA", [str(digest), int(count), *arguments]:
                keys = [str(key) for key in arguments[:count]]
                return self._scripts[digest](keys, [_bytes(each) for each in arguments[count:]])
            case "GET", [str(key)]:
                return self._get(key)
            case "TIME", []:
                micros = round(self._now_ms() * 1000)
                return [str(micros // 1_000_000).encode(), str(micros % 1_000_000).encode()]
            case "SADD", [str(key), member]:
                self._sets.setdefault(key, set()).add(_bytes(member))
            case "SREM", [str(key), member]:
                self._sets.get(key, set()).discard(_bytes(member))
            case "SISMEMBER", [str(key), member]:
                return int(_bytes(member) in self._sets.get(key, ()))
            case "SMEMBERS", [str(key)]:
                return sorted(self._sets.get(key, ()))
            case "ZREM", [str(key), member]:
                self._scores.get(key, {}).pop(_bytes(member), None)
            case "ZRANGE", [str(key), int(least), "+inf", "BYSCORE", "LIMIT", 0, int(most)]:
                return [member for member, score in self._sorted(key) if score >= least][:most]
            case _:
                raise AssertionError(f"this Redis knows no {name!r}")
        return 1

    def _get(self, key: str) -> bytes | None:
        value, until_ms = self._values.get(key, (None, 0.0))
        return value if self._now_ms() < until_ms else None

    def _sorted(self, key: str) -> list[tuple[bytes, float]]:
        return sorted(self._scores.get(key, {}).items(), key=lambda each: (each[1], each[0]))

    def _set(self, key: str, value: bytes, keep_ms: bytes) -> None:
        assert int(keep_ms) > 0, "what is kept for races and leases ends"
        self._values[key] = value, self._now_ms() + int(keep_ms)

    # -- scripts, line by line as they stand beside those who call them -----------------------------------------------

    def _put(self, keys: list[str], arguments: list[bytes]) -> Any:
        expected, new, keep_ms = arguments
        value = self._get(keys[0])
        if (value or b"")[:_VERSION_BYTES] != expected and value != new:
            return value
        if value != new:
            race = Race.unpack(new[_VERSION_BYTES:])
            self.races.append(race)
            self.latest[race.id] = race.version, self._now_ms()
        self._set(keys[0], new, keep_ms)
        return 1

    def _enter(self, keys: list[str], arguments: list[bytes]) -> int:
        race, now_ms, until_ms, most, _ = arguments
        kept = self._without_past(keys[0], now_ms)
        if race not in kept and len(kept) >= int(most):
            return 0
        kept[race] = float(until_ms)
        return 1

    def _list(self, keys: list[str], arguments: list[bytes]) -> int:
        member, now_ms, until_ms, most, _ = arguments
        kept = self._without_past(keys[0], now_ms)
        kept[member] = float(until_ms)
        for old, _ in self._sorted(keys[0])[: max(0, len(kept) - int(most))]:
            del kept[old]
        return 1

    def _without_past(self, key: str, now_ms: bytes) -> dict[bytes, float]:
        kept = {member: score for member, score in self._scores.get(key, {}).items() if score > float(now_ms)}
        self._scores[key] = kept
        return kept

    def _renew(self, keys: list[str], arguments: list[bytes]) -> int:
        own, keep_ms, takes = arguments
        held = self._get(keys[0])
        if held is not None and held != own and takes == b"0":
            return 0
        self._set(keys[0], own, keep_ms)
        return 1 if held == own else 2

    def _leave(self, keys: list[str], arguments: list[bytes]) -> int:
        if self._get(keys[0]) != arguments[0]:
            return 0
        del self._values[keys[0]]
        return 1


class Servers:
    """`RedisServers`, as one process reaches it. What is not answered may have been done; some is done twice."""

    prefix = ""

    def __init__(self, redis: Redis, machine: str, *, settled: Callable[[], None] = lambda: None) -> None:
        """`settled` is called when a change has been written that makes a race's places final."""
        self._redis = redis
        self._machine = machine
        self._settled = settled

    async def ask(self, call: Call) -> Answer:
        (answer,) = await self.each([call])
        if isinstance(answer, StoreError):
            raise answer
        return answer

    async def each(self, calls: Sequence[Call]) -> list[Answer | StoreError]:
        if not calls:
            return []
        redis, keys = self._redis, self._redis.keys
        try:
            await self._way()
            if redis.random() < _TWICE:
                for call in calls:
                    keys.do(call.command)
            written = len(keys.races)
            answers: list[Answer | StoreError] = [Answer(keys.do(call.command), str(keys.run)) for call in calls]
            if len(keys.races) > written and keys.races[-1].final:
                self._settled()
            if redis.random() < _SLOW:
                await self._way()
        except StoreError as fault:
            return [fault] * len(calls)
        return answers

    async def ping(self) -> None:
        await self._way()

    async def _way(self) -> None:
        await asyncio.sleep(0.0003 + 0.01 * self._redis.random() ** 4)
        if self._redis.is_away(self._machine):
            await asyncio.sleep(0.2 * self._redis.random())
            raise StoreError("Redis is away", retriable=True)


def _bytes(argument: Argument) -> bytes:
    return argument if isinstance(argument, bytes) else str(argument).encode()
