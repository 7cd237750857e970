"""(f) Thirty nodes on paper, from what was measured on two. Pure arithmetic.

What is measured (`Measured`) is of rooms of five on two nodes (c), of races on one node (d), of typists with the bus
(e) and of takeovers (a). What is planned for (`Wanted`): nodes, tests under way, the share of them that race, and how
fast the tests of a dead node come back. Then

    racers      = tests × racing                    rooms = racers / seats
    spread      = nodes × (1 − (1 − 1/nodes)^seats)             nodes that a room's racers are on, thrown by chance
    ways        = nodes × (nodes − 1)                           from one node to another
    shared      = rooms × spread × (spread − 1) / ways          rooms of which both have racers
    publishes/s = ways × the least of: what one says to another, and ten times `shared`
    bytes in/s  = ways × shared × bytes a room of them, and Redis sends as much on, with what it adds to each
    takeovers/s = tests / nodes / back_s                        one node has died
    Redis' core = publishes/s × Redis' CPU a publish + takeovers/s × Redis' CPU a takeover
    a node's core = (racers × CPU a racer × heard + typists × CPU a typist) / nodes
                    + takeovers/s / nodes × nodes' CPU a takeover

`heard` = 1 + (spread − 1) × (a racer's CPU on two nodes / the same on one − 1): what a room costs more for each
further node that it is on. All that rooms tell a node in one moment is one publish, which one node hears, so its number
does not grow with the rooms but with the nodes. A room of fewer racers says less than the measured one. Not in it:
connections that do not type, HTTP, Kafka and the databases, and caches and leaderboards in the same Redis. What has
the greatest share of what there is of it saturates first, and at so many times this load.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loadtest.bench.rounds import Part

__all__ = ["Measured", "Plan", "Wanted", "measured", "plan", "plan_part"]

SEATS = 5
MEASURED_NODES = 2
"""On which a room's racers were when it was measured."""

TURNS_PER_S = 10.0
"""How often a room tells its progress."""

_OF_QUICK = "By --quick a node's fixed costs are spread over few people: what one of them costs is told too great."


@dataclass(frozen=True, slots=True)
class Measured:
    """What the other parts found."""

    publishes_per_way_s: float
    """What one node says to another, however many rooms they share."""
    in_bytes_per_room_way_s: float
    """Of one room, from one node to another."""
    out_bytes_per_in_byte: float
    redis_us_per_publish: float
    racer_us_per_s: float
    """Node CPU of a racer whose room is on two nodes, both nodes together."""
    racer_alone_us_per_s: float | None = None
    """The same where the room is on one node; None: not measured, and further nodes of a room count as nothing."""
    typist_us_per_s: float | None = None
    """Node CPU of one who types alone; None: not measured, and left out."""
    takeover_redis_us: float | None = None
    takeover_nodes_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the cluster is to bear."""

    nodes: int = 30
    tests: int = 100_000
    """Under way at a time, races' included."""
    racing: float = 0.2
    """The share of them that race."""
    back_s: float = 5.0
    """In which the tests of a node that died are taken over."""
    network_bytes_per_s: float = 1.25e9
    """What Redis' network bears each way: 10 Gbit/s."""

    def __post_init__(self) -> None:
        if self.nodes < 1 or self.tests < 1 or not 0 <= self.racing <= 1:
            raise ValueError("nodes and tests are 1 or more, racing is a share")
        if self.back_s <= 0 or self.network_bytes_per_s <= 0:
            raise ValueError("back_s and network_bytes_per_s are more than 0")


@dataclass(frozen=True, slots=True)
class Plan:
    """What comes of it."""

    rooms: float
    spread: float
    publishes_per_s: float
    in_bytes_per_s: float
    out_bytes_per_s: float
    takeovers_per_s: float
    shares: dict[str, float]
    """How much of what there is of each is used, 1 for all of it."""

    @property
    def first(self) -> str:
        """What saturates first."""
        return max(self.shares, key=lambda name: self.shares[name])

    @property
    def times(self) -> float:
        """At how many times this load."""
        most = self.shares[self.first]
        return 1 / most if most else float("inf")


