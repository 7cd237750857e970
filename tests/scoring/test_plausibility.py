"""Who is flagged and why, who never is; each feature by a log that has just that."""

import gzip
import json
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.drift import DriftReading
from scoring.plausibility import THRESHOLDS, InputKind, Verdict, judge, judging, judging_columns

TEXT = ("when the first boats came home in the evening all the people of the town went down to see what they had " * 6)[
    :600
]
STEADY = DriftReading(drift_ms=3.0, lag_ms=40.0, ahead_limit_ms=250.0, behind_limit_ms=700.0)
AHEAD = DriftReading(drift_ms=-900.0, lag_ms=40.0, ahead_limit_ms=250.0, behind_limit_ms=700.0)
BEHIND = DriftReading(drift_ms=900.0, lag_ms=40.0, ahead_limit_ms=250.0, behind_limit_ms=700.0)


def person(seed: int, n: int, text: str = TEXT, scale: float = 1.0) -> tuple[list[int | str], dict[int, int]]:
    """A log with a person's habits: each pair of keys has its pace, words begin late, pauses are long, holds differ."""
    chance = Random(seed)
    pace: dict[str, float] = {}
    hold: dict[str, float] = {}
    events: list[int | str] = []
    holds = {}
    before = " "
    for at, key in enumerate(text[:n]):
        own = pace.setdefault(before + key, chance.lognormvariate(4.9, 0.35))
        gap = own * chance.lognormvariate(0.0, 0.3) * (1.4 if before == " " else 1.0)
        gap += chance.expovariate(1 / 300) if chance.random() < 0.06 else 0.0
        events += [round(gap * scale), key]
        holds[at] = round(hold.setdefault(key, chance.gauss(95, 18)) + chance.gauss(0, 12))
        before = key
    return events, holds


def drawn(n: int, law: Callable[[], float], text: str = TEXT) -> list[int | str]:
    """A log whose gaps are drawn one by one."""
    events: list[int | str] = []
    for key in text[:n]:
        events += [max(0, round(law())), key]
    return events


def run(steps: Generator[None, None, Verdict]) -> Verdict:
    while True:
        try:
            next(steps)
        except StopIteration as done:
            verdict: Verdict = done.value
            return verdict


def names(verdict: Verdict) -> set[str]:
    return {reason.name for reason in verdict.reasons}


@pytest.mark.parametrize("input", THRESHOLDS)
@pytest.mark.parametrize("n", [30, 100, 200, 600])
def test_a_person_is_ok_with_and_without_holds(n: int, input: InputKind) -> None:  # noqa: A002  # the protocol's name
    for seed in range(10):
        events, holds = person(seed, n)
        assert judge(events, holds, input=input, drift=STEADY).verdict == "ok"
        assert judge(events, input=input).verdict == "ok"


@pytest.mark.parametrize("n", [0, 1, 2, 3, 15])
def test_a_short_log_is_ok_whatever_it_is(n: int) -> None:
    assert judge(drawn(n, lambda: 100.0)).verdict == "ok"


def test_equal_gaps_are_void() -> None:
    verdict = judge(drawn(300, lambda: 120.0))
    assert verdict.verdict == "void"
    assert {"gap_variation", "same_gap_share", "order"} <= names(verdict)


def test_a_test_that_took_no_time_at_all_is_void() -> None:
    verdict = judge(drawn(300, lambda: 0.0))
    assert verdict.verdict == "void"
    assert {"peak_keys_per_s", "joined_share", "gap_variation"} <= names(verdict)


def test_pasted_bursts_are_flagged() -> None:
    chance = Random(3)
    verdict = judge(drawn(200, lambda: 0.0 if chance.random() < 0.8 else chance.lognormvariate(6.5, 0.5)))
    assert "joined_share" in names(verdict)


def test_pauses_between_equal_gaps_do_not_hide_them() -> None:
    chance = Random(4)
    verdict = judge(drawn(80, lambda: 97.0 if chance.random() < 0.8 else chance.lognormvariate(6.5, 0.5)))
    assert names(verdict) == {"same_gap_share"}


