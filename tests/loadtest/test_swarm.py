"""Typists of the load on real servers: nothing lost, results as their own scoring has them, nobody else's machine."""

import asyncio
import json
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from loadtest.client import ClientOptions, TypingClient
from loadtest.crowd import Crowd
from loadtest.engine import Engine
from loadtest.humans import play
from loadtest.line import Line, loopback_url
from loadtest.meters import Meters
from loadtest.mixes import MixPlan
from loadtest.people import read
from loadtest.served import Served
from loadtest.share import Share
from loadtest.swarm import Swarm, SwarmOptions, main, missing_rows
from persistence.results import SqliteResults
from scoring.plausibility import THRESHOLDS
from tests.gateway.running import store_locked

PATIENCE_S = 120.0
QUICK = ClientOptions(retry_ms=(50.0, 400.0), probe_every=4)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the tests that leave it alive."""
    with Served(tmp_path_factory.mktemp("served") / "data") as server:
        yield server


@pytest.mark.parametrize(("binary", "processes"), [(True, 1), (False, 2)], ids=["msgpack", "json, two processes"])
def test_a_hundred_typists_get_the_results_that_they_typed(served: Served, binary: bool, processes: int) -> None:
    options = SwarmOptions(
        typists=100,
        seconds=6.0,
        mix="time5",
        rest_ms=60_000.0,
        drop_per_s=10.0,
        processes=processes,
        client=ClientOptions(binary=binary, retry_ms=(50.0, 400.0), probe_every=4),
    )
    swarm = Swarm(options, served.address, pid=lambda: served.pid)
    try:
        facts = swarm.run(progress=lambda share, what: None)
    finally:
        swarm.close()
    assert facts["stored"] == facts["accepted"] == facts["checked"] == facts["started"]
    assert facts["started"] > 0, "one each, but for those whom a busy machine kept from beginning in time"
    assert facts["mismatched"] == facts["doubled"] == facts["unfinished"] == 0
    assert facts["resumed"] > 0 or facts["started"] < 50, "the lost ones go on, but where hardly anybody had begun"
    assert facts["server_cpu_percent"] > 0
    assert facts["times_ms"]["answer"]["n"] > 0
    assert facts["generator_processes"] == processes
    assert 0 < facts["generator_busiest_percent"] <= facts["generator_cpu_percent"]
    assert facts["times_ms"]["generator_late"]["n"] > 0
    assert len(set(swarm.sessions())) == facts["started"]


def test_the_last_results_are_waited_for_from_the_last_key_on(served: Served) -> None:
    """Else a slow typist of a long text counts as one whose result did not come."""
    share = Share(SwarmOptions(typists=1, mix="time5"), served.address)
    try:
        (typist,) = share.clients
        share.begin(time.monotonic() * 1000)
        until_s = time.monotonic() + PATIENCE_S
        while not typist.typing:
            assert time.monotonic() < until_s
            share.turn(share.engine.now_ms + 20)
        share.settle(0.0, typed=True)
        assert typist.done or share.engine.now_ms >= typist.typed_ms > 0
    finally:
        share.close()


def test_typists_wait_in_the_queue_for_their_turn(tmp_path: Path) -> None:
    """Of a server that takes fewer tests at a time than there are typists; each gets the result that it typed."""
    with Served(tmp_path / "data", variables={"TYPEGATE_CONNECTION_TESTS": "4"}) as server:
        swarm = Swarm(
            SwarmOptions(typists=12, seconds=12.0, mix="time5", client=QUICK), server.address, pid=lambda: server.pid
        )
        try:
            facts = swarm.run(progress=lambda share, what: None)
        finally:
            swarm.close()
    assert facts["stored"] == facts["accepted"] == facts["checked"] == facts["started"] > 4
    assert facts["mismatched"] == facts["doubled"] == facts["unfinished"] == 0
    assert facts["errors"]["full"] > 0


def test_a_swarm_that_loses_a_process_says_so(served: Served) -> None:
    options = SwarmOptions(typists=4, seconds=0.5, mix="time5", processes=2, settle=False)
    swarm = Swarm(options, served.address, pid=lambda: None)
    try:
        (helper,) = multiprocessing.active_children()
        helper.terminate()
        with pytest.raises(RuntimeError, match="a process of the swarm has ended"):
            swarm.run(progress=lambda share, what: None)
    finally:
        swarm.close()
    assert multiprocessing.active_children() == []


def test_a_server_killed_in_mid_test_loses_nothing(tmp_path: Path) -> None:
    """Every session is stored once, with the figures of the whole log, though the server died twice meanwhile."""
    engine, meters = Engine(), Meters()
    crowd = Crowd(3, 40)
    clients = [
        TypingClient(
            engine, number, MixPlan(crowd, number, mix="time15", seed=3, tests=1), options=QUICK, meters=meters
        )
        for number in range(40)
    ]
    with Served(tmp_path / "data") as server:
        try:
            for client in clients:
                client.begin(server.address)
            assert engine.run(lambda: sum(client.typing for client in clients) == 40, limit_s=PATIENCE_S)
            events = meters.events
            assert engine.run(lambda: meters.events > events + 80, limit_s=PATIENCE_S)
            server.kill()
            server.start()
            assert engine.run(lambda: meters.resumed >= 40, limit_s=PATIENCE_S)
            assert engine.run(lambda: meters.accepted > 0, limit_s=PATIENCE_S)
            server.kill()  # some results are on their way
            server.start()
            assert engine.run(lambda: all(client.done for client in clients), limit_s=PATIENCE_S), meters
        finally:
            for client in clients:
                client.abandon()
            engine.close()
        server.stop()
        assert (meters.stored, meters.checked, meters.mismatched, meters.doubled) == (40, 40, 0, 0), meters.notes
        sessions = [session for client in clients for session in client.sessions]
        assert len(set(sessions)) == 40
        assert asyncio.run(missing_rows(server.data, sessions)) == 0


class Sprint(MixPlan):
    """One test of two seconds."""

    def choose(self, test: int) -> dict[str, Any] | None:
        """It, once."""
        return None if test else {"mode": "time", "seconds": 2}


class Sprints(MixPlan):
    """Three tests of two seconds, one right after the other."""

    def choose(self, test: int) -> dict[str, Any] | None:
        """The next of them."""
        return {"mode": "time", "seconds": 2} if test < 3 else None


@pytest.mark.parametrize("most", [2, 3])
def test_a_typist_goes_on_while_results_wait_and_asks_them_back(tmp_path: Path, most: int) -> None:
    """Nothing is stored while two are typed; the connection on which both would be told is lost amid the third."""
    engine, meters = Engine(), Meters()
    options = ClientOptions(retry_ms=(50.0, 400.0), unsaved=most)
    typist = TypingClient(
        engine, 0, Sprints(Crowd(1, 1), 0, mix="short", seed=1, rest_ms=1.0), options=options, meters=meters
    )
    with Served(tmp_path / "data") as server:
        try:
            with store_locked(server.data):
                typist.begin(server.address)
                assert engine.run(lambda: meters.accepted == 2 and typist.typing, limit_s=PATIENCE_S), meters
                typist.drop()
                assert engine.run(lambda: meters.accepted == 3, limit_s=PATIENCE_S), meters
                assert (meters.stored, typist.sessions) == (0, {})
            assert engine.run(lambda: typist.done, limit_s=PATIENCE_S), meters
        finally:
            typist.abandon()
            engine.close()
        server.stop()
        assert (meters.started, meters.stored, meters.checked) == (3, 3, 3)
        assert (meters.mismatched, meters.doubled, meters.given_up.total()) == (0, 0, 0), meters.notes
        assert len(typist.sessions) == 3
        assert asyncio.run(missing_rows(server.data, list(typist.sessions))) == 0


def test_a_typist_whose_process_was_held_up_loses_no_key(served: Served) -> None:
    """The server waits 2 s beyond a test's end for its last keys, then for a pong: they go before that."""
    engine, meters = Engine(), Meters()
    typist = TypingClient(engine, 0, Sprint(Crowd(1, 1), 0, mix="short", seed=1), options=QUICK, meters=meters)
    try:
        typist.begin(served.address)
        assert engine.run(lambda: meters.events > 2, limit_s=PATIENCE_S)
        time.sleep(5.5)
        assert engine.run(lambda: typist.done, limit_s=PATIENCE_S)
    finally:
        typist.abandon()
        engine.close()
    assert (meters.stored, meters.checked, meters.mismatched) == (1, 1, 0), meters.notes


