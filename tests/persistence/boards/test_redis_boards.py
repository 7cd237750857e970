"""What only shared leaderboards can meet: several processes, and faults of the server that they are in.

Two of them with connections of their own stand for two processes.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from loadtest.servers.redis import RedisCluster, RedisServer
from persistence.boards import BoardsOptions, RedisBoards
from persistence.boards.port import kept_until_ms
from persistence.errors import StoreError
from persistence.redis import Call, RedisOptions, RedisServers
from persistence.results import Period, ResultStore, Span, SqliteResults
from persistence.results.bests import DAY_MS
from tests.persistence.boards.test_boards import ALL, BOARD, DAY, NOON_MS, OPTIONS, TODAY, Paused, typed_by
from tests.persistence.samples import copy_of, ranked
from tests.servers import skip_without


@pytest.fixture(name="store")
async def _store(tmp_path: Path) -> AsyncIterator[ResultStore]:
    async with SqliteResults(tmp_path / "results.db") as opened:
        yield opened


@asynccontextmanager
async def boards_in(
    where: RedisOptions, store: ResultStore, options: BoardsOptions = OPTIONS
) -> AsyncIterator[RedisBoards]:
    async with RedisServers(where) as servers, RedisBoards(servers, store, options) as boards:
        yield boards


async def shown(boards: RedisBoards, period: Period = ALL) -> list[int]:
    page = await boards.page(BOARD, period, offset=0, count=100)
    return [entry.best.place.user for entry in page.entries]


async def truth(store: ResultStore, period: Period = ALL) -> list[int]:
    return [best.place.user async for best in store.ranking(BOARD, period)][: OPTIONS.top]


async def agreed(store: ResultStore, boards: RedisBoards) -> None:
    """Wait until the board itself answers; it never says anything but what the store says."""
    expected = await truth(store)
    async with asyncio.timeout(120):
        while True:
            page = await boards.page(BOARD, ALL, offset=0, count=100)
            assert [entry.best.place.user for entry in page.entries] == expected
            if page.size is not None:
                break
            await asyncio.sleep(0.01)


async def until(boards: RedisBoards, expected: list[int]) -> None:
    """Wait until the board shows these."""
    async with asyncio.timeout(120):
        while True:
            if await shown(boards) == expected:
                return
            await asyncio.sleep(0.01)


@pytest.fixture(name="where", params=["redis_single", "redis_cluster"])
def _where(request: pytest.FixtureRequest) -> RedisOptions:
    found: RedisOptions = request.getfixturevalue(request.param)
    return replace(found, prefix=f"{uuid.uuid4().hex}:")


# -- several processes -------------------------------------------------------------------------------------------


async def test_what_one_process_submits_all_see(store: ResultStore, where: RedisOptions) -> None:
    async with boards_in(where, store) as first, boards_in(where, store) as second:
        await first.rebuild(BOARD, ALL)
        await first.submit(await store.write([typed_by(1, 80)]))
        await second.submit(await store.write([typed_by(2, 90)]))
        assert await shown(first) == await shown(second) == [2, 1]


async def test_a_place_that_becomes_free_while_its_teller_rests_from_another_s_filling_is_not_forgotten(
    store: ResultStore, where: RedisOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The board itself says that it is to be filled again, until it is."""
    monkeypatch.setattr("persistence.boards.redis._AGAIN_S", 0.5)
    await store.write([typed_by(user, 50 + user) for user in range(1, 8)])
    paused = Paused(store)
    async with boards_in(where, paused) as first, boards_in(where, store) as second:
        filling = asyncio.get_running_loop().create_task(first.rebuild(BOARD, ALL))
        await paused.reading.wait()
        for _ in range(20):
            await shown(second)  # it would fill the board, and learns that another does
        paused.go_on.set()
        await filling
        await second.submit(await store.write([copy_of(typed_by(6, 56), verdict="void", seen_live=1_000)]))
        await until(second, [7, 5, 4, 3, 2])


