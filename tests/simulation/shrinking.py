"""A broken run with as little in it as it takes: faults, tests and tabs that it does without are left out.

What is left out does not change what chance gives to the rest, so most of a run stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.simulation.node import Server
from tests.simulation.plan import Plan
from tests.simulation.running import Run, run


def shrunk(plan: Plan, found: Run, *, server_class: type[Server] = Server) -> tuple[Plan, Run]:
    """A smaller plan that breaks the same law, and its run."""
    assert found.broken is not None
    law = found.broken.law
    again = True
    while again:
        again = False
        for smaller in _smaller(plan):
            other = run(smaller, server_class=server_class)
            if other.broken is not None and other.broken.law == law:
                plan, found, again = smaller, other, True
                break
    return plan, found


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Each with one thing less."""
    for fault in plan.faults:
        yield plan.without(fault)
    if len(plan.browsers) > 1:
        for tabs in plan.browsers:
            yield replace(plan, browsers=tuple(other for other in plan.browsers if other is not tabs))
    for tabs in plan.browsers:
        for number, wishes in enumerate(tabs.wishes):
            if len(wishes) > 1:
                fewer = (*tabs.wishes[:number], wishes[:-1], *tabs.wishes[number + 1 :])
                changed = replace(tabs, wishes=fewer)
                yield replace(plan, browsers=tuple(changed if other is tabs else other for other in plan.browsers))
