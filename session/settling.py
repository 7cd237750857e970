"""From a finished test to its result, in two steps: settled at once, judged when there is time for it.

    session has ended ─ FinishedTest ─> Settled ─ judging, in slices ─> Result

Settling costs next to nothing, and what it gives is all that a client waits for: figures, the core's hash, what this
node attests, the bare log. Judging is dear: it asks whether a person could have typed the log, and packs the log into
its replay. Until then a verdict is *provisional*: what the clocks and the takeovers say. The final one has the same
reasons and perhaps more, so it is never the milder of the two.
"""

from array import array
from collections.abc import Generator
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, Final, TypeAlias

import msgpack

from scoring import SCORING_VERSION
from scoring.drift import DriftReading
from scoring.plausibility import Reason, Verdict, judge_clocks, judging_columns
from scoring.replay import encoding_columns
from scoring.summary import Summary
from session.history import columns_of
from session.options import SessionLimits
from session.receipt import Ticket, hash_of
from session.result import Damaged, Result, core_hash_of, pack_values

__all__ = ["Finished", "FinishedTest", "Settled", "unpack"]

_VERSION: Final = 2
"""Version of the packed form; a packed `Result` is 1. Both lie in spools."""
_LONG_LOG_BYTES: Final = 16 * 1024
"""A log from here on is judged before it is spooled: its replay takes half the room, and nobody minds a moment after so
long a test."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A finished test that is not judged yet: its result but for verdict and replay, and what judging needs."""

    result: Result
    """With its provisional verdict, and without a replay."""
    n: int
    """Events that count."""
    history: bytes
    """The canonical history of these."""
    held: "array[int]"
    """For each event its hold in ms + 1, 0 where it is not known; what is missing at the end is not known either."""
    clocks: DriftReading
    conflict: bool
    """Whether the log differs from what was seen live of it."""
    review_keys_per_s: int
    """Session's limit on what may be claimed without a review."""
    replay_bytes: int
    """A replay over this drops its holds."""

    @property
    def session(self) -> bytes:
        """The result's id."""
        return self.result.session

    @property
    def user(self) -> int:
        """Whose it is."""
        return self.result.user

    @property
    def long(self) -> bool:
        """Whether the log is better packed before it is kept anywhere."""
        return len(self.history) + 2 * len(self.held) >= _LONG_LOG_BYTES

    def judging(self) -> Generator[None, None, Result]:
        """Make the final result; stops for breath after each slice of under a millisecond."""
        result = self.result
        gaps, keys = yield from columns_of(self.history, self.n)
        held = [*self.held, *([0] * (self.n - len(self.held)))] if self.held else []
        judged = yield from judging_columns(
            gaps,
            keys,
            held,
            input=result.input,
            drift=self.clocks,
            claimed_keys_per_s=self.review_keys_per_s,
        )
        replay = yield from encoding_columns(gaps, keys, held, drop_holds_over=self.replay_bytes)
        peak, most = judged.features.get("peak_keys_per_s", 0.0), self.review_keys_per_s
        if peak > most and not any(reason.name == "peak_keys_per_s" for reason in judged.reasons):
            judged = _also(judged, Reason("peak_keys_per_s", peak, most), at_least="review")
        if self.conflict:
            judged = _also(judged, _CONFLICT, at_least="void")
        return replace(result, replay=replay, verdict=judged.verdict, features=judged.features, reasons=judged.reasons)

    def pack(self) -> bytes:
        """As bytes, for the spool: msgpack of [version, the result's fields, what judging needs]."""
        return pack_values((_VERSION, self.result.values(), *_values_of(self)))


_values_of = attrgetter("n", "history", "held", "clocks", "conflict", "review_keys_per_s", "replay_bytes")

Finished: TypeAlias = Settled | Result
"""What is known of a test that is over: not judged yet, or judged."""


