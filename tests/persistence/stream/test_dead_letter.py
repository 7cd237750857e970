"""What a dead letter says of itself, and that it is otherwise as it was."""

import pytest

from persistence.stream.dead_letter import Buried, bury, exhume

HEADERS = [("schema", b"1"), ("trace", b"\xff\x00"), ("trace", b"twice")]


def test_a_dead_letter_keeps_what_it_was() -> None:
    letter = bury(
        b"k",
        b"v",
        HEADERS,
        reason="malformed",
        error="a value that is no msgpack: \ud800é",
        topic="test-results",
        partition=7,
        offset=2**40,
        worker="worker-1",
        at_ms=5,
    )
    assert (letter.key, letter.value, letter.timestamp_ms) == (b"k", b"v", 5)
    assert letter.headers[:3] == HEADERS
    assert exhume(letter.headers) == Buried(
        "malformed", "a value that is no msgpack: ?é", "test-results", 7, 2**40, "worker-1", 5, HEADERS
    )


def test_one_that_is_buried_again_says_its_last_reason() -> None:
    once = bury(None, None, HEADERS, reason="newer", error="e", topic="t", partition=0, offset=1, worker="w", at_ms=1)
    twice = bury(
        None,
        None,
        once.headers,
        reason="refused",
        error="x" * 5000,
        topic="t",
        partition=0,
        offset=9,
        worker="w",
        at_ms=2,
    )
    found = exhume(twice.headers)
    assert found is not None
    assert (found.reason, found.offset, found.headers) == ("refused", 9, HEADERS)
    assert len(found.error) == 1000
    assert len(twice.headers) == len(HEADERS) + 5


@pytest.mark.parametrize(
    "headers",
    [
        [],
        HEADERS,
        [("dead.reason", b"r"), ("dead.error", b"e"), ("dead.by", b"w"), ("dead.at", b"1"), ("dead.from", b"t/x/1")],
        [("dead.reason", b"r"), ("dead.error", b"e"), ("dead.by", b"w"), ("dead.at", b""), ("dead.from", b"t/0/1")],
    ],
)
def test_what_is_no_dead_letter(headers: list[tuple[str, bytes]]) -> None:
    assert exhume(headers) is None
