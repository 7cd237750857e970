"""Where a test's text comes from: the catalogue's passages and word lists, made ready once and kept.

Choosing by seed and generating are `session.passages`' rules; this is the shelf that it reaches into.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Generator
from dataclasses import replace
from typing import Final, TypeVar

from persistence.catalogue import Catalogue, Finds, Shelf, Test, WordList
from scoring.text import TextError
from session.messages import Error
from session.options import SessionLimits, TestOptions
from session.passages import (
    Material,
    Stale,
    Vocabulary,
    choose_quote,
    free,
    generating,
    practising,
    quoting,
)
from session.receipt import Ticket

DEFAULT_LANGUAGE: Final = "en"
"""The language of a `start` that names none."""

KEPT_VOCABULARIES: Final = 64
"""Word lists kept ready; the least recently used goes first."""

KEPT_PASSAGES: Final = 1_000
"""Passages kept ready, likewise: everybody who types one shares its words."""

KEPT_MISSED: Final = 1_000
"""Versions remembered that somebody asked for in vain, likewise."""

RETRY_MS: Final = 2_000
"""When a client is to ask again for what may be there by then."""

K = TypeVar("K")
V = TypeVar("V")

Making = Generator[None, None, "Material | Error"]
"""A job that makes a text in slices; its error is what to send."""


class Texts:
    """Makes the material of tests: for a `start` by options and a fresh seed, for a `resume` as the ticket says."""

    def __init__(self, catalogue: Catalogue, *, limits: SessionLimits) -> None:
        self._catalogue = catalogue
        self._limits = limits
        self._vocabularies: OrderedDict[tuple[str, int], Vocabulary] = OrderedDict()
        self._passages: OrderedDict[tuple[int, int], Material] = OrderedDict()
        self._missed: OrderedDict[tuple[str | int | None, ...], int] = OrderedDict()
        """Which reading of the catalogue lacked it first."""

    async def warm(self) -> None:
        """Make every present word list ready, in a thread: a long list takes longer than the loop may be held."""
        missing = [
            words
            for words in self._catalogue.shelf.word_lists[:KEPT_VOCABULARIES]
            if (words.language, words.version) not in self._vocabularies
        ]
        for vocabulary in await asyncio.to_thread(lambda: [_vocabulary(words) for words in missing]):
            _keep(self._vocabularies, (vocabulary.language, vocabulary.version), vocabulary, KEPT_VOCABULARIES)

    def choosing(self, options: TestOptions, *, seed: int, ref: int | None) -> Making:
        """The text of a new test."""
        shelf = self._catalogue.shelf
        language = options.language or DEFAULT_LANGUAGE
        if options.mode in ("words", "time"):
            vocabulary = self._vocabulary(language, None)
            if vocabulary is None:
                known = ", ".join(words.language for words in shelf.word_lists)
                sentence = f"there is no word list for {language}; there is {known}"
                return Error("unknown_language", sentence, self._unread_ms, ref=ref)
            return (yield from generating(vocabulary, options, seed=seed))
        if options.mode == "quote":
            test = self._quote(shelf, options, language, seed)
            if test is None:
                return Error("unknown_test", _no_quote(options, language), self._unread_ms, ref=ref)
            return (yield from self._quoting(test, shelf))
        return (yield from self._own(options, language, ref))

    def again(self, ticket: Ticket, *, text: str | None, ref: int | None) -> Making:
        """The text of a ticket, as it was; `text` is the client's copy in mode `text`."""
        shelf = self._catalogue.shelf
        options = ticket.options
        language = options.language or DEFAULT_LANGUAGE
        if options.mode in ("words", "time"):
            vocabulary = self._vocabulary(language, ticket.list_version)
            if vocabulary is None:
                return self._absent("word list", (language, ticket.list_version), ref)
            try:
                return (yield from generating(vocabulary, options, seed=ticket.seed, generator=ticket.generator))
            except Stale as exc:
                return Error("stale", _not_here(str(exc)), ref=ref)
        if options.mode == "quote":
            test = shelf.test(options.test or 0, ticket.test_version)
            if test is None:
                return self._absent("test", (options.test or 0, ticket.test_version), ref)
            return (yield from self._quoting(test, shelf))
        if options.mode == "text" and text is None:
            return Error("text", "the ticket is of an own text; send `text` with `resume`", ref=ref)
        return (yield from self._own(options, language, ref, text))

    def _own(self, options: TestOptions, language: str, ref: int | None, text: str | None = None) -> Making:
        direction = self._catalogue.shelf.direction(language)
        if options.mode == "zen":
            return free(language=language, direction=direction)
        try:
            return (
                yield from practising(
                    options.text or text or "",
                    timed=options.seconds is not None,
                    language=language,
                    direction=direction,
                    limits=self._limits,
                )
            )
        except TextError as exc:
            return Error("text", str(exc), ref=ref)

    def _quoting(self, test: Test, shelf: Shelf) -> Generator[None, None, Material]:
        key = (test.id, test.version)
        material = self._passages.get(key)
        if material is None:
            material = yield from quoting(
                test.text,
                test=test.id,
                version=test.version,
                title=test.title,
                language=test.language,
                direction=shelf.direction(test.language),
            )
            _keep(self._passages, key, material, KEPT_PASSAGES)
        else:
            self._passages.move_to_end(key)
        return material

    def _vocabulary(self, language: str, version: int | None) -> Vocabulary | None:
        words = self._catalogue.shelf.word_list(language, version)
        if words is None:
            return None
        key = (words.language, words.version)
        vocabulary = self._vocabularies.get(key)
        if vocabulary is None:
            vocabulary = _vocabulary(words)
            _keep(self._vocabularies, key, vocabulary, KEPT_VOCABULARIES)
        else:
            self._vocabularies.move_to_end(key)
        return vocabulary

    @property
    def _unread_ms(self) -> int | None:
        """When to choose again, while the catalogue could not be read; None once it was."""
        return None if self._catalogue.readings else RETRY_MS

    def _absent(self, kind: str, key: tuple[str | int, int | None], ref: int | None) -> Error:
        """What a ticket names is not there. Where other nodes add to the catalogue, it is to be asked for once more.

        It may have been added a moment ago, and the test come here since; the next reading of the catalogue tells.
        """
        error = Error("stale", _not_here(f"{kind} {key[0]}, version {key[1]}"), ref=ref)
        if not isinstance(self._catalogue, Finds):
            return error
        readings = self._catalogue.readings
        missed = self._missed.setdefault((kind, *key), readings)
        if len(self._missed) > KEPT_MISSED:
            self._missed.popitem(last=False)
        return replace(error, retry=RETRY_MS) if readings in (0, missed) else error

    @staticmethod
    def _quote(shelf: Shelf, options: TestOptions, language: str, seed: int) -> Test | None:
        if options.test is not None:
            return shelf.test(options.test)
        ids = shelf.ids(category=options.category, difficulty=options.difficulty, language=language)
        return shelf.test(choose_quote(ids, seed=seed)) if ids else None


def _vocabulary(words: WordList) -> Vocabulary:
    return Vocabulary(words.words, language=words.language, version=words.version, direction=words.direction)


def _keep(kept: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    kept[key] = value
    if len(kept) > most:
        kept.popitem(last=False)


def _no_quote(options: TestOptions, language: str) -> str:
    if options.test is not None:
        return f"the catalogue has no test {options.test}"
    wanted = [f"language {language}"]
    wanted += [f"category {options.category}"] if options.category else []
    wanted += [f"difficulty {options.difficulty}"] if options.difficulty else []
    return f"the catalogue has no passage with {', '.join(wanted)}"


def _not_here(what: str) -> str:
    return f"this server does not have what the ticket names: {what}"
