"""Connections of a user and of an address, over all processes: `per_user`, `per_address`, and `sign_ins = "first"`.

Each process counts its own, and holds them to the limit at once. With Redis it also writes its counts down there, a few
times a second and only those that changed, and reads what the others have: who came too many is closed then (4004), the
last first. So over all processes there are at most `limit`, and for less than a second (`_REST_S` and one answer of
Redis) those who came meanwhile. Of those who come at several processes in that time some may be closed who would have
fitted; they come back. Nobody waits for it, and who is there already is never closed for somebody else's sake.
While Redis is away each process holds to its own count.

Nobody is shut out for long by a connection of their own that broke off unnoticed. Whenever one is refused the others
are asked whether they are there, those of a user at all processes; which of them says nothing for 3 s is closed (4003),
and has no place from then on. The client comes back as after any loss, and fits.

In Redis each user or address is a hash of counts by process and its run. Whether a process is there its lease in the
directory says: what one that was killed had counts for nothing from the end of its lease (5 s) on. Whoever meets a
count of a process that has been gone for a minute deletes it, so that a busy address has no more of them than processes
died lately; a process that hung for long writes all of its own anew. A key that nobody renews goes after an hour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Generator, Iterable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from itertools import islice
from types import TracebackType
from typing import Final, Self

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from config.gateway import ConnectionOptions
from gateway.bus import Bus
from gateway.connection import Connection
from gateway.hub import Hub
from gateway.limits import network
from persistence.errors import StoreError
from persistence.redis import Call, RedisServers, Script

__all__ = ["Places", "families"]

CHANNEL: Final = "places"
"""Carries users who have too many connections: whoever has some of them asks whether they are there."""

_REST_S: Final = 0.2
_AWAY_S: Final = 1.0
_KEPT_S: Final = 3600
_DEAD_S: Final = 60.0
"""A process that is not there for so long has no counts any more."""
_HUNG_S: Final = _DEAD_S / 3
"""A process that hung for so long writes its counts anew: the others may think it dead. It looks as often."""
_MOST_DEAD: Final = 1_000
"""Processes that are remembered to be gone, beyond which all are met for the first time again."""
_LAST_S: Final = 1.0
"""How long the last counts may take that a process writes before it goes."""
_AT_ONCE: Final = 500
"""Calls in one bundle: a millisecond or two of Redis' time."""
_A_TURN: Final = 32
"""Connections closed in one turn of the loop: a millisecond or two."""

_COUNT: Final = Script(
    """
    if ARGV[2] == '0' then
        redis.call('HDEL', KEYS[1], ARGV[1])
    else
        redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
        redis.call('EXPIRE', KEYS[1], ARGV[3])
    end
    return redis.call('HGETALL', KEYS[1])
    """
)
"""Write our count of a user or address down; all counts there are of it."""