def plan(found: Measured, wanted: Wanted) -> Plan:
    """The formulas of the module's head."""
    racers = wanted.tests * wanted.racing
    rooms = racers / SEATS
    spread = wanted.nodes * (1 - (1 - 1 / wanted.nodes) ** SEATS)
    ways = wanted.nodes * (wanted.nodes - 1)
    shared = rooms * spread * (spread - 1) / ways if ways else 0.0
    publishes = ways * min(found.publishes_per_way_s, TURNS_PER_S * shared)
    in_bytes = ways * shared * found.in_bytes_per_room_way_s
    takeovers = wanted.tests / wanted.nodes / wanted.back_s if wanted.nodes > 1 else 0.0
    alone = found.racer_alone_us_per_s or found.racer_us_per_s
    heard = 1 + (spread - 1) / (MEASURED_NODES - 1) * max(0.0, found.racer_us_per_s / alone - 1)
    typing = racers * alone * heard + (wanted.tests - racers) * (found.typist_us_per_s or 0.0)
    nodes_us = typing + takeovers * 1000 * (found.takeover_nodes_ms or 0.0)
    redis_us = publishes * found.redis_us_per_publish + takeovers * (found.takeover_redis_us or 0.0)
    out_bytes = in_bytes * found.out_bytes_per_in_byte
    return Plan(
        rooms=rooms,
        spread=spread,
        publishes_per_s=publishes,
        in_bytes_per_s=in_bytes,
        out_bytes_per_s=out_bytes,
        takeovers_per_s=takeovers,
        shares={
            "Redis, its one core": redis_us / 1e6,
            "Redis' network": max(in_bytes, out_bytes) / wanted.network_bytes_per_s,
            "a node's core": nodes_us / 1e6 / wanted.nodes,
        },
    )


def measured(parts: dict[str, Part]) -> Measured:
    """What the parts by letter found. Raises RuntimeError where (c) is not among them."""
    if "c" not in parts:
        raise RuntimeError("the plan needs the figures of (c): --only c,f, or better a,c,d,e,f")
    ticks = parts["c"].facts
    alone, typists, moves = (parts[letter].facts if letter in parts else {} for letter in "dea")
    return Measured(
        **{
            name: float(ticks[name])
            for name in (
                "publishes_per_way_s",
                "in_bytes_per_room_way_s",
                "out_bytes_per_in_byte",
                "redis_us_per_publish",
            )
        },
        racer_us_per_s=float(ticks["node_us_per_racer_s"]),
        racer_alone_us_per_s=alone.get("node_us_per_racer_s"),
        typist_us_per_s=typists.get("node_us_per_typist_s"),
        takeover_redis_us=moves.get("redis_us"),
        takeover_nodes_ms=moves.get("node_ms"),
    )


def plan_part(parts: dict[str, Part], *, quick: bool = False) -> Part:
    """The plan for thirty nodes: as planned, with nobody racing, and with everybody racing."""
    found = measured(parts)
    plans: dict[str, tuple[Wanted, Plan]] = {}
    for racing in (0.0, Wanted().racing, 1.0):
        wanted = Wanted(racing=racing)
        plans[f"{racing:.0%} racing"] = wanted, plan(found, wanted)
    lines: dict[str, list[object]] = {}
    for _, one in plans.values():
        for name, value in _figures(one).items():
            lines.setdefault(name, []).append(value)
    wanted = Wanted()
    unknown = [
        what
        for what, value in (
            ("(d) a racer's CPU on one node", found.racer_alone_us_per_s),
            ("(e) a typist's CPU", found.typist_us_per_s),
            ("(a) takeovers", found.takeover_redis_us),
        )
        if value is None
    ]
    return Part(
        f"(f) Plan: {wanted.nodes} nodes, {wanted.tests:,} tests under way, one node died {wanted.back_s:g} s ago",
        ("what", *plans),
        [[name, *values] for name, values in lines.items()],
        {
            "measured": {name: getattr(found, name) for name in Measured.__dataclass_fields__},
            "plans": {name: _facts(asked, one) for name, (asked, one) in plans.items()},
        },
        notes=(
            "Rooms' racers are on nodes by chance, as a balancer leads them. Shares are of one core, and of 10 Gbit/s.",
            *([_OF_QUICK] if quick else []),
            *([f"Not measured, and left out: {', '.join(unknown)}."] if unknown else []),
        ),
    )


def _figures(one: Plan) -> dict[str, object]:
    return {
        "rooms": round(one.rooms),
        "nodes a room is on": one.spread,
        "Redis, publishes/s": round(one.publishes_per_s),
        "Redis, messages/s in and out": round(2 * one.publishes_per_s),
        "Redis, MB/s in": one.in_bytes_per_s / 1e6,
        "Redis, MB/s out": one.out_bytes_per_s / 1e6,
        "takeovers/s": round(one.takeovers_per_s),
        **{f"share of {name}, %": round(100 * share, 1) for name, share in one.shares.items()},
        "saturates first": one.first,
        "at times this load": one.times,
    }


def _facts(wanted: Wanted, one: Plan) -> dict[str, Any]:
    return {
        "wanted": {name: getattr(wanted, name) for name in Wanted.__dataclass_fields__},
        "shares": one.shares,
        "first": one.first,
        "times": one.times,
        **_figures(one),
    }
