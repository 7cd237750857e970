"""What there is to type, generated or chosen by seed: the same for ever for the same (generator, list, seed).

A generated text is kept as one small number a word, not as strings: 60 seconds at 400 wpm are 370 words, 0.75 KB, and
ten thousand people type at once. `GeneratedWords` looks like a sequence of words to the scorer, which asks for one word
at a time.
"""

from array import array
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, islice
from struct import Struct
from typing import Final, Literal, overload

from scoring.text import Passage, TextLimits, Word, clusters, prepare, preparing
from session.options import SessionLimits, TestOptions

__all__ = [
    "GENERATOR_VERSION",
    "Direction",
    "GeneratedWords",
    "Material",
    "Stale",
    "Vocabulary",
    "choose_quote",
    "free",
    "generating",
    "practising",
    "quoting",
]

Direction = Literal["ltr", "rtl"]

GENERATOR_VERSION: Final = 1
"""Changes with anything that would make another text of the same list and seed; older versions go on working."""

FASTEST_CHARACTERS_PER_S: Final = 400 * 5 / 60
"""A generated timed text lasts for 400 words (of 5 characters) a minute before it starts again."""

_SLICE_WORDS = 256
"""Words between two breaths: about 0.3 ms."""
_NUMBERS = 10_000
"""Generated numbers are below this."""


class Stale(ValueError):
    """A generator version that this build does not have."""


@dataclass(frozen=True, slots=True)
class Material:
    """A text ready to be typed, and where it came from. Immutable: a quote's may be shared by all who type it.

    A session keeps only `words` of it.
    """

    words: Sequence[Word]
    text: str
    breaks: list[int] | None
    word_lengths: list[int] | None
    cyclic: bool
    """Whether the text starts again after its last word."""
    language: str
    direction: Direction
    title: str | None = None
    test: int | None = None
    test_version: int = 0
    list_version: int = 0
    generator: int = 0


# --- chance by seed ---


class _Draws:
    """Our own stream of chance: BLAKE2b-512 of (seed, block number), read as sixteen 32-bit numbers a block.

    Slow beside a mixing generator in C, fast in Python; written down in two lines, and the same for ever.
    """

    __slots__ = ("_begun", "_block", "_numbers")
    _words = Struct(">16I")

    def __init__(self, seed: int) -> None:
        self._begun = blake2b(seed.to_bytes(8, "big"), person=b"typegate text")
        self._block = 0
        self._numbers: list[int] = []

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1; the bias of the multiplication, n / 2^32, is not to be seen here."""
        numbers = self._numbers or self.more()
        return numbers.pop() * n >> 32

    def numbers(self) -> Iterator[int]:
        """All numbers, for whoever is `below` to itself."""
        return chain.from_iterable(map(reversed, iter(self.more, None)))

    def more(self) -> list[int]:
        """The next block's numbers, to be popped from its end."""
        block = self._begun.copy()
        block.update(self._block.to_bytes(8, "big"))
        self._block += 1
        self._numbers = numbers = list(self._words.unpack(block.digest()))
        return numbers


def choose_quote(ids: Sequence[int], *, seed: int) -> int:
    """Choose one of the catalogue's passages (not empty, in a fixed order) by seed."""
    return ids[_Draws(seed).below(len(ids))]


# --- words with their marks ---


@dataclass(frozen=True, slots=True)
class _Marks:
    """A language's punctuation."""

    comma: str = ","
    semicolon: str = ";"
    colon: str = ":"
    stop: str = "."
    question: str = "?"
    exclamation: str = "!"
    quotes: str = '""'
    brackets: str = "()"
    before_question: str = ""
    before_exclamation: str = ""


_WESTERN = _Marks()
_ARABIC = _Marks(comma="،", semicolon="؛", question="؟")
_DANDA = _Marks(stop="।")
_IDEOGRAPHIC = _Marks("，", "；", "：", "。", "？", "！", "「」", "（）")
_MARKS = {
    "ar": _ARABIC,
    "bn": _DANDA,
    "el": _Marks(semicolon="·", question=";"),
    "es": _Marks(before_question="¿", before_exclamation="¡"),
    "fa": _ARABIC,
    "hi": _DANDA,
    "hy": _Marks(stop="։", colon="՝", question="՞", exclamation="՜"),
    "ja": _IDEOGRAPHIC,
    "ne": _DANDA,
    "ur": _Marks(comma="،", semicolon="؛", question="؟", stop="۔"),
    "zh": _IDEOGRAPHIC,
}
"""By the first subtag of the language; all others write as in the west."""