_FORGET: Final = Script("return redis.call('HDEL', KEYS[1], unpack(ARGV))")
"""Delete counts of processes that are gone."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Here:
    """Those of one user or address that are here."""

    connections: dict[Connection, None]
    """In the order in which they came."""
    new: dict[Connection, None]
    """Those of them that the others do not know of yet, likewise."""
    asking: bool = False
    """Whether they are being asked if they are there."""


class Places:
    """One for a process. An async context manager while it is open counts go to Redis, where there is one.

    `alive`: the processes that are there, each as `this` names ours; None while that is not known yet. Those who came
    by then are looked at when it is.
    """

    def __init__(
        self,
        hub: Hub,
        options: ConnectionOptions,
        servers: RedisServers | None,
        bus: Bus | None = None,
        *,
        this: str,
        alive: Callable[[], Collection[str] | None],
    ) -> None:
        self._of_user = 1 if options.sign_ins == "first" else options.per_user
        self._of_address = options.per_address
        self._slices = hub.slices
        self._servers = servers
        self._bus = bus
        self._this = this
        self._alive = alive
        self._here: dict[str, _Here] = {}
        self._changed: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._away = False
        self._gone_s: dict[str, float] = {}
        """Processes that have left counts and are not there, by when that was seen first."""
        self.refused = {"user": 0, "address": 0}
        """Connections closed since there were too many, by what had them."""
        if self._of_user:
            hub.signing_in.append(self._signed_in)
        if self._of_address:
            hub.coming.append(self._came)
        hub.parting.append(self._left)
        hub.leaving.append(self._left)
        if bus is not None:
            bus.subscribe(CHANNEL, self._doubt)

    async def __aenter__(self) -> Self:
        if self._servers is not None:
            self._servers.on_return(self._write_all)
            self._task = asyncio.get_running_loop().create_task(self._writing(), name="counts of connections")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            try:
                async with asyncio.timeout(_LAST_S):
                    await self._write()
            except Exception as fault:
                log.info("the last connections that left are not written down", why=str(fault) or "Redis is slow")

    def __len__(self) -> int:
        """Users and addresses that are counted here."""
        return len(self._here)

    # -- here ----------------------------------------------------------------------------------------------------

    def _signed_in(self, connection: Connection) -> None:
        self._enter(f"u:{connection.user}", connection, self._of_user)

    def _came(self, connection: Connection) -> None:
        self._enter(f"a:{network(connection.address)}", connection, self._of_address)

    def _enter(self, key: str, connection: Connection, limit: int) -> None:
        here = self._here.get(key)
        if here is None:
            here = self._here[key] = _Here({}, {})
        if len(here.connections) >= limit:
            self._refuse(key, connection)
            self._doubt(key)
            return
        here.connections[connection] = None
        connection.counts_as += (key,)
        if self._servers is not None:
            here.new[connection] = None
            self._change(key)

    def _left(self, connection: Connection) -> None:
        for key in connection.counts_as:
            self._count_no_more(key, connection)

    def _count_no_more(self, key: str, connection: Connection) -> None:
        connection.counts_as = tuple(other for other in connection.counts_as if other != key)
        here = self._here[key]
        del here.connections[connection]
        here.new.pop(connection, None)
        if self._servers is not None:
            self._change(key)
        if not here.connections:
            del self._here[key]

    def _refuse(self, key: str, connection: Connection) -> None:
        of = "user" if key.startswith("u:") else "address"
        self.refused[of] += 1
        connection.crowd_out(
            "another connection of yours is open; close it first"
            if of == "user" and self._of_user == 1
            else f"too many connections of your {'account' if of == 'user' else 'address'}"
        )

    def _doubt(self, key: str) -> None:
        """Ask those of a user or address whether they are there: there are too many."""
        here = self._here.get(key)
        if here is not None and not here.asking:
            here.asking = True
            self._slices.run(self._asking(here), _asked, partial(log.error, "connections were not asked"))

    def _asking(self, here: _Here) -> Generator[None, None, None]:
        try:
            for number, connection in enumerate(tuple(here.connections), 1):
                connection.doubt()
                if number % _A_TURN == 0:
                    yield
        finally:
            here.asking = False

    # -- over all processes --------------------------------------------------------------------------------------

    def _change(self, key: str) -> None:
        self._changed[key] = None
        self._wake.set()

    def _write_all(self) -> None:
        """Redis was away: what it had may be lost, or old."""
        self._changed.update(dict.fromkeys(self._here))
        self._wake.set()

    async def _writing(self) -> None:
        loop = asyncio.get_running_loop()
        renewed_s = rested_s = loop.time()
        rest_s = _REST_S
        while True:
            try:
                async with asyncio.timeout(_HUNG_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            self._see_who_is_back()
            now_s = loop.time()
            if now_s - renewed_s > _KEPT_S / 3 or now_s - rested_s > rest_s + 2 * _HUNG_S:
                renewed_s = now_s
                self._write_all()
            try:
                well = await self._write()
            except Exception:
                log.exception("connections could not be counted over all processes")
                well = False
            rest_s, rested_s = _REST_S if well else _AWAY_S, loop.time()
            await asyncio.sleep(rest_s)

    async def _write(self) -> bool:
        """Write down what has changed; False where some of it is to be tried again."""
        failed: dict[str, None] = {}
        try:
            while self._changed:
                keys = list(islice(self._changed, _AT_ONCE))
                for key in keys:
                    del self._changed[key]
                failed.update(await self._written(keys))
        finally:
            if failed:
                self._changed.update(failed)
                self._wake.set()
        return not failed

    async def _written(self, keys: Collection[str]) -> dict[str, None]:
        """Write these down and heed what the others have; those that Redis did not take."""
        assert self._servers is not None
        sent: dict[str, tuple[Connection, ...]] = {}
        calls: list[Call] = []
        for key in keys:
            here = self._here.get(key)
            count = 0 if here is None else len(here.connections)
            sent[key] = () if here is None else tuple(here.new)
            calls.append(_COUNT.call((self._key(key),), self._this, str(count), str(_KEPT_S)))
        answers = await self._servers.each(calls)
        alive = self._alive()
        if alive is None:  # whose of these counts are left by the dead cannot be told yet
            return dict.fromkeys(keys)
        failed: dict[str, None] = {}
        left: list[Call] = []
        for key, answer in zip(keys, answers, strict=True):
            if isinstance(answer, StoreError):
                if not self._away:
                    log.warning("connections are counted in this process alone", why=str(answer))
                self._away = True
                failed[key] = None
                continue
            fields = answer.value
            counts = {field.decode(): count for field, count in zip(fields[::2], fields[1::2], strict=True)}
            counts.pop(self._this, None)
            dead = [name for name in counts if name not in alive and self._is_gone(name)]
            if dead:
                left.append(_FORGET.call((self._key(key),), *dead[:_AT_ONCE]))
            await self._heed(key, sent[key], sum(int(count) for name, count in counts.items() if name in alive))
        self._away = bool(failed)
        if left:
            await self._servers.each(left)  # who does not take it is asked again when that key is next written
        self._see_who_is_back()
        return failed

    def _see_who_is_back(self) -> None:
        """Forget that those were gone who are there, though no count of theirs is met: gone again they are so anew."""
        if self._gone_s:
            for name in self._gone_s.keys() & set(self._alive() or ()):
                del self._gone_s[name]

    def _is_gone(self, name: str) -> bool:
        """Whether a process that is not there has not been for long."""
        now_s = asyncio.get_running_loop().time()
        if len(self._gone_s) >= _MOST_DEAD:
            self._gone_s.clear()
        return now_s - self._gone_s.setdefault(name, now_s) >= _DEAD_S

    async def _heed(self, key: str, sent: Iterable[Connection], others: int) -> None:
        """Close those of `sent` that are too many with these others; the rest is known to them now."""
        limit = self._of_user if key.startswith("u:") else self._of_address
        here = self._here.get(key)
        if here is None:
            return
        newcomers = [connection for connection in sent if connection in here.new]
        for connection in newcomers:
            del here.new[connection]
        over = others + len(here.connections) - len(here.new) - limit  # who came since is heeded the next time
        if newcomers and over > 0:
            self._doubt(key)
            if self._bus is not None and key.startswith("u:"):
                self._bus.post(CHANNEL, key)
        for connection in newcomers[::-1][: max(0, over)]:
            if key not in connection.counts_as:  # it has gone meanwhile
                continue
            self._count_no_more(key, connection)
            self._refuse(key, connection)
            if sum(self.refused.values()) % _A_TURN == 0:
                await asyncio.sleep(0)

    def _key(self, key: str) -> str:
        """Addresses are people's: in Redis they have a name by which they cannot be read."""
        kind, _, what = key.partition(":")
        if kind == "a":
            what = blake2b(what.encode(), digest_size=12).hexdigest()
        return f"{self._servers.prefix if self._servers is not None else ''}places:{kind}:{what}"


def _asked(_: None) -> None:
    """Nobody waits for it."""


def families(places: Places) -> Iterable[Metric]:
    """What operators see of these limits."""
    yield GaugeMetricFamily("typegate_places", "Users and addresses whose connections are counted", value=len(places))
    refused = CounterMetricFamily(
        "typegate_places_refused", "Connections closed since a user or address had too many", labels=["of"]
    )
    for of, count in places.refused.items():
        refused.add_metric([of], count)
    yield refused
