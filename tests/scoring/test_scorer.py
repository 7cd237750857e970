"""The scorer's rules, one example each; the laws over all of them are in `test_scorer_laws`."""

import sys
from typing import Any

import pytest

from scoring.scorer import EXTRA_CLUSTERS, LONGEST_MS, Scorer
from scoring.summary import CharCounts, InsertCounts
from scoring.text import CLUSTER_BYTES, prepare

WORDS = ("ab ", "cde ", "f")


def scored(keys: str, words: Any = WORDS, gap_ms: float = 100, **options: Any) -> Scorer:
    """A scorer that these keys were typed into, one every `gap_ms`."""
    scorer = Scorer(words, **options)
    scorer.feed([part for key in keys for part in (gap_ms, key)])
    return scorer


@pytest.mark.parametrize(
    ("keys", "pos", "chars", "inserts"),
    [
        pytest.param("ab", (0, 2), (2, 0, 0, 0), (2, 0), id="right-so-far"),
        pytest.param("ab ", (1, 0), (3, 0, 0, 0), (3, 0), id="a-space-ends-a-word"),
        pytest.param("a c", (1, 1), (1, 1, 0, 1), (2, 1), id="an-early-space"),
        pytest.param("axb c", (1, 1), (1, 2, 1, 0), (2, 3), id="a-late-space"),
        pytest.param("ax", (0, 2), (0, 1, 0, 0), (1, 1), id="a-wrong-character"),
        pytest.param("ax\bb", (0, 2), (2, 0, 0, 0), (2, 1), id="mended-but-the-insert-stays-wrong"),
        pytest.param(" ab", (0, 2), (2, 0, 0, 0), (2, 0), id="a-space-on-nothing-is-ignored"),
        pytest.param("ab  c", (1, 1), (4, 0, 0, 0), (4, 0), id="a-second-space-is-ignored"),
        pytest.param("ab \b", (1, 0), (3, 0, 0, 0), (3, 0), id="no-way-back-into-a-right-word"),
        pytest.param("ax \b", (0, 2), (0, 1, 0, 0), (2, 1), id="back-into-a-wrong-word"),
        pytest.param("ax \b\bb ", (1, 0), (3, 0, 0, 0), (4, 1), id="back-and-mended"),
        pytest.param("ax cx \b\b\b\b\b", (0, 1), (1, 0, 0, 0), (3, 3), id="back-over-two-wrong-words"),
        pytest.param("abx\x17a", (0, 1), (1, 0, 0, 0), (3, 1), id="delete-word"),
        pytest.param("ax \x17", (0, 0), (0, 0, 0, 0), (2, 1), id="delete-word-in-the-word-before"),
        pytest.param("\b\x17a", (0, 1), (1, 0, 0, 0), (1, 0), id="deletes-of-nothing"),
        pytest.param("a\u00a0c", (1, 1), (1, 1, 0, 1), (2, 1), id="any-white-space-is-a-space"),
        pytest.param("ab\u3000c", (1, 1), (4, 0, 0, 0), (4, 0), id="also-where-one-is-due"),
        pytest.param("ab\nc", (1, 1), (4, 0, 0, 0), (4, 0), id="a-line-feed-too"),
        pytest.param("ax cde \b", (2, 0), (4, 1, 1, 0), (6, 1), id="no-way-over-a-right-word-into-a-wrong-one"),
    ],
)
def test_keys(keys: str, pos: tuple[int, int], chars: tuple[int, ...], inserts: tuple[int, int]) -> None:
    scorer = scored(keys)
    assert scorer.pos == pos
    summary = scorer.summary(gave_up=True)
    assert summary.chars == CharCounts(*chars)
    assert summary.inserts == InsertCounts(*inserts)


@pytest.mark.parametrize(
    ("keys", "ended", "chars", "wrong"),
    [
        ("ab cde f", True, (8, 0, 0, 0), 0),
        ("ab cde x", False, (7, 1, 0, 0), 1),
        ("ab cde x ", True, (7, 1, 0, 0), 2),
        ("ab cde xy", False, (7, 1, 1, 0), 2),
        ("ab cde x\bf", True, (8, 0, 0, 0), 1),
    ],
)
def test_the_last_word_ends_the_test_when_right_or_by_a_space(
    keys: str, ended: bool, chars: tuple[int, ...], wrong: int
) -> None:
    scorer = scored(keys)
    assert scorer.ended is ended
    assert scorer.summary().chars == CharCounts(*chars)
    assert scorer.wrong == wrong
    if ended:
        assert scorer.summary().duration_ms == 100 * len(keys) - 100


