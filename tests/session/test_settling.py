"""A finished test settled now and judged later comes to what it would have been judged at once."""

from array import array
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.drift import DriftReading
from scoring.plausibility import Reason, Verdict, judge
from scoring.replay import decode, encode
from scoring.slices import at_once
from session.machine import TypingSession
from session.options import SessionLimits, TestOptions
from session.result import Damaged, Result
from session.settling import Settled, unpack
from tests.session.play import LIMITS, Player

STRICT = ("ok", "review", "void")


def zen(
    events: list[Any], holds: list[int] | None = None, *, limits: SessionLimits = LIMITS, late_ms: float = 0.0
) -> TypingSession:
    """A session of free typing, ended after these events; the last of them comes late."""
    player = Player(TestOptions("zen"), limits=limits)
    for dt, key in zip(events[::2], events[1::2], strict=True):
        player.note(dt, key)
    n, session = player.n, player.session
    for at in range(0, n, 200):
        assert at_once(session.feeding(at, player.log[2 * at : 2 * at + 400], None, now_ms=player.now_ms)) is None
    assert session.keys(n, [100, "x"], holds, now_ms=player.now_ms + 100 + late_ms) is None
    assert session.finish(n + 1, now_ms=player.now_ms + 200) is None
    return session


def logged(settled: Settled) -> tuple[list[Any], dict[int, int]]:
    """The log that a settled test has, as any client knows it."""
    log = decode(at_once(settled.judging()).replay)
    return log.events, log.holds


def judged_at_once(settled: Settled, events: list[Any], holds: dict[int, int]) -> Verdict:
    """What plausibility says of the whole log, and what only a session knows: the rule in its plainest form."""
    said = judge(events, holds, input=settled.result.input, drift=settled.clocks)
    verdict, reasons = said.verdict, list(said.reasons)
    if settled.conflict:
        verdict = "void"
        reasons.append(Reason("conflict", 1.0, 0.0))
    return Verdict(verdict, said.features, tuple(reasons))


GAPS = st.one_of(st.integers(0, 40), st.integers(60, 400), st.just(125), st.integers(100, 20_000))
KEYS = st.one_of(st.sampled_from("etaoin shrdlu\b"), st.sampled_from(["é", "한", "👍🏽", "\u0017"]))


@given(
    events=st.lists(st.tuples(GAPS, KEYS), min_size=1, max_size=300),
    holds=st.lists(st.integers(0, 70_000), max_size=300),
    clocks=st.tuples(*[st.floats(-2_000, 2_000).map(lambda ms: round(ms, 2))] * 2),
    conflict=st.booleans(),
)
def test_judged_later_is_judged_at_once(
    events: list[tuple[int, str]], holds: list[int], clocks: tuple[float, float], conflict: bool
) -> None:
    """Through the packed form: every figure, reason and byte of the replay is that of the log judged as a whole."""
    flat = [value for event in events for value in event]
    held = [value for event, hold in enumerate(holds[: len(events)]) for value in (event, hold)]
    settled = zen(flat, held).settled(node="n1")
    settled = replace(settled, clocks=DriftReading(*clocks, 250.0, 500.0), conflict=conflict)
    later = unpack(settled.pack())
    assert later == settled
    assert isinstance(later, Settled)
    result = at_once(later.judging())
    flat += [100, "x"]
    known = {event: min(hold, 65_534) for event, hold in enumerate(holds[: len(events)])}
    expected = judged_at_once(settled, flat, known)
    assert (result.verdict, result.features, result.reasons) == (expected.verdict, expected.features, expected.reasons)
    assert result.replay == encode(flat, known)
    assert logged(settled) == (flat, known)
    assert result == replace(
        settled.result,
        replay=result.replay,
        verdict=result.verdict,
        features=result.features,
        reasons=result.reasons,
    )


