"""Which results are played again, and what comes of those that do not come to their figures."""

import asyncio
from collections.abc import AsyncIterator, Generator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from loadtest.finished import Typists
from persistence.catalogue import CatalogueError, EmbeddedCatalogue
from persistence.catalogue.entries import NewTest
from persistence.catalogue.texts import Texts
from persistence.errors import StoreError
from persistence.rescoring import Rescored, rescoring
from persistence.workers.rescore import RescoreOptions, Rescorer
from scoring.plausibility import Reason
from session.identity import mint_session
from session.options import SessionLimits
from session.result import Result
from tests.persistence.samples import sample
from tests.persistence.workers.rig import Counting

EPOCH_MS = 1_790_000_000_000


@pytest.fixture(name="catalogue")
async def _catalogue(tmp_path: Path) -> AsyncIterator[EmbeddedCatalogue]:
    async with EmbeddedCatalogue(tmp_path / "catalogue.db") as catalogue:
        yield catalogue


def rescorer(catalogue: EmbeddedCatalogue, **options: Any) -> tuple[Rescorer, Counting]:
    meter = Counting()
    texts = Texts(catalogue, limits=SessionLimits())
    return Rescorer(texts, RescoreOptions(**options), refresh=catalogue.refresh, meter=meter), meter


async def checked(checker: Rescorer, result: Result) -> Result:
    """A result by itself, played again."""
    (found,) = await checker.check([result])
    return found


def typists(catalogue: EmbeddedCatalogue, mix: str = "short") -> Typists:
    return Typists(Texts(catalogue, limits=SessionLimits()), mix=mix)


async def of_another_catalogue(folder: Path) -> tuple[NewTest, Result]:
    """A test that this catalogue does not have yet, and a result of it that there is no reason to doubt."""
    passage = NewTest("New", "one two three", "zoo", "easy", "en", words=3, id=4242)
    async with EmbeddedCatalogue(folder / "other.db") as other:
        await other.add([passage], created_at_ms=EPOCH_MS)
        result = typists(other).finish(mode="quote", test=4242)
    return passage, replace(result, verdict="ok", reasons=())


def faultless(i: int) -> Result:
    """A result that there is no reason to doubt."""
    chance = Random(i)
    return replace(sample(i), session=mint_session(7, epoch_ms=EPOCH_MS, random_bits=chance.getrandbits(62)))


async def test_one_in_a_hundred_is_played_again_by_its_id(catalogue: EmbeddedCatalogue) -> None:
    """The same ones whoever asks, so that each delivery comes to the same."""
    first, _ = rescorer(catalogue)
    second, _ = rescorer(catalogue)
    results = [faultless(i) for i in range(20_000)]
    chosen = [first.chooses(result) for result in results]
    assert chosen == [second.chooses(result) for result in results]
    assert 140 < sum(chosen) < 260
    halves, _ = rescorer(catalogue, one_in=2)
    assert 9_700 < sum(halves.chooses(result) for result in results) < 10_300


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"verdict": "review"}, id="flagged"),
        pytest.param({"verdict": "void"}, id="void"),
        pytest.param({"seen_live": 0, "unseen_ms": 30_000}, id="offline"),
        pytest.param({"unseen_ms": 1}, id="resumed with events unseen"),
        pytest.param({"slack_ms": 1}, id="resumed after a pause"),
        pytest.param({"epoch": 1}, id="taken over"),
    ],
)
async def test_whatever_there_is_a_reason_to_doubt_is_played_again(
    catalogue: EmbeddedCatalogue, changes: dict[str, object]
) -> None:
    checker, _ = rescorer(catalogue)
    left_out = next(result for i in range(100) if not checker.chooses(result := faultless(i)))
    assert checker.chooses(replace(left_out, **changes))  # type: ignore[arg-type]  # fields by name: a wrong one fails the test


async def test_always_is_always(catalogue: EmbeddedCatalogue) -> None:
    checker, _ = rescorer(catalogue, which="always")
    assert all(checker.chooses(faultless(i)) for i in range(100))


