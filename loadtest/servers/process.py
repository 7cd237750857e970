"""One server program as a child process on 127.0.0.1: started, ready, paused, killed, started again, gone.

A server's data, configuration and log lie in its own folder; its port is chosen once, so that it comes back at the same
address. It runs in a process group of its own and dies with the process that started it, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["HOST", "ServerProcess", "accepts", "cache_folder", "unused_port"]

HOST = "127.0.0.1"

_PORTS = range(10_240, 32_768)
"""Below the ports that the kernel gives to outgoing connections (32768 and up): a client that keeps trying to reach a
server that is away may otherwise be given the server's own port, and meet itself."""

_READY_S = 300.0
_STOP_S = 60.0
_PROBE_S = 0.02
_LOG_TAIL_BYTES = 4_000


def unused_port() -> int:
    """A port of 127.0.0.1 on which nobody listens, and which nobody else is given here while this process lives.

    So it may be listened to later, and again after a pause: processes that test side by side do not take it meanwhile.
    """
    for port in random.sample(_PORTS, 100):
        if _reserved(port):
            with socket.socket() as probe, suppress(OSError):
                probe.bind((HOST, port))
                return port
    raise RuntimeError(f"no free port of {HOST} found between {_PORTS.start} and {_PORTS.stop}")


def _reserved(port: int) -> bool:
    """Whether a port is this process's from now on: a byte of a file is locked for each, until the process ends."""
    if port in _given:
        return False
    try:
        fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _given.add(port)
    return True


_given: set[int] = set()


@cache
def _reservations() -> int:
    """The file of the reservations. It stays open: closing it would give them all up."""
    return os.open(cache_folder("ports") / "reserved", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def accepts(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def cache_folder(name: str) -> Path:
    """A folder for what is fetched once and kept between runs, outside the tree; made where it is missing."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "typegate-servers" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@cache
def _spawner() -> ThreadPoolExecutor:
    """The thread that starts all servers and lives as long as this process.

    The kernel's "die with your parent" means the parent's thread: a server that a short-lived thread started would be
    killed when that thread ends.
    """
    return ThreadPoolExecutor(1, thread_name_prefix="servers")


def _environment() -> dict[str, str]:
    """This process's own, without the settings of Typegate that somebody made for himself."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TYPEGATE_")}


class ServerProcess:
    """A server program. `start` returns when it is ready; whatever else is called, it may be started again after.

    `ready` says whether it serves by now, and is asked again and again after a start until it says so; without one it
    is whether somebody accepts at `port`, which is where the program has been told to listen.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        folder: Path,
        port: int,
        ready: Callable[[ServerProcess], bool] | None = None,
        variables: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.folder = folder
        self.port = port
        self.log = folder / f"{name}.log"
        self._command = [str(part) for part in command]
        self._ready = ready or (lambda server: accepts(server.port))
        self._variables = dict(variables or {})
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0  # where in the log the present run begins
        self.paused = False
        """Whether `pause` was the last that was done to it."""

    @property
    def address(self) -> str:
        """`127.0.0.1:port`."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id, which is its group's id too."""
        assert self._process is not None, f"{self.name} has not been started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs (paused counts)."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start the program and wait for nothing."""
        assert not self.alive, f"{self.name} runs already"
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self.paused = False
            self._process = (
                _spawner()
                .submit(
                    subprocess.Popen,
                    ["setpriv", "--pdeathsig", "KILL", "--", *self._command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    env=_environment() | self._variables,
                    start_new_session=True,
                )
                .result()
            )

    def wait_ready(self, within_s: float = _READY_S) -> None:
        """Wait until it serves. Raises RuntimeError, with the end of its log, where it ends or does not come to it."""
        until = time.monotonic() + within_s
        while self.alive:
            if self._ready(self):
                return
            if time.monotonic() > until:
                self.kill()
                raise RuntimeError(f"{self.name} was not ready within {within_s:.0f} s\n{self.log_tail()}")
            time.sleep(_PROBE_S)
        assert self._process is not None, f"{self.name} has not been started"
        raise RuntimeError(f"{self.name} ended at once with {self._process.returncode}\n{self.log_tail()}")

    def start(self) -> None:
        """Start the program and wait until it serves. Raises RuntimeError as `wait_ready` does."""
        self.launch()
        self.wait_ready()

    def stop(self, within_s: float = _STOP_S) -> None:
        """Ask it to end, and kill it where it does not in time."""
        if self._process is not None:
            self.leave()
            self.resume()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(within_s)
        self.kill()

    def leave(self) -> None:
        """Ask it to end, and wait for nothing."""
        self._signal(self._stop_signal)

    def ended(self, within_s: float) -> None:
        """Wait until it has ended by itself. Raises subprocess.TimeoutExpired where it does not."""
        assert self._process is not None, f"{self.name} has not been started"
        self._process.wait(within_s)

    def kill(self) -> None:
        """SIGKILL to it and all that it started, and wait for its end."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: connections stay open, and nothing answers."""
        self.paused = True
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)
        self.paused = False

    def _signal(self, number: signal.Signals) -> None:
        if self.alive:  # the id of one that ended may belong to somebody else by now
            os.killpg(self.pid, number)

    def said(self, words: str) -> bool:
        """Whether it has printed these words since it was last started."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return words.encode() in log.read()

    def log_tail(self) -> str:
        """The end of what it printed, for a message that says why it did not work."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, self.log.stat().st_size - _LOG_TAIL_BYTES))
                return f"--- {self.log}\n{log.read().decode(errors='replace')}"
        except FileNotFoundError:
            return f"--- {self.log} was not written"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
