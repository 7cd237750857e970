from pathlib import Path
from typing import Any

import pytest

from persistence.errors import StoreError
from persistence.mysql import MysqlOptions

SHARDS = ("a 0-2047 mysql://typegate@db-a/results", "b 2048-4095 mysql://typegate:own@db-b:3307/results")


def test_there_is_no_mysql_by_default() -> None:
    assert not MysqlOptions().enabled


def test_servers_are_each_shards_primary_and_its_replicas(tmp_path: Path) -> None:
    """An address without a password has the file's, one with a password its own."""
    password = tmp_path / "password"
    password.write_text("secret\n")
    options = MysqlOptions(shards=SHARDS, replicas=("a mysql://typegate@db-c/results",), password_file=password)
    assert [
        (server.shard, server.dsn.host, server.dsn.port, server.dsn.password, server.replica)
        for server in options.servers()
    ] == [("a", "db-a", 3306, "secret", False), ("b", "db-b", 3307, "own", False), ("a", "db-c", 3306, "secret", True)]


def test_without_any_password_it_is_empty() -> None:
    assert MysqlOptions(content="mysql://typegate@db/content").content_dsn().password == ""


def test_a_password_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"password file .*none cannot be read: No such file"):
        MysqlOptions(shards=SHARDS, password_file=tmp_path / "none").servers()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"shards": SHARDS[:1]}, "buckets 2048-4095 have no shard"),
        ({"shards": ("a 0-4095 db-a",)}, "'db-a' has no scheme"),
        ({"shards": SHARDS, "replicas": ("c mysql://typegate@db/results",)}, "there are the shards a, b"),
        ({"shards": SHARDS, "replicas": ("mysql://typegate:hunter2@db/results",)}, "NAME ADDRESS"),
        ({"replicas": ("a mysql://typegate@db/results",)}, "shards is not"),
        ({"content": "mysql://typegate@db"}, "names no database"),
        ({"connections": 0}, "connections is 0; allowed is 1 to 1000"),
        ({"write_ms": 1}, "write_ms"),
        ({"hot_days": 0}, "hot_days"),
        ({"max_conflicts": 256}, "max_conflicts"),
    ],
)
def test_what_is_wrong_is_refused_and_no_password_told(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why) as raised:
        MysqlOptions(**wrong)
    assert "own" not in str(raised.value)
    assert "hunter2" not in str(raised.value)
