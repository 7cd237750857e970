"""Results to store: real ones in every field that a store looks at, told apart by number."""

from array import array
from collections.abc import Iterable
from dataclasses import replace
from hashlib import blake2b
from random import Random

from persistence.results import Outcome, Written
from scoring.drift import DriftReading
from scoring.summary import CharCounts, InsertCounts, Series, Summary
from session.history import encode
from session.identity import mint_session
from session.result import Result
from session.settling import Settled

T0_MS = 1_790_000_000_000
"""When the first sample was started (epoch ms); sample i was started i seconds later."""


def sample(i: int = 0, *, user: int = 7, created_ms: int | None = None, replay_bytes: int = 300) -> Result:
    """The i-th result of a user; the same numbers give the same result."""
    chance = Random(f"{i} {user}")
    session = mint_session(
        user,
        epoch_ms=T0_MS + 1000 * i if created_ms is None else created_ms,
        random_bits=chance.getrandbits(62),
    )
    seconds = 30
    summary = Summary(
        wpm=round(chance.uniform(20, 120), 2),
        raw=round(chance.uniform(120, 140), 2),
        acc=round(chance.uniform(90, 100), 2),
        consistency=round(chance.uniform(60, 90), 2),
        key_consistency=round(chance.uniform(20, 60), 2),
        wpm_consistency=round(chance.uniform(60, 90), 2),
        chars=CharCounts(150, 2, 1, 0),
        total_chars=153,
        inserts=InsertCounts(155, 4),
        duration_ms=float(seconds * 1000),
        seconds=float(seconds),
        afk_ms=0.0,
        series=Series(*([chance.randrange(40, 120) for _ in range(seconds)] for _ in range(4))),
    )
    replay = chance.randbytes(replay_bytes)
    return Result(
        session=session,
        user=user,
        ticket_hash=chance.randbytes(16),
        replay=replay,
        log_digest=blake2b(replay, digest_size=16).digest(),
        summary=summary,
        mode="time",
        count=None,
        seconds=seconds,
        test=None,
        test_version=0,
        language="en",
        list_version=1,
        generator=1,
        punctuation=False,
        numbers=False,
        tags=(),
        input="keyboard",
        seed=chance.getrandbits(64),
        text_hash=chance.randbytes(16),
        scoring_version="1/17.0",
        gave_up=False,
        core_hash=chance.randbytes(16),
        node="here",
        epoch=0,
        seen_live=160,
        unseen_ms=0,
        slack_ms=0,
        lag_ms=12.5,
        drift_ms=-3.25,
        verdict="ok",
        features={"gap_cv": 0.4},
        reasons=(),
    )


def copy_of(result: Result, *, core: int | None = None, **changes: object) -> Result:
    """Another copy of a result: with another core where `core` is given, with other attestation fields as said."""
    if core is not None:
        changes["core_hash"] = bytes([core]) * 16
    return replace(result, **changes)  # type: ignore[arg-type]  # fields by name: a wrong one fails the test


def ranked(i: int = 0, *, wpm: float, user: int = 7, created_ms: int | None = None, **changes: object) -> Result:
    """A sample that counts for the board time-15-en, of this speed."""
    result = sample(i, user=user, created_ms=created_ms)
    summary = replace(result.summary, wpm=wpm, duration_ms=15_000.0, seconds=15.0)
    return copy_of(result, **{"seconds": 15, "summary": summary} | changes)  # type: ignore[arg-type]  # by name, again


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
    steps = settled.judging()
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: Result = done.value
            return result
