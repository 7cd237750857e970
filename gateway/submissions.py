"""A finished test's way from its session to the spool and back to the client: settle, `accepted`, `stored`.

    ended session ─ settle ─> spool (fsync) ─> `result` ─ stream: judged ─> `stored`

Until the stream has it judged, a result's verdict is provisional. A submission outlives its connection: what was
finished is stored, whoever still listens. It is forgotten at `stored`; from then on the store answers for it.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import structlog

from gateway.metrics import Metrics
from gateway.slices import Slices
from persistence.errors import StoreError
from persistence.stream import Spool
from session.holder import Answer, Word
from session.identity import session_to_text
from session.machine import TypingSession
from session.messages import Error
from session.receipt import Receipt
from session.result import Result
from session.settling import Finished, Settled

RETRY_MS = 5_000
"""When a client may send `finish` again whose result the spool could not take."""

_log = structlog.get_logger(__name__)


class Listener(Protocol):
    """Who wants to know what becomes of a result: the connection that typed it, others that have resumed it since."""

    def accepted(self, submission: "Submission", result: Result, ref: int | None) -> None:
        """It is durable in the spool, its verdict is provisional. `ref` is what this listener calls the test."""

    def unsaved(self, submission: "Submission", error: Error) -> None:
        """It could not be made durable now; `Submissions.retry` tries again."""

    def stored(self, submission: "Submission", verdict: str) -> None:
        """It is where it belongs, with its final verdict. Always after `accepted`."""

    def superseded(self, submission: "Submission") -> None:
        """The session was taken over by another process, before the result was durable; it is given up here."""

    def lost(self, submission: "Submission") -> None:
        """It could not even be made: a fault of ours."""


class Submission:
    """One result on its way."""

    __slots__ = (
        "accepted",
        "epoch",
        "finished",
        "finished_s",
        "lasting",
        "listeners",
        "session",
        "settled",
        "spooling",
        "verdict",
    )

    def __init__(self, session: TypingSession, listener: Listener, finished_s: float) -> None:
        self.session = session.id
        self.listeners: dict[Listener, int | None] = {listener: session.ref}
        """Who is told about it, and what each calls the test; nobody while the client is away."""
        self.finished_s = finished_s
        """The loop's clock when the test ended."""
        self.epoch = session.epoch
        """At which the session came here; 0 where it began here."""
        self.lasting = False
        """Whether it is spooled whoever takes the session over: nobody had, or who did was told of it."""
        self.settled: Settled | None = None
        """Not yet judged, however long the log."""
        self.finished: Finished | None = None
        """What is spooled; None while a long log is still being judged."""
        self.spooling = False
        self.accepted = False
        self.verdict: str | None = None
        """The final one; the result is stored."""

    @property
    def refused(self) -> bool:
        """Whether the spool did not take the result and nobody has tried again."""
        return self.finished is not None and not self.spooling and not self.accepted

    @property
    def result(self) -> Result:
        """The result as its client is told of it, once `finished` is there."""
        finished = self.finished
        assert finished is not None
        return finished.result if isinstance(finished, Settled) else finished


