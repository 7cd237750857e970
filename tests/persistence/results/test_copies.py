from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.results.copies import VERDICTS, Copy, settle


def copy(core: int, seen: int, verdict: str = "ok", note: bytes = b"") -> Copy:
    return Copy(bytes([core]) * 16, (seen, 0, 0), verdict, b"%d-%d-%s-%s" % (core, seen, verdict.encode(), note))


copies = st.builds(copy, st.integers(0, 5), st.integers(0, 3), st.sampled_from(VERDICTS), st.binary(max_size=1))


def test_one_copy_stands_as_it_is() -> None:
    only = copy(1, 10, "void")
    standing = settle([only], max_conflicts=3)
    assert (standing.row, standing.conflicts, standing.verdict) == (only, (), "void")


def test_of_one_core_the_better_attestation_stands() -> None:
    worse, better = copy(1, 10, "review"), copy(1, 20)
    for order in permutations([worse, better, worse]):
        standing = settle(order, max_conflicts=3)
        assert (standing.row, standing.conflicts, standing.verdict) == (better, (), "ok")


def test_of_equal_attestations_the_stricter_verdict_stands() -> None:
    assert settle([copy(1, 10, "void"), copy(1, 10, "ok")], max_conflicts=3).verdict == "void"


def test_of_several_cores_the_one_seen_live_longer_is_the_row_and_the_verdict_at_least_review() -> None:
    short, long = copy(9, 10), copy(1, 20)
    for order in permutations([short, long]):
        standing = settle(order, max_conflicts=3)
        assert (standing.row, standing.conflicts, standing.verdict) == (long, (short,), "review")


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_conflict_never_softens_a_verdict(verdict: str) -> None:
    standing = settle([copy(1, 20, verdict), copy(2, 10)], max_conflicts=3)
    assert VERDICTS.index(standing.verdict) == max(VERDICTS.index(verdict), VERDICTS.index("review"))


@given(st.lists(copies, min_size=1, max_size=12), st.integers(1, 4), st.data())
def test_the_outcome_depends_on_the_set_of_copies_alone(
    given_copies: list[Copy], kept: int, data: st.DataObject
) -> None:
    """In any order, with repeats, and applied one by one to what was kept: the same standing."""
    once = settle(given_copies, max_conflicts=kept)
    stream = data.draw(st.permutations(given_copies + data.draw(st.lists(st.sampled_from(given_copies)))))
    standing = settle(stream[:1], max_conflicts=kept)
    for later in stream[1:]:
        standing = settle([standing.row, *standing.conflicts, later], max_conflicts=kept)
    assert standing == once
    assert len(standing.conflicts) <= kept
    assert (standing.verdict == "ok") <= (len({known.core_hash for known in given_copies}) == 1)
