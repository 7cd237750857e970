"""How hard a text is to type, as one number that anybody can recompute.

    effort = keystrokes per word + 0.3 * (digits, capitals and symbols in per cent of all characters)

Long words are unfamiliar words (their length is what the readability formulas since Flesch, 1948, have in common), and
digits, capitals and symbols leave the home keys or need a second finger. Comma, full stop and apostrophe are not
counted as symbols: they lie as near as letters. A letter with a mark counts as the keystrokes of its parts, so that a
Hangul syllable counts its jamo; a Han character counts 3, about what its spelling in letters takes. In scripts without
spaces a word says nothing, so each cluster counts as one and only digits and symbols make such a text hard.
"""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

from persistence.catalogue.entries import Difficulty
from scoring.text import Passage

EASY_BELOW = 4.3
"""Efforts below are easy: everyday words, few capitals, hardly a symbol."""
HARD_FROM = 6.5
"""Efforts from here are hard: digits, brackets, names, technical terms."""

_SYMBOL_WEIGHT = 0.3
_NEAR_SYMBOLS = frozenset(",.'،。、")
_HAN_KEYS = 3


class Effort(NamedTuple):
    """`keys_per_word`: keystrokes for the letters of an average word; `symbols`: per cent of all characters."""

    keys_per_word: float
    symbols: float

    @property
    def total(self) -> float:
        """The number that decides."""
        return self.keys_per_word + _SYMBOL_WEIGHT * self.symbols


def effort(passage: Passage) -> Effort:
    """Measure a text."""
    keys = symbols = characters = words = 0
    for word in passage.words:
        letters = 0
        for cluster in word:
            if cluster == " ":
                characters += 1
                continue
            characters += 1
            category = unicodedata.category(cluster[0])
            if category[0] in "LM":
                letters += (
                    _HAN_KEYS if "\u4e00" <= cluster[0] <= "\u9fff" else len(unicodedata.normalize("NFD", cluster))
                )
                symbols += category == "Lu"
            elif cluster not in _NEAR_SYMBOLS:
                symbols += 1
        keys += letters
        words += letters > 0
    return Effort(keys / max(words, 1), 100 * symbols / max(characters, 1))


def difficulty_of(passage: Passage) -> Difficulty:
    """The difficulty that a text's effort gives it."""
    total = effort(passage).total
    if total < EASY_BELOW:
        return "easy"
    return "hard" if total >= HARD_FROM else "medium"
