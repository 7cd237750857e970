"""Pure arithmetic on a target text and keystrokes.

Text preparation (`text`), the incremental scorer (`scorer`), the formulas (`formulas`), what a finished test says
(`summary`), figures from a whole log (`analysis`), plausibility and clock drift (`plausibility`, `drift`) and the codec
of a log (`replay`). What may take long is work in slices (`slices`). Never any I/O, clock, chance or event loop: what
it needs comes in as arguments, and equal arguments give equal figures for ever, within one `SCORING_VERSION`.
"""

from scoring.scorer import LONGEST_MS, RULES_VERSION, Scorer
from scoring.summary import CharCounts, InsertCounts, Series, Summary
from scoring.text import (
    NORMALISATION_VERSION,
    UNICODE_VERSION,
    Passage,
    TextError,
    TextLimits,
    Word,
    clusters,
    is_key,
    normalise,
    prepare,
    preparing,
)

__all__ = [
    "LONGEST_MS",
    "SCORING_VERSION",
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

SCORING_VERSION = f"{RULES_VERSION}/{UNICODE_VERSION}/{NORMALISATION_VERSION}"
"""What figures depend on beside text and log: our rules, Unicode's cluster boundaries, Unicode's NFC."""
