"""The text of a test: chosen for a start, and the very same again for a resume."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TypeVar

import pytest

from persistence.catalogue import EmbeddedCatalogue, Test
from persistence.catalogue import texts as module
from persistence.catalogue.texts import Texts
from scoring.slices import at_once
from session.messages import Error
from session.options import SessionLimits, TestOptions
from session.passages import Material
from session.receipt import Ticket, hash_of

T = TypeVar("T")


@pytest.fixture(name="texts")
async def _texts() -> AsyncIterator[Texts]:
    async with EmbeddedCatalogue(None) as catalogue:
        yield Texts(catalogue, limits=SessionLimits())


def made(texts: Texts, options: TestOptions, seed: int = 7) -> Material:
    material = at_once(texts.choosing(options, seed=seed, ref=None))
    assert isinstance(material, Material), material
    return material


def ticket(options: TestOptions, material: Material, seed: int = 7) -> Ticket:
    """The ticket of a test with this material."""
    return Ticket(
        session=bytes(16),
        user=-1,
        options=replace(options, language=material.language, test=material.test, text=None),
        seed=seed,
        test_version=material.test_version,
        list_version=material.list_version,
        generator=material.generator,
        text_hash=hash_of(material.text.encode()),
        scoring_version="1",
        started_ms=0,
    )


OPTIONS = [
    TestOptions(mode="words", count=25),
    TestOptions(mode="words", count=25, punctuation=True, numbers=True),
    TestOptions(mode="time", seconds=15, language="de"),
    TestOptions(mode="quote"),
    TestOptions(mode="quote", difficulty="hard"),
    TestOptions(mode="text", text="my own\twords"),
    TestOptions(mode="text", text="my own words", seconds=30),
    TestOptions(mode="zen"),
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: f"{options.mode}{options.seconds or ''}")
def test_again_is_the_same(texts: Texts, options: TestOptions) -> None:
    """What a ticket names is made anew to the same words, whoever holds them."""
    first = made(texts, options)
    again = at_once(texts.again(ticket(options, first), text=first.text or None, ref=1))
    assert isinstance(again, Material), again
    assert (again.text, list(again.words), again.cyclic) == (first.text, list(first.words), first.cyclic)


@pytest.mark.parametrize("options", OPTIONS[:4], ids=lambda options: options.mode)
def test_the_seed_chooses(texts: Texts, options: TestOptions) -> None:
    """Ten seeds are several texts, and one seed is one text."""
    assert len({made(texts, options, seed).text for seed in range(10)}) > 3
    assert made(texts, options, 3).text == made(texts, options, 3).text


def test_a_quote_by_number(texts: Texts) -> None:
    """A passage that is asked for by its id is the one that comes, for everybody the same words."""
    chosen = made(texts, TestOptions(mode="quote"))
    named = made(texts, TestOptions(mode="quote", test=chosen.test), seed=99)
    assert named is chosen


@pytest.mark.parametrize(
    ("options", "code", "names"),
    [
        (TestOptions(mode="words", count=5, language="tlh"), "unknown_language", "en"),
        (TestOptions(mode="quote", test=123), "unknown_test", "123"),
        (TestOptions(mode="quote", category="none", difficulty="easy"), "unknown_test", "category none"),
        (TestOptions(mode="text", text="\x07"), "text", ""),
    ],
    ids=["language", "test", "filter", "text"],
)
def test_what_there_is_not(texts: Texts, options: TestOptions, code: str, names: str) -> None:
    """An error with its code, the test's `ref`, and a sentence that names what is missing or what there is."""
    error = at_once(texts.choosing(options, seed=1, ref=5))
    assert isinstance(error, Error)
    assert (error.code, error.ref) == (code, 5)
    assert names in error.message


def test_what_there_is_no_more(texts: Texts) -> None:
    """A ticket of a version that this server does not have is stale, and says of what."""
    words, quote = OPTIONS[0], OPTIONS[3]
    for stale in (
        replace(ticket(words, made(texts, words)), list_version=999),
        replace(ticket(words, made(texts, words)), generator=999),
        replace(ticket(quote, made(texts, quote)), test_version=999),
    ):
        error = at_once(texts.again(stale, text=None, ref=None))
        assert isinstance(error, Error)
        assert (error.code, error.retry) == ("stale", None)


class SharedCatalogue(EmbeddedCatalogue):
    """One to which other nodes add."""

    async def find(self, test_id: int, version: int | None = None) -> Test | None:
        return self.shelf.test(test_id, version)


async def test_what_another_node_may_have_added_is_asked_for_again_until_the_next_reading() -> None:
    """A generator of another build is in no catalogue."""
    words, quote = OPTIONS[0], OPTIONS[3]
    async with SharedCatalogue(None) as catalogue:
        texts = Texts(catalogue, limits=SessionLimits())
        no_list = replace(ticket(words, made(texts, words)), list_version=999)
        no_test = replace(ticket(quote, made(texts, quote)), test_version=999)
        no_generator = replace(ticket(words, made(texts, words)), generator=999)

        def asked(stale: Ticket) -> int | None:
            error = at_once(texts.again(stale, text=None, ref=None))
            assert isinstance(error, Error)
            assert error.code == "stale"
            return error.retry

        assert [asked(stale) for stale in (no_list, no_test, no_test)] == [module.RETRY_MS] * 3
        assert asked(no_generator) is None
        await catalogue.refresh()
        assert [asked(stale) for stale in (no_list, no_test)] == [None, None]
        assert asked(replace(no_test, test_version=998)) == module.RETRY_MS


async def test_what_was_missed_is_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_MISSED", 2)
    async with SharedCatalogue(None) as catalogue:
        texts = Texts(catalogue, limits=SessionLimits())
        some = ticket(OPTIONS[3], made(texts, OPTIONS[3]))

        def retry(version: int) -> int | None:
            error = at_once(texts.again(replace(some, test_version=version), text=None, ref=None))
            assert isinstance(error, Error)
            return error.retry

        assert retry(901) == module.RETRY_MS
        await catalogue.refresh()
        assert retry(901) is None
        assert (retry(902), retry(903)) == (module.RETRY_MS, module.RETRY_MS)
        assert retry(901) == module.RETRY_MS, "as if for the first time"


def test_an_own_text_must_come_along(texts: Texts) -> None:
    """Own texts are kept by nobody but their client."""
    own = OPTIONS[5]
    error = at_once(texts.again(ticket(own, made(texts, own)), text=None, ref=None))
    assert isinstance(error, Error)
    assert error.code == "text"


def test_what_is_kept_is_bounded(texts: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many passages and vocabularies are kept ready; the rest is made again."""
    monkeypatch.setattr(module, "KEPT_PASSAGES", 3)
    monkeypatch.setattr(module, "KEPT_VOCABULARIES", 2)
    for seed in range(20):
        made(texts, TestOptions(mode="quote"), seed)
    for language in ("en", "de", "fr", "es"):
        made(texts, TestOptions(mode="words", count=3, language=language))
    assert len(texts._passages) == 3
    assert len(texts._vocabularies) == 2