def test_the_other_modes_match_too(served: Served) -> None:
    """Words, own texts, zen, marks and numbers, other scripts; people fast enough to be done soon."""
    engine, meters = Engine(), Meters()
    crowd = Crowd(5, 400)
    quickest = sorted(range(400), key=lambda number: -crowd.person(number).typist.wpm)[:40]
    clients = [
        TypingClient(
            engine,
            number,
            MixPlan(crowd, number, mix="short", seed=7, tests=1),
            options=ClientOptions(holds=number % 2 == 0),
            meters=meters,
        )
        for number in quickest
    ]
    try:
        for client in clients:
            client.begin(served.address)
        engine.run(lambda: all(client.done for client in clients), limit_s=PATIENCE_S)
    finally:
        for client in clients:
            client.abandon()
        engine.close()
    assert meters.checked == meters.stored == 40
    assert (meters.mismatched, meters.doubled) == (0, 0), meters.notes


@pytest.mark.reference
def test_no_person_is_void(tmp_path: Path, reference_data: Path) -> None:
    """Real people's shortest sessions, at their own pace, all at once.

    By what they typed: the clocks are left out. Where the machine is busy these typists themselves send their keys too
    late, and of that the server can know nothing.
    """
    people = read(reference_data / "humans" / "typing.jsonl.gz").values()
    shortest = sorted((recording for recordings in people for recording in recordings), key=lambda one: sum(one.gaps))[
        :300
    ]
    with Served(tmp_path / "data") as server:
        meters, missing = play(server.address, [[one] for one in shortest], options=QUICK, limit_s=PATIENCE_S)
        assert (missing, meters.mismatched, meters.checked) == (0, 0, 300), meters.notes
        server.stop()
        reasons = asyncio.run(reasons_given(server.data))
    families = {threshold.feature: threshold.family for threshold in THRESHOLDS["keyboard"]}
    flagged = [{families[name] for name in names if name != "drift_ms"} for names in reasons]
    assert len(reasons) == 300
    assert sum(map(bool, flagged)) <= 1
    assert all(len(found) < 2 for found in flagged)


