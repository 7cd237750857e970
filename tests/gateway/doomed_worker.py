"""A worker that kills itself after a step of a batch: the subject of `test_worker_death`.

    python -m tests.gateway.doomed_worker STEP AFTER

The settings are the environment's, as for `typegate worker`. STEP is one of STEPS; at the end of its AFTER-th time the
process is gone, with nothing flushed, committed or said.
"""

import asyncio
import os
import signal
import sys

from config.settings import load
from gateway.worker import WorkerProcess
from gateway.worker_metrics import WorkerMetrics

STEPS = (
    "take",
    "decode",
    "rescore",
    "store",
    "dead letters",
    "recent",
    "boards",
    "notices",
    "analytics",
    "commit",
)
"""Each is over when its figure is told; so these are the instants between any two steps, and after the last."""


class Doom(WorkerMetrics):
    """Kills this process after a step."""

    def __init__(self, step: str, after: int) -> None:
        super().__init__()
        self._doomed, self._left = step, after

    def batch(self, records: int) -> None:
        """A batch was taken."""
        self.step("take", 0.0)

    def step(self, name: str, seconds: float) -> None:
        """A step is done."""
        if name == self._doomed:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


async def main(step: str, after: int) -> None:
    process = WorkerProcess(load())
    process.metrics = Doom(step, after)
    async with process:
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
