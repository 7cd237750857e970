"""The embedded result store: one SQLite file (`schema`), its writes and reads (`store`), personal bests (`bests`)."""

from persistence.results.sqlite.store import SqliteResults, SqliteResultsOptions

__all__ = ["SqliteResults", "SqliteResultsOptions"]