async def reasons_given(data: Path) -> list[list[str]]:
    """The reasons of each result in the store of a stopped server, by name."""
    async with SqliteResults(data / "results.db") as store:
        return [[reason.name for reason in one.reasons] async for page, _ in store.copies() for one in page]


@pytest.mark.parametrize("url", ["ws://192.0.2.1:80/ws", "ws://example.org/ws", "ws://0.0.0.0:1/", "ws://128.0.0.1/"])
def test_other_machines_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"127\.0\.0\.0/8"):
        loopback_url(url)
    with pytest.raises(ValueError, match=r"127\.0\.0\.0/8"):
        Line(Engine(), 0).connect((url.split("/")[2].split(":")[0], 80), None)
    ran = CliRunner().invoke(main, ["--url", url])
    assert ran.exit_code == 2
    assert "127.0.0.0/8" in ran.output


def test_the_command_reports(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    host, port = served.address
    options = f"--typists 5 --seconds 5 --mode time5 --quiet --url ws://{host}:{port}/ws --json {file}"
    ran = CliRunner().invoke(main, options.split())
    assert ran.exit_code == 0, ran.output
    assert "finish to stored" in ran.output
    facts = json.loads(file.read_text())
    assert facts["stored"] == facts["started"] > 0
    assert (facts["mismatched"], facts["server_cpu_percent"]) == (0, None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--typists", "0"], "typists is 0"),
        (["--seconds", "0"], "seconds"),
        (["--kill-every", "5", "--url", "ws://127.0.0.1:1/ws"], "of the run's own"),
        (["--kill-every", "0.1"], "at least 1 second"),
        (["--typists", "2", "--processes", "3"], "processes is 3"),
    ],
)
def test_wrong_options_are_told(options: list[str], said: str) -> None:
    ran = CliRunner().invoke(main, options)
    assert ran.exit_code == 2
    assert said in ran.output


def test_nobody_there_is_an_end_too() -> None:
    """A client without a server gives up after its tries."""
    engine, meters = Engine(), Meters()
    client = TypingClient(
        engine,
        0,
        MixPlan(Crowd(1, 1), 0, mix="time5", seed=1),
        options=ClientOptions(tries=3, retry_ms=(1.0, 2.0)),
        meters=meters,
    )
    client.begin(("127.0.0.1", 1))
    assert engine.run(lambda: client.done, limit_s=PATIENCE_S)
    assert meters.errors["gave up"] == 1
    engine.close()
