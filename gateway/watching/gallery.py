"""A gallery: those connections of this node that look on at one typist, and what they are told.

What is heard of the typist is kept here as it came, so that whoever comes, or has read too slowly, is brought up to
date from where it is; all others are told what is new, in one message that is encoded once.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from gateway.codec import Codec
from gateway.said import Said
from gateway.watching.facts import WatchFacts
from gateway.watching.words import END, FULL, KEYS, STATE, TEST, WHO, channel_of
from session.messages import Error
from session.names import default_name
from session.passages import Material
from session.race_messages import Watched, WatchEnd, WatchKeys, WatchState
from session.receipt import Forged, Ticket

if TYPE_CHECKING:
    from gateway.connection import Connection
    from gateway.watching.watching import Watching

__all__ = ["Gallery"]

BLOCK = 512
"""Keys that those who catch up are told at once; at the same places for all, so that they are encoded once."""

BLOCKS = 4
"""Such messages to one connection at a time, ten times a second: some 10 KB."""

CLOSE_MS = 80
"""What comes sooner after the last telling waits for the next visit: ten times a second, and no oftener."""

_STRIDE = 32
"""Connections told between two breaths: about 0.3 ms."""

_ASK_MS = 300
_ASK_AGAIN_MS = 1_000
_STATES = frozenset({"typing", "away", "waiting", "gone"})
_MOST_KEYS = 1 << 16

_log = structlog.get_logger(__name__)


class Onlooker:
    """How far one connection is."""

    __slots__ = ("end", "n", "own", "state", "test", "told", "until_ms")

    def __init__(self, until_ms: float) -> None:
        self.until_ms = until_ms
        """Who was told nothing by then is told that there is nothing to be seen."""
        self.told = False
        self.own = False
        """Whether it is the typist's own."""
        self.test = 0
        """Which of the thread's tests it was told of."""
        self.n = 0
        """Keys of it that it has."""
        self.state = ""
        self.end: Said | None = None


