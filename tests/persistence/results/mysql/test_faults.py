"""The MySQL store while servers are killed, paused and started again under it; the servers are the tests' own."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from loadtest.servers.mariadb import MariaDb
from persistence.errors import StoreError
from persistence.results import Board, Outcome, Period, Span, Written
from persistence.results.mysql import MysqlResults
from session.identity import bucket_of_user
from session.result import Result
from tests.persistence.mysql_shards import MysqlShards, make_database, migrated, patient
from tests.persistence.samples import T0_MS, outcomes, sample, texts
from tests.servers import skip_without

USER_A = next(user for user in range(1, 99) if bucket_of_user(user) < 2048)
GUEST_A = next(-user for user in range(1, 99) if bucket_of_user(-user) < 2048)
USER_B = next(user for user in range(1, 99) if bucket_of_user(user) >= 2048)
HOUR_MS = 3_600_000


class Own:
    """Servers of a test's own, and their shards."""

    def __init__(self, servers: MariaDb) -> None:
        self.servers = servers
        self.primary = servers.shards[0]
        a, b = (make_database(server.dsn(), "results") for server in servers.shards)
        self.shards = MysqlShards(
            migrated(
                patient(
                    shards=(f"a 0-2047 {a}", f"b 2048-4095 {b}"),
                    replicas=(f"a {servers.replica.dsn('results')}",),
                    retry_ms=10,
                    refresh_ms=100,
                )
            )
        )

    def store(self, *, later_ms: float = 0, **options: Any) -> MysqlResults:
        """A store whose clock stands some time after the samples."""
        return MysqlResults(
            replace(self.shards.options, **options), texts=texts(), clock_ms=lambda: T0_MS + 60_000 + later_ms
        )

    def followed(self) -> None:
        """Wait until the replica has all that the primary has."""
        self.primary.wait_followed_by(self.servers.replica)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    skip_without("mariadb")
    with MariaDb(tmp_path_factory.mktemp("faults")) as started:
        yield started


@pytest.fixture(scope="module")
def made(servers: MariaDb) -> Own:
    return Own(servers)


@pytest.fixture
def own(made: Own) -> Iterator[Own]:
    """All servers run, and the shards are empty."""
    made.shards.clear()
    made.followed()
    yield made
    for server in (*made.servers.shards, made.servers.replica):
        server.resume()
        if not server.alive:
            server.start()


async def written(store: MysqlResults, batch: list[Result]) -> list[Written]:
    """Write as a worker does: again and again while it may help."""
    while True:
        try:
            return await store.write(batch)
        except StoreError as error:
            if not error.retriable:
                raise
        await asyncio.sleep(0.02)


async def test_a_primary_killed_under_a_stream_of_writes_has_every_result_once(own: Own) -> None:
    """Whatever was told as written is there after the kill, and what was not is written once when it is back."""
    told: list[bytes] = []
    halfway = asyncio.Event()

    async def writer(user: int) -> None:
        for start in range(0, 200, 10):
            batch = [sample(i, user=user) for i in range(start, start + 10)]
            told.extend(one.session for one in await written(store, batch))
            if len(told) >= 150:
                halfway.set()

    async with own.store() as store:
        async with asyncio.TaskGroup() as group:
            for user in (USER_A, USER_B):
                group.create_task(writer(user))
            await halfway.wait()
            await asyncio.to_thread(own.primary.kill)
            await asyncio.to_thread(own.primary.start)
        assert len(told) == len(set(told)) == 400
        for shard in ("a", "b"):
            assert own.shards.ask(shard, "SELECT COUNT(*), COUNT(DISTINCT id) FROM test_results") == [(200, 200)]
        for user in (USER_A, USER_B):
            (row,) = await store.progress(user, since_day=0, until_day=30_000)
            assert row.tests == 200


async def test_another_shard_goes_on_while_one_is_away(own: Own) -> None:
    own.primary.kill()
    async with own.store() as store:
        assert outcomes(await store.write([sample(0, user=USER_B)])) == [Outcome.INSERTED]
        with pytest.raises(StoreError) as raised:
            await store.write([sample(0, user=USER_A), sample(1, user=USER_B)])
        assert raised.value.retriable
        with pytest.raises(StoreError):
            await store.ping()
        await asyncio.to_thread(own.primary.start)
        assert sorted(outcome.value for outcome in outcomes(await written(store, [sample(0, user=USER_A)]))) == [
            "inserted"
        ]
        await store.ping()


