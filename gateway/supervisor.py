"""One server as several processes: starts them, starts those that die again, and ends them all.

Each is `typegate serve` once more, with a number. The first is started alone: it makes what is missing in the data
folder (keys, tables), and if it cannot start none can. The folder's lock is taken here and lent to all, so that it is
free when the last of them has ended. Each process has a line to its parent: it says when it is ready or why it cannot
start, and every second that it is alive: one that falls silent hangs, and is killed, so that its typists go on at
another. When the line breaks, since the parent is dead, the process drains and ends.

SIGHUP starts them anew one after the other, each drained before, with settings, certificates and code as they are then.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from config.processes import ADMIN_STEP
from config.settings import Settings
from gateway.api.health import READY_S, Health
from gateway.edge import Edge
from gateway.joined import fetch, join
from gateway.opening import CannotStart, admin_port, listening, url_of
from gateway.process import CLOSING_S
from persistence.errors import StoreError
from persistence.folder import DataFolder

__all__ = ["Line", "Supervisor", "share_of"]

_ALIVE = b"\n"
_LOOKS = 4
_FIRST_WORD_S = 60.0
"""Time for a process to say anything at all: before its loop goes round it reads its code, on a machine that may have
other work."""

log = structlog.get_logger(__name__)


def share_of(settings: Settings, number: int) -> Settings:
    """The settings of one of several processes: its ports; the parent has the admin port itself."""
    own = settings.processes.own_ports

    def port(first: int, step: int) -> int:
        return first + step if first else 0  # 0: each takes a free one

    return settings.model_copy(
        update={
            "server": replace(
                settings.server, port=port(settings.server.port, number if own else 0), reuse_port=not own
            ),
            "admin": replace(settings.admin, port=port(settings.admin.port, ADMIN_STEP + number)),
            "agent": replace(settings.agent, port=port(settings.agent.port, number)),
        }
    )


class Line:
    """A process's end of the line to its parent. `end` is called, in a thread, when the parent is no more."""

    def __init__(self, descriptor: int, *, end: Callable[[], None]) -> None:
        self._socket = socket.socket(fileno=descriptor)
        threading.Thread(target=self._watch, args=(end,), name="parent", daemon=True).start()

    def ready(self, *, url: str, admin_url: str | None) -> None:
        """Say that we serve."""
        self._say({"url": url, "admin_url": admin_url})

    def cannot_start(self, why: str) -> None:
        """Say why we do not."""
        self._say({"fault": why})

    def alive(self) -> None:
        """Say that the loop goes round; a parent that does not listen just now is not waited for."""
        with suppress(OSError):
            self._socket.send(_ALIVE, socket.MSG_DONTWAIT)

    def _say(self, words: dict[str, Any]) -> None:
        with suppress(OSError):  # the parent is dead, and we shall hear of it
            self._socket.sendall(json.dumps(words).encode() + b"\n")

    def _watch(self, end: Callable[[], None]) -> None:
        with suppress(OSError):
            while self._socket.recv(64):
                pass
        end()


