"""A blocking typist on real servers: results as its own scoring has them, losses made good, faults recorded."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import pytest

from loadtest.blocking import BlockingTypist, Failed, Unreachable
from loadtest.crowd import Crowd
from loadtest.mixes import MixPlan
from loadtest.served import Served
from loadtest.servers.process import unused_port
from loadtest.swarm import missing_rows

Recorded = tuple[str, float, Exception | None]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served") / "data") as server:
        yield server


def plan(mix: str = "time5", number: int = 0) -> MixPlan:
    return MixPlan(Crowd(11, 5), number, mix=mix, seed=3, tests=1)


@pytest.mark.parametrize(("binary", "mix"), [(True, "time5"), (False, "short")], ids=["msgpack", "json"])
def test_what_took_time_is_recorded_and_nothing_is_wrong(served: Served, binary: bool, mix: str) -> None:
    recorded: list[Recorded] = []
    with BlockingTypist(
        served.address, plan(mix), record=lambda *facts: recorded.append(facts), binary=binary
    ) as typist:
        assert typist.type_test(0)
        assert not typist.type_test(1)  # the plan has one
    assert [what for what, _, wrong in recorded if wrong is not None] == []
    names = [what for what, _, _ in recorded]
    assert names[:2] == ["ready", "start"]
    assert names[-2:] == ["finish to accepted", "finish to stored"]
    assert "key to tick" in names
    assert all(took_ms > 0 for _, took_ms, _ in recorded)
    assert len(typist.sessions) == 1


def test_a_server_killed_in_mid_test_is_come_back_to(tmp_path: Path) -> None:
    """The test is resumed, stored once, and has the figures of the whole log."""
    recorded: Queue[Recorded] = Queue()
    with Served(tmp_path / "data") as server:
        typist = BlockingTypist(server.address, plan("time15"), record=lambda *facts: recorded.put(facts))
        with typist:
            thread = Thread(target=typist.type_test, args=(0,))
            thread.start()
            while recorded.get(timeout=120)[0] != "key to tick":
                pass
            server.kill()
            server.start()
            thread.join(timeout=120)
            assert not thread.is_alive()
        server.stop()
        after = [recorded.get_nowait() for _ in range(recorded.qsize())]
        assert [wrong for _, _, wrong in after if wrong is not None] == []
        assert [what for what, _, _ in after].count("lost to resumed") == 1
        assert [what for what, _, _ in after].count("finish to stored") == 1
        assert asyncio.run(missing_rows(server.data, typist.sessions)) == 0


class Unknown(MixPlan):
    """Chooses a test that there is not."""

    def choose(self, test: int) -> dict[str, Any] | None:
        return {"mode": "quote", "test": "999"} if not test else {"mode": "time", "seconds": 5}


def test_an_error_is_recorded_and_the_next_test_is_typed(served: Served) -> None:
    recorded: list[Recorded] = []
    chosen = Unknown(Crowd(11, 5), 1, mix="time5", seed=3)
    with BlockingTypist(served.address, chosen, record=lambda *facts: recorded.append(facts)) as typist:
        assert typist.type_test(0)
        ((what, _, wrong),) = [facts for facts in recorded if facts[2] is not None]
        assert what == "test"
        assert isinstance(wrong, Failed)
        assert "unknown_test" in str(wrong)
        assert typist.type_test(1)
    assert len(typist.sessions) == 1


def test_other_machines_are_refused_and_nobody_there_is_told() -> None:
    with pytest.raises(ValueError, match=r"127\.0\.0\.0/8"):
        BlockingTypist(("192.0.2.1", 80), plan(), record=lambda *facts: None)
    with (
        pytest.raises(Unreachable, match="no connection"),
        BlockingTypist(("127.0.0.1", unused_port()), plan(), record=lambda *facts: None),
    ):
        pass