async def test_a_replica_answers_while_its_primary_is_away(own: Own) -> None:
    """Reads go on, writes wait."""
    result, guests_own = sample(0, user=USER_A), sample(0, user=GUEST_A)
    async with own.store() as store:
        await store.write([result, guests_own])
        await store.link(GUEST_A, USER_B)
        own.followed()
        own.primary.kill()
        assert await store.by_id(result.session) == result
        page = await store.by_user(USER_A)
        assert (page.results, page.behind) == ((result,), True)
        (row,) = await store.progress(USER_A, since_day=0, until_day=30_000)
        assert row.tests == 1
        behind: list[str] = []
        assert await store.guests_of(USER_A, behind=partial(behind.append, "guests")) == ()
        assert await store.public_of(USER_A, behind=partial(behind.append, "public")) == []
        assert await store.guests_of(USER_B, behind=partial(behind.append, "the other shard's")) == (GUEST_A,)
        assert behind == ["guests", "public"]
        board, period = Board("time", 15, "en"), Period(Span.ALL, 0)
        _ = [best async for best in store.ranking(board, period, behind=partial(behind.append, "ranking"))]
        assert behind == ["guests", "public", "ranking"]
        theirs = await store.by_user(USER_B, guests=await store.guests_of(USER_B))
        assert theirs.results == (guests_own,), "what an account has of a guest in that shard is read, too"
        with pytest.raises(StoreError) as raised:
            await store.write([sample(1, user=USER_A)])
        assert raised.value.retriable
        with pytest.raises(StoreError) as raised:
            await store.link(GUEST_A - 1, USER_A)
        assert raised.value.retriable
    async with own.store() as store:
        assert await store.by_id(result.session) == result, "a process that starts meanwhile reads, too"


async def test_history_is_read_from_a_replica_and_what_is_recent_from_the_primary(own: Own) -> None:
    """The replica stands still: what it has not got yet is missing from history, and from nothing else."""
    old, new = sample(0, user=USER_A), sample(1, user=USER_A)
    async with own.store() as recent, own.store(later_ms=HOUR_MS) as later:
        await recent.write([old])
        own.followed()
        own.servers.replica.ask("STOP REPLICA SQL_THREAD")
        try:
            await recent.write([new])
            until_ms = new.created_at_ms + 1
            assert (await recent.by_user(USER_A, until_ms=until_ms)).results == (new, old)
            assert (await later.by_user(USER_A, until_ms=until_ms)).results == (old,)
            page = await later.by_user(USER_A)
            assert (page.results, page.behind) == ((new, old), False)
        finally:
            own.servers.replica.ask("START REPLICA SQL_THREAD")
        own.followed()
        assert (await later.by_user(USER_A, until_ms=until_ms)).results == (new, old)


@pytest.mark.parametrize("fault", ["kill", "pause"])
async def test_history_is_read_from_the_primary_while_the_replica_is_away(own: Own, fault: str) -> None:
    result = sample(0, user=USER_A)
    async with own.store(later_ms=HOUR_MS, read_ms=3_000, connect_ms=3_000) as store:
        await written(store, [result])
        getattr(own.servers.replica, fault)()
        assert (await store.by_user(USER_A, until_ms=result.created_at_ms + 1)).results == (result,)


async def test_a_primary_that_hangs_costs_a_write_its_time_limit(own: Own) -> None:
    async with own.store(write_ms=2_000, connect_ms=2_000) as store:
        await written(store, [sample(0, user=USER_A)])
        own.primary.pause()
        with pytest.raises(StoreError, match="no answer in time") as raised:
            await store.write([sample(1, user=USER_A)])
        assert raised.value.retriable
        own.primary.resume()
        assert len(await written(store, [sample(1, user=USER_A)])) == 1
    assert own.shards.ask("a", "SELECT COUNT(*) FROM test_results") == [(2,)]


async def test_a_primary_that_became_read_only_is_waited_for(own: Own) -> None:
    """As it is in the middle of a failover."""
    async with own.store() as store:
        own.primary.ask("SET GLOBAL read_only = ON")
        try:
            with pytest.raises(StoreError, match="read-only") as raised:
                await store.write([sample(0, user=USER_A)])
        finally:
            own.primary.ask("SET GLOBAL read_only = OFF")
        assert raised.value.retriable
        assert outcomes(await store.write([sample(0, user=USER_A)])) == [Outcome.INSERTED]