class Supervisor:
    """The parent. An async context manager: entering starts all processes, leaving ends them.

    `arguments` are those of the command, `reread` reads the settings anew, or raises ValueError. `failure` says why it
    has given up; then it stops as if somebody had stopped it.
    """

    def __init__(self, settings: Settings, *, arguments: Sequence[str], reread: Callable[[], Settings]) -> None:
        self.settings = settings
        self.failure: str | None = None
        self.url = ""
        """Where one may begin: the common port's, or the first process's."""
        self._arguments = list(arguments)
        self._reread = reread
        self._options = settings.processes
        self._places = [_Place(number) for number in range(self._options.count)]
        self._keepers: set[asyncio.Task[None]] = set()
        self._rolling: asyncio.Task[None] | None = None
        self._roll_again = False
        self._started = False
        self._stopping = asyncio.Event()
        self._chance = random.Random()
        self._folder: DataFolder
        self._admin: Edge | None = None
        self._opened = AsyncExitStack()
        self.health = Health(
            {"processes": self._some_ready, **{f"process {place.number}": place.ping for place in self._places}},
            behind=[f"process {place.number}" for place in self._places],
        )

    async def __aenter__(self) -> Self:
        """Raises CannotStart where a process does not come to serve."""
        settings = self.settings
        async with AsyncExitStack() as opening:
            try:
                self._folder = await opening.enter_async_context(
                    DataFolder(settings.node.data, min_free_bytes=settings.spool.min_free_bytes)
                )
            except StoreError as fault:
                raise CannotStart(f"{fault}.") from fault
            if not self._options.own_ports:
                self._arguments += ["--port", str(opening.enter_context(_reserved(settings)))]
            if settings.admin.enabled:
                self._admin = await opening.enter_async_context(admin_port(settings.admin, self, self.health))
            opening.push_async_callback(self._end)
            for places in (self._places[:1], self._places[1:]):
                for place in places:
                    self._keep(place)
                await self._all_ready(places)
            if self.failure is not None:  # just now
                raise CannotStart(self.failure)
            self._started = True
            self.url = self._places[0].url
            self._opened = opening.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.aclose()

    @property
    def admin_url(self) -> str | None:
        """The admin port's address; None where it is off."""
        return None if self._admin is None else url_of(self._admin)

    @property
    def urls(self) -> list[str]:
        """Where the processes serve."""
        return list(dict.fromkeys(place.url for place in self._places))

    @property
    def grace_s(self) -> float:
        """How long a process may take to end in good order."""
        stop = self.settings.stop
        return stop.grace_s + stop.flush_s + CLOSING_S

    async def drain(self, hurry: asyncio.Event) -> None:
        """Have all processes drain, at once; `hurry` is passed on."""
        self._stop()
        waiting = asyncio.get_running_loop().create_task(hurry.wait())
        gone = asyncio.get_running_loop().create_task(self._gone())
        try:
            await asyncio.wait([gone, waiting], timeout=self.grace_s, return_when=asyncio.FIRST_COMPLETED)
            if hurry.is_set():
                self._hurry()
                await asyncio.wait([gone], timeout=CLOSING_S)
        finally:
            for task in (waiting, gone):
                task.cancel()
            await asyncio.gather(waiting, gone, return_exceptions=True)

    def reload(self) -> None:
        """Start the processes anew, one after the other (SIGHUP)."""
        if self._rolling is not None:
            self._roll_again = True
        elif not self._stopping.is_set():
            self._rolling = self._own(self._roll())

    async def scrape(self) -> bytes:
        """The figures of all processes."""
        asked = [place for place in self._places if place.admin_url]
        answers = await asyncio.gather(*(fetch(place.admin_url, "/metrics") for place in asked), return_exceptions=True)
        texts = {
            str(place.number): answer[1]
            for place, answer in zip(asked, answers, strict=True)
            if not isinstance(answer, BaseException) and answer[0] == 200
        }
        return await asyncio.to_thread(join, texts, self._own_figures(texts.keys()))

    # -- keeping them --------------------------------------------------------------------------------------------

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._keepers.add(task)
        task.add_done_callback(self._keepers.discard)
        return task

    def _keep(self, place: _Place) -> None:
        place.keeper = self._own(self._keeping(place))

    async def _keeping(self, place: _Place) -> None:
        """Start a process whenever it is not there."""
        options = self._options
        at_once = 0  # deaths in a row
        while not self._stopping.is_set():
            try:
                why, lived_s = await self._life(place)
            except OSError as fault:  # no memory, too many processes: as if it had died
                why, lived_s = f"it cannot be started: {fault.strerror or fault}", 0.0
            except Exception as fault:  # of ours, or words of its that are none: nobody else would start it again
                log.exception("a process could not be followed", number=place.number)
                why, lived_s = f"it cannot be followed: {fault!r}", 0.0
            if self._stopping.is_set():
                return
            if place.leaving:
                at_once, place.leaving = 0, False
                continue
            place.deaths += 1
            at_once = at_once + 1 if lived_s < options.young_s else 1
            cannot = place.fault is not None and not self._started
            log.error("a process has died", number=place.number, why=why, lived_s=round(lived_s, 1))
            if lived_s >= options.young_s:
                place.untried = False
            spared = place.untried and any(other.ready.is_set() for other in self._places)
            if cannot or (at_once >= options.most_deaths and not spared):
                again = "" if cannot else f" It died at once {at_once} times in a row."
                self._give_up(f"process {place.number}: {why.rstrip('.')}.{again}")
                return
            longest_ms = min(options.again_max_ms, options.again_min_ms << min(at_once - 1, 20))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._chance.uniform(0.5, 1.0) * longest_ms / 1000):
                    await self._stopping.wait()

    async def _life(self, place: _Place) -> tuple[str, float]:
        """Start a process and wait for its end: why it ended, and how long it had served."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        try:
            lent = (theirs.fileno(), self._folder.lock.fileno())
            place.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway.cli", *self._arguments),
                *("--process", f"{place.number}:{theirs.fileno()}"),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=lent,
                start_new_session=True,  # Ctrl-C is for us; we tell them
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        if self._stopping.is_set() or place.leaving:
            place.signal(signal.SIGTERM)
        place.fault, place.spoke, place.hung_s = None, False, 0.0
        ready_at: float | None = None
        reader, writer = await asyncio.open_connection(sock=ours)
        watch = self._own(self._watching(place))
        try:
            while line := await reader.readline():
                place.heard = place.spoke = True
                if line == _ALIVE:
                    continue
                said = json.loads(line)
                place.fault = said.get("fault")
                if place.fault is None:
                    ready_at = loop.time()
                    place.serves(said["url"], said["admin_url"])
                    if self._started:
                        log.info("a process serves", number=place.number, pid=place.process.pid)
            code = await place.process.wait()
        except Exception:
            place.signal(signal.SIGKILL)  # there must be one of it at a time
            await place.process.wait()
            raise
        finally:
            watch.cancel()
            writer.transport.abort()
            place.lost()
        if place.hung_s:
            return f"it hung: nothing was heard of it for {place.hung_s:g} s", _served(ready_at)
        return place.fault or _how(code), _served(ready_at)

    async def _watching(self, place: _Place) -> None:
        """Kill a process of which nothing is heard for so long; one that has not said a word yet has longer.

        It is looked several times, and not once after the whole time: after the machine itself has slept, or we were
        not let run, what the process said meanwhile is still to be read.
        """
        silent_s = 0.0
        while hung_s := self._options.hung_s:
            place.heard = False
            await asyncio.sleep(hung_s / _LOOKS)
            silent_s = 0.0 if place.heard else silent_s + hung_s / _LOOKS
            if silent_s >= (hung_s if place.spoke else max(hung_s, _FIRST_WORD_S)):
                place.hung_s = silent_s
                log.error("a process hangs and is killed", number=place.number, silent_s=silent_s)
                place.signal(signal.SIGKILL)
                return

    def _give_up(self, why: str) -> None:
        if self.failure is None:
            self.failure = why
            self._stop()
            if self._started:
                os.kill(os.getpid(), signal.SIGTERM)  # as whoever runs us would stop us

    def _stop(self) -> None:
        self._stopping.set()
        self.health.draining = True
        for place in self._places:
            place.signal(signal.SIGTERM)

    def _hurry(self) -> None:
        for place in self._places:
            place.signal(signal.SIGINT)

    async def _gone(self) -> None:
        while self._keepers:
            await asyncio.wait(self._keepers)

    async def _all_ready(self, places: Sequence[_Place]) -> None:
        """Wait until these serve. Raises CannotStart where we give up before."""
        waiting = [asyncio.get_running_loop().create_task(place.ready.wait()) for place in places]
        failed = asyncio.get_running_loop().create_task(self._stopping.wait())
        try:
            while waiting and not failed.done() and not all(task.done() for task in waiting):
                pending = [task for task in waiting if not task.done()]
                await asyncio.wait([*pending, failed], return_when=asyncio.FIRST_COMPLETED)
            if self.failure is not None:
                raise CannotStart(self.failure)
        finally:
            for task in (*waiting, failed):
                task.cancel()
            await asyncio.gather(*waiting, failed, return_exceptions=True)

    async def _end(self) -> None:
        """End what is left, without grace."""
        self._stop()
        if self._started:
            self._hurry()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_S if self._started else self.grace_s):
                await self._gone()
        for place in self._places:
            if place.alive:
                log.error("a process did not end in time and is killed", number=place.number)
                place.signal(signal.SIGKILL)
        await self._gone()

    # -- rolling -------------------------------------------------------------------------------------------------

    async def _roll(self) -> None:
        try:
            while True:
                self._roll_again = False
                try:
                    await self._roll_once()
                except Exception:  # a fault of ours; the processes are kept all the same
                    log.exception("processes could not be started anew")
                if not self._roll_again or self._stopping.is_set():
                    return
        finally:
            self._rolling = None

    async def _roll_once(self) -> None:
        try:
            fresh = await asyncio.to_thread(self._reread)
        except ValueError as fault:
            log.error("the settings have a fault; nothing was started anew", fault=str(fault))
            return
        if (kept := _kept(fresh)) != (had := _kept(self.settings)):
            names = ", ".join(name for name in kept if kept[name] != had[name])
            log.error("these settings need a restart of the whole; nothing was started anew", settings=names)
            return
        log.info("starting all processes anew, one after the other", processes=len(self._places))
        for place in self._places:
            await self._waited(place.ready.wait())
            if self._stopping.is_set():
                return
            deaths = place.deaths
            place.ready.clear()
            place.leaving = place.untried = True
            place.signal(signal.SIGTERM)
            ended = await self._waited(place.ended.wait(), limit_s=self.grace_s + CLOSING_S)
            if not ended and place.leaving:
                place.signal(signal.SIGKILL)
            await self._waited(place.ready.wait(), until=lambda: place.deaths > deaths)  # noqa: B023  # awaited here
            if place.deaths > deaths:
                log.error(
                    "a process that was started anew does not serve; the others stay as they were", number=place.number
                )
                return
        log.info("all processes were started anew")

    async def _waited(
        self, event: Coroutine[Any, Any, Any], *, limit_s: float | None = None, until: Callable[[], bool] | None = None
    ) -> bool:
        """Wait for something, or until we stop, or `until` holds (looked at now and then); whether it came."""
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(event), loop.create_task(self._stopping.wait())]
        over = None if limit_s is None else loop.time() + limit_s
        try:
            while not any(task.done() for task in tasks):
                if (over is not None and loop.time() > over) or (until is not None and until()):
                    break
                await asyncio.wait(tasks, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
            return tasks[0].done()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # -- what is seen of them ------------------------------------------------------------------------------------

    async def _some_ready(self) -> None:
        """Raise `StoreError` where none serves, or all that do say that they are not ready."""
        serving = [place for place in self._places if place.ready.is_set()]
        said = await asyncio.gather(*(place.ping() for place in serving), return_exceptions=True)
        if all(isinstance(fault, NotReady) for fault in said):
            raise StoreError("none is ready" if said else "none serves", retriable=True)

    def _own_figures(self, answered: Collection[str]) -> Iterator[Metric]:
        up = GaugeMetricFamily("typegate_process_up", "Whether a process answers", labels=["process"])
        deaths = CounterMetricFamily("typegate_process_deaths", "Times that a process died", labels=["process"])
        for place in self._places:
            up.add_metric([str(place.number)], float(str(place.number) in answered))
            deaths.add_metric([str(place.number)], place.deaths)
        yield up
        yield deaths


class NotReady(StoreError):
    """A process says that it is not ready; one that says nothing in time may be well, and busy."""


class _Place:
    """One process's place: whoever has it now."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: asyncio.subprocess.Process | None = None
        self.keeper: asyncio.Task[None]
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self.leaving = False
        """Whether its end is asked for, and the next one is to come at once."""
        self.untried = False
        """Whether it was started anew as asked, and has not lived long since: then its deaths stop nobody else."""
        self.deaths = 0
        self.heard = False
        """Whether it has said anything since this was last looked at."""
        self.spoke = False
        """Whether it has said anything at all."""
        self.hung_s = 0.0
        """For how long it had said nothing, where it was killed for that; else 0."""
        self.fault: str | None = None
        self.url = ""
        self.admin_url = ""

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)

    def serves(self, url: str, admin_url: str | None) -> None:
        self.url, self.admin_url = url, admin_url or ""
        self.ended.clear()
        self.ready.set()

    def lost(self) -> None:
        self.ready.clear()
        self.admin_url = ""
        self.ended.set()

    async def ping(self) -> None:
        """Raise `StoreError` where it does not serve, or is not ready."""
        if not self.ready.is_set():
            raise StoreError("it is being started", retriable=True)
        if self.admin_url:
            try:
                status, body = await fetch(self.admin_url, "/readyz", limit_s=READY_S)
            except (OSError, ValueError) as fault:
                raise StoreError(f"it does not answer: {str(fault) or 'too late'}", retriable=True) from None
            if status != 200:
                raise NotReady(f"it is not ready: {body.decode(errors='replace')[:1000]}", retriable=True)


