import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.importing.converting import Conversion, Converted, ImportRules
from persistence.importing.fields import ALIASES, Column, fields_of
from persistence.importing.values import Bad
from persistence.results import Board
from persistence.results.mysql.rows import bare, row_values
from session.identity import bucket_of, bucket_of_user
from session.result import Result
from tests.persistence.importing.oldsite import GOOD, ODD_RESULTS, Odd
from tests.persistence.importing.test_values import JSON

NOW_MS = 1_720_000_000_000
DATA = (Column("data", "document"),)


def conversion(rules: ImportRules | None = None) -> Conversion:
    return Conversion(rules or ImportRules(), now_ms=NOW_MS, version_of=lambda test: 3 if test < 100 else None)


def of(data: Mapping[str, object], rules: ImportRules | None = None, *, old_id: int = 17) -> Result:
    return converted(data, rules, old_id=old_id).result


def converted(data: Mapping[str, object], rules: ImportRules | None = None, *, old_id: int = 17) -> Converted:
    return conversion(rules).result(old_id, fields_of(DATA, [json.dumps(data).encode()]))


READ = [odd for odd in ODD_RESULTS if odd.what != "too large"]  # that is found out where it is read


@pytest.mark.parametrize("odd", READ, ids=[odd.what for odd in READ])
def test_an_odd_row_is_a_result_or_is_told_why_not(odd: Odd) -> None:
    data = odd.data.encode() if isinstance(odd.data, str) else odd.data

    def result() -> Result:
        return conversion().result(17, fields_of(DATA, [data])).result

    if odd.reason is None:
        assert row_values(result(), ranked=False)
    else:
        with pytest.raises(Bad) as why:
            result()
        assert odd.reason in str(why.value)


def test_the_columns_say_what_the_old_row_said() -> None:
    result = of(GOOD)
    summary = result.summary
    assert (summary.wpm, summary.raw, summary.acc, summary.inserts.wrong) == (71.5, 74.25, 96.4, 9)
    assert (result.user, result.mode, result.seconds, result.count, result.language) == (7, "time", 60, None, "en")
    assert (summary.duration_ms, result.created_at_ms) == (60_000, 1_709_528_767_089)
    assert summary.chars.correct == 358, "what 71.5 words a minute come to in a minute"
    quote = of(GOOD | {"type": "quote", "test_id": "12"})
    assert (quote.mode, quote.seconds, quote.test, quote.test_version) == ("quote", None, 12, 3)


def test_an_old_result_claims_nothing_that_nobody_saw() -> None:
    result = of(GOOD)
    assert (result.replay, result.seen_live, result.unseen_ms) == (b"", 0, 60_000)
    assert (result.node, result.scoring_version, result.tags) == ("import:old", "imported", ("imported",))
    assert (result.verdict, [why.name for why in result.reasons]) == ("review", ["imported"])


def test_an_id_is_the_rows_own_for_ever() -> None:
    first = of(GOOD)
    assert first.session.hex() == "018e07dada717bc4bfe3747ccc246e15"
    assert of(GOOD | {"wpm": 99}).session == first.session, "a row that has changed stays the same result"
    assert bucket_of(first.session) == bucket_of_user(7)
    others = [
        of(GOOD, old_id=18),
        of(GOOD, ImportRules(source="other")),
        of(GOOD | {"user_id": 8}),
        of(GOOD | {"created_at": "2024-03-04T05:06:07.090Z"}),
    ]
    assert len({first.session, *(other.session for other in others)}) == 5


@pytest.mark.parametrize(
    ("said", "verdict", "trusted"),
    [
        ({}, "review", "ok"),
        ({"status": "OK"}, "review", "ok"),
        ({"valid": 1, "flagged": False}, "review", "ok"),
        ({"status": "pending"}, "review", "review"),
        ({"status": 3}, "review", "review"),
        ({"flagged": "true"}, "review", "review"),
        ({"valid": False}, "void", "void"),
        ({"verdict": "cheated"}, "void", "void"),
    ],
)
def test_the_old_sites_word_counts_against_a_result_and_with_trust_for_it(
    said: dict[str, object], verdict: str, trusted: str
) -> None:
    assert of(GOOD | said).verdict == verdict
    assert of(GOOD | said, ImportRules(trust=True)).verdict == trusted


