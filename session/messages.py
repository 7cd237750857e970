"""The two closed vocabularies of `typegate.v1`, its close codes and its error codes: the one place that knows them.

A message is a map with `t`. Client messages are read by `parse`, which checks every type and raises `Malformed`; server
messages become a map by `to_wire`. Each field carries its kind and meaning, from which the tables of PROTOCOL.md are
printed and by which messages are read: they cannot drift apart. What a value may be beyond its type (a mode that
exists, a text that can be typed) is checked later and answered by an `Error`: a recoverable mistake. Kinds of values
stand in `session.kinds`, what is said of races in `session.race_messages`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias, get_args

from session.kinds import (
    BOOLEAN,
    BYTES,
    ID,
    INTEGER,
    LIST,
    MAP,
    NUMBER,
    SESSION,
    STRING,
    STRINGS,
    Message,
    ToClient,
    Wire,
)
from session.options import OptionFaults, SessionLimits, TestOptions, choose
from session.race_messages import (
    RaceAgain,
    RaceCreate,
    RaceGhost,
    RaceJoin,
    RaceLeave,
    RaceProgress,
    RaceReady,
    RaceStart,
    RaceStateMessage,
    Unwatch,
    Watch,
    Watched,
    WatchEnd,
    WatchKeys,
    WatchState,
)


class Malformed(ValueError):
    """The peer sent a map that is no message of this protocol; the message says what was wrong. Closes with 4500."""


# --- from the client ---


@dataclass(frozen=True, slots=True)
class Auth(Message):
    """The first frame, within 5 s: who is there."""

    T: ClassVar[str] = "auth"
    token: Annotated[
        str | None, Wire(STRING, "a JWT, a guest token from an earlier `ready`, or nothing: a new guest")
    ] = None
    aside: Annotated[
        bool, Wire(BOOLEAN, "it only hands in tests typed before, beside another connection; until its first `start`")
    ] = False


@dataclass(frozen=True, slots=True)
class Start(Message):
    """Start a test; one that runs is aborted in the same turn, or goes on untouched where `error` refuses the start."""

    T: ClassVar[str] = "start"
    mode: Annotated[str, Wire(STRING, "words, time, quote, text or zen")]
    ref: Annotated[int | None, Wire(INTEGER, "the client's number for this test, higher with each one")] = None
    count: Annotated[int | None, Wire(INTEGER, "words to type, in mode words")] = None
    seconds: Annotated[int | None, Wire(INTEGER, "length in mode time; puts mode text on the clock")] = None
    test: Annotated[int | None, Wire(ID, "a passage of the catalogue, in mode quote")] = None
    language: Annotated[str | None, Wire(STRING, "BCP 47 tag")] = None
    category: Annotated[str | None, Wire(STRING, "choose the quote among this category")] = None
    difficulty: Annotated[str | None, Wire(STRING, "choose the quote among easy, medium or hard ones")] = None
    punctuation: Annotated[bool, Wire(BOOLEAN, "words as sentences with marks, in modes words and time")] = False
    numbers: Annotated[bool, Wire(BOOLEAN, "numbers among the words, in modes words and time")] = False
    tags: Annotated[tuple[str, ...] | None, Wire(STRINGS, "experiment variants, for analysis only")] = None
    input: Annotated[str | None, Wire(STRING, "keyboard (default), touch, ime or assistive")] = None
    text: Annotated[str | None, Wire(STRING, "the own text, in mode text")] = None
    watch: Annotated[bool, Wire(BOOLEAN, "let whoever has the session's id `watch`; not in mode text")] = False

    def choose(self, limits: SessionLimits) -> "TestOptions | Error":
        """The options, or the error that says everything that is wrong with them."""
        try:
            return choose(
                limits=limits,
                mode=self.mode,
                count=self.count,
                seconds=self.seconds,
                test=self.test,
                language=self.language,
                category=self.category,
                difficulty=self.difficulty,
                punctuation=self.punctuation,
                numbers=self.numbers,
                tags=self.tags or (),
                input="keyboard" if self.input is None else self.input,
                text=self.text,
                watch=self.watch,
            )
        except OptionFaults as exc:
            return Error("options", str(exc), ref=self.ref)


@dataclass(frozen=True, slots=True)
class Keys(Message):
    """Keystrokes, at least every 250 ms while typing."""

    T: ClassVar[str] = "keys"
    n: Annotated[int, Wire(INTEGER, "number of the first event, gapless from 0")]
    e: Annotated[
        list[Any],
        Wire(
            LIST,
            "flat [dt, key, dt, key, ...]: whole ms since the event before; one typed grapheme, "
            '"\\b" (delete one) or "\\u0017" (delete word)',
        ),
    ]
    h: Annotated[list[Any] | None, Wire(LIST, "flat [event, hold ms, ...] of keys released since")] = None
    ref: Annotated[int | None, Wire(INTEGER, "the test's `ref`; keys of an older one are dropped silently")] = None


@dataclass(frozen=True, slots=True)
class Finish(Message):
    """The client says that the test is over."""

    T: ClassVar[str] = "finish"
    n: Annotated[int, Wire(INTEGER, "how many events its log has")]
    ref: Annotated[int | None, Wire(INTEGER, "the test's `ref`; that of an older one is dropped silently")] = None


@dataclass(frozen=True, slots=True)
class Abort(Message):
    """Give up: no result."""

    T: ClassVar[str] = "abort"


@dataclass(frozen=True, slots=True)
class Resume(Message):
    """Go on with a test after the connection, the page or the server went away."""

    T: ClassVar[str] = "resume"
    session: Annotated[bytes, Wire(SESSION, "the test's session")]
    ticket: Annotated[bytes, Wire(BYTES, "as `started` gave it")]
    n: Annotated[int, Wire(INTEGER, "how many events the client's log has")]
    receipt: Annotated[bytes | None, Wire(BYTES, "of the last `tick`, if there was one")] = None
    text: Annotated[str | None, Wire(STRING, "the own text, in mode text")] = None
    ref: Annotated[int | None, Wire(INTEGER, "the client's number for this test from now on")] = None


@dataclass(frozen=True, slots=True)
class Heartbeat(Message):
    """A sign of life; any frame counts as one."""

    T: ClassVar[str] = "hb"
    c: Annotated[float | None, Wire(NUMBER, "the client's clock, sent back")] = None


ClientMessage: TypeAlias = (
    Auth
    | Start
    | Keys
    | Finish
    | Abort
    | Resume
    | RaceCreate
    | RaceJoin
    | RaceReady
    | RaceStart
    | RaceLeave
    | RaceAgain
    | Watch
    | Unwatch
    | Heartbeat
)
CLIENT_MESSAGES: Final[tuple[type[ClientMessage], ...]] = get_args(ClientMessage)

_READERS: Final = {
    cls.T: (
        cls,
        tuple((name, wire.kind.read, optional) for name, (wire, optional) in cls.wire_fields().items()),
    )
    for cls in CLIENT_MESSAGES
}


def parse(message: Mapping[Any, Any]) -> ClientMessage:
    """Read a client's message; fields that it does not know are ignored. Raises `Malformed`.

    `keys` has a shorter way on the hot path (`TypingSession.keys` checks all that it takes); this is the slow one.
    """
    t = message.get("t")
    reader = _READERS.get(t) if type(t) is str else None
    if reader is None:
        # what else it is is not told: of a whole frame of lists that would take 10 ms
        what = repr(t[:40]) if type(t) is str else "missing" if t is None else "no string"
        raise Malformed(f"t is {what}; allowed are {', '.join(_READERS)}")
    cls, wanted = reader
    values: dict[str, Any] = {}
    for name, read, optional in wanted:
        value = message.get(name)
        if value is not None:
            try:
                values[name] = read(value)
            except ValueError as exc:
                raise Malformed(f"{t}.{name} must be {exc}") from None
        elif not optional:
            raise Malformed(f"{t}.{name} is missing")
    return cls(**values)


# --- to the client ---


@dataclass(frozen=True, slots=True)
class Hello(ToClient):
    """Sent at once after the upgrade."""

    T: ClassVar[str] = "hello"
    v: Annotated[int, Wire(INTEGER, "version of the protocol")]
    node: Annotated[str, Wire(STRING, "name of the node")]
    hb_ms: Annotated[int, Wire(INTEGER, "a client that has nothing to say sends `hb` this often")]
    limits: Annotated[dict[str, int], Wire(MAP, "limits by name: what the client may send")]


@dataclass(frozen=True, slots=True)
class Ready(ToClient):
    """The answer to `auth`."""

    T: ClassVar[str] = "ready"
    user: Annotated[int, Wire(ID, "the user's id; a guest's is negative")]
    guest: Annotated[bool, Wire(BOOLEAN, "whether it is a guest")]
    token: Annotated[str | None, Wire(STRING, "a guest's token, to keep for the next visit")] = None


def ready(user: int, guest: bool, token: str | None) -> dict[str, Any]:
    """A `Ready` as a map, without the object between: after a restart ten thousand come back at once."""
    wire: dict[str, Any] = {"t": Ready.T, "user": str(user), "guest": guest}
    if token is not None:
        wire["token"] = token
    return wire


@dataclass(frozen=True, slots=True)
class Started(ToClient):
    """The answer to `start`, or a race's countdown: what to type."""

    T: ClassVar[str] = "started"
    session: Annotated[bytes, Wire(SESSION, "the test's session, and the id of its result")]
    mode: Annotated[str, Wire(STRING, "as chosen")]
    text: Annotated[str, Wire(STRING, "what to type, NFC with single spaces; empty in zen")]
    seed: Annotated[int, Wire(ID, "what the text was chosen by")]
    ticket: Annotated[bytes, Wire(BYTES, "keep it until `stored`: `resume` needs it")]
    language: Annotated[str, Wire(STRING, "BCP 47 tag")]
    direction: Annotated[str, Wire(STRING, "ltr or rtl")]
    cyclic: Annotated[bool, Wire(BOOLEAN, "whether the text starts again after its last word")]
    input: Annotated[str, Wire(STRING, "as chosen")]
    punctuation: Annotated[bool, Wire(BOOLEAN, "as chosen")]
    numbers: Annotated[bool, Wire(BOOLEAN, "as chosen")]
    ref: Annotated[int | None, Wire(INTEGER, "as given")] = None
    test: Annotated[int | None, Wire(ID, "the catalogue's passage")] = None
    title: Annotated[str | None, Wire(STRING, "the passage's title")] = None
    count: Annotated[int | None, Wire(INTEGER, "as chosen")] = None
    seconds: Annotated[int | None, Wire(INTEGER, "as chosen")] = None
    race: Annotated[str | None, Wire(STRING, "the race that the test belongs to")] = None
    lane: Annotated[int | None, Wire(INTEGER, "yours in it")] = None
    start_ms: Annotated[
        int | None, Wire(INTEGER, "the race's start instant (epoch ms, the `s` of `hb`): no key before it, time zero")
    ] = None
    breaks: Annotated[
        list[int] | None, Wire(LIST, "code points of each grapheme cluster in order; left out where all have one")
    ] = None
    word_lengths: Annotated[
        list[int] | None, Wire(LIST, "clusters of each word; left out where words are what spaces part")
    ] = None


