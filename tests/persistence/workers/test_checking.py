"""What is refused of a result that came by the stream, and how it is said."""

from collections.abc import AsyncIterator
from dataclasses import fields, replace
from math import inf, nan
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadtest.finished import Typists
from persistence.catalogue import EmbeddedCatalogue
from persistence.catalogue.texts import Texts
from persistence.workers.checking import Implausible, check
from scoring.plausibility import Reason
from scoring.summary import CharCounts, Series, Summary
from session.options import SessionLimits
from session.result import Result


@pytest.fixture(name="typists")
async def _typists() -> AsyncIterator[Typists]:
    async with EmbeddedCatalogue(None) as catalogue:
        yield Typists(Texts(catalogue, limits=SessionLimits()), mix="short")


@pytest.fixture(name="honest")
def _honest(typists: Typists) -> Result:
    return typists.finish(mode="words", count=5)


def test_what_nodes_send_is_let_through(typists: Typists) -> None:
    """In every mode, with every kind of text; and packed and unpacked as on its way."""
    for result in typists.results(40):
        check(result)
        check(Result.unpack(result.pack()))


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("session", b"short", "16 bytes, a UUIDv7"),
        ("session", bytes(16), "16 bytes, a UUIDv7"),
        ("session", "0190163d-8694-739b-aea5-966c26f8ad91", "16 bytes, a UUIDv7"),
        ("user", 0, "1 to 9007199254740991"),
        ("user", 2**63, "1 to 9007199254740991"),
        ("user", -(2**53), "1 to 9007199254740991"),
        ("user", True, "1 to 9007199254740991"),
        ("user", 7.0, "1 to 9007199254740991"),
        ("ticket_hash", b"", "16 bytes"),
        ("replay", b"", "1 to 65536 bytes"),
        ("replay", bytes(65_537), "1 to 65536 bytes"),
        ("mode", "race", "one of words, time, quote, text, zen"),
        ("mode", None, "one of words"),
        ("mode", ["words"], "one of words"),
        ("count", -1, "or nothing"),
        ("test", 2**63, "or nothing"),
        ("seed", -1, "18446744073709551615"),
        ("epoch", -1, "0 to 9007199254740991"),
        ("features", {"x": 2**64}, "finite numbers by name"),
        ("features", {"x": -(2**63) - 1}, "finite numbers by name"),
        ("reasons", (Reason("x", 2**64, 0.0),), "two finite numbers"),
        ("epoch", 2**53, "0 to 9007199254740991"),
        ("epoch", True, "0 to 9007199254740991"),
        ("seen_live", 2**40, "0 to 4294967295"),
        ("unseen_ms", 1.5, "0 to 4294967295"),
        ("slack_ms", "1", "0 to 4294967295"),
        ("lag_ms", nan, "a number"),
        ("drift_ms", -inf, "a number"),
        ("verdict", "excellent", "one of ok, review, void"),
        ("features", {"gap": nan}, "finite numbers by name"),
        ("features", {str(i): 1.0 for i in range(65)}, "at most 64"),
        ("features", [1.0], "finite numbers by name"),
        ("reasons", (Reason("x" * 65, 1.0, 1.0),), "reasons"),
        ("tags", ("x" * 33,), "texts of at most 32 bytes"),
        ("tags", (1,), "texts of at most 32 bytes"),
        ("language", "\ud800", "text of at most 71 bytes"),
        ("text", "x" * 65_537, "text of at most 65536 bytes"),
        ("gave_up", 1, "true or false"),
        ("node", "n" * 81, "text of at most 80 bytes"),
        ("race", "0123456789abi", "a race's id, or nothing"),
        ("race", 5, "a race's id, or nothing"),
    ],
)
def test_a_field_that_no_node_would_send(honest: Result, field: str, value: Any, allowed: str) -> None:
    """The sentence names it, shows it and says what is allowed."""
    with pytest.raises(Implausible, match=f"^the result's {field} is ") as refused:
        check(replace(honest, **{field: value}))
    assert allowed in str(refused.value)
    assert len(str(refused.value)) < 300


def test_the_epoch_of_a_test_that_was_taken_over(honest: Result) -> None:
    """It is a clock's, in ms."""
    check(replace(honest, epoch=1_795_717_084_452))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("wpm", nan),
        ("wpm", -1.0),
        ("raw", 1e9),
        ("acc", 100.5),
        ("consistency", "90"),
        ("duration_ms", inf),
        ("total_chars", -1),
        ("series", Series([1], [1], [1], [])),
        ("series", Series([1], [1], [1], ["0"])),  # type: ignore[list-item]  # what is tested
        ("series", Series([-1], [1], [1], [0])),
    ],
)
def test_a_figure_that_no_scorer_would_give(honest: Result, field: str, value: Any) -> None:
    with pytest.raises(Implausible, match=f"^the result's summary.{field} is "):
        check(replace(honest, summary=replace(honest.summary, **{field: value})))


def test_a_count_within_the_figures(honest: Result) -> None:
    summary = replace(honest.summary, chars=CharCounts(1, 2, -3, 4))
    with pytest.raises(Implausible, match=r"^the result's summary.chars.extra is -3; allowed is a whole number"):
        check(replace(honest, summary=summary))


def test_a_core_that_is_not_what_was_hashed(honest: Result) -> None:
    """Figures, owner or log changed on the way, each in its range."""
    for changes in (
        {"user": honest.user % 1000 + 1},
        {"summary": replace(honest.summary, wpm=99.0)},
        {"log_digest": bytes(16)},
        {"core_hash": bytes(16)},
    ):
        with pytest.raises(Implausible, match="does not have the hash"):
            check(replace(honest, **changes))  # fields by name: a wrong one fails the test


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=17),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(
    field=st.sampled_from([each.name for each in fields(Result) if each.name != "summary"]),
    figure=st.sampled_from([None, *(each.name for each in fields(Summary) if each.name not in ("chars", "inserts"))]),
    value=ANYTHING,
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_a_field_it_is_let_through_or_refused(
    honest: Result, field: str, figure: str | None, value: Any
) -> None:
    """No value raises anything else, and what is let through can be packed."""
    if figure is None:
        changed = replace(honest, **{field: value})
    else:
        changed = replace(honest, summary=replace(honest.summary, **{figure: value}))
    try:
        check(changed)
    except Implausible:
        return
    assert Result.unpack(changed.pack()).core_hash == honest.core_hash
