from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymysql
import pytest

from loadtest.servers.addresses import Addresses
from loadtest.servers.mariadb import MariaDb, MariaDbServer
from tests.servers import skip_without


def ask(address: str, statement: str) -> tuple[Any, ...]:
    """Rows of a statement, as the user of the address and not as the administrator."""
    parts = urlsplit(address)
    with (
        pymysql.connect(
            host=parts.hostname,
            port=parts.port or 0,
            user=parts.username,
            password=parts.password or "",
            database=parts.path[1:] or None,
            autocommit=True,
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
        return tuple(cursor.fetchall())


def test_shards_replica_and_content_are_servers_of_their_own(mariadb_servers: Addresses) -> None:
    every = [*mariadb_servers["shards"], *mariadb_servers["replicas"], mariadb_servers["content"]]
    assert len({ask(address, "SELECT @@server_id, @@port") for address in every}) == 4


def test_what_was_committed_outlives_a_kill(tmp_path: Path) -> None:
    skip_without("mariadb")
    with MariaDbServer(tmp_path) as server:
        server.ask("CREATE DATABASE d")
        server.ask("CREATE TABLE d.t (n INT)")
        server.ask("INSERT INTO d.t VALUES (%s)", 7)
        server.kill()
        server.start()
        assert ask(server.dsn("d"), "SELECT n FROM t") == ((7,),)


def test_a_replica_follows_through_a_kill_and_takes_no_writes_of_its_own(tmp_path: Path) -> None:
    skip_without("mariadb")
    with MariaDb(tmp_path) as servers:
        primary, replica = servers.shards[0], servers.replica
        primary.ask("CREATE TABLE typegate.t (n INT)")
        primary.kill()
        primary.start()
        primary.ask("INSERT INTO typegate.t VALUES (7)")
        primary.wait_followed_by(replica)
        assert ask(replica.dsn("typegate"), "SELECT n FROM t") == ((7,),)
        with pytest.raises(pymysql.err.OperationalError, match="read-only"):
            ask(replica.dsn("typegate"), "INSERT INTO t VALUES (8)")
        replica.kill()
        primary.ask("INSERT INTO typegate.t VALUES (9)")
        replica.start()
        primary.wait_followed_by(replica)
        assert ask(replica.dsn("typegate"), "SELECT n FROM t") == ((7,), (9,))