@dataclass(frozen=True, slots=True)
class Tick(ToClient):
    """Figures and acknowledgement, at most once a second while typing and after a pause."""

    T: ClassVar[str] = "tick"
    n: Annotated[int, Wire(INTEGER, "the server has the first n events")]
    r: Annotated[bytes, Wire(BYTES, "receipt for them: keep the last one for `resume`")]
    wpm: Annotated[float, Wire(NUMBER, "words (5 characters) a minute so far, correct ones")]
    raw: Annotated[float, Wire(NUMBER, "the same of all characters")]
    acc: Annotated[float, Wire(NUMBER, "correct inserts in per cent; 100 without any")]
    pos: Annotated[list[int], Wire(LIST, "[word, clusters typed in it]")]
    err: Annotated[int, Wire(INTEGER, "wrong inserts so far")]


@dataclass(frozen=True, slots=True)
class ResultMessage(ToClient):
    """The test's result: it is durable on the node."""

    T: ClassVar[str] = "result"
    session: Annotated[bytes, Wire(SESSION, "the test's session")]
    wpm: Annotated[float, Wire(NUMBER, "words (5 characters) a minute, of correct words")]
    raw: Annotated[float, Wire(NUMBER, "the same of all characters")]
    acc: Annotated[float, Wire(NUMBER, "correct inserts in per cent")]
    consistency: Annotated[float, Wire(NUMBER, "evenness of the speed from second to second, 0 to 100")]
    key_consistency: Annotated[float, Wire(NUMBER, "evenness of the gaps between keys, 0 to 100")]
    chars: Annotated[list[int], Wire(LIST, "[correct, incorrect, extra, missed] characters")]
    duration_ms: Annotated[float, Wire(NUMBER, "length of the test")]
    afk_ms: Annotated[float, Wire(NUMBER, "of it, seconds without a key")]
    series: Annotated[dict[str, list[int]], Wire(MAP, "wpm and raw so far, burst and err within, by second")]
    verdict: Annotated[str, Wire(STRING, "ok, review or void: provisional, `stored` has the final one")]
    ref: Annotated[int | None, Wire(INTEGER, "of the test, on the connection that typed it")] = None
    state: Annotated[str, Wire(STRING, "accepted: durable here, not yet `stored`")] = "accepted"


