"""Bans, as those who are banned and those who are not meet them: on one server, and on two."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs
from websockets.exceptions import InvalidStatus

from config.edge import EdgeOptions
from config.gateway import ConnectionOptions, NodeOptions
from gateway.app import Gateway
from gateway.bans import Bans
from gateway.bus import Bus, Exchange, RedisCarrier
from persistence.bans import Ban, BanCopy, BanOptions, BanStore, SqliteBans, read_who
from persistence.errors import StoreError
from persistence.redis import RedisOptions, RedisServers
from persistence.sqlite import open_file
from tests.gateway.running import PATIENCE_S, command, serving
from tests.gateway.typing_client import client
from tests.persistence.mysql_shards import patient

QUICK = BanOptions(look_ms=50)
BEHIND = EdgeOptions(port=0, trusted_proxies=("127.0.0.1",))
PATIENT = ConnectionOptions(auth_deadline_s=60)
"""Who has not said who they are is not sent off for that, however long the test takes."""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # facts come without an event
            await asyncio.sleep(0.005)


def ban(who: str, **fields: Any) -> Ban:
    return Ban(read_who(who), fields.pop("reason", "a bot"), "ops", 1, **fields)


@pytest.fixture(name="store")
async def _store(tmp_path: Path) -> AsyncIterator[BanStore]:
    """As a command has it that works on the data of a server."""
    (tmp_path / "data").mkdir(mode=0o700)
    async with SqliteBans(tmp_path / "data" / "bans.db") as store:
        yield store


def forwarded(address: str) -> dict[str, Any]:
    return {"additional_headers": {"X-Forwarded-For": address}}


async def test_a_banned_user_is_sent_off_refused_and_lets_in_again(tmp_path: Path, store: BanStore) -> None:
    """With 4505 and the reason; the test goes on after the ban, nothing typed is lost, and nobody else notices."""
    async with (
        serving(tmp_path / "data", bans=QUICK) as (gateway, http),
        client(gateway.url) as other,
        client(gateway.url) as typist,
    ):
        await other.start()
        started = await typist.start()
        await typist.keys("x")
        receipt = (await typist.receive("tick"))["r"]
        user, token = typist.ready["user"], typist.ready["token"]
        await store.add(ban(user))
        end = await typist.closed()
        assert (end.code, end.reason) == (4505, "banned: for good: a bot")
        async with client(gateway.url, auth=False) as again:
            await again.send("auth", token=token)
            assert (await again.closed()).code == 4505
        response = await http.get("/v1/users/me/results", headers={"authorization": f"Bearer {token}"})
        assert response.status_code == 403
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["detail"] == "you are banned for good: a bot"
        assert (await other.type_all())["acc"] == 100
        await store.remove(read_who(user))
        await until(lambda: gateway.hub.ban_of(int(user)) is None)
        async with client(gateway.url, token=token) as back:
            resume = {"session": started["session"], "ticket": started["ticket"], "receipt": receipt}
            await back.send("resume", **resume, n=1)
            assert (await back.receive("resumed"))["n"] == 1


async def test_a_banned_address_is_sent_off_and_refused(tmp_path: Path, store: BanStore) -> None:
    """At the handshake and by the API, with 403; who was there before `auth` too. The page still comes."""
    async with (
        serving(tmp_path / "data", bans=QUICK, connection=PATIENT) as (gateway, http),
        client(gateway.url, auth=False) as early,
    ):
        async with client(gateway.url) as typist:
            await store.add(ban("127.0.0.0/8", until_ms=253_000_000_000_000))
            for one in (early, typist):
                end = await one.closed()
                assert (end.code, end.reason) == (4505, "banned: until 9987-04-02 17:46 UTC: a bot")
        with pytest.raises(InvalidStatus) as caught:
            async with client(gateway.url):
                pass
        assert caught.value.response.status_code == 403
        assert caught.value.response.body == b"Your address is banned until 9987-04-02 17:46 UTC: a bot\n"
        response = await http.get("/v1/languages")
        assert (response.status_code, "your address is banned" in response.json()["detail"]) == (403, True)
        assert (await http.get("/")).status_code == 200
        assert (await http.get("/healthz")).status_code == 200
        await store.remove(read_who("127.0.0.0/8"))
        await until(lambda: not gateway.hub.connections)
        async with asyncio.timeout(PATIENCE_S):
            while (await http.get("/v1/languages")).status_code == 403:  # noqa: ASYNC110  # it is looked now and then
                await asyncio.sleep(0.01)
        async with client(gateway.url):
            pass


async def test_behind_a_trusted_proxy_the_clients_address_counts(tmp_path: Path, store: BanStore) -> None:
    """One of its clients is shut out, the others and the proxy are not."""
    await store.add(ban("192.0.2.7"))
    await store.add(ban("127.0.0.1"))
    async with serving(tmp_path / "data", bans=QUICK, server=BEHIND) as (gateway, http):
        with pytest.raises(InvalidStatus):
            async with client(gateway.url, **forwarded("192.0.2.7")):
                pass
        assert (await http.get("/v1/languages", headers={"X-Forwarded-For": "192.0.2.7"})).status_code == 403
        assert (await http.get("/v1/languages", headers={"X-Forwarded-For": "192.0.2.8"})).status_code == 200
        async with client(gateway.url, **forwarded("192.0.2.8")) as neighbour:
            await store.add(ban("192.0.2.0/28"))
            assert (await neighbour.closed()).code == 4505


async def test_of_many_those_of_the_network_are_sent_off(tmp_path: Path, store: BanStore) -> None:
    """However many are looked at in one step."""
    async with (
        serving(tmp_path / "data", bans=QUICK, server=BEHIND, connection=PATIENT) as (gateway, _),
        AsyncExitStack() as stack,
    ):
        clients = [
            await stack.enter_async_context(client(gateway.url, auth=False, **forwarded(f"192.0.2.{number}")))
            for number in range(250)
        ]
        await store.add(ban("192.0.2.128/25"))
        for one in clients[128:]:
            assert (await one.closed()).code == 4505
        assert len(gateway.hub.connections) == 128


async def test_bans_that_cannot_be_read_leave_those_that_were(tmp_path: Path, store: BanStore) -> None:
    """It is told where operators look, and mends itself."""
    await store.add(ban("17"))
    async with serving(tmp_path / "data", bans=QUICK) as (gateway, http):
        with closing(open_file(tmp_path / "data" / "bans.db")) as operator:
            operator.execute("ALTER TABLE mark RENAME TO away")
            await _part(http, "fault")
            assert gateway.hub.ban_of(17) is not None
            operator.execute("ALTER TABLE away RENAME TO mark")
            await _part(http, "ok")
        metrics = (await http.get(f"{gateway.admin_url}metrics")).text
        assert "typegate_bans 1.0" in metrics
        assert 'typegate_bans_refused_total{of="user"} 1.0' in metrics


async def test_where_nobody_tells_it_is_looked_more_often(
    tmp_path: Path, store: BanStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As without Redis, while that is away."""
    monkeypatch.setattr("gateway.bans.TOLD_TIMES", 1_000_000)
    nowhere = RedisOptions(url="redis://127.0.0.1:1/0")
    async with (
        RedisServers(nowhere) as servers,
        Bus(RedisCarrier(servers, nowhere)) as bus,
        Bans(store, bus, QUICK, told=True, epoch_ms=lambda: 1, new=lambda _: None) as bans,
    ):
        await store.add(ban("17"))
        await until(lambda: bans.user(17) is not None)