@contextmanager
def _reserved(settings: Settings) -> Iterator[int]:
    """Hold the common port, without listening, as long as the context is open. Raises CannotStart."""
    host, port = settings.server.host, settings.server.port
    held: list[socket.socket] = []
    try:
        with listening(host, port, setting="server.port", flag="--port"):
            for family, kind, protocol, _, address in socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            ):
                with socket.socket(family, kind, protocol) as alone:  # who shares ports would let us share this one
                    alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    if family == socket.AF_INET6:
                        alone.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    alone.bind((address[0], port, *address[2:]))
                    port = alone.getsockname()[1]
                shared = socket.socket(family, kind, protocol)
                held.append(shared)
                shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:
                    shared.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                shared.bind((address[0], port, *address[2:]))
        yield port
    finally:
        for one in held:
            one.close()


def _kept(settings: Settings) -> dict[str, object]:
    """What cannot change while processes are started anew one after the other."""
    return {
        "processes": settings.processes,
        "server.host": settings.server.host,
        "server.port": settings.server.port,
        "admin": settings.admin,
        "node.data": settings.node.data,
        "node.name": settings.node.name,
        "redis": settings.redis,
        "stop": settings.stop,  # by it we know how long a process may take to end
    }


def _served(ready_at: float | None) -> float:
    return 0.0 if ready_at is None else asyncio.get_running_loop().time() - ready_at


def _how(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"it ended with {code}; its log says why"
    try:
        return f"it was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was killed by signal {-code}"
