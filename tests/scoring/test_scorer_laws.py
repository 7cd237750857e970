"""The laws of the incremental scorer: it is the naive batch, after every prefix, in any batches."""

import gc
import math
from dataclasses import asdict, astuple
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.scorer import Scorer
from tests.scoring.batch import Test
from tests.scoring.logs import Case, cases


def summary_of(scorer: Scorer, **how: Any) -> dict[str, Any]:
    """A summary in the reference's shape."""
    summary = asdict(scorer.summary(**how))
    return summary | {"chars": tuple(summary["chars"].values()), "inserts": tuple(summary["inserts"].values())}


def near(ours: Any, theirs: Any) -> bool:
    """Equal to the digit, but for the one figure that both make of sums of squares in floating point."""
    key = "key_consistency"
    return {**ours, key: 0} == {**theirs, key: 0} and math.isclose(ours[key], theirs[key], abs_tol=0.0100001)


@given(cases())
@settings(max_examples=400, deadline=None)
def test_after_every_prefix_the_figures_are_those_of_the_whole_log_scored_anew(case: Case) -> None:
    reference = Test(case.words, **case.options)
    states = reference.play(case.events)
    scorer = Scorer(case.words, **case.options)
    for n in range(1, len(case.events) // 2 + 1):
        scorer.feed(case.events[: 2 * n], 2 * n - 2)
        assert scorer.n == n
        assert scorer.elapsed_ms == sum(case.events[0 if case.options["from_start"] else 2 : 2 * n : 2])
        assert scorer.ended == states[n].over
        assert scorer.figures() == reference.figures(states[n])
        assert list(scorer.active_input) == states[n].inputs[-1]
        if scorer.ended:
            break


@given(cases(), st.booleans(), st.sampled_from([None, 0, 400, 6999, 7000, 12345]))
@settings(max_examples=400, deadline=None)
def test_the_summary_is_that_of_the_whole_log_scored_anew(case: Case, gave_up: bool, later_ms: int | None) -> None:
    reference = Test(case.words, **case.options)
    states = reference.play(case.events)
    scorer = Scorer(case.words, **case.options)
    scorer.feed(case.events)
    how: dict[str, Any] = {"gave_up": gave_up}
    if later_ms is not None and (gave_up or "limit_ms" not in case.options):
        how["stop_ms"] = states[-1].at + later_ms
    assert near(summary_of(scorer, **how), reference.result(states, **how))


@given(cases(), st.data())
@settings(max_examples=200, deadline=None)
def test_batches_do_not_matter(case: Case, data: st.DataObject) -> None:
    whole = Scorer(case.words, **case.options)
    whole.feed(case.events)
    parts = Scorer(case.words, **case.options)
    at = 0
    while at < len(case.events):
        size = 2 * data.draw(st.integers(0, 12))
        parts.feed(case.events[at : at + size])
        at += size
    for name in ("n", "elapsed_ms", "ended", "scored", "inserts", "wrong", "pos", "due", "active_input"):
        assert getattr(parts, name) == getattr(whole, name), name
    assert parts.figures() == whole.figures()
    assert parts.summary(gave_up=True) == whole.summary(gave_up=True)
    assert parts.summary() == whole.summary()


@given(cases(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_figure_is_ever_negative_or_no_number(case: Case, gave_up: bool) -> None:
    scorer = Scorer(case.words, **case.options)
    scorer.feed(case.events)
    summary = scorer.summary(gave_up=gave_up)
    flat = [*scorer.figures(), *astuple(summary.chars), *astuple(summary.inserts)]
    flat += [summary.wpm, summary.raw, summary.consistency, summary.key_consistency, summary.wpm_consistency]
    flat += [summary.acc, summary.afk_ms, summary.duration_ms, summary.seconds, summary.total_chars]
    for column in astuple(summary.series):
        flat += column
    assert all(math.isfinite(figure) and figure >= 0 for figure in flat)
    for rate in (summary.acc, summary.consistency, summary.key_consistency, summary.wpm_consistency):
        assert rate <= 100
    assert len({len(column) for column in astuple(summary.series)}) == 1


@given(cases())
@settings(max_examples=50, deadline=None)
def test_a_scorer_is_no_part_of_a_reference_cycle(case: Case) -> None:
    gc.collect()
    gc.disable()
    try:
        scorer = Scorer(case.words, **case.options)
        scorer.feed(case.events)
        scorer.summary()
        del scorer
        assert gc.collect() == 0
    finally:
        gc.enable()
