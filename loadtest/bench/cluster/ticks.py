"""(c) A race's tick between nodes: a key on node A, the frame that shows it to a racer on node B.

Rooms of five, three racers on one node and two on the other. Three times are taken. *From the key*: from a frame of
keys being sent to the first progress at the other node that shows it; a node tells progress ten times a second, so up
to 100 ms of it are the wait for that beat. *The tick*: from a node's post, as somebody who listens at Redis hears it,
to the same rows at a racer of the other node. *Behind one's own*: how much later the same rows are there than at a
racer of the first node; that one has waited for the other node's. What is posted is looked at for some rooms only: to
look at it all would be load of its own.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from time import monotonic

from gateway.bus.frames import read
from loadtest.bench.cluster.plant import Nodes, Spent, at
from loadtest.bench.cluster.racing import SEATS, Racer, Room, Row, gather
from loadtest.bench.rounds import Bench, Part, undisturbed
from loadtest.engine import Engine
from loadtest.meters import Times
from loadtest.served import cpu_s

__all__ = ["TARGET_MS", "Posts", "Ticks", "pushed", "race_on", "race_ticks"]

TARGET_MS = 30.0

ON_FIRST = 3
"""Racers of a room who are on the first node."""

Key = tuple[str, int, int]
"""A row as it is known: race, lane, clusters done. These are more with each frame of keys."""

_HEARD_ROOMS = 10
_CHANNELS = "typegate:0:bus:races:*"
_SETTLE_S = 3.0
_LAST_S = 10.0


class Posts:
    """Hears what nodes post of some races, at Redis."""

    def __init__(self, engine: Engine, port: int, ticks: Ticks) -> None:
        self.due_ms = inf
        self._engine = engine
        self._ticks = ticks
        self._unread = b""
        self._races: frozenset[str] = frozenset()
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setblocking(False)
        engine.watch(self._socket.fileno(), self)

    def listen(self, races: Sequence[str]) -> None:
        """To these."""
        self._races = frozenset(races)
        self._socket.sendall(b"*2\r\n$10\r\nPSUBSCRIBE\r\n$%d\r\n%s\r\n" % (len(_CHANNELS), _CHANNELS.encode()))

    def close(self) -> None:
        """Listen no more."""
        self._engine.forget(self._socket.fileno())
        self._socket.close()

    def wake(self, now_ms: float) -> None:
        """It has no clock."""

    def writable(self) -> None:
        """It never waits to write."""

    def readable(self) -> None:
        """Take whole messages."""
        self._unread += self._socket.recv(65_536)
        while (found := pushed(self._unread)) is not None:
            parts, self._unread = found
            if parts[0] == b"pmessage":
                self._heard(parts[-1])

    def _heard(self, payload: bytes) -> None:
        for message in read(payload).messages:
            match message:
                case ["p", str(), list(letter), *_]:
                    for race, rows, *_ in letter:
                        if race in self._races:
                            self._ticks.posted(race, rows)


def pushed(data: bytes) -> tuple[tuple[bytes, ...], bytes] | None:
    """One push of Redis' (RESP 2: an array of three or four, the last may be a number) and what follows it.

    None before it is whole. Raises RuntimeError for anything else.
    """
    parts: list[bytes] = []
    head, end, rest = data.partition(b"\r\n")
    if not end:
        return None
    if head not in (b"*3", b"*4"):
        raise RuntimeError(f"Redis pushes {head!r}")
    for _ in range(int(head[1:])):
        head, end, rest = rest.partition(b"\r\n")
        if not end:
            return None
        if head[:1] == b":":
            parts.append(head[1:])
            continue
        size = int(head[1:])
        if len(rest) < size + 2:
            return None
        parts.append(rest[:size])
        rest = rest[size + 2 :]
    return tuple(parts), rest


class Ticks:
    """The times of all rooms."""

    def __init__(self) -> None:
        self.from_key = Times()
        self.tick = Times()
        self.behind = Times()
        self.frames = 0
        """Of progress that were looked at."""
        self._keys: dict[tuple[str, int], deque[tuple[int, float]]] = {}
        self._seen: dict[tuple[str, int], int] = {}
        self._posted: dict[Key, float] = {}
        self._own: dict[Key, float] = {}
        self._far: dict[Key, float] = {}

    def clear(self) -> None:
        """Begin to measure."""
        for times in (self.from_key, self.tick, self.behind):
            times.clear()
        for known in (self._posted, self._own, self._far):
            known.clear()
        self.frames = 0

    def times(self) -> dict[str, Times]:
        """By what they begin with."""
        return {
            "a frame of keys": self.from_key,
            "a node's post (tick)": self.tick,
            "a racer of one's own": self.behind,
        }

    def sent(self, racer: Racer, done: int) -> None:
        """A racer has sent keys."""
        race, lane = racer.room.race, racer.lane
        assert race is not None
        assert lane is not None
        self._keys.setdefault((race, lane), deque(maxlen=64)).append((done, monotonic() * 1000))

    def posted(self, race: str, rows: Sequence[Row]) -> None:
        """A node has posted these."""
        now_ms = monotonic() * 1000
        for row in rows:
            self._posted[race, row[0], row[1]] = now_ms

    def own(self, racer: Racer, rows: Sequence[Row]) -> None:
        """A racer of the first node is told these."""
        now_ms = monotonic() * 1000
        for key in _of_first_node(racer.room, rows):
            self._pair(self._own, self._far, key, now_ms)

    def far(self, racer: Racer, rows: Sequence[Row]) -> None:
        """A racer of the other node is told these."""
        now_ms = monotonic() * 1000
        self.frames += 1
        for key in _of_first_node(racer.room, rows):
            race, lane, done = key
            keys = self._keys.get((race, lane), ())
            while keys and keys[0][0] <= done:
                self.from_key.add(now_ms - keys.popleft()[1])
            self._seen[race, lane] = done
            if (posted_ms := self._posted.pop(key, None)) is not None:
                self.tick.add(now_ms - posted_ms)
            self._pair(self._far, self._own, key, now_ms)

    def missing(self, rooms: Sequence[Room]) -> int:
        """Racers of the first node whose last key was not shown on the other."""
        return sum(
            self._seen.get((room.race or "", racer.lane or 0)) != racer.n
            for room in rooms
            for racer in room.racers[:ON_FIRST]
        )

    def _pair(self, mine: dict[Key, float], other: dict[Key, float], key: Key, now_ms: float) -> None:
        """Two are told the same row: whoever is second gives the reading."""
        if (before_ms := other.pop(key, None)) is None:
            mine[key] = now_ms
        else:
            self.behind.add(now_ms - before_ms if mine is self._far else 0.0)


def _of_first_node(room: Room, rows: Sequence[Row]) -> Iterator[Key]:
    race = room.race
    assert race is not None
    lanes = [racer.lane for racer in room.racers[:ON_FIRST]]
    return ((race, lane, done) for lane, done, *_ in rows if lane in lanes)


@dataclass(frozen=True, slots=True)
class Raced:
    """What the rooms of two nodes showed."""

    times: dict[str, Times]
    spent: Spent
    """Between the beginning and the end of the measured time."""
    keys_per_s: float
    missing: int
    """Racers whose last key was not shown."""
    later: int
    """How often a racer was told to wait."""
    late_ms: float | None
    """The load's own lateness, p99."""
    generator_percent: float


