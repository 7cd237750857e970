"""Finished results: the port, the rule for several copies of one session, and the SQLite store.

The store keeps what nodes attested; it scores nothing and checks no owner (the API says who may read what).
"""

from persistence.results.cursor import Page
from persistence.results.port import Outcome, Progress, ResultStore, StoreFacts
from persistence.results.sqlite import SqliteResults, SqliteResultsOptions

__all__ = ["Outcome", "Page", "Progress", "ResultStore", "SqliteResults", "SqliteResultsOptions", "StoreFacts"]
