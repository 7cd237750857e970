"""One client: a message in, the session asked, what it answered performed. All in one call, without a queue or a task.

    wire.frame ─> codec ─> session ─> here: send, submit, close

What takes long (preparing a long text, replaying a log, looking into the store) runs in slices or in a task of the
hub's, and the wire is held meanwhile: a connection does one thing at a time. Life: `auth` within a deadline, then
tests, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, assert_never

import structlog

from gateway.auth import Identity, Unauthorised
from gateway.codec import NOT_KEYS, Codec, Undecodable
from gateway.said import Said
from gateway.submissions import Submission
from gateway.wheel import PERIOD_S
from gateway.wire import Peer, WebSocketWire
from persistence.errors import StoreError
from session.holder import Grounds, Question, Verdict, outdated, weigh
from session.identity import RANDOM_BITS, mint_session, session_to_text
from session.machine import SLICED_EVENTS, Breach, Claim, Differs, Due, Gap, Outcome, Refused, TypingSession
from session.messages import (
    ERRORS,
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
    ServerMessage,
    Start,
    Stored,
    parse,
    ready,
)
from session.options import TestOptions
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
    from gateway.ceiling import Ceiling
    from gateway.hub import Hub
    from gateway.races.place import Place
    from gateway.races.racing import RaceTalk

__all__ = ["Connection"]

FRAME_COST: Final = 48
"""What a frame takes of the byte allowance beside its payload, so that many tiny frames cost too."""

RARE_COST: Final = 512
"""What a ping or a fragment takes of it: taking one apart costs as much as a dozen messages."""

WATCH_COST: Final = 2048
"""What a `watch` takes of it: other nodes are asked, and what was typed so far is sent."""

RESUME_COST: Final = 4096
"""What a `resume` takes of it: a look into the store, and a text to be made anew."""

RACE_COST: Final = 512
"""What a message about races takes of it: a change of what all nodes share."""

SEED_BITS: Final = 53
"""Seeds travel as decimal strings; with so many bits a page may still make a number of one."""

FULL_RETRY_MS: Final = 5_000
"""When a client may try to start again on a node that can take no new tests."""

_HOT_BYTES: Final = 3 * SLICED_EVENTS
"""A frame of keys up to so long is taken at once: no event has less than three bytes."""
_REASON_BYTES: Final = 123  # RFC 6455 §5.5: a control frame's payload is 125 bytes at most, the code takes two
_ELSEWHERE: Final = "the test goes on over another connection"
_ALIVE, _OVER = b"alive", b"over"
_TOKEN: Final = (str, type(None))
_FLAG: Final = (bool, type(None))

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class _OfEachFrame(Peer):
    """What each frame looks at, side by side: see `session.machine`."""

    __slots__ = (
        "_allowance",
        "_codec",
        "_counts",
        "_hub",
        "_keys_of",
        "_session",
    )


class Connection(_OfEachFrame):
    """The application's end of one WebSocket. Made by `Hub.connect`; lives from `opened` to `closed`."""

    __slots__ = (
        "__weakref__",
        "_age_s",
        "_aside",
        "_asked_ms",
        "_awaited",
        "_ended",
        "_expires_ms",
        "_known_ref",
        "_ping_ms",
        "_pinged_ms",
        "_result",
        "_silent_s",
        "_wire",
        "_working",
        "counts_as",
        "name",
        "phase",
        "place",
        "user",
    )

    def __init__(self, hub: Hub, codec: Codec) -> None:
        self.phase = 0
        self._hub = hub
        self._counts = hub.counts
        self._codec = codec
        self._keys_of = codec.keys
        self._wire: WebSocketWire | None = None
        """None before `opened` and after `closed`."""
        self.user = 0
        """Whose it is; 0 until `ready`."""
        self.name: str | None = None
        """What its account is called; None or empty: by a default name."""
        self._aside = False
        """Whether it only hands in what was typed before; it has not signed in then."""
        self.counts_as: tuple[str, ...] = ()
        """What it is counted for, where connections are (`gateway.places`)."""
        self._expires_ms: int | None = None
        """When an account's token ends (epoch ms)."""
        self._session: TypingSession | None = None
        """The test being typed."""
        self._working = 0
        """Jobs and tasks of this connection under way: one, or a task and the job that it began. The wire is held."""
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
        self._allowance: float = hub.options.burst_bytes
        self._age_s = 0
        self._silent_s = 0
        self._pinged_ms: float | None = None
        self._ping_ms = 0.0
        self._asked_ms: float | None = None
        """When the end of a timed test was asked for, by a ping that is not answered yet."""

    @property
    def idle(self) -> bool:
        """Whether nothing is lost by sending this client away: no test has begun, no result is awaited."""
        return not self._working and not self._awaited and (self._session is None or self._session.n == 0)

    @property
    def address(self) -> str:
        """The client's, behind trusted proxies the one they tell; empty once it is gone."""
        return "" if self._wire is None else self._wire.peer_address

    @property
    def alive(self) -> bool:
        """Whether the client is still there."""
        return self._wire is not None

    @property
    def ping_ms(self) -> float:
        """The latest ping time; 0 before the first."""
        return self._ping_ms

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
            self._spend(0)
            return
        if binary is not self._codec.binary:
            kind = "binary" if self._codec.binary else "text"
            self._close(CloseCode.PROTOCOL, f"{self._codec.subprotocol} has {kind} frames")
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
            self._close(CloseCode.PROTOCOL, str(exc))
            return
        self._take(message)

    def pong(self, payload: bytes) -> None:
        """Measure the way; at the end of a timed test, settle: all that the client had sent has arrived."""
        self._spend(FRAME_COST)
        now_ms = self._hub.clock() * 1000
        if payload == _ALIVE:
            if self._pinged_ms is not None:
                self._ping_ms = now_ms - self._pinged_ms
                self._pinged_ms = None
        elif payload == _OVER and self._session is not None:
            self._asked_ms = None
            self._answer(self._session, self._session.pong(now_ms=now_ms))

    def rare(self) -> None:
        """Pings and fragments count too."""
        self._spend(RARE_COST)

    def closed(self, code: int, reason: str) -> None:
        """Hold the running test for its client's return."""
        hub = self._hub
        self._wire = None
        hub.metrics.closed(code)
        hub.left(self)
        for awaited in self._awaited:
            hub.submissions.leave(awaited, self)
        self._awaited.clear()
        if self._session is not None:
            self._let_go(self._session)
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
        else:
            self._silent_s += 1
            if self._silent_s > 2 * options.heartbeat_s:
                self._close(CloseCode.HEARTBEAT, f"nothing heard for {self._silent_s} s")
                return
        if self._asked_ms is not None and now_ms - self._asked_ms > 2000 * options.heartbeat_s:
            self._close(CloseCode.HEARTBEAT, "the ping at the end of the test was not answered")
            return
        if self._age_s % options.heartbeat_s < 1:
            self._pinged_ms = now_ms
            wire.ping(_ALIVE)
        if not self.user and not self._working and self._age_s > options.auth_deadline_s:
            # no word of who it is not: on its way for so long the token may be, and after 4501 it would be thrown away
            self._close(CloseCode.HEARTBEAT, f"no auth within {options.auth_deadline_s:g} s")

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
                self._error(Error("expired", "the longest duration passed before the end", ref=session.ref))
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
            self._aside = aside is True
            self._auth(token)  # what `parse` would come to: after a restart ten thousand say it at once
            return
        try:
            parsed = parse(message)
        except Malformed as exc:
            self._close(CloseCode.PROTOCOL, str(exc))
            return
        if not self.user:
            self._close(CloseCode.PROTOCOL, f"the first frame is auth, not {parsed.T}")
            return
        match parsed:
            case Keys():
                self._keys(parsed)
            case Start():
                self._start(parsed)
            case Finish():
                self._finish(parsed)
            case Abort():
                self._abort()
            case Resume():
                self._resume(parsed)
            case Heartbeat():
                self._say(HeartbeatAnswer(s=self._hub.races_ms(), c=parsed.c))
            case Auth():
                self._close(CloseCode.PROTOCOL, "auth comes once")
            case RaceCreate() | RaceJoin() | RaceReady() | RaceStart() | RaceLeave() | RaceAgain():
                if self._aside:
                    self._sign_in()
                self._race(parsed)
            case Watch() | Unwatch():
                self._watch(parsed)
            case _:
                assert_never(parsed)

    def _auth(self, token: str | None) -> None:
        try:
            identity = self._hub.authenticator.identify(token, now_ms=self._hub.epoch_ms())
        except Unauthorised as exc:
            self._unauthorised(exc, token)
            return
        if identity is not None:
            self._ready(identity)
        else:
            assert token is not None  # a guest without one is never sent to the issuer
            self._wait_for(self._identify(token))

    async def _identify(self, token: str) -> None:
        """Ask the issuer for its keys first."""
        try:
            identity = await self._hub.authenticator.identify_later(token, now_ms=self._hub.epoch_ms())
        except Unauthorised as exc:
            self._unauthorised(exc, token)
        else:
            self._ready(identity)

    def _unauthorised(self, exc: Unauthorised, token: str | None) -> None:
        self._hub.metrics.auth("jwt" if token and "." in token else "guest", exc.code)
        self._close(CloseCode.UNAUTHORISED, exc.message)

    def _ready(self, identity: Identity) -> None:
        if self._wire is None:
            return
        if not identity.user:
            self._close(CloseCode.UNAUTHORISED, "this token reads results; it types none")
            return
        ban = self._hub.ban_of(identity.user)
        self._hub.metrics.auth("guest" if identity.guest else "jwt", "ok" if ban is None else "banned")
        if ban is not None:
            self.ban(ban.told)
            return
        self.user = identity.user
        self._expires_ms = identity.expires_at_ms
        self.name = identity.name
        if identity.name is not None:
            self._hub.named(identity.user, identity.name)
        self._wire.ready()
        self._hub.ready(self)
        self._send(ready(identity.user, identity.guest, identity.token))
        if not self._aside:
            self._sign_in()

    def _sign_in(self) -> None:
        self._aside = False
        for tell in self._hub.signing_in:
            tell(self)

    def _start(self, start: Start) -> None:
        """Start a test. Only once nothing speaks against it is the one that runs given up: a refusal costs nothing."""
        hub = self._hub
        if self._expires_ms is not None and self._expires_ms <= hub.epoch_ms():
            self._close(CloseCode.UNAUTHORISED, "the token has expired; connect with a new one")
            return
        if hub.draining:
            self._error(Error("draining", "this node goes away; reconnect, then start", 0, ref=start.ref))
            return
        if self._racing(start.ref):
            return
        if self._aside:
            self._sign_in()
        began_s = hub.clock()
        wait_ms = hub.starts.take(self.user, now_ms=began_s * 1000)
        if wait_ms:
            self._error(Error("busy", f"too many starts; the next one in {wait_ms} ms", wait_ms, ref=start.ref))
            return
        if hub.spool.refusal is not None:
            self._error(Error("full", hub.spool.refusal, FULL_RETRY_MS, ref=start.ref))
            return
        options = start.choose(hub.limits)
        if isinstance(options, Error):
            self._error(options)
            return
        if hub.ceiling is None or self._session is not None or hub.ceiling.enter(self):
            self._choose(options, start.ref, began_s)
        else:
            self._wait_for(self._queue(hub.ceiling, options, start.ref))

    async def _queue(self, ceiling: Ceiling, options: TestOptions, ref: int | None) -> None:
        """There are many tests under way: start when it is our turn, or say when to ask again."""
        wait = await ceiling.ask(self)
        if self._wire is None:
            return
        if wait is None:
            self._choose(options, ref, self._hub.clock())
            return
        which = "more wait already than there are places" if wait.place is None else f"you are number {wait.place}"
        self._error(Error("full", f"as many type as may; {which}", wait.retry_ms, ref=ref, place=wait.place))

    def _choose(self, options: TestOptions, ref: int | None, began_s: float) -> None:
        """Choose the text, then begin."""
        seed = self._hub.random_bits(SEED_BITS)
        self._work(
            self._hub.texts.choosing(options, seed=seed, ref=ref),
            partial(self._begin, options, seed, ref, began_s),
        )

    def _begin(
        self, options: TestOptions, seed: int, ref: int | None, began_s: float, material: Material | Error
    ) -> None:
        hub = self._hub
        if hub.ceiling is not None:
            hub.ceiling.entered(self)
        if isinstance(material, Error):
            self._error(material)
            return
        if self._racing(ref):
            return
        if self._session is not None and self._session.returning:
            self._let_go(self._session)  # `start` came right behind a `resume`: a finished log may be on its way
        elif self._session is not None:
            self._abort()
        epoch_ms, now_s = hub.epoch_ms(), hub.clock()
        session = TypingSession.begin(
            options,
            material,
            session=mint_session(self.user, epoch_ms=epoch_ms, random_bits=hub.random_bits(RANDOM_BITS)),
            user=self.user,
            seed=seed,
            ref=ref,
            ring=hub.ring,
            limits=hub.limits,
            now_ms=now_s * 1000,
            epoch_ms=epoch_ms,
            node=hub.node,
        )
        self._hold_on(session)
        self._counts.starts += 1
        hub.metrics.started(now_s - began_s)
        self._say(session.started(material))

    def _racing(self, ref: int | None) -> bool:
        """Whether a race's test runs here, which no `start` gives up by the way; then it is refused."""
        if self.place is None or not self.place.racing:
            return False
        self._error(Error("running", "you are racing; race.leave gives the race up", ref=ref))
        return True

    def take_up(self, session: TypingSession, material: Material) -> None:
        """Begin a race's test; one's own is given up for it."""
        if self._session is not None:
            self._abort()
        self._hold_on(session)
        self._counts.starts += 1
        self._say(session.started(material))

    def give_up(self, session: bytes | None) -> None:
        """Give up this test, if it is the one that runs."""
        if self._session is not None and self._session.id == session:
            self._abort()

    def _race(self, said: RaceTalk) -> None:
        self._spend(RACE_COST)
        if self._allowance < 0:
            return
        if self._hub.racing is None:
            self._error(Error("no_race", "there are no races on this server"))
        else:
            self._wait_for(self._raced(self._hub.racing.hear(self, said)))

    async def _raced(self, heard: Coroutine[Any, Any, Error | None]) -> None:
        error = await heard
        if error is not None and self._wire is not None:
            self._error(error)

    def _keys(self, keys: Keys) -> None:
        """Take `keys` that are late, many, or wrong."""
        session = self._session
        if session is not None and (keys.ref is None or keys.ref == session.ref):
            self._counts.events += len(keys.e) >> 1
            self._work(
                session.feeding(keys.n, keys.e, keys.h, now_ms=self._hub.clock() * 1000),
                partial(self._answer, session),
            )
        elif not self._is_late(keys.ref):
            self._close(CloseCode.PROTOCOL, "keys before start")

    def _finish(self, finish: Finish) -> None:
        session = self._session
        if session is not None and (finish.ref is None or finish.ref == session.ref):
            self._answer(session, session.finish(finish.n, now_ms=self._hub.clock() * 1000))
        elif self._ended is not None and (finish.ref is None or finish.ref == self._known_ref):
            self._repeat(self._ended)
        elif not self._is_late(finish.ref):
            self._error(Error("idle", "no test runs here; start one first", ref=finish.ref))

    def _repeat(self, ended: bytes) -> None:
        """`finish` of a test that is over: the same result, or another try to save it."""
        if self._result is not None:
            payload, verdict = self._result
            self._send_payload(payload)
            if verdict is not None:
                self._say(Stored(session=ended, verdict=verdict))
        elif self._hub.submissions.of(ended) is not None:
            self._hub.submissions.retry(ended)

    def _abort(self) -> None:
        session = self._session
        if session is not None:
            session.abort()
            self._drop(session)
            self._hub.aborted(session.id)
        elif self._known_ref is None:
            self._error(Error("idle", "no test runs here"))

    def _resume(self, resume: Resume) -> None:
        hub = self._hub
        self._spend(RESUME_COST)
        if self._allowance < 0:
            return
        if self._session is not None and self._session.id != resume.session:
            self._error(Error("running", "a test runs on this connection; finish or abort it first", ref=resume.ref))
            return
        claim = Claim.open(resume, user=self.user, ring=hub.ring, limits=hub.limits, epoch_ms=hub.epoch_ms())
        if isinstance(claim, Error):
            self._error(claim)
        elif not self._claim_here(claim):
            self._wait_for(self._look_up(claim))

    def _claim_here(self, claim: Claim) -> bool:
        """Go on with what this process has of a session; False where it has nothing."""
        hub = self._hub
        session_id = claim.ticket.session
        if self._session is not None:  # the client resumes what it has: as if it had come back
            self._let_go(self._session)
        held = hub.release(session_id)
        if held is not None:
            answer = held.reattach(claim, now_ms=hub.clock() * 1000)
            if answer is None:
                self._make_anew(held, claim)
            else:
                self._hold_on(held)
                self._counts.resumes += 1
                self._say(answer)
                self._back(claim)
            return True
        if hub.submissions.of(session_id) is not None:
            if self._ended != session_id:
                self._ended, self._result = session_id, None
            self._known(claim.ref)
            if session_id not in self._awaited:
                self._awaited.append(session_id)
            hub.submissions.listen(session_id, self, ref=claim.ref)
            return True
        if hub.was_aborted(session_id):
            self._error(Error("gone", "this test was aborted", ref=claim.ref))
            return True
        return False

    def _make_anew(self, copy: TypingSession, claim: Claim) -> None:
        """Give up a copy for what its client sends, which is held to what was seen here."""
        said = copy.answer(Question.of(claim, epoch=copy.epoch))
        self._hub.takeovers.accounts.keep(copy.id, copy.epoch, said)
        if outdated(claim, said):  # it was elsewhere since: it is for all to know that it is here again
            self._wait_for(self._look_up(claim))
        else:
            self._take_over(weigh(claim, said, epoch=copy.epoch))

    async def _look_up(self, claim: Claim) -> None:
        """Answer with the stored result, or else take the session over and make it anew."""
        try:
            result = await self._hub.store.by_id(claim.ticket.session)
        except StoreError as exc:
            # made anew it comes to the same result, and the store will meet its own row
            _log.warning("a resumed session could not be looked up", reason=str(exc))
            result = None
        if self._wire is None or self._claim_here(claim):  # much may have happened meanwhile
            return
        if result is None:
            verdict = await self._hub.takeovers.take(claim)
            if self._wire is not None:
                self._take_over(verdict)
            return
        self._ended = result.session
        self._known(claim.ref)
        payload = self._codec.encode(result.to_wire(ref=claim.ref))
        self._result = (payload, result.verdict)
        self._send_payload(payload)
        self._say(Stored(session=result.session, verdict=result.verdict))

    def _take_over(self, verdict: Verdict | None) -> None:
        """Go on as it was found: make the session anew, or say why not."""
        if verdict is None:
            self.supersede()
            return
        if isinstance(verdict, Error):
            self._error(verdict)
            return
        claim = verdict.claim
        if verdict.conflict:
            self._error(Error("conflict", ERRORS["conflict"], ref=claim.ref))
        self._work(self._hub.texts.again(claim.ticket, text=claim.text, ref=claim.ref), partial(self._rebuilt, verdict))

    def _rebuilt(self, grounds: Grounds, material: Material | Error) -> None:
        if isinstance(material, Error):
            self._error(material)
            return
        hub, claim = self._hub, grounds.claim
        if not grounds.conflict and self._claim_here(claim):
            return  # another connection was quicker, and what it has is the truth
        if not hub.takeovers.accounts.holds(claim.ticket.session, grounds.epoch):
            self.supersede()
            return
        session = TypingSession.rebuild(
            claim,
            material,
            ring=hub.ring,
            limits=hub.limits,
            now_ms=hub.clock() * 1000,
            epoch_ms=hub.epoch_ms(),
            race_ms=hub.races_ms(),
            conflict=grounds.conflict,
            epoch=grounds.epoch,
            finished=grounds.finished,
        )
        if isinstance(session, Error):
            self._error(session)
            return
        hub.release(session.id)  # after a conflict; the last one to ask has it
        self._hold_on(session)
        self._counts.resumes += 1
        hub.takeovers.began(claim)
        self._say(session.resumed())
        self._back(claim)

    def _back(self, claim: Claim) -> None:
        """A racer's test goes on here: they are back in their race."""
        if claim.ticket.seat is not None and self._session is not None and self._hub.racing is not None:
            self._hub.racing.back(self, claim.ticket.seat, self._session)

    # --- the session: taking it, letting it go, performing what it answers ---

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

    def _let_go(self, session: TypingSession) -> None:
        """Give the session to the hub; in the middle of a job only what was seen: its client's log makes it anew."""
        self._drop(session)
        if session.seen and session.state not in FINAL:
            if self._working:
                self._hub.takeovers.accounts.keep(session.id, session.epoch, session.answer())
            else:
                self._hub.hold(session)

    def supersede(self) -> None:
        """Another connection has resumed the test: give it up and close."""
        if self._session is not None:
            self._let_go(self._session)
        self._close(CloseCode.SUPERSEDED, _ELSEWHERE)

    def outdo(self) -> None:
        """The account has signed in anew, elsewhere: close, and hold what is being typed for who came."""
        if self._session is not None:
            self._let_go(self._session)
        self._close(CloseCode.SUPERSEDED, "you have signed in elsewhere")

    def crowd_out(self, why: str) -> None:
        """There are too many connections like this one: close; the client comes back more slowly."""
        self._close(CloseCode.RATE, why)

    def doubt(self) -> None:
        """Ask whether the client is there; where it says nothing for 2 to 3 seconds now, it is not."""
        enough_s = int(2 * self._hub.options.heartbeat_s) - 2
        if self._wire is not None and not self._working and self._silent_s < enough_s:  # else it is not read, or asked
            self._silent_s = enough_s
            self._wire.heard = False
            self._pinged_ms = self._hub.clock() * 1000
            self._wire.ping(_ALIVE)

    def ban(self, told: str) -> None:
        """Who is here may not be: say until when and why, and close."""
        self._close(CloseCode.BANNED, told)

    def send_away(self, *, after_ms: int) -> None:
        """The node goes: say so, with the last receipt, and close."""
        if self._session is not None and not self._working:
            tick = self._session.tick(now_ms=self._hub.clock() * 1000)
            if tick is not None:
                self._send(tick)
        self._say(Reconnect(after_ms=after_ms))
        self._close(CloseCode.RESTARTING, "come back")

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
                self._error(outcome.error(self._session.ref if self._session is not None else None))
            case Refused(error):
                self._error(error)
            case Breach(code, reason):
                self._close(code, reason)
            case Differs(claim):
                if self._session is not None:  # else another connection has it by now
                    copy = self._session
                    self._drop(copy)
                    self._make_anew(copy, claim)
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

    def hear(self, said: Said, more: dict[str, Any] | None = None) -> bool:
        """Send what many are told, and `more` that only this one is; False where the client does not read just now."""
        wire = self._wire
        if wire is None or not wire.writable:
            return False
        if more is not None:
            self._send_payload(said.extended(self._codec, more))
            return True
        frame, size = said.frame(self._codec)
        counts = self._counts
        counts.frames_out += 1
        counts.bytes_out += size
        wire.send_frame(frame)
        return True

    def _watch(self, said: Watch | Unwatch) -> None:
        """Look on at a test or a race, or at nothing any more; at one of them at a time."""
        watching = self._hub.watching
        if watching is not None:
            watching.leave(self)
            often = watching.too_often(self.user) if isinstance(said, Watch) else None
            if often is not None:
                self._error(often)
                return
        if isinstance(said, Unwatch) or said.session is None:
            self._race(said)
            return
        self._spend(WATCH_COST)
        if self.place is not None and self.place.lane is None:
            self.place.leave()
        if said.race is not None or watching is None:
            refused: Error | None = Error("options", "watch names a race or a test's session, one of them")
        else:
            refused = watching.watch(self, said.session)
        if refused is not None:
            self._error(refused)

    def verdict_of(self, session: bytes) -> str | None:
        """The final verdict on a test that ended here last, once its result is stored."""
        return None if self._result is None or self._ended != session else self._result[1]

    def refuse(self, error: Error) -> None:
        """Tell the client, later than it asked, that it does not get what it asked for."""
        self._error(error)

    def notify(self, event: dict[str, Any]) -> None:
        """Send a message that nobody waits for, where the client reads what it is sent."""
        if self._wire is not None and self._wire.writable:
            self._send(event)

    # --- what becomes of a result (gateway.submissions.Listener) ---

    def accepted(self, submission: Submission, result: Result, ref: int | None) -> None:
        """The result is durable: tell it."""
        payload = self._codec.encode(result.to_wire(ref=ref))
        if self._ended == result.session:
            self._result = (payload, None)
        self._send_payload(payload)

    def unsaved(self, submission: Submission, error: Error) -> None:
        """The spool did not take it: the client keeps its log and sends `finish` again."""
        self._error(error)

    def stored(self, submission: Submission, verdict: str) -> None:
        """The result is where it belongs."""
        session = submission.session
        if session in self._awaited:
            self._awaited.remove(session)
        if self._result is not None and self._ended == session:
            self._result = (self._result[0], verdict)
        self._say(Stored(session=session, verdict=verdict))

    def superseded(self, submission: Submission) -> None:
        """Another process has taken the session over; what becomes of it is for that one to say."""
        self._close(CloseCode.SUPERSEDED, _ELSEWHERE)

    def lost(self, submission: Submission) -> None:
        """A fault of ours: the client comes back with its log."""
        self._close(CloseCode.INTERNAL, "the test could not be settled")

    # --- work that takes long ---

    def _work(self, job: Generator[None, None, T], done: Callable[[T], None]) -> None:
        """Run a job in slices; the wire is held until it is done."""
        self._working += 1
        if not self._hub.slices.run(job, partial(self._worked, done), self._broken) and self._wire is not None:
            self._wire.hold()

    def _worked(self, done: Callable[[T], None], value: T) -> None:
        self._working -= 1
        if self._wire is None:
            return
        try:
            done(value)
        except Exception as exc:  # else the wire would be held for ever
            self._failed(exc)
        self._release_wire()

    def _broken(self, exc: Exception) -> None:
        self._working -= 1
        self._failed(exc)

    def _failed(self, exc: Exception) -> None:
        session = session_to_text(self._session.id) if self._session is not None else None
        _log.error("a connection's work failed", session=session, exc_info=exc)
        self._close(CloseCode.INTERNAL, "a fault of ours")

    def _wait_for(self, work: Any) -> None:
        """Run a coroutine as a task of the hub's; the wire is held until it, and a job that it begins, has ended."""
        self._working += 1
        if self._wire is not None:
            self._wire.hold()
        self._hub.spawn(self._waited(work))

    async def _waited(self, work: Any) -> None:
        try:
            await work
        except Exception as exc:  # the edge of a task: what it raises is logged once, and this client comes back
            self._failed(exc)
        self._working -= 1
        self._release_wire()

    def _release_wire(self) -> None:
        if self._wire is not None and not self._working:
            self._wire.release()

    def _spend(self, cost: int) -> None:
        """Take from the allowance; who is beyond it is closed, and comes back more slowly."""
        self._allowance -= cost
        if self._allowance < 0:
            self._close(CloseCode.RATE, "more bytes than one client may send; slow down")

    # --- sending ---

    def _say(self, message: ServerMessage) -> None:
        self._send(message.to_wire())

    def _error(self, error: Error) -> None:
        self._hub.metrics.error(error.code)
        self._send(error.to_wire())

    def _send(self, message: dict[str, Any]) -> None:
        self._send_payload(self._codec.encode(message))

    def _send_payload(self, payload: bytes) -> None:
        if self._wire is not None:
            counts = self._counts
            counts.frames_out += 1
            counts.bytes_out += len(payload)
            self._wire.send(payload, self._codec.binary)

    def _close(self, code: CloseCode, detail: str) -> None:
        if self._wire is not None:
            reason = f"{code.reason}: {detail}".encode()[:_REASON_BYTES].decode(errors="ignore")
            self._wire.close(code, reason)
            for tell in self._hub.parting:
                tell(self)

    # --- refs ---

    def _known(self, ref: int | None) -> None:
        self._known_ref = max(-1 if ref is None else ref, -1 if self._known_ref is None else self._known_ref)

    def _is_late(self, ref: int | None) -> bool:
        """Whether a frame is of a test that is over."""
        return self._known_ref is not None and (ref is None or ref <= self._known_ref)