def test_nothing_is_scored_after_the_end_but_the_log_goes_on() -> None:
    scorer = scored("ab cde f")
    before = scorer.figures()
    scorer.feed([50, "x", 50, "\b"])
    assert (scorer.n, scorer.scored, scorer.elapsed_ms) == (10, 8, 800)
    assert scorer.figures() == before
    assert (scored("ab cde fxx").n, scored("ab cde fxx").scored) == (10, 8)


def test_an_event_at_the_limit_is_not_scored() -> None:
    scorer = Scorer(("ab ",), limit_ms=1000, cyclic=True)
    scorer.feed([0, "a", 999, "b"])
    assert not scorer.ended
    scorer.feed([1, " ", 5, "a"])
    assert (scorer.ended, scorer.n, scorer.scored, scorer.elapsed_ms, scorer.inserts) == (True, 4, 2, 1005, 2)
    assert scorer.summary().duration_ms == 1000
    assert scorer.figures()[:2] == (24, 24)


@pytest.mark.parametrize("limit_ms", [500, 1000, 2500])
def test_a_limit_need_not_be_whole_seconds(limit_ms: float) -> None:
    scorer = Scorer(("abc ",), limit_ms=limit_ms, cyclic=True)
    scorer.feed([0, "a", limit_ms - 1, "b", 1, "c"])
    assert (scorer.ended, scorer.scored) == (True, 2)


def test_no_test_outlasts_the_longest() -> None:
    scorer = Scorer(("ab",))
    scorer.feed([0, "a", LONGEST_MS * 1000, "b"])
    assert (scorer.ended, scorer.scored) == (True, 1)
    assert scorer.summary(gave_up=True).duration_ms == LONGEST_MS
    assert len(scorer.summary(gave_up=True).series.wpm) == LONGEST_MS // 1000


def test_the_first_event_is_time_zero() -> None:
    scorer = Scorer(("abc",))
    scorer.feed([123_456, "a", 250, "b"])
    assert scorer.elapsed_ms == 250


def test_twenty_characters_beyond_the_target_are_taken_and_more_ignored() -> None:
    scorer = scored("ab" + "x" * 40)
    assert scorer.pos == (0, 3 + EXTRA_CLUSTERS)
    assert scorer.inserts == 3 + EXTRA_CLUSTERS
    assert scorer.summary(gave_up=True).chars.extra == 1 + EXTRA_CLUSTERS
    scorer.feed([100, " "])
    assert scorer.pos == (1, 0)


def test_ignored_keys_are_presses_all_the_same() -> None:
    """They keep a second from being afk, and their times count for the evenness of keys."""
    quiet, ignored = Scorer(("abc ",), limit_ms=3000), Scorer(("abc ",), limit_ms=3000)
    quiet.feed([0, "a", 2500, "b"])
    ignored.feed([0, " ", 500, "a", 1000, "\u0301", 1000, "b"])
    assert quiet.summary().afk_ms == 1000
    assert ignored.summary().afk_ms == 0
    beyond = scored("ab" + "x" * 40, gap_ms=1000, limit_ms=41_001)
    assert beyond.summary().afk_ms == 0
    assert beyond.summary().key_consistency == 100


def test_a_delete_that_does_something_is_no_idleness() -> None:
    busy, idle = Scorer(("ab ",), limit_ms=2000), Scorer(("ab ",), limit_ms=2000)
    busy.feed([0, "a", 1500, "\b"])
    idle.feed([0, "a", 100, "\b", 1400, "\b"])
    assert (busy.summary().afk_ms, idle.summary().afk_ms) == (0, 1000)


def test_a_timed_text_begins_again() -> None:
    scorer = scored("ab c ab c a", ("ab ", "c "), limit_ms=60_000, cyclic=True)
    assert scorer.pos == (4, 1)
    assert scorer.summary().chars == CharCounts(11, 0, 0, 0)


def test_zen_takes_all_as_right_and_a_delete_stays_in_the_word() -> None:
    scorer = scored("ab  cd\b\b\b\bx", (), zen=True)
    assert scorer.pos == (1, 1)
    assert scorer.due is None
    assert scorer.summary().chars == CharCounts(4, 0, 0, 0)
    assert scorer.summary().inserts == InsertCounts(6, 0)
    assert scored("cafe\u0301 e\u0301", (), zen=True).pos == (1, 1)


