"""Locust's typists, as the command runs them: in a process of their own, since gevent changes all of Python in it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.served import Served
from loadtest.servers.process import unused_port

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT_S = 300


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served") / "data") as server:
        yield server


def locust(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtest" / "locustfile.py"), "--headless", *arguments]
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, env=variables, check=False)


@pytest.mark.parametrize("encoding", ["msgpack", "json"])
def test_users_type_tests_that_are_stored_and_right(served: Served, encoding: str) -> None:
    """Tests under way at the end are typed to theirs; every kind of request is counted, and none failed."""
    course = ["-u", "6", "-r", "6", "-t", "5s", "--stop-timeout", "60", "--shape", "steady"]
    ran = locust(
        *("--host", f"ws://127.0.0.1:{served.address[1]}", *course),
        *("--mix", "time5", "--encoding", encoding, "--json"),
    )
    assert ran.returncode == 0, ran.stderr
    requests = {request["name"]: request for request in json.loads(ran.stdout)}
    begun = requests["start"]["num_requests"]
    assert begun > 0, "six, but for those whom a busy machine kept from beginning in time"
    for name in ("finish to accepted", "finish to stored"):
        assert requests[name]["num_requests"] == begun, requests
    assert requests["ready"]["num_requests"] > 0
    assert requests["key to tick"]["num_requests"] > 0
    assert sum(request["num_failures"] for request in requests.values()) == 0


def test_nobody_there_is_a_failure_and_the_exit_code_tells() -> None:
    ran = locust(
        "--host", f"ws://127.0.0.1:{unused_port()}", "-u", "2", "-r", "2", "-t", "2s", "--mix", "time5", "--json"
    )
    assert ran.returncode == 1, ran.stderr
    (ready,) = json.loads(ran.stdout)
    assert ready["name"] == "ready"
    assert 1 <= ready["num_failures"] <= 2, "each tries once, if it comes to it in time"


def test_other_machines_are_refused() -> None:
    ran = locust("--host", "ws://192.0.2.1:80", "-u", "1", "-t", "2s")
    assert ran.returncode != 0
    assert "127.0.0.0/8" in ran.stderr + ran.stdout


@pytest.mark.parametrize("option", ["--shape", "--mix", "--encoding"])
def test_what_there_is_to_choose_from_is_told(option: str) -> None:
    """Locust's own --help knows nothing of a locustfile's options."""
    ran = locust("--host", "ws://127.0.0.1:1", option, "nonsense")
    assert ran.returncode == 2
    assert f"{option}: invalid choice: 'nonsense'" in ran.stderr
