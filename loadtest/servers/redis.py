"""Redis: a standalone server, and a Cluster of six (three masters, a replica each).

They keep nothing on disk: what Typegate has in Redis can be read from the store again, so each start is an empty one.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from loadtest.servers.addresses import Addresses
from loadtest.servers.process import HOST, ServerProcess, unused_port

__all__ = ["PATIENT_MS", "Redis", "RedisCluster", "RedisServer"]

_NODES = 6
_WHOLE_S = 180.0
_PROBE_S = 0.05
_QUICK_MS = 2_000

PATIENT_MS = 30_000
"""A `node_timeout_ms` by which a busy machine's pauses are nobody's death."""


class RedisServer(ServerProcess):
    """One `redis-server`; `options` are more of its own: `"--maxmemory", "4mb"`."""

    def __init__(self, folder: Path, *options: str, name: str = "redis") -> None:
        port = unused_port()
        command = ["redis-server", "--port", str(port), "--bind", HOST, "--dir", str(folder), "--save", "", *options]
        super().__init__(name, command, folder=folder, port=port, ready=_answers)

    def ask(self, *command: str) -> str:
        """What `redis-cli` prints for a command. Raises RuntimeError where the server refuses or does not answer."""
        done = subprocess.run(
            ["redis-cli", "-e", "-h", HOST, "-p", str(self.port), *command],
            capture_output=True,
            text=True,
            timeout=_WHOLE_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{self.name} does not answer {' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout.strip()


class RedisCluster:
    """Six servers as one Cluster; one that was killed takes its place again when it is started.

    After `node_timeout_ms` a node that does not answer counts as gone, and its replica is voted into its place; `quick`
    lets that be soon for a while.
    """

    def __init__(self, folder: Path, *options: str, node_timeout_ms: int = 2_000) -> None:
        self.folder = folder
        self._node_timeout_ms = node_timeout_ms
        self.nodes = [self._node(number, options) for number in range(_NODES)]

    def _node(self, number: int, options: tuple[str, ...]) -> RedisServer:
        return RedisServer(
            self.folder / f"node-{number}",
            *("--cluster-enabled", "yes"),
            *("--cluster-port", str(unused_port())),  # its default, port + 10000, is among those given to clients
            *("--cluster-node-timeout", str(self._node_timeout_ms)),
            # without these two a replica that has just joined is of no use for the first half minute
            *("--repl-diskless-sync-delay", "0"),
            *("--cluster-replica-validity-factor", "0"),
            *options,
            name=f"redis-{number}",
        )

    @property
    def addresses(self) -> list[str]:
        """`127.0.0.1:port` of each node."""
        return [node.address for node in self.nodes]

    def start(self) -> None:
        """Start all and join them; returns when every replica follows its master. Raises RuntimeError."""
        shutil.rmtree(self.folder, ignore_errors=True)  # else each would look for the cluster of its last run
        with ThreadPoolExecutor(_NODES) as together:
            list(together.map(ServerProcess.start, self.nodes))
        self.nodes[0].ask(
            "--cluster", "create", *self.addresses, "--cluster-replicas", "1", "--cluster-yes"
        )  # of redis-cli itself
        self.wait_whole()

    @contextmanager
    def quick(self) -> Iterator[None]:
        """Miss a node after two seconds until the context is left."""
        self._notice_after(_QUICK_MS)
        try:
            yield
        finally:
            self._notice_after(self._node_timeout_ms)

    def _notice_after(self, ms: int) -> None:
        for node in self.nodes:
            if node.alive and not node.paused:
                node.ask("config", "set", "cluster-node-timeout", str(ms))

    def wait_whole(self) -> None:
        """Wait until all nodes serve, agree on who has which slots, and every replica follows its master."""
        until = time.monotonic() + _WHOLE_S
        while not all(self._whole(node) for node in self.nodes):
            if time.monotonic() > until:
                raise RuntimeError("the cluster is not whole\n" + self.nodes[0].ask("cluster", "nodes"))
            time.sleep(_PROBE_S)

    def _whole(self, node: RedisServer) -> bool:
        role = node.ask("info", "replication")
        return (
            "cluster_state:ok" in node.ask("cluster", "info")
            and ("role:master" in role or "master_link_status:up" in role)
            and [line.split()[2].split(",")[-1] for line in node.ask("cluster", "nodes").splitlines()].count("slave")
            == _NODES // 2
        )

    def owner(self, key: str, *, without: RedisServer | None = None) -> RedisServer:
        """The node that is master of the key's slot, in the view of another than `without`. Raises RuntimeError."""
        alive = next(node for node in self.nodes if node.alive and node is not without)
        slot = int(alive.ask("cluster", "keyslot", key))
        for line in alive.ask("cluster", "nodes").splitlines():
            _, address, flags, _, _, _, _, _, *slots = line.split()
            if "master" in flags and "fail" not in flags and any(slot in _slots(part) for part in slots):
                return next(node for node in self.nodes if node.address == address.partition("@")[0])
        raise RuntimeError(f"nobody has slot {slot}")

    def wait_other_owner(self, key: str, former: RedisServer) -> RedisServer:
        """Wait until another node than `former`, which is dead or paused, is master of the key's slot."""
        until = time.monotonic() + _WHOLE_S
        while time.monotonic() < until:
            with suppress(RuntimeError):
                if (owner := self.owner(key, without=former)) is not former:
                    return owner
            time.sleep(_PROBE_S)
        raise RuntimeError(f"nobody took the place of {former.name}")

    def stop(self) -> None:
        """Stop all nodes."""
        for node in self.nodes:
            node.kill()  # there is nothing to be saved, and one that stops by itself waits for its replica

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Redis:
    """A standalone server and a Cluster. `addresses()`: `url` of the one, and `nodes`, a list of `host:port`."""

    def __init__(self, folder: Path) -> None:
        self.single = RedisServer(folder / "redis")
        self.cluster = RedisCluster(folder / "redis-cluster", node_timeout_ms=PATIENT_MS)

    @staticmethod
    def missing() -> str | None:
        """Why it cannot run on this machine, and what to install; None where it can."""
        if shutil.which("redis-server") and shutil.which("redis-cli"):
            return None
        return "redis-server and redis-cli are not there (redis-server)"

    def start(self) -> None:
        """Start both."""
        self.single.start()
        self.cluster.start()

    def stop(self) -> None:
        """Stop both."""
        self.cluster.stop()
        self.single.stop()

    def addresses(self) -> Addresses:
        """Where they are."""
        return {"url": f"redis://{self.single.address}/0", "nodes": self.cluster.addresses}

    def settings(self) -> dict[str, str]:
        """The setting that names the standalone server; TYPEGATE_REDIS_NODES would name the Cluster."""
        return {"TYPEGATE_REDIS_URL": f"redis://{self.single.address}/0"}


def _answers(server: ServerProcess) -> bool:
    """Whether it answers, be it that it wants a password; not while it loads its data."""
    with suppress(OSError), socket.create_connection((HOST, server.port), timeout=1) as probe:
        probe.sendall(b"PING\r\n")
        return probe.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    return False


def _slots(part: str) -> range:
    """`0-5460` or `77`; a slot that is being moved (`[77->-...]`) is named apart."""
    first, _, last = part.partition("-")
    return range(int(first), int(last or first) + 1) if first.isdigit() else range(0)
