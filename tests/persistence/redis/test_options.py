from pathlib import Path

import pytest

from persistence.errors import StoreError
from persistence.redis import RedisOptions


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"url": "http://localhost:6379"}, "redis://host:6379/0"),
        ({"url": "redis://"}, "redis://host:6379/0"),
        ({"url": "redis://localhost:port/0"}, "redis://host:6379/0"),
        ({"url": "redis://localhost/zero"}, "redis://host:6379/0"),
        ({"url": "redis://localhost/0?timeout=5"}, "redis://host:6379/0"),
        ({"url": "redis://me:secret@localhost/0"}, "password_file"),
        ({"url": "redis://localhost", "nodes": ("localhost:7000",)}, "both"),
        ({"url": "redis://localhost", "tls": True}, "rediss://"),
        ({"nodes": ("localhost",)}, "host:port"),
        ({"nodes": ("localhost:70000",)}, "host:port"),
        ({"nodes": ("redis://localhost:7000",)}, "host:port"),
        ({"cert_file": Path("c.pem")}, "key_file"),
        ({"url": "redis://localhost", "ca_file": Path("c.pem")}, "write rediss:// in url"),
        ({"nodes": ("localhost:7000",), "ca_file": Path("c.pem")}, "set tls"),
        ({"nodes": ("me:secret@localhost:7000",)}, "nodes has 'localhost:7000'; allowed is host:port"),
        ({"prefix": "a{b}"}, "braces"),
        ({"connections": 0}, "connections is 0; 1 to 1000"),
        ({"call_ms": 1}, "call_ms is 1; 10 to 60000"),
        ({"retry_min_ms": 500, "retry_max_ms": 400}, "retry_max_ms is 400; 500 to"),
    ],
)
def test_wrong_settings_are_refused_with_what_is_allowed(wrong: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        RedisOptions(**wrong)  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize(
    ("options", "seeds"),
    [
        (RedisOptions(url="redis://cache.example/3"), [("cache.example", 6379)]),
        (RedisOptions(url="rediss://[::1]:7000"), [("::1", 7000)]),
        (RedisOptions(nodes=("a:7000", "[::1]:7001")), [("a", 7000), ("::1", 7001)]),
    ],
)
def test_servers_are_named_by_url_or_nodes(options: RedisOptions, seeds: list[tuple[str, int]]) -> None:
    assert options.enabled
    assert options.seeds() == seeds


def test_without_url_and_nodes_there_is_no_redis() -> None:
    assert not RedisOptions().enabled


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """Before the first call, so that a server with a wrong path does not start."""
    (tmp_path / "empty").write_text("\n")
    for file, why in (("none", "cannot be read"), ("empty", "is empty")):
        with pytest.raises(StoreError, match=why):
            RedisOptions(url="redis://localhost", password_file=tmp_path / file).opener()
    with pytest.raises(StoreError, match=r"ca\.pem cannot be read"):
        RedisOptions(url="rediss://localhost", ca_file=tmp_path / "ca.pem").opener()


def test_a_call_has_one_limit() -> None:
    """To connect is a part of the call: the library's own 5 s would end those that may take longer."""
    connection = RedisOptions(url="redis://localhost").opener()("localhost", 6379)
    assert (connection.socket_timeout, connection.socket_connect_timeout) == (None, None)