async def test_who_dies_while_filling_leaves_it_to_others(store: ResultStore, where: RedisOptions) -> None:
    await store.write([typed_by(1, 80)])
    paused = Paused(store)
    async with boards_in(where, store) as second:
        async with boards_in(where, paused) as first:
            filling = asyncio.get_running_loop().create_task(first.rebuild(BOARD, ALL))
            await paused.reading.wait()
            filling.cancel()
            await asyncio.wait([filling])
        assert await second.rebuild(BOARD, ALL) == 1


async def test_no_board_is_filled_from_a_server_that_may_be_behind(store: ResultStore, where: RedisOptions) -> None:
    """It would miss the last bests for hours, long after the primary is back. The old board stays meanwhile."""
    await store.write([typed_by(1, 80)])
    paused = Paused(store)
    paused.go_on.set()
    async with boards_in(where, paused) as boards:
        await boards.rebuild(BOARD, ALL)
        paused.behind = True
        with pytest.raises(StoreError, match="primary is away"):
            await boards.rebuild(BOARD, ALL)
        page = await boards.page(BOARD, ALL, offset=0, count=100)
        assert ([entry.best.place.user for entry in page.entries], page.size) == ([1], 1)
        paused.behind = False
        assert await boards.rebuild(BOARD, ALL) == 1


async def test_below_the_last_place_redis_is_not_told(store: ResultStore, where: RedisOptions) -> None:
    options = replace(OPTIONS, top=2, floor_ms=60_000)
    async with boards_in(where, store, options) as boards:
        await boards.rebuild(BOARD, ALL)
        for user in (1, 2, 3):
            await boards.submit(await store.write([typed_by(user, 80 + user)]))
        told = boards.facts().submitted
        slow = await store.write([ranked(0, wpm=70, user=4, created_ms=NOON_MS)])
        of_all_time = [one._replace(bests={p: b for p, b in one.bests.items() if p.period == ALL}) for one in slow]
        await boards.submit(of_all_time)
        assert boards.facts().submitted == told
        await boards.submit(await store.write([typed_by(5, 90)]))
        assert boards.facts().submitted > told
        assert await shown(boards) == [5, 3]


async def test_who_goes_by_an_old_floor_misses_nothing(store: ResultStore, where: RedisOptions) -> None:
    """A place becomes free, so the last place goes down; another process does not know that yet."""
    options = replace(OPTIONS, top=3, floor_ms=300)
    async with boards_in(where, store, options) as first, boards_in(where, store, options) as second:
        await first.rebuild(BOARD, ALL)
        await second.submit(await store.write([typed_by(user, 80 + user) for user in (1, 2, 3, 4, 5)]))
        assert await shown(second) == [5, 4, 3]
        await first.submit(await store.write([copy_of(typed_by(5, 85), verdict="void", seen_live=1_000)]))
        await second.submit(await store.write([typed_by(6, 82.5)]))
        await until(second, [4, 3, 6])


async def test_a_clock_set_back_keeps_no_floor_and_holds_up_no_filling(store: ResultStore, where: RedisOptions) -> None:
    """The worst of them: it stands two hours before where it was, and does not move."""
    now_ms = float(NOON_MS)
    options = replace(OPTIONS, top=2, floor_ms=300)
    async with (
        RedisServers(where) as servers,
        RedisBoards(servers, store, options, clock_ms=lambda: now_ms) as boards,
        asyncio.timeout(60),
    ):
        await boards.rebuild(BOARD, ALL)
        await boards.submit(await store.write([typed_by(user, 80 + user) for user in (1, 2, 3)]))
        now_ms -= 2 * 3_600_000
        await boards.rebuild(BOARD, ALL)  # which outlasts every floor
        told = boards.facts().submitted
        await boards.submit(await store.write([typed_by(4, 70)]))
        assert boards.facts().submitted > told
        assert await shown(boards) == [3, 2]


