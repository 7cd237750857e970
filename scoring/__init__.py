"""Pure arithmetic on a target text and keystrokes.

Text preparation (`text`), the incremental scorer (`scorer`), the formulas (`formulas`), what a finished test says
(`summary`), figures from a whole log (`analysis`), plausibility and clock drift (`plausibility`, `drift`) and the codec
of a log (`replay`). Never any I/O, clock, chance or event loop: what it needs comes in as arguments, and equal
arguments give equal figures for ever, within one `SCORING_VERSION`.
"""

from scoring.scorer import LONGEST_MS, Scorer
from scoring.summary import CharCounts, InsertCounts, Series, Summary
from scoring.text import Passage, TextError, TextLimits, Word, clusters, is_key, normalise, prepare, preparing

__all__ = [
    "LONGEST_MS",
    "CharCounts",
    "InsertCounts",
    "Passage",
    "Scorer",
    "Series",
    "Summary",
    "TextError",
    "TextLimits",
    "Word",
    "clusters",
    "is_key",
    "normalise",
    "prepare",
    "preparing",
]