class Submissions:
    """All results between the end of their test and `stored`, by session; bounded by the spool, which may refuse."""

    def __init__(
        self, spool: Spool, slices: Slices, metrics: Metrics, *, node: str, clock: Callable[[], float]
    ) -> None:
        self._spool = spool
        self._slices = slices
        self._metrics = metrics
        self._node = node
        self._clock = clock
        self._underway: dict[bytes, Submission] = {}
        self.lasts: Callable[[bytes, int, Callable[[bool], None]], None] | None = None
        """Calls with whether nobody has taken a session over since an epoch; None where nobody could."""

    def __len__(self) -> int:
        return len(self._underway)

    def of(self, session: bytes) -> Submission | None:
        """The submission of a session that has ended and is not yet stored."""
        return self._underway.get(session)

    def submit(self, session: TypingSession, listener: Listener, *, ping_ms: float, stall_ms: float = 0.0) -> None:
        """Settle a session that has ended and spool its result; a long log is judged, and so packed, before that.

        `stall_ms`: how long its last batch may have waited here until it was read.
        """
        submission = Submission(session, listener, self._clock())
        self._underway[session.id] = submission
        try:
            settled = session.settled(node=self._node, ping_ms=ping_ms, stall_ms=stall_ms)
        except Exception as exc:  # a fault of ours in one session, which its client gets around with its log
            self._unsettled(submission, exc)
            return
        submission.settled = settled
        if settled.long:
            self._slices.run(
                settled.judging(), partial(self._settled, submission), partial(self._unsettled, submission)
            )
        else:
            self._settled(submission, settled)

    def answer(self, session: bytes, *, epoch_ms: int) -> Answer | None:
        """What was seen of a session that has finished, for another process that takes it over; None if none has.

        Its result goes on its way all the same: made again there it has the same core.
        """
        submission = self._underway.get(session)
        if submission is None or submission.settled is None:
            return None
        submission.lasting = True
        n, result = submission.settled.n, submission.settled.result
        ago_ms = round((self._clock() - submission.finished_s) * 1000)
        account = Receipt(
            n,
            epoch_ms - ago_ms,
            result.log_digest,
            n - result.seen_live,
            result.unseen_ms,
            result.slack_ms,
            submission.settled.conflict,
        )
        return Answer(Word.FINISHED, account, epoch=submission.epoch)

    def retry(self, session: bytes) -> None:
        """Try the spool again where it did not take a result."""
        submission = self._underway[session]
        if submission.refused:
            self._put(submission)

    def listen(self, session: bytes, listener: Listener, *, ref: int | None) -> None:
        """Tell one more listener of a submission that is under way, from `accepted` on."""
        submission = self._underway[session]
        submission.listeners[listener] = ref
        if submission.accepted:
            listener.accepted(submission, submission.result, ref)
        else:
            self.retry(session)

    def leave(self, session: bytes, listener: Listener) -> None:
        """A listener is gone. With the last one goes a result that the spool did not take: its client has the log."""
        submission = self._underway.get(session)
        if submission is not None and listener in submission.listeners:
            del submission.listeners[listener]
            self._forget_refused(submission)

    def stored(self, result: Result) -> None:
        """Take the stream's word that a result is where it belongs; it may come twice, or for an earlier process's."""
        self._metrics.confirmed(result.mode, result.verdict)
        submission = self._underway.get(result.session)
        if submission is not None:
            submission.verdict = result.verdict
            if submission.accepted:  # else the spool's own word is still on its way through the loop
                self._conclude(submission)

    def _settled(self, submission: Submission, finished: Finished) -> None:
        submission.finished = finished
        self._metrics.submitted(submission.result.mode)
        self._put(submission)

    def _unsettled(self, submission: Submission, exc: Exception) -> None:
        del self._underway[submission.session]
        _log.error("a finished test could not be settled", session=_name(submission), exc_info=exc)
        for listener in tuple(submission.listeners):
            listener.lost(submission)

    def _put(self, submission: Submission) -> None:
        assert submission.finished is not None
        if submission.epoch and self.lasts is not None and not submission.lasting:
            submission.spooling = True
            self.lasts(submission.session, submission.epoch, partial(self._looked, submission))
            return
        try:
            self._spool.submit(submission.finished, partial(self._spooled, submission))
        except StoreError as exc:
            self._refused(submission, exc)
            return
        submission.spooling = True

    def _looked(self, submission: Submission, lasts: bool) -> None:
        """Spool a result of a session that was taken over, unless another one has taken it since."""
        submission.spooling = False
        if lasts or submission.lasting:
            submission.lasting = True
            self._put(submission)
            return
        del self._underway[submission.session]
        for listener in tuple(submission.listeners):
            listener.superseded(submission)

    def _spooled(self, submission: Submission, fault: StoreError | None) -> None:
        submission.spooling = False
        if fault is not None:
            self._refused(submission, fault)
            return
        submission.accepted = True
        self._metrics.accepted(self._clock() - submission.finished_s)
        result = submission.result
        for listener, ref in tuple(submission.listeners.items()):
            listener.accepted(submission, result, ref)
        if submission.verdict is not None:
            self._conclude(submission)

    def _refused(self, submission: Submission, fault: StoreError) -> None:
        _log.error("the spool did not take a result", session=_name(submission), reason=str(fault))
        sentence = "the result could not be saved on the server just now; keep the log and send finish again"
        for listener, ref in tuple(submission.listeners.items()):
            listener.unsaved(submission, Error("full", sentence, RETRY_MS, ref=ref))
        self._forget_refused(submission)

    def _forget_refused(self, submission: Submission) -> None:
        if submission.refused and not submission.listeners:
            del self._underway[submission.session]

    def _conclude(self, submission: Submission) -> None:
        assert submission.verdict is not None
        del self._underway[submission.session]
        self._metrics.stored(self._clock() - submission.finished_s)
        for listener in tuple(submission.listeners):
            listener.stored(submission, submission.verdict)


def _name(submission: Submission) -> str:
    return session_to_text(submission.session)