@pytest.mark.parametrize("late_ms", [0, 3_000], ids=["in time", "late"])
def test_a_provisional_verdict_is_never_the_stricter(late_ms: float) -> None:
    """It has the reasons that the clocks give, the final one has these and those of the log."""
    settled = zen([120, "a"] * 150, late_ms=late_ms).settled(node="n1")
    final = at_once(settled.judging())
    assert settled.result.verdict == ("review" if late_ms else "ok")
    assert [reason.name for reason in settled.result.reasons] == (["drift_ms"] if late_ms else [])
    assert set(settled.result.features) == {"drift_ms", "lag_ms"}
    assert final.verdict == "void" if late_ms else final.verdict in ("review", "void")
    assert set(settled.result.reasons) < set(final.reasons)
    assert STRICT.index(settled.result.verdict) <= STRICT.index(final.verdict)


def test_what_the_clocks_say_is_kept_to_the_digits_of_features() -> None:
    """Any more would be chance, and a store would have to keep it twice."""
    result = at_once(zen([120, "a"] * 150, late_ms=1_000 / 3).settled(node="n1").judging())
    assert (result.lag_ms, result.drift_ms) == (result.features["lag_ms"], result.features["drift_ms"])
    assert result.lag_ms == round(result.lag_ms, 4) > 0


def test_a_session_s_own_limit_on_claimed_speed_is_kept_with_it() -> None:
    """A stricter limit than plausibility's own asks for a review, whoever judges it and whenever."""
    limits = replace(LIMITS, review_keys_per_s=10)
    settled = unpack(zen([70, "a", 90, "b"] * 60, limits=limits).settled(node="n1").pack())
    assert isinstance(settled, Settled)
    reasons = {reason.name: reason for reason in at_once(settled.judging()).reasons}
    assert reasons["peak_keys_per_s"].threshold == 10
    assert "peak_keys_per_s" not in {reason.name for reason in zen([70, "a", 90, "b"] * 60).settle(node="n1").reasons}


def test_a_session_s_own_limit_on_replays_is_kept_with_it() -> None:
    """Holds that do not fit are dropped from the replay, but were judged."""
    limits = replace(LIMITS, replay_bytes=200)
    events = [value for i in range(300) for value in (80 + i * 7919 % 90, "abc d"[i % 5])]
    held = [value for i in range(300) for value in (i, 60 + i * 31 % 80)]
    assert logged(zen(events, held, limits=limits).settled(node="n1"))[1] == {}
    assert len(logged(zen(events, held).settled(node="n1"))[1]) == 300
    assert zen(events, held, limits=limits).settle(node="n1").features == zen(events, held).settle(node="n1").features


def test_a_log_is_long_from_16_kib_on() -> None:
    """History and holds count."""
    settled = zen([120, "a"] * 10).settled(node="n1")
    assert not replace(settled, history=bytes(16 * 1024 - 1)).long
    assert replace(settled, history=bytes(16 * 1024)).long
    assert replace(settled, history=bytes(14 * 1024), held=array("H", bytes(2 * 1024))).long


def test_it_is_known_by_its_session_and_user() -> None:
    """As its result is."""
    settled = zen([120, "a"]).settled(node="n1")
    assert (settled.session, settled.user) == (settled.result.session, settled.result.user)


@pytest.mark.parametrize(
    "change",
    [
        lambda values: [3, *values[1:]],
        lambda values: values[:-1],
        lambda values: [*values, 0],
        lambda values: [2, values[1][:-1], *values[2:]],
        lambda values: [2, None, *values[2:]],
        lambda values: [*values[:4], [70_000], *values[5:]],
        lambda values: [*values[:4], ["x"], *values[5:]],
        lambda values: [*values[:5], [1.0], *values[6:]],
    ],
    ids=["version", "short", "long", "short result", "no result", "hold too long", "no hold", "short reading"],
)
def test_what_is_no_settled_test(change: Any) -> None:
    """Each is `Damaged`, none another fault."""
    values = msgpack.unpackb(zen([120, "a"]).settled(node="n1").pack())
    with pytest.raises(Damaged):
        unpack(msgpack.packb(change(values)))


