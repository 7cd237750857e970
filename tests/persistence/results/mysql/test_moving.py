"""Buckets on their way from shard to shard, on real servers and under traffic."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from loadtest.servers.addresses import Addresses
from persistence.errors import StoreError
from persistence.mysql.shards import Phase
from persistence.results import BestRules, Board, Linked, Period, ResultStore, Span
from persistence.results.bests import DAY_MS
from persistence.results.mysql import MysqlResults
from persistence.results.mysql.moving import Mover
from persistence.results.mysql.state import MapRefused
from session.identity import bucket_of_race, bucket_of_user, mint_race
from session.race_record import RaceRecord
from session.result import Result
from tests.persistence.mysql_shards import MysqlShards, make_database, migrated, patient
from tests.persistence.samples import T0_MS, copy_of, ranked, sample, texts
from tests.session.races import over

DAY = T0_MS // DAY_MS
TABLES = ("test_results", "test_results_late", "result_conflicts", "personal_bests", "user_progress")


def users_of(bucket: int, count: int) -> list[int]:
    found: list[int] = []
    user = 1
    while len(found) < count:
        if bucket_of_user(user) == bucket:
            found.append(user)
        user += 1
    return found


BUCKET = bucket_of_user(7)
MINE = users_of(BUCKET, 3)
OTHER = next(user for user in range(1, 999) if bucket_of_user(user) // 2048 == BUCKET // 2048 and user not in MINE)
FROM, TO = ("a", "b") if BUCKET < 2048 else ("b", "a")


@pytest.fixture
def shards(mariadb_servers: Addresses, fresh_name: Callable[[str], str]) -> MysqlShards:
    name = fresh_name("moving")
    a, b = (make_database(address, name) for address in mariadb_servers["shards"])
    return MysqlShards(migrated(patient(shards=(f"a 0-2047 {a}", f"b 2048-4095 {b}"), refresh_ms=100)))


def opened(shards: MysqlShards) -> MysqlResults:
    return MysqlResults(shards.options, texts=texts(), clock_ms=lambda: T0_MS)


class CutOff(Exception):
    pass


async def move(shards: MysqlShards, target: str, **options: Any) -> tuple[str, str, int, int]:
    async with Mover(shards.options, BestRules()) as mover:
        moved = await mover.move(BUCKET, target, **options)
    return moved.source, moved.target, moved.users, moved.results


async def cut_off(shards: MysqlShards, progress: Callable[[str, int, int], None]) -> None:
    """A move that ends amid its work, and whose lock the server has let go by now."""
    with pytest.raises(CutOff):
        await move(shards, TO, progress=progress)
    free = "SELECT IS_FREE_LOCK(CONCAT('typegate ', LEFT(SHA2(DATABASE(), 256), 16), ' moves'))"
    async with asyncio.timeout(120):
        while any(shards.ask(shard, free) != [(1,)] for shard in shards.dsns):  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)


def of_mine(shards: MysqlShards, shard: str) -> int:
    """Rows that a shard has of the bucket's users."""
    wanted = ", ".join(map(str, MINE))
    return sum(
        count
        for table in TABLES
        if table != "result_conflicts"
        for ((count,),) in [shards.ask(shard, f"SELECT COUNT(*) FROM {table} WHERE user_id IN ({wanted})")]
    )


async def everything(store: ResultStore, users: list[int]) -> list[Any]:
    """All that a store tells of these users."""
    told: list[Any] = []
    for user in users:
        page = await store.by_user(user, limit=100)
        told += [
            page,
            [await store.by_id(result.session) for result in page.results],
            [await store.conflicts(result.session) for result in page.results],
            await store.progress(user, since_day=0, until_day=30_000),
            await store.bests(user, day=DAY),
        ]
    told.append([best async for best in store.ranking(Board("time", 15, "en"), Period(Span.ALL, 0))])
    return told


def some(user: int) -> list[Result]:
    """Results of every kind, and copies that disagree."""
    first = ranked(0, wpm=80, user=user)
    return [
        first,
        copy_of(first, core=1, seen_live=1),
        copy_of(first, core=2, seen_live=2),
        ranked(1, wpm=70, user=user),
        sample(2, user=user),
        copy_of(sample(3, user=user), verdict="void"),
        copy_of(sample(4, user=user), features={"odd": 1.0}, tags=("x",)),
        sample(5, user=user, created_ms=(DAY - 200) * DAY_MS),
    ]


