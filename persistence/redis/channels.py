"""Channels in Redis: what is published on those that are listened to, heard on one connection to each server.

Nobody keeps what is published: who has no connection at that moment has missed it. Redis' clients that mend their
connections by themselves do so silently; here `listening` says from when on a channel is heard, and says it again
whenever something may have been missed: after a lost connection, and after a slot of a Cluster has moved.

A standalone server has all channels. On a Cluster they are sharded: each is heard at the master of its slot, so that
what is published on it goes to no other. A connection on which nothing comes, no answer to a PING either, is given up:
a server that vanished without a word is noticed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

import structlog
from redis.asyncio.connection import Connection
from redis.exceptions import AskError, MovedError, RedisError, ResponseError

from persistence.errors import StoreError
from persistence.redis.options import RedisOptions
from persistence.redis.servers import RedisServers

__all__ = ["Channels"]

log = structlog.get_logger(__name__)

_PING_S = 5.0
_PINGS = 2
"""A connection on which so many PINGs one after the other brought nothing is given up when the next one is due. It is
looked when they are due, and not after a time: while we ourselves were not let run what came is still to be read."""
_SLICE_S = 0.002
"""Messages that are here already are read without a turn of the event loop; no longer than this."""


class Channels:
    """The channels that a process listens to. Opening needs no Redis: they are heard from when there is one.

    `heard(channel, message)` and `listening(channel)` are called on the event loop, are quick, and never raise.
    """

    def __init__(
        self,
        options: RedisOptions,
        servers: RedisServers,
        *,
        heard: Callable[[str, bytes], None],
        listening: Callable[[str], None],
        chance: random.Random | None = None,
    ) -> None:
        self._options = options
        self._servers = servers
        self._heard = heard
        self._listening = listening
        self._chance = chance or random.Random()
        self._opener: Callable[[str, int], Connection]
        self._wanted: dict[str, _Ear | None] = {}
        self._deaf: dict[str, str] = {}
        """Why a channel that is wanted is not heard."""
        self._to_place: set[str] = set()
        self._place = asyncio.Event()
        self._placing: asyncio.Task[None] | None = None
        self._ears: dict[tuple[str, int], _Ear] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._tries: dict[tuple[str, int], int] = {}
        self._waits: set[asyncio.TimerHandle] = set()

    async def open(self) -> None:
        """Begin. Raises `StoreError` where a file that the options name cannot be read."""
        self._opener = await asyncio.to_thread(self._options.opener)
        self._placing = asyncio.get_running_loop().create_task(self._keep_placing(), name="channels of Redis")

    async def close(self) -> None:
        """Hear nothing more."""
        self._wanted.clear()
        for wait in self._waits:
            wait.cancel()
        tasks = {ear.task for ear in self._ears.values()} | self._ending
        if self._placing is not None:
            tasks.add(self._placing)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        """Connections that are open, or being opened."""
        return len(self._ears)

    def add(self, channel: str) -> None:
        """Listen to a channel."""
        if channel not in self._wanted:
            self._wanted[channel] = None
            self._deaf[channel] = "not connected yet"
            self._to_place.add(channel)
            self._place.set()

    def discard(self, channel: str) -> None:
        """Listen to it no more."""
        ear = self._wanted.pop(channel, None)
        self._deaf.pop(channel, None)
        self._to_place.discard(channel)
        if ear is not None:
            ear.discard(channel)
            if not ear.channels:
                self._end(ear)

    def ping(self) -> None:
        """Raise `StoreError` where a channel is not heard just now."""
        for channel, why in self._deaf.items():
            raise StoreError(f"channel {channel}: {why}", retriable=True)

    async def _keep_placing(self) -> None:
        """Give each channel to the connection to the server that has it."""
        while True:
            await self._place.wait()
            self._place.clear()
            while self._to_place:
                channel = self._to_place.pop()
                try:
                    server = await self._servers.owner(channel)
                except StoreError as fault:
                    self._later({channel}, str(fault), tries=4)
                    continue
                if self._wanted.get(channel, self) is None:  # it may have been given up meanwhile
                    ear = self._ears.get(server)
                    if ear is None:
                        ear = self._ears[server] = _Ear(self, server)
                        ear.task = asyncio.get_running_loop().create_task(self._life(ear))
                    self._wanted[channel] = ear
                    ear.add(channel)

    async def _life(self, ear: _Ear) -> None:
        """A connection's life; what it listened to is given to another one after it."""
        host, port = ear.server
        fault = "it could not be listened to"
        try:
            fault = await ear.hear(self._opener(host, port))
        except Exception:  # a fault of ours; without another try the channels would be dead
            log.exception("the connection to a server of Redis failed", server=f"{host}:{port}")
        finally:
            if self._ears.get(ear.server) is ear:
                del self._ears[ear.server]
        why = f"Redis at {host}:{port}: {fault}"
        tries = 0 if ear.served else self._tries.get(ear.server, -1) + 1
        self._tries[ear.server] = tries
        if tries == 0:
            log.warning("nothing is heard from a server of Redis", server=f"{host}:{port}", why=fault)
        self._servers.look_again()
        self._later(ear.channels, why, tries=tries)

    def _later(self, channels: Iterable[str], why: str, *, tries: int) -> None:
        """Place these again in a while."""
        mine = {channel for channel in channels if channel in self._wanted}
        for channel in mine:
            self._wanted[channel] = None
            self._deaf[channel] = why
        options = self._options
        longest_ms = min(options.retry_max_ms, options.retry_min_ms << min(tries, 20))

        def again() -> None:
            self._waits.discard(wait)
            self._to_place |= {channel for channel in mine if self._wanted.get(channel, self) is None}
            self._place.set()

        delay_s = self._chance.uniform(0.5, 1.0) * longest_ms / 1000
        wait = asyncio.get_running_loop().call_later(delay_s, again)
        self._waits.add(wait)

    def _end(self, ear: _Ear) -> None:
        """Close a connection that has nothing to hear."""
        del self._ears[ear.server]
        ear.task.cancel()
        self._ending.add(ear.task)
        ear.task.add_done_callback(self._ending.discard)

    # What connections tell.

    def _began(self, channel: str) -> None:
        self._deaf.pop(channel, None)
        self._listening(channel)

    def _moved(self, ear: _Ear, channel: str) -> None:
        """The server has the channel no more."""
        self._servers.look_again()
        self._later({channel}, "its slot of the Redis Cluster is moving", tries=0)
        if not ear.channels:
            self._end(ear)