def unpack(data: bytes) -> Finished:
    """What `Settled.pack` or `Result.pack` packed, of this version or an earlier one. Raises `Damaged`."""
    try:
        version, *values = msgpack.unpackb(data)
        if version != _VERSION:
            return Result.unpack(data)
        fields, n, history, held, clocks, *rest = values
        return Settled(Result.of_values(fields), n, history, array("H", held), DriftReading(*clocks), *rest)
    except Damaged:
        raise
    except (ValueError, TypeError, OverflowError) as exc:  # msgpack's own errors are ValueErrors
        raise Damaged(f"no packed result: {exc}") from None


@dataclass(frozen=True, slots=True)
class FinishedTest:
    """All that is known of a test when it is over."""

    ticket: Ticket
    ticket_hash: bytes
    n: int
    """Events that count."""
    history: bytes
    """The canonical history of these."""
    held: "array[int]"
    """As `Settled.held`."""
    summary: Summary
    gave_up: bool
    account: tuple[int, int, int, bool]
    """Unseen events, unseen ms, slack ms, conflict: as `Takeover.account` has them."""
    clocks: DriftReading
    text: str | None
    """The own text in mode `text`."""

    def settle(self, *, node: str, epoch: int, limits: SessionLimits) -> Settled:
        """Make the result but for what is dear: about 40 µs, and a millisecond for the longest log."""
        ticket, options = self.ticket, self.ticket.options
        log_digest = hash_of(self.history)
        unseen_events, unseen_ms, slack_ms, conflict = self.account
        verdict = judge_clocks(self.clocks)
        if conflict:
            verdict = _also(verdict, _CONFLICT, at_least="void")
        result = Result(
            session=ticket.session,
            user=ticket.user,
            ticket_hash=self.ticket_hash,
            replay=b"",
            log_digest=log_digest,
            summary=self.summary,
            mode=options.mode,
            count=options.count,
            seconds=options.seconds,
            test=options.test,
            test_version=ticket.test_version,
            language=options.language or "",
            list_version=ticket.list_version,
            generator=ticket.generator,
            punctuation=options.punctuation,
            numbers=options.numbers,
            tags=options.tags,
            input=options.input,
            seed=ticket.seed,
            text_hash=ticket.text_hash,
            # that of this scoring, whatever the test began under: it is what re-scoring must use
            scoring_version=SCORING_VERSION,
            gave_up=self.gave_up,
            core_hash=core_hash_of(
                session=ticket.session,
                user=ticket.user,
                ticket_hash=self.ticket_hash,
                log_digest=log_digest,
                summary=self.summary,
                gave_up=self.gave_up,
                scoring_version=SCORING_VERSION,
            ),
            node=node,
            epoch=epoch,
            seen_live=max(0, self.n - unseen_events),  # what was unseen before a conflict is so again
            unseen_ms=unseen_ms,
            slack_ms=slack_ms,
            # to the digits that features have; what clocks say beyond is chance, and stores keep it for years
            lag_ms=round(self.clocks.lag_ms, 4),
            drift_ms=round(self.clocks.drift_ms, 4),
            verdict=verdict.verdict,
            features=verdict.features,
            reasons=verdict.reasons,
            text=self.text,
            race=None if ticket.seat is None else ticket.seat.race,
        )
        return Settled(
            result=result,
            n=self.n,
            history=self.history,
            held=self.held,
            clocks=self.clocks,
            conflict=conflict,
            review_keys_per_s=limits.review_keys_per_s,
            replay_bytes=limits.replay_bytes,
        )


_CONFLICT: Final = Reason("conflict", 1.0, 0.0)


def _also(judged: Verdict, reason: Reason, *, at_least: Any) -> Verdict:
    """A verdict with one more reason, which only a session knows."""
    strict = ("ok", "review", "void")
    verdict = max(judged.verdict, at_least, key=strict.index)
    return Verdict(verdict, judged.features, (*judged.reasons, reason))
