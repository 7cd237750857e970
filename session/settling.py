"""From a finished test to its result: the log judged and packed, the core's hash, what this node attests."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from scoring import SCORING_VERSION
from scoring.drift import DriftReading
from scoring.plausibility import Reason, Verdict, judging_columns
from scoring.replay import encoding_columns
from scoring.summary import Summary
from session.history import columns_of
from session.options import SessionLimits
from session.receipt import Ticket, hash_of
from session.result import Result, core_hash_of

__all__ = ["FinishedTest"]


@dataclass(frozen=True, slots=True)
class FinishedTest:
    """All that is known of a test when it is over."""

    ticket: Ticket
    ticket_hash: bytes
    n: int
    """Events that count."""
    history: bytes
    """The canonical history of these."""
    held: Sequence[int]
    """For each event its hold in ms + 1, 0 where it is not known; empty where none is."""
    summary: Summary
    gave_up: bool
    account: tuple[int, int, int, bool]
    """Unseen events, unseen ms, slack ms, conflict: as `Takeover.account` has them."""
    clocks: DriftReading
    text: str | None
    """The own text in mode `text`."""

    def settling(self, *, node: str, epoch: int, limits: SessionLimits) -> Generator[None, None, Result]:
        """Make the result; stops for breath after each slice of under a millisecond."""
        ticket, options = self.ticket, self.ticket.options
        gaps, keys = yield from columns_of(self.history, self.n)
        judged = yield from judging_columns(
            gaps,
            keys,
            self.held,
            input=options.input,
            drift=self.clocks,
            claimed_keys_per_s=limits.review_keys_per_s,
        )
        verdict = self._verdict(judged, limits)
        replay = yield from encoding_columns(gaps, keys, self.held, drop_holds_over=limits.replay_bytes)
        log_digest = hash_of(self.history)
        unseen_events, unseen_ms, slack_ms, _ = self.account
        return Result(
            session=ticket.session,
            user=ticket.user,
            ticket_hash=self.ticket_hash,
            replay=replay,
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
            seen_live=self.n - unseen_events,
            unseen_ms=unseen_ms,
            slack_ms=slack_ms,
            lag_ms=self.clocks.lag_ms,
            drift_ms=self.clocks.drift_ms,
            verdict=verdict.verdict,
            features=verdict.features,
            reasons=verdict.reasons,
            text=self.text,
        )

    def _verdict(self, judged: Verdict, limits: SessionLimits) -> Verdict:
        """What plausibility said, and what only a session knows."""
        verdict, reasons = judged.verdict, judged.reasons
        peak = judged.features.get("peak_keys_per_s", 0.0)
        most = limits.review_keys_per_s
        if peak > most and not any(reason.name == "peak_keys_per_s" for reason in reasons):
            reasons = (*reasons, Reason("peak_keys_per_s", peak, most))
            verdict = "review" if verdict == "ok" else verdict
        if self.account[3]:
            reasons = (*reasons, Reason("conflict", 1.0, 0.0))
            verdict = "void"
        return Verdict(verdict, judged.features, reasons)