class _Ear:
    """One connection to one server, and the channels that are heard on it."""

    def __init__(self, home: Channels, server: tuple[str, int]) -> None:
        self.server = server
        self.channels: set[str] = set()
        self.served = False
        """Whether anything was ever heard on it."""
        self.task: asyncio.Task[None]
        self._home = home
        sharded = bool(home._options.nodes)
        self._verbs = ("SSUBSCRIBE", "SUNSUBSCRIBE") if sharded else ("SUBSCRIBE", "UNSUBSCRIBE")
        self._to_say: deque[tuple[str, str]] = deque()
        self._say = asyncio.Event()
        self._asked: deque[str] = deque()
        """Channels whose subscription the server has not answered yet; it answers in order."""
        self._unanswered = 0
        """PINGs since anything was heard."""

    def add(self, channel: str) -> None:
        self.channels.add(channel)
        self._to_say.append((self._verbs[0], channel))
        self._say.set()

    def discard(self, channel: str) -> None:
        self.channels.discard(channel)
        self._to_say.append((self._verbs[1], channel))
        self._say.set()

    async def hear(self, connection: Connection) -> str:
        """Hear what comes until nothing does; why it ended."""
        talking: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(self._home._options.call_ms / 1000):
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's own gap
            async with asyncio.timeout(None) as limit:
                talking = asyncio.get_running_loop().create_task(self._talk(connection, limit))
                await self._listen(connection)
        except TimeoutError:
            return "it says nothing any more" if self.served else "it does not answer"
        except (RedisError, OSError) as fault:
            return str(fault).rstrip(".")
        finally:
            if talking is not None:
                talking.cancel()
                await asyncio.wait([talking])
            await connection.disconnect(nowait=True)
        raise AssertionError("it listens until something ends it")

    async def _listen(self, connection: Connection) -> None:
        home = self._home
        until = time.perf_counter() + _SLICE_S
        while True:
            try:
                said = await connection.read_response()
            except (MovedError, AskError):
                self._give_back(self._asked.popleft())
                continue
            except ResponseError:
                raise  # to a subscription that is refused: password, permission, a Cluster that is down
            self._unanswered = 0
            match said:
                case [b"message" | b"smessage", channel, message]:
                    home._heard(channel.decode(), message)
                case [b"subscribe" | b"ssubscribe", channel, _]:
                    self._asked.popleft()
                    if (name := channel.decode()) in self.channels:
                        self.served = True
                        home._began(name)
                case [b"unsubscribe" | b"sunsubscribe", channel, _]:
                    self._give_back(channel.decode())  # unless we asked for it, its slot has moved
            if time.perf_counter() > until:
                await asyncio.sleep(0)
                until = time.perf_counter() + _SLICE_S

    def _give_back(self, channel: str) -> None:
        if channel in self.channels:
            self.channels.discard(channel)
            self._home._moved(self, channel)

    async def _talk(self, connection: Connection, limit: asyncio.Timeout) -> None:
        """Say what is to be listened to, and make the server say something: now and then, however much else is said.

        Its end is noticed by who reads; where nothing comes any more, that one's time is over.
        """
        loop = asyncio.get_running_loop()
        due = loop.time() + _PING_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._say.wait()
            self._say.clear()
            commands: list[tuple[str, ...]] = []
            if loop.time() >= due:
                if self._unanswered >= _PINGS:
                    limit.reschedule(loop.time())
                    return
                self._unanswered += 1
                due = loop.time() + _PING_S
                commands.append(("PING",))
            while self._to_say:
                verb, channel = self._to_say.popleft()
                if verb == self._verbs[0]:
                    self._asked.append(channel)
                commands.append((verb, channel))
            try:
                async with asyncio.timeout(_PINGS * _PING_S):
                    await connection.send_packed_command(connection.pack_commands(commands))
            except TimeoutError:
                limit.reschedule(loop.time())
                return
            except (RedisError, OSError):
                return
