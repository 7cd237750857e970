"""A Typegate of the run's own: started as a program, pinned to a core, measured by /proc, killed and started again."""

from __future__ import annotations

import os
import re
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import clock_gettime, monotonic
from types import TracebackType
from typing import Self

from loadtest.line import Address
from loadtest.servers.process import unused_port

__all__ = ["Child", "Served", "cpu_s", "memory_bytes", "raise_file_limit"]

START_S = 180.0
"""How long a server may take to say that it is ready."""

ROOT = Path(__file__).resolve().parent.parent


def cpu_s(pid: int) -> float:
    """CPU seconds, user and system, that all threads of a process have had, to the nanosecond."""
    return clock_gettime(~pid << 3 | 2)  # Linux: the CPU clock of another process (CPUCLOCK_SCHED)


def memory_bytes(pid: int) -> int:
    """Resident memory of a process that is its own (RssAnon); what the kernel keeps for its sockets is not in it."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def raise_file_limit() -> int:
    """Raise this process's soft limit of open files to the hard one; the limit that holds then."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


class Child:
    """A server program as a child process: started on entering, stopped by its pid on leaving.

    `ready` is a pattern with the port as its group, looked for in what the program prints.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        core: int | None = None,
        ready: str = r"ready 127\.0\.0\.1:(\d+)",
        folder: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.address: Address = ("127.0.0.1", 0)
        self._arguments = list(arguments)
        self._core = core
        self._ready = re.compile(ready.encode())
        self._folder = folder
        self._variables = dict(variables or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, "it has not been started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def cpu_s(self) -> float:
        """CPU seconds that it has had."""
        return cpu_s(self.pid)

    def memory_bytes(self) -> int:
        """Its own resident memory."""
        return memory_bytes(self.pid)

    def open_files(self) -> int:
        """Files and sockets that it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("TYPEGATE_")}
        core = self._core
        self._process = subprocess.Popen(
            self._arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            env=variables | {"PYTHONPATH": str(ROOT)} | self._variables,
            # pinned before it makes its first thread; the run is one thread, as a fork with Python code between wants
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
        )

    def start(self) -> None:
        """Start it and wait until it listens. Raises RuntimeError with what it said where it does not."""
        self.launch()
        process = self._process
        assert process is not None
        assert process.stdout is not None
        said = b""
        until = monotonic() + START_S
        while (found := self._ready.search(said)) is None:
            if select.select([process.stdout], [], [], max(0.0, until - monotonic()))[0]:
                some = os.read(process.stdout.fileno(), 65_536)
                said += some
            else:
                some = b""
            if not some:
                self.kill()
                raise RuntimeError(f"{self.name} did not start: {said.decode(errors='replace')[-500:]!r}")
        self.address = ("127.0.0.1", int(found[1]))

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._reap()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, where it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def ended(self, *, within_s: float) -> None:
        """Wait until it has ended by itself. Raises subprocess.TimeoutExpired where it does not."""
        assert self._process is not None, "it has not been started"
        self._process.wait(within_s)
        self._reap()

    def stop(self, *, within_s: float = 30.0) -> None:
        """SIGTERM, and SIGKILL if it does not heed it in time."""
        self.signal(signal.SIGTERM)
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(within_s)
        self.kill()

    def _reap(self) -> None:
        assert self._process is not None
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(within_s=15.0)


class Served(Child):
    """`typegate serve` on a port that stays the same through its restarts."""

    def __init__(
        self,
        data: Path,
        *,
        core: int | None = None,
        variables: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        port = unused_port()
        super().__init__(
            "typegate",
            [
                *(sys.executable, "-m", "gateway.cli", "serve", "--data", str(data), "--port", str(port)),
                *("--no-admin", "--log-level", "error", *arguments),
            ],
            core=core,
            ready=r"open http://127\.0\.0\.1:(\d+)/",
            folder=data.parent,
            variables={"TYPEGATE_STOP_GRACE_S": "2"} | dict(variables or {}),
        )
        self.data = data

    @classmethod
    @contextmanager
    def in_temporary_folder(cls, *, core: int | None = None) -> Iterator[Served]:
        """One whose data goes when it does."""
        with TemporaryDirectory(prefix="typegate-load-") as folder, cls(Path(folder) / "data", core=core) as server:
            yield server