@pytest.mark.parametrize("mix", ["short", "others"])
async def test_honest_results_agree_and_stay_as_they_are(catalogue: EmbeddedCatalogue, mix: str) -> None:
    """In every mode and in several scripts."""
    checker, meter = rescorer(catalogue)
    results = list(typists(catalogue, mix).results(24))
    assert {result.mode for result in results} >= {"words", "time", "text", "zen"}
    assert await checker.check(results) == results
    assert meter.rescorings == {"agrees": 24}


async def test_a_result_that_differs_is_kept_for_review(catalogue: EmbeddedCatalogue) -> None:
    """As it came, with a reason that says so; a void stays void."""
    checker, meter = rescorer(catalogue)
    honest = replace(typists(catalogue).finish(mode="words", count=10), verdict="ok", reasons=())
    forged = replace(honest, summary=replace(honest.summary, wpm=200.0, acc=100.0))
    kept = await checked(checker, forged)
    assert kept == replace(forged, verdict="review", reasons=(Reason("rescore_differs", 2.0, 0.0),))
    assert (await checked(checker, replace(forged, verdict="void"))).verdict == "void"
    assert meter.rescorings == {"differs": 2}
    assert await checked(checker, forged) == kept, "each delivery comes to the same"


async def test_a_log_that_cannot_be_read_is_kept_for_review(catalogue: EmbeddedCatalogue) -> None:
    checker, meter = rescorer(catalogue)
    honest = typists(catalogue).finish(mode="words", count=5)
    kept = await checked(checker, replace(honest, verdict="ok", reasons=(), replay=b"\x01rubbish"))
    assert (kept.verdict, [reason.name for reason in kept.reasons]) == ("review", ["rescore_unreplayable"])
    assert meter.rescorings == {"unreplayable": 1}


async def test_results_that_are_played_side_by_side_come_each_to_its_own(catalogue: EmbeddedCatalogue) -> None:
    """In their order: honest ones, one that differs, one whose log cannot be read, one of another version."""
    checker, meter = rescorer(catalogue)
    results = [replace(one, verdict="ok", reasons=()) for one in typists(catalogue).results(25)]
    results[3] = replace(results[3], summary=replace(results[3].summary, wpm=200.0))
    results[4] = replace(results[4], replay=b"\x01rubbish")
    results[12] = replace(results[12], scoring_version="0/1.0")
    kept = await checker.check(results)
    assert [at for at, (before, after) in enumerate(zip(results, kept, strict=True)) if before != after] == [3, 4]
    assert [kept[at].reasons[0].name for at in (3, 4)] == ["rescore_differs", "rescore_unreplayable"]
    assert meter.rescorings == {"agrees": 22, "differs": 1, "unreplayable": 1, "other version": 1}


