"""The file of the embedded store: its tables, and the steps that lead an older file there.

`results.packed` is the winning copy as its node packed it; `results.verdict` is what holds (`copies` says why they may
differ); `results.board` is the board where it counts while that is `ok`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from persistence.race_records.sqlite import TABLES as RACES
from persistence.results.bests import DAY_MS, BestRules, board_of
from persistence.results.sqlite import bests, names, public
from persistence.sqlite import Step
from session.result import Damaged, Result

# Ids are UUIDv7, so the order of ids is the order of created_at; both stand in the index, for readers of this file.
_RESULTS = (
    """CREATE TABLE results (
        id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
        user_id INTEGER NOT NULL,
        created_ms INTEGER NOT NULL,
        mode TEXT NOT NULL,
        wpm REAL NOT NULL,
        acc REAL NOT NULL,
        duration_ms REAL NOT NULL,
        verdict TEXT NOT NULL,
        conflicts INTEGER NOT NULL,
        core_hash BLOB NOT NULL,
        packed BLOB NOT NULL
    )""",
    "CREATE INDEX results_of_user ON results (user_id, created_ms DESC, id DESC)",
    """CREATE TABLE result_conflicts (
        id BLOB NOT NULL,
        place INTEGER NOT NULL,
        core_hash BLOB NOT NULL,
        packed BLOB NOT NULL,
        PRIMARY KEY (id, place)
    )""",
    """CREATE TABLE progress (
        user_id INTEGER NOT NULL,
        day INTEGER NOT NULL,
        mode TEXT NOT NULL,
        tests INTEGER NOT NULL,
        duration_ms REAL NOT NULL,
        wpm REAL NOT NULL,
        best_wpm REAL NOT NULL,
        acc REAL NOT NULL,
        PRIMARY KEY (user_id, day, mode)
    ) WITHOUT ROWID""",
)

_LINKS = (
    """CREATE TABLE guest_links (
        guest_id INTEGER PRIMARY KEY NOT NULL CHECK (guest_id < 0),
        account_id INTEGER NOT NULL CHECK (account_id > 0),
        claimed_ms INTEGER NOT NULL
    )""",
    "CREATE INDEX guests_of_account ON guest_links (account_id, claimed_ms)",
)


def steps(rules: BestRules) -> Sequence[Sequence[Step]]:
    """The steps for `persistence.sqlite.migrate`; `rules` judge results that are there already."""

    def find_bests(connection: sqlite3.Connection) -> None:
        boards: list[tuple[str, bytes]] = []
        touched = set()
        for session, packed in connection.execute("SELECT id, packed FROM results WHERE user_id > 0"):
            try:
                result = Result.unpack(packed)
            except Damaged:
                continue  # whoever reads it will be told; it is in nobody's way here
            board = board_of(result, rules)
            if board is not None:
                boards.append((str(board), session))
                touched.add((result.user, board, result.created_at_ms // DAY_MS))
        connection.executemany("UPDATE results SET board = ? WHERE id = ?", boards)
        for user, board, day in touched:
            bests.rebuild(connection, user, board, day * DAY_MS)

    return _RESULTS, (*bests.SCHEMA, find_bests), _LINKS, public.SCHEMA, RACES, names.SCHEMA
