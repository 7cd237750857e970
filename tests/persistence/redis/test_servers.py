"""Calls to real servers, standalone and Cluster: brought to whoever has the key, each with its own answer."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.servers.certificate import write_certificate
from loadtest.servers.process import unused_port
from loadtest.servers.redis import RedisServer
from persistence.boards import RedisBoards
from persistence.cache import RecentResults, RedisCache
from persistence.errors import StoreError
from persistence.redis import Answer, Call, RedisOptions, RedisServers, Script
from persistence.results import Board, Period, Span, SqliteResults
from tests.persistence.samples import ranked
from tests.servers import PATIENT_MS, skip_without

USERS = ("--user", "typist", "on", ">s3cret", "~*", "&*", "+@all", "--user", "default", "off")


@pytest.fixture(params=["redis_single", "redis_cluster"])
async def servers(request: pytest.FixtureRequest) -> AsyncIterator[RedisServers]:
    options: RedisOptions = request.getfixturevalue(request.param)
    async with RedisServers(replace(options, prefix=f"{uuid.uuid4().hex}:")) as opened:
        yield opened


def setting(servers: RedisServers, key: str, value: str) -> Call:
    return Call(servers.prefix + key, ("SET", servers.prefix + key, value))


def getting(servers: RedisServers, key: str) -> Call:
    return Call(servers.prefix + key, ("GET", servers.prefix + key))


def values(answers: list[Answer | StoreError]) -> list[object]:
    return [answer.value if isinstance(answer, Answer) else answer for answer in answers]


async def test_calls_of_a_batch_find_their_servers_and_are_answered_in_order(servers: RedisServers) -> None:
    keys = [str(i) for i in range(200)]
    await servers.each([setting(servers, key, f"v{key}") for key in keys])
    assert values(await servers.each([getting(servers, key) for key in keys])) == [f"v{key}".encode() for key in keys]
    assert await servers.each([]) == []


async def test_a_script_is_sent_whole_to_a_server_that_does_not_know_it(servers: RedisServers) -> None:
    script = Script(f"return {{KEYS[1], ARGV[1], '{uuid.uuid4().hex}'}}")
    for _ in range(2):
        calls = [script.call((servers.prefix + key,), f"<{key}>") for key in "abcdefgh"]
        assert [answer[1] for answer in values(await servers.each(calls))] == [  # type: ignore[index]  # lists
            f"<{key}>".encode() for key in "abcdefgh"
        ]


async def test_a_refused_call_is_alone_in_that(servers: RedisServers) -> None:
    """A fault of ours is not worth a second try, and takes nothing from the others."""
    await servers.ask(setting(servers, "text", "x"))
    wrong = Call(servers.prefix + "text", ("LPUSH", servers.prefix + "text", "y"))
    broken = Script("return no_such_thing.at_all").call((servers.prefix + "text",))
    first, second, third, fourth = await servers.each(
        [getting(servers, "text"), wrong, broken, getting(servers, "text")]
    )
    assert values([first, fourth]) == [b"x", b"x"]
    for refusal in (second, third):
        assert isinstance(refusal, StoreError)
        assert not refusal.retriable
    with pytest.raises(StoreError, match="WRONGTYPE"):
        await servers.ask(wrong)
    assert servers.facts().failures == 3
    assert servers.facts().away == ()


async def test_more_callers_than_connections_wait_for_each_other(redis_single: RedisOptions) -> None:
    async with RedisServers(replace(redis_single, prefix=f"{uuid.uuid4().hex}:", connections=2)) as servers:
        answers = await asyncio.gather(*(servers.ask(setting(servers, str(i), "x")) for i in range(100)))
        assert {answer.value for answer in answers} == {b"OK"}


async def test_who_gives_up_leaves_no_answer_for_another(redis_single: RedisOptions) -> None:
    """A call that is cancelled takes its connection along: what it would have been answered is nobody else's."""
    async with RedisServers(replace(redis_single, prefix=f"{uuid.uuid4().hex}:", connections=1)) as servers:
        await servers.ask(setting(servers, "mine", "mine"))
        for _ in range(20):
            task = asyncio.get_running_loop().create_task(servers.ask(setting(servers, "other", "other")))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert (await servers.ask(getting(servers, "mine"))).value == b"mine"


async def test_ping_answers(servers: RedisServers) -> None:
    await servers.ping()