def test_a_normal_law_is_flagged_by_its_shape_and_its_want_of_order() -> None:
    chance = Random(5)
    verdicts = Counter(judge(drawn(250, lambda: chance.gauss(150, 45))).verdict for _ in range(100))
    assert verdicts["ok"] <= 2
    assert verdicts["void"] >= 80


def test_a_few_long_pauses_do_not_hide_a_normal_law() -> None:
    chance = Random(6)
    law = lambda: 2500.0 if chance.random() < 0.02 else chance.gauss(150, 30)  # noqa: E731  # named to be read
    assert sum("gap_core_skew" in names(judge(drawn(250, law))) for _ in range(20)) >= 12


def test_a_lognormal_law_is_flagged_by_its_want_of_order_alone() -> None:
    chance = Random(7)
    flagged = [judge(drawn(300, lambda: chance.lognormvariate(4.9, 0.5))) for _ in range(100)]
    assert sum(verdict.verdict == "review" and names(verdict) == {"order"} for verdict in flagged) >= 90


def test_holds_speak_for_a_typist_whose_gaps_have_little_order() -> None:
    """Someone fast and even: only the holds show the hand."""
    chance = Random(8)
    _, holds = person(1, 300)
    without, with_holds = 0, 0
    for _ in range(30):
        events = drawn(300, lambda: chance.lognormvariate(4.6, 0.4))
        without += judge(events).verdict != "ok"
        with_holds += judge(events, holds).verdict != "ok"
    assert without >= 25
    assert with_holds <= 3


def test_equal_holds_are_review_and_holds_of_no_length_count_as_missing() -> None:
    events, _ = person(2, 200)
    verdict = judge(events, dict.fromkeys(range(200), 80))
    assert (verdict.verdict, names(verdict)) == ("review", {"hold_variation"})
    missing = judge(events, dict.fromkeys(range(200), 1))
    assert missing == judge(events)


@pytest.mark.parametrize("n", [150, 400])
def test_holds_drawn_one_by_one_do_not_speak_for_a_log_and_those_of_a_person_do(n: int) -> None:
    chance = Random(18)
    spoken = Counter[tuple[str, bool]]()
    for seed in range(20):
        events = drawn(n, lambda: chance.lognormvariate(4.9, 0.5))
        drawn_holds = {at: round(chance.gauss(95, 22)) for at in range(n)}
        for who, holds in (("program", drawn_holds), ("person", person(seed, n)[1])):
            verdict = judge(events, holds)
            if "hold_order" in verdict.features:  # else the gaps have some order by chance: holds are not asked
                spoken[who, verdict.features["order"] > 0.2] += 1
    assert spoken["program", True] == 0 < spoken["program", False]
    assert spoken["person", True] > 3 * spoken["person", False]


@pytest.mark.parametrize("input", ["keyboard", "touch"])
def test_even_holds_say_nothing_for_a_log_without_order(input: InputKind) -> None:  # noqa: A002  # the protocol's name
    """A program's holds are no order; nor is a touch typist asked how much holds differ."""
    chance = Random(15)
    events = drawn(300, lambda: chance.lognormvariate(4.9, 0.5))
    verdict = judge(events, dict.fromkeys(range(300), 80), input=input)
    assert "order" in names(verdict)
    assert ("hold_variation" in verdict.features) is (input == "keyboard")
    assert "hold_order" not in verdict.features


def test_a_few_holds_are_not_judged() -> None:
    events, _ = person(2, 200)
    assert judge(events, dict.fromkeys(range(10), 80)) == judge(events)


@pytest.mark.parametrize("speed", [0.1, 0.2])
def test_a_log_played_many_times_as_fast_is_flagged(speed: float) -> None:
    events, _ = person(3, 300, scale=speed)
    assert {"keys_per_s", "fastest_ten_ms"} <= names(judge(events))


def test_ten_keys_in_a_quarter_of_a_second_are_flagged() -> None:
    events, _ = person(4, 300)
    events[200:220:2] = [24] * 10
    assert names(judge(events)) == {"fastest_ten_ms"}


