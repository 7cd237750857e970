"""What becomes of racers' tests that have ended here: each is a finish as soon as it is durable, then it is judged."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import TYPE_CHECKING

from gateway.submissions import Submissions
from session.messages import Error
from session.racing import Change, Finished, Judged
from session.result import Result

if TYPE_CHECKING:
    from gateway.submissions import Submission

__all__ = ["Finishes", "finish_of", "stored_before"]

Owe = Callable[[tuple[str, int], Change], None]
"""Sees to it that a change is written, under its key."""


def finish_of(result: Result, lane: int, *, at_ms: int, late_ms: float = 0.0) -> Finished:
    """What a result comes to in its race; `at_ms`: when it was there."""
    summary = result.summary
    return Finished(
        lane,
        ms=summary.duration_ms,
        wpm=summary.wpm,
        raw=summary.raw,
        acc=summary.acc,
        verdict=result.verdict,
        at_ms=at_ms,
        late_ms=late_ms,
    )


def stored_before(result: Result, lane: int, start_ms: int) -> tuple[Finished, Judged]:
    """The same of a result that was found stored, though its race may not have heard of it.

    Whoever had it spooled may have died before saying so. It was there once its racer had typed it.
    """
    at_ms = start_ms + ceil(result.summary.duration_ms)
    return finish_of(result, lane, at_ms=at_ms), Judged(lane, result.verdict)


class Finishes:
    """A listener of the submissions of one race's tests. They go on when their racers are gone."""

    def __init__(self, submissions: Submissions, owe: Owe, now_ms: Callable[[], int]) -> None:
        """`now_ms`: the race's clock."""
        self._submissions = submissions
        self._owe = owe
        self._now_ms = now_ms
        self._lanes: dict[bytes, tuple[int, float]] = {}

    def __len__(self) -> int:
        """Tests whose results are not stored yet."""
        return len(self._lanes)

    def follow(self, session: bytes, lane: int, *, late_ms: float) -> None:
        """Hear of this test from now on; it has just been submitted. `late_ms`: as `Finished` has it."""
        self._lanes[session] = lane, late_ms
        self._submissions.listen(session, self, ref=None)

    def accepted(self, submission: Submission, result: Result, ref: int | None) -> None:
        """The result is durable: its racer has finished."""
        lane, late_ms = self._lanes[submission.session]
        self._owe(("finished", lane), finish_of(result, lane, at_ms=self._now_ms(), late_ms=late_ms))

    def unsaved(self, submission: Submission, error: Error) -> None:
        """It is not: its typist tries again, if still there."""
        if len(submission.listeners) == 1:
            self._forget(submission.session)

    def stored(self, submission: Submission, verdict: str) -> None:
        """It has its final verdict."""
        lane, _ = self._lanes.pop(submission.session)
        self._owe(("judged", lane), Judged(lane, verdict))

    def superseded(self, submission: Submission) -> None:
        """Another process has the test by now, and says what it comes to."""
        self._lanes.pop(submission.session, None)

    def lost(self, submission: Submission) -> None:
        """A fault of ours: its typist comes back with the log."""
        self._lanes.pop(submission.session, None)

    def gone(self, session: bytes | None) -> None:
        """Whoever typed this is gone: one that could not be made durable is given up with them."""
        submission = None if session is None else self._submissions.of(session)
        if submission is not None and submission.refused and session in self._lanes:
            self._forget(submission.session)

    def close(self) -> None:
        """Hear of none any more."""
        for session in list(self._lanes):
            self._forget(session)

    def _forget(self, session: bytes) -> None:
        self._lanes.pop(session, None)
        self._submissions.leave(session, self)
