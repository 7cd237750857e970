"""Servers that are wrong on purpose: the simulation finds each, with a small part of what CI runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice
from typing import Any
from unittest import mock

import pytest

from gateway.takeovers import Takeovers
from persistence.errors import StoreError
from persistence.stream.spool import Spooled, Told
from scoring.slices import at_once
from session.history import events_of, offset_after
from session.holder import NOTHING, Answer, Question
from session.machine import Outcome, TypingSession
from session.race_record import RaceRecord
from session.resume import Claim, Compared, Takeover
from session.settling import Finished
from tests.simulation.disk import DiskSpool
from tests.simulation.node import Server, SimulatedHub
from tests.simulation.plan import Plan, plan_of
from tests.simulation.running import run
from tests.simulation.shrinking import shrunk
from tests.simulation.stores import TopicSink

BUDGET = 800
"""Runs within which each must be found."""
SEEDS = range(10_000)
"""As CI runs them."""


class HastySpool(DiskSpool):
    """Says that a result is durable as soon as it has it."""

    def submit(self, result: Finished | RaceRecord, told: Told) -> None:
        super().submit(result, lambda _: None)
        assert self._loop is not None
        self._loop.call_soon(told, None)


class ForgetfulSpool(DiskSpool):
    """Does not come back to what an earlier process left."""

    def rewind(self) -> None:
        self._taken_seq = self._durable_seq


class TrustingSink(TopicSink):
    """Takes what brokers did not answer for as kept."""

    async def hand_on(self, rows: Sequence[Spooled]) -> Sequence[StoreError | None]:
        try:
            await super().hand_on(rows)
        except StoreError:
            pass
        return [None] * len(rows)


class HubThatSettlesTheLost(SimulatedHub):
    """Makes a result of a test whose connection is lost."""

    def hold(self, session: TypingSession) -> None:
        if session.finish(session.n, now_ms=self.clock() * 1000) is None and session.ended:
            self.submissions.submit(session, _Nobody(), ping_ms=0)
        else:
            super().hold(session)


class HubThatForgetsTheLost(SimulatedHub):
    """Drops a test whose connection is lost, and says that it was aborted."""

    def hold(self, session: TypingSession) -> None:
        self.aborted(session.id)


class _Nobody:
    def accepted(self, *_: object) -> None: ...

    def unsaved(self, *_: object) -> None: ...

    def stored(self, *_: object) -> None: ...

    def superseded(self, *_: object) -> None: ...

    def lost(self, *_: object) -> None: ...


def server(**parts: type) -> type[Server]:
    """A server with these parts."""
    return type("Wrong", (Server,), parts)


def _skipping(self: TypingSession, n: int, e: list[object], h: object, *, now_ms: float) -> Outcome:
    """Resent events are skipped one too many."""
    if n < self.n < n + len(e) // 2:
        e = e[: 2 * (self.n - n)] + e[2 * (self.n - n) + 2 :]
    return _keys(self, n, e, h, now_ms=now_ms)


_keys = TypingSession.keys


def _hidden(self: Takeover, offset_ms: float) -> None:
    """Time that the log does not account for is not counted."""
    self.measuring = False


def _trusting(self: Takeover, digest: bytes, *, elapsed_ms: float, client_ms: float) -> None:
    """Whatever log is sent is the one that was seen."""
    self.digest = digest
    _check(self, digest, elapsed_ms=elapsed_ms, client_ms=client_ms)


_check = Takeover.check


def _alike(self: TypingSession, takeover: Takeover, compared: Compared, events: list[Any], *, now_ms: float) -> Outcome:
    """What comes again is what is here, whatever it is."""
    end = offset_after(self._history, len(events) // 2, compared.at)
    alike = at_once(events_of(self._history[compared.at : end]))
    return _compare(self, takeover, compared, alike, now_ms=now_ms)


_compare = TypingSession._compare


def _keeps(self: Takeovers, question: Question) -> Answer:
    """Who is asked has nothing, and goes on."""
    return NOTHING


async def _asks_nobody(self: Takeovers, node: str, kind: str, question: list[Any]) -> tuple[str, Answer | None]:
    return "gone", None


def _goes_on(self: Takeovers, session: bytes, epoch: int, node: str) -> None:
    """Who is told that another one has its session does not mind."""


async def _looks_at_nothing(self: Takeovers) -> None:
    """After something may have been missed nothing is looked at."""
    self._looking = False


def _says_nothing(self: Takeovers, claim: Claim) -> None:
    """Nobody is told of a takeover, and what was said of it before stays."""


MUTANTS: dict[str, tuple[type[Server], Callable[[], AbstractContextManager[object]]]] = {
    "accepted before it is durable": (server(spool_class=HastySpool), nullcontext),
    "what an earlier process left is forgotten": (server(spool_class=ForgetfulSpool), nullcontext),
    "stored before it is acknowledged": (server(sink_class=TrustingSink), nullcontext),
    "a detached copy has a result": (server(hub_class=HubThatSettlesTheLost), nullcontext),
    "who is cut off has aborted": (server(hub_class=HubThatForgetsTheLost), nullcontext),
    "resent events are skipped wrongly": (Server, partial(mock.patch.object, TypingSession, "keys", _skipping)),
    "the receipt is not checked": (Server, partial(mock.patch.object, Takeover, "check", _trusting)),
    "an old receipt hides the time since": (Server, partial(mock.patch.object, Takeover, "arrived", _hidden)),
    "what comes again is not compared": (Server, partial(mock.patch.object, TypingSession, "_compare", _alike)),
    "who is asked lets nothing go": (Server, partial(mock.patch.object, Takeovers, "_let_go", _keeps)),
    "nobody is asked": (Server, partial(mock.patch.object, Takeovers, "_ask", _asks_nobody)),
    "who is told of a takeover goes on": (Server, partial(mock.patch.object, Takeovers, "_outdated", _goes_on)),
    "what was missed is not looked for": (Server, partial(mock.patch.object, Takeovers, "_look", _looks_at_nothing)),
    "nobody is told of a takeover": (Server, partial(mock.patch.object, Takeovers, "began", _says_nothing)),
}


NEEDS: dict[str, Callable[[Plan], bool]] = {
    **dict.fromkeys(
        (
            "the receipt is not checked",
            "an old receipt hides the time since",
            "what comes again is not compared",
            "who is asked lets nothing go",
            "nobody is asked",
        ),
        lambda plan: plan.trick is not None,
    ),
    **dict.fromkeys(
        ("who is told of a takeover goes on", "what was missed is not looked for", "nobody is told of a takeover"),
        lambda plan: any(fault.kind == "moved" for fault in plan.faults),
    ),
}
"""Without what it takes to see a mutant no time is spent on a plan: mostly nobody cheats, and nobody wanders."""


@pytest.mark.parametrize("mutant", MUTANTS)
def test_each_is_found(mutant: str) -> None:
    """Within the budget a law is broken, and the seed breaks it again."""
    server_class, broken_in = MUTANTS[mutant]
    plans = islice(filter(NEEDS.get(mutant), map(plan_of, SEEDS)), BUDGET)
    with broken_in():
        found = next((plan for plan in plans if run(plan, server_class=server_class).broken), None)
        assert found is not None
        again = run(plan_of(found.seed), server_class=server_class)
        assert again.broken is not None, f"seed {found.seed}"


def test_a_failure_shrinks_to_what_it_takes() -> None:
    """Faults that have nothing to do with it are left out, and it breaks the same law."""
    server_class = server(hub_class=HubThatSettlesTheLost)
    for seed in range(BUDGET):
        plan = plan_of(seed)
        found = run(plan, server_class=server_class)
        if found.broken is not None and len(plan.faults) > 2:
            smaller, again = shrunk(plan, found, server_class=server_class)
            assert again.broken is not None
            assert again.broken.law == found.broken.law
            assert len(smaller.faults) < len(plan.faults)
            break
    else:
        pytest.fail("it was never found")
