"""The replay codec: what goes in comes out, anything else is refused, and both are small."""

import zlib
from collections.abc import Generator
from itertools import pairwise
from random import Random
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring import replay
from scoring.replay import MAX_EVENTS, Log, ReplayError, decode, decoding, encode, encoding, encoding_columns

T = TypeVar("T")

KEYS = st.one_of(
    st.sampled_from("etaoin shrdlu\b\x17"),
    st.sampled_from(["é", "e\u0301", "\u0301", "가", "ᄀ", "한", "👩‍👩‍👧", "🏳️‍🌈", "क्षि", "ß", "\u200d", "x" * 64]),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=16),
)
GAPS = st.one_of(st.integers(0, 300), st.integers(0, 2**16), st.integers(0, replay.MAX_MS))


@st.composite
def logs(draw: st.DrawFn) -> Log:
    pairs = draw(st.lists(st.tuples(GAPS, KEYS), max_size=60))
    holds = draw(st.dictionaries(st.integers(0, len(pairs) - 1), GAPS)) if pairs else {}
    return Log([part for pair in pairs for part in pair], dict(sorted(holds.items())))


def typed(n: int, seed: int) -> Log:
    """A log of n keys at some 75 words a minute."""
    chance = Random(seed)
    words = [
        "the",
        "of",
        "and",
        "to",
        "in",
        "that",
        "was",
        "for",
        "with",
        "his",
        "they",
        "have",
        "from",
        "one",
        "because",
    ]
    text = " ".join(chance.choices(words, k=n))[:n]
    events: list[int | str] = []
    for key in text:
        events += [round(chance.lognormvariate(4.9, 0.3)), key]
    return Log(events, {event: max(1, round(chance.gauss(100, 22))) for event in range(n)})


@given(logs())
def test_a_log_encoded_and_decoded_is_the_same(log: Log) -> None:
    assert decode(encode(log.events, log.holds)) == log


@given(logs())
def test_a_log_by_columns_gives_the_same_bytes(log: Log) -> None:
    gaps: list[int] = log.events[::2]  # type: ignore[assignment]  # a log is dt and key in turn
    keys: list[str] = log.events[1::2]  # type: ignore[assignment]  # likewise
    held = [log.holds.get(event, -1) + 1 for event in range(len(gaps))]
    expected = encode(log.events, log.holds)
    assert sliced(encoding_columns(gaps, keys, held))[0] == expected
    text = "".join(keys)
    if len(text) == len(keys):
        assert sliced(encoding_columns(gaps, text, held))[0] == expected
    assert sliced(encoding_columns(gaps, keys))[0] == encode(log.events)


@pytest.mark.parametrize("n", [0, 1, 2, 1023, 1024, 1025, 5000])
def test_any_length(n: int) -> None:
    log = typed(n, n)
    assert decode(encode(log.events, log.holds)) == log
    assert decode(encode(log.events)) == Log(log.events, {})


def test_long_keys_and_long_noise_survive_many_slices() -> None:
    chance = Random(5)
    events: list[int | str] = []
    for _ in range(3000):
        events += [chance.getrandbits(32) % replay.MAX_MS, chance.choice(["👩‍👩‍👧", "क्षि", "a", "\b"])]
    holds = {event: chance.getrandbits(31) for event in range(0, 3000, 3)}
    assert decode(encode(events, holds, drop_holds_over=10**9)) == Log(events, holds)


@given(logs())
def test_holds_may_be_passed_over(log: Log) -> None:
    """The events are the same."""
    assert sliced(decoding(encode(log.events, log.holds), with_holds=False))[0] == Log(log.events, {})


def test_a_typists_log_takes_no_more_than_a_byte_and_a_half_a_key_and_one_more_with_holds() -> None:
    """Over logs of 300 keys, on average."""
    some = [typed(300, seed) for seed in range(40)]
    assert sum(len(encode(log.events)) for log in some) <= 1.5 * 300 * len(some)
    assert sum(len(encode(log.events, log.holds)) for log in some) <= 2.5 * 300 * len(some)


def test_a_programs_equal_gaps_take_little() -> None:
    """A bit for each gap and each hold; so a log never packs worse than plain deflate would make it."""
    events: list[int | str] = [117, "a"] * MAX_EVENTS
    holds = dict.fromkeys(range(MAX_EVENTS), 83)
    blob = encode(events, holds)
    assert len(blob) < 2 * MAX_EVENTS / 8 + 500
    assert decode(blob) == Log(events, holds)


def test_holds_are_dropped_where_the_replay_would_be_too_long() -> None:
    log = typed(300, 1)
    size = len(encode(log.events, log.holds))
    assert decode(encode(log.events, log.holds, drop_holds_over=size)) == log
    assert decode(encode(log.events, log.holds, drop_holds_over=size - 1)) == Log(log.events, {})


