"""A gateway node and a worker as processes of a cluster: killed, paused, stopped and started again at the same ports.

What they print is in their log, `node-1.log` in the folder `node-1`, whose folder `data` outlives them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from loadtest.cluster.scraping import figures
from loadtest.servers.asking import ask
from loadtest.servers.process import HOST, ServerProcess, unused_port

__all__ = ["Health", "Node", "Program", "Worker"]

ROOT = Path(__file__).resolve().parents[2]
_ASK_S = 5.0


@dataclass(frozen=True, slots=True)
class Health:
    """What a program answers to /readyz."""

    status: str
    """`ready`, `degraded` or `not ready`."""
    parts: Mapping[str, str]
    """`ok`, or what is wrong, of each of its resources."""


class Program(ServerProcess):
    """One `typegate` command; it is ready when it has printed `announced`. `admin_port` answers for it."""

    def __init__(
        self,
        name: str,
        *arguments: str,
        folder: Path,
        port: int,
        admin_port: int,
        announced: str,
        variables: Mapping[str, str],
    ) -> None:
        super().__init__(
            name,
            [sys.executable, "-m", "gateway.cli", *arguments, "--admin-port", str(admin_port)],
            folder=folder / name,
            port=port,
            ready=lambda server: server.said(announced),
            variables={"PYTHONPATH": str(ROOT), "TYPEGATE_NODE_NAME": name, **variables},
        )
        self.data = self.folder / "data"
        self.admin_port = admin_port

    def health(self, *, within_s: float = _ASK_S) -> Health | None:
        """How it says that it is; None where it does not answer."""
        answer = self._asked("readyz", within_s)
        if answer is None:
            return None
        told = orjson.loads(answer)
        return Health(told["status"], told["parts"])

    def figures(self, *, within_s: float = _ASK_S) -> dict[str, float] | None:
        """What it shows to Prometheus, by series; None where it does not answer."""
        answer = self._asked("metrics", within_s)
        return None if answer is None else figures(answer.decode())

    def _asked(self, path: str, within_s: float) -> bytes | None:
        try:
            return ask(self.admin_port, f"/{path}", within_s=within_s).body
        except OSError:
            return None


class Node(Program):
    """A gateway: clients come to `port`, HAProxy's agent check to `agent_port`. All nodes have one `keys` file."""

    def __init__(self, folder: Path, name: str, *, keys: Path, variables: Mapping[str, str]) -> None:
        port = unused_port()
        self.agent_port = unused_port()
        super().__init__(
            name,
            *("serve", "--data", str(folder / name / "data"), "--port", str(port)),
            folder=folder,
            port=port,
            admin_port=unused_port(),
            announced=f"open http://{HOST}:{port}/",
            variables={
                "TYPEGATE_NODE_KEYS_FILE": str(keys),
                "TYPEGATE_AGENT_ENABLED": "true",
                "TYPEGATE_AGENT_PORT": str(self.agent_port),
                "TYPEGATE_SERVER_TRUSTED_PROXIES": HOST,
                **variables,
            },
        )


class Worker(Program):
    """A worker; it listens to nobody but the people who run it."""

    def __init__(self, folder: Path, name: str, *, variables: Mapping[str, str]) -> None:
        port = unused_port()
        super().__init__(
            name,
            *("worker", "--data", str(folder / name / "data"), "--node", name),
            folder=folder,
            port=port,
            admin_port=port,
            announced=f"worker {name} is ready",
            variables=variables,
        )
