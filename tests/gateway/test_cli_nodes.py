"""`typegate nodes`, and what `typegate check` says of the bus."""

import asyncio
import uuid
from dataclasses import replace
from pathlib import Path

from config.gateway import NodeOptions
from loadtest.servers.redis import RedisServer
from persistence.redis import RedisOptions
from tests.gateway.running import PATIENCE_S, command, serving
from tests.servers import skip_without

NOWHERE = {"TYPEGATE_REDIS_URL": "redis://127.0.0.1:1", "TYPEGATE_REDIS_CALL_MS": "10000"}


async def test_servers_of_a_cluster_are_listed(tmp_path: Path, redis_single: RedisOptions) -> None:
    redis = replace(redis_single, prefix=f"{uuid.uuid4().hex}:")
    variables = {
        "TYPEGATE_REDIS_URL": redis.url,
        "TYPEGATE_REDIS_PREFIX": redis.prefix,
        "TYPEGATE_REDIS_CALL_MS": str(redis.call_ms),
    }
    other = NodeOptions(name="other", data=tmp_path / "other")
    async with (
        serving(tmp_path / "here", redis=redis) as (here, _),
        serving(tmp_path / "there", redis=redis, node=other) as (there, _),
    ):
        async with asyncio.timeout(PATIENCE_S):
            while True:
                code, output, errors = await command("nodes", "list", folder=tmp_path, **variables)
                assert code == 0, errors
                if "2 serve." in output:
                    break
        for word in ("node-1", here.url, here.admin_url, "other", there.url):
            assert str(word) in output
    assert "0 serve." in (await command("nodes", "list", folder=tmp_path, **variables))[1]


async def test_without_redis_each_server_is_alone(tmp_path: Path) -> None:
    code, _, errors = await command("nodes", "list", folder=tmp_path)
    assert code == 1
    assert "There is no Redis" in errors
    code, _, errors = await command("nodes", "list", folder=tmp_path, **NOWHERE)
    assert code == 1
    assert "connection refused" in errors


async def test_check_tells_what_redis_would_refuse(tmp_path: Path) -> None:
    """A replica, one that is full, a user that may not listen: each before anything is started."""
    skip_without("redis")
    (tmp_path / "password").write_text("secret")
    as_user = {"TYPEGATE_REDIS_USER": "typist", "TYPEGATE_REDIS_PASSWORD_FILE": "password"}
    with RedisServer(tmp_path / "redis") as server:
        server.ask("acl", "setuser", "typist", "on", ">secret", "+@all", "~*", "resetchannels")

        async def says(words: str, **more: str) -> None:
            variables = {"TYPEGATE_REDIS_URL": f"redis://{server.address}/0", "TYPEGATE_REDIS_CALL_MS": "10000"} | more
            _, output, _ = await command("check", folder=tmp_path, TYPEGATE_SERVER_PORT="0", **variables)
            assert words in " ".join(output.split()), output

        await says("answers in")
        await says("access one of the channels", **as_user)
        server.ask("config", "set", "maxmemory", "1")
        await says("is full")
        server.ask("config", "set", "maxmemory", "0")
        server.ask("replicaof", "127.0.0.1", "1")
        await says("is a replica")