# How a word may be dressed: its number in a text's codes, so the order is part of GENERATOR_VERSION.
_PLAIN = 0
_COMMA = 1
_SEMICOLON = 2
_COLON = 3
_STOP = 4
_QUESTION = 5
_EXCLAMATION = 6
_QUOTED = 7
_BRACKETED = 8
_CAPITAL = 9
_CAPITAL_OF_QUESTION = 10
_CAPITAL_OF_EXCLAMATION = 11
_ONE_WORD = 12
_DRESSES = 13


class Vocabulary:
    """A word list made ready for generating: clusters cut, closing spaces added. Make one per list version, keep it.

    `words` are NFC, without white space, each once; `direction` is the language's. Raises `TextError` for a word that
    cannot be typed, `ValueError` for an empty list.
    """

    __slots__ = (
        "_closed",
        "_marks",
        "_surplus",
        "_turkic",
        "_words",
        "closed_item",
        "direction",
        "language",
        "sizes",
        "spaced",
        "version",
    )

    language: str
    version: int
    direction: Direction
    spaced: bool
    """Whether the script writes spaces; where it does not, each cluster is a word to the scorer."""
    sizes: tuple[int, ...]
    """What each word takes of a text's length: its clusters, and a space where the script has them."""
    closed_item: Callable[[int], Word]
    """The word of this number as a word of the scorer's, with its closing space; where the script writes spaces."""

    def __init__(self, words: Sequence[str], *, language: str, version: int, direction: Direction) -> None:
        if not words:
            raise ValueError(f"the word list of {language} is empty")
        self.language = language
        self.version = version
        self.direction = direction
        primary = language.lower().partition("-")[0]
        self._marks = _MARKS.get(primary, _WESTERN)
        self._turkic = primary in ("az", "tr")
        self._words = tuple(words)
        # twice, since a single cluster is one word in any script; cut short of the length at which every run is cut
        self.spaced = all(len(prepare((word * 2)[:40], timed=True).words) == 1 for word in words)
        self._surplus = tuple(len(word) - len(clusters(word)) for word in words)
        self.sizes = tuple(
            len(word) - more + self.spaced for word, more in zip(self._words, self._surplus, strict=True)
        )
        # the scorer's words; those of a timed text bear their closing space already
        self._closed: tuple[Word, ...] = tuple(_word(f"{word} ") for word in words) if self.spaced else ()
        self.closed_item = self._closed.__getitem__

    def __len__(self) -> int:
        """Words in the list."""
        return len(self._words)

    def plain(self, items: Sequence[int]) -> list[str]:
        """The words of these numbers, as the list has them."""
        words = self._words
        return [words[item] for item in items]

    def dressed(self, code: int) -> str:
        """The word with its marks that a code of a generated text stands for, without a closing space."""
        item, dress = divmod(code, _DRESSES)
        word = self._words[item] if item < len(self._words) else str(item - len(self._words))
        marks = self._marks
        match dress:
            case 0:
                return word
            case 1:
                return word + marks.comma
            case 2:
                return word + marks.semicolon
            case 3:
                return word + marks.colon
            case 4:
                return word + marks.stop
            case 5:
                return word + marks.question
            case 6:
                return word + marks.exclamation
            case 7:
                return marks.quotes[0] + word + marks.quotes[1]
            case 8:
                return marks.brackets[0] + word + marks.brackets[1]
            case 9:
                return self._capital(word)
            case 10:
                return marks.before_question + self._capital(word)
            case 11:
                return marks.before_exclamation + self._capital(word)
            case _:
                return self._capital(word) + marks.stop

    def surplus(self, code: int) -> int:
        """Code points of a code's word beyond one a cluster."""
        item = code // _DRESSES
        return self._surplus[item] if item < len(self._words) else 0

    def closed(self, code: int) -> Word:
        """The same as a word of the scorer's, with its closing space."""
        if code % _DRESSES == _PLAIN and code < len(self._closed) * _DRESSES:
            return self._closed[code // _DRESSES]  # the commonest case shares the list's own strings
        return _word(f"{self.dressed(code)} ")

    def _capital(self, word: str) -> str:
        first = word[:1]
        if self._turkic and first == "i":
            return "İ" + word[1:]
        # title case, not upper case: Georgian has the one and not the other at a sentence's start
        return first.title() + word[1:]


def _word(text: str) -> Word:
    """A word as the scorer takes it: a plain string where every cluster is one code point."""
    if text.isascii():
        return text
    cut = clusters(text)
    return text if len(cut) == len(text) else tuple(cut)


class GeneratedWords(Sequence[Word]):
    """The words of a generated text, made when they are asked for; immutable."""

    __slots__ = ("_closed_end", "_codes", "_word_of")

    def __init__(self, word_of: Callable[[int], Word], codes: "array[int]", *, closed_end: bool) -> None:
        """`word_of`: the word of a code, with its closing space. `closed_end`: whether the last one has it too."""
        self._word_of = word_of
        self._codes = codes
        self._closed_end = closed_end

    def __len__(self) -> int:
        return len(self._codes)

    @overload
    def __getitem__(self, at: int) -> Word: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[Word, ...]: ...

    def __getitem__(self, at: int | slice) -> Word | tuple[Word, ...]:
        if isinstance(at, slice):
            return tuple(self[i] for i in range(*at.indices(len(self._codes))))
        word = self._word_of(self._codes[at])
        if not self._closed_end and at in (len(self._codes) - 1, -1):
            return word[:-1]
        return word

    def __iter__(self) -> Iterator[Word]:
        for at in range(len(self._codes)):
            yield self[at]


# --- generating ---


def generating(
    vocabulary: Vocabulary, options: TestOptions, *, seed: int, generator: int = GENERATOR_VERSION
) -> Generator[None, None, Material]:
    """Generate the text of modes `words` and `time`; yields between slices of work.

    `generator` is the ticket's on a resume. Raises `Stale` for a version that this build does not have.
    """
    if generator != GENERATOR_VERSION:
        raise Stale(f"generator version {generator} is not known here; {GENERATOR_VERSION} is")
    timed = options.seconds is not None
    dressed = options.punctuation or options.numbers
    codes, pieces = yield from (_codes if dressed else _items)(vocabulary, options, seed)
    words: Sequence[Word]
    if vocabulary.spaced:
        text = " ".join(pieces) + " " * timed
        words = GeneratedWords(vocabulary.closed if dressed else vocabulary.closed_item, codes, closed_end=timed)
        if text.isascii():
            breaks = None
        else:
            breaks = yield from _breaks(words)
        word_lengths = None
    else:
        passage = yield from preparing("".join(pieces), timed=timed, limits=_NO_LIMITS)
        text, words, breaks, word_lengths = passage.text, passage.words, passage.breaks, passage.word_lengths
    return Material(
        words,
        text,
        breaks,
        word_lengths,
        cyclic=timed,
        language=vocabulary.language,
        direction=vocabulary.direction,
        list_version=vocabulary.version,
        generator=generator,
    )


_NO_LIMITS = TextLimits(graphemes=1 << 20, bytes=1 << 24)
"""For generated texts: count and seconds bound them already."""


def _items(
    vocabulary: Vocabulary, options: TestOptions, seed: int
) -> Generator[None, None, tuple["array[int]", list[str]]]:
    """What `_codes` draws where there are neither marks nor numbers, as in most tests, in a quarter of the time.

    The codes are the words' numbers in the list.
    """
    numbers = _Draws(seed).numbers()
    size = len(vocabulary)
    before = last = -1
    left: float = (options.seconds or 0) * FASTEST_CHARACTERS_PER_S or options.count or 0
    costs = vocabulary.sizes if options.seconds else (1,) * size
    items: list[int] = []
    while left > 0:
        for number in islice(numbers, _SLICE_WORDS):
            item = number * size >> 32
            if item == last or item == before:  # noqa: SIM109  # a tuple would be made for each word
                for another in islice(numbers, 4):  # a list of one or two words must not hold us up
                    item = another * size >> 32
                    if item not in (last, before):
                        break
            before, last = last, item
            items.append(item)
            left -= costs[item]
            if left <= 0:
                break
        yield
    return array("H" if size <= 1 << 16 else "I", items), vocabulary.plain(items)


def _codes(
    vocabulary: Vocabulary, options: TestOptions, seed: int
) -> Generator[None, None, tuple["array[int]", list[str]]]:
    """Draw words until there are enough: their codes, and what they look like."""
    draws = _Draws(seed)
    size = len(vocabulary)
    last_two = (-1, -1)
    wanted = options.count or 0
    characters_left = (options.seconds or 0) * FASTEST_CHARACTERS_PER_S
    sentence = _sentence(draws) if options.punctuation else iter(())
    codes: list[int] = []
    pieces: list[str] = []
    while len(codes) < wanted or characters_left > 0:
        if options.numbers and draws.below(10) == 0:
            digits = 10 ** draws.below(4)
            item = size + digits + draws.below(9 * digits)
        else:
            item = draws.below(size)
            for _ in range(4):  # a list of one or two words must not hold us up
                if item not in last_two:
                    break
                item = draws.below(size)
            last_two = (last_two[1], item)
        dress = next(sentence, _PLAIN)
        if options.punctuation and len(codes) + 1 == wanted and dress not in (_QUESTION, _EXCLAMATION):
            # a text of so many words ends its last sentence, however short that is
            dress = _STOP if dress < _CAPITAL else _ONE_WORD
        code = item * _DRESSES + dress
        piece = vocabulary.dressed(code)
        codes.append(code)
        pieces.append(piece)
        characters_left -= len(piece) - vocabulary.surplus(code) + vocabulary.spaced
        if len(codes) % _SLICE_WORDS == 0:
            yield
    most = (size + _NUMBERS) * _DRESSES if options.numbers else size * _DRESSES
    return array("H" if most <= 1 << 16 else "I", codes), pieces


def _sentence(draws: _Draws) -> Iterator[int]:
    """How the words of sentence after sentence are dressed, for ever."""
    while True:
        kind = draws.below(12)
        if kind < 2:
            first, last = _CAPITAL_OF_QUESTION, _QUESTION
        elif kind < 3:
            first, last = _CAPITAL_OF_EXCLAMATION, _EXCLAMATION
        else:
            first, last = _CAPITAL, _STOP
        yield first
        for _ in range(1 + draws.below(10)):
            within = draws.below(100)
            if within < 12:
                yield _COMMA
            elif within < 16:
                yield _QUOTED
            elif within < 18:
                yield _BRACKETED
            elif within < 20:
                yield _SEMICOLON
            elif within < 22:
                yield _COLON
            else:
                yield _PLAIN
        yield last


def _breaks(words: Sequence[Word]) -> Generator[None, None, list[int] | None]:
    """Code points of each cluster, or None where all have one."""
    lengths: list[int] = []
    for at in range(len(words)):
        lengths += map(len, words[at])
        if at % _SLICE_WORDS == 0:
            yield
    return lengths if any(length != 1 for length in lengths) else None


# --- texts that are there already ---


def quoting(
    text: str, *, test: int, version: int, title: str, language: str, direction: Direction
) -> Generator[None, None, Material]:
    """Prepare a passage of the catalogue. Raises `TextError` where it cannot be typed."""
    passage = yield from preparing(text, timed=False, limits=_NO_LIMITS)
    return _material(passage, False, language, direction, title, test, version)


def practising(
    text: str, *, timed: bool, language: str, direction: Direction, limits: SessionLimits
) -> Generator[None, None, Material]:
    """Prepare an own text. Raises `TextError` with what is wrong with it."""
    passage = yield from preparing(
        text, timed=timed, limits=TextLimits(graphemes=limits.text_graphemes, bytes=limits.text_bytes)
    )
    return _material(passage, timed, language, direction)


def free(*, language: str, direction: Direction) -> Material:
    """The material of zen: none."""
    return Material((), "", None, None, cyclic=False, language=language, direction=direction)


def _material(
    passage: Passage,
    cyclic: bool,
    language: str,
    direction: Direction,
    title: str | None = None,
    test: int | None = None,
    test_version: int = 0,
) -> Material:
    return Material(
        passage.words,
        passage.text,
        passage.breaks,
        passage.word_lengths,
        cyclic,
        language,
        direction,
        title,
        test,
        test_version,
    )
