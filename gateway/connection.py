"""One client: a message in, the session asked, what it answered performed. All in one call, without a queue or a task.

    wire.frame ─> codec ─> session ─> here: send, submit, close

Life: `auth` within a deadline, then tests, one after the other. What `auth`, `start` and `resume` come to, and what is
said of races and of whom one watches, is for the process's rooms for it (`Admitting`, `Starting`, `Resuming`, `Racing`,
`Watching`). Below it is the `Link`: what goes over the wire, how much may come, and how it ends.
"""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final, assert_never

from gateway.auth import Identity
from gateway.codec import NOT_KEYS, Codec, Undecodable
from gateway.costs import FRAME_COST, RACE_COST, WATCH_COST
from gateway.link import ALIVE, Link
from gateway.submissions import Submission
from gateway.wheel import PERIOD_S
from gateway.wire import WebSocketWire
from session.identity import session_to_text
from session.machine import SLICED_EVENTS, Breach, Differs, Due, Gap, Outcome, Refused, TypingSession
from session.messages import (
    Abort,
    Auth,
    CloseCode,
    Error,
    Finish,
    Heartbeat,
    HeartbeatAnswer,
    Keys,
    Malformed,
    Reconnect,
    Resume,
    Resumed,
    Start,
    Stored,
    parse,
    ready,
)
from session.passages import Material
from session.race_messages import (
    RaceAgain,
    RaceCreate,
    RaceJoin,
    RaceLeave,
    RaceReady,
    RaceStart,
    Unwatch,
    Watch,
)
from session.result import Result
from session.state import FINAL, State

if TYPE_CHECKING:
    from gateway.hub import Hub
    from gateway.races.place import Place
    from gateway.races.racing import RaceTalk

__all__ = ["Connection"]

_HOT_BYTES: Final = 3 * SLICED_EVENTS
"""A frame of keys up to so long is taken at once: no event has less than three bytes."""
_ELSEWHERE: Final = "the test goes on over another connection"
_OVER: Final = b"over"
_TOKEN: Final = (str, type(None))
_FLAG: Final = (bool, type(None))