@pytest.mark.parametrize("input", THRESHOLDS)
@pytest.mark.parametrize(("gap_ms", "flagged"), [(19.9, True), (20.0, False)])
def test_over_50_keys_a_second_in_any_five_seconds_are_review_for_all(
    gap_ms: float,
    flagged: bool,
    input: InputKind,  # noqa: A002  # the protocol's name
) -> None:
    """251 keys within less than 5 s of claimed time, in the middle of a slow test."""
    events: list[float | str] = []
    for count, gap, key in ((20, 500.0, "a"), (251, gap_ms, "x"), (20, 500.0, "b")):
        for _ in range(count):
            events += [gap, key]
    verdict = judge(events, input=input)
    assert ("peak_keys_per_s" in names(verdict)) is flagged
    if flagged:
        assert verdict.features["peak_keys_per_s"] > 50
        assert verdict.verdict != "ok"


def test_the_claimed_rate_counts_deletes_too() -> None:
    assert names(judge([15, "\b"] * 400)) == {"peak_keys_per_s"}


def test_a_key_held_down_is_no_evidence() -> None:
    """A keyboard repeats at equal gaps of 30 ms; so does a delete key."""
    events, holds = person(5, 150)
    for key in "a\b":
        held = events[:100] + [33, key] * 60 + events[100:]
        assert judge(held, holds).verdict == "ok"


def test_a_log_that_is_hardly_more_than_one_key_held_down_is_flagged() -> None:
    """Nobody typed it: leaving held keys out must not leave a hole."""
    assert judge([33, "a"] * 200).verdict != "ok"
    chance = Random(14)
    assert judge(drawn(300, lambda: chance.gauss(150, 30), "a" * 300)).verdict != "ok"


@pytest.mark.parametrize("step", [1000 / 60, 50.0, 100.0])
def test_a_coarse_clock_is_no_evidence(step: float) -> None:
    """Browsers that resist fingerprinting round times, to 100 ms at the worst."""
    for seed in range(20):
        events, holds = person(seed, 300)
        running = shown = 0
        for at in range(0, len(events), 2):
            running += int(events[at])
            coarse = int(running // step * step)
            events[at], shown = coarse - shown, coarse
        assert judge(events, {at: int(hold // step * step) for at, hold in holds.items()}).verdict == "ok"


def test_equal_gaps_on_a_coarse_clock_are_review() -> None:
    verdict = judge(drawn(300, lambda: 100.0))
    assert (verdict.verdict, names(verdict)) == ("review", {"gap_variation"})


@pytest.mark.parametrize(("drift", "threshold"), [(AHEAD, -250.0), (BEHIND, 700.0)])
def test_a_clock_that_ran_away_is_review_with_its_limit(drift: DriftReading, threshold: float) -> None:
    events, holds = person(6, 200)
    verdict = judge(events, holds, drift=drift)
    assert verdict.verdict == "review"
    assert [asdict(reason) for reason in verdict.reasons] == [
        {"name": "drift_ms", "value": drift.drift_ms, "threshold": threshold}
    ]
    assert verdict.features["lag_ms"] == 40.0


def test_void_takes_two_features_that_have_nothing_to_do_with_each_other() -> None:
    """Many features of one family are one reason to look; a second family makes it void."""
    chance = Random(9)
    events = drawn(90, lambda: chance.gauss(150, 3))
    verdict = judge(events)
    assert (verdict.verdict, len(verdict.reasons) > 1) == ("review", True)
    assert judge(events, drift=BEHIND).verdict == "void"


def test_what_is_strange_at_a_keyboard_is_ordinary_elsewhere() -> None:
    """A word that is swiped or suggested comes at once; a switch that scans keeps its own rhythm."""
    chance = Random(10)
    words = drawn(200, lambda: 0.0 if chance.random() < 0.8 else chance.lognormvariate(7.0, 0.6))
    assert judge(words).verdict != "ok"
    assert judge(words, input="ime").verdict == judge(words, input="assistive").verdict == "ok"
    scanned = drawn(200, lambda: 800.0)
    assert judge(scanned).verdict == "void"
    assert judge(scanned, input="assistive").verdict == "ok"
    assert judge(scanned, input="touch").verdict != "ok"


def test_long_logs_are_judged_in_slices_with_the_same_outcome() -> None:
    events, holds = person(11, 6000, TEXT * 10)
    steps = judging(events, holds)
    slices = 0
    while True:
        try:
            next(steps)
        except StopIteration as done:
            verdict: Verdict = done.value
            break
        slices += 1
    assert slices >= 12
    assert verdict == judge(events, holds)
    assert verdict.verdict == "ok"


def test_a_long_log_drawn_one_by_one_is_flagged_and_so_is_one_fast_moment_in_it() -> None:
    chance = Random(12)
    assert "order" in names(judge(drawn(3000, lambda: chance.lognormvariate(4.9, 0.5), TEXT * 5)))
    events, _ = person(13, 3000, TEXT * 5)
    assert judge(events).verdict == "ok"
    events[4000:4020:2] = [20] * 10
    assert names(judge(events)) == {"fastest_ten_ms"}


def test_what_is_dear_is_measured_only_where_it_can_be_a_reason() -> None:
    """A person's log has none of these; a program's has all."""
    dear = {"peak_keys_per_s", "same_gap_share", "fastest_ten_ms", "hold_variation", "hold_order"}
    events, holds = person(16, 300)
    assert not dear & judge(events, holds).features.keys()
    assert {"same_gap_share", "hold_variation"} <= judge(
        [20, "a", 20, "b"] * 150, dict.fromkeys(range(300), 9)
    ).features.keys()


@pytest.mark.parametrize(("limit", "measured"), [(50.0, False), (4.0, True)])
def test_the_claimed_rate_is_measured_where_the_caller_asks(limit: float, measured: bool) -> None:
    events, _ = person(17, 300)
    steps = judging_columns(events[::2], events[1::2], claimed_keys_per_s=limit)  # type: ignore[arg-type]  # dt and key
    assert ("peak_keys_per_s" in run(steps).features) is measured


EVENTS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 2000), st.integers(0, 2**32 - 2), st.floats(0, 1e6)),
        st.sampled_from("abc AB1\b\x17한"),
    ),
    max_size=130,
)