async def test_writers_voids_and_fillings_at_once_come_to_what_the_store_says(
    store: ResultStore, where: RedisOptions
) -> None:
    """Two workers with users of their own, each telling every batch twice, while boards are filled again and again."""
    async with boards_in(where, store) as first, boards_in(where, store) as second:
        writing = 2

        async def work(boards: RedisBoards, some: range, chance: Random) -> None:
            nonlocal writing
            for i in range(40):
                result = typed_by(chance.choice(some), chance.randrange(5_000, 5_020) / 100, chance.randrange(10))
                told = await store.write([result])
                if chance.random() < 0.3:
                    told += await store.write([copy_of(result, verdict="void", seen_live=1_000 + i)])
                for _ in range(2):
                    await boards.submit(told)
            writing -= 1

        async def fill() -> None:
            while writing:
                await first.rebuild(BOARD, ALL)

        async with asyncio.TaskGroup() as group:
            group.create_task(work(first, range(1, 7), Random(1)))
            group.create_task(work(second, range(7, 13), Random(2)))
            group.create_task(fill())
        await until(first, await truth(store))
        await agreed(store, second)


async def test_days_and_weeks_end_and_late_results_open_none_again(
    store: ResultStore, redis_single: RedisOptions
) -> None:
    where = replace(redis_single, prefix=f"{uuid.uuid4().hex}:")
    last_week = Period.of(Span.WEEK, TODAY - 7)
    long_ago = Period(Span.DAY, TODAY - 9)
    async with RedisServers(where) as servers, RedisBoards(servers, store, OPTIONS) as boards:
        await store.write([typed_by(1, 80), ranked(0, wpm=70, user=2, created_ms=long_ago.day * DAY_MS)])
        for period in (DAY, last_week, ALL):
            await boards.rebuild(BOARD, period)
            key = f"{where.prefix}leaderboard:{{{BOARD}:{period}}}:about"
            ends = (await servers.ask(Call(key, ("PEXPIRETIME", key)))).value
            assert ends == (-1 if period is ALL else kept_until_ms(period))
        await boards.submit(await store.write([ranked(1, wpm=75, user=2, created_ms=long_ago.day * DAY_MS + 1)]))
        fillings = boards.facts().fillings
        assert await shown(boards, long_ago) == [2], "from the store"
        assert boards.facts().fillings == fillings


async def test_a_board_is_read_anew_after_hours_whatever_it_has(store: ResultStore, where: RedisOptions) -> None:
    """So that whatever went wrong ends: here a result that was never submitted."""
    now_ms = float(NOON_MS)
    async with RedisServers(where) as servers:
        boards = RedisBoards(servers, store, OPTIONS, clock_ms=lambda: now_ms)
        async with boards:
            await boards.rebuild(BOARD, ALL)
            await store.write([typed_by(1, 80)])
            assert await shown(boards) == []
            now_ms += 1.2 * OPTIONS.refill_s * 1000
            await until(boards, [1])


async def test_a_removed_user_is_gone_from_yesterday_s_board_too(store: ResultStore, where: RedisOptions) -> None:
    yesterday = Period(Span.DAY, TODAY - 1)
    async with boards_in(where, store) as first, boards_in(where, store) as second:
        await store.write([ranked(0, wpm=70, user=2, created_ms=NOON_MS - DAY_MS)])
        await first.rebuild(BOARD, yesterday)
        assert await shown(first, yesterday) == [2]
        await second.remove(2)
        assert await shown(first, yesterday) == []