class Connection(Link):
    """The application's end of one WebSocket. Made by `Hub.connect`; lives from `opened` to `closed`."""

    __slots__ = (
        "__weakref__",
        "_age_s",
        "_asked_ms",
        "_awaited",
        "_ended",
        "_known_ref",
        "_result",
        "aside",
        "counts_as",
        "expires_ms",
        "name",
        "phase",
        "place",
        "user",
    )

    def __init__(self, hub: Hub, codec: Codec) -> None:
        super().__init__(hub, codec)
        self.phase = 0
        self._keys_of = codec.keys
        self.user = 0
        """Whose it is; 0 until `ready`."""
        self.name: str | None = None
        """What its account is called; None or empty: by a default name."""
        self.aside = False
        """Whether it only hands in what was typed before; it has not signed in then."""
        self.counts_as: tuple[str, ...] = ()
        """What it is counted for, where connections are (`gateway.places`)."""
        self.expires_ms: int | None = None
        """When an account's token ends (epoch ms)."""
        self._session: TypingSession | None = None
        """The test being typed."""
        self._known_ref: int | None = None
        """The highest `ref` of a test that was here (-1: it had none): frames of these are late, not wrong."""
        self._ended: bytes | None = None
        """The session that ended here last: a repeated `finish` is about it."""
        self._result: tuple[bytes, str | None] | None = None
        """Its result as a payload, and once it is stored its final verdict."""
        self.place: Place | None = None
        """Where it is in a race."""
        self._awaited: list[bytes] = []
        """Sessions whose results are on their way."""
        self._age_s = 0
        self._asked_ms: float | None = None
        """When the end of a timed test was asked for, by a ping that is not answered yet."""

    @property
    def idle(self) -> bool:
        """Whether nothing is lost by sending this client away: no test has begun, no result is awaited."""
        return not self._working and not self._awaited and (self._session is None or self._session.n == 0)

    @property
    def session(self) -> TypingSession | None:
        """The test being typed."""
        return self._session

    # --- what the wire calls ---

    def opened(self, wire: WebSocketWire) -> None:
        """Greet the client."""
        self._wire = wire
        self._hub.joined(self)
        codec = self._codec
        wire.send(self._hub.hello[codec.subprotocol], codec.binary)
        for tell in self._hub.coming:
            tell(self)

    def frame(self, payload: bytes, binary: bool) -> None:
        """Take one message. The hot path: `keys` of the running test goes straight to the session."""
        size = len(payload)
        counts = self._counts
        counts.frames_in += 1
        counts.bytes_in += size
        self._allowance -= size + FRAME_COST
        if self._allowance < 0:
            self.spend(0)
            return
        if binary is not self._codec.binary:
            kind = "binary" if self._codec.binary else "text"
            self.close(CloseCode.PROTOCOL, f"{self._codec.subprotocol} has {kind} frames")
            return
        session = self._session
        if session is not None and size <= _HOT_BYTES:
            try:
                keys = self._keys_of(payload)
            except NOT_KEYS:
                pass
            else:
                ref = keys.ref
                if ref is None or ref == session.ref:
                    events = keys.e
                    outcome = session.keys(keys.n, events, keys.h, now_ms=self._hub.clock() * 1000)
                    counts.events += len(events) >> 1
                    if outcome is not None or session.ended:
                        self._answer(session, outcome)
                    return
        try:
            message = self._codec.decode(payload)
        except Undecodable as exc:
            self.close(CloseCode.PROTOCOL, str(exc))
            return
        self._take(message)

    def pong(self, payload: bytes) -> None:
        """Measure the way; at the end of a timed test, settle: all that the client had sent has arrived."""
        self.spend(FRAME_COST)
        now_ms = self._hub.clock() * 1000
        if payload == ALIVE:
            if self._pinged_ms is not None:
                self._ping_ms = now_ms - self._pinged_ms
                self._pinged_ms = None
        elif payload == _OVER and self._session is not None:
            self._asked_ms = None
            self._answer(self._session, self._session.pong(now_ms=now_ms))

    def closed(self, code: int, reason: str) -> None:
        """Hold the running test for its client's return."""
        hub = self._hub
        self._wire = None
        hub.metrics.closed(code)
        hub.left(self)
        for awaited in self._awaited:
            hub.submissions.leave(awaited, self)
        self._awaited.clear()
        self.let_go()
        if self.place is not None:
            self.place.closed()

    # --- what the wheel calls ---

    def beat(self, now_ms: float) -> None:
        """Once a second: a tick where there is news, and whatever depends on time."""
        wire = self._wire
        if wire is None:
            return
        options = self._hub.options
        self._allowance = min(self._allowance + options.bytes_per_s * PERIOD_S, options.burst_bytes)
        session = self._session
        if session is not None:
            if wire.writable:
                tick = session.tick(now_ms=now_ms)
                if tick is not None:
                    self._send(tick)
                    self._counts.ticks += 1
            else:
                self._counts.ticks_dropped += 1
            if session.deadline_ms < now_ms + 1000 * PERIOD_S:
                self._hub.wheel.ring(self, session.deadline_ms)
        self._age_s += 1
        if wire.heard:
            wire.heard = False
            self._silent_s = 0
        elif not self._working:  # else it is we who do not read
            self._silent_s += 1
            if self._silent_s > 2 * options.heartbeat_s:
                self.close(CloseCode.HEARTBEAT, f"nothing heard for {self._silent_s} s")
                return
        if self._asked_ms is not None and now_ms - self._asked_ms > 2000 * options.heartbeat_s:
            self.close(CloseCode.HEARTBEAT, "the ping at the end of the test was not answered")
            return
        if self._age_s % options.heartbeat_s < 1:
            self._pinged_ms = now_ms
            wire.ping(ALIVE)
        if not self.user and not self._working and self._age_s > options.auth_deadline_s:
            # no word of who it is not: on its way for so long the token may be, and after 4501 it would be thrown away
            self.close(CloseCode.HEARTBEAT, f"no auth within {options.auth_deadline_s:g} s")

    def alarm(self, now_ms: float) -> None:
        """Do what is due in the running test."""
        session = self._session
        if session is None or self._wire is None or self._working or now_ms < session.deadline_ms:
            return
        due = session.due(now_ms=now_ms)
        match due:
            case Due.PING:
                self._asked_ms = now_ms
                self._wire.ping(_OVER)
            case Due.SETTLE:
                self._submit(session)
            case Due.EXPIRED:
                self._drop(session)
                self.refuse(Error("expired", "the longest duration passed before the end", ref=session.ref))
            case Due.NOTHING | Due.FORGET:
                pass
            case _:
                assert_never(due)

    # --- messages ---

    def _take(self, message: dict[Any, Any]) -> None:
        """Take any message but the common `keys`."""
        if (
            not self.user
            and message.get("t") == Auth.T
            and type(token := message.get("token")) in _TOKEN
            and type(aside := message.get("aside")) in _FLAG
        ):
            self.aside = aside is True
            # what `parse` would come to: after a restart ten thousand say it at once
            self._hub.admitting.hear(self, token)
            return
        try:
            parsed = parse(message)
        except Malformed as exc:
            self.close(CloseCode.PROTOCOL, str(exc))
            return
        if not self.user:
            self.close(CloseCode.PROTOCOL, f"the first frame is auth, not {parsed.T}")
            return
        match parsed:
            case Keys():
                self._keys(parsed)
            case Start():
                self._hub.starting.hear(self, parsed)
            case Finish():
                self._finish(parsed)
            case Abort():
                self._abort()
            case Resume():
                self._hub.resuming.hear(self, parsed)
            case Heartbeat():
                self.say(HeartbeatAnswer(s=self._hub.races_ms(), c=parsed.c))
            case Auth():
                self.close(CloseCode.PROTOCOL, "auth comes once")
            case RaceCreate() | RaceJoin() | RaceReady() | RaceStart() | RaceLeave() | RaceAgain():
                self.sign_in()
                self._race(parsed)
            case Watch() | Unwatch():
                self._watch(parsed)
            case _:
                assert_never(parsed)

    def _keys(self, keys: Keys) -> None:
        """Take `keys` that are late, many, or wrong."""
        session = self._session
        if session is not None and (keys.ref is None or keys.ref == session.ref):
            self._counts.events += len(keys.e) >> 1
            self.work(
                session.feeding(keys.n, keys.e, keys.h, now_ms=self._hub.clock() * 1000),
                partial(self._answer, session),
            )
        elif not self._is_late(keys.ref):
            self.close(CloseCode.PROTOCOL, "keys before start")

    def _finish(self, finish: Finish) -> None:
        session = self._session
        if session is not None and (finish.ref is None or finish.ref == session.ref):
            self._answer(session, session.finish(finish.n, now_ms=self._hub.clock() * 1000))
        elif self._ended is not None and (finish.ref is None or finish.ref == self._known_ref):
            self._repeat(self._ended)
        elif not self._is_late(finish.ref):
            self.refuse(Error("idle", "no test runs here; start one first", ref=finish.ref))

    def _abort(self) -> None:
        session = self._session
        if session is not None:
            session.abort()
            self._drop(session)
            self._hub.aborted(session.id)
        elif self._known_ref is None:
            self.refuse(Error("idle", "no test runs here"))

    def _watch(self, said: Watch | Unwatch) -> None:
        """Look on at a test or a race, or at nothing any more; at one of them at a time."""
        watching = self._hub.watching
        if watching is not None:
            watching.leave(self)
            often = watching.too_often(self.user) if isinstance(said, Watch) else None
            if often is not None:
                self.refuse(often)
                return
        if isinstance(said, Unwatch) or said.session is None:
            self._race(said)
            return
        self.spend(WATCH_COST)
        if self.place is not None and self.place.lane is None:
            self.place.leave()
        if said.race is not None or watching is None:
            refused: Error | None = Error("options", "watch names a race or a test's session, one of them")
        else:
            refused = watching.watch(self, said.session)
        if refused is not None:
            self.refuse(refused)

    def _race(self, said: RaceTalk) -> None:
        if not self.spend(RACE_COST):
            return
        if self._hub.racing is None:
            self.refuse(Error("no_race", "there are no races on this server"))
        else:
            self.wait_for(self._raced(self._hub.racing.hear(self, said)))

    async def _raced(self, heard: Coroutine[Any, Any, Error | None]) -> None:
        error = await heard
        if error is not None and self._wire is not None:
            self.refuse(error)

    # --- who is there ---

    def come_in(self, identity: Identity) -> None:
        """It is known who is there, and they may come in."""
        assert self._wire is not None, "who is gone is not let in"
        self.user = identity.user
        self.expires_ms = identity.expires_at_ms
        self.name = identity.name
        if identity.name is not None:
            self._hub.named(identity.user, identity.name)
        self._wire.ready()
        self._hub.ready(self)
        self._send(ready(identity.user, identity.guest, identity.token))
        if not self.aside:
            self._signed_in()

    def outlived(self) -> bool:
        """Whether its token has ended: then nothing more is begun with it, and the client comes back with a new one."""
        if self.expires_ms is None or self.expires_ms > self._hub.epoch_ms():
            return False
        self.close(CloseCode.UNAUTHORISED, "the token has expired; connect with a new one")
        return True

    def sign_in(self) -> None:
        """Who came only to hand in what was typed before stays for more."""
        if self.aside:
            self.aside = False
            self._signed_in()

    def _signed_in(self) -> None:
        for tell in self._hub.signing_in:
            tell(self)

    # --- the session: taking it, letting it go, performing what it answers ---

    def take_up(self, session: TypingSession, material: Material) -> None:
        """Begin a new test; the one that runs is given up for it."""
        if self._session is not None:
            self._abort()
        self._hold_on(session)
        self._counts.starts += 1
        self.say(session.started(material))

    def go_on(self, session: TypingSession, answer: Resumed) -> None:
        """A test goes on here."""
        self._hold_on(session)
        self._counts.resumes += 1
        self.say(answer)

    def give_up(self, session: bytes | None) -> None:
        """Give up this test, if it is the one that runs."""
        if self._session is not None and self._session.id == session:
            self._abort()

    def _hold_on(self, session: TypingSession) -> None:
        self._session = session
        self._ended = self._result = None
        self._known(session.ref)
        self._hub.live[session.id] = self
        if session.watch and self._hub.watching is not None:
            self._hub.watching.opened(session, self)

    def _drop(self, session: TypingSession) -> None:
        self._session = self._asked_ms = None
        if self._hub.live.get(session.id) is self:  # else somebody else has taken it over
            del self._hub.live[session.id]
        if self.place is not None and session.state is State.ABANDONED:
            self.place.gave_up(session)

    def let_go(self) -> None:
        """Give what is typed to the hub; in the middle of a job only what was seen: its client's log makes it anew."""
        session = self._session
        if session is None:
            return
        self._drop(session)
        if session.state in FINAL:
            return
        accounts = self._hub.takeovers.accounts
        if not session.seen:
            if session.taken:  # it was taken for this process: whoever is about to make it anew here still may
                accounts.keep(session.id, session.epoch, None)
        elif self._working:
            accounts.keep(session.id, session.epoch, session.answer())
        else:
            self._hub.hold(session)

    def supersede(self) -> None:
        """Another connection has resumed the test: give it up and close."""
        self.let_go()
        self.close(CloseCode.SUPERSEDED, _ELSEWHERE)

    def outdo(self) -> None:
        """The account has signed in anew, elsewhere: close, and hold what is being typed for who came."""
        self.let_go()
        self.close(CloseCode.SUPERSEDED, "you have signed in elsewhere")

    def send_away(self, *, after_ms: int) -> None:
        """The node goes: say so, with the last receipt, and close."""
        if self._session is not None and not self._working:
            tick = self._session.tick(now_ms=self._hub.clock() * 1000)
            if tick is not None:
                self._send(tick)
        self.say(Reconnect(after_ms=after_ms))
        self.close(CloseCode.RESTARTING, "come back")

    def _answer(self, session: TypingSession, outcome: Outcome) -> None:
        """Perform an outcome, and submit a session that has ended with it."""
        if outcome is not None:
            self._perform(outcome)
        if self._session is not session:
            return
        if session.state is State.ABANDONED:
            self._drop(session)
        elif session.ended:
            self._submit(session)

    def _perform(self, outcome: Gap | Refused | Breach | Differs) -> None:
        match outcome:
            case Gap():
                self.refuse(outcome.error(self._session.ref if self._session is not None else None))
            case Refused(error):
                self.refuse(error)
            case Breach(code, reason):
                self.close(code, reason)
            case Differs(claim):
                if self._session is not None:  # else another connection has it by now
                    copy = self._session
                    self._drop(copy)
                    self._hub.resuming.make_anew(self, copy, claim)
            case _:
                assert_never(outcome)

    def _submit(self, session: TypingSession) -> None:
        self._drop(session)
        self._ended = session.id
        self._awaited.append(session.id)
        hub = self._hub
        stall_ms = hub.stalls.waited_ms(session.seen_ms)
        hub.submissions.submit(session, self, ping_ms=self._ping_ms, stall_ms=stall_ms)
        if self.place is not None:
            self.place.ended(session)

    # --- what becomes of a result (gateway.submissions.Listener) ---

    def verdict_of(self, session: bytes) -> str | None:
        """The final verdict on a test that ended here last, once its result is stored."""
        return None if self._result is None or self._ended != session else self._result[1]

    def _repeat(self, ended: bytes) -> None:
        """`finish` of a test that is over: the same result, or another try to save it."""
        if self._result is not None:
            payload, verdict = self._result
            self._send_payload(payload)
            if verdict is not None:
                self.say(Stored(session=ended, verdict=verdict))
        elif self._hub.submissions.of(ended) is not None:
            self._hub.submissions.retry(ended)

    def wait_for_result(self, session: bytes, *, ref: int | None) -> None:
        """The test is over, and its result on its way: tell it here too."""
        if self._ended != session:
            self._ended, self._result = session, None
        self._known(ref)
        if session not in self._awaited:
            self._awaited.append(session)
        self._hub.submissions.listen(session, self, ref=ref)

    def tell_stored(self, result: Result, *, ref: int | None) -> None:
        """The test is over, and its result where it belongs."""
        self._ended = result.session
        self._known(ref)
        payload = self._codec.encode(result.to_wire(ref=ref))
        self._result = (payload, result.verdict)
        self._send_payload(payload)
        self.say(Stored(session=result.session, verdict=result.verdict))

    def accepted(self, submission: Submission, result: Result, ref: int | None) -> None:
        """The result is durable: tell it."""
        payload = self._codec.encode(result.to_wire(ref=ref))
        if self._ended == result.session:
            self._result = (payload, None)
        self._send_payload(payload)

    def unsaved(self, submission: Submission, error: Error) -> None:
        """The spool did not take it: the client keeps its log and sends `finish` again."""
        self.refuse(error)

    def stored(self, submission: Submission, verdict: str) -> None:
        """The result is where it belongs."""
        session = submission.session
        if session in self._awaited:
            self._awaited.remove(session)
        if self._result is not None and self._ended == session:
            self._result = (self._result[0], verdict)
        self.say(Stored(session=session, verdict=verdict))

    def superseded(self, submission: Submission) -> None:
        """Another process has taken the session over; what becomes of it is for that one to say."""
        self.close(CloseCode.SUPERSEDED, _ELSEWHERE)

    def lost(self, submission: Submission) -> None:
        """A fault of ours: the client comes back with its log."""
        self.close(CloseCode.INTERNAL, "the test could not be settled")

    # --- what the link asks ---

    def _parting(self) -> None:
        for tell in self._hub.parting:
            tell(self)

    def _typing(self) -> str | None:
        return None if self._session is None else session_to_text(self._session.id)

    # --- refs ---

    def _known(self, ref: int | None) -> None:
        self._known_ref = max(-1 if ref is None else ref, -1 if self._known_ref is None else self._known_ref)

    def _is_late(self, ref: int | None) -> bool:
        """Whether a frame is of a test that is over."""
        return self._known_ref is not None and (ref is None or ref <= self._known_ref)
