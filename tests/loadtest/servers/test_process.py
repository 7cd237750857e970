import os
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from loadtest.servers.process import accepts, unused_port
from tests.loadtest.servers.sleeper import sleeper

ROOT = Path(__file__).resolve().parents[3]


def greeting(port: int, timeout_s: float = 30.0) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as client:
        return client.recv(5)


def test_it_serves_when_start_returns_and_is_gone_when_the_context_is_left(tmp_path: Path) -> None:
    with sleeper(tmp_path / "new folder") as server:
        assert greeting(server.port) == b"hello"
        assert server.said("listening")
    assert not server.alive
    assert not accepts(server.port)


def test_a_killed_server_comes_back_at_the_same_address(tmp_path: Path) -> None:
    with sleeper(tmp_path) as server:
        pid = server.pid
        server.kill()
        assert not server.alive
        assert not accepts(server.port)
        server.start()
        assert server.pid != pid
        assert greeting(server.port) == b"hello"


def test_what_was_said_before_a_restart_counts_no_more(tmp_path: Path) -> None:
    """A ready check that reads the log must not be satisfied by an earlier life."""
    server = sleeper(tmp_path)
    with server:
        pass
    silent = sleeper(tmp_path, "import time; time.sleep(600)")  # the same log
    silent.launch()
    try:
        assert not silent.said("listening")
        assert "listening" in silent.log.read_text()
    finally:
        silent.kill()


def test_a_paused_server_answers_nobody_until_it_goes_on(tmp_path: Path) -> None:
    with sleeper(tmp_path) as server:
        server.pause()
        with pytest.raises(TimeoutError):
            greeting(server.port, timeout_s=0.05)
        server.resume()
        assert greeting(server.port) == b"hello"


def test_a_paused_server_can_be_stopped(tmp_path: Path) -> None:
    with sleeper(tmp_path) as server:
        server.pause()
        server.stop()
        assert not server.alive


def test_a_server_that_ends_at_once_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)ended at once with 1.*the disk is on fire"):
        sleeper(tmp_path, "raise SystemExit('the disk is on fire')").start()


def test_a_server_that_is_never_ready_is_killed_and_is_an_error(tmp_path: Path) -> None:
    server = sleeper(tmp_path, "import time; print('still looking for my keys', flush=True); time.sleep(600)")
    server.launch()
    with pytest.raises(RuntimeError, match="not ready within 0 s"):
        server.wait_ready(within_s=0.0)
    assert not server.alive


def test_a_server_that_heeds_no_sigterm_is_killed(tmp_path: Path) -> None:
    server = sleeper(tmp_path, "import signal, time; signal.signal(15, 1); print('deaf', flush=True); time.sleep(600)")
    server.launch()
    while not server.said("deaf"):
        assert server.alive
    server.stop(within_s=0.0)
    assert not server.alive


def test_a_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    """The kernel would end it with that thread; tests start servers from threads of an event loop's."""
    server = sleeper(tmp_path)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    try:
        assert greeting(server.port) == b"hello"
    finally:
        server.stop()


def test_a_server_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    """Even where that one is killed and can clean up nothing."""
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib; from tests.loadtest.servers.sleeper import sleeper\n"
            "server = sleeper(pathlib.Path(sys.argv[1])); server.start()\n"
            "print(server.pid, flush=True); sys.stdin.read()",
            str(tmp_path),
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    with parent.stdout, parent.stdin:
        pidfd = os.pidfd_open(int(parent.stdout.readline()))
        try:
            os.kill(parent.pid, signal.SIGKILL)
            parent.wait()
            ended, _, _ = select.select([pidfd], [], [], 30)
            assert ended
        finally:
            os.close(pidfd)


def test_a_port_is_given_once_while_its_owner_lives() -> None:
    """Neither to the same process again nor to another one, though nobody listens to it yet."""
    mine = {unused_port() for _ in range(50)}
    assert len(mine) == 50
    ask = f"from loadtest.servers.process import _reserved; print(_reserved({mine.pop()}))"
    assert subprocess.check_output([sys.executable, "-c", ask], cwd=ROOT, text=True) == "False\n"