@pytest.mark.parametrize("lost", [("ranks",), ("users",), ("about",), ("ranks", "users"), ("ranks", "users", "about")])
async def test_what_a_full_server_dropped_is_noticed(
    store: ResultStore, redis_single: RedisOptions, lost: tuple[str, ...]
) -> None:
    """Any key of a board may go; what is left is not taken for the board."""
    where = replace(redis_single, prefix=f"{uuid.uuid4().hex}:")
    async with RedisServers(where) as servers, RedisBoards(servers, store, OPTIONS) as boards:
        await boards.rebuild(BOARD, ALL)
        await boards.submit(await store.write([typed_by(1, 80), typed_by(2, 90)]))
        keys = [f"{where.prefix}leaderboard:{{{BOARD}:all}}:{part}" for part in lost]
        assert (await servers.ask(Call(keys[0], ("DEL", *keys)))).value == len(lost)
        await boards.submit(await store.write([typed_by(3, 70)]))
        await agreed(store, boards)


@pytest.mark.parametrize("lost", ["next-ranks", "next-users", "touched", "filling"])
async def test_a_filling_that_lost_a_part_is_no_board(
    store: ResultStore, redis_single: RedisOptions, lost: str
) -> None:
    where = replace(redis_single, prefix=f"{uuid.uuid4().hex}:")
    await store.write([typed_by(user, 50 + user) for user in (1, 2, 3)])
    paused = Paused(store)
    async with RedisServers(where) as servers, RedisBoards(servers, paused, OPTIONS) as boards:
        filling = asyncio.get_running_loop().create_task(boards.rebuild(BOARD, ALL))
        await paused.reading.wait()
        await boards.submit(await store.write([typed_by(4, 90)]))
        key = f"{where.prefix}leaderboard:{{{BOARD}:all}}:{lost}"
        assert (await servers.ask(Call(key, ("DEL", key)))).value == 1
        paused.go_on.set()
        with pytest.raises(StoreError, match="another process fills the board") as raised:
            await filling
        assert raised.value.retriable
        await boards.rebuild(BOARD, ALL)
        assert await shown(boards) == [4, 3, 2, 1]


async def test_who_was_the_only_one_leaves_an_empty_board(store: ResultStore, where: RedisOptions) -> None:
    only = typed_by(1, 80)
    async with boards_in(where, store) as boards:
        await boards.rebuild(BOARD, ALL)
        await boards.submit(await store.write([only]))
        await boards.submit(await store.write([copy_of(only, verdict="void", seen_live=1_000)]))
        await agreed(store, boards)


# -- faults ------------------------------------------------------------------------------------------------------


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> RedisServer:
    skip_without("redis")
    return RedisServer(tmp_path / "redis")


def at(server: RedisServer, *, call_ms: int = 10_000) -> RedisOptions:
    return RedisOptions(url=f"redis://{server.address}", call_ms=call_ms, retry_min_ms=50, retry_max_ms=200)


async def test_without_redis_the_store_answers_and_submitting_is_to_be_repeated(
    store: ResultStore, server: RedisServer
) -> None:
    """Killed and back with nothing, the board is filled again; meanwhile nobody hears of an empty one."""
    with server:
        async with boards_in(at(server), store) as boards:
            await boards.rebuild(BOARD, ALL)
            await boards.submit(await store.write([typed_by(1, 80)]))
            server.kill()
            told = await store.write([typed_by(2, 90)])
            with pytest.raises(StoreError) as raised:
                await boards.submit(told)
            assert raised.value.retriable
            assert await shown(boards) == [2, 1]
            around = await boards.around(BOARD, ALL, 1, count=3)
            assert [(entry.rank, entry.best.place.user) for entry in around.entries] == [(1, 2), (2, 1)]
            found = await boards.rank(BOARD, ALL, 1)
            assert found is not None
            assert found.rank == 2
            assert await boards.rank(BOARD, ALL, 3) is None
            with pytest.raises(StoreError):
                await boards.remove(1)
            with pytest.raises(StoreError):
                await boards.ping()
            server.start()
            await agreed(store, boards)
            await boards.submit(told)
            await agreed(store, boards)
            assert boards.facts().fallbacks > 0


