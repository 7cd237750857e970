"""Makes bare results whole: the series per second and the text's hash come from log and text again.

A result that cannot be played here (its word list is not in this catalogue) is given as it is, without series; all its
other figures are those that were stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

import structlog

from persistence.catalogue.texts import Texts
from persistence.rescoring import Rescored, Unreplayable, rescoring
from session.receipt import hash_of
from session.result import Result

__all__ = ["played"]

log = structlog.get_logger(__name__)


async def played(results: Iterable[Result], texts: Texts) -> list[Result]:
    """These results, whole. Others on the loop have their turn after each slice of a millisecond."""
    return [await _played(result, texts) for result in results]


async def _played(result: Result, texts: Texts) -> Result:
    if not result.replay:  # of an old installation
        return result
    steps = rescoring(result, texts, with_holds=False)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            again: Rescored = done.value
            summary = replace(result.summary, series=again.summary.series)
            return replace(result, summary=summary, text_hash=hash_of(again.material.text.encode()))
        except Unreplayable as why:
            log.warning("a stored result has no series", session=result.session.hex(), why=str(why))
            return result
        await asyncio.sleep(0)