@dataclass(frozen=True, slots=True)
class Stored(ToClient):
    """The result is where it belongs; only now may the client drop its log.

    It may come more than once, on any connection of the user; of several the strictest verdict holds.
    """

    T: ClassVar[str] = "stored"
    session: Annotated[bytes, Wire(SESSION, "the test's session")]
    verdict: Annotated[str, Wire(STRING, "ok, review or void: final, never milder than the one in `result`")]


@dataclass(frozen=True, slots=True)
class Resumed(ToClient):
    """The answer to `resume`; once more after an `error conflict`."""

    T: ClassVar[str] = "resumed"
    session: Annotated[bytes, Wire(SESSION, "the test's session")]
    n: Annotated[int, Wire(INTEGER, "send `keys` from this event on")]
    ref: Annotated[int | None, Wire(INTEGER, "as given")] = None


@dataclass(frozen=True, slots=True)
class Event(ToClient):
    """Good news of a stored result, on every connection of the user, at any time; it may come twice, or not at all."""

    T: ClassVar[str] = "event"
    kind: Annotated[str, Wire(STRING, "best: the result is the user's best on a board; pass over kinds not known")]
    session: Annotated[bytes, Wire(SESSION, "the result; who is told twice knows it by this")]
    board: Annotated[str, Wire(STRING, "kind of test and language, as time-15-en")]
    wpm: Annotated[float, Wire(NUMBER, "its speed")]
    spans: Annotated[list[str], Wire(LIST, "of which it is the best: day, week, all")]
    ranks: Annotated[dict[str, int], Wire(MAP, "by span, its place among everybody's bests, 1 the first; if known")]