async def test_all_that_a_shard_has_of_a_bucket_moves_and_nothing_else(shards: MysqlShards) -> None:
    async with opened(shards) as store:
        for user in (*MINE, OTHER):
            await store.write(some(user))
        before = await everything(store, [*MINE, OTHER])
        assert (await move(shards, TO))[:3] == (FROM, TO, len(MINE))
        assert of_mine(shards, FROM) == 0
        assert shards.ask(FROM, "SELECT DISTINCT user_id FROM user_progress") == [(OTHER,)]
        assert {user for (user,) in shards.ask(TO, "SELECT user_id FROM user_progress")} == set(MINE)
        assert await everything(store, [*MINE, OTHER]) == before
    async with opened(shards) as fresh:
        assert await everything(fresh, [*MINE, OTHER]) == before
        written = await fresh.write([sample(9, user=MINE[0])])
        assert len(written) == 1
        new = written[0].session.hex()
        assert shards.ask(TO, f"SELECT COUNT(*) FROM test_results WHERE id = x'{new}'") == [(1,)]


async def test_what_was_computed_from_rows_that_are_gone_moves_too(shards: MysqlShards) -> None:
    """A partition was dropped: progress and bests of it are all that is left."""
    user = MINE[0]
    async with opened(shards) as store:
        await store.write([ranked(0, wpm=90, user=user), ranked(1, wpm=95, user=user, created_ms=(DAY + 40) * DAY_MS)])
        shards.ask(FROM, "DELETE FROM test_results WHERE created_at < '2026-10-01'")
        progress = await store.progress(user, since_day=0, until_day=30_000)
        bests = [await store.bests(user, day=day) for day in (DAY, DAY + 40)]
        await move(shards, TO)
        assert await store.progress(user, since_day=0, until_day=30_000) == progress
        assert [await store.bests(user, day=day) for day in (DAY, DAY + 40)] == bests


async def test_links_move_with_guests_and_with_accounts(shards: MysqlShards) -> None:
    """Of users who have nothing else there, too; and those that are made on the way."""
    guests = [guest for guest in range(-1, -99_999, -1) if bucket_of_user(guest) == BUCKET][:2]
    elsewhere = next(guest for guest in range(-1, -99, -1) if bucket_of_user(guest) != BUCKET)

    def cut(now: str, done: int, total: int) -> None:
        if (now, done) == ("comparing", total):
            raise CutOff

    async def told(store: ResultStore) -> list[Any]:
        owners = [await store.guests_of(account) for account in (*MINE, OTHER)]
        return [*owners, *[await store.link(guest, 99) for guest in (*guests, elsewhere)]]

    async with opened(shards) as store:
        await store.link(guests[0], OTHER)
        await store.link(elsewhere, MINE[0])
        await cut_off(shards, cut)
        await store.link(guests[1], MINE[1])
        before = await told(store)
        await move(shards, TO)
        assert await told(store) == before
        assert set(before[-3:]) == {Linked.TAKEN}
    async with opened(shards) as fresh:
        assert await told(fresh) == before
    left = [
        user
        for table, column in (("guest_links", "guest_id"), ("account_guests", "account_id"))
        for (user,) in shards.ask(FROM, f"SELECT {column} FROM {table}")
    ]
    assert not [user for user in left if bucket_of_user(user) == BUCKET]


