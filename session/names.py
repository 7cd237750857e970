"""What a racer may be called: short, to be seen, and nobody else's.

A name is shown to strangers beside others, so nothing in it may deceive: nothing invisible, nothing that turns the
line around, no tower of marks, nobody's default name, and no two names of a race that look the same. What is markup
elsewhere is text here; pages show it as text.
"""

from collections.abc import Collection
from hashlib import blake2b
from typing import Final
from unicodedata import normalize

import regex

from scoring.text import clusters

__all__ = ["NAME_BYTES", "NAME_CLUSTERS", "NameFault", "clean_name", "default_name", "distinct_name"]

NAME_CLUSTERS: Final = 20
NAME_BYTES: Final = 80
"""Longest name, in grapheme clusters and in UTF-8."""

_RAW: Final = 400
"""No longer text is looked at any closer: normalising a tower of marks takes quadratic time."""

_SPACES = regex.compile(r"\p{White_Space}+")
# C*: controls, formats (bidi and zero width among them), surrogates, private and unassigned ones. The others are
# letters and symbols that show nothing; what only a joined emoji or an Indic cluster needs is looked at apart.
_UNSEEN = regex.compile(
    r"[[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]--[\u200C\u200D\uFE0E\uFE0F\U000E0020-\U000E007F]]",
    regex.V1,
)
_JOINED = regex.compile(
    r"(?<=\p{Extended_Pictographic}[\p{Emoji_Modifier}\uFE0F]?)\u200D(?=\p{Extended_Pictographic})"
    r"|(?<=[\p{Emoji}\p{Emoji_Modifier}])[\uFE0E\uFE0F]"
    r"|(?<=\p{Indic_Syllabic_Category=Virama})[\u200C\u200D]"
    r"|(?<=\U0001F3F4)[\U000E0020-\U000E007E]{1,6}\U000E007F"
)
_SOME = regex.compile(r"[\u200C\u200D\uFE0E\uFE0F\U000E0020-\U000E007F]")
_TOWER = regex.compile(r"[\p{Mn}\p{Me}]{3}")
_LONE = regex.compile(r"(?:^| )\p{M}")
_SAYS_SOMETHING = regex.compile(r"[\p{L}\p{N}\p{Extended_Pictographic}\p{Regional_Indicator}]")
_DEFAULT = regex.compile(r"(?:guest|typist)[\W_]*\d+[\W_]*")
_AS_DIGITS = str.maketrans("lo", "10")

_LOOKS: Final = str.maketrans(
    "аеорсухіїјѕһԁԛԝьӏ"  # Cyrillic
    "ονιρυχγκ"  # Greek
    "ıɡɑ01|",
    "aeopcyxiijshdqwbl" "ovipuxyk" "igaoll",
)  # fmt: skip
"""Letters that look like others, in lower case: the commonest, so that nobody passes for another without trying."""


class NameFault(ValueError):
    """Nobody can be called that; the message says why, and what is allowed."""


def clean_name(text: str) -> str:
    """The name in NFC with single spaces. Raises `NameFault`."""
    if len(text) > _RAW:
        raise NameFault(f"a name has at most {NAME_CLUSTERS} characters")
    name = _SPACES.sub(" ", normalize("NFC", text)).strip()
    if not name:
        raise NameFault(f"a name has 1 to {NAME_CLUSTERS} characters")
    if _UNSEEN.search(name) or _SOME.search(_JOINED.sub("", name)):
        raise NameFault("a name has no control characters, nothing invisible, and nothing that changes direction")
    if _LONE.search(name):
        raise NameFault("a mark in a name needs a letter to stand on")
    if _TOWER.search(name):
        raise NameFault("a letter of a name has at most two marks")
    if len(clusters(name)) > NAME_CLUSTERS:
        raise NameFault(f"a name has at most {NAME_CLUSTERS} characters")
    if len(name.encode()) > NAME_BYTES:
        raise NameFault(f"a name has at most {NAME_BYTES} bytes of UTF-8")
    if not _SAYS_SOMETHING.search(name):
        raise NameFault("a name has a letter, a digit or a picture")
    if _DEFAULT.fullmatch(_look(name).translate(_AS_DIGITS)):
        raise NameFault("names like Guest 1234 are given to who has none")
    return name


def default_name(user: int) -> str:
    """What somebody without a name is called: of equal form for all, by the user's id, which it does not show.

    Who guesses an id can tell whether it fits the name: one in nine thousand does. No secret keeps that off, since an
    id is none: it opens nothing, and leaderboards show it beside the name. And so all nodes, and records read in years,
    say the same without having to share anything.
    """
    digest = blake2b(str(user).encode(), digest_size=8, person=b"typegate name").digest()
    return f"{'Guest' if user < 0 else 'Typist'} {1000 + int.from_bytes(digest, 'big') % 9000}"


def distinct_name(name: str, taken: Collection[str]) -> str:
    """The name, with a number after it where one that looks the same is taken."""
    looks = set(map(_look, taken))
    if _look(name) not in looks:
        return name
    number = 2
    while True:
        ending = f" {number}"
        parts = clusters(name)[: NAME_CLUSTERS - len(ending)]
        while len("".join(parts).encode()) + len(ending) > NAME_BYTES:
            parts.pop()
        numbered = "".join(parts).rstrip() + ending
        if _look(numbered) not in looks:
            return numbered
        number += 1


def _look(name: str) -> str:
    """Equal for names that look alike: case, width, spaces and common look-alikes do not count."""
    return normalize("NFKC", name).casefold().translate(_LOOKS).replace(" ", "")
