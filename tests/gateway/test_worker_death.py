"""A worker that dies between any two steps of a batch: whoever comes next leaves everything as if nobody had died."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from loadtest.finished import Typists
from loadtest.servers.addresses import Addresses
from persistence.catalogue import EmbeddedCatalogue
from persistence.catalogue.texts import Texts
from session.options import SessionLimits
from session.result import Result
from tests.gateway.doomed_worker import STEPS
from tests.gateway.plant import Plant, agreement, build, committed, send, worker_of
from tests.gateway.running import ROOT, environment

USERS = (3, 4, 5, -6, 7, 8)


@pytest.fixture(name="plant")
async def _plant(
    fresh_name: Callable[[str], str], kafka_servers: list[str], mariadb_servers: Addresses, redis_servers: Addresses
) -> Plant:
    return await build(
        fresh_name, kafka=kafka_servers, mariadb=mariadb_servers, redis=redis_servers["url"], patient=True
    )


async def results() -> list[Result]:
    """Tests of the boards' kinds and others, of a few users; half of them bests, some to be played again."""
    async with EmbeddedCatalogue(None) as catalogue:
        typists = Typists(Texts(catalogue, limits=SessionLimits()), epoch_ms=int(time.time() * 1000) - 60_000)
        kinds = ({"mode": "time", "seconds": 15}, {"mode": "words", "count": 50}, {"mode": "words", "count": 5})
        made = [typists.finish(user=USERS[i % len(USERS)], **kinds[i % 3]) for i in range(30)]
    return [replace(result, verdict="ok", reasons=()) if i % 4 else result for i, result in enumerate(made)]


async def spoil(plant: Plant) -> None:
    """Put a record that is no result among the others."""
    producer = AIOKafkaProducer(bootstrap_servers=list(plant.kafka.servers))
    await producer.start()
    await producer.send_and_wait(plant.kafka.results_topic, b"rubbish", key=b"5", partition=0)
    await producer.stop()


def die(plant: Plant, step: str, folder: Path) -> None:
    """Run a worker until it has killed itself."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.gateway.doomed_worker", step, "1"],
        cwd=ROOT,
        env=environment() | plant.variables() | {"TYPEGATE_NODE_DATA": str(folder), "TYPEGATE_ADMIN_WORKER_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, f"it did not come to {step!r}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("step", STEPS)
async def test_a_worker_dies_after(step: str, plant: Plant, tmp_path: Path) -> None:
    """Every result is there once with its figures, lists and boards agree with the store, nothing was passed over."""
    sent = await results()
    await spoil(plant)
    await send(plant, *sent)
    await asyncio.to_thread(die, plant, step, tmp_path)
    async with AsyncExitStack() as opened:
        await opened.enter_async_context(worker_of(plant, tmp_path))
        await committed(plant)
    await agreement(plant, sent, letters={b"rubbish"})
