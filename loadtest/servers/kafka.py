"""Apache Kafka 4.1 in KRaft mode: three brokers, each a controller too, where memory allows it, else one.

The jars are fetched once by Maven (kafka.pom.xml) and kept in the user's cache folder. Time-outs are long enough that
a busy machine's pauses are nobody's death; for tests of faults they may be so short that three seconds are one.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from loadtest.servers.addresses import Addresses
from loadtest.servers.process import HOST, ServerProcess, cache_folder, unused_port

__all__ = ["Kafka"]

_POM = Path(__file__).with_name("kafka.pom.xml")
_FETCH_S = 600.0
_STOP_S = 4.0
_BROKER_MIB = 500
"""What one broker takes; three are started where four times as much is free."""
_CLUSTER_ID = "dHlwZWdhdGUta2Fma2ExMg"
_JAVA = ("java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_LOGGING = """\
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.started.name = kafka.server.KafkaRaftServer
logger.started.level = info
"""
_STARTED = "Kafka Server started"  # by now the broker has joined, and is unfenced


def _jars() -> Path:
    """The folder of the jars, whether or not they are there yet."""
    return cache_folder("kafka") / hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]


def _fetch_jars() -> None:
    """Let Maven fetch the jars where they are not there yet. Raises RuntimeError with what it says where it fails."""
    folder = _jars()
    if folder.exists():
        return
    fetched = Path(tempfile.mkdtemp(prefix="part-", dir=folder.parent))
    command = ["mvn", "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies", f"-DoutputDirectory={fetched}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_S, check=False)
        if done.returncode:
            raise RuntimeError(f"Maven could not fetch Kafka: {(done.stdout + done.stderr).strip()[-2000:]}")
        fetched.rename(folder)
    except OSError:
        if not folder.exists():  # else another process was faster
            raise
    finally:
        shutil.rmtree(fetched, ignore_errors=True)


@cache
def _java_version() -> int:
    """The major version of the `java` on the path; 0 where there is none."""
    try:
        said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    except (OSError, subprocess.CalledProcessError):
        return 0
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else 0


def _free_mib() -> int:
    found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
    return int(found[1]) // 1024 if found else 0


class Kafka:
    """A cluster; `brokers` are its processes, to be killed and paused one by one.

    `addresses()`: `bootstrap`, a list of `host:port`. `properties` are added to every broker's own; `listeners` are
    ports on which clients may come otherwise, by security protocol, where there is one broker; `scram` are users and
    passwords of SCRAM-SHA-512. `ways` are ports of proxies by names in capitals, one for each broker: clients that come
    over a proxy must be told to come over it again, so it has to lead to a port of its own, in `behind[name]`.
    `quick`: a broker that says nothing for three seconds is taken for dead; one that was killed comes back as soon.
    """

    def __init__(
        self,
        folder: Path,
        *,
        brokers: int | None = None,
        properties: Mapping[str, object] | None = None,
        listeners: Mapping[str, int] | None = None,
        scram: Mapping[str, str] | None = None,
        ways: Mapping[str, Sequence[int]] | None = None,
        quick: bool = False,
    ) -> None:
        self.folder = folder
        self._quick = quick
        self._ways = dict(ways or {})
        self.behind = {name: [unused_port() for _ in ports] for name, ports in self._ways.items()}
        self._listeners = dict(listeners or {})
        self._scram = [f"SCRAM-SHA-512=[name={name},password={word}]" for name, word in (scram or {}).items()]
        count = brokers or (3 if _free_mib() > 4 * _BROKER_MIB else 1)
        self._controllers = [unused_port() for _ in range(count)]
        self._properties = dict(properties or {})
        self.brokers: list[ServerProcess] = [self._broker(node, unused_port()) for node in range(1, count + 1)]

    @staticmethod
    def missing() -> str | None:
        """Why it cannot run on this machine, and what to install; None where it can."""
        if _java_version() < 17:
            return "Kafka needs Java 17 or newer (default-jre-headless)"
        return None if shutil.which("mvn") else "Kafka's jars are fetched by Maven (maven)"

    def start(self) -> None:
        """Start all brokers; they are ready when each has joined the others."""
        _fetch_jars()
        with ThreadPoolExecutor(len(self.brokers)) as together:
            list(together.map(self._prepare, self.brokers))
            list(together.map(ServerProcess.start, self.brokers))

    def stop(self) -> None:
        """Stop all brokers. The last ones find no controller to take leave of, and are killed; it harms no data."""
        with ThreadPoolExecutor(len(self.brokers)) as together:
            list(together.map(lambda broker: broker.stop(_STOP_S), self.brokers))

    def addresses(self) -> Addresses:
        """Where the brokers are."""
        return {"bootstrap": [broker.address for broker in self.brokers]}

    def settings(self) -> dict[str, str]:
        """The setting that names the brokers."""
        return {"TYPEGATE_KAFKA_SERVERS": ",".join(self.addresses()["bootstrap"])}

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

    def _broker(self, node: int, port: int) -> ServerProcess:
        folder = self.folder / f"kafka-{node}"
        main = f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}", "kafka.Kafka"
        return ServerProcess(
            f"kafka-{node}",
            [*_JAVA, "-cp", f"{_jars()}/*", *main, folder / "server.properties"],
            folder=folder,
            port=port,
            ready=lambda server: server.said(_STARTED),
        )

    def _prepare(self, broker: ServerProcess) -> None:
        """Write the broker's configuration, and format its folder where that is empty."""
        broker.folder.mkdir(parents=True, exist_ok=True)
        (broker.folder / "log4j2.properties").write_text(_LOGGING, encoding="ascii")
        configuration = broker.folder / "server.properties"
        properties = self._broker_properties(broker) | self._properties
        configuration.write_text("".join(f"{name}={value}\n" for name, value in properties.items()), encoding="utf-8")
        if (broker.folder / "data" / "meta.properties").exists():
            return
        command = [*_JAVA, "-cp", f"{_jars()}/*", "kafka.tools.StorageTool", "format"]
        command += ["-t", _CLUSTER_ID, "-c", str(configuration)]
        for credential in self._scram:
            command += ["--add-scram", credential]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"Kafka's folder could not be formatted: {(done.stdout + done.stderr).strip()[-2000:]}")

    def _broker_properties(self, broker: ServerProcess) -> dict[str, object]:
        node = self.brokers.index(broker) + 1
        copies = min(3, len(self.brokers))
        clients = {"PLAINTEXT": broker.port, **self._listeners}
        behind = {name: ports[node - 1] for name, ports in self.behind.items()}
        ways = {name: ports[node - 1] for name, ports in self._ways.items()}
        listeners = {**clients, **behind, "CONTROLLER": self._controllers[node - 1]}
        protocols = {name: name for name in clients} | dict.fromkeys((*self._ways, "CONTROLLER"), "PLAINTEXT")
        voters = ",".join(f"{i}@{HOST}:{port}" for i, port in enumerate(self._controllers, 1))
        return {
            "process.roles": "broker,controller",
            "node.id": node,
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "listeners": _addresses(listeners),
            "advertised.listeners": _addresses(clients | ways),
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": broker.folder / "data",
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": 3,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.num.partitions": 3,
            "transaction.state.log.min.isr": min(2, copies),
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1_000,
            "log.cleaner.dedupe.buffer.size": 2**23,
            "broker.heartbeat.interval.ms": 500,
            "broker.session.timeout.ms": 3_000 if self._quick else 15_000,
            "replica.lag.time.max.ms": 3_000 if self._quick else 30_000,
            "controller.quorum.fetch.timeout.ms": 2_000 if self._quick else 15_000,
            "num.network.threads": 2,
            "num.io.threads": 4,
        }


def _addresses(ports: Mapping[str, int]) -> str:
    return ",".join(f"{name}://{HOST}:{port}" for name, port in ports.items())