class Gallery:
    """A member of the watching's wheel, visited ten times a second; closes itself when nobody looks any more."""

    def __init__(self, watching: Watching, thread: bytes) -> None:
        self.thread = thread
        self.phase = 0
        self.user: int | None = None
        """The typist; None until that is known."""
        self.has_own = False
        """Whether the typist itself is among those who look."""
        self.session: bytes | None = None
        """The test that is shown."""
        self._watching = watching
        self._onlookers: dict[Connection, Onlooker] = {}
        self._others = False
        """Whether anybody may be here."""
        self._source = ""
        """The node that shows it."""
        self._epoch = 0
        self._heard_ms = self._asked_ms = watching.hub.clock() * 1000
        self._listening = False
        self._test = 0
        """Number of the test that is shown; 0 before the first."""
        self._test_open = False
        self._name: str | None = None
        """What the typist's account is called, as far as it is known and has a name."""
        self._facts: dict[str, Any] | None = None
        """`watched` as a map without `own`; None while the text is being made."""
        self._watched: dict[bool, Said] = {}
        self._log: list[str] = []
        self._figures: tuple[int, float, float, float, int] = (0, 0.0, 0.0, 100.0, 0)
        self._state = "typing"
        self._end: Said | None = None
        self._end_wire: dict[str, Any] | None = None
        self._former: Said | None = None
        """The end of the test before: who saw that is told, however soon the next one began."""
        self._states: dict[str, Said] = {}
        self._told_n = 0
        """Keys that were there when all were told last."""
        self._told_ms = 0.0
        self._news = False
        self._telling = False
        self.closed = False
        self._subscription = watching.bus.subscribe(channel_of(thread), self._heard, resync=self._resync)

    def __len__(self) -> int:
        return len(self._onlookers)

    # --- who looks ---

    def add(self, connection: Connection) -> None:
        """One more looks."""
        watching = self._watching
        now_ms = watching.hub.clock() * 1000
        self._onlookers[connection] = Onlooker(now_ms + watching.options.answer_ms)
        self._recognise(connection)
        self._news = True

    def remove(self, connection: Connection) -> None:
        """One looks away."""
        gone = self._onlookers.pop(connection)
        if gone.own:
            self.has_own = any(onlooker.own for onlooker in self._onlookers.values())
        if not self._onlookers:
            self.close()

    def close(self) -> None:
        """Nobody looks any more."""
        if not self.closed:
            self.closed = True
            self._subscription.close()
            self._watching.forget(self)

    def _recognise(self, *connections: Connection) -> None:
        """See whether the typist is among these: then all of its tests are to be shown, some of them to it alone."""
        own = [connection for connection in connections if connection.user == self.user]
        for connection in own:
            self._onlookers[connection].own = True
        if own and not self.has_own:
            self.has_own = True
            self._ask(anew=True)

    def _send_away(self, connection: Connection, why: Error) -> None:
        self._watching.forget_watcher(connection)
        self.remove(connection)
        connection.refuse(why)

    # --- what is heard ---

    def _resync(self) -> None:
        """Something may have been missed, or hearing begins: all that there is."""
        self._listening = True
        self._ask(anew=True)

    def _ask(self, *, anew: bool) -> None:
        self._asked_ms = self._watching.hub.clock() * 1000
        self._watching.look(self, anew=anew)

    def _heard(self, message: Any) -> None:
        try:
            match message:
                case [str(word), str(node), int(epoch), *what]:
                    self._take(word, node, epoch, what)
                case _:
                    raise ValueError("no message about a test that is watched")
        except (ValueError, Forged) as fault:
            self._watching.misheard(fault)

    def _take(self, word: str, node: str, epoch: int, what: list[Any]) -> None:
        match word, what:
            case str(), [int(user), *_] if word == WHO:
                self._know(user)
                return
            case str(), [*_] if word == FULL:
                self._full()
                return
            case str(), [bytes(sealed), bool(others), *more] if word == TEST:
                ticket = Ticket.open(self._watching.hub.ring, sealed)
                if not self._follow(node, epoch, ticket.session):
                    return
                self._begin(ticket, others, more[0] if more else None)
            case str(), [bytes(session), int(n), list(keys), int() as ms, *figures] if word == KEYS:
                if not self._follow(node, epoch, session) or session != self.session:
                    return
                self._typed(n, keys, ms, figures)
            case str(), [str(state), int(user), bool(others), *_] if word == STATE and state in _STATES:
                if not self._follow(node, epoch, None):
                    return
                self._others |= others
                self._state = state
                self._know(user)
            case str(), [bytes(session), str(how), figures, verdict, *_] if word == END:
                if not self._follow(node, epoch, session) or session != self.session:
                    return
                self._ended(how, figures, verdict)
            case _:
                raise ValueError(f"no {word!r:.20} that this version knows")
        self._news = True
        now_ms = self._watching.hub.clock() * 1000
        if now_ms >= self._told_ms + CLOSE_MS:
            self._tell(now_ms)

    def _follow(self, node: str, epoch: int, session: bytes | None) -> bool:
        """Whether this node is believed: the one that was, or who took the test later, or anybody after a silence."""
        now_ms = self._watching.hub.clock() * 1000
        if node != self._source:
            silent = now_ms >= self._heard_ms + self._watching.options.silent_ms
            later = session is not None and session == self.session and epoch > self._epoch
            if self._source and not (silent or later):
                return False
            self._source = node
        self._epoch = epoch
        self._heard_ms = now_ms
        return True

    def _know(self, user: int) -> None:
        if self.user != user:
            self.user = user
            self._recognise(*self._onlookers)

    def _full(self) -> None:
        for connection, onlooker in list(self._onlookers.items()):
            if not onlooker.told:
                self._send_away(connection, self._watching.full())

    def _begin(self, ticket: Ticket, others: bool, name: Any) -> None:
        """A test is shown from its first key on. One that is shown already goes on; its keys are compared."""
        self._others |= others
        self._test_open = others
        known = self._name
        if type(name) is str:  # a node of a former version does not say it
            self._name = name
        if ticket.session == self.session:
            if self._name != known and self._facts is not None:
                self._facts["name"] = self._name
                self._watched.clear()
                self._show_anew()
            return
        self.session = ticket.session
        self._test += 1
        self._facts = None
        self._watched.clear()
        self._log = []
        self._told_n = 0
        self._figures = (0, 0.0, 0.0, 100.0, 0)
        self._former = self._end
        self._end = self._end_wire = None
        self._know(ticket.user)
        hub = self._watching.hub
        hub.slices.run(hub.texts.again(ticket, text=None, ref=None), partial(self._made, ticket), self._broken)

    def _made(self, ticket: Ticket, material: Material | Error) -> None:
        """The text of a test is there."""
        if ticket.session != self.session or self.closed:
            return
        if isinstance(material, Error):
            _log.warning("a test that is watched cannot be shown here", why=material.message)
            return
        options = ticket.options
        self._facts = Watched(
            session=ticket.session,
            mode=options.mode,
            text=material.text,
            language=material.language,
            direction=material.direction,
            cyclic=material.cyclic,
            punctuation=options.punctuation,
            numbers=options.numbers,
            own=False,
            name=self._name or default_name(ticket.user),
            title=material.title,
            count=options.count,
            seconds=options.seconds,
            breaks=material.breaks,
            word_lengths=material.word_lengths,
        ).to_wire()
        self._news = True

    def _broken(self, fault: Exception) -> None:
        _log.error("a test that is watched cannot be shown here", exc_info=fault)

    def _typed(self, n: int, keys: list[Any], ms: int, figures: list[Any]) -> None:
        match figures:
            case [int() | float() as wpm, int() | float() as raw, int() | float() as acc, int(err), *_]:
                self._figures = (ms, wpm, raw, acc, err)
            case _:
                raise ValueError("no figures of a test that is watched")
        log = self._log
        if not 0 <= n + len(keys) <= _MOST_KEYS or not {*map(type, keys)} <= {str}:
            raise ValueError("no keys of a test that is watched")
        if n > len(log):
            self._ask(anew=True)
            return
        known = log[n : n + len(keys)]
        if keys[: len(known)] == known:
            log += keys[len(known) :]
            return
        # What was shown is not what is typed by what the test's new node knows: it is shown anew.
        self._log = log[:n] + keys
        self._show_anew()

    def _show_anew(self) -> None:
        """Bring all of the present test to everybody again."""
        self._former = None
        self._test += 1
        self._told_n = 0

    def _ended(self, how: str, figures: Any, verdict: Any) -> None:
        assert self.session is not None
        match how, figures, verdict:
            case "aborted", None, _:
                end = WatchEnd(self.session, how)
            case "finished", dict(), str() | None:
                end = WatchEnd(self.session, how, verdict=verdict, **{name: figures.get(name) for name in _RESULT})
            case _:
                raise ValueError("no end of a test that is watched")
        wire = end.to_wire()
        if wire != self._end_wire:
            self._end_wire, self._end = wire, self._said(wire)

    # --- what is told ---

    def beat(self, now_ms: float) -> None:
        """Tell what has gathered; see to those who wait, and to a typist of whom nothing is heard."""
        options = self._watching.options
        silent_ms = now_ms - self._heard_ms
        if self._source and silent_ms >= options.silent_ms and self._state == "typing":
            self._state, self._news = "away", True
        if self._source and silent_ms >= 1000 * options.gone_s:
            self._state, self._news = "gone", True
        waiting = False
        for connection, onlooker in list(self._onlookers.items()):
            if onlooker.told:
                continue
            if now_ms < onlooker.until_ms:
                waiting = True
                continue
            self._send_away(connection, self._watching.unseen(heard=self._listening))
        if self.closed:
            return
        if self._listening and (
            (waiting and not self._source and now_ms >= self._asked_ms + _ASK_MS)
            or (silent_ms >= options.silent_ms and now_ms >= self._asked_ms + _ASK_AGAIN_MS)
        ):
            self._ask(anew=True)
        if self._news:
            self._tell(now_ms)

    def alarm(self, now_ms: float) -> None:
        """It asks for none."""

    def _tell(self, now_ms: float) -> None:
        """Tell all, in slices; what comes meanwhile is told the next time."""
        if self._telling or self.closed:
            return
        self._telling, self._news, self._told_ms = True, False, now_ms
        self._watching.hub.slices.run(self._telling_all(), self._all_told, self._not_told)

    def _all_told(self, behind: bool) -> None:
        self._telling = False
        self._news |= behind
        if self._state == "gone" and not behind:
            for connection in list(self._onlookers):
                self._watching.forget_watcher(connection)
                self.remove(connection)

    def _not_told(self, fault: Exception) -> None:
        self._telling = False
        _log.error("those who look on could not be told", exc_info=fault)

    def _telling_all(self) -> Generator[None, None, bool]:
        """Bring everybody up to date; whether somebody is still behind."""
        said: dict[tuple[int, int], Said] = {}
        test, until = self._test, len(self._log)
        since, self._told_n = self._told_n, until
        behind = False
        for count, (connection, onlooker) in enumerate(list(self._onlookers.items()), 1):
            if not count % _STRIDE:
                yield
                if test != self._test:
                    return True
            if connection in self._onlookers:
                behind |= not self._bring(connection, onlooker, said, since, until)
        return behind

    def _bring(
        self, connection: Connection, onlooker: Onlooker, said: dict[tuple[int, int], Said], since: int, until: int
    ) -> bool:
        """Tell one what it does not have yet, as far as it reads; whether it has all."""
        own = onlooker.own
        seen = self._test > 0 and (own or self._test_open)
        if not (own or self._others):
            return True  # it has no right to be here; or it is not yet known that it has
        if seen:
            if onlooker.test != self._test:
                if self._facts is None:
                    return False
                former = self._former
                if former is not None and onlooker.test == self._test - 1 and onlooker.end is not former:
                    if not self._send(connection, former):
                        return False
                    onlooker.end = former
                if not self._send(connection, self._watched_by(own)):
                    return False
                onlooker.told = True
                onlooker.test, onlooker.n, onlooker.state, onlooker.end = self._test, 0, "typing", None
            if not self._bring_keys(connection, onlooker, said, since, until):
                return False
            if onlooker.end is not self._end and self._end is not None:
                if not self._send(connection, self._end):
                    return False
                onlooker.end = self._end
        state = self._state if seen or self._state == "gone" or not self._test else "waiting"
        if onlooker.state != state and (seen or state != "typing"):
            if not self._send(connection, self._state_said(state)):
                return False
            onlooker.told = True
            onlooker.state = state
        return True

    def _bring_keys(
        self, connection: Connection, onlooker: Onlooker, said: dict[tuple[int, int], Said], since: int, until: int
    ) -> bool:
        for _ in range(BLOCKS):
            n = onlooker.n
            if n >= until:
                return True
            start, end = n, until
            if n != since or until - since > BLOCK:
                start = n // BLOCK * BLOCK
                end = min(start + BLOCK, until)
            message = said.get((start, end))
            if message is None:
                message = said[start, end] = self._keys_said(start, end)
            if not self._send(connection, message):
                return False
            onlooker.n = end
        return onlooker.n >= until

    def _send(self, connection: Connection, said: Said) -> bool:
        facts = self._watching.facts
        if connection.hear(said):
            facts.sent += 1
            return True
        facts.dropped += 1
        return False

    def _keys_said(self, start: int, end: int) -> Said:
        ms, wpm, raw, acc, err = self._figures
        return self._said(WatchKeys(start, self._log[start:end], ms, wpm, raw, acc, err).to_wire())

    def _watched_by(self, own: bool) -> Said:
        assert self._facts is not None
        said = self._watched.get(own)
        if said is None:
            said = self._watched[own] = self._said({**self._facts, "own": own})
        return said

    def _state_said(self, state: str) -> Said:
        said = self._states.get(state)
        if said is None:
            said = self._states[state] = self._said(WatchState(self.thread, state).to_wire())
        return said

    def _said(self, wire: dict[str, Any]) -> Said:
        return _Told(wire, self._watching.facts)


class _Told(Said):
    """What those who look on are told alike; how often it is encoded is counted."""

    __slots__ = ("_facts",)

    def __init__(self, message: dict[str, Any], facts: WatchFacts) -> None:
        super().__init__(message)
        self._facts = facts

    def payload(self, codec: Codec) -> bytes:
        """The message in an encoding."""
        if codec.subprotocol not in self._payloads:
            self._facts.encoded += 1
        return super().payload(codec)


_RESULT = ("wpm", "raw", "acc", "consistency", "chars", "duration_ms", "series")
