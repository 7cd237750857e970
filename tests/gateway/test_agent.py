"""HAProxy's agent check: what it is told of a process that is free, busy, full, not ready, or going away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from config.gateway import AgentOptions
from gateway.agent import Load, agent_port
from gateway.api.health import Health
from gateway.opening import CannotStart


class Machine:
    """A clock, the thread's CPU time, and connections, all as a test says."""

    def __init__(self) -> None:
        self.now = self.cpu = 100.0
        self.connections = 0
        self.load = Load(lambda: self.connections, 1000, clock=lambda: self.now, cpu=lambda: self.cpu)

    def works(self, share: float, seconds: float) -> None:
        """Time passes, busy for this share of it."""
        self.now += seconds
        self.cpu += share * seconds


async def fine() -> None:
    """A part that is well."""


async def gone() -> None:
    """A part that is not."""
    raise OSError("no space left")


@asynccontextmanager
async def agent(health: Health, load: Load) -> AsyncIterator[Callable[[], Awaitable[str]]]:
    """Asks as HAProxy does: connect, read to the end."""

    async def ask() -> str:
        async with asyncio.timeout(120):
            reader, writer = await asyncio.open_connection(*address)
            said = await reader.read()
            writer.close()
            return said.decode()

    async with agent_port(AgentOptions(enabled=True, port=0), health, load) as address:
        yield ask


async def test_weight_is_what_is_left_of_the_core() -> None:
    machine = Machine()
    async with agent(Health({"part": fine}), machine.load) as ask:
        assert await ask() == "ready up 100%\n"
        machine.works(0.42, 2.0)
        assert await ask() == "ready up 60%\n"
        machine.works(1.0, 0.1)  # too short to judge by
        assert await ask() == "ready up 60%\n"
        machine.works(1.0, 10.0)
        assert await ask() == "ready up 5%\n"
        machine.works(0.0, 2.0)
        assert await ask() == "ready up 100%\n"


@pytest.mark.parametrize(("connections", "said"), [(100, "90%"), (990, "5%"), (2000, "5%")])
async def test_connections_count_as_they_fill_the_process(connections: int, said: str) -> None:
    machine = Machine()
    machine.connections = connections
    async with agent(Health({}), machine.load) as ask:
        assert await ask() == f"ready up {said}\n"


async def test_one_that_is_not_ready_is_down_and_says_why() -> None:
    async with agent(Health({"spool": gone, "keys": fine}), Machine().load) as ask:
        assert await ask() == "ready down #spool\n"


async def test_one_that_lacks_what_is_behind_it_stays() -> None:
    async with agent(Health({"store": gone, "keys": fine}, behind=("store",)), Machine().load) as ask:
        assert await ask() == "ready up 100%\n"


async def test_one_that_goes_away_gets_nobody() -> None:
    health = Health({"spool": gone})
    async with agent(health, Machine().load) as ask:
        health.draining = True
        assert await ask() == "maint\n"


async def test_a_port_that_is_taken_is_told_with_what_to_do() -> None:
    async with agent_port(AgentOptions(enabled=True, port=0), Health({}), Machine().load) as (_, port):
        with pytest.raises(CannotStart, match=rf"port {port} on 127\.0\.0\.1 is in use; .* with agent\.port"):
            async with agent_port(AgentOptions(enabled=True, port=port), Health({}), Machine().load):
                pass


async def test_who_connects_and_hangs_up_disturbs_nobody() -> None:
    async with (
        agent(Health({}), Machine().load) as ask,
        agent_port(AgentOptions(enabled=True, port=0), Health({}), Machine().load) as address,
    ):
        for _ in range(20):
            _, writer = await asyncio.open_connection(*address)
            writer.transport.abort()
        assert await ask() == "ready up 100%\n"