class TestClusters:
    def test_marks_go_on_with_the_cluster_and_its_beginning_is_no_character_yet(self) -> None:
        words = prepare("क्षत्रिय न", timed=False).words
        scorer = Scorer(words)
        seen = []
        for key in "क्षत्र":
            scorer.feed([100, key])
            seen.append((scorer.pos[1], scorer.summary(gave_up=True).total_chars, scorer.wrong))
        assert seen == [(1, 0, 0), (1, 0, 0), (1, 1, 0), (2, 1, 0), (2, 1, 0), (2, 1, 0)]

    def test_a_beginning_that_is_left_is_a_wrong_character(self) -> None:
        words = prepare("क्षण न", timed=False).words
        assert scored("कण ", words).summary(gave_up=True).chars == CharCounts(0, 1, 1, 0)
        assert scored("कण ", words).wrong == 0

    def test_a_beginning_closed_by_the_last_space_is_a_wrong_character(self) -> None:
        scorer = scored("क ", (("क्ष",),))
        assert scorer.ended
        assert scorer.summary().chars == CharCounts(0, 1, 0, 0)

    def test_a_mark_too_many_makes_a_right_cluster_wrong(self) -> None:
        scorer = scored("ae\u0301", ("aef",))
        assert (scorer.wrong, scorer.active_input) == (1, ("a", "é"))
        scorer.feed([100, "\b", 100, "e"])
        assert (scorer.due, scorer.pos, scorer.ended) == ("f", (0, 2), False)

    def test_typed_keys_are_composed(self) -> None:
        scorer = Scorer(("éa",))
        scorer.feed([0, "e\u0301", 100, "a"])
        assert (scorer.ended, scorer.wrong) == (True, 0)
        other = scored("e\u0301a", ("éa",))
        assert (other.ended, other.wrong) == (True, 1)  # the plain e is another key than the é

    def test_jamo_make_one_syllable(self) -> None:
        scorer = scored("ᄒ\u1161ᆫ", ("한글",))
        assert scorer.active_input == ("한",)
        assert scorer.due == "글"

    def test_a_grapheme_bomb_costs_bounded_memory(self) -> None:
        scorer = scored("e" + "\u0301" * 5000, ("abc ",) * 2)
        assert sum(len(cluster.encode()) for cluster in scorer.active_input) <= 64
        assert scorer.pos == (0, 1)
        scorer.feed([100, "\x17", 100, "a"])
        assert scorer.due == "b"

    def test_a_cluster_of_sixty_four_bytes_is_none_too_many(self) -> None:
        scorer = scored("द" + "\u0301" * 30, ("abc ",))
        assert len(scorer.active_input[0].encode()) == 63
        assert scorer.inserts == 31
        whole = "\U0001f469" + "\u0301" * 30
        assert len(whole.encode()) == CLUSTER_BYTES
        assert scored(whole, ((whole, "b"),)).due == "b"

    def test_a_word_without_closing_space_ends_when_the_next_is_typed(self) -> None:
        words = prepare("東京で", timed=False).words
        scorer = scored("東", words)
        assert (scorer.pos, scorer.due) == ((0, 1), "京")
        scorer.feed([100, "\b"])
        assert scorer.pos == (0, 0)
        scorer.feed([100, "東", 100, "京"])
        assert scorer.pos == (1, 1)
        scorer.feed([100, "\b", 100, "\b", 100, "x", 100, "で"])
        assert scorer.ended
        assert scorer.summary().chars == CharCounts(2, 1, 0, 0)

    def test_back_into_a_wrong_word_without_closing_space_takes_its_last_cluster(self) -> None:
        scorer = scored("x京\b\b", prepare("東京で", timed=False).words)
        assert scorer.pos == (0, 0)
        assert scorer.due == "東"

    def test_a_space_in_a_text_without_any_is_a_wrong_insert_that_ends_the_word(self) -> None:
        scorer = scored("東 京", prepare("東京で", timed=False).words)
        assert (scorer.pos, scorer.wrong) == ((1, 1), 1)
        assert scorer.summary(gave_up=True).chars == CharCounts(1, 0, 1, 0)

    def test_a_text_without_spaces_repeats_after_one(self) -> None:
        words = prepare("東京", timed=True).words
        assert scored("東京 東", words, limit_ms=9000, cyclic=True).pos == (2, 1)
        assert scored("東京 東", words[:1], limit_ms=9000, cyclic=True).due == "東"