def sliced(steps: Generator[None, None, T]) -> tuple[T, int]:
    """Run a generator: what it returns, and how often it stopped for breath."""
    slices = 0
    while True:
        try:
            next(steps)
        except StopIteration as done:
            value: T = done.value
            return value, slices
        slices += 1


def test_the_longest_log_works_in_slices_and_is_the_same() -> None:
    log = typed(MAX_EVENTS, 3)
    blob, slices = sliced(encoding(log.events, log.holds, drop_holds_over=10**6))
    assert slices > 2 * MAX_EVENTS // 1024
    back, slices = sliced(decoding(blob))
    assert back == log
    assert slices > MAX_EVENTS // 1024


@pytest.mark.parametrize(
    ("events", "holds", "message"),
    [
        ([1, "a", 2], None, "without its key"),
        ([0, "a"] * (MAX_EVENTS + 1), None, "at most 30000 events"),
        ([-1, "a"], None, "event 0: dt is -1"),
        ([0, "a", 1.5, "b"], None, r"event 1: dt is 1\.5"),
        ([True, "a"], None, "dt is True"),
        ([2**32 - 1, "a"], None, "dt is 4294967295"),
        (["a", 0], None, "event 0 has no key"),
        ([0, "a", 0, 7], None, "event 1 has no key"),
        ([0, "a", 0, ""], None, "event 1 has no key"),
        ([0, "x" * 65], None, "event 0 has no key"),
        ([0, "é" * 33], None, "event 0 has no key"),
        ([0, "\ud800"], None, "event 0 has no key"),
        ([0, "x" * 300], None, "event 0 has no key"),
        ([0, "a"] * 1500 + [0, ""], None, "event 1500 has no key"),
        ([0, "a"] * 1500 + [-5, "b"], None, "event 1500: dt is -5"),
        ([0, "a"], {1: 5}, "hold is for event 1"),
        ([0, "a"], {-1: 5}, "hold is for event -1"),
        ([0, "a"], {"0": 5}, "hold is for event '0'"),
        ([0, "a"], {0: -5}, "hold of event 0 is -5"),
        ([0, "a"], {0: 2.0}, r"hold of event 0 is 2\.0"),
        ([0, "a"], {0: 2**32 - 1}, "hold of event 0 is 4294967295"),
    ],
)
def test_what_is_no_log_is_refused_with_the_place(
    events: list[int | str], holds: dict[int, int] | None, message: str
) -> None:
    with pytest.raises(ReplayError, match=message):
        encode(events, holds)


def body_of(blob: bytes) -> bytes:
    return blob[5:]


def sealed(body: bytes, version: int = 1) -> bytes:
    """A blob with a right checksum, whatever its body."""
    return bytes((version,)) + zlib.crc32(body).to_bytes(4, "big") + body


def planes_of(blob: bytes) -> list[bytes]:
    """The number of events and the planes of a small log: each length is one byte."""
    body = body_of(blob)
    parts = [body[:1]]
    at = 1
    while at < len(body):
        assert body[at] < 128
        parts.append(body[at + 1 : at + 1 + body[at]])
        at += 1 + body[at]
    return parts


def joined(parts: list[bytes]) -> bytes:
    return sealed(parts[0] + b"".join(bytes((len(part),)) + part for part in parts[1:]))


def packed(data: bytes, zdict: bytes = b"") -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=zdict)
    return packer.compress(data) + packer.flush()


SMALL = Log([700, "a", 120, "é", 95, "\b", 3, "e\u0301", 1000, "z"], {0: 90, 2: 85, 4: 101})


def test_the_helpers_take_a_replay_apart_as_the_codec_does() -> None:
    assert decode(joined(planes_of(encode(SMALL.events, SMALL.holds)))) == SMALL


@given(st.data())
def test_every_flipped_bit_and_every_cut_is_refused(data: st.DataObject) -> None:
    blob = bytearray(encode(SMALL.events, SMALL.holds))
    at = data.draw(st.integers(0, 8 * len(blob) - 1))
    blob[at // 8] ^= 1 << at % 8
    with pytest.raises(ReplayError):
        decode(bytes(blob))
    with pytest.raises(ReplayError):
        decode(encode(SMALL.events, SMALL.holds)[: data.draw(st.integers(0, len(blob) - 1))])


@given(st.binary(max_size=200))
def test_any_bytes_with_a_right_checksum_are_a_log_or_refused(body: bytes) -> None:
    try:
        log = decode(sealed(body))
    except ReplayError:
        return
    assert decode(encode(log.events, log.holds)) == log


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 40), st.integers(0, 255)), min_size=1, max_size=4))
def test_any_change_inside_a_plane_is_a_log_or_refused(changes: list[tuple[int, int, int]]) -> None:
    """With the checksum put right again, so that the planes themselves are what is tried."""
    parts = [bytearray(part) for part in planes_of(encode(SMALL.events, SMALL.holds))]
    for plane, at, value in changes:
        part = parts[plane % len(parts)]
        if part:
            part[at % len(part)] = value
    try:
        log = decode(joined([bytes(part) for part in parts]))
    except ReplayError:
        return
    assert decode(encode(log.events, log.holds)) == log