def test_a_cut_off_one_is_damaged() -> None:
    """Wherever it is cut."""
    packed = zen([120, "a"]).settled(node="n1").pack()
    for cut in range(0, len(packed), 7):
        with pytest.raises(Damaged):
            unpack(packed[:cut])


# Made by the versions that wrote them; they must be read for ever.
PACKED_1 = (
    "dc002301c4100190163d8694739b800000000000000129c4108019563784ab2ff7324c828dcfdd30a0c425011c4749d005074b4c52484e01"
    "00000753575757570700028846075356565666000002db06c41068ca47614cff922378b81ad6b0d4ffd99dcb405e9ccccccccccdcb405e9c"
    "cccccccccdcb4059000000000000cb0000000000000000cb4058d51eb851eb85cb0000000000000000940500000005920500cd01eacb3fdf"
    "5c28f5c28f5c009490909090a474657874c0c0c000a2656e0000c2c291a161a86b6579626f61726401c4100052c961c128157aa59729c88f"
    "9cb7dbad312f31382e302f31342e302e30c2c410f27531e27b63ba389d283c4a385f9979a26e3100050000cb0000000000000000cb000000"
    "0000000000a672657669657783aa6b6579735f7065725f73cb4020539c0ebedfa4a864726966745f6d73cb0000000000000000a66c61675f"
    "6d73cb00000000000000009193a864726966745f6d73cb408c200000000000cb407f400000000000a56162206364"
)

PACKED_2 = (
    "9902dc0022c4100190163d8694739b800000000000000129c41092ae95525273225c69471647844f3bdcc400c41068ca47614cff922378b8"
    "1ad6b0d4ffd99dcb405e9ccccccccccdcb405e9ccccccccccdcb4059000000000000cb0000000000000000cb4058d51eb851eb85cb000000"
    "0000000000940500000005920500cd01eacb3fdf5c28f5c28f5c009490909090a474657874c0c0c000a2656e0000c2c291a161a86b657962"
    "6f61726401c4100052c961c128157aa59729c88f9cb7dbad312f31382e302f31342e302e30c2c410375bb8649e64eba56710e42a59c12c6e"
    "a26e3100050000cb0000000000000000cb0000000000000000a26f6b82a864726966745f6d73cb0000000000000000a66c61675f6d73cb00"
    "0000000000000090a5616220636405c40a786179627a207b637c64955b5b5b5b0094cb0000000000000000cb0000000000000000cb406f40"
    "0000000000cb407f8e6666666666c232cdf000"
)


def test_a_result_that_an_earlier_version_spooled_is_read() -> None:
    """It was judged then, and stays so."""
    result = unpack(bytes.fromhex(PACKED_1))
    assert isinstance(result, Result)
    assert (result.user, result.text, result.tags, result.node) == (41, "ab cd", ("a",), "n1")
    assert (result.verdict, result.reasons) == ("review", (Reason("drift_ms", 900.0, 500.0),))
    assert decode(result.replay).events == [120, "a", 121, "b", 122, " ", 123, "c", 124, "d"]
    assert result.summary.wpm == 122.45
    assert result.pack().hex() == PACKED_1


def test_a_settled_test_that_an_earlier_version_spooled_is_read() -> None:
    """And judged by the one that reads it."""
    settled = unpack(bytes.fromhex(PACKED_2))
    assert isinstance(settled, Settled)
    assert logged(settled) == ([120, "a", 121, "b", 122, " ", 123, "c", 124, "d"], dict.fromkeys(range(4), 90))
    assert settled.clocks == DriftReading(0.0, 0.0, 250.0, 504.9)
    result = at_once(settled.judging())
    assert (result.session, result.tags, result.verdict) == (settled.session, ("a",), "ok")
    assert settled.pack().hex() == PACKED_2
