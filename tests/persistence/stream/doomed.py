"""A process that accepts and stores results until it is killed: the subject of `test_crash` and `test_kafka_crash`.

    python -m tests.persistence.stream.doomed FOLDER SEED FIRST COUNT STEP AFTER [TOPIC BROKERS]

It puts results FIRST, FIRST + 1, ... (COUNT of them; 0 only drains) in bursts, every second one not judged yet, and
prints what it promises, one line each and at once: `accepted N`, `stored N`. STEP names a step of the drain at whose
AFTER-th time it kills itself; `none` for never. Without being killed it drains, prints `done` and ends. Results go to a
store in FOLDER, or to TOPIC of Kafka at BROKERS.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from persistence.errors import StoreError
from persistence.kafka.options import KafkaOptions
from persistence.results import SqliteResults
from persistence.stream import Drain, Sink, SinkFacts, Spool, Spooled, StoreSink, StreamOptions
from persistence.stream.kafka import KafkaSink
from session.result import Result
from tests.persistence.samples import sample, settled_sample

STEPS = (
    "before take",
    "after take",
    "before write",
    "after write",
    "before stored",
    "after stored",
    "before drop",
    "after drop",
)


class Doom:
    """Kills this process at one time of one step."""

    def __init__(self, step: str, after: int) -> None:
        self._step, self._left = step, after

    def passes(self, step: str) -> None:
        if step == self._step:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


class DoomedSpool(Spool):
    """A spool that tells the doom of its steps."""

    doom: Doom

    async def take(self, limit: int) -> list[Spooled]:
        self.doom.passes("before take")
        rows = await super().take(limit)
        self.doom.passes("after take")
        return rows

    def drop(self, rows: Sequence[Spooled]) -> None:
        self.doom.passes("before drop")
        super().drop(rows)
        # behind the drop in the same thread's queue: when this runs the rows are deleted
        self._threads.post(lambda _: self.doom.passes("after drop"))


class DoomedSink:
    """A sink that tells the doom of its steps."""

    def __init__(self, sink: Sink, doom: Doom) -> None:
        self._sink, self._doom = sink, doom

    async def __aenter__(self) -> Self:
        await self._sink.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sink.__aexit__(kind, error, trace)

    async def hand_on(self, rows: Sequence[Spooled]) -> Sequence[StoreError | None]:
        self._doom.passes("before write")
        answers = await self._sink.hand_on(rows)
        self._doom.passes("after write")
        return answers

    def facts(self) -> SinkFacts:
        return self._sink.facts()

    async def ping(self) -> None:
        await self._sink.ping()


@asynccontextmanager
async def far_side(folder: Path, topic: str, brokers: str) -> AsyncIterator[Sink]:
    """The sink to the store of the folder, or to a topic."""
    if topic:
        yield KafkaSink(KafkaOptions(servers=tuple(brokers.split(",")), results_topic=topic), node="doomed")
    else:
        async with SqliteResults(folder / "results.db") as store:
            yield StoreSink(store)


def say(line: str) -> None:
    os.write(1, line.encode() + b"\n")  # at once and whole: a promise is made when its line is in the pipe


async def main(folder: Path, seed: int, first: int, count: int, doom: Doom, topic: str = "", brokers: str = "") -> None:
    chance = Random(seed)
    numbers = {sample(i).session: i for i in range(first + count)}

    def stored(result: Result) -> None:
        doom.passes("before stored")
        say(f"stored {numbers[result.session]}")
        doom.passes("after stored")

    spool = DoomedSpool(folder / "spool")
    spool.doom = doom
    options = StreamOptions(batch_rows=chance.choice([1, 7, 128]))
    async with (
        spool,
        far_side(folder, topic, brokers) as far,
        DoomedSink(far, doom) as sink,
        Drain(spool, sink, stored, options) as stream,
    ):

        async def accept(number: int) -> None:
            await spool.put(sample(number) if number % 2 else settled_sample(number))
            say(f"accepted {number}")

        number = first
        async with asyncio.TaskGroup() as group:
            while number < first + count:
                burst = min(chance.randrange(1, 40), first + count - number)
                for _ in range(burst):
                    group.create_task(accept(number))
                    number += 1
                await asyncio.sleep(chance.choice([0, 0, 0.001, 0.004]))
        assert await stream.flush(timeout_ms=30_000)
    say("done")


if __name__ == "__main__":
    path, seed, first, count, step, after, *where = sys.argv[1:]
    asyncio.run(main(Path(path), int(seed), int(first), int(count), Doom(step, int(after)), *where))