async def test_too_deep_for_the_store_is_said_and_may_be_tried_again(store: ResultStore, server: RedisServer) -> None:
    async with boards_in(at(server), store, BoardsOptions()) as boards:
        assert (await boards.page(BOARD, ALL, offset=990, count=10)).entries == ()
        with pytest.raises(StoreError, match="beyond place 1000") as raised:
            await boards.page(BOARD, ALL, offset=991, count=10)
        assert raised.value.retriable


async def test_a_server_that_comes_back_with_an_old_board_is_not_believed(
    store: ResultStore, server: RedisServer
) -> None:
    with server:
        async with boards_in(at(server), store) as boards:
            await boards.rebuild(BOARD, ALL)
            await boards.submit(await store.write([typed_by(1, 80)]))
            server.ask("save")
            await boards.submit(await store.write([typed_by(2, 90)]))
            server.kill()
            server.start()
            assert server.ask("zcard", f"typegate:leaderboard:{{{BOARD}:all}}:ranks") == "1"
            await agreed(store, boards)


async def test_a_server_that_hangs_is_made_up_for(store: ResultStore, server: RedisServer) -> None:
    """What was sent to it may have landed or not: submitted again it is there once."""
    with server:
        async with boards_in(at(server), store) as patient, boards_in(at(server, call_ms=1_000), store) as boards:
            await patient.rebuild(BOARD, ALL)
            told = await store.write([typed_by(1, 80), typed_by(2, 90)])
            server.pause()
            with pytest.raises(StoreError):
                await boards.submit(told)
            assert await shown(boards) == [2, 1]
            server.resume()
            async with asyncio.timeout(120):
                while True:
                    try:
                        await boards.submit(told)
                        break
                    except StoreError:
                        await asyncio.sleep(0.01)
            await agreed(store, boards)


async def test_a_full_server_takes_nothing_and_still_answers(store: ResultStore, server: RedisServer) -> None:
    with server:
        async with boards_in(at(server), store) as boards:
            await boards.rebuild(BOARD, ALL)
            await boards.submit(await store.write([typed_by(1, 80)]))
            server.ask("config", "set", "maxmemory", "1")
            told = await store.write([typed_by(2, 90)])
            with pytest.raises(StoreError, match="is full"):
                await boards.submit(told)
            assert await shown(boards) == [1], "it answers as of before"
            with pytest.raises(StoreError, match="is full"):
                await boards.rebuild(BOARD, ALL)
            server.ask("config", "set", "maxmemory", "0")
            await boards.submit(told)
            await agreed(store, boards)


async def test_a_wrong_password_costs_the_boards_and_no_answer(
    store: ResultStore, server: RedisServer, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("wrong")
    await store.write([typed_by(1, 80)])
    with server:
        server.ask("config", "set", "requirepass", "right")
        async with boards_in(replace(at(server), password_file=tmp_path / "password"), store) as boards:
            assert await shown(boards) == [1]
            with pytest.raises(StoreError, match="invalid username-password pair"):
                await boards.ping()


async def test_after_a_failover_boards_are_filled_again(store: ResultStore, tmp_path: Path) -> None:
    """The replica may lag behind what its master had acknowledged."""
    skip_without("redis")
    with RedisCluster(tmp_path / "cluster") as cluster:
        where = RedisOptions(nodes=tuple(cluster.addresses), call_ms=10_000, retry_min_ms=50, retry_max_ms=200)
        key = f"typegate:leaderboard:{{{BOARD}:all}}:ranks"
        async with boards_in(where, store) as boards:
            await boards.rebuild(BOARD, ALL)
            await boards.submit(await store.write([typed_by(1, 80)]))
            dead = cluster.owner(key)
            dead.kill()
            told = await store.write([typed_by(2, 90)])
            with pytest.raises(StoreError):
                await boards.submit(told)
            assert await shown(boards) == [2, 1]
            await asyncio.to_thread(cluster.wait_other_owner, key, dead)
            await agreed(store, boards)
            await boards.submit(told)
            await agreed(store, boards)
            assert boards.facts().fillings >= 2