def race_on(nodes: Nodes, count: int, seconds: float) -> Raced:
    """So many rooms on two nodes for so long. Raises RuntimeError where they do not race."""
    engine, ticks = Engine(), Ticks()
    here, there = (at(node) for node in nodes.each)
    rooms = [Room() for _ in range(count)]
    racers = [
        Racer(engine, SEATS * number + seat, room, here if seat < ON_FIRST else there)
        for number, room in enumerate(rooms)
        for seat in range(SEATS)
    ]
    posts = Posts(engine, nodes.redis.port, ticks)
    for room in rooms:
        for racer in room.racers[:ON_FIRST]:
            racer.sent = ticks.sent
        room.racers[0].shown = ticks.own
        room.racers[-1].shown = ticks.far
    try:
        with undisturbed():
            gather(engine, rooms)
            posts.listen([room.race for room in rooms[:_HEARD_ROOMS] if room.race is not None])
            engine.run(lambda: False, limit_s=_SETTLE_S)
            ticks.clear()
            engine.lateness.clear()
            keys, own, before = sum(racer.n for racer in racers), cpu_s(os.getpid()), nodes.spent()
            engine.run(lambda: False, limit_s=seconds)
            spent, own = nodes.spent() - before, cpu_s(os.getpid()) - own
            keys = sum(racer.n for racer in racers) - keys
            late_ms = engine.lateness.quantile(0.99)
            measured = {name: times.copy() for name, times in ticks.times().items()}
            for racer in racers:
                racer.rest()
            engine.run(lambda: not ticks.missing(rooms), limit_s=_LAST_S)
        if (fault := next((room.fault for room in rooms if room.fault is not None), None)) is not None:
            raise RuntimeError(f"a room failed: {fault}")
        missing = ticks.missing(rooms)
        later = sum(room.later for room in rooms)
        return Raced(measured, spent, keys / spent.at_s, missing, later, late_ms, 100 * own / spent.at_s)
    finally:
        for racer in racers:
            racer.hang_up()
        posts.close()
        engine.close()


