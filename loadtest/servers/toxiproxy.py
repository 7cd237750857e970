"""Toxiproxy: ways to servers that can be made slow, narrow, silent or broken while connections go over them.

It is built once from the Go module proxy and kept in the user's cache folder. A server whose clients are told where to
come (a Kafka broker) has to name the way's port to them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import orjson

from loadtest.servers.asking import ask
from loadtest.servers.process import HOST, ServerProcess, cache_folder, unused_port

__all__ = ["Toxiproxy", "Way"]

_MODULE = "github.com/Shopify/toxiproxy/v2/cmd/server"
_VERSION = "v2.5.0"  # later ones want a newer Go than Debian 12 has
_BUILD_S = 600.0
_PATIENCE_S = 30.0


def _program() -> Path:
    """Where the program lies, whether or not it is there yet."""
    return cache_folder("toxiproxy") / _VERSION / "server"


def _build() -> None:
    """Build the program where it is not there yet. Raises RuntimeError with what Go says where that fails."""
    program = _program()
    if program.exists():
        return
    part = Path(tempfile.mkdtemp(prefix="part-", dir=program.parents[1]))
    # no C compiler and no newer toolchain than the one that is here
    variables = {"GOBIN": str(part), "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    try:
        done = subprocess.run(
            ["go", "install", f"{_MODULE}@{_VERSION}"],
            cwd=part,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            timeout=_BUILD_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"Toxiproxy could not be built: {(done.stdout + done.stderr).strip()[-2000:]}")
        part.rename(program.parent)
    except OSError:
        if not program.exists():  # else another process was faster
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


class Way:
    """One way to a server: clients connect to `port`.

    What is done to it holds until `heal`, for new connections too.
    """

    def __init__(self, api: int, name: str, port: int) -> None:
        self.name = name
        self.port = port
        self._api = api

    @property
    def address(self) -> str:
        """`127.0.0.1:port`."""
        return f"{HOST}:{self.port}"

    def slow(self, latency_ms: int, *, jitter_ms: int = 0) -> None:
        """Let everything take so much longer, each way."""
        self._poison("latency", latency=latency_ms, jitter=jitter_ms)

    def narrow(self, kib_per_s: int) -> None:
        """Let no more through than this, each way and for each connection."""
        self._poison("bandwidth", rate=kib_per_s)

    def silence(self) -> None:
        """Let nothing through; connections stay open and can be made (half-open). What is said meanwhile is lost."""
        self._poison("timeout", timeout=0)

    def reset(self) -> None:
        """End every connection as soon as anything is said on it, those made from now on by a reset."""
        self._poison("reset_peer", timeout=0)

    def cut(self) -> None:
        """Break all connections, and let nobody connect."""
        self._ask("POST", f"/proxies/{self.name}", {"enabled": False})

    def heal(self) -> None:
        """Take everything back; connections that were silent or broken are closed."""
        for toxic in self._ask("GET", f"/proxies/{self.name}/toxics"):
            self._ask("DELETE", f"/proxies/{self.name}/toxics/{toxic['name']}")
        self._ask("POST", f"/proxies/{self.name}", {"enabled": True})

    def _poison(self, kind: str, **attributes: int) -> None:
        for stream in ("upstream", "downstream"):
            toxic = {"type": kind, "stream": stream, "attributes": attributes}
            self._ask("POST", f"/proxies/{self.name}/toxics", toxic)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        return _ask(self._api, method, path, body)


class Toxiproxy(ServerProcess):
    """`toxiproxy-server`; `way` adds a way to a server. Ways are gone when it ends."""

    def __init__(self, folder: Path, *, name: str = "toxiproxy") -> None:
        port = unused_port()
        super().__init__(
            name,
            [_program(), "-host", HOST, "-port", str(port)],
            folder=folder,
            port=port,
            variables={"LOG_LEVEL": "warn"},
        )

    @staticmethod
    def missing() -> str | None:
        """Why it cannot run on this machine, and what to install; None where it can."""
        return None if _program().exists() or shutil.which("go") else "Toxiproxy is built by Go (golang-go)"

    def launch(self) -> None:
        """Start it and wait for nothing but its build."""
        _build()
        super().launch()

    def way(self, name: str, to: int, *, port: int | None = None) -> Way:
        """A new way to the server at a port of this machine, itself at `port` where one is given."""
        way = Way(self.port, name, port or unused_port())
        _ask(
            self.port,
            "POST",
            "/proxies",
            {"name": name, "listen": way.address, "upstream": f"{HOST}:{to}", "enabled": True},
        )
        return way


def _ask(api: int, method: str, path: str, body: Any) -> Any:
    """What the server at this port answers. Raises RuntimeError where it refuses."""
    answer = ask(api, path, within_s=_PATIENCE_S, method=method, body=body)
    if answer.status >= 400:
        raise RuntimeError(f"Toxiproxy refuses {method} {path}: {answer.body.decode(errors='replace').strip()}")
    return orjson.loads(answer.body) if answer.body else None