@asynccontextmanager
async def looking(store: BanStore, **options: Any) -> AsyncIterator[tuple[Bans, list[Ban]]]:
    """The bans as a process has them that looks for itself, and those that it was told are new."""
    new: list[Ban] = []
    async with (
        Bus(Exchange().carrier()) as bus,
        Bans(
            store, bus, QUICK, told=False, epoch_ms=lambda: 5, new=lambda index: new.extend(index.bans), **options
        ) as bans,
    ):
        yield bans, new


async def test_what_changed_is_read_and_not_all(store: BanStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start all; after an hour too, so that what is over goes; and where it is not known what changed."""
    await store.add(ban("17"))
    async with looking(store) as (bans, new):
        for one in (ban("18"), ban("192.0.2.0/24"), ban("18", reason="still")):
            await store.add(one)
            await until(lambda: one in new)  # noqa: B023  # it is waited for at once
        await store.remove(read_who("17"))
        await until(lambda: bans.user(17) is None)
        assert (len(bans), bans.user(18), bans.address("192.0.2.9")) == (2, new[-1], new[-2])
        assert (bans.facts.readings, bans.facts.changes) == (1, 4)
        monkeypatch.setattr("persistence.bans.sqlite.KEPT_CHANGES", 0)
        await asyncio.gather(*(store.add(ban(str(number))) for number in range(20, 30)))
        await until(lambda: len(bans) == 12)
        async with asyncio.timeout(PATIENCE_S):
            while bans._mark != await store.mark():  # noqa: ASYNC110  # what changed while all was read is read once more
                await asyncio.sleep(0.005)
        monkeypatch.setattr(bans, "_anew_s", 0)
        readings = bans.facts.readings
        await store.add(ban("19"))
        await until(lambda: bans.user(19) is not None)
        assert bans.facts.readings == readings + 1


async def test_who_starts_while_bans_cannot_be_read_goes_by_what_was_read_last(tmp_path: Path, store: BanStore) -> None:
    """And says so; without a copy nobody is banned. As soon as they can be read that is what holds."""
    copy = BanCopy(tmp_path / "bans.copy", database="bans")
    for one in (ban("17"), ban("18"), ban("19", until_ms=4)):
        await store.add(one)
    async with looking(store, copy=copy) as (bans, _):
        await store.remove(read_who("18"))
        await until(lambda: bans.user(18) is None)
    with closing(open_file(tmp_path / "data" / "bans.db")) as operator:
        operator.execute("ALTER TABLE mark RENAME TO away")
        async with looking(store) as (bans, _):
            assert (len(bans), bans.by_copy) == (0, False)
        with capture_logs() as said:
            async with looking(store, copy=copy) as (bans, new):
                assert (len(bans), bans.user(17), bans.by_copy, new) == (1, ban("17"), True, [])
                with pytest.raises(StoreError):
                    await bans.ping()
                operator.execute("ALTER TABLE away RENAME TO mark")
                await until(lambda: not bans.by_copy)
                await store.add(ban("20"))
                await until(lambda: len(bans) == 2)
                assert (new, bans.facts.readings) == ([ban("20")], 1)
                await bans.ping()
    assert ["copy" in each["event"] for each in said] == [False, True, False]
    kept = copy.load(now_ms=5)
    assert kept is not None
    assert set(kept.bans) == {ban("17"), ban("20")}


async def _part(http: httpx.AsyncClient, state: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            response = await http.get("/readyz")
            assert response.status_code == 200
            if response.json()["parts"]["bans"] == state:
                return
            await asyncio.sleep(0.01)


@pytest.fixture(name="cluster")
async def _cluster(
    tmp_path: Path, redis_single: RedisOptions, content_database: str
) -> AsyncIterator[tuple[list[Gateway], dict[str, str]]]:
    """Two servers with one Redis and one content database, and the environment of a command beside them.

    They look by themselves once in ten minutes: what they see sooner they were told.
    """
    redis = replace(redis_single, prefix=f"{uuid.uuid4().hex}:")
    mysql, bans = patient(content=content_database), BanOptions(look_ms=60_000)
    async with AsyncExitStack() as stack:
        gateways = []
        for name in ("a", "b"):
            node = NodeOptions(name=name, data=tmp_path / name, keys_file=tmp_path / "keys.json")
            gateway, _ = await stack.enter_async_context(
                serving(tmp_path / name, redis=redis, node=node, mysql=mysql, bans=bans)
            )
            gateways.append(gateway)
        async with asyncio.timeout(PATIENCE_S):
            for gateway in gateways:
                while (await gateway.health.parts())["bus"] != "ok":  # noqa: ASYNC110  # facts come without an event
                    await asyncio.sleep(0.01)
        yield (
            gateways,
            {
                "TYPEGATE_REDIS_URL": redis.url,
                "TYPEGATE_REDIS_PREFIX": redis.prefix,
                "TYPEGATE_REDIS_CALL_MS": str(redis.call_ms),
                "TYPEGATE_MYSQL_CONTENT": content_database,
            },
        )


async def test_a_command_shuts_out_on_all_servers(
    cluster: tuple[list[Gateway], dict[str, str]], tmp_path: Path
) -> None:
    """Whoever is there is sent off, wherever; and comes in again everywhere where it is taken back."""
    gateways, environment = cluster
    async with client(gateways[0].url) as here, client(gateways[1].url, token=here.ready["token"]) as there:
        user = here.ready["user"]
        code, output, errors = await command(
            "ban", "add", user, "--for", "7d", "--reason", "a bot", folder=tmp_path, **environment
        )
        assert (code, errors) == (0, "")
        assert output.startswith(f"{user} is banned until 20")
        for one in (here, there):
            assert (await one.closed()).code == 4505
    assert (await command("ban", "remove", user, folder=tmp_path, **environment))[0] == 0
    for gateway in gateways:
        await until(lambda hub=gateway.hub: hub.ban_of(int(user)) is None)  # type: ignore[misc]  # mypy sees no default


async def test_servers_that_may_have_missed_it_look(
    cluster: tuple[list[Gateway], dict[str, str]], tmp_path: Path
) -> None:
    """Redis cannot be reached by the command: it says so. The next thing that is said brings both to all."""
    gateways, environment = cluster
    nowhere = environment | {"TYPEGATE_REDIS_URL": "redis://127.0.0.1:1/0", "TYPEGATE_REDIS_CALL_MS": "500"}
    code, _, errors = await command("ban", "add", "17", "--reason", "x", folder=tmp_path, **nowhere)
    assert (code, "they see it within" in errors) == (0, True)
    assert gateways[0].hub.ban_of(17) is None
    assert (await command("ban", "add", "18", "--reason", "x", folder=tmp_path, **environment))[0] == 0
    for gateway in gateways:
        await until(lambda hub=gateway.hub: hub.ban_of(17) is not None and hub.ban_of(18) is not None)  # type: ignore[misc]  # the same
