import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from loadtest.servers.__main__ import main
from loadtest.servers.kinds import KINDS, kind_named
from loadtest.servers.process import accepts

ROOT = Path(__file__).resolve().parents[3]

# Connects to the server that the file names, writes what it read there, and ends with 7.
CLIENT = """
import json, os, socket, sys
found = json.load(open(os.environ["TYPEGATE_TEST_SERVERS"]))
with socket.create_connection(("127.0.0.1", found["sleeper"]["port"])) as client:
    open(sys.argv[1], "w").write(json.dumps([client.recv(5).decode(), found["sleeper"]["port"], sys.argv[2:]]))
sys.exit(7)
"""


@pytest.fixture(autouse=True)
def _kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, kind in {"sleeper": "Sleepers", "broken": "Broken", "missing": "Missing"}.items():
        monkeypatch.setitem(KINDS, name, f"tests.loadtest.servers.sleeper:{kind}")


@pytest.mark.parametrize("name", list(KINDS))
def test_every_kind_can_be_imported(name: str) -> None:
    """The list names each kind's class as text."""
    assert callable(kind_named(name).missing)


def test_run_starts_servers_tells_the_command_where_they_are_and_ends_as_it_did(tmp_path: Path) -> None:
    said = tmp_path / "said"
    command = ["run", "--only", "sleeper", "--", sys.executable, "-c", CLIENT, str(said), "--only", "x"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 7, done.output
    greeting, port, rest = json.loads(said.read_text())
    assert greeting == "hello"
    assert rest == ["--only", "x"]
    assert not accepts(port)


def test_run_keeps_the_data_where_it_is_told(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["run", "--only", "sleeper", "--data", str(tmp_path), "--", "true"])
    assert done.exit_code == 0, done.output
    assert "listening" in (tmp_path / "sleeper" / "sleeper.log").read_text()


def test_a_server_that_does_not_start_is_an_error_and_the_others_are_stopped(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["run", "--only", "sleeper,broken", "--", "touch", str(tmp_path / "ran")])
    assert done.exit_code == 1
    assert "the disk is on fire" in done.output
    assert not (tmp_path / "ran").exists()


def test_what_this_machine_cannot_run_is_an_error_unless_any_will_do() -> None:
    refused = CliRunner().invoke(main, ["run", "--only", "missing", "--", "true"])
    assert refused.exit_code == 1
    assert "nobody sells it" in refused.output
    taken = CliRunner().invoke(main, ["run", "--only", "missing,sleeper", "--any", "--", "true"])
    assert taken.exit_code == 0
    assert "no missing: nobody sells it" in taken.output


@pytest.mark.parametrize("command", [["up", "--only", "kafak"], ["run", "--only", "kafak", "--", "true"]])
def test_an_unknown_kind_is_named_with_those_that_exist(command: list[str]) -> None:
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert re.search(r"'kafak'; there are .*\bkafka\b", done.output)


def test_a_command_that_is_not_there_is_an_error() -> None:
    done = CliRunner().invoke(main, ["run", "--only", "sleeper", "--", "no-such-command"])
    assert done.exit_code == 1
    assert "no-such-command cannot be run: No such file" in done.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_prints_addresses_and_settings_and_stops_its_servers_when_told(number: signal.Signals) -> None:
    program = (
        "import loadtest.servers.__main__ as command, loadtest.servers.kinds as kinds\n"
        "kinds.KINDS['sleeper'] = 'tests.loadtest.servers.sleeper:Sleepers'\n"
        "command.leave_on_sigterm()\n"
        "command.main(['up', '--only', 'sleeper'])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = ""
        while (found := re.search(r"export TYPEGATE_SLEEPER_PORT='(\d+)'", said)) is None:
            line = process.stdout.readline()
            assert line, f"it ended: {said}"
            said += line
        port = int(found[1])
        assert f"│ {port}" in said
        assert accepts(port)
        pidfd = os.pidfd_open(process.pid)
        try:
            process.send_signal(number)
            ended, _, _ = select.select([pidfd], [], [], 30)
            assert ended
        finally:
            os.close(pidfd)
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            pass
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
