"""Does a schedule to a cluster: each part has a lane of its own, in which one thing happens after the other.

A fault is begun, held, ended, and then it is waited for that all is well again for those whom it concerned. What goes
wrong at that (a program that does not come back at once, or ends without being killed) is told, never passed over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from loadtest.chaos.schedule import WAY, Fault
from loadtest.cluster.cluster import BALANCER, Cluster
from loadtest.cluster.links import Link
from loadtest.cluster.programs import Program
from loadtest.servers.process import ServerProcess

__all__ = ["Faults", "Suffered", "parts_of", "well"]

WELL_S = 120.0
"""How long a part may take until all is well again, after its fault has ended."""
_LOOK_S = 0.1
_ASK_S = 2.5
_RESTART_S = 30.0
_TRIES = 5

_CONCERNS = {
    "redis": ("caches", "bus", "directory"),
    "kafka": ("stream", "Kafka"),
    "shard": ("store",),
}
"""The resources of a program, by /readyz, that lie behind a sort of server."""


@dataclass(slots=True)
class Suffered:
    """What became of one fault; times in s since the typists had come."""

    fault: Fault
    begun_s: float
    ended_s: float | None = None
    """When the part was whole again by itself: started, going on, healed."""
    well_s: float | None = None
    """When all whom it concerned were well again; None: they were not in time."""
    trouble: str | None = None
    """What went wrong at ending it."""


def parts_of(cluster: Cluster) -> dict[str, str]:
    """Every part that something may happen to, and its sort."""
    return {name: _sort(name) for name in cluster.servers} | {link.name: WAY for link in cluster.links.values()}


def _sort(name: str) -> str:
    return name.partition("-")[0]


def well(cluster: Cluster, part: str, sort: str, *, suffering: Collection[str] = ()) -> bool:
    """Whether all is well for those whom this part concerns; those to whom something else is done are not asked."""
    if sort == WAY:
        link = _link(cluster, part)
        if link.part == BALANCER:
            return link.to in suffering or cluster.balancer.states(within_s=_ASK_S).get(link.to, "").startswith("UP")
        program = cluster.servers[link.part]
        assert isinstance(program, Program), "only programs have ways behind them"
        return program.name in suffering or _resources_well(program, _sort(link.to))
    server = cluster.servers[part]
    if isinstance(server, Program):
        health = server.health(within_s=_ASK_S)
        return (
            health is not None
            and health.status != "not ready"
            and (sort != "node" or cluster.balancer.states(within_s=_ASK_S).get(part, "UP").startswith("UP"))
        )
    if sort == BALANCER:
        return bool(cluster.balancer.states(within_s=_ASK_S))
    return all(program.name in suffering or _resources_well(program, sort) for program in cluster.programs)


def _resources_well(program: Program, sort: str) -> bool:
    health = program.health(within_s=_ASK_S)
    return health is not None and all(health.parts.get(name, "ok") == "ok" for name in _CONCERNS[sort])


def _link(cluster: Cluster, name: str) -> Link:
    return next(link for link in cluster.links.values() if link.name == name)


class Faults:
    """A schedule's life on a cluster. `clock` gives s since the typists had come."""

    def __init__(self, cluster: Cluster, schedule: Sequence[Fault], *, clock: Callable[[], float]) -> None:
        self.suffered: list[Suffered] = []
        """What has begun so far, in that order."""
        self.deaths: list[str] = []
        """Parts that ended without anybody having killed them."""
        self._cluster = cluster
        self._clock = clock
        self._stopping = threading.Event()
        self._aborting = threading.Event()
        self._lanes: dict[str, list[Fault]] = {}
        for fault in schedule:
            self._lanes.setdefault(fault.part, []).append(fault)
        self._under_way = set[str]()
        self._done: list[Future[None]] = []
        # one for each lane, and one for each part that may have to be started while all lanes are busy
        self._threads = ThreadPoolExecutor(len(self._lanes) + len(cluster.servers), thread_name_prefix="lane")

    @property
    def now(self) -> list[Suffered]:
        """Those that hold just now."""
        return [one for one in list(self.suffered) if one.ended_s is None]

    @property
    def done(self) -> bool:
        """Whether all has happened and all is well again, or was given up."""
        return all(lane.done() for lane in self._done)

    def begin(self) -> None:
        """Let the schedule begin."""
        self._done = [self._threads.submit(self._lane, faults) for faults in self._lanes.values()]

    def stop(self) -> None:
        """Begin nothing more, end what holds, and wait for that. Raises what a lane, or a start, failed with."""
        self._stopping.set()
        self._threads.shutdown()
        for lane in self._done:
            lane.result()

    def abort(self) -> None:
        """End everything now: the parts too, that nobody is waited for."""
        self._aborting.set()
        self._stopping.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        for server in self._cluster.servers.values():
            server.kill()
        self._threads.shutdown()

    def look(self) -> None:
        """See whether a part has ended by itself, and start it again as whoever runs it would."""
        for name, server in self._cluster.servers.items():
            if name not in self._under_way and not server.alive:
                self._under_way.add(name)
                self.deaths.append(f"{name}, {self._clock():.1f} s: {server.log_tail()[-400:]}")
                self._done.append(self._threads.submit(self._revive, name))

    def _revive(self, name: str) -> None:
        self._start(self._cluster.servers[name])
        self._under_way.discard(name)

    def _lane(self, faults: Sequence[Fault]) -> None:
        for fault in faults:
            if self._stopping.wait(max(0.0, fault.at_s - self._clock())):
                return
            self._suffer(fault)

    def _suffer(self, fault: Fault) -> None:
        self._under_way.add(fault.part)
        one = Suffered(fault, self._clock())
        self.suffered.append(one)
        try:
            self._do(fault)
            self._stopping.wait(fault.lasts_s)
        finally:
            one.trouble = self._undo(fault)
            one.ended_s = self._clock()
            self._under_way.discard(fault.part)
        while self._clock() < one.ended_s + WELL_S:
            if well(self._cluster, fault.part, fault.sort, suffering=self._under_way.copy()):
                one.well_s = self._clock()
                return
            if self._stopping.wait(_LOOK_S):  # whoever stops looks at all of it at once
                return

    def _do(self, fault: Fault) -> None:
        if fault.sort == WAY:
            link = _link(self._cluster, fault.part)
            match fault.kind:
                case "slow":
                    link.slow(fault.amount, jitter_ms=fault.amount)
                case "narrow":
                    link.narrow(fault.amount)
                case _:
                    getattr(link, fault.kind)()
            return
        server = self._cluster.servers[fault.part]
        match fault.kind:
            case "kill":
                server.kill()
            case "pause":
                server.pause()
            case _:
                server.stop(_RESTART_S)

    def _undo(self, fault: Fault) -> str | None:
        """Take it back; what went wrong at that."""
        if fault.sort == WAY:
            _link(self._cluster, fault.part).heal()
            return None
        server = self._cluster.servers[fault.part]
        if fault.kind == "pause":
            server.resume()
            return None
        return self._start(server)

    def _start(self, server: ServerProcess) -> str | None:
        """Start a program, again where it does not come up as whoever runs it would; the first failure in words."""
        failure = None
        for _ in range(_TRIES):
            if self._aborting.is_set():
                return failure
            try:
                server.start()
            except RuntimeError as fault:
                failure = failure or str(fault)
            else:
                if self._aborting.is_set():
                    server.kill()
                return failure
        raise RuntimeError(f"{server.name} does not start: {failure}")
