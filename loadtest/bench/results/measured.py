"""A worker process that measures itself: CPU time and time of so many results, and what the CPU time went into.

    python -m loadtest.bench.results.measured SKIP COUNT [shares]

The settings are the environment's. The first SKIP results warm it up; after COUNT more it prints one line of JSON and
ends. With `shares` it says as well what the time went into, which costs a little of it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time

import uvloop

from config.logs import set_up
from config.settings import load
from gateway.worker import WorkerProcess
from gateway.worker_metrics import WorkerMetrics
from loadtest.bench.results.shares import Shares
from persistence.results import Written
from persistence.workers.feed import Record
from session.result import Result

__all__: list[str] = []


class Measured(WorkerMetrics):
    """Counts as every worker does, and notes the time at the first and the last result of those asked for."""

    def __init__(self, skip: int, count: int, shares: Shares | None) -> None:
        super().__init__()
        self._skip, self._count, self._shares = skip, count, shares
        self._seen = 0
        self._sizes: list[int] = []
        self._began = (0.0, 0.0)
        self.facts: dict[str, object] = {}
        self.done = asyncio.Event()

    def batch(self, records: int) -> None:
        """A batch was taken."""
        super().batch(records)
        self._sizes.append(records)

    def stored(self, record: Record, result: Result, written: Written) -> None:
        """A result is in the store."""
        super().stored(record, result, written)
        self._seen += 1
        if self._seen == self._skip:
            self._sizes.clear()
            self._began = (time.process_time(), time.perf_counter())
            if self._shares is not None:
                self._shares.start()
        elif self._seen == self._skip + self._count:
            cpu_s, wall_s = time.process_time() - self._began[0], time.perf_counter() - self._began[1]
            self.facts = {
                "cpu_us": 1e6 * cpu_s / self._count,
                "per_s": self._count / wall_s,
                "batch": sum(self._sizes) / max(1, len(self._sizes)),
                "shares": None if self._shares is None else self._shares.stop(),
            }
            self.done.set()


async def main(skip: int, count: int, shares: bool) -> None:
    """Work until all are stored."""
    settings = load()
    set_up(settings.log)
    process = WorkerProcess(settings)
    metrics = process.metrics = Measured(skip, count, Shares() if shares else None)
    async with process:
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)  # as `typegate worker` runs
        await metrics.done.wait()
    sys.stdout.write(json.dumps(metrics.facts) + "\n")


if __name__ == "__main__":
    sys.setswitchinterval(0.001)
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), "shares" in sys.argv[3:]))