@dataclass(frozen=True, slots=True)
class Reconnect(ToClient):
    """The node goes away: come back, to whichever node answers, and resume."""

    T: ClassVar[str] = "reconnect"
    after_ms: Annotated[int, Wire(INTEGER, "wait this long first")]


@dataclass(frozen=True, slots=True)
class HeartbeatAnswer(ToClient):
    """The answer to `hb`, for countdowns."""

    T: ClassVar[str] = "hb"
    s: Annotated[int, Wire(INTEGER, "the server's clock, epoch ms")]
    c: Annotated[float | None, Wire(NUMBER, "the client's clock, as given")] = None


ErrorCode = Literal[
    "options",
    "unknown_test",
    "unknown_language",
    "text",
    "busy",
    "full",
    "draining",
    "running",
    "idle",
    "gap",
    "unfinished",
    "empty",
    "expired",
    "ticket",
    "foreign",
    "stale",
    "conflict",
    "gone",
    "early",
    "name",
    "no_race",
    "race_full",
    "race_running",
    "race_over",
    "not_racing",
    "not_host",
    "races_full",
    "unwatchable",
    "watch_full",
    "away",
]

ERRORS: Final[Mapping[ErrorCode, str]] = MappingProxyType(
    {
        "options": "what `start` or `race.create` chose is not allowed; the message names everything that is wrong",
        "unknown_test": "the catalogue has no such passage, or none that fits the filters",
        "unknown_language": "there is no word list for this language",
        "text": "the own text cannot be typed (empty, too long, control characters), or is not the ticket's",
        "busy": "too many starts; `start` again after `retry` ms",
        "full": "no new tests can be taken for the moment; `start` again after `retry` ms, with `place` to keep it",
        "draining": "the node is going away; reconnect, then `start`",
        "running": "a test runs on this connection; finish or abort it first",
        "idle": "no test runs on this connection",
        "gap": "events before `n` are missing; send again from `expected`",
        "unfinished": "the text is not typed to its end; go on, or `abort`",
        "empty": "nothing was typed, so there is no result; the test is over",
        "expired": "the longest duration passed before the end; the test is over without a result",
        "ticket": "the ticket or receipt is none of ours: forged, damaged, cut off, or of another session",
        "foreign": "the ticket is another user's",
        "stale": "the ticket is too old, or of a version that is not here; with `retry` it may be here then",
        "conflict": "the log differs from what the server saw; go on, but the result will be void",
        "gone": "the test was aborted",
        "early": "keys before the race's start instant are dropped; once it has begun send again from `expected`",
        "name": "nobody can be called that; the message says what is allowed",
        "no_race": "there is no such race, or it is long over",
        "race_full": "every lane of the race is taken",
        "race_running": "the race has begun without you; you may `watch` it",
        "race_over": "the race is over; who was in it may ask for another by `race.again`",
        "not_racing": "you are in no race, or only watch it, or it is not at that point",
        "not_host": "only the host may do that",
        "races_full": "there is no room for more races for the moment; again after `retry` ms",
        "unwatchable": "no such test, or it is over, or it is not for you to `watch`: one answer to all of these",
        "watch_full": "so many look on that there is no room for one more; again after `retry` ms",
        "away": "what the nodes share is away, and races and looking on stand still with it; again after `retry` ms",
    }
)
"""Every error code and what it means."""


