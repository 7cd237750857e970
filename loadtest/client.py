"""A typist's client: types tests one after the other, loses nothing when the server dies, and checks what it is told.

It does what PROTOCOL.md asks of a client and what the page does: the first key at once, then a frame every 230 ms while
keys come; ticket, last receipt and the whole log kept until `stored`; after a loss full jitter, `resume`, the log from
where the server asks, and on with the typing, which never stopped meanwhile.

    engine = Engine()
    client = TypingClient(engine, 0, plan, options=ClientOptions(), meters=Meters())
    client.begin(("127.0.0.1", 8080))
    engine.run(until=lambda: client.done, limit_s=60)
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf
from random import Random
from time import monotonic
from typing import Any, Protocol

import msgpack
import orjson

from loadtest.checking import differences, expected, words_of
from loadtest.engine import Engine
from loadtest.frames import Frames
from loadtest.line import BINARY, TEXT, Address, Line, client_frame
from loadtest.meters import Meters
from loadtest.typist import Typed
from scoring.text import Word

__all__ = ["ClientOptions", "Phase", "Plan", "TypingClient"]

NOT_RESUMABLE = frozenset((4500, 4501, 4502, 4503, 4504, 4505))
"""Close codes after which a client does not come back (PROTOCOL.md)."""

_AHEAD = 16  # frames made at once: some five seconds of typing
_RESEND_EVENTS = 2_000  # with their holds well under the 32 KiB that a frame of a resent log may have
_pack: Callable[[Mapping[str, Any]], bytes] = msgpack.Packer(autoreset=True).pack
_unpack: Callable[[memoryview | bytes], dict[str, Any]] = msgpack.unpackb
_HOPELESS = frozenset(("ticket", "foreign", "stale", "gone", "idle", "empty", "expired", "unknown_test", "options"))
"""Error codes after which a test is given up."""


class Plan(Protocol):
    """What one client types."""

    def choose(self, test: int) -> dict[str, Any] | None:
        """The fields of `start` (without `t` and `ref`) for its test of this number, None to stop."""

    def type(self, words: Sequence[Word], *, test: int, limit_ms: int | None) -> Typed:
        """How the test is typed; in zen there are no words."""

    def pause_ms(self, test: int) -> float:
        """How long it rests before this test."""


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How all clients of a run behave."""

    binary: bool = True
    """msgpack, else JSON."""
    flush_ms: float = 230.0
    """Least time between two frames of keys, as the page has it."""
    holds: bool = True
    """Whether frames tell how long keys were held."""
    check_every: int = 1
    """Every so-manieth result is held against the client's own scoring; 0: none."""
    probe_every: int = 64
    """An `hb` goes with every so-manieth frame of keys, to measure its answer; 0: none."""
    retry_ms: tuple[float, float] = (500.0, 20_000.0)
    """First and longest back-off (full jitter, doubled with each try)."""
    tries: int = 60
    """Attempts to connect in a row before a client gives up."""
    silent_s: int = 25
    """Seconds without a sign of life (the server pings every 10 s) after which a connection counts as lost."""
    greeting_s: int = 10
    """The same until `ready`."""
    unsaved: int = 0
    """How many tests with a result a typist leaves behind that are not `stored` yet, to begin the next one as the page
    does; with so many it waits for a `stored`. Racers wait for each."""
    keep: bool = False
    """Whether the figures of results that were checked are kept beside their sessions until the end of the run, and how
    races ended."""

    def __post_init__(self) -> None:
        if self.flush_ms < 1 or min(self.check_every, self.probe_every, self.unsaved) < 0 or self.tries < 1:
            raise ValueError("flush_ms is at least 1, check_every, probe_every and unsaved 0 or more, tries at least 1")
        if not 0 < self.retry_ms[0] <= self.retry_ms[1]:
            raise ValueError(f"retry_ms is {self.retry_ms}; wanted is the first back-off and the longest, in ms")


