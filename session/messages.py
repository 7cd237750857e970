"""The two closed vocabularies of `typegate.v1`, its close codes and its error codes: the one place that knows them.

A message is a map with `t`. Client messages are read by `parse`, which checks every type and raises `Malformed`; server
messages become a map by `to_wire`. Each field carries its kind and meaning, from which the tables of PROTOCOL.md are
printed and by which messages are read: they cannot drift apart. What a value may be beyond its type (a mode that
exists, a text that can be typed) is checked later and answered by an `Error`: a recoverable mistake.

MACs, digests, tickets and receipts are bytes here; where the encoding has none they are base64url without padding.
"""

from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple, TypeAlias, get_args, get_type_hints

from session.identity import IdentityError, session_from_text, session_to_text
from session.options import OptionFaults, SessionLimits, TestOptions, choose

MAX_INTEGER: Final = (1 << 53) - 1
"""Whole numbers on the wire fit a JavaScript double."""


class Malformed(ValueError):
    """The peer sent a map that is no message of this protocol; the message says what was wrong. Closes with 4500."""


# --- kinds of values ---


class Kind(NamedTuple):
    """A kind of value on the wire."""

    name: str
    """As the documentation writes it."""
    read: Callable[[Any], Any]
    """From the wire; raises `ValueError` with what it should have been."""
    write: Callable[[Any], Any] | None = None
    """To the wire; None: as it is."""


class Wire(NamedTuple):
    """What a message's field is on the wire."""

    kind: Kind
    meaning: str


def _string(value: object) -> str:
    if type(value) is not str:
        raise ValueError("a string")
    return value


def _boolean(value: object) -> bool:
    if type(value) is not bool:
        raise ValueError("true or false")
    return value


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_INTEGER:
        raise ValueError("a whole number from 0 to 2^53-1")
    return value


def _clock(value: object) -> float:
    if type(value) not in (int, float) or not 0 <= value <= MAX_INTEGER:  # type: ignore[operator]  # numbers by now
        raise ValueError("a number from 0 to 2^53-1")
    return value  # type: ignore[return-value]  # the same


def _bytes(value: object) -> bytes:
    if type(value) is bytes:
        return value
    if type(value) is str:
        try:
            return urlsafe_b64decode(value.encode("ascii") + b"=" * (-len(value) % 4))
        except (Base64Error, UnicodeEncodeError):
            pass
    raise ValueError("bytes, or base64url without padding")


def _session(value: object) -> bytes:
    try:
        return session_from_text(_string(value))
    except IdentityError as exc:
        raise ValueError(str(exc)) from None


def _decimal(value: object) -> int:
    text = _string(value)
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and text[0] != "0" and int(text) <= MAX_INTEGER):
        raise ValueError("a whole number from 1 to 2^53-1 as decimal digits")
    return int(text)


def _strings(value: object) -> tuple[str, ...]:
    if type(value) is not list or not all(type(item) is str for item in value):
        raise ValueError("a list of strings")
    return tuple(value)


def _list(value: object) -> list[Any]:
    if type(value) is not list:
        raise ValueError("a list")
    return value


def _map(value: object) -> dict[Any, Any]:
    if type(value) is not dict:
        raise ValueError("a map")
    return value


STRING = Kind("string", _string)
BOOLEAN = Kind("boolean", _boolean)
INTEGER = Kind("integer", _count)
NUMBER = Kind("number", _clock)
BYTES = Kind("bytes", _bytes)
SESSION = Kind("UUID", _session, session_to_text)
ID = Kind("decimal string", _decimal, str)
STRINGS = Kind("list of strings", _strings, list)
LIST = Kind("list", _list)
MAP = Kind("map", _map)


# --- from the client ---


class _Message:
    """What both directions share: a tag, and fields that know themselves."""

    __slots__ = ()
    T: ClassVar[str]
    """The message's `t`."""

    @classmethod
    def wire_fields(cls) -> dict[str, tuple[Wire, bool]]:
        """The fields by name: what each is, and whether it may be left out."""
        hints = get_type_hints(cls, include_extras=True)
        return {
            field.name: (
                next(note for note in hints[field.name].__metadata__ if isinstance(note, Wire)),
                type(None) in get_args(get_args(hints[field.name])[0]) or field.default is False,
            )
            for field in fields(cls)  # type: ignore[arg-type]  # every message is a dataclass
        }