async def test_a_bug_that_one_result_finds_is_its_own(
    catalogue: EmbeddedCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is kept for review, and its neighbours agree."""
    results = [replace(one, verdict="ok", reasons=()) for one in typists(catalogue).results(3)]
    honest = rescoring

    def failing(result: Result, *known: Any, **how: Any) -> Generator[None, None, Rescored]:
        if result is results[1]:
            raise ZeroDivisionError
        return (yield from honest(result, *known, **how))

    monkeypatch.setattr("persistence.workers.rescore.rescoring", failing)
    checker, _ = rescorer(catalogue)
    kept = await checker.check(results)
    assert [result.verdict for result in kept] == ["ok", "review", "ok"]
    assert kept[1].reasons == (Reason("rescore_unreplayable", 1.0, 0.0),)


async def test_a_test_that_was_just_imported_is_looked_for(catalogue: EmbeddedCatalogue, tmp_path: Path) -> None:
    """The catalogue is asked again before a result of an unknown test is doubted; of a test that nobody knows it is."""
    passage, result = await of_another_catalogue(tmp_path)
    meter = Counting()

    async def refresh() -> None:
        await catalogue.add([passage], created_at_ms=EPOCH_MS)

    texts = Texts(catalogue, limits=SessionLimits())
    assert await checked(Rescorer(texts, refresh=refresh, meter=meter), result) == result
    unknown = replace(result, test=4243)
    assert (await checked(Rescorer(texts, refresh=catalogue.refresh, meter=meter), unknown)).verdict == "review"
    assert meter.rescorings == {"agrees": 1, "unreplayable": 1}


async def test_several_results_of_a_test_that_was_just_imported_look_for_it_once(
    catalogue: EmbeddedCatalogue, tmp_path: Path
) -> None:
    """They are played side by side, so that none knew it yet when the first had it looked for."""
    passage, result = await of_another_catalogue(tmp_path)
    meter, asked = Counting(), 0

    async def refresh() -> None:
        nonlocal asked
        asked += 1
        await catalogue.add([passage], created_at_ms=EPOCH_MS)

    checker = Rescorer(Texts(catalogue, limits=SessionLimits()), refresh=refresh, meter=meter)
    assert await checker.check([result] * 3) == [result] * 3
    assert (asked, meter.rescorings) == (1, {"agrees": 3})


async def test_a_result_of_an_unknown_test_waits_while_the_catalogue_is_away(
    catalogue: EmbeddedCatalogue, tmp_path: Path
) -> None:
    """It is not doubted meanwhile, however often it is tried; a log that cannot be read needs no catalogue."""
    passage, result = await of_another_catalogue(tmp_path)
    meter = Counting()
    asked = 0

    async def away() -> None:
        nonlocal asked
        asked += 1
        raise CatalogueError("the content database: cannot connect", retriable=True)

    checker = Rescorer(Texts(catalogue, limits=SessionLimits()), refresh=away, meter=meter)
    for _ in range(2):
        with pytest.raises(StoreError, match="not known here yet, and the content database: cannot connect") as caught:
            await checked(checker, result)
        assert caught.value.retriable
    assert asked == 1
    unreadable = replace(typists(catalogue).finish(mode="words", count=5), verdict="ok", replay=b"\x01rubbish")
    assert (await checked(checker, unreadable)).verdict == "review"
    await catalogue.add([passage], created_at_ms=EPOCH_MS)
    assert await checked(checker, result) == result
    assert meter.rescorings == {"unreplayable": 1, "agrees": 1}


@pytest.mark.parametrize("end", ["read", "away", "given up"])
async def test_results_of_several_batches_wait_for_one_look_at_the_catalogue(
    catalogue: EmbeddedCatalogue, tmp_path: Path, end: str
) -> None:
    """None of them is doubted for what another one is just reading."""
    passage, result = await of_another_catalogue(tmp_path)
    begun, go_on = asyncio.Event(), asyncio.Event()
    asked = 0

    async def refresh() -> None:
        nonlocal asked
        asked += 1
        begun.set()
        if asked == 1:
            await go_on.wait()
            if end == "away":
                raise CatalogueError("the content database: cannot connect", retriable=True)
        await catalogue.add([passage], created_at_ms=EPOCH_MS)

    meter = Counting()
    checker = Rescorer(Texts(catalogue, limits=SessionLimits()), refresh=refresh, meter=meter)
    loop = asyncio.get_running_loop()
    first = loop.create_task(checked(checker, result))
    await begun.wait()
    others = [loop.create_task(checked(checker, result)) for _ in range(3)]
    for _ in range(20):
        await asyncio.sleep(0)  # they have found out that its test is not known
    if end == "given up":
        first.cancel()
    go_on.set()
    told = await asyncio.gather(first, *others, return_exceptions=True)
    if end == "away":
        assert all(isinstance(one, StoreError) and one.retriable for one in told)
        assert meter.rescorings == {}
        return
    assert told[1:] == [result] * 3
    assert asked == (2 if end == "given up" else 1)
    assert meter.rescorings == {"agrees": 3 if end == "given up" else 4}


async def test_a_result_of_another_scoring_version_is_no_evidence(catalogue: EmbeddedCatalogue) -> None:
    """While nodes are upgraded both are right, each by its own rules."""
    checker, meter = rescorer(catalogue)
    result = replace(sample(1), scoring_version="0/1.0", verdict="ok")
    assert await checked(checker, result) == result
    assert meter.rescorings == {"other version": 1}


async def test_a_long_log_does_not_hold_the_loop(catalogue: EmbeddedCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have their turns while it is played again; here after each slice, for a fast machine is through sooner."""
    monkeypatch.setattr("persistence.workers.rescore._TURN_S", 0.0)
    checker, _ = rescorer(catalogue)
    result = typists(catalogue).finish(mode="time", seconds=600)
    turns = 0

    async def beat() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beating = asyncio.get_running_loop().create_task(beat())
    assert await checked(checker, result) == result
    beating.cancel()
    assert turns > 5
