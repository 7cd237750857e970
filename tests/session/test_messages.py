"""The two vocabularies: what is read, what is refused, what goes out."""

from base64 import urlsafe_b64encode
from contextlib import suppress
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session.identity import session_to_text
from session.kinds import MAP
from session.messages import (
    CLIENT_MESSAGES,
    ERRORS,
    SERVER_MESSAGES,
    Abort,
    Auth,
    ClientMessage,
    CloseCode,
    Error,
    ErrorCode,
    Finish,
    Heartbeat,
    HeartbeatAnswer,
    Hello,
    Keys,
    Malformed,
    Ready,
    Reconnect,
    Resume,
    Resumed,
    Start,
    Started,
    Stored,
    parse,
    ready,
)
from session.options import SessionLimits, TestOptions
from tests.session.play import session_id

ID = session_id()
NAME = session_to_text(ID)
B64 = urlsafe_b64encode(b"\xff\xfeticket").rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        ({"t": "auth"}, Auth()),
        ({"t": "auth", "token": "abc"}, Auth("abc")),
        ({"t": "auth", "token": None}, Auth()),
        ({"t": "start", "mode": "zen", "ref": 1}, Start("zen", ref=1)),
        (
            {"t": "start", "mode": "quote", "test": "17", "tags": ["a", "b"], "input": "touch", "numbers": True},
            Start("quote", test=17, tags=("a", "b"), input="touch", numbers=True),
        ),
        ({"t": "keys", "n": 3, "e": [1, "a"]}, Keys(3, [1, "a"])),
        ({"t": "keys", "n": 3, "e": [1, "a"], "h": [2, 90], "ref": 4}, Keys(3, [1, "a"], [2, 90], 4)),
        ({"t": "finish", "n": 0}, Finish(0)),
        ({"t": "abort", "whatever": [1]}, Abort()),
        (
            {"t": "resume", "session": NAME, "ticket": b"t", "n": 5, "receipt": b"r"},
            Resume(ID, b"t", 5, b"r"),
        ),
        ({"t": "resume", "session": NAME, "ticket": B64, "n": 5}, Resume(ID, b"\xff\xfeticket", 5)),
        ({"t": "hb"}, Heartbeat()),
        ({"t": "hb", "c": 12.5}, Heartbeat(12.5)),
    ],
)
def test_parse(wire: dict[str, Any], message: ClientMessage) -> None:
    assert parse(wire) == message


