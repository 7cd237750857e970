"""Results: packed and back, their core, their message."""

from dataclasses import replace
from typing import Any

import msgpack
import pytest

from scoring.plausibility import Reason
from session.messages import ResultMessage
from session.options import TestOptions
from session.result import Damaged, Result, core_hash_of
from tests.session.play import Player


def a_result(mode: Any = "text", **chosen: Any) -> Result:
    player = Player(TestOptions(mode, text="ab cd", **chosen))
    assert player.type("ab cd") is None
    return player.session.settle(node="n1")


def test_packed_and_back() -> None:
    """Everything comes back equal, an own text and reasons too."""
    result = replace(a_result(), reasons=(Reason("drift_ms", 900.0, 500.0),), tags=("a",), epoch=3, user=-5)
    assert result.text == "ab cd"
    assert Result.unpack(result.pack()) == result


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        msgpack.packb(5),
        msgpack.packb([]),
        msgpack.packb([1]),
        msgpack.packb([1] + [None] * 36),
        msgpack.packb([3] + [None] * 37),
        msgpack.packb({"version": 1}),
    ],
)
def test_what_is_no_result(data: bytes) -> None:
    with pytest.raises(Damaged):
        Result.unpack(data)


def test_a_race_s_result_is_of_another_version() -> None:
    """So is none that builds before races would read as a test whose time begins with its first event."""
    plain = a_result()
    of_race = replace(plain, race="0123456789abc")
    assert Result.unpack(of_race.pack()) == of_race
    assert msgpack.unpackb(of_race.pack()) == [3, *msgpack.unpackb(plain.pack())[1:], "0123456789abc"]
    assert msgpack.unpackb(plain.pack())[0] == 1


def test_another_version_is_not_read_as_this_one() -> None:
    values = msgpack.unpackb(a_result().pack())
    with pytest.raises(Damaged, match="version 2"):
        Result.unpack(msgpack.packb([2, *values[1:]]))


def test_a_cut_off_result_is_damaged() -> None:
    packed = a_result().pack()
    for cut in range(0, len(packed), 7):
        with pytest.raises(Damaged):
            Result.unpack(packed[:cut])


def test_the_message_is_the_vocabulary_s() -> None:
    result = a_result()
    wire = result.to_wire(ref=4)
    fields = ResultMessage.wire_fields()
    assert set(wire) == {"t", *fields}
    assert set(result.to_wire()) == set(wire) - {"ref"}
    assert wire["chars"] == [5, 0, 0, 0]
    assert wire["series"] == {"wpm": [], "raw": [], "burst": [], "err": []}
    assert (wire["t"], wire["state"], wire["verdict"]) == ("result", "accepted", "ok")
    assert wire["session"] == "0190163d-8694-739b-8000-000000000001"


CORE: dict[str, Any] = {"session": b"s" * 16, "user": 1, "ticket_hash": b"t" * 16, "log_digest": b"l" * 16}


@pytest.mark.parametrize(
    "change",
    [
        {"session": b"S" * 16},
        {"user": 2},
        {"ticket_hash": b"T" * 16},
        {"log_digest": b"L" * 16},
        {"gave_up": True},
        {"scoring_version": "2"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_core_hash_sees_each_part(change: dict[str, Any]) -> None:
    core = CORE | {"summary": a_result().summary, "gave_up": False, "scoring_version": "1"}
    assert core_hash_of(**core) != core_hash_of(**core | change)
    assert len(core_hash_of(**core)) == 16


@pytest.mark.parametrize("name", ["wpm", "raw", "acc", "consistency", "key_consistency", "duration_ms", "afk_ms"])
def test_the_core_hash_sees_each_figure(name: str) -> None:
    summary = a_result().summary
    other = replace(summary, **{name: getattr(summary, name) + 0.01})
    core = CORE | {"gave_up": False, "scoring_version": "1"}
    assert core_hash_of(**core, summary=summary) != core_hash_of(**core, summary=other)


def test_what_was_seen_live_is_no_part_of_the_core() -> None:
    """Two nodes that saw more or less of one test make the same core."""
    whole = Player(TestOptions("text", text="ab cd"))
    whole.type("ab cd")
    moved = Player(TestOptions("text", text="ab cd"))
    moved.type("ab")
    moved.move(after_ms=4000)
    moved.type(" cd")
    ours, theirs = whole.session.settle(node="n1"), moved.session.settle(node="n2")
    assert ours.core_hash == theirs.core_hash
    assert ours.attestation_rank > theirs.attestation_rank
    assert (ours.seen_live, theirs.seen_live) == (5, 3)


def test_created_at_comes_from_the_id() -> None:
    assert a_result().created_at_ms == 0x0190163D8694
