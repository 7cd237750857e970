from hypothesis import given
from hypothesis import strategies as st

from persistence.boards.entries import best_of, entry_of, user_of
from persistence.results import Board, Period, PersonalBest, Span
from persistence.results.bests import Place
from session.identity import MAX_EPOCH_MS, MAX_USER, mint_session

BOARD, ALL = Board("time", 15, "en"), Period(Span.ALL, 0)

BESTS = st.builds(
    lambda user, hundredths, acc, ms, random: PersonalBest(
        Place(user, BOARD, ALL), mint_session(user, epoch_ms=ms, random_bits=random), hundredths / 100, acc / 100
    ),
    st.one_of(st.integers(1, 3), st.integers(1, MAX_USER)),
    st.one_of(st.integers(8_000, 8_003), st.integers(0, 9_999_999)),
    st.integers(0, 10_000),
    st.one_of(st.integers(1_790_000_000_000, 1_790_000_000_003), st.integers(0, MAX_EPOCH_MS)),
    st.one_of(st.integers(0, 2), st.integers(0, (1 << 62) - 1)),
)


@given(BESTS)
def test_an_entry_is_its_best_to_the_digit(best: PersonalBest) -> None:
    assert best_of(entry_of(best), BOARD, ALL) == best
    assert user_of(entry_of(best)[1]) == best.place.user


@given(BESTS, BESTS)
def test_entries_are_in_the_order_of_bests(first: PersonalBest, second: PersonalBest) -> None:
    """The smaller entry is the greater best."""
    if first.session != second.session:
        assert (entry_of(first) < entry_of(second)) == (first.order > second.order)


@given(BESTS)
def test_a_score_is_a_whole_number_that_a_double_holds_exactly(best: PersonalBest) -> None:
    """Redis writes it in 17 digits and reads it back."""
    score, _ = entry_of(best)
    assert int(float(repr(float(score)))) == score
    assert abs(score) < 2**53
