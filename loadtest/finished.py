"""Finished results without a server: a crowd plays whole sessions in memory, and what they come to is as a node's.

For benchmarks and tests of what happens to a result after its test: each is the result of a real log, scored, judged
and packed by the session itself, so it can be played again to the same digits.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, TypeVar

from loadtest.crowd import Crowd
from loadtest.mixes import MixPlan
from persistence.catalogue.texts import Texts
from scoring.slices import at_once
from session.identity import MAX_USER, mint_session
from session.machine import TypingSession
from session.messages import Error
from session.options import SessionLimits, TestOptions
from session.receipt import KeyRing
from session.result import Result

__all__ = ["Typists"]

T = TypeVar("T")

BATCH_KEYS = 25
"""Keys in one frame: a typist sends one every quarter of a second; fewer and larger ones come to the same result."""


class Typists:
    """People who type test after test; equal seeds make equal results.

    `epoch_ms` is when the first of them was started, each later one `apart_ms` after it.
    """

    def __init__(
        self,
        texts: Texts,
        *,
        seed: int = 1,
        mix: str = "mix",
        people: int = 1_000,
        epoch_ms: int = 1_790_000_000_000,
        apart_ms: int = 10,
        node: str = "node-1",
        limits: SessionLimits | None = None,
    ) -> None:
        self._texts = texts
        self._limits = limits or SessionLimits()
        self._node = node
        self._people = people
        self._epoch_ms = epoch_ms
        self._apart_ms = apart_ms
        self._crowd = Crowd(seed, min(people, 1_000))
        self._plans = [MixPlan(self._crowd, number, mix=mix, seed=seed, rest_ms=0) for number in range(people)]
        self._chance = random.Random(f"finished {seed}")
        self._users = [self._chance.randrange(1, MAX_USER) for _ in range(people)]
        self._ring = KeyRing([(1, bytes(range(32)))])
        self._count = 0

    def results(self, count: int) -> Iterator[Result]:
        """The next results."""
        for _ in range(count):
            yield self.finish()

    def finish(self, *, user: int | None = None, **options: Any) -> Result:
        """One more test, typed to its end: of the mix, or as `options` say."""
        number = self._count % self._people
        plan = self._plans[number]
        chosen = options or plan.choose(self._count)
        assert chosen is not None
        created_ms = self._epoch_ms + self._count * self._apart_ms
        self._count += 1
        seed = self._chance.getrandbits(64)
        user = self._users[number] if user is None else user
        test = TestOptions(**chosen)
        material = at_once(self._texts.choosing(test, seed=seed, ref=None))
        if isinstance(material, Error):
            raise ValueError(material.message)
        session = TypingSession.begin(
            test,
            material,
            session=mint_session(user, epoch_ms=created_ms, random_bits=self._chance.getrandbits(62)),
            user=user,
            seed=seed,
            ref=None,
            ring=self._ring,
            limits=self._limits,
            now_ms=0.0,
            epoch_ms=created_ms,
        )
        limit_ms = None if test.seconds is None else test.seconds * 1000
        typed = plan.type(material.words, test=number, limit_ms=limit_ms)
        at_ms = 0.0
        for start in range(0, len(typed), BATCH_KEYS):
            stop = min(start + BATCH_KEYS, len(typed))
            at_ms += sum(typed.gaps[start:stop])
            session.keys(start, typed.events(start, stop), typed.held(start, stop), now_ms=at_ms)
        session.finish(len(typed), now_ms=at_ms)
        return session.settle(node=self._node)