@pytest.mark.parametrize(
    ("wire", "fault"),
    [
        ({}, "t is missing; allowed are auth, start"),
        ({"t": "race.jump"}, "t is 'race.jump'"),
        ({"t": ["auth"]}, "t is no string"),
        ({"t": "start"}, "start.mode is missing"),
        ({"t": "start", "mode": 5}, "start.mode must be a string"),
        ({"t": "start", "mode": "time", "seconds": "30"}, "start.seconds must be a whole number"),
        ({"t": "start", "mode": "time", "seconds": True}, "start.seconds must be a whole number"),
        ({"t": "start", "mode": "time", "seconds": 30.0}, "start.seconds must be a whole number"),
        ({"t": "start", "mode": "time", "seconds": -1}, "start.seconds must be a whole number"),
        ({"t": "start", "mode": "time", "ref": 2**53}, "start.ref must be a whole number"),
        ({"t": "start", "mode": "zen", "numbers": 1}, "start.numbers must be true or false"),
        ({"t": "start", "mode": "quote", "test": 17}, "start.test must be a string"),
        ({"t": "start", "mode": "quote", "test": "017"}, "start.test must be a whole number from 1"),
        ({"t": "start", "mode": "quote", "test": ""}, "start.test must be a whole number from 1"),
        ({"t": "start", "mode": "quote", "test": "9" * 17}, "start.test must be a whole number from 1"),
        ({"t": "start", "mode": "quote", "test": "9" * 16}, "start.test must be a whole number from 1"),
        ({"t": "start", "mode": "zen", "tags": "a"}, "start.tags must be a list of strings"),
        ({"t": "start", "mode": "zen", "tags": ["a", 1]}, "start.tags must be a list of strings"),
        ({"t": "keys", "n": 0, "e": "ab"}, "keys.e must be a list"),
        ({"t": "keys", "e": []}, "keys.n is missing"),
        ({"t": "finish", "n": float("nan")}, "finish.n must be a whole number"),
        (
            {"t": "resume", "session": "x", "ticket": b"t", "n": 0},
            "resume.session must be a session's id is a canonical",
        ),
        ({"t": "resume", "session": NAME, "ticket": 5, "n": 0}, "resume.ticket must be bytes"),
        ({"t": "resume", "session": NAME, "ticket": "a", "n": 0}, "resume.ticket must be bytes"),
        ({"t": "resume", "session": NAME, "ticket": "ä", "n": 0}, "resume.ticket must be bytes"),
        ({"t": "hb", "c": float("nan")}, "hb.c must be a number"),
        ({"t": "hb", "c": float("inf")}, "hb.c must be a number"),
        ({"t": "hb", "c": -1}, "hb.c must be a number"),
        ({"t": "hb", "c": True}, "hb.c must be a number"),
    ],
)
def test_malformed(wire: dict[str, Any], fault: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(wire)
    assert fault in str(caught.value)


class Huge(list[Any]):
    """A frame full of lists, of which a text takes longer to make than anything may."""

    def __repr__(self) -> str:
        raise AssertionError("no text is made of it")


def test_no_text_is_made_of_what_is_of_the_wrong_type() -> None:
    for name, reader in ((name, cls) for cls in CLIENT_MESSAGES for name in cls.wire_fields()):
        with suppress(Malformed):
            parse({"t": reader.T, name: Huge()})
    with pytest.raises(Malformed):
        parse({"t": Huge()})


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
names = sorted({name for cls in CLIENT_MESSAGES for name in cls.wire_fields()})


@given(
    st.sampled_from([cls.T for cls in CLIENT_MESSAGES]) | values,
    st.dictionaries(st.sampled_from(names) | values.filter(lambda v: v.__hash__ is not None), values, max_size=6),
)
def test_no_map_does_anything_but_parse_or_fail(t: Any, rest: dict[Any, Any]) -> None:
    """Whatever the peer sends is a message or `Malformed`, never another error."""
    try:
        message = parse(rest | {"t": t})
    except Malformed:
        return
    assert isinstance(message, CLIENT_MESSAGES)


def test_start_chooses_options_or_names_all_faults() -> None:
    limits = SessionLimits()
    assert Start("time", seconds=30, ref=4).choose(limits) == TestOptions("time", seconds=30)
    error = Start("words", count=0, ref=4, input="feet").choose(limits)
    assert isinstance(error, Error)
    assert (error.code, error.ref, error.retry) == ("options", 4, None)
    assert "count is 0" in error.message
    assert "input is 'feet'" in error.message


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (Hello(1, "n", 5000, {"words": 9}), {"t": "hello", "v": 1, "node": "n", "hb_ms": 5000, "limits": {"words": 9}}),
        (Ready(-5, True, "tok"), {"t": "ready", "user": "-5", "guest": True, "token": "tok"}),
        (Ready(5, False), {"t": "ready", "user": "5", "guest": False}),
        (
            Started(ID, "zen", "", 9, b"t", "en", "ltr", False, "keyboard", False, False, ref=0),
            {
                "t": "started", "session": NAME, "mode": "zen", "text": "", "seed": "9", "ticket": b"t",
                "language": "en", "direction": "ltr", "cyclic": False, "input": "keyboard", "punctuation": False,
                "numbers": False, "ref": 0,
            },
        ),
        (Stored(ID, "ok"), {"t": "stored", "session": NAME, "verdict": "ok"}),
        (Resumed(ID, 7), {"t": "resumed", "session": NAME, "n": 7}),
        (Reconnect(250), {"t": "reconnect", "after_ms": 250}),
        (HeartbeatAnswer(5, 1.5), {"t": "hb", "s": 5, "c": 1.5}),
        (Error("busy", "wait", 500, ref=3), {"t": "error", "code": "busy", "message": "wait", "retry": 500, "ref": 3}),
        (Error("gap", "g", 0, 7), {"t": "error", "code": "gap", "message": "g", "retry": 0, "expected": 7}),
        (Error("full", "f", 9, place=3), {"t": "error", "code": "full", "message": "f", "retry": 9, "place": 3}),
        (Error("gone", "g"), {"t": "error", "code": "gone", "message": "g", "retry": None}),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, dict) else "",
)  # fmt: skip
def test_to_wire(message: Any, wire: dict[str, Any]) -> None:
    assert message.to_wire() == wire


@pytest.mark.parametrize("message", [Ready(-5, True, "tok"), Ready(5, False)], ids=["guest", "account"])
def test_ready_without_its_object(message: Ready) -> None:
    """The same map, its fields in the same order."""
    short = ready(message.user, message.guest, message.token)
    assert list(short.items()) == list(message.to_wire().items())


def test_vocabularies_are_closed_and_documented() -> None:
    """Each message has its own tag within its direction, each field a kind and a meaning, each code its words."""
    for direction in (CLIENT_MESSAGES, SERVER_MESSAGES):
        assert len({cls.T for cls in direction}) == len(direction)
        for cls in direction:
            assert cls.__doc__
            assert all(wire.meaning and wire.kind.name for wire, _ in cls.wire_fields().values())
    assert set(ERRORS) == set(get_args(ErrorCode))
    optional = {name for name, (_, may_miss) in Start.wire_fields().items() if may_miss}
    assert optional == set(Start.wire_fields()) - {"mode"}


def test_a_tag_is_one_directions() -> None:
    """Only the heartbeat is said both ways: it is an echo."""
    both = {cls.T for cls in CLIENT_MESSAGES} & {cls.T for cls in SERVER_MESSAGES}
    assert both == {"hb"}


def test_close_codes() -> None:
    assert [code.value for code in CloseCode] == [1012, *range(4000, 4005), *range(4500, 4506)]
    for code in CloseCode:
        assert code.resumable is (code.value < 4500)
        assert len(code.reason.encode()) <= 123  # RFC 6455 §5.5.1
        assert code.meaning
    assert {code.value: code for code in CloseCode}[4502] is CloseCode.SUPERSEDED


def test_maps_are_read_as_lists_are() -> None:
    """No client sends one yet."""
    assert MAP.read({"day": 1}) == {"day": 1}
    with pytest.raises(ValueError, match="a map"):
        MAP.read([1])
