"""The table of rates: the bots are what they say, the rates are what the table promises."""

import gzip
import json
from itertools import accumulate
from pathlib import Path
from random import Random
from statistics import fmean, pstdev

import pytest
from click.testing import CliRunner

from loadtest.bots import BOTS, PEOPLE, Log, main, play, rate, sped_up
from loadtest.crowd import Crowd
from loadtest.people import Recording, joined, read
from loadtest.typist import Typist
from persistence.catalogue.builtin import built_in_word_lists

COMMON = next(words.words for words in built_in_word_lists() if words.language == "en")
FRESH = 20_261_123
"""A seed that no threshold was set by."""


def gaps_of(bot: str, seed: int) -> list[int]:
    return [int(gap) for gap in play(bot, 400, seed).events[2::2]]


@pytest.mark.parametrize("bot", BOTS)
def test_a_bot_plays_the_same_test_by_the_same_seed(bot: str) -> None:
    assert play(bot, 200, 4) == play(bot, 200, 4)
    assert play(bot, 200, 4) != play(bot, 200, 8)
    for seed in range(8):
        log = play(bot, 200, seed)
        assert len(log.events) == 400
        assert min(int(gap) for gap in log.events[::2]) >= 0
        assert log.holds is None or sorted(log.holds) == list(range(200))


def test_the_constant_bot_is_constant_and_the_normal_one_normal() -> None:
    assert max(gaps_of("constant gaps", 1)) - min(gaps_of("constant gaps", 1)) <= 1
    gaps = gaps_of("normal law", 1)
    mean, sd = fmean(gaps), pstdev(gaps)
    assert sum(abs(gap - mean) < sd for gap in gaps) / len(gaps) == pytest.approx(0.68, abs=0.06)


def test_half_of_the_tests_have_errors_and_half_have_holds() -> None:
    logs = [play("normal law", 200, seed) for seed in range(40)]
    assert sum("\b" in log.events for log in logs) == pytest.approx(20, abs=2)
    assert sum(log.holds is None for log in logs) == 20


@pytest.mark.parametrize("bot", ["constant gaps", "constant, jittered", "pasted bursts", "normal law"])
def test_of_500_tests_of_200_keys_at_least_95_in_a_hundred_are_flagged(bot: str) -> None:
    rates = rate(play(bot, 200, FRESH + test) for test in range(500))
    assert rates.tests == 500
    assert rates.flagged >= 0.95


@pytest.mark.parametrize("bot", ["constant gaps", "constant, jittered", "pasted bursts", "normal law", "lognormal law"])
def test_longer_tests_tell_more(bot: str) -> None:
    assert rate(play(bot, 400, FRESH + test) for test in range(100)).flagged >= 0.97


def test_a_lognormal_law_is_told_as_often_as_the_documents_say() -> None:
    assert rate(play("lognormal law", 220, FRESH + test) for test in range(300)).flagged >= 0.9


@pytest.mark.parametrize("length", [100, 200, 400])
def test_the_loads_typists_are_judged_as_people_are(length: int) -> None:
    """They have people's habits: the load is not made of logs that are dear to judge, and `review` in the end."""
    crowd = Crowd(FRESH, 150)
    logs: list[Log] = []
    for number in range(150):
        chance = Random(number)
        words = [f"{word} " for word in chance.choices(COMMON, k=length)]
        typed = Typist(FRESH + number).type(words), crowd.person(number).type(words, chance=chance)
        logs += (Log(one.events(0, length), dict(enumerate(one.holds[:length]))) for one in typed)
    rates = rate(logs)
    assert rates.tests == 300
    assert rates.flagged <= 0.02


def test_rates_of_nothing_are_none() -> None:
    assert rate([]).flagged == 0.0


def recording(seed: int, sentence: str = "we went home") -> Recording:
    chance = Random(seed)
    gaps = [0, *(chance.randint(60, 300) for _ in sentence[1:])]
    return Recording(7, sentence, sentence, gaps, list(sentence), [80] * len(sentence))


