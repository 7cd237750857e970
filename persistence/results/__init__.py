"""Finished results: the port, the rules for copies of one session and for personal bests, and the stores.

A store keeps what nodes attested; it scores nothing and checks no owner (the API says who may read what).
"""

from persistence.results.bests import BestRules, Board, BoardError, Period, PersonalBest, Place, Span
from persistence.results.cursor import Page
from persistence.results.names import MOST_NAMED, Called
from persistence.results.port import (
    MOST_GUESTS,
    Linked,
    Outcome,
    Progress,
    ResultStore,
    Stored,
    StoreFacts,
    Written,
)
from persistence.results.public import MOST_PUBLIC, Visibility, why_not_public
from persistence.results.sqlite import SqliteResults, SqliteResultsOptions

__all__ = [
    "MOST_GUESTS",
    "MOST_NAMED",
    "MOST_PUBLIC",
    "BestRules",
    "Board",
    "BoardError",
    "Called",
    "Linked",
    "Outcome",
    "Page",
    "Period",
    "PersonalBest",
    "Place",
    "Progress",
    "ResultStore",
    "Span",
    "SqliteResults",
    "SqliteResultsOptions",
    "StoreFacts",
    "Stored",
    "Visibility",
    "Written",
    "why_not_public",
]