@given(EVENTS, st.dictionaries(st.integers(0, 129), st.integers(0, 3000)), st.sampled_from(sorted(THRESHOLDS)))
def test_any_log_gets_a_verdict_that_its_features_explain(
    pairs: list[tuple[float, str]],
    holds: dict[int, int],
    input: InputKind,  # noqa: A002  # the protocol's name
) -> None:
    verdict = judge([part for pair in pairs for part in pair], holds, input=input)
    assert all(isfinite(value) for value in verdict.features.values())
    assert (verdict.verdict == "ok") is (not verdict.reasons)
    for reason in verdict.reasons:
        assert verdict.features[reason.name] == reason.value
        threshold = next(t for t in THRESHOLDS[input] if t.feature == reason.name)
        if threshold.side == "below":
            assert reason.value < reason.threshold + 1e-4
        else:
            assert reason.value > reason.threshold - 1e-4


def sessions(reference_data: Path) -> dict[int, list[tuple[list[int | str], dict[int, int]]]]:
    people: dict[int, list[tuple[list[int | str], dict[int, int]]]] = {}
    with gzip.open(reference_data / "humans" / "typing.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            events: list[int | str] = []
            last = 0
            for at, key, _ in row["e"]:
                events += [at - last, key]
                last = at
            people.setdefault(row["p"], []).append((events, {n: hold for n, (_, _, hold) in enumerate(row["e"])}))
    return people


@pytest.mark.reference
def test_no_real_session_is_void_and_at_most_one_in_a_thousand_is_review(reference_data: Path) -> None:
    judged = Counter(
        judge(events, holds if with_holds else None).verdict
        for own in sessions(reference_data).values()
        for events, holds in own
        for with_holds in (True, False)
    )
    assert judged.total() > 5000
    assert judged["void"] == 0
    assert judged["review"] <= judged.total() / 1000


@pytest.mark.reference
def test_one_persons_sentences_joined_to_a_long_test_are_ok(reference_data: Path) -> None:
    """Thresholds are lower in short tests; here each person gives one long one."""
    judged: Counter[str] = Counter()
    for own in sessions(reference_data).values():
        events: list[int | str] = []
        holds: dict[int, int] = {}
        for more, held in own:
            holds.update({len(events) // 2 + 1 + at: hold for at, hold in held.items()})
            events += [250, " ", 300, more[1], *more[2:]]
        judged[judge(events, holds).verdict] += 1
    assert judged.total() > 200
    assert judged["ok"] == judged.total()