def test_an_unknown_version_is_named() -> None:
    with pytest.raises(ReplayError, match="version 2 is not known"):
        decode(sealed(body_of(encode(SMALL.events)), version=2))


def altered(plane: int, data: bytes) -> bytes:
    """The small log's blob with one part put in the place of another: 0 is the number of events."""
    parts = planes_of(encode(SMALL.events, SMALL.holds))
    parts[plane] = data
    return joined(parts)


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"\x01", "more than 5 bytes"),
        (sealed(b"\xff\xff\xff\xff\xff"), "does not end"),
        (sealed(b"\x80"), "does not end"),
        (sealed(b"\xb1\xea\x01"), "at most 30000 events; this replay says 30001"),
        (sealed(b"\x01\x7fabc"), "past its end"),
        (sealed(body_of(encode(SMALL.events, SMALL.holds)) + b"\x00"), "1 bytes follow"),
        (altered(1, b"\x07\x07"), "damaged"),
        (altered(1, packed(b"a" * 400)), "longer than the 320 bytes"),
        (altered(1, packed(b"\xff\xfe")), "no UTF-8"),
        (altered(1, packed(b"abc")), "cannot be cut into 5"),
        (altered(1, packed(b"abcde")[:-1]), "does not end where it should"),
        (altered(1, packed(b"abcdef") + b"!"), "does not end where it should"),
        (altered(2, b""), "6 keys for 5 events"),
        (altered(2, packed(b"\x01\x01\x01\x03\x00")), "cannot be cut into 5"),
        (altered(2, packed(b"\x01\x01\x01\x03")), "cannot be cut into 5"),
        (altered(3, packed(b"\x01\x01\x01\x01")), "times are not 5"),
        (altered(3, packed(b"\x01\x01\x01\x01\xf0")), "times are not 5"),
        (altered(4, b""), "lack bits"),
        (altered(4, packed(b"")), "lack bits"),
        (altered(4, b"\x07"), "damaged"),
        (altered(4, b"\x00" * 4), "lack bits"),
        (altered(4, b"\xff" * 3), "bits after their end"),
        (altered(5, b""), "noise of holds, but no holds"),
        (altered(0, b"\x06"), "cannot be cut into 6"),
    ],
)
def test_each_damage_has_its_message(blob: bytes, message: str) -> None:
    with pytest.raises(ReplayError, match=message):
        decode(blob)


def test_a_key_over_64_bytes_is_refused() -> None:
    parts = planes_of(encode([0, "ab"], {}))
    parts[0] = b"\x02"
    parts[1] = packed(("x" + "é" * 40).encode())
    parts[2] = packed(b"\x01\x28")
    with pytest.raises(ReplayError, match="key of event 1 is over 64 bytes"):
        decode(joined(parts))


def test_a_bomb_is_refused_before_it_goes_off() -> None:
    """A plane of a gigabyte, packed into a megabyte, is given up after the bytes that it may have."""
    bomb = packed(bytes(100_000_000))
    length = len(bomb)
    digits = bytes((length & 127 | 128, length >> 7 & 127 | 128, length >> 14))
    with pytest.raises(ReplayError, match="longer than the 320 bytes"):
        decode(sealed(b"\x05" + digits + bomb))


def test_a_smaller_limit_holds_on_both_sides() -> None:
    blob = encode(SMALL.events)
    with pytest.raises(ReplayError, match="at most 4 events; this replay says 5"):
        decode(blob, max_events=4)
    with pytest.raises(ReplayError, match="at most 4 events; this one has 5"):
        encode(SMALL.events, max_events=4)


def test_the_first_version_stays_readable_for_ever() -> None:
    """Golden bytes: a result stored today must replay in ten years."""
    assert encode(SMALL.events, SMALL.holds).hex() == GOLDEN
    assert decode(bytes.fromhex(GOLDEN)) == SMALL


GOLDEN = "016aac14a3050a4b3cbc9223f54c631500076364646462040007b3525766b60700033c8e02075366506250010002b301"


def test_repeated_encoding_gives_the_same_bytes() -> None:
    """The core's hash covers the replay, so a retry must meet itself."""
    log = typed(500, 9)
    assert all(one == other for one, other in pairwise(encode(log.events, log.holds) for _ in range(3)))