@pytest.mark.parametrize(
    ("changes", "board"),
    [
        ({}, Board("time", 60, "en")),
        ({"type": "words", "words": 50, "duration": 42}, Board("words", 50, "en")),
        ({"seconds": 15, "duration": 15.2, "language": "german"}, Board("time", 15, "de")),
        ({"seconds": 30, "duration": 30}, None),
        ({"type": "quote", "test_id": 3}, None),
        ({"seconds": 15}, None),  # it took a minute
        ({"type": "words", "words": 50, "duration": 15}, None),  # in which nobody types fifty words so slowly
        ({"wpm": 301, "raw_wpm": 301}, None),
        ({"raw_wpm": 70}, None),  # less than what of it was right
        ({"wpm": 0}, None),
        ({"flagged": True}, None),
    ],
)
def test_a_trusted_result_has_a_board_where_it_goes_together(changes: dict[str, object], board: Board | None) -> None:
    assert converted(GOOD | changes, ImportRules(trust=True)).board == board
    assert converted(GOOD | changes).board is None


def test_units_are_as_the_rules_say() -> None:
    rules = ImportRules(accuracy="fraction", duration="ms", zone="America/New_York", language="de")
    data = GOOD | {"accuracy": 0.964, "duration": 60_000, "created_at": "2024-03-04 00:06:07.089", "language": None}
    result = of(data, rules)
    assert (result.summary.acc, result.summary.duration_ms) == (96.4, 60_000)
    assert (result.created_at_ms, result.language) == (1_709_528_767_089, "de")
    assert of(data | {"duration_ms": 59_000}, rules).summary.duration_ms == 59_000
    with pytest.raises(Bad, match=r"accuracy is 96\.4; allowed: a number from 0 to 1$"):
        of(data | {"accuracy": 96.4}, rules)


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ({"source": "Old Site"}, "the name is 'Old Site'; allowed are 1 to 40 of a-z 0-9 - _"),
        ({"language": "english"}, "the language is 'english'; allowed is a BCP 47 language tag"),
        ({"accuracy": "permille"}, "accuracy is 'permille'; allowed are percent and fraction"),
        ({"zone": "Mars/Olympus"}, "the time zone is 'Mars/Olympus'; allowed is a name such as UTC"),
        ({"zone": "../../etc/passwd"}, "the time zone is"),
    ],
)
def test_rules_that_cannot_be_are_refused(rules: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ImportRules(**rules)  # type: ignore[arg-type]  # by name


def test_columns_stand_over_json_and_what_lies_near_over_what_lies_deep() -> None:
    columns = (Column("user_id", "number"), Column("created_at", "utc"), Column("lang", "line"), *DATA)
    data = {"user_id": 9, "wpm": 70, "stats": {"wpm": 60, "acc": 95, "details": {"acc": 1, "errors": 3}}}
    assert fields_of(columns, [7, "2024-03-04 05:06:07", b"german", json.dumps(data).encode()]) == {
        "user": 7,
        "created": "2024-03-04 05:06:07Z",
        "language": "german",
        "wpm": 70,
        "acc": 95,
        "errors": 3,
    }


def test_a_text_that_looks_like_json_is_a_text() -> None:
    column = (Column("content", "document"),)
    for text in ('"To be', "[sic] it is", "{braces}", " plain "):
        assert fields_of(column, [text.encode()]) == {"text": text.strip()}
    assert fields_of(column, [b'"a JSON text"']) == {"text": "a JSON text"}
    assert fields_of(column, [b'{"text": "within"}']) == {"text": "within"}


@given(data=st.dictionaries(st.sampled_from([name for names in ALIASES.values() for name in names]), JSON, max_size=9))
def test_whatever_the_json_says_it_is_a_row_that_can_be_stored_or_told_why_not(data: dict[str, object]) -> None:
    for rules in (ImportRules(), ImportRules(trust=True)):
        try:
            one = converted(GOOD | data, rules)
        except Bad as why:
            str(why).encode()
        else:
            assert row_values(one.result, ranked=one.board is not None)
            assert bare(one.result) == replace(one.result, text_hash=bytes(4))
            assert Result.unpack(one.result.pack()) == one.result
