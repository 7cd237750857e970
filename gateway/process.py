"""A process of ours: its signals, its limits, its collector, and an end in bounded time."""

import asyncio
import gc
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, TypeVar

import structlog
import uvloop

__all__ = ["ALIVE_S", "RESERVED_FILES", "Process", "allow_connections", "exit_after", "raise_file_limit", "run"]

ALIVE_S = 1.0
"""So often a process says that it is alive."""
CLOSING_S = 15.0
"""Time for all resources to close after the grace; a server's is 20 s by default, so 35 s in all, in fact a few ms."""
RESERVED_FILES = 256
"""Open files beside connections: databases, logs, sockets of libraries."""
MANY_TYPISTS = 10_000 + RESERVED_FILES
"""With fewer open files a warning is due: one core holds that many typists."""
MANY_FILES = 1 << 20
"""Open files asked for where the system says that there is no limit."""

log = structlog.get_logger(__name__)


class Process(Protocol):
    """What a process of ours is for: a server or a worker. Entering begins it, leaving ends it without grace."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def drain(self, hurry: asyncio.Event) -> None:
        """Come to an end in good order; `hurry` cuts the waiting short."""
        ...

    def reload(self) -> None:
        """Read again what files may have changed (SIGHUP)."""
        ...


P = TypeVar("P", bound=Process)


def run(
    process: Callable[[], P],
    *,
    announce: Callable[[P], None],
    grace_s: float,
    one_of_several: bool = False,
    alive: Callable[[], None] | None = None,
) -> None:
    """Run a process until SIGTERM or SIGINT; another one of them hurries it. `process` makes it, `announce` is called
    when it has begun.

    Its drain may take `grace_s`. `one_of_several`: only SIGINT hurries it, for it may be told of one stop by SIGTERM
    more than once, by its parent and by whoever stops the whole group. `alive` is called every `ALIVE_S` as long as the
    loop goes round, from before it begins until after it has ended. Raises what entering it raises.
    """
    # Threads (databases, compression) give the interpreter back after 1 ms instead of 5 where the loop wants it:
    # nothing may hold the loop for more than 3 ms.
    sys.setswitchinterval(0.001)
    uvloop.run(_run(process, announce, grace_s, one_of_several, alive))


async def _run(
    make: Callable[[], P],
    announce: Callable[[P], None],
    grace_s: float,
    one_of_several: bool,
    alive: Callable[[], None] | None,
) -> None:
    loop = asyncio.get_running_loop()

    def beat(say: Callable[[], None]) -> None:
        say()
        loop.call_later(ALIVE_S, beat, say)

    if alive is not None:
        beat(alive)
    stop, hurry = asyncio.Event(), asyncio.Event()

    def stopped(number: signal.Signals) -> None:
        if not stop.is_set():
            stop.set()
        elif number == signal.SIGINT or not one_of_several:
            hurry.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped, number)
    loop.add_signal_handler(signal.SIGHUP, _being_read)
    async with make() as process:
        loop.add_signal_handler(signal.SIGHUP, process.reload)
        # What is there now stays: the collector need not walk it again. A session makes no cycles, so the collector
        # has little to find, and its pauses grow with what it walks (DESIGN's 219 ms at 10,000 sessions in lists).
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        announce(process)
        await stop.wait()
        exit_after(grace_s + CLOSING_S)
        await process.drain(hurry)
    log.info("stopped")


def _being_read() -> None:
    """What files may have changed is read at this moment, for the first time."""


def allow_connections(connections: int) -> None:
    """Have as many open files as these need, as far as the system lets us; say so where it does not."""
    wanted = connections + RESERVED_FILES
    files = raise_file_limit()
    if files < wanted:
        (log.warning if files < MANY_TYPISTS else log.info)(
            "the limit of open files is below the connections allowed; raise it (ulimit -n, or LimitNOFILE in systemd)",
            open_files=files,
            connections=connections,
        )


def exit_after(seconds: float) -> None:
    """End the process then, whatever hangs: a thread that waits for a dead disk would keep it for ever.

    What is spooled is durable, and running tests are their clients'; so nothing is lost by it.
    """

    def end() -> None:
        log.error("the process did not stop in time; something hangs, so it ends now", seconds=seconds)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one, or to plenty where there is none; what holds then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY_FILES if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):
            pass  # a system may have a limit of its own below its "none"
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