async def test_a_node_of_a_cluster_named_by_url_is_told(redis_cluster: RedisOptions) -> None:
    async with RedisServers(replace(redis_cluster, url=f"redis://{redis_cluster.nodes[0]}", nodes=())) as servers:
        answers = await servers.each([getting(servers, str(i)) for i in range(50)])
        assert any("name it by `nodes`" in str(answer) for answer in answers)


async def test_a_server_that_is_no_cluster_is_told(redis_single: RedisOptions) -> None:
    where = "{}:{}".format(*redis_single.seeds()[0])
    async with RedisServers(replace(redis_single, url="", nodes=(where,))) as servers:
        with pytest.raises(StoreError, match="no node of a Redis Cluster"):
            await servers.ask(getting(servers, "a"))
        with pytest.raises(StoreError, match="no node of a Redis Cluster"):
            await servers.ping()


async def test_a_cluster_of_which_nobody_answers_fails_at_once(tmp_path: Path) -> None:
    """Its nodes are tried by themselves, not for every call; when one is there, the others are found by it."""
    nodes = ("127.0.0.1:1", "127.0.0.1:2")
    options = RedisOptions(nodes=nodes, call_ms=PATIENT_MS, retry_min_ms=60_000, retry_max_ms=60_000)
    async with RedisServers(options) as servers:
        for _ in range(2):
            answers = await servers.each([getting(servers, str(i)) for i in range(50)])
            assert all(isinstance(answer, StoreError) and answer.retriable for answer in answers)
        assert sorted(servers.facts().away) == sorted(nodes)
        with pytest.raises(StoreError, match="refused"):
            await servers.ping()


async def test_a_user_who_may_only_touch_keys_of_the_prefix(tmp_path: Path) -> None:
    """The least that the settings ask for is enough."""
    skip_without("redis")
    rights = ["~typegate:*", "&typegate:*", "+@read", "+@write", "+@scripting", "+info", "+ping", "+publish"]
    users = ("--user", "typist", "on", ">s3cret", *rights, "--user", "default", "off")
    (tmp_path / "password").write_text("s3cret")
    with RedisServer(tmp_path / "redis", *users) as server:
        options = RedisOptions(
            url=f"redis://{server.address}",
            user="typist",
            password_file=tmp_path / "password",
            call_ms=PATIENT_MS,
        )
        async with (
            RedisServers(options) as servers,
            SqliteResults(tmp_path / "results.db") as store,
            RedisCache(servers) as cache,
            RedisBoards(servers, store) as boards,
        ):
            recent = RecentResults(cache, store)
            await recent.of(7)
            told = await store.write([ranked(0, wpm=80)])
            await recent.stored([ranked(0, wpm=80)])
            assert len(await recent.of(7)) == 1
            await boards.rebuild(Board("time", 15, "en"), Period(Span.ALL, 0))
            await boards.submit(told)
            await boards.remove(7)
            assert (servers.facts().failures, cache.facts().errors) == (0, 0)
            stranger = replace(options, prefix="other:")
        async with RedisServers(stranger) as servers:
            with pytest.raises(StoreError, match="no permissions to access one of the keys"):
                await servers.ask(getting(servers, "k"))


async def test_user_password_and_database(tmp_path: Path) -> None:
    skip_without("redis")
    password = tmp_path / "password"
    with RedisServer(tmp_path / "redis", *USERS) as server:
        options = RedisOptions(
            url=f"redis://{server.address}/5", user="typist", password_file=password, call_ms=PATIENT_MS
        )
        password.write_text("s3cret\n")
        async with RedisServers(options) as servers:
            await servers.ask(setting(servers, "k", "v"))
        password.write_text("wrong")
        async with RedisServers(options) as servers:
            with pytest.raises(StoreError, match="invalid username-password pair") as raised:
                await servers.ask(getting(servers, "k"))
            assert raised.value.retriable
            assert servers.facts().away == (server.address,)


async def test_tls(tmp_path: Path) -> None:
    skip_without("redis")
    cert, key = write_certificate(tmp_path)
    port = unused_port()
    files = ("--tls-cert-file", str(cert), "--tls-key-file", str(key), "--tls-ca-cert-file", str(cert))
    with RedisServer(tmp_path / "redis", "--tls-port", str(port), *files, "--tls-auth-clients", "no"):
        where = RedisOptions(url=f"rediss://127.0.0.1:{port}", call_ms=PATIENT_MS)
        async with RedisServers(replace(where, ca_file=cert)) as servers:
            assert (await servers.ask(setting(servers, "k", "v"))).value == b"OK"
        async with RedisServers(where) as servers:
            with pytest.raises(StoreError, match="certificate verify failed"):
                await servers.ask(getting(servers, "k"))
