"""`kill -9` at any point of the way to Kafka: what was accepted is there, in order, and what was said to be stored too.

The same child process as `test_crash`'s works on a spool and a topic. A result may be there more than once: the next
process cannot know what the last one's had heard.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from persistence.stream import Spool
from persistence.stream.record import decode
from session.result import Result
from tests.persistence.kafka.brokers import make_topic, read_all
from tests.persistence.samples import judged, sample, settled_sample
from tests.persistence.stream.doomed import STEPS
from tests.persistence.stream.test_crash import numbers, run


@pytest.fixture
async def where(kafka_servers: list[str], fresh_name: Callable[[str], str]) -> tuple[str, str]:
    """A topic, and its brokers."""
    topic = fresh_name("crash")
    await make_topic(kafka_servers, topic, 3)
    return topic, ",".join(kafka_servers)


async def arrived(where: tuple[str, str]) -> list[Result]:
    topic, brokers = where
    records = await read_all(brokers.split(","), topic)
    return [decode(record.key, record.value, record.headers) for record in records]


async def check_stored(where: tuple[str, str], promises: set[str]) -> None:
    """What was said to be stored is in the topic now, before anybody drains the spool again."""
    there = {result.session for result in await arrived(where)}
    missing = [number for number in numbers(promises, "stored") if sample(number).session not in there]
    assert not missing, f"said to be stored and are not: {missing[:10]}"


async def check_all(folder: Path, where: tuple[str, str], promises: set[str], last: int) -> None:
    """Drain what is left and hold the topic to all promises."""
    said = run(folder, *where, seed=0, first=last, count=0)
    assert "done" in said
    promises = promises | said
    accepted, stored = numbers(promises, "accepted"), numbers(promises, "stored")
    assert accepted <= stored, "somebody never hears that his is stored"
    await check_stored(where, promises)
    first_seen = {result.session: result for result in reversed(await arrived(where))}
    order = list(dict.fromkeys(result.session for result in await arrived(where)))
    assert order == [sample(number).session for number in sorted(stored)], "the user's order was lost"
    for number in stored:
        final = sample(number) if number % 2 else judged(settled_sample(number))
        assert first_seen[final.session].pack() == final.pack()
    async with Spool(folder / "spool") as spool:
        assert spool.facts().rows == 0


@pytest.mark.parametrize("step", STEPS)
async def test_killed_between_two_steps_of_the_drain(step: str, where: tuple[str, str], tmp_path: Path) -> None:
    promises = run(tmp_path, *where, seed=1, first=0, count=120, step=step, after=2)
    await check_stored(where, promises)
    await check_all(tmp_path, where, promises, last=120)


async def test_killed_at_random_instants(where: tuple[str, str], tmp_path: Path) -> None:
    """Many lives on one folder, each cut off somewhere."""
    chance = Random(1)
    promises: set[str] = set()
    deaths = 0
    for life in range(6):
        said = run(tmp_path, *where, seed=life, first=200 * life, count=200, kill_s=chance.uniform(0.01, 0.3))
        deaths += "done" not in said
        promises |= said
        await check_stored(where, said)
    assert deaths > 0
    await check_all(tmp_path, where, promises, last=1_200)