@dataclass(frozen=True, slots=True)
class Auth(_Message):
    """The first frame, within 5 s: who is there."""

    T: ClassVar[str] = "auth"
    token: Annotated[
        str | None, Wire(STRING, "a JWT, a guest token from an earlier `ready`, or nothing: a new guest")
    ] = None


@dataclass(frozen=True, slots=True)
class Start(_Message):
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
            )
        except OptionFaults as exc:
            return Error("options", str(exc), ref=self.ref)


@dataclass(frozen=True, slots=True)
class Keys(_Message):
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
class Finish(_Message):
    """The client says that the test is over."""

    T: ClassVar[str] = "finish"
    n: Annotated[int, Wire(INTEGER, "how many events its log has")]
    ref: Annotated[int | None, Wire(INTEGER, "the test's `ref`; that of an older one is dropped silently")] = None


@dataclass(frozen=True, slots=True)
class Abort(_Message):
    """Give up: no result."""

    T: ClassVar[str] = "abort"


@dataclass(frozen=True, slots=True)
class Resume(_Message):
    """Go on with a test after the connection, the page or the server went away."""

    T: ClassVar[str] = "resume"
    session: Annotated[bytes, Wire(SESSION, "the test's session")]
    ticket: Annotated[bytes, Wire(BYTES, "as `started` gave it")]
    n: Annotated[int, Wire(INTEGER, "how many events the client's log has")]
    receipt: Annotated[bytes | None, Wire(BYTES, "of the last `tick`, if there was one")] = None
    text: Annotated[str | None, Wire(STRING, "the own text, in mode text")] = None
    ref: Annotated[int | None, Wire(INTEGER, "the client's number for this test from now on")] = None


@dataclass(frozen=True, slots=True)
class Heartbeat(_Message):
    """A sign of life; any frame counts as one."""

    T: ClassVar[str] = "hb"
    c: Annotated[float | None, Wire(NUMBER, "the client's clock, sent back")] = None


ClientMessage: TypeAlias = Auth | Start | Keys | Finish | Abort | Resume | Heartbeat
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
        raise Malformed(f"t is {str(t)[:40]!r}; allowed are {', '.join(_READERS)}")
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


class _ServerMessage(_Message):
    __slots__ = ()

    def to_wire(self) -> dict[str, Any]:
        """The message as a map; fields that are None are left out."""
        wire: dict[str, Any] = {"t": self.T}
        for name, write in _WRITERS[self.T]:
            value = getattr(self, name)
            if value is not None:
                wire[name] = value if write is None else write(value)
        return wire


@dataclass(frozen=True, slots=True)
class Hello(_ServerMessage):
    """Sent at once after the upgrade."""

    T: ClassVar[str] = "hello"
    v: Annotated[int, Wire(INTEGER, "version of the protocol")]
    node: Annotated[str, Wire(STRING, "name of the node")]
    hb_ms: Annotated[int, Wire(INTEGER, "a client that has nothing to say sends `hb` this often")]
    limits: Annotated[dict[str, int], Wire(MAP, "limits by name: what the client may send")]


@dataclass(frozen=True, slots=True)
class Ready(_ServerMessage):
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
class Started(_ServerMessage):
    """The answer to `start`: what to type."""

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
    breaks: Annotated[
        list[int] | None, Wire(LIST, "code points of each grapheme cluster in order; left out where all have one")
    ] = None
    word_lengths: Annotated[
        list[int] | None, Wire(LIST, "clusters of each word; left out where words are what spaces part")
    ] = None


@dataclass(frozen=True, slots=True)
class Tick(_ServerMessage):
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
class ResultMessage(_ServerMessage):
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
class Stored(_ServerMessage):
    """The result is where it belongs; only now may the client drop its log. It may come more than once."""

    T: ClassVar[str] = "stored"
    session: Annotated[bytes, Wire(SESSION, "the test's session")]
    verdict: Annotated[str, Wire(STRING, "ok, review or void: final, never milder than the one in `result`")]


