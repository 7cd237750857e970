"""What must hold, whatever goes wrong: the notes that are taken on the way, and the laws they are held to.

Some are asserted at once (a `stored` that is a lie), the others at the end, when all faults are over and everybody has
had time: nobody waits any more, and what was typed is there, once, with the figures of the log of who typed it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from loadtest.checking import differences, expected, words_of
from session.history import encode
from session.identity import session_from_text
from session.receipt import hash_of
from session.result import Result
from tests.simulation.stores import Rows
from tests.simulation.world import Broken, World

_FIGURES = ("wpm", "raw", "acc", "consistency", "key_consistency", "duration_ms", "afk_ms")


class Typed:
    """What is known of one session."""

    def __init__(self, started: dict[str, Any]) -> None:
        self.started = started
        self.logs: list[list[Any]] = []
        """The logs that were finished; several only where two tabs typed it."""
        self.aborted = False
        self.given_up = False
        self.honest = True
        """Whether it is typed as a page of ours has it typed."""
        self.forked = False
        """Several tabs have typed it, each its own way."""
        self.is_stored = False
        self._expected: dict[int, dict[str, Any]] = {}

    def figures(self, which: int) -> dict[str, Any]:
        """What the result of a log must say."""
        found = self._expected.get(which)
        if found is None:
            found = self._expected[which] = expected(self.started, words_of(self.started), self.logs[which])
        return found


class Ledger:
    """Takes notes, and asserts.

    `durable()`: the sessions whose results are on some disk or beyond; `confirmed()`: those that the broker, or where
    there is none the store, has acknowledged.
    """

    def __init__(
        self,
        world: World,
        rows: Rows,
        *,
        durable: Callable[[bytes], bool],
        confirmed: Callable[[bytes], bool],
    ) -> None:
        self._world = world
        self._rows = rows
        self._durable = durable
        self._confirmed = confirmed
        self.tests: dict[str, Typed] = {}
        self._passed_over: set[bytes] = set()

    # -- on the way ---------------------------------------------------------------------------------------------------

    def started(self, session: str, started: dict[str, Any]) -> None:
        self.tests[session] = Typed(started)

    def finished(self, session: str, started: dict[str, Any], events: list[Any]) -> None:
        typed = self.tests.setdefault(session, Typed(started))
        if events not in typed.logs:
            typed.logs.append(list(events))
        if len(typed.logs) > 1 and not typed.forked:
            raise Broken("a log is finished once", f"{session} has {len(typed.logs)} ends")

    def aborted(self, session: str) -> None:
        self.tests[session].aborted = True

    def gave_up(self, session: str) -> None:
        self.tests[session].given_up = True

    def result(self, who: str, session: str, result: dict[str, Any]) -> None:
        typed = self.tests[session]
        if not self._durable(session_from_text(session)):
            raise Broken("`result` means durable", f"{who} heard of {session[-6:]}, which is on no disk")
        if typed.forked:
            return
        if not typed.logs:
            raise Broken("a result has a finished log", f"{who} heard of {session[-6:]}, which nobody has finished")
        wrong = [differences(result, typed.figures(which)) for which in range(len(typed.logs))]
        if all(wrong):
            raise Broken("the server's figures are the log's", f"{who} heard of {session[-6:]}: {'; '.join(wrong[0])}")

    def stored(self, who: str, session: str) -> None:
        self.tests[session].is_stored = True
        if not self._confirmed(session_from_text(session)):
            raise Broken("`stored` means stored", f"{who} heard it of {session[-6:]}, which nobody has acknowledged")

    def failed(self, who: str, error: dict[str, Any], session: str | None) -> None:
        typed = None if session is None else self.tests.get(session)
        if typed is not None and typed.started.get("mode") and not (typed.aborted or typed.forked):
            raise Broken("an honest test goes on", f"{who}: {error['code']} ({error['message']}) for {session}")
        if session is None and error["code"] not in ("draining",):
            raise Broken("a test can be had", f"{who}: {error['code']} ({error['message']})")

    def refused(self, who: str, code: int, *, locks: bool) -> None:
        if code != 4502 or (locks and not any(typed.forked for typed in self.tests.values())):
            raise Broken("an honest client is let in", f"{who} was closed with {code}")

    def pass_over(self, session: str | None) -> None:
        """This one is held to another law."""
        if session is not None:
            self._passed_over.add(session_from_text(session))

    # -- at the end ---------------------------------------------------------------------------------------------------

    def judge(self, kept: Iterable[str]) -> None:
        """Hold everything to the laws. `kept`: the sessions whose logs browsers still keep."""
        left = sorted(kept)
        if left:
            raise Broken("every log comes in", f"browsers still keep {', '.join(session[-6:] for session in left)}")
        for session, typed in self.tests.items():
            self._judge(session, typed)
        unknown = self._rows.sessions() - {session_from_text(session) for session in self.tests} - self._passed_over
        if unknown:
            raise Broken("a row was typed by somebody", f"nobody knows of {[row.hex()[-6:] for row in unknown]}")

    def _judge(self, session: str, typed: Typed) -> None:
        row = self._rows.row(session_from_text(session))
        short = session[-6:]
        if row is None and typed.is_stored:
            raise Broken("what was stored is there", f"{short} has no row")
        if typed.forked:
            return  # whose log it is depends on who came last, and what the server had seen of it stands
        if row is None:
            if typed.logs and not typed.given_up:
                raise Broken("what was typed is never lost", f"{short} was finished and has no row")
            return
        if not typed.logs:
            raise Broken("a row has a finished log", f"{short} has a row, and nobody has finished it")
        digests = [digest_of(typed.started, log) for log in typed.logs]
        if row.log_digest not in digests:
            raise Broken("the row is what was typed", f"{short}: its log is none that somebody finished")
        summary = row.summary
        wanted = typed.figures(digests.index(row.log_digest))
        wrong = [name for name in _FIGURES if getattr(summary, name) != wanted[name]]
        if wrong:
            raise Broken("the row's figures are the log's", f"{short}: {', '.join(wrong)}")
        self._judge_honest(short, row, honest=typed.honest)

    def _judge_honest(self, short: str, row: Result, *, honest: bool) -> None:
        if row.verdict == "void" and honest:
            raise Broken("who is honest is not voided", f"{short}: {row.reasons}")
        if self._rows.conflicts(row.session):
            raise Broken("one log, one core", f"{short} has copies that disagree")


def digest_of(started: dict[str, Any], log: list[Any]) -> bytes:
    """The digest of the events of a log that count."""
    events = log
    seconds = started.get("seconds")
    if seconds is not None:
        clock = 0 if "race" in started or not log else -log[0]
        for at in range(0, len(log), 2):
            clock += log[at]
            if clock >= seconds * 1000:
                events = log[:at]
                break
    history = bytearray()
    assert encode(events, history) is None
    return hash_of(bytes(history))