def race_ticks(bench: Bench) -> Part:
    """Measure it, and what the races cost nodes and Redis."""
    count, seconds = (20, 6.0) if bench.quick else (200, 30.0)
    bench.progress(0.0, f"{count} rooms on two nodes")
    with Nodes.running(2) as nodes:
        raced = race_on(nodes, count, seconds)
    taken, spent = raced.times, raced.spent
    rows: list[list[object]] = [
        [name, times.n, *(times.quantile(share) for share in (0.5, 0.99)), times.most_ms or None]
        for name, times in taken.items()
    ]
    took_s, racers = spent.at_s, SEATS * count
    facts = {
        "rooms": count,
        "racers": racers,
        "times_ms": {name: times.facts() for name, times in taken.items()},
        "publishes_per_s": spent.publishes / took_s,
        "publishes_per_way_s": spent.publishes / took_s / 2,
        "in_bytes_per_room_way_s": spent.in_bytes / took_s / (2 * count),
        "out_bytes_per_in_byte": spent.out_bytes / max(1.0, spent.in_bytes),
        "redis_us_per_publish": 1e6 * spent.redis_s / max(1.0, spent.publishes),
        "redis_percent": 100 * spent.redis_s / took_s,
        "nodes_percent": 100 * spent.nodes_s / took_s,
        "node_us_per_racer_s": 1e6 * spent.nodes_s / took_s / racers,
        "keys_per_s": raced.keys_per_s,
        "last_keys_missing": raced.missing,
        "told_to_wait": raced.later,
        "generator_percent": raced.generator_percent,
        "generator_late_p99_ms": raced.late_ms,
    }
    return Part(
        f"(c) A race's tick from node to node: {count} rooms of {SEATS}, in ms",
        ("from … to the frame at the other node", "readings", "p50", "p99", "most"),
        rows,
        facts,
        notes=(
            f"Target: the tick within {TARGET_MS:g} ms (p99). From the key it is up to 100 more: progress is told ten "
            "times a second.",
            f"Both nodes took {facts['nodes_percent']:.0f} % of a core, Redis {facts['redis_percent']:.1f} %, with "
            f"{facts['publishes_per_s']:,.0f} publishes/s; {raced.missing} racers' last keys were not shown. "
            f"The load took {raced.generator_percent:.0f} % and was late by {raced.late_ms or 0:.1f} ms (p99).",
        ),
    )
