"""HAProxy's agent check: a line for each who connects, of how much more the process can take.

The balancer asks every second or two and gives the process so much of its weight; who drains or is not ready gets
nobody any more. `maint` and not `drain`: to one that drains HAProxy still sends the clients that bear its cookie.
What a line may say is in HAProxy's configuration manual, `agent-check`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from config.gateway import AgentOptions
from gateway.api.health import Health
from gateway.opening import listening

__all__ = ["Load", "agent_port"]

_SAMPLE_S = 1.0
_STEP = 5
"""Percent: a weight that changed at every look would move clients for nothing."""
_LEAST = 5
"""Percent of its weight that a process keeps, however busy: at 0 it would look drained."""
_TOLD_S = 5.0
"""Time for a line to be read, and for the parts to be asked before."""

log = structlog.get_logger(__name__)


class Load:
    """How busy the process is: the greater of its thread's share of a core and its connections' share of what it takes.

    To be asked on the thread that it is about. `connections` gives the open ones, of `most`.
    """

    def __init__(
        self,
        connections: Callable[[], int],
        most: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._connections = connections
        self._most = most
        self._clock = clock
        self._cpu = cpu
        self._looked = clock(), cpu()
        self._busy = 0.0

    def share(self) -> float:
        """0 to 1; of the core over the last second or longer, since somebody asked."""
        now, cpu = self._clock(), self._cpu()
        then, had = self._looked
        if now - then >= _SAMPLE_S:
            self._busy = (cpu - had) / (now - then)
            self._looked = now, cpu
        return min(1.0, max(self._busy, self._connections() / self._most))


async def _line(health: Health, load: Load) -> str:
    """What HAProxy is to make of this process now."""
    if health.draining:
        return "maint"
    state, parts = await health.state()
    if state == "not ready":
        faulty = sorted(name for name, said in parts.items() if said != "ok")
        return f"ready down #{', '.join(faulty)}"
    weight = round(100 * (1 - load.share()) / _STEP) * _STEP
    return f"ready up {max(_LEAST, weight)}%"  # `ready` takes back a `maint` of the process that was here before


@asynccontextmanager
async def agent_port(options: AgentOptions, health: Health, load: Load) -> AsyncIterator[tuple[str, int]]:
    """The port for the balancer's question, as long as the context is open; gives its address. Raises CannotStart."""

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TOLD_S):
                writer.write(f"{await _line(health, load)}\n".encode())
                await writer.drain()
        except (TimeoutError, OSError):
            writer.transport.abort()
        finally:
            writer.close()

    with listening(options.host, options.port, setting="agent.port", flag="agent.port"):
        server = await asyncio.start_server(tell, options.host, options.port, backlog=16)
    async with server:
        address = server.sockets[0].getsockname()[:2]
        log.debug("answering the balancer's agent check", address=address)
        yield address
