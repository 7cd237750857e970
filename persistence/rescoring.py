"""A stored result played again: its text built anew, its log decoded, scored by the same scorer, compared to the digit.

Every function is a generator that yields between slices of work under a millisecond and returns its answer: the API
runs them in the process's slices, the command line at once.
"""

from collections.abc import Generator
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from persistence.catalogue.texts import Texts
from scoring.analysis import Spread, analyse
from scoring.replay import Log, ReplayError, decoding
from scoring.scorer import Scorer
from scoring.summary import Summary
from session.messages import Error
from session.options import TestOptions
from session.passages import Material
from session.receipt import Ticket, hash_of
from session.result import Result

__all__ = ["Rescored", "TextUnknown", "Unreplayable", "differences", "keyed", "rescoring", "ticket_of"]

T = TypeVar("T")

SLICE = 500
"""Keystrokes scored between two breaths: about 0.4 ms."""


class Unreplayable(Exception):
    """The result cannot be played again here: its text or log is of a version that this server does not have."""


class TextUnknown(Unreplayable):
    """Its text is of a version that this server does not have; it may be new."""


@dataclass(frozen=True, slots=True)
class Rescored:
    """A result, played again."""

    material: Material
    log: Log
    summary: Summary
    differs: dict[str, tuple[Any, Any]]
    """Figures that are not the stored ones: (stored, now)."""

    @property
    def agrees(self) -> bool:
        """Whether every figure is the stored one, to the digit."""
        return not self.differs


def ticket_of(result: Result) -> Ticket:
    """The ticket's words for a result's test, from which its text is built as it was."""
    return Ticket(
        session=result.session,
        user=result.user,
        options=TestOptions(
            mode=result.mode,
            count=result.count,
            seconds=result.seconds,
            test=result.test,
            language=result.language,
            punctuation=result.punctuation,
            numbers=result.numbers,
            tags=result.tags,
            input=result.input,
        ),
        seed=result.seed,
        test_version=result.test_version,
        list_version=result.list_version,
        generator=result.generator,
        text_hash=result.text_hash,
        scoring_version=result.scoring_version,
        started_ms=result.created_at_ms,
    )


def rescoring(result: Result, texts: Texts, *, with_holds: bool = True) -> Generator[None, None, Rescored]:
    """Play a result again. `with_holds`: whether its log is to have them; no figure needs them. Raises Unreplayable."""
    if not result.replay:
        raise Unreplayable("it came from an old installation, without its keystrokes")
    material = yield from texts.again(ticket_of(result), text=result.text, ref=None)
    if isinstance(material, Error):
        raise TextUnknown(material.message)
    # a store may have kept the beginning of the hash alone
    if not hash_of(material.text.encode()).startswith(result.text_hash):
        raise Unreplayable("the text that this server has for the test is not the one that was typed")
    try:
        log = yield from decoding(result.replay, with_holds=with_holds)
    except ReplayError as fault:
        raise Unreplayable(f"the stored log cannot be read: {fault}") from None
    scorer = scorer_for(result, material)
    events = log.events
    for start in range(0, len(events), 2 * SLICE):
        scorer.feed(events[start : start + 2 * SLICE])
        yield
    summary = scorer.summary(gave_up=result.gave_up)
    return Rescored(material, log, summary, differences(result.summary, summary))


def keyed(result: Result, again: Rescored) -> dict[str, Any]:
    """Figures by key, spread of gaps and holds, and error rates, as the API shows them.

    Plays the log a key at a time: up to a tenth of a second for the longest, so not for the event loop.
    """
    found = analyse(
        again.material.words,
        again.log.events,
        again.log.holds,
        limit_ms=_limit_ms(result),
        zen=result.mode == "zen",
        cyclic=again.material.cyclic,
        from_start=result.race is not None,
    )
    return {
        "keys": {
            key: {
                "inserts": figures.inserts,
                "wrong": figures.wrong,
                "latency_ms": round(figures.latency.mean, 2),
                "latency_sd_ms": round(figures.latency.sd, 2),
            }
            for key, figures in found.keys.items()
        },
        "spacing": _spread(found.spacing),
        "duration": _spread(found.duration),
        "overlap_ms": found.overlap_ms,
        "rates": {field.name: round(getattr(found.rates, field.name), 6) for field in fields(found.rates)},
    }


def _spread(spread: Spread) -> dict[str, float]:
    return {"n": spread.n, "mean_ms": round(spread.mean, 2), "sd_ms": round(spread.sd, 2)}


def _limit_ms(result: Result) -> int | None:
    return None if result.seconds is None else result.seconds * 1000


def scorer_for(result: Result, material: Material) -> Scorer:
    """A fresh scorer for the result's test."""
    return Scorer(
        material.words,
        limit_ms=_limit_ms(result),
        zen=result.mode == "zen",
        cyclic=material.cyclic,
        exact_duration=result.mode == "text",
        from_start=result.race is not None,
    )


def differences(stored: Summary, now: Summary) -> dict[str, tuple[Any, Any]]:
    """The figures of two summaries that are not equal: (stored, now), by name."""
    if stored == now:
        return {}
    return {
        field.name: (getattr(stored, field.name), getattr(now, field.name))
        for field in fields(Summary)
        if getattr(stored, field.name) != getattr(now, field.name)
    }