class Phase(Enum):
    """Where a client is."""

    AWAY = "not connected"
    GREETING = "connected, not `ready`"
    RESTING = "between two tests"
    STARTING = "`start` or `resume` sent"
    TYPING = "typing"
    FINISHED = "`finish` sent, not yet `stored`"
    DONE = "nothing more to do"


@dataclass(frozen=True, slots=True)
class Left:
    """A test that its typist has left behind with its result, and its log until it is `stored`."""

    started: dict[str, Any]
    frames: Frames
    first_ms: float
    receipt: bytes | str | None
    result: dict[str, Any]
    expected: bytes | None
    finished_ms: float
    connection: int
    """The one on which its `stored` will come, by number; on a later one the test has to be asked back."""


class TypingClient(Line):
    """One typist with one connection."""

    __slots__ = (
        "_acknowledged",
        "_address",
        "_asked_back",
        "_attempt",
        "_chance",
        "_connected_ms",
        "_connection",
        "_end_ms",
        "_expected",
        "_finished_ms",
        "_first_ms",
        "_frame",
        "_frames",
        "_lost_ms",
        "_meters",
        "_options",
        "_plan",
        "_ready_frames",
        "_receipt",
        "_ref",
        "_result",
        "_sent",
        "_start",
        "_started",
        "_started_ms",
        "_stopping",
        "_test",
        "_ticked_ms",
        "_unsaved",
        "_words",
        "live_ms",
        "phase",
        "sessions",
        "token",
    )

    def __init__(self, engine: Engine, number: int, plan: Plan, *, options: ClientOptions, meters: Meters) -> None:
        super().__init__(engine, number)
        self.phase = Phase.AWAY
        self.sessions: dict[str, bytes | None] = {}
        """Ids of the sessions that were `stored`, and their figures by the client's own scoring (as of `expected`, in
        JSON) where they are kept."""
        self.live_ms = inf
        """When the server last said that the test under way goes on: by `started`, `resumed` or a `tick`."""
        self.token: str | None = None
        """What it is known by, from its first `ready` on."""
        self._plan = plan
        self._options = options
        self._meters = meters
        self._chance = Random(f"client {number}")
        self._address: Address = ("127.0.0.1", 0)
        self._attempt = 0
        self._connected_ms = self._lost_ms = self._started_ms = 0.0
        self._stopping = False
        self._test = 0
        self._ref = 0
        self._connection = 0  # how many there were that came to `ready`
        self._unsaved: dict[str, Left] = {}
        self._clear()

    def _clear(self) -> None:
        """No test under way."""
        self._start: dict[str, Any] | None = None
        self._started: dict[str, Any] | None = None
        self._words: tuple[Word, ...] = ()
        self._frames = _NOTHING
        self._receipt: bytes | str | None = None
        self._result: dict[str, Any] | None = None
        self._expected: bytes | None = None
        self._asked_back = False  # whether it had been left behind
        self._frame = 0  # the number of frames that are typed
        self._ready_frames: list[bytes] = []  # those that come next, the last one first
        self._sent = self._acknowledged = 0
        self._first_ms = self._end_ms = inf
        self._finished_ms = 0.0
        self._ticked_ms = inf

    @property
    def done(self) -> bool:
        """Whether it has nothing more to do."""
        return self.phase is Phase.DONE

    @property
    def typing(self) -> bool:
        """Whether a test is under way."""
        return self.phase is Phase.TYPING

    @property
    def underway(self) -> bool:
        """Whether it has a test without a result, with or without a connection."""
        return self._started is not None and self._result is None

    @property
    def typed_ms(self) -> float:
        """When the last key of its test is typed, by the engine's clock; -inf where it has none."""
        return self._first_ms + self._frames.dues[-1] if self._started is not None and len(self._frames) else -inf

    # --- what a run calls ---

    def begin(self, address: Address, *, due_ms: float | None = None) -> None:
        """Connect to this address, at once or at an instant of the engine's clock."""
        self._address = address
        self.wake_at(self._engine.now_ms if due_ms is None else due_ms)

    def stop(self) -> None:
        """Start no further test; the one under way is typed to its end and waited for."""
        self._stopping = True
        if self._started is None and self._start is None and not self._unsaved:
            self._leave()

    def drop(self) -> None:
        """Lose the connection, as in a tunnel, and come back."""
        if self._socket is not None:
            self.hang_up()
            self.lost(1006, "dropped")

    def look(self) -> None:
        """Called once a second: leave a connection that is dead without knowing it, and come back."""
        if self._socket is None:
            return
        self.unheard += 1
        if self.unheard > (self._options.greeting_s if self.phase is Phase.GREETING else self._options.silent_s):
            self.hang_up()
            self.lost(1006 if self.phase is not Phase.GREETING else 0, "silent")

    def abandon(self) -> None:
        """Stop at once, whatever is under way."""
        self._leave()

    def _leave(self) -> None:
        self.phase = Phase.DONE
        self.due_ms = inf
        self.hang_up()

    # --- the engine's clock ---

    def wake(self, now_ms: float) -> None:
        """Type what is due, start the next test, or connect again."""
        self.due_ms = inf
        if self.phase is Phase.TYPING:
            self._type(now_ms)
        elif self.phase is Phase.AWAY:
            self.phase = Phase.GREETING
            self._connected_ms = monotonic() * 1000
            name = "typegate.v1.msgpack" if self._options.binary else "typegate.v1.json"
            self.connect(self._address, name)
        elif self.phase is Phase.RESTING:
            self._begin_test()

    def _type(self, now_ms: float) -> None:
        """Send the frame that is due (several if the generator is late), and ask for the next one's instant."""
        frames, meters = self._frames, self._meters
        dues, stops = frames.dues, frames.stops
        probe = self._options.probe_every
        frame = self._frame
        while frame < len(dues):
            due_ms = self._first_ms + dues[frame]
            if due_ms > now_ms:
                self._frame = frame
                self.due_ms = due_ms
                self._engine.at(self)
                return
            if not self._ready_frames:
                self._prepare(frame)
            self._write(self._ready_frames.pop())
            meters.frames_out += 1
            meters.events += stops[frame] - self._sent
            self._sent = stops[frame]
            frame += 1
            if probe and not (frame + self._number) % probe:
                self._say({"t": "hb", "c": monotonic() * 1000})
        self._frame = frame
        if now_ms >= self._end_ms or self._end_ms == inf:
            self._finish()
        else:
            self.wake_at(self._end_ms)

    def _prepare(self, frame: int) -> None:
        """Make the next few frames at once: their typing is in the processor's cache then."""
        frames, options = self._frames, self._options
        numbers = range(frame, min(frame + _AHEAD, len(frames)))
        self._ready_frames = [
            self._framed(frames.message(number, holds=options.holds), number) for number in reversed(numbers)
        ]

    def _resend(self, n: int) -> None:
        """Send again what is typed and the server has not: from event `n` on."""
        frames, meters = self._frames, self._meters
        typed, stops = frames.typed, frames.stops
        stop = self._typed_events()
        # the holds of the frame that `n` is in or ends; the next frame tells those of the last one that is typed
        before = bisect_left(stops, n)
        told = stops[before - 1] if before else 0
        tell = stop if self._frame == len(stops) else stops[self._frame - 2] if self._frame > 1 else 0
        while n < stop:
            until = min(stop, n + _RESEND_EVENTS)
            message: dict[str, Any] = {"t": "keys", "n": n, "e": typed.events(n, until)}
            if self._options.holds and told < min(until, tell):
                message["h"] = typed.held(told, min(until, tell))
                told = min(until, tell)
            meters.events += until - n
            n = until
            self._say(message)
        self._sent = stop

    def _typed_events(self) -> int:
        """How many events are typed: those of the frames that were due."""
        return self._frames.stops[self._frame - 1] if self._frame else 0

    def _finish(self) -> None:
        self.phase = Phase.FINISHED
        if self._result is None:
            self._finished_ms = monotonic() * 1000
        self._say({"t": "finish", "n": self._sent})

    # --- tests ---

    def _begin_test(self) -> None:
        if self._ask_back():
            return
        wanted = None if self._stopping else self._plan.choose(self._test)
        if wanted is None:
            if not self._unsaved:  # else the last `stored` is waited for
                self._leave()
            return
        self._clear()
        self._start = wanted
        self._send_start()

    def _send_start(self) -> None:
        self._ref += 1
        self.phase = Phase.STARTING
        self._started_ms = monotonic() * 1000
        self._say({"t": "start", "ref": self._ref, **(self._start or {})})

    def _rest(self) -> None:
        """Wait for the next test."""
        self._clear()
        self.phase = Phase.RESTING
        if self._stopping and not self._unsaved:
            self._leave()
        else:
            self.wake_at(self._engine.now_ms + self._plan.pause_ms(self._test))

    def _go_on(self) -> None:
        """Leave the test behind, which has its result, unless there are too many of these."""
        started, result = self._started, self._result
        assert started is not None, "there is one"
        assert result is not None, "it has come to its result"
        if len(self._unsaved) >= self._options.unsaved:
            return
        self._unsaved[started["session"]] = Left(
            started,
            self._frames,
            self._first_ms,
            self._receipt,
            result,
            self._expected,
            self._finished_ms,
            self._connection,
        )
        self._test += not self._asked_back
        self._rest()

    def _ask_back(self) -> bool:
        """Take up again a test that was left behind on a connection that is lost; False where there is none."""
        lost = [session for session, left in self._unsaved.items() if left.connection != self._connection]
        if not lost:
            return False
        left = self._unsaved.pop(lost[0])
        self._clear()
        self._asked_back = True
        self._started, self._frames, self._receipt = left.started, left.frames, left.receipt
        self._result, self._expected, self._finished_ms = left.result, left.expected, left.finished_ms
        self._first_ms = left.first_ms
        self._frame = len(left.frames)
        self._sent = self._typed_events()
        self._resume()
        return True

    # --- the line ---

    def opened(self) -> None:
        """Say who this is; `hello` needs no waiting for."""
        self._say({"t": "auth"} if self.token is None else {"t": "auth", "token": self.token})

    def lost(self, code: int, reason: str) -> None:
        """Come back after a while, unless the code forbids it."""
        meters = self._meters
        if self.phase is Phase.DONE:
            return
        if self.phase is not Phase.GREETING:
            self._lost_ms = monotonic() * 1000
        if code:
            meters.errors[f"closed {code}"] += 1
        else:
            meters.errors["not connected"] += 1
            if reason.startswith("HTTP"):
                meters.note(f"handshake: {reason}")
        self.phase = Phase.AWAY
        self._attempt += 1
        if code in NOT_RESUMABLE or self._attempt > self._options.tries:
            meters.note(f"client {self._number} gave up: {code} {reason}")
            meters.errors["gave up"] += 1
            if self._started is not None:
                meters.given_up[f"closed {code}"] += 1
            self._leave()
            return
        if self._stopping and self._start is None and self._started is None and not self._unsaved:
            self._leave()
            return
        first, most = self._options.retry_ms
        self.wake_at(self._engine.now_ms + self._chance.random() * min(most, first * 2.0 ** (self._attempt - 1)))

    def pinged(self) -> None:
        """Send first what is due, should this process be late: at the pong the server ends a test that is over."""
        if self.phase is Phase.TYPING:
            self.wake(monotonic() * 1000)

    def message(self, payload: memoryview | bytes, binary: bool) -> None:
        """Take one message of the server's."""
        message = _unpack(payload) if binary else orjson.loads(payload)
        self._meters.frames_in += 1
        kind = message["t"]
        if kind == "tick":
            self._tick(message)
        elif kind == "hb":
            self._meters.answer.add(monotonic() * 1000 - message["c"])
        elif kind == "result":
            self._take_result(message)
        elif kind == "stored":
            self._stored(message)
        elif kind == "ready":
            self._ready(message)
        elif kind == "started":
            self._take_text(message)
        elif kind == "resumed":
            self._resumed(message)
        elif kind == "error":
            self._error(message)
        elif kind == "reconnect":
            self.hang_up()
            self.lost(1012, "reconnect")
        else:
            self._other(kind, message)

    def _other(self, kind: str, message: dict[str, Any]) -> None:
        """Take a message that only some clients have use for."""

    # --- messages ---

    def _ready(self, message: dict[str, Any]) -> None:
        meters = self._meters
        meters.ready += 1
        meters.to_ready.add(monotonic() * 1000 - self._connected_ms)
        self.token = message.get("token", self.token)
        if self._attempt:
            meters.reconnects += 1
        self._attempt = 0
        self._connection += 1
        if self._started is not None:
            self._advance(self._engine.now_ms)  # it typed on without a connection
            self._resume()
        elif self._start is not None:
            self._send_start()
        else:
            self.phase = Phase.RESTING
            self._begin_test()

    def _resume(self) -> None:
        """Ask for the test at hand."""
        started = self._started
        assert started is not None, "there is one"
        self._ref += 1
        wanted: dict[str, Any] = {
            "t": "resume",
            "session": started["session"],
            "ticket": started["ticket"],
            "n": self._typed_events(),
            "ref": self._ref,
        }
        if self._receipt is not None:
            wanted["receipt"] = self._receipt
        if started["mode"] == "text":
            wanted["text"] = started["text"].rstrip(" ")
        self.phase = Phase.STARTING
        self._say(wanted)

    def _advance(self, now_ms: float) -> None:
        """Count the frames that are typed by now, sent or not."""
        dues = self._frames.dues
        frame = self._frame
        while frame < len(dues) and self._first_ms + dues[frame] <= now_ms:
            frame += 1
        if frame > self._frame:
            self._frame = frame
            self._ready_frames.clear()

    def _take_text(self, message: dict[str, Any]) -> None:
        if message.get("ref") != self._ref or self.phase is not Phase.STARTING:
            return
        meters = self._meters
        meters.started += 1
        now_ms = monotonic() * 1000
        meters.to_started.add(now_ms - self._started_ms)
        self._started = message
        self.live_ms = now_ms
        seconds = message.get("seconds")
        limit_ms = None if seconds is None else seconds * 1000
        self._words = words_of(message) if message["text"] else ()
        typed = self._plan.type(self._words, test=self._test, limit_ms=limit_ms)
        self._frames = Frames(typed, self._options.flush_ms)
        self.phase = Phase.TYPING
        if not len(typed):
            self._say({"t": "abort"})
            meters.given_up["nothing typed"] += 1
            self._test += 1
            self._rest()
            return
        self._first_ms = now_ms + typed.gaps[0]
        self._end_ms = inf if limit_ms is None else self._first_ms + limit_ms
        self.wake_at(self._first_ms)

    def _resumed(self, message: dict[str, Any]) -> None:
        if self._started is None or message["session"] != self._started["session"]:
            return
        meters = self._meters
        meters.resumed += 1
        if not self._asked_back:
            meters.to_resumed.add(monotonic() * 1000 - self._lost_ms)
        n = message["n"]
        at = self._typed_events()
        if not 0 <= n <= at:
            meters.note(f"resumed with n {n} of a log of {at}")
            meters.errors["resumed wrongly"] += 1
            n = 0
        meters.resent += max(0, self._sent - n)
        self._resend(n)
        self._acknowledged = at  # how long these keys waited says nothing of the server
        self._ticked_ms = inf
        self.live_ms = monotonic() * 1000
        self.phase = Phase.TYPING
        self._type(self._engine.now_ms)

    def _tick(self, message: dict[str, Any]) -> None:
        meters = self._meters
        meters.ticks += 1
        if self._started is None:
            return
        now_ms = monotonic() * 1000
        n = message["n"]
        self._receipt = message["r"]
        if n > self._acknowledged:
            meters.key_to_tick.add(now_ms - self._first_ms - self._frames.times[self._acknowledged])
            self._acknowledged = n
        since_ms = now_ms - self._ticked_ms
        self._ticked_ms = self.live_ms = now_ms
        if 500 < since_ms < 1500:  # longer: a second without a key was left out
            meters.tick_late.add(max(0.0, since_ms - 1000))
        if n > self._sent:
            meters.errors["tick beyond the log"] += 1

    def _take_result(self, message: dict[str, Any]) -> None:
        started = self._started
        if started is None or message["session"] != started["session"]:
            return
        meters = self._meters
        message.pop("ref", None)
        verdict = message.pop("verdict")  # provisional in the first one; `stored` has the final one
        if verdict not in ("ok", "review", "void"):
            meters.errors["a verdict that is none"] += 1
        if self._result is not None:
            if message != self._result:
                meters.doubled += 1
                meters.note(f"a second, other result of {started['session']}")
            self._go_on()
            return
        self._result = message
        meters.accepted += 1
        if self._finished_ms:
            meters.to_accepted.add(monotonic() * 1000 - self._finished_ms)
        every = self._options.check_every
        if every and meters.accepted % every == 0:
            meters.checked += 1
            wanted = expected(started, self._words, self._frames.typed.events(0, self._typed_events()))
            if self._options.keep:
                self._expected = orjson.dumps(wanted)
            wrong = differences(message, wanted)
            if wrong:
                meters.mismatched += 1
                meters.note(f"{started['session']} ({started['mode']}): {'; '.join(wrong)}")
        self._go_on()

    def _stored(self, message: dict[str, Any]) -> None:
        session = message["session"]
        left = self._unsaved.pop(session, None)
        if left is not None:
            self._count_stored(message, left.finished_ms, left.expected)
            if self.phase is Phase.RESTING and self.due_ms == inf:  # it waits for nothing else
                self._begin_test()
            elif self.phase is Phase.FINISHED and self._result is not None:
                self._go_on()  # there is room again
        elif self._started is not None and session == self._started["session"]:
            if self._result is None:
                self._meters.errors["stored without a result"] += 1
            self._count_stored(message, self._finished_ms, self._expected)
            self._test += not self._asked_back
            self._rest()

    def _count_stored(self, message: dict[str, Any], finished_ms: float, expected: bytes | None) -> None:
        meters = self._meters
        meters.stored += 1
        meters.verdicts[message["verdict"]] += 1
        if finished_ms:
            meters.to_stored.add(monotonic() * 1000 - finished_ms)
        self.sessions[message["session"]] = expected

    def _error(self, message: dict[str, Any]) -> None:
        meters = self._meters
        code = message["code"]
        meters.errors[code] += 1
        ref = message.get("ref")
        if ref is not None and ref != self._ref:
            return
        if code == "gap":
            self._resend(message["expected"])
            if self.phase is Phase.FINISHED:
                self._say({"t": "finish", "n": self._sent})
        elif code in _HOPELESS and message.get("retry") is None:
            meters.note(f"{code}: {message['message']}")
            if self._started is not None:
                meters.given_up[code] += 1
            self._test += 1
            self._rest()
        elif message.get("retry") is not None:
            if self._started is None:  # busy or full: start again then
                self.phase = Phase.RESTING
                self.wake_at(self._engine.now_ms + message["retry"] + 1)
            elif self.phase is Phase.STARTING:
                self.drop()  # `resume` again then
            else:
                self.phase = Phase.TYPING  # `finish` again then
                self._end_ms = self._engine.now_ms + message["retry"] + 1
                self.wake_at(self._end_ms)
        elif code != "conflict":
            meters.note(f"{code}: {message['message']}")

    def _say(self, message: dict[str, Any]) -> None:
        meters = self._meters
        meters.frames_out += 1
        self._write(self._framed(message, meters.frames_out))

    def _framed(self, message: dict[str, Any], number: int) -> bytes:
        if self._options.binary:
            return client_frame(BINARY, _pack(message), number)
        return client_frame(TEXT, orjson.dumps(message, default=_never), number)


def _never(value: object) -> Any:
    raise TypeError(f"{type(value).__name__} in a message: JSON brings tickets as strings, and they go back as such")


_NOTHING = Frames(Typed(array("I"), "", array("H")), 1.0)