async def test_what_is_public_moves_with_its_user(shards: MysqlShards) -> None:
    """And what the user is called. What is said on the way, too: what was taken back meanwhile is not public there."""
    results = [sample(i, user=user) for user in MINE for i in range(4)]
    kept, back, late, never = results[:4]
    silent = users_of(BUCKET, 4)[-1]

    def cut(now: str, done: int, total: int) -> None:
        if (now, done) == ("comparing", total):
            raise CutOff

    async def visible(store: ResultStore) -> list[bytes]:
        return [result.session for result in results if await store.is_public(result.session)]

    async with opened(shards) as store:
        await store.write(results)
        for result in (kept, back):
            assert await store.publish(result.session, result.user)
        await store.name_users({MINE[0]: "Ada", silent: "Without a result", OTHER: "Other"})
        await cut_off(shards, cut)
        await store.name_users({MINE[0]: "Ada L.", MINE[1]: "Grace"})
        await store.unpublish(back.session)
        assert await store.publish(late.session, late.user)
        assert await visible(store) == [kept.session, late.session]
        await move(shards, TO)
        assert await visible(store) == [kept.session, late.session]
    async with opened(shards) as fresh:
        assert await visible(fresh) == [kept.session, late.session]
        assert not await fresh.is_public(never.session)
        called = {MINE[0]: "Ada L.", MINE[1]: "Grace", silent: "Without a result", OTHER: "Other"}
        assert await fresh.names_of([*MINE, silent, OTHER]) == called
    assert shards.ask(FROM, "SELECT user_id FROM user_names") == [(OTHER,)]
    assert shards.ask(FROM, "SELECT COUNT(*) FROM public_results") == [(0,)]
    assert shards.ask(TO, "SELECT COUNT(*) FROM public_results") == [(3,)]


async def test_traffic_goes_on_and_everybody_reads_what_they_wrote(shards: MysqlShards) -> None:
    """Two processes write and read all through a move: each result once, in one shard at the end, none unseen."""
    moved, warm = asyncio.Event(), asyncio.Event()
    count = dict.fromkeys((*MINE, OTHER), 0)

    async def typist(store: MysqlResults, user: int) -> None:
        while not moved.is_set() or count[user] < 5:
            i = count[user]
            batch = [ranked(3 * i + j, wpm=50 + i % 30, user=user) for j in range(3)]
            await store.write(batch)
            count[user] += 1
            if min(count.values()) >= 2:
                warm.set()
            assert (await store.by_user(user, limit=1)).results == (batch[-1],)
            (row,) = await store.progress(user, since_day=DAY, until_day=DAY)
            assert row.tests == 3 * count[user]

    async def mover() -> None:
        await warm.wait()
        await move(shards, TO)
        moved.set()

    async with opened(shards) as one, opened(shards) as other, asyncio.TaskGroup() as group:
        for i, user in enumerate(count):
            group.create_task(typist(other if i % 2 else one, user))
        group.create_task(mover())
    for user in MINE:
        rows = shards.ask(TO, f"SELECT COUNT(*), COUNT(DISTINCT id) FROM test_results WHERE user_id = {user}")
        assert rows == [(3 * count[user], 3 * count[user])]
    assert of_mine(shards, FROM) == 0
    async with opened(shards) as store:
        for user in count:
            (row,) = await store.progress(user, since_day=DAY, until_day=DAY)
            assert row.tests == 3 * count[user]


@pytest.mark.parametrize("step", ["copying", "comparing", "deleting"])
@pytest.mark.parametrize("at", [0, 2])
async def test_a_move_that_was_cut_off_is_taken_up(shards: MysqlShards, step: str, at: int) -> None:
    def cut(now: str, done: int, total: int) -> None:
        if (now, done) == (step, at):
            raise CutOff

    async with opened(shards) as store:
        for user in MINE:
            await store.write(some(user))
        before = await everything(store, MINE)
        await cut_off(shards, cut)
        for user in MINE:  # nothing is amiss meanwhile
            await store.write(some(user))
        assert await everything(store, MINE) == before
        await move(shards, TO)
        assert await everything(store, MINE) == before
        assert of_mine(shards, FROM) == 0


async def test_a_bucket_is_moved_back(shards: MysqlShards) -> None:
    """After it arrived, and on its way."""

    def cut(now: str, done: int, total: int) -> None:
        if now == "comparing":
            raise CutOff

    async with opened(shards) as store:
        for user in MINE:
            await store.write(some(user))
        before = await everything(store, MINE)
        await move(shards, TO)
        await move(shards, FROM)
        assert of_mine(shards, TO) == 0
        assert await everything(store, MINE) == before
        await cut_off(shards, cut)
        assert of_mine(shards, TO) > 0
        await move(shards, FROM)
        assert of_mine(shards, TO) == 0
        await store._learn()
        assert await everything(store, MINE) == before


