"""Long work on the loop, in slices: jobs take turns, so that no typist waits for another's long text.

A job is a generator that yields wherever it may be put aside (after a millisecond of work or less) and returns its
result.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")

SLICE_SECONDS = 0.002
"""How long jobs hold the loop at most before other callbacks run; the step that crosses it may overrun by its length.
With steps of 1 ms this keeps the design's bound: nothing on the loop takes over 3 ms."""


class Slices:
    """Runs jobs in turn, a slice a turn of the loop.

    One per process. How many jobs there are is bounded by their owners: a connection has one at most and reads nothing
    meanwhile.
    """

    __slots__ = ("_clock", "_jobs", "_loop", "_turning")

    def __init__(self, loop: asyncio.AbstractEventLoop, *, clock: Callable[[], float]) -> None:
        self._loop = loop
        self._clock = clock
        self._jobs: deque[tuple[Generator[None, None, Any], Callable[[Any], None], Callable[[Exception], None]]]
        self._jobs = deque()
        self._turning = False

    def __len__(self) -> int:
        return len(self._jobs)

    def run(
        self, job: Generator[None, None, T], done: Callable[[T], None], failed: Callable[[Exception], None]
    ) -> bool:
        """Take up `job`; `done` gets what it returns, or `failed` what it raises.

        The first step is taken at once: True where the job has ended within this call.
        """
        if self._step(job, done, failed):
            return True
        self._jobs.append((job, done, failed))
        self._turn_soon()
        return False

    def _turn_soon(self) -> None:
        """One turn a turn of the loop, also where a job's end is another's beginning."""
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        until = self._clock() + SLICE_SECONDS
        jobs = self._jobs
        try:
            while jobs:
                entry = jobs.popleft()
                if not self._step(*entry):
                    jobs.append(entry)
                if self._clock() >= until:
                    break
        finally:  # what `done` or `failed` raises is reported by the loop and costs the other jobs nothing
            self._turning = False
            if jobs:
                self._turn_soon()

    @staticmethod
    def _step(
        job: Generator[None, None, Any], done: Callable[[Any], None], failed: Callable[[Exception], None]
    ) -> bool:
        try:
            next(job)
        except StopIteration as end:
            done(end.value)
        except Exception as exc:  # the job's own fault is its owner's to answer, and must not stop the others
            failed(exc)
        else:
            return False
        return True