@dataclass(frozen=True, slots=True)
class Error(ToClient):
    """A recoverable mistake; the connection goes on."""

    T: ClassVar[str] = "error"
    code: Annotated[ErrorCode, Wire(STRING, "one of the error codes")]
    message: Annotated[str, Wire(STRING, "what was wrong and what is allowed, for people")]
    retry: Annotated[int | None, Wire(INTEGER, "ms to wait before trying again, 0 at once, null do not")] = None
    expected: Annotated[int | None, Wire(INTEGER, "after a gap or early keys: the event to send from")] = None
    ref: Annotated[int | None, Wire(INTEGER, "of the test that it concerns")] = None
    place: Annotated[
        int | None, Wire(INTEGER, "number in the queue of those who wait to start, 1 the first; kept by asking again")
    ] = None

    def to_wire(self) -> dict[str, Any]:
        """The message as a map; `retry` is always there."""
        wire: dict[str, Any] = {"t": "error", "code": self.code, "message": self.message, "retry": self.retry}
        if self.expected is not None:
            wire["expected"] = self.expected
        if self.ref is not None:
            wire["ref"] = self.ref
        if self.place is not None:
            wire["place"] = self.place
        return wire


ServerMessage: TypeAlias = (
    Hello
    | Ready
    | Started
    | Tick
    | ResultMessage
    | Stored
    | Event
    | Resumed
    | RaceStateMessage
    | RaceProgress
    | RaceGhost
    | Watched
    | WatchKeys
    | WatchState
    | WatchEnd
    | Reconnect
    | HeartbeatAnswer
    | Error
)
SERVER_MESSAGES: Final[tuple[type[ServerMessage], ...]] = get_args(ServerMessage)


# --- why a connection ends ---


class CloseCode(IntEnum):
    """Why the server closes a connection: 40xx resume elsewhere or later, 45xx do not come back with the same."""

    reason: str
    """Sent in the close frame."""
    resumable: bool
    """Whether the client may reconnect and resume."""
    meaning: str

    def __new__(cls, code: int, reason: str, resumable: bool, meaning: str) -> "CloseCode":
        """Make a member that is its number, with what else is known about it."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.reason = reason
        member.resumable = resumable
        member.meaning = meaning
        return member

    RESTARTING = 1012, "restarting", True, "the server restarts; means the same as 4001"
    INTERNAL = 4000, "internal", True, "a fault of ours"
    DRAINING = 4001, "draining", True, "the node goes away"
    SLOW = 4002, "slow", True, "the client reads too slowly"
    HEARTBEAT = 4003, "heartbeat lost", True, "nothing was heard from the client for too long"
    RATE = 4004, "rate limited", True, "too many messages or connections"
    PROTOCOL = 4500, "protocol", False, "undecodable, of a wrong type, too large or out of place"
    UNAUTHORISED = 4501, "unauthorised", False, "no token, or one that is not accepted"
    SUPERSEDED = 4502, "superseded", False, "the test goes on over another connection, or the user signed in anew"
    VERSION = 4503, "version", False, "this version of the protocol is not spoken any more"
    LIMITS = 4504, "limits", False, "more keys per second than any person types"
    BANNED = 4505, "banned", False, "the user or address is shut out"
