"""A sight: what this node shows of one of its typists to whoever looks on, here and on other nodes."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, ref

from gateway.watching.words import END, KEYS, STATE, TEST, channel_of
from session.machine import TypingSession
from session.state import State

if TYPE_CHECKING:
    from gateway.connection import Connection
    from gateway.watching.watching import Wanted, Watching

__all__ = ["Sight"]

MOST_KEYS = 512
"""Keys told at a time: a tenth of a second has two, a log that is shown from its beginning may have 30,000. Each may
have 64 bytes, and the bus takes 64 KiB at once."""

AGAIN_MS = 2_000
"""So often it is said that we are there, whatever happens."""

ANEW_MS = 500
"""A test is begun to be shown anew no sooner than so long after the last time."""


class Sight:
    """A member of the watching's wheel, visited ten times a second; made and dropped by `Watching`.

    It goes with the connection: what is typed there next is the thread's next test. A test that came to another
    connection of this node, or waits for its client, is found by its id.
    """

    __slots__ = (
        "_anew",
        "_begun_ms",
        "_called",
        "_epoch",
        "_mark",
        "_n",
        "_open",
        "_said_ms",
        "_session",
        "_state",
        "_told",
        "_typist",
        "_user",
        "_verdict",
        "_wanted",
        "_watching",
        "phase",
        "thread",
    )

    def __init__(
        self, watching: Watching, thread: bytes, wanted: Wanted, typist: Connection | None, *, user: int, others: bool
    ) -> None:
        """`user` is the typist's; `others`: whether anything of the thread was for others to see."""
        self.thread = thread
        self.phase = 0
        self._watching = watching
        self._wanted = wanted
        self._typist: ReferenceType[Connection] | None = None if typist is None else ref(typist)
        self._session: TypingSession | None = None
        """What is shown; still there when it is over, for who comes later."""
        self._epoch = 0
        self._n = 0
        """Keys of it that were told."""
        self._mark = 0
        """Bytes of its history that these take."""
        self._told: str | None = None
        """What was told of its end."""
        self._verdict: str | None = None
        self._state = ""
        self._said_ms = self._begun_ms = -inf
        self._called: str | None = None
        """What was told of the typist's name."""
        self._anew = True
        self._user = user
        self._open = others

    def again(self) -> None:
        """Somebody has missed something, or comes only now: show it from its beginning."""
        self._anew = True

    def beat(self, now_ms: float) -> None:
        """Show what is new."""
        wanted = self._wanted
        if now_ms >= wanted.until_ms:
            self._watching.drop(self)
            return
        session, state = self._present()
        shown = self._session
        if session is not None and session.replaying:
            return  # its log is still coming
        if shown is not None and session is not shown:
            if _over(shown):
                self._show_keys(shown, now_ms)
            elif session is None:
                self._watching.drop(self)  # it goes on elsewhere, or its client is to come back without a key typed
                return
        own = now_ms < wanted.own_until_ms
        if session is not None:
            self._open |= session.watch
            wanted.session = session.id
            if not session.shows(own=own):
                state = "waiting"
            elif session is not shown:
                self._begin(session, now_ms)
        shown = self._session
        if shown is not None and shown.shows(own=own):
            if self._anew and now_ms >= self._begun_ms + ANEW_MS:
                self._begin(shown, now_ms)
            elif self._name() != self._called:  # who was away when this began has come back
                self._say_test(shown)
            self._show_keys(shown, now_ms)
            self._show_verdict(shown)
        elif self._anew:
            self._anew, self._said_ms = False, -inf
        if state != self._state or now_ms >= self._said_ms + AGAIN_MS:
            self._state, self._said_ms = state, now_ms
            self._say(STATE, state, self._user, self._open)
        if state == "gone":
            self._watching.drop(self)

    def alarm(self, now_ms: float) -> None:
        """It asks for none."""

    def _present(self) -> tuple[TypingSession | None, str]:
        """What is typed now, and how it stands."""
        hub = self._watching.hub
        typist = None if self._typist is None else self._typist()
        if typist is not None and typist.session is not None:
            return typist.session, "typing"
        current = self._wanted.session
        other = hub.live.get(current)
        if other is not None and other.session is not None:
            self._typist = ref(other)
            return other.session, "typing"
        held = hub.held(current)
        if held is not None:
            return held, "away"
        return None, "waiting" if typist is not None and typist.alive else "gone"

    def _begin(self, session: TypingSession, now_ms: float) -> None:
        """Show a test from its first key on."""
        if session is not self._session:
            self._epoch = session.epoch
            self._verdict = None
        self._session, self._user = session, session.user
        self._n = self._mark = 0
        self._told = None
        self._anew = False
        self._begun_ms, self._said_ms = now_ms, -inf
        self._say_test(session)

    def _say_test(self, session: TypingSession) -> None:
        self._called = self._name()
        self._say(TEST, session.ticket, session.watch, self._called)

    def _name(self) -> str | None:
        """What the typist's account is called, by its connection; as it was told where it has none just now."""
        typist = None if self._typist is None else self._typist()
        return self._called if typist is None or typist.user != self._user else typist.name or None

    def _show_keys(self, session: TypingSession, now_ms: float) -> None:
        """What was typed since, and the end once there is no more of it."""
        keys, self._mark = session.typed_since(self._mark, most=MOST_KEYS)
        if keys:
            wpm, raw, acc, _, _, err = session.figures()
            self._say(KEYS, session.id, self._n, keys, session.running_ms(now_ms=now_ms), wpm, raw, acc, err)
            self._n += len(keys)
        if len(keys) < MOST_KEYS and self._told is None and _over(session):
            self._told = "finished" if session.ended else "aborted"
            self._say(END, session.id, self._told, _figures(session), self._verdict)

    def _show_verdict(self, session: TypingSession) -> None:
        if self._told != "finished" or self._verdict is not None:
            return
        typist = None if self._typist is None else self._typist()
        verdict = None if typist is None else typist.verdict_of(session.id)
        if verdict is not None:
            self._verdict = verdict
            self._say(END, session.id, self._told, _figures(session), verdict)

    def _say(self, word: str, *what: Any) -> None:
        self._watching.say(channel_of(self.thread), [word, self._watching.node, self._epoch, *what])


def _over(session: TypingSession) -> bool:
    return session.ended or session.state is State.ABANDONED


def _figures(session: TypingSession) -> dict[str, Any] | None:
    """What is told of a test that is over, as fields of `watch.end`; None where it has no result."""
    summary = session.summary
    if summary is None or not session.ended:
        return None
    chars, series = summary.chars, summary.series
    return {
        "wpm": summary.wpm,
        "raw": summary.raw,
        "acc": summary.acc,
        "consistency": summary.consistency,
        "chars": [chars.correct, chars.incorrect, chars.extra, chars.missed],
        "duration_ms": summary.duration_ms,
        "series": {
            "wpm": list(series.wpm),
            "raw": list(series.raw),
            "burst": list(series.burst),
            "err": list(series.err),
        },
    }
