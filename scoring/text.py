"""Texts as the scorer sees them: NFC, single spaces, words of grapheme clusters; and what counts as one key.

The rules, in order:

1. Text is NFC. Each run of white space (Unicode's White_Space) is one U+0020, with none at the ends. A *timed* text
   gets one after its last word, since it repeats from its start.
2. Text is split into extended grapheme clusters (UAX 29) of `UNICODE_VERSION`. Refused, as nobody could type them:
   control characters (UAX 29's Control: format characters such as U+200B too), a combining mark without a character to
   stand on, a character that joins itself to a space, and a cluster over 64 bytes of UTF-8 (the longest emoji take 41).
3. A word is what spaces separate, with its closing space. Two things end a word *without* closing space: each cluster
   of a script that writes no spaces is a word of its own (it takes the closing space where one follows), and a run of
   over 100 clusters is cut after every hundredth.
4. A key is one cluster of at most 64 bytes, or a lone mark, joiner or jamo that will extend the cluster typed before;
   `"\\b"` deletes one cluster, `"\\x17"` one word. Keys are NFC too, and any one white-space character is a space.

Python's own `unicodedata` does the NFC; where its Unicode is older, only characters that it does not know yet differ.
"""

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import lru_cache
from unicodedata import is_normalized, normalize, unidata_version

import regex

__all__ = [
    "CLUSTER_BYTES",
    "DELETE",
    "DELETE_WORD",
    "NORMALISATION_VERSION",
    "RUN_CLUSTERS",
    "UNICODE_VERSION",
    "Passage",
    "TextError",
    "TextLimits",
    "Word",
    "clusters",
    "continues",
    "is_key",
    "normalise",
    "prepare",
    "preparing",
    "typed",
    "unicode_version",
]

Word = str | tuple[str, ...]
"""The target clusters of one word, closing space included where there is one: a plain `str` when every cluster is one
code point, else a tuple of clusters. Both have a length in clusters and index by cluster."""

DELETE = "\b"
"""The key that takes one cluster away."""

DELETE_WORD = "\x17"
"""The key that takes one word away (what a terminal sends for Ctrl-W)."""

CLUSTER_BYTES = 64
"""A cluster of a text, a key, and what several keys make together take no more UTF-8 than this."""

RUN_CLUSTERS = 100
"""The longest word without a space; a longer run is cut into words of this many clusters."""

_SLICE = 256
"""Code points prepared between two yields: a quarter of a millisecond on a busy machine."""

_SHORT_CLUSTER = CLUSTER_BYTES // 4
"""So many code points are no more than `CLUSTER_BYTES`, whatever they are."""

_RAW_CLUSTER = 128
"""No longer cluster is even normalised: putting marks in order takes quadratic time. What is at most 64 bytes in NFC
has at most 86 code points in any equivalent form."""

_CLUSTER = regex.compile(r"\X")
_REFUSED = regex.compile(r"[[\p{GCB=Control}\p{Cc}\p{Cs}]--\p{White_Space}]", regex.V1)
_SPACE = regex.compile(r"\p{White_Space}")
_SPACELESS = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")

_NEW_SCRIPTS = (("18.0", "Jurchen"), ("17.0", "Sidetic"), ("16.0", "Garay"), ("15.0", "Kawi"))


def unicode_version(newest_first: Iterable[tuple[str, str]] = _NEW_SCRIPTS) -> str:
    """The Unicode version of `regex`, which does not tell: the first here whose script it knows."""
    for version, script in newest_first:
        try:
            regex.compile(rf"\p{{Script={script}}}")
        except regex.error:
            continue
        return version
    raise ImportError("this version of `regex` is too old: please update it")


UNICODE_VERSION = unicode_version()
"""Unicode version of the cluster boundaries."""

NORMALISATION_VERSION = unidata_version
"""Unicode version of NFC."""


class TextError(ValueError):
    """A text that nobody could type, with the reason in words."""


@dataclass(frozen=True, slots=True)
class TextLimits:
    """How long a text may be."""

    graphemes: int = 20_000
    """Grapheme clusters, spaces included."""
    bytes: int = 48 * 1024
    """UTF-8 bytes, as the text came."""

    def __post_init__(self) -> None:
        """Refuse limits that would refuse every text."""
        for name in ("graphemes", "bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")


@dataclass(frozen=True, slots=True)
class Passage:
    """A prepared text. Immutable; `"".join` over its words is its text."""

    text: str
    words: tuple[Word, ...]
    _breaks: bytes | None = None
    _word_lengths: bytes | None = None

    @property
    def breaks(self) -> list[int] | None:
        """Code points of each cluster over the whole text, in order; None where every cluster is one code point."""
        return None if self._breaks is None else list(self._breaks)

    @property
    def word_lengths(self) -> list[int] | None:
        """Clusters of each word, closing space included; None where words are just what spaces separate."""
        return None if self._word_lengths is None else list(self._word_lengths)


def clusters(text: str) -> list[str]:
    """Split into extended grapheme clusters (UAX 29), changing nothing."""
    return _CLUSTER.findall(text)


@lru_cache(maxsize=2048)
def continues(cluster: str, key: str) -> bool:
    """Whether `key`, typed after `cluster`, belongs to the same cluster by UAX 29 (a mark, a joiner, a jamo)."""
    return len(_CLUSTER.findall(cluster + key)) == 1


@lru_cache(maxsize=2048)
def typed(key: str) -> str:
    """The key as it counts: NFC, white space as U+0020."""
    return " " if len(key) == 1 and _SPACE.match(key) else normalize("NFC", key)


_PLAIN_KEYS = frozenset(map(chr, range(0x20, 0x7F))) | {DELETE, DELETE_WORD}


