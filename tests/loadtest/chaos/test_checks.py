"""The verdict: whatever is lost, doubled, different or disputed is found."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import orjson
import pytest

from loadtest.chaos.checks import Stored, of_store
from loadtest.checking import figures_of
from loadtest.finished import Typists
from persistence.catalogue import EmbeddedCatalogue
from persistence.catalogue.texts import Texts
from session.identity import session_to_text
from session.options import SessionLimits
from session.result import Result

Told = dict[str, bytes | None]


@pytest.fixture(name="results")
async def _results() -> dict[str, Result]:
    async with EmbeddedCatalogue(None) as catalogue:
        typists = Typists(Texts(catalogue, limits=SessionLimits()), people=4)
        made = [replace(typists.finish(mode="words", count=3), verdict="ok", reasons=()) for _ in range(4)]
        return {session_to_text(result.session): result for result in made}


def told_of(results: Mapping[str, Result]) -> Told:
    return {session: orjson.dumps(figures_of(session, result.summary)) for session, result in results.items()}


def stored(results: Mapping[str, Result]) -> Stored:
    return Stored(Counter(results.keys()), dict(results), Counter(), [])


def broken(told: Told, found: Stored) -> list[str]:
    return [check.law for check in of_store(told, found) if not check.holds]


def test_all_holds_where_all_is_there_once(results: dict[str, Result]) -> None:
    assert broken(told_of(results), stored(results)) == []


def test_what_is_missing_is_found(results: dict[str, Result]) -> None:
    told = told_of(results)
    results.popitem()
    assert broken(told, stored(results)) == ["Every result that a typist saw stored is in MySQL"]


def test_what_is_there_twice_is_found(results: dict[str, Result]) -> None:
    found = stored(results)
    found.rows[next(iter(results))] += 1
    assert broken(told_of(results), found) == ["... exactly once"]


def test_another_figure_is_found(results: dict[str, Result]) -> None:
    """Be it one digit of one figure."""
    told = told_of(results)
    session, result = next(iter(results.items()))
    results[session] = replace(result, summary=replace(result.summary, wpm=result.summary.wpm + 0.01))
    assert broken(told, stored(results)) == ["... with the figures of the typist's own log"]


def test_what_nobody_was_told_of_is_found(results: dict[str, Result]) -> None:
    told = told_of(results)
    told.popitem()
    found = stored(results)
    assert broken(told, replace(found, results={session: results[session] for session in told})) == [
        "Nothing is there that nobody was told of"
    ]


def test_disputes_voids_and_dead_letters_are_found(results: dict[str, Result]) -> None:
    session, result = next(iter(results.items()))
    found = stored(results | {session: replace(result, verdict="void")})
    found = replace(found, conflicts=Counter([session]), letters=["fault: x"])
    assert broken(told_of(results), found) == [
        "No result is void",
        "No session has two results that disagree",
        "There are no dead letters",
    ]