async def test_one_move_at_a_time(shards: MysqlShards) -> None:
    begun, go_on = threading.Event(), threading.Event()
    async with opened(shards) as store:
        await store.write(some(MINE[0]))

    def look(step: str, done: int, total: int) -> None:
        begun.set()
        assert go_on.wait(120)

    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(lambda: asyncio.run(move(shards, TO, progress=look))))
        try:
            assert await asyncio.to_thread(begun.wait, 120)
            with pytest.raises(StoreError, match="another process has the lock 'moves'"):
                await move(shards, TO)
        finally:
            go_on.set()


@pytest.mark.parametrize(
    ("bucket", "target", "why"),
    [
        (-1, TO, "no bucket -1; there are 0 to 4095"),
        (4096, TO, "no bucket 4096"),
        (BUCKET, "c", "no shard 'c'; there are a, b"),
        (BUCKET, FROM, f"bucket {BUCKET} is in shard '{FROM}' already"),
    ],
)
async def test_a_move_that_is_none_is_refused(shards: MysqlShards, bucket: int, target: str, why: str) -> None:
    async with Mover(shards.options, BestRules()) as mover:
        with pytest.raises(StoreError, match=why) as raised:
            await mover.move(bucket, target)
        assert not raised.value.retriable
        assert (await mover.routes()).moves == {}


@pytest.fixture
def three(shards: MysqlShards, mariadb_servers: Addresses, fresh_name: Callable[[str], str]) -> MysqlShards:
    """The same two shards and a third one that has no bucket yet."""
    address = make_database(mariadb_servers["content"], fresh_name("third"))
    options = replace(shards.options, shards=(*shards.options.shards, f"c - {address}"))
    return MysqlShards(migrated(options))


async def test_a_new_shard_gets_its_first_bucket(shards: MysqlShards, three: MysqlShards) -> None:
    """A process that does not know it goes on until then, and is refused afterwards."""
    async with opened(shards) as old, opened(three) as new:
        await old.write(some(MINE[0]))
        before = await everything(new, MINE[:1])
        await move(three, "c")
        assert await everything(new, MINE[:1]) == before
        with pytest.raises(MapRefused, match=r"moved to shard 'c', which mysql\.shards does not have") as raised:
            await old.write([sample(9, user=MINE[0])])
        assert raised.value.retriable
        with pytest.raises(MapRefused, match="moved to shard 'c'"):
            await opened(shards).__aenter__()


async def test_where_each_bucket_is_can_be_asked(shards: MysqlShards) -> None:
    await move(shards, TO)
    async with Mover(shards.options, BestRules()) as mover:
        routes = await mover.routes()
    assert (routes.reader(BUCKET), routes.moves[BUCKET].phase) == (TO, Phase.DONE)


async def test_races_move_with_their_own_bucket(shards: MysqlShards) -> None:
    """By the race's id, whoever was in it; what is written on the way comes along, and others stay."""
    mine = [race for number in range(40_000) if bucket_of_race(race := mint_race(number << 30)) == BUCKET][:4]
    other = next(race for number in range(999) if bucket_of_race(race := mint_race(number << 40)) != BUCKET)
    records = [RaceRecord.of(over(OTHER, 99, race=race)) for race in (*mine, other)]

    def cut(now: str, done: int, total: int) -> None:
        if (now, done) == ("comparing", total):
            raise CutOff

    async def told(store: ResultStore) -> list[Any]:
        return [*[await store.races.of(one.id) for one in records], await store.races.by_user(OTHER, limit=3)]

    async with opened(shards) as store:
        await store.races.write([*records[:3], records[4]])
        await cut_off(shards, cut)
        await store.races.write(records[3:])
        before = await told(store)
        assert before[:-1] == records
        assert len(before[-1].races) == 3  # though there are two of each
        await move(shards, TO)
        assert await told(store) == before
        await store.races.write(records[:1])
    async with opened(shards) as fresh:
        assert await told(fresh) == before
    assert shards.ask(FROM, f"SELECT COUNT(*) FROM races WHERE bucket = {BUCKET}") == [(0,)]
    assert shards.ask(TO, f"SELECT COUNT(*) FROM races WHERE bucket = {BUCKET}") == [(len(mine),)]
    racers = [shards.ask(shard, "SELECT COUNT(*) FROM race_racers")[0][0] for shard in ("a", "b")]
    assert sum(racers) == 2 * len(records)