class TestDuration:
    def test_seconds_are_rounded_but_for_the_exact(self) -> None:
        rounded, exact = scored("ab cde f", gap_ms=123.4), scored("ab cde f", gap_ms=123.4, exact_duration=True)
        assert rounded.summary().seconds == 0.86
        assert exact.summary().seconds == pytest.approx(0.8638)
        assert exact.summary().wpm == 111.14
        assert rounded.summary().wpm == 111.63

    @pytest.mark.parametrize(("later_ms", "stop_ms"), [(6999, 1000), (7000, 8000)])
    def test_a_short_idle_end_is_no_part_of_zen_or_of_a_test_given_up(self, later_ms: float, stop_ms: float) -> None:
        zen, given_up = Scorer((), zen=True), Scorer(("abc ",), limit_ms=60_000)
        for scorer in (zen, given_up):
            scorer.feed([0, "a", 1000, "b"])
        assert zen.summary(1000 + later_ms).duration_ms == stop_ms
        assert given_up.summary(1000 + later_ms, gave_up=True).duration_ms == stop_ms
        assert given_up.summary().duration_ms == 60_000

    def test_deletes_after_the_last_press_are_idle_too(self) -> None:
        zen = Scorer((), zen=True)
        zen.feed([0, "a", 1000, "b", 500, "c", 2000, "\b", 100, "\b"])
        summary = zen.summary()
        assert summary.duration_ms == 1500
        assert summary.series.raw == [24, 24]
        assert summary.chars.correct == 1

    def test_a_stop_before_the_last_event_is_refused(self) -> None:
        with pytest.raises(ValueError, match="cannot stop at 100 ms, before its last event at 200 ms"):
            scored("abc").summary(100)

    def test_nothing_typed(self) -> None:
        summary = Scorer(("ab",), limit_ms=15_000).summary()
        assert (summary.wpm, summary.raw, summary.acc, summary.consistency, summary.afk_ms) == (0, 0, 0, 0, 15_000)
        assert Scorer(("ab",)).figures() == (0, 0, 100, 0, 0, 0)
        assert Scorer((), zen=True).summary().duration_ms == 0


class TestSeries:
    def test_an_event_at_a_bound_is_in_the_second_that_ends_there(self) -> None:
        scorer = Scorer(("abcd ",), limit_ms=3000)
        scorer.feed([0, "a", 1000, "b", 1, "x"])
        series = scorer.summary().series
        assert series.burst == [24, 12, 0]
        assert series.err == [0, 1, 0]
        assert series.wpm == [24, 0, 0]
        assert series.raw == [24, 18, 12]

    @pytest.mark.parametrize(("last_ms", "entries"), [(400, 1), (490, 1), (495, 2), (500, 2), (999, 1)])
    def test_a_rest_of_half_a_second_counts_rounded_to_two_digits(self, last_ms: float, entries: int) -> None:
        scorer = Scorer(("abc",))
        scorer.feed([0, "a", 1000, "b", last_ms, "c"])
        assert len(scorer.summary().series.burst) == entries

    def test_the_evenness_of_keys_leaves_the_last_gap_out(self) -> None:
        scorer = Scorer(("abcdefg ",), limit_ms=60_000)
        scorer.feed([0, "a", 100, "b", 50, "\b", 50, "b", 100, "c", 9000, "d"])
        assert scorer.summary().key_consistency == 100
        scorer.feed([100, "e"])
        assert scorer.summary().key_consistency < 10
        assert scored("ab").summary(gave_up=True).key_consistency == 0
        uneven = Scorer(("abcdefg ",), limit_ms=60_000)
        uneven.feed([0, "a", 100, "b", 300, "c", 5000, "d"])
        assert uneven.summary().key_consistency == 50.1  # of 100 and 300: variation 1/2
        assert scored("abc", gap_ms=0).summary(gave_up=True).key_consistency == 0


@pytest.mark.parametrize(
    ("words", "options", "reason"),
    [
        ((), {}, "needs some"),
        (("a",), {"zen": True}, "zen has no words"),
        (("a",), {"limit_ms": 0}, "above 0"),
        (("a",), {"longest_ms": -1}, "above 0"),
    ],
)
def test_tests_that_cannot_be(words: tuple[str, ...], options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Scorer(words, **options)


def test_a_live_scorer_is_small() -> None:
    """Under 3 KB for a minute of typing with errors, all that it alone holds included."""
    scorer = scored("teh \x17the people x\bof " * 29, ("the ", "people ", "of ") * 200, limit_ms=120_000)
    assert 60_000 < scorer.elapsed_ms < 65_000
    own = [getattr(scorer, name) for name in Scorer.__slots__ if name not in ("_words", "_target")]
    assert sys.getsizeof(scorer) + sum(map(sys.getsizeof, own)) < 3000


def test_a_race_s_time_begins_before_its_first_event() -> None:
    """The first event's dt belongs to the test: to its speeds, to its seconds without a key, and to its limit."""
    events = [2500, "a", 500, "b"]
    race, solo = Scorer(("ab",), from_start=True), Scorer(("ab",))
    race.feed(events)
    solo.feed(events)
    assert (race.summary().duration_ms, solo.summary().duration_ms) == (3000, 500)
    assert race.summary().wpm == 8.0
    assert race.summary().series.burst == [0, 0, 24]
    assert race.summary().afk_ms == 2000
    assert race.summary().key_consistency == solo.summary().key_consistency
    late = Scorer(("ab ",), limit_ms=1000, cyclic=True, from_start=True)
    late.feed([1000, "a"])
    assert (late.ended, late.scored, late.inserts) == (True, 0, 0)
