"""Playing results again on their way to the store: one in a hundred, and every one that there is a reason to doubt.

What a log comes to does not depend on who plays it. So where a result played again does not come to the figures that
its node sent, something is wrong with the node, its build or its memory: the result is kept as it came, for its owner
saw it, is `review`, and an alarm goes off.

Whether a result is played again depends on itself alone, so that each delivery of it comes to the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, replace
from typing import Literal, TypeVar
from zlib import crc32

import structlog

from persistence.catalogue.texts import Texts
from persistence.errors import StoreError
from persistence.rescoring import TextUnknown, Unreplayable, rescoring
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

    async def check(self, result: Result) -> Result:
        """Play a result again. As it is where it agrees; at least `review`, with the reason, where it does not.

        Raises a retriable `StoreError` where its test is not known, and the catalogue cannot be asked just now.
        """
        if result.scoring_version != SCORING_VERSION:
            # of a node older or newer than this worker: its figures are right by other rules
            self._meter.rescored("other version")
            return result
        try:
            try:
                again = await _in_turns(rescoring(result, self._texts, with_holds=False))
            except TextUnknown:
                if not await self._refreshed():
                    raise
                again = await _in_turns(rescoring(result, self._texts, with_holds=False))
        except Unreplayable as why:
            return self._doubt(result, "unreplayable", 1.0, str(why))
        except StoreError:
            raise
        except Exception as error:
            log.exception("a result could not be played again", session=session_to_text(result.session))
            return self._doubt(result, "unreplayable", 1.0, repr(error))
        if again.agrees:
            self._meter.rescored("agrees")
            return result
        return self._doubt(result, "differs", float(len(again.differs)), ", ".join(again.differs))

    def _doubt(self, result: Result, outcome: Literal["differs", "unreplayable"], value: float, why: str) -> Result:
        self._meter.rescored(outcome)
        log.error("a result played again", outcome=outcome, session=session_to_text(result.session), why=why)
        reason = Reason(f"rescore_{outcome}", value, 0.0)
        return replace(
            result,
            verdict="review" if result.verdict == "ok" else result.verdict,
            reasons=(*result.reasons, reason),
        )

    async def _refreshed(self) -> bool:
        """Take in new tests; False where that was done a moment ago, or cannot be done at all.

        Raises a retriable `StoreError` where it cannot be done now.
        """
        looked_s = time.monotonic()
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


async def _in_turns(job: Generator[None, None, T]) -> T:
    """Run a sliced job to its end; others on the loop have their turn every few milliseconds."""
    until = time.perf_counter() + _TURN_S
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # a generator's StopIteration bears what it returns
        if time.perf_counter() > until:
            await asyncio.sleep(0)
            until = time.perf_counter() + _TURN_S