def is_key(key: str) -> bool:
    """Whether this is one key: a cluster of at most 64 bytes (a lone mark too), a space, or one of the two deletes."""
    return key in _PLAIN_KEYS or (len(key) <= CLUSTER_BYTES and _is_rare_key(key))


@lru_cache(maxsize=2048)
def _is_rare_key(key: str) -> bool:
    if _REFUSED.search(key) or (_SPACE.search(key) and len(key) > 1):
        return False
    return len(_CLUSTER.findall(key)) == 1 and max(len(key.encode()), len(typed(key).encode())) <= CLUSTER_BYTES


def normalise(text: str, *, limits: TextLimits = TextLimits()) -> str:
    """NFC with each run of white space folded to one U+0020 and none at the ends. Raises TextError as `prepare`."""
    return prepare(text, timed=False, limits=limits).text


def prepare(text: str, *, timed: bool, limits: TextLimits = TextLimits()) -> Passage:
    """Prepare a text at once. Raises TextError, saying where and why."""
    work = preparing(text, timed=timed, limits=limits)
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]  # StopIteration is not generic; the generator returns this


def preparing(text: str, *, timed: bool, limits: TextLimits = TextLimits()) -> Generator[None, None, Passage]:
    """Prepare a text in slices: yields after less than a millisecond of work, returns the passage.

    Raises TextError for what rule 2 refuses, for an empty text and for one over the limits.
    """
    if len(text) > limits.bytes or len(text.encode(errors="surrogatepass")) > limits.bytes:
        raise TextError(f"the text is over {limits.bytes} bytes of UTF-8")
    words = _Words(limits.graphemes)
    start = 0
    while start < len(text):
        piece = text[start : start + _SLICE]
        raw = _CLUSTER.findall(piece)
        start += len(piece)
        if start < len(text):  # the last cluster may go on: leave it to the next slice
            if len(raw) == 1:
                raise _too_long(words.count)
            start -= len(raw.pop())
        words.add(_composed(raw, words.count))
        yield
    return words.passage(timed=timed)


def _composed(raw: list[str], count: int) -> list[str]:
    """The clusters in NFC; what they are may shift by it, but never their edges' being edges."""
    if max(map(len, raw)) > _RAW_CLUSTER:
        raise _too_long(count)
    piece = "".join(raw)
    if refused := _REFUSED.search(piece):
        raise TextError(f"U+{ord(refused[0]):04X} after character {count + refused.start()} is a control character")
    return raw if is_normalized("NFC", piece) else _CLUSTER.findall(normalize("NFC", piece))


def _too_long(count: int) -> TextError:
    return TextError(f"character {count + 1} has so many marks that it is over {CLUSTER_BYTES} bytes of UTF-8")


class _Words:
    """Words being made of the clusters that come (rule 3)."""

    def __init__(self, limit: int) -> None:
        self.count = 0
        """Clusters so far, spaces included."""
        self._limit = limit
        self._words: list[Word] = []
        self._texts: list[str] = []
        self._same: dict[Word, Word] = {}
        """One object for equal words."""
        self._word: list[str] = []
        self._alone = False
        """The word is one cluster of a script without spaces: any other cluster begins a new word."""
        self._space = False
        """White space came after the word."""
        self._plain = True
        self._spaced = True
        self._breaks = bytearray()
        self._lengths = bytearray()

    def add(self, found: list[str]) -> None:
        """Take NFC clusters, white space included."""
        for cluster in found:
            plain = cluster.isascii()
            if cluster.isspace() if plain else _SPACE.search(cluster):
                if len(cluster) > 1 and cluster != "\r\n":
                    raise TextError(f"a mark or sign joins itself to the space after character {self.count}")
                self._space = bool(self._word)
                continue
            if len(cluster) > _SHORT_CLUSTER and len(cluster.encode()) > CLUSTER_BYTES:
                raise _too_long(self.count)
            alone = not plain and _SPACELESS.match(cluster) is not None
            if self._space:
                self._end(closing=True)
            elif self._word and (alone or self._alone or len(self._word) == RUN_CLUSTERS):
                self._end(closing=False)
            if not (plain or self._word) and self._after_space() and continues(" ", cluster):
                raise TextError(f"the mark after character {self.count} has no character to stand on")
            self._alone = alone
            self._word.append(cluster)
            self.count += 1
            if self.count > self._limit:
                raise TextError(f"the text is over {self._limit} characters")

    def _after_space(self) -> bool:
        """Whether the word about to begin follows a space (or, in a text that repeats, would)."""
        return not self._words or self._words[-1][-1] == " "

    def _end(self, *, closing: bool) -> None:
        if closing:
            self._word.append(" ")
            self.count += 1
        self._spaced = self._spaced and closing
        self._keep()

    def _keep(self) -> None:
        clusters = self._word
        joined = "".join(clusters)
        word: Word = joined if len(joined) == len(clusters) else tuple(clusters)
        self._words.append(self._same.setdefault(word, word))
        self._texts.append(joined)
        self._plain = self._plain and isinstance(word, str)
        self._breaks.extend(map(len, clusters))
        self._lengths.append(len(clusters))
        self._word = []
        self._space = self._alone = False

    def passage(self, *, timed: bool) -> Passage:
        """The passage of all that came."""
        if not self._word:
            raise TextError("the text is empty")
        if continues(self._word[-1], " "):
            raise TextError("the text's last character would join itself to a space")
        if timed:
            self._word.append(" ")
        self._keep()
        return Passage(
            "".join(self._texts),
            tuple(self._words),
            None if self._plain else bytes(self._breaks),
            None if self._spaced else bytes(self._lengths),
        )