@dataclass(frozen=True, slots=True)
class Resumed(_ServerMessage):
    """The answer to `resume`."""

    T: ClassVar[str] = "resumed"
    session: Annotated[bytes, Wire(SESSION, "the test's session")]
    n: Annotated[int, Wire(INTEGER, "send `keys` from this event on")]
    ref: Annotated[int | None, Wire(INTEGER, "as given")] = None


@dataclass(frozen=True, slots=True)
class Event(_ServerMessage):
    """Good news of a stored result, on every connection of the user, at any time; it may come twice, or not at all."""

    T: ClassVar[str] = "event"
    kind: Annotated[str, Wire(STRING, "best: the result is the user's best on a board; pass over kinds not known")]
    session: Annotated[bytes, Wire(SESSION, "the result; who is told twice knows it by this")]
    board: Annotated[str, Wire(STRING, "kind of test and language, as time-15-en")]
    wpm: Annotated[float, Wire(NUMBER, "its speed")]
    spans: Annotated[list[str], Wire(LIST, "of which it is the best: day, week, all")]
    ranks: Annotated[dict[str, int], Wire(MAP, "by span, its place among everybody's bests, 1 the first; if known")]


@dataclass(frozen=True, slots=True)
class Reconnect(_ServerMessage):
    """The node goes away: come back, to whichever node answers, and resume."""

    T: ClassVar[str] = "reconnect"
    after_ms: Annotated[int, Wire(INTEGER, "wait this long first")]


@dataclass(frozen=True, slots=True)
class HeartbeatAnswer(_ServerMessage):
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
]

ERRORS: Final[Mapping[ErrorCode, str]] = MappingProxyType(
    {
        "options": "what `start` chose is not allowed; the message names everything that is wrong",
        "unknown_test": "the catalogue has no such passage, or none that fits the filters",
        "unknown_language": "there is no word list for this language",
        "text": "the own text cannot be typed (empty, too long, control characters), or is not the ticket's",
        "busy": "too many starts; `start` again after `retry` ms",
        "full": "the node can take no new tests for the moment; `start` again after `retry` ms",
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
    }
)
"""Every error code and what it means."""


@dataclass(frozen=True, slots=True)
class Error(_ServerMessage):
    """A recoverable mistake; the connection goes on."""

    T: ClassVar[str] = "error"
    code: Annotated[ErrorCode, Wire(STRING, "one of the error codes")]
    message: Annotated[str, Wire(STRING, "what was wrong and what is allowed, for people")]
    retry: Annotated[int | None, Wire(INTEGER, "ms to wait before trying again, 0 at once, null do not")] = None
    expected: Annotated[int | None, Wire(INTEGER, "after a gap: the event to send from")] = None
    ref: Annotated[int | None, Wire(INTEGER, "of the test that it concerns")] = None

    def to_wire(self) -> dict[str, Any]:
        """The message as a map; `retry` is always there."""
        wire: dict[str, Any] = {"t": "error", "code": self.code, "message": self.message, "retry": self.retry}
        if self.expected is not None:
            wire["expected"] = self.expected
        if self.ref is not None:
            wire["ref"] = self.ref
        return wire


ServerMessage: TypeAlias = (
    Hello | Ready | Started | Tick | ResultMessage | Stored | Event | Resumed | Reconnect | HeartbeatAnswer | Error
)
SERVER_MESSAGES: Final[tuple[type[ServerMessage], ...]] = get_args(ServerMessage)

_WRITERS: Final = {
    cls.T: tuple((name, wire.kind.write) for name, (wire, _) in cls.wire_fields().items()) for cls in SERVER_MESSAGES
}


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
    SUPERSEDED = 4502, "superseded", False, "the test goes on over another connection"
    VERSION = 4503, "version", False, "this version of the protocol is not spoken any more"
    LIMITS = 4504, "limits", False, "more keys per second than any person types"
    BANNED = 4505, "banned", False, "the user or address is shut out"
