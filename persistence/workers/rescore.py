"""Playing results again on their way to the store: one in a hundred, and every one that there is a reason to doubt.

What a log comes to does not depend on who plays it. So where a result played again does not come to the figures that
its node sent, something is wrong with the node, its build or its memory: the result is kept as it came, for its owner
saw it, is `review`, and an alarm goes off.

Whether a result is played again depends on itself alone, so that each delivery of it comes to the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar
from zlib import crc32

import structlog

from persistence.catalogue.texts import Texts
from persistence.errors import StoreError
from persistence.rescoring import Rescored, TextUnknown, Unreplayable, rescoring
from persistence.workers.meter import Meter
from scoring import SCORING_VERSION
from scoring.plausibility import Reason
from session.identity import session_to_text
from session.result import Result

__all__ = ["RescoreOptions", "Rescorer"]

T = TypeVar("T")

log = structlog.get_logger(__name__)

_TURN_S = 0.003
"""Time after which the others on the loop (heartbeats, health) have their turn."""
_ABREAST = 10
"""Results that are played side by side, a step of each in turn. The processor does best what it has just done: one
after the other takes a tenth to a fifth more, and more than these bring nothing."""
_REFRESH_S = 1.0
"""The catalogue is not asked again sooner for what it did not have."""


@dataclass(frozen=True, slots=True)
class RescoreOptions:
    """Which results a worker plays again."""

    which: Literal["always", "doubted"] = "doubted"
    """always: every result; doubted: those typed offline, resumed or flagged, and a sample of the others."""
    one_in: int = 100
    """Of the others, one in so many is played again."""

    def __post_init__(self) -> None:
        if self.one_in < 1:
            raise ValueError(f"one_in is {self.one_in}; 1 or more is allowed")


class Rescorer:
    """Chooses results and plays them again, in slices.

    `refresh` takes in what the catalogue has got since it was last asked, for a result of a test that is not known yet.
    While that cannot be done such a result waits: it is not doubted for what somebody else lacks.
    """

    def __init__(
        self,
        texts: Texts,
        options: RescoreOptions = RescoreOptions(),
        *,
        refresh: Callable[[], Awaitable[object]],
        meter: Meter,
    ) -> None:
        self._texts = texts
        self._options = options
        self._refresh = refresh
        self._meter = meter
        self._lock = asyncio.Lock()
        """Held while the catalogue is asked: results of several batches may be of a test that is new."""
        self._refreshed_s = self._told_s = -_REFRESH_S
        """When it was asked the last time, and when that was over."""
        self._fault: StoreError | None = None
        """Why the catalogue could not be asked the last time, where that may pass."""

    def chooses(self, result: Result) -> bool:
        """Whether this result is to be played again."""
        return (
            self._options.which == "always"
            or result.verdict != "ok"
            or result.epoch > 0
            or result.unseen_ms > 0
            or result.slack_ms > 0
            or result.seen_live == 0
            or crc32(result.session) % self._options.one_in == 0
        )

    async def check(self, results: Sequence[Result]) -> list[Result]:
        """Play results again. Each as it is where it agrees; at least `review`, with the reason, where it does not.

        Raises a retriable `StoreError` where a test is not known, and the catalogue cannot be asked just now.
        """
        checked: list[Result] = []
        for start in range(0, len(results), _ABREAST):
            some = results[start : start + _ABREAST]
            looked_s = time.monotonic()
            outcomes = iter(await _abreast([self._playing(result) for result in some if _is_ours(result)]))
            for result in some:
                if _is_ours(result):
                    checked.append(await self._concluded(result, next(outcomes), looked_s))
                else:
                    # of a node older or newer than this worker: its figures are right by other rules
                    self._meter.rescored("other version")
                    checked.append(result)
        return checked

    def _playing(self, result: Result) -> Generator[None, None, Rescored]:
        return rescoring(result, self._texts, with_holds=False)

    async def _concluded(self, result: Result, outcome: Rescored | Exception, looked_s: float) -> Result:
        """What becomes of a result that was played again, with the tests that were known at `looked_s`."""
        if isinstance(outcome, TextUnknown) and await self._refreshed(looked_s):
            (outcome,) = await _abreast([self._playing(result)])
        if isinstance(outcome, Unreplayable):
            return self._doubt(result, "unreplayable", 1.0, str(outcome))
        if isinstance(outcome, Exception):
            log.error("a result could not be played again", session=session_to_text(result.session), exc_info=outcome)
            return self._doubt(result, "unreplayable", 1.0, repr(outcome))
        if outcome.agrees:
            self._meter.rescored("agrees")
            return result
        return self._doubt(result, "differs", float(len(outcome.differs)), ", ".join(outcome.differs))

    def _doubt(self, result: Result, outcome: Literal["differs", "unreplayable"], value: float, why: str) -> Result:
        self._meter.rescored(outcome)
        log.error("a result played again", outcome=outcome, session=session_to_text(result.session), why=why)
        reason = Reason(f"rescore_{outcome}", value, 0.0)
        return replace(
            result,
            verdict="review" if result.verdict == "ok" else result.verdict,
            reasons=(*result.reasons, reason),
        )

    async def _refreshed(self, looked_s: float) -> bool:
        """Take in tests that are new since `looked_s`; False where there are none since a moment before, or ever.

        Raises a retriable `StoreError` where it cannot be done now.
        """
        async with self._lock:
            while_waiting = self._told_s >= looked_s
            if while_waiting or time.monotonic() - self._refreshed_s < _REFRESH_S:
                if self._fault is not None:
                    raise self._waiting(self._fault)
                return while_waiting
            self._refreshed_s, self._fault = time.monotonic(), None
            try:
                await self._refresh()
            except StoreError as error:
                self._told_s = time.monotonic()
                if error.retriable:
                    self._fault = error
                    raise self._waiting(error) from error
                log.warning("the catalogue cannot be read again; what was read before stays", fault=str(error))
                return False
            except BaseException:
                self._refreshed_s = -_REFRESH_S  # given up in the middle: the next one asks by itself
                raise
            self._told_s = time.monotonic()
            return True

    @staticmethod
    def _waiting(fault: StoreError) -> StoreError:
        return StoreError(f"a result is of a test that is not known here yet, and {fault}", retriable=True)


def _is_ours(result: Result) -> bool:
    return result.scoring_version == SCORING_VERSION


async def _abreast(jobs: Sequence[Generator[None, None, T]]) -> list[T | Exception]:
    """Run sliced jobs to their ends, a slice of each in turn: what they return, or raise.

    Others on the loop have their turn every few milliseconds.
    """
    outcomes: dict[int, T | Exception] = {}
    running = list(enumerate(jobs))
    until = time.perf_counter() + _TURN_S
    while running:
        going_on = []
        for at, job in running:
            try:
                next(job)
            except StopIteration as end:
                outcomes[at] = end.value
            except Exception as error:
                outcomes[at] = error
            else:
                going_on.append((at, job))
            if time.perf_counter() > until:
                await asyncio.sleep(0)
                until = time.perf_counter() + _TURN_S
        running = going_on
    return [outcomes[at] for at in range(len(jobs))]
