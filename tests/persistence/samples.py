"""Results to store: of real logs, real in every field that a store looks at, told apart by number."""

import asyncio
from array import array
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from random import Random

from loadtest.finished import Typists
from persistence.catalogue import EmbeddedCatalogue
from persistence.catalogue.texts import Texts
from persistence.rescoring import rescoring
from persistence.results import Outcome, Written
from scoring.drift import DriftReading
from scoring.slices import at_once
from session.history import encode
from session.identity import mint_session
from session.options import SessionLimits
from session.result import Result, core_hash_of
from session.settling import Settled

T0_MS = 1_790_000_000_000
"""When the first sample was started (epoch ms), on a Monday; sample i was started i seconds later."""

_TYPED = 4  # different logs


@cache
def texts() -> Texts:
    """The texts that samples were typed from: what is built in."""

    async def opened() -> Texts:
        async with EmbeddedCatalogue(None) as catalogue:
            return Texts(catalogue, limits=SessionLimits())

    with ThreadPoolExecutor(1) as thread:  # a test's own loop may be running in this one
        return thread.submit(asyncio.run, opened()).result()


def sample(i: int = 0, *, user: int = 7, created_ms: int | None = None, replay_bytes: int | None = None) -> Result:
    """The i-th result of a user, 30 seconds on the clock; the same numbers give the same result.

    `replay_bytes` gives it a log of that size instead, which cannot be played.
    """
    return _sample(i, 30, user=user, created_ms=created_ms, replay_bytes=replay_bytes)


def raced(i: int = 0) -> Result:
    """A sample that was typed in a race."""
    result = replace(sample(i), race="0123456789abc")
    again = at_once(rescoring(result, texts()))
    return replace(result, summary=replace(result.summary, series=again.summary.series))


def ranked(i: int = 0, *, wpm: float, user: int = 7, created_ms: int | None = None, **changes: object) -> Result:
    """A sample that counts for the board time-15-en, of this speed."""
    result = _sample(i, 15, user=user, created_ms=created_ms, wpm=wpm)
    return replace(result, **changes)  # type: ignore[arg-type]  # fields by name: a wrong one fails the test


@cache
def _typed(seconds: int) -> list[Result]:
    typists = Typists(texts(), people=_TYPED)
    return [typists.finish(mode="time", seconds=seconds, language="en") for _ in range(_TYPED)]


def _sample(
    i: int,
    seconds: int,
    *,
    user: int,
    created_ms: int | None,
    wpm: float | None = None,
    replay_bytes: int | None = None,
) -> Result:
    chance = Random(f"{i} {user}")
    typed = _typed(seconds)[i % _TYPED]
    session = mint_session(
        user,
        epoch_ms=T0_MS + 1000 * i if created_ms is None else created_ms,
        random_bits=chance.getrandbits(62),
    )
    ticket_hash = chance.randbytes(16)
    clocks = {"drift_ms": -3.25, "lag_ms": 12.5}
    speed = round(chance.uniform(20, 120), 2)
    summary = replace(typed.summary, wpm=speed if wpm is None else float(wpm), acc=round(chance.uniform(90, 100), 2))
    return replace(
        typed,
        session=session,
        user=user,
        ticket_hash=ticket_hash,
        replay=typed.replay if replay_bytes is None else chance.randbytes(replay_bytes),
        summary=summary,
        core_hash=core_hash_of(
            session=session,
            user=user,
            ticket_hash=ticket_hash,
            log_digest=typed.log_digest,
            summary=summary,
            gave_up=typed.gave_up,
            scoring_version=typed.scoring_version,
        ),
        node="here",
        seen_live=160,
        lag_ms=clocks["lag_ms"],
        drift_ms=clocks["drift_ms"],
        features=typed.features | clocks,
        verdict="ok",
        reasons=(),
    )


def copy_of(result: Result, *, core: int | None = None, **changes: object) -> Result:
    """Another copy of a result: with another core where `core` is given, with other attestation fields as said."""
    if core is not None:
        changes["core_hash"] = bytes([core]) * 16
    return replace(result, **changes)  # type: ignore[arg-type]  # fields by name: a wrong one fails the test


def outcomes(written: Iterable[Written]) -> list[Outcome]:
    """What became of each."""
    return [one.outcome for one in written]


def settled_sample(i: int = 0, *, user: int = 7, events: int = 160) -> Settled:
    """The i-th result of a user as it is before it was judged: every third of them is a program's."""
    chance = Random(f"settled {i} {user}")
    flat: list[int | str] = []
    for _ in range(events):
        flat += [110 if i % 3 == 0 else round(chance.lognormvariate(4.7, 0.5)), chance.choice("etaoin shrdlu")]
    history = bytearray()
    assert encode(flat, history) is None
    clocks = DriftReading(drift_ms=-3.25, lag_ms=12.5, ahead_limit_ms=250.0, behind_limit_ms=500.0)
    return Settled(
        result=replace(sample(i, user=user), replay=b"", verdict="ok", features={}, reasons=()),
        n=events,
        history=bytes(history),
        held=array("H", [chance.randrange(60, 160) for _ in range(events)]),
        clocks=clocks,
        conflict=False,
        review_keys_per_s=50,
        replay_bytes=60 * 1024,
    )


def judged(settled: Settled) -> Result:
    """What it comes to."""
    return at_once(settled.judging())