def test_joined_sentences_have_a_space_between_and_this_persons_gaps() -> None:
    own = [recording(seed) for seed in range(5)]
    (test,) = joined(own, 40, Random(1))
    assert "".join(test.keys) == ("we went home " * 5)[:40]
    assert len(test.gaps) == len(test.holds) == 40
    assert test.gaps[0] == 0
    before_space = {one.gaps[at] for one in own for at in range(1, 12) if one.keys[at] == " "}
    before_word = {one.gaps[at] for one in own for at in range(1, 12) if one.keys[at - 1] == " "}
    assert test.gaps[12] in before_space
    assert test.gaps[13] in before_word


def test_several_tests_come_of_many_sentences_and_none_of_too_few() -> None:
    own = [recording(seed) for seed in range(10)]
    tests = joined(own, 30, Random(1))
    assert [len(test.keys) for test in tests] == [30, 30, 30, 30]
    assert all("".join(test.keys) in "we went home " * 5 for test in tests)
    assert joined(own[:1], 30, Random(1)) == []
    assert joined([recording(1, "word"), recording(2, "word")], 6, Random(1)) == []


def test_a_test_played_faster_takes_so_many_times_less() -> None:
    one = recording(3)
    log = sped_up(one, 2.5)
    times = list(accumulate(int(gap) for gap in log.events[::2]))
    slow = list(accumulate(one.gaps))
    assert times == [pytest.approx(time / 2.5, abs=0.5) for time in slow]
    assert log.holds == dict.fromkeys(range(len(slow)), 32)
    assert sped_up(one, 1.0).events == one.events()
    assert sped_up(one, 1.0, with_holds=False).holds is None


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """A folder like the reference data's, with two people."""
    (tmp_path / "humans").mkdir()
    with gzip.open(tmp_path / "humans" / "typing.jsonl.gz", "wt", encoding="utf-8") as lines:
        for person in (1, 2):
            for seed in range(6):
                one = recording(10 * person + seed)
                events = [list(event) for event in zip(accumulate(one.gaps), one.keys, one.holds, strict=True)]
                lines.write(json.dumps({"p": person, "text": one.text, "typed": one.typed, "e": events}) + "\n")
    return tmp_path


def test_recordings_are_read_as_they_were_written(reference: Path) -> None:
    people = read(reference / "humans" / "typing.jsonl.gz")
    assert list(people) == [1, 2]
    first = recording(10)
    assert people[1][0].events() == first.events()
    assert list(people[1][0].holds) == list(first.holds)


def test_the_command_prints_a_row_a_bot_and_the_people(reference: Path) -> None:
    done = CliRunner().invoke(
        main,
        ["--seed", "1", "--tests", "4", "--lengths", "40,20", "--reference", str(reference)],
        env={"COLUMNS": "120"},
    )
    assert done.exit_code == 0, done.output
    for name in (*BOTS, "the load's typist", *PEOPLE):
        assert name in done.output
    assert done.output.index("20 keys") < done.output.index("40 keys")
    assert "People's 12 sessions as they are" in done.output


def test_without_reference_data_there_are_no_people() -> None:
    done = CliRunner().invoke(
        main, ["--seed", "1", "--tests", "2", "--lengths", "20"], env={"TYPEGATE_REFERENCE_DATA": ""}
    )
    assert done.exit_code == 0, done.output
    assert "people" not in done.output.lower()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--seed"),
        (["--seed", "1", "--lengths", "20,x"], "is not a list of numbers"),
        (["--seed", "1", "--lengths", "1"], "2 to 10,000 keys"),
        (["--seed", "1", "--tests", "0"], "--tests"),
        (["--seed", "1", "--reference", "/nowhere"], "there is no"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(main, arguments, env={"TYPEGATE_REFERENCE_DATA": ""})
    assert done.exit_code == 2
    assert message in done.output


@pytest.mark.reference
def test_real_people_are_not_flagged_at_any_length(reference_data: Path) -> None:
    """By a seed of joining that no threshold was set by; 1 in 300 long tests would be too many already."""
    people = read(reference_data / "humans" / "typing.jsonl.gz")
    for length in (50, 100, 200, 400):
        chance = Random(FRESH)
        rates = rate(sped_up(test, 1.0) for own in people.values() for test in joined(own, length, chance))
        assert rates.tests > 150
        assert rates.void == 0
        assert rates.review <= rates.tests / 300
