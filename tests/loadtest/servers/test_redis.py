from pathlib import Path

import pytest
from redis import asyncio as client
from redis.exceptions import MovedError

from loadtest.servers.addresses import Addresses
from loadtest.servers.redis import RedisCluster, RedisServer
from tests.servers import skip_without


async def test_the_standalone_server_answers(redis_servers: Addresses) -> None:
    async with client.Redis.from_url(redis_servers["url"]) as one:
        assert await one.ping()


async def test_every_node_of_the_cluster_knows_who_has_which_slots(redis_servers: Addresses) -> None:
    for node in redis_servers["nodes"]:
        async with client.RedisCluster.from_url(f"redis://{node}") as cluster:
            assert len(cluster.get_primaries()) == 3


def test_a_server_takes_options_and_starts_empty_again(tmp_path: Path) -> None:
    skip_without("redis")
    with RedisServer(tmp_path, "--requirepass", "secret") as server:
        with pytest.raises(RuntimeError, match="NOAUTH"):
            server.ask("set", "k", "v")
        assert server.ask("-a", "secret", "--no-auth-warning", "set", "k", "v") == "OK"
        server.kill()
        server.start()
        assert server.ask("-a", "secret", "--no-auth-warning", "get", "k") == ""


async def test_a_replica_takes_the_place_of_a_dead_master(tmp_path: Path) -> None:
    """What fault tests lean on: the owner of a key changes, and the dead node comes back as a replica."""
    skip_without("redis")
    with RedisCluster(tmp_path / "cluster") as cluster:
        first = cluster.owner("k")
        first.kill()
        second = cluster.wait_other_owner("k", first)
        first.start()
        cluster.wait_whole()
        assert cluster.owner("k") is second
        async with client.Redis.from_url(f"redis://{first.address}") as one:
            with pytest.raises(MovedError):
                await one.get("k")
