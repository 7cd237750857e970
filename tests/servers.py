"""Real servers for tests: those that TYPEGATE_TEST_SERVERS names, else the session's own, started when first asked for.

A fixture gives addresses, or settings that name them, and nothing else. All tests share the servers, other processes'
tests too: what a test makes in them bears a name of its own (`fresh_name`), and a test that kills, pauses or fills a
server starts a private one (`loadtest.servers`). Where a server cannot run, the tests that ask for it skip and say what
is missing; with CI=true that is a failure.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loadtest.servers.addresses import Addresses, given
from loadtest.servers.kinds import kind_named
from persistence.redis import RedisOptions


@contextmanager
def served(kind: str, folder: Path) -> Iterator[Addresses]:
    """The addresses of a kind's servers; skips the test where they cannot run."""
    found = given(kind)
    if found is not None:
        yield found
        return
    skip_without(kind)
    servers = kind_named(kind)(folder)
    try:
        servers.start()
        yield servers.addresses()
    finally:
        servers.stop()


def skip_without(kind: str) -> None:
    """Skip the test that calls this where the kind cannot run: for tests that start private servers."""
    why = kind_named(kind).missing()
    if why is not None:
        pytest.skip(f"no {kind} here: {why}; loadtest/servers/install installs it")


@pytest.fixture
def fresh_name() -> Callable[[str], str]:
    """Names that no other test uses: for databases, topics, key prefixes. Lower case letters, digits, underscores."""

    def name(stem: str) -> str:
        return f"{stem}_{uuid.uuid4().hex[:12]}"

    return name


@pytest.fixture(scope="session")
def kafka_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Where Kafka's brokers are, as `host:port`."""
    with served("kafka", tmp_path_factory.mktemp("servers")) as addresses:
        yield addresses["bootstrap"]


@pytest.fixture(scope="session")
def redis_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """Where Redis is: `url` of a standalone server, and `nodes` of a Cluster, as `host:port`."""
    with served("redis", tmp_path_factory.mktemp("servers")) as addresses:
        yield addresses


PATIENT_MS = 30_000
"""Time for a call in tests that are not about time: the machine may be busy with other tests."""


@pytest.fixture(scope="session")
def redis_single(redis_servers: Addresses) -> RedisOptions:
    """The settings of the standalone server; a test adds a prefix of its own."""
    return RedisOptions(url=redis_servers["url"], call_ms=PATIENT_MS)


@pytest.fixture(scope="session")
def redis_cluster(redis_servers: Addresses) -> RedisOptions:
    """The settings of the Cluster; a test adds a prefix of its own."""
    return RedisOptions(nodes=tuple(redis_servers["nodes"][:2]), call_ms=PATIENT_MS)


@pytest.fixture(scope="session")
def mariadb_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """Where MariaDB is: `shards`, `replicas` (of the first shard) and `content`, addresses without a database."""
    with served("mariadb", tmp_path_factory.mktemp("servers")) as addresses:
        yield addresses
