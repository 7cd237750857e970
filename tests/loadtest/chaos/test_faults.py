"""What happens to parts, and to those that end by themselves meanwhile."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtest.chaos.faults import Faults
from loadtest.chaos.schedule import Fault
from loadtest.servers.process import ServerProcess

PATIENCE_S = 60.0


class Sleepers:
    """A cluster of two programs that do nothing."""

    def __init__(self, folder: Path) -> None:
        self.programs: list[ServerProcess] = []
        self.servers = {
            name: ServerProcess(name, ["sleep", "600"], folder=folder, port=0, ready=lambda _: True)
            for name in ("shard-a", "shard-b")
        }


@pytest.fixture(name="sleepers")
def _sleepers(tmp_path: Path) -> Iterator[Sleepers]:
    sleepers = Sleepers(tmp_path)
    for server in sleepers.servers.values():
        server.start()
    yield sleepers
    for server in sleepers.servers.values():
        server.kill()


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_what_ends_by_itself_is_started_while_others_suffer(sleepers: Sleepers) -> None:
    """Every lane is busy by then; and it is told."""
    cluster: Any = sleepers
    a, b = sleepers.servers.values()
    faults = Faults(cluster, [Fault(0.0, "shard-a", "shard", "pause", 600.0)], clock=time.monotonic)
    faults.begin()
    try:
        until(lambda: a.paused)
        b.kill()
        faults.look()
        until(lambda: b.alive)
    finally:
        faults.stop()
    assert [death.partition(",")[0] for death in faults.deaths] == ["shard-b"]
    assert not a.paused


def test_what_does_not_start_again_fails_the_run(sleepers: Sleepers, tmp_path: Path) -> None:
    """As one does that a fault has ended."""
    cluster: Any = sleepers
    sleepers.servers["shard-b"].kill()
    sleepers.servers["shard-b"] = ServerProcess("shard-b", ["false"], folder=tmp_path, port=0, ready=lambda _: False)
    faults = Faults(cluster, [], clock=time.monotonic)
    faults.begin()
    faults.look()
    until(lambda: faults.done)
    with pytest.raises(RuntimeError, match="shard-b does not start"):
        faults.stop()
