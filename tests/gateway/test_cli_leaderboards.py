"""`typegate leaderboards`, with and without Redis."""

import json
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from persistence.boards import BoardsOptions
from persistence.cache import CacheOptions
from persistence.folder import DataFolder
from persistence.front import in_front_of
from persistence.redis import RedisOptions
from persistence.results import Board, Period, Span, SqliteResults
from persistence.results.bests import DAY_MS
from persistence.results.mysql import MysqlResults
from tests.clock import today
from tests.gateway.running import command
from tests.persistence.mysql_shards import MysqlShards
from tests.persistence.samples import T0_MS, ranked

pytestmark = pytest.mark.usefixtures("same_day")


@pytest.fixture(name="folder")
async def _folder(tmp_path: Path) -> Path:
    """A working directory with a data folder: users 1 to 5 today, user n with 50 + n wpm."""
    folder = DataFolder(tmp_path / "data")
    folder.open()
    async with SqliteResults(folder.results) as store:
        await store.write([ranked(n, wpm=50 + n, user=n, created_ms=today() * DAY_MS + n) for n in range(1, 6)])
    return tmp_path


async def test_a_board_is_shown(folder: Path) -> None:
    code, output, errors = await command("leaderboards", "show", "time-15-en", "--span", "day", folder=folder)
    assert (code, errors) == (0, "")
    rows = [line.split("│")[1:5] for line in output.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row][::3] for row in rows] == [[str(i), str(6 - i)] for i in range(1, 6)]
    assert "55.00" in output
    assert "5 on it" in output
    code, output, _ = await command("leaderboards", "show", "time-15-en", "--from", "4", "--count", "1", folder=folder)
    assert [line.split("│")[4].strip() for line in output.splitlines() if line.startswith("│")] == ["2"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["show", "time-60-en"], 1, "Nobody is on time-60-en (all) yet."),
        (["show", "time-15-en", "--from", "99"], 1, "Nobody is on time-15-en (all) from place 99 on."),
        (["show", "time-15-en", "--span", "week", "--ago", "1"], 1, "Nobody is on"),
        (["show", "time-16-en"], 1, "there is no board 'time-16-en'; there are time-15-en"),
        (["show", "time-15-en", "--data", "nowhere"], 1, "There is no store at nowhere"),
        (["show", "time-15-en", "--span", "year"], 2, "'year' is not one of 'day', 'week', 'all'"),
        (["rebuild"], 1, "There is no Redis"),
    ],
)
async def test_what_cannot_be_done_is_told(folder: Path, words: list[str], code: int, told: str) -> None:
    ended, _, errors = await command("leaderboards", *words, folder=folder)
    assert ended == code
    assert told in errors


@pytest.mark.parametrize("where", ["redis_single", "redis_cluster"])
async def test_boards_in_redis_are_read_from_the_store_again(
    folder: Path, where: str, request: pytest.FixtureRequest
) -> None:
    """All of them, or those named; what lay there and is not in the store is gone."""
    found: RedisOptions = request.getfixturevalue(where)
    options = replace(found, prefix=f"{uuid.uuid4().hex}:")
    redis = {
        "TYPEGATE_REDIS_URL": options.url,
        "TYPEGATE_REDIS_NODES": ",".join(options.nodes),
        "TYPEGATE_REDIS_PREFIX": options.prefix,
        "TYPEGATE_REDIS_CALL_MS": str(options.call_ms),
    }
    board, day = Board("time", 15, "en"), Period(Span.DAY, today())
    async with (
        SqliteResults(folder / "elsewhere.db") as elsewhere,
        in_front_of(elsewhere, redis=options, cache=CacheOptions(), boards=BoardsOptions(), alone=True) as front,
    ):
        await elsewhere.write([ranked(9, wpm=99, user=9, created_ms=today() * DAY_MS)])
        await front.boards.rebuild(board, day)

        async def users() -> list[int]:
            page = await front.boards.page(board, day, offset=0, count=9)
            return [entry.best.place.user for entry in page.entries]

        assert await users() == [9]
        one = await command("leaderboards", "rebuild", "time-15-en", "--span", "day", folder=folder, **redis)
        assert one[:2] == (0, "Rebuilt 1 of 1 boards: 5 entries.\n")
        assert await users() == [5, 4, 3, 2, 1]
    code, output, _ = await command("leaderboards", "rebuild", folder=folder, **redis)
    assert code == 0
    assert output == "Rebuilt 72 of 72 boards: 15 entries.\n"


async def test_a_redis_that_is_away_is_told(folder: Path) -> None:
    nowhere = {"TYPEGATE_REDIS_URL": "redis://127.0.0.1:1", "TYPEGATE_REDIS_CALL_MS": "10000"}
    code, output, errors = await command("leaderboards", "rebuild", "time-15-en", folder=folder, **nowhere)
    assert code == 1
    assert output == "Rebuilt 0 of 3 boards: 0 entries.\n"
    assert "time-15-en (all): Redis at 127.0.0.1:1 cannot be used: connection refused." in errors
    shown = await command("leaderboards", "show", "time-15-en", folder=folder, **nowhere)
    assert shown[0] == 0, "the store knows"


async def test_boards_are_read_from_all_shards(
    tmp_path: Path, redis_single: RedisOptions, mysql_shards: MysqlShards
) -> None:
    """Users of every shard are on one board, in order."""
    mysql_shards.clear()
    async with MysqlResults(mysql_shards.options, clock_ms=lambda: T0_MS) as store:
        await store.write([ranked(n, wpm=50 + n, user=n) for n in range(1, 21)])
    variables = {
        "TYPEGATE_MYSQL_SHARDS": json.dumps(mysql_shards.options.shards),
        **{f"TYPEGATE_MYSQL_{name}_MS": "60000" for name in ("CONNECT", "WAIT", "READ")},
        "TYPEGATE_REDIS_URL": redis_single.url,
        "TYPEGATE_REDIS_PREFIX": f"{uuid.uuid4().hex}:",
        "TYPEGATE_REDIS_CALL_MS": str(redis_single.call_ms),
    }
    code, output, errors = await command(
        "leaderboards", "rebuild", "time-15-en", "--span", "all", folder=tmp_path, **variables
    )
    assert (code, output) == (0, "Rebuilt 1 of 1 boards: 20 entries.\n"), errors
    code, output, errors = await command("leaderboards", "show", "time-15-en", folder=tmp_path, **variables)
    assert code == 0, errors
    shown = [line.split("│")[4].strip() for line in output.splitlines() if line.startswith("│")]
    assert shown == [str(user) for user in range(20, 0, -1)]
