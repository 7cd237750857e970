"""Analytics events: what became of each result, as JSON, for whoever counts, searches or passes news on.

One event a result and delivery; a result that is delivered again gives an event with the same `id`, by which a reader
knows it. `schema` is raised when a field changes its meaning or goes; fields may be added any time. The log of what was
typed is not in it: keystroke timing identifies people.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from persistence.notices import Notice
from persistence.results.port import Written
from session.identity import MAX_EPOCH_MS, session_from_text, session_to_text, user_from_text
from session.result import Result

__all__ = ["SCHEMA", "News", "event_of", "news_in"]

SCHEMA: Final = 1


class News(NamedTuple):
    """What is to be told a user of, read from an event."""

    session: bytes
    user: int
    created_at_ms: int
    notice: dict[str, Any]
    """As `Notice.to_wire` made it."""


def event_of(result: Result, written: Written, notice: Notice | None) -> bytes:
    """The event of a result that was stored."""
    summary = result.summary
    event = {
        "schema": SCHEMA,
        "id": session_to_text(result.session),
        "user": str(result.user),
        "guest": result.user < 0,
        "created_at_ms": result.created_at_ms,
        "mode": result.mode,
        "count": result.count,
        "seconds": result.seconds,
        "test": None if result.test is None else str(result.test),
        "test_version": result.test_version,
        "language": result.language,
        "punctuation": result.punctuation,
        "numbers": result.numbers,
        "tags": result.tags,
        "input": result.input,
        "wpm": summary.wpm,
        "raw": summary.raw,
        "acc": summary.acc,
        "consistency": summary.consistency,
        "key_consistency": summary.key_consistency,
        "chars": [summary.chars.correct, summary.chars.incorrect, summary.chars.extra, summary.chars.missed],
        "errors": summary.inserts.wrong,
        "duration_ms": summary.duration_ms,
        "afk_ms": summary.afk_ms,
        "verdict": written.verdict,
        "reasons": [reason.name for reason in result.reasons],
        "outcome": written.outcome.value,
        "node": result.node,
        "unseen_ms": result.unseen_ms,
        "slack_ms": result.slack_ms,
        "scoring_version": result.scoring_version,
        "notice": None if notice is None else notice.to_wire(),
    }
    return orjson.dumps(event)


def news_in(event: bytes | None) -> News | None:
    """What an event tells its user; None where that is nothing. Raises ValueError where it is no event."""
    found = orjson.loads(event or b"")
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise ValueError("no analytics event of a schema that is known here")
    try:
        notice = found["notice"]
        if notice is None:
            return None
        if not isinstance(notice, dict):
            raise ValueError("an event whose notice is no map")
        created_at_ms = found["created_at_ms"]
        if type(created_at_ms) is not int or not 0 <= created_at_ms <= MAX_EPOCH_MS:
            raise ValueError(f"an event of the instant {created_at_ms!r:.40}; allowed is 0 to {MAX_EPOCH_MS}")
        return News(session_from_text(found["id"]), user_from_text(found["user"]), created_at_ms, notice)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"an event without what every event has: {error!r}") from None
