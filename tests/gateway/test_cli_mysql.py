"""The commands on MySQL's databases, against real servers."""

import asyncio
import json
import re
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from loadtest.servers.addresses import Addresses
from persistence.mysql.migrating import migrations
from persistence.results.mysql import MysqlResults
from session.identity import bucket_of_user
from tests.persistence.mysql_shards import MysqlShards, make_database, patient
from tests.persistence.samples import sample

USER_A = next(user for user in range(1, 99) if bucket_of_user(user) < 2048)


class Commands:
    """Runs commands with the settings of two shards, whose databases are empty at first."""

    def __init__(self, a: str, b: str) -> None:
        self.options = patient(shards=(f"a 0-2047 {a}", f"b 2048-4095 {b}"), refresh_ms=100)
        self._environment = {
            "TYPEGATE_MYSQL_SHARDS": json.dumps(self.options.shards),
            "TYPEGATE_MYSQL_REFRESH_MS": "100",
            **{f"TYPEGATE_MYSQL_{name}_MS": "60000" for name in ("CONNECT", "WAIT", "READ", "WRITE")},
            "COLUMNS": "200",
        }

    def __call__(self, *words: str, **variables: str) -> Result:
        return CliRunner(env=self._environment | variables).invoke(main, words)


@pytest.fixture
def commands(mariadb_servers: Addresses, fresh_name: Callable[[str], str]) -> Commands:
    name = fresh_name("commands")
    return Commands(*(make_database(address, name) for address in mariadb_servers["shards"]))


def lines(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def test_migrations_are_shown_applied_and_shown_again(commands: Commands) -> None:
    before = commands("migrate", "status")
    assert before.exit_code == 1
    known = migrations("results")
    assert before.output.count("missing") == 2 * len(known)
    assert "Run `typegate migrate up`." in before.output
    done = ", ".join(migration.title for migration in known)
    assert lines(commands("migrate", "up")) == [f"shard a: {done}", f"shard b: {done}"]
    assert lines(commands("migrate", "up")) == ["shard a: is up to date", "shard b: is up to date"]
    after = "\n".join(lines(commands("migrate", "status")))
    assert after.count("0001_results") == 2
    assert "missing" not in after


def test_partitions_are_made_ahead_and_listed(commands: Commands) -> None:
    commands("migrate", "up")
    assert lines(commands("partitions", "ensure")) == ["shard a: all are there", "shard b: all are there"]
    more = lines(commands("partitions", "ensure", TYPEGATE_MYSQL_PARTITIONS_AHEAD="5"))
    assert [line.count("p20") for line in more] == [2, 2]
    listed = "\n".join(lines(commands("partitions", "list")))
    assert listed.count("pmax") == 2
    for name in more[0].partition("made ")[2].split(", "):
        assert listed.count(name) == 2


def test_partitions_of_days(commands: Commands) -> None:
    """A new database with days from the first hot one on; more of them ahead; then months again."""
    daily = {"TYPEGATE_MYSQL_PARTITION": "day", "TYPEGATE_MYSQL_HOT_DAYS": "5"}
    commands("migrate", "up", **daily)
    assert lines(commands("partitions", "ensure", **daily))[0] == "shard a: all are there"
    listed = re.findall(r"a\s+│ p(\d+)\s+│ (\S+)", "\n".join(lines(commands("partitions", "list", **daily))))
    days = [date.fromisoformat(name) for name, _ in listed]
    assert days == [days[0] + timedelta(days=i) for i in range(len(days))]
    assert [date.fromisoformat(until) for _, until in listed] == [day + timedelta(days=1) for day in days]
    assert len(days) in (5 + 1 + 3, 5 + 1 + 3 + 1), "those that are hot, today, three ahead; or it was midnight"
    more = commands("partitions", "ensure", TYPEGATE_MYSQL_PARTITIONS_AHEAD="10", **daily)
    assert [line.count("p20") for line in lines(more)] in ([7, 7], [8, 8])
    months = lines(commands("partitions", "ensure"))
    assert all(re.fullmatch(r"shard [ab]: made p\d{6}(, p\d{6})*", line) for line in months)


@pytest.mark.parametrize(
    ("words", "variables", "why"),
    [
        (["partitions", "list"], {}, "there is no table test_results yet; run `typegate migrate up`."),
        (["partitions", "ensure"], {}, "run `typegate migrate up`."),
        (["partitions", "list"], {"PARTITION": "week"}, "is 'week'; input should be 'month' or 'day'."),
        (["partitions", "ensure"], {"PARTITIONS_AHEAD": "0"}, "partitions_ahead is 0; allowed is 1 to 366."),
    ],
)
def test_partitions_that_cannot_be_say_why(
    commands: Commands, words: list[str], variables: dict[str, str], why: str
) -> None:
    refused = commands(*words, **{f"TYPEGATE_MYSQL_{name}": value for name, value in variables.items()})
    assert refused.exit_code in (1, 2)
    assert why in refused.output


async def test_a_bucket_is_moved_and_shards_are_listed(commands: Commands) -> None:
    def run(*words: str) -> str:
        return "\n".join(lines(commands(*words)))

    await asyncio.to_thread(run, "migrate", "up")
    async with MysqlResults(commands.options) as store:
        now_ms = int(time.time() * 1000)  # older ones are late some day, and lie elsewhere
        await store.write([sample(i, user=USER_A, created_ms=now_ms + i) for i in range(3)])
    bucket = str(bucket_of_user(USER_A))
    moved = await asyncio.to_thread(run, "shards", "move", bucket, "b")
    assert f"Bucket {bucket} is in shard b: 3 results were the same in both, and 1 users' rows" in moved
    listed = await asyncio.to_thread(run, "shards", "list")
    here = next(line for line in listed.splitlines() if "2048-4095" in line)
    assert here.count(f"{bucket}") == 2, "among its buckets, and among those that moved there"
    assert MysqlShards(commands.options).ask("b", "SELECT COUNT(*) FROM test_results") == [(3,)]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["shards", "move", "9999", "a"], "there is no bucket 9999; there are 0 to 4095."),
        (["shards", "move", "1", "z"], "there is no shard 'z'; there are a, b."),
        (["shards", "move", "1", "a"], "bucket 1 is in shard 'a' already."),
    ],
)
def test_a_move_that_is_none_says_why(commands: Commands, words: list[str], why: str) -> None:
    commands("migrate", "up")
    refused = commands(*words)
    assert refused.exit_code == 1
    assert why in refused.output


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["migrate", "up"], "mysql.shards and mysql.content are empty."),
        (["migrate", "status"], "mysql.shards and mysql.content are empty."),
        (["partitions", "list"], "mysql.shards is empty."),
        (["shards", "list"], "mysql.shards is empty."),
    ],
)
def test_without_databases_there_is_nothing_to_do(words: list[str], why: str) -> None:
    refused = CliRunner(env={"TYPEGATE_MYSQL_SHARDS": "", "TYPEGATE_MYSQL_CONTENT": ""}).invoke(main, words)
    assert refused.exit_code == 1
    assert f"There is no MySQL: {why}" in refused.output


@pytest.fixture
def content(mariadb_servers: Addresses, fresh_name: Callable[[str], str]) -> str:
    """The address of an empty database."""
    return make_database(mariadb_servers["content"], fresh_name("content"))


def test_the_content_database_is_migrated_beside_the_shards(commands: Commands, content: str) -> None:
    before = commands("migrate", "status", TYPEGATE_MYSQL_CONTENT=content)
    assert before.exit_code == 1
    known = migrations("results")
    assert before.output.count("missing") == 2 * len(known) + len(migrations("content"))
    *shards, own = lines(commands("migrate", "up", TYPEGATE_MYSQL_CONTENT=content))
    done = ", ".join(migration.title for migration in known)
    assert shards == [f"shard a: {done}", f"shard b: {done}"]
    assert re.fullmatch(
        r"content: 0001_content, 0002_bans, 0003_ban_changes; \d+ built-in tests and word lists put in", own
    )
    assert lines(commands("migrate", "up", TYPEGATE_MYSQL_CONTENT=content))[2] == "content: is up to date"
    assert "missing" not in "\n".join(lines(commands("migrate", "status", TYPEGATE_MYSQL_CONTENT=content)))


def test_the_catalogue_is_in_the_content_database_for_every_command(content: str, tmp_path: Path) -> None:
    """Imported with one data folder, it is there with another; nothing of it is in either."""
    runner = CliRunner(env={"TYPEGATE_MYSQL_CONTENT": content, "COLUMNS": "200"})
    here, there = ("--data", str(tmp_path / "here")), ("--data", str(tmp_path / "there"))
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([{"id": 17, "title": "A zoo", "text": "One two.", "language": "en", "category": "zoo"}]))
    refused = runner.invoke(main, ["tests", "import", str(rows), *here])
    assert refused.exit_code == 1
    assert (
        "the content database: the database lacks 0001_content, 0002_bans, 0003_ban_changes; run `typegate migrate up`."
        in refused.output
    )
    lines(runner.invoke(main, ["migrate", "up"]))
    assert "1 new, 0 changed" in lines(runner.invoke(main, ["tests", "import", str(rows), *here]))[-1]
    assert "0 new, 0 changed, 1 as before" in lines(runner.invoke(main, ["tests", "import", str(rows), *there]))[-1]
    assert "A zoo" in "\n".join(lines(runner.invoke(main, ["tests", "list", "--category", "zoo", *there])))
    assert "One two." in lines(runner.invoke(main, ["tests", "show", "17", *there]))
    lines(runner.invoke(main, ["tests", "export", str(tmp_path / "bundle"), *there]))
    assert (tmp_path / "bundle" / "v1" / "tests" / "17.json").exists()
    checked = "\n".join(runner.invoke(main, ["check", *there]).output.splitlines())
    assert re.search(r"content database .* ok .* \d+ passages, \d+ word lists", checked), checked
    assert not (tmp_path / "here").exists()
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("words", [["migrate", "up"], ["tests", "list"], ["check"]])
def test_a_content_database_that_is_away_is_told(words: list[str], tmp_path: Path) -> None:
    """Without a password in the sentence."""
    environment = {"TYPEGATE_MYSQL_CONTENT": "mysql://typegate:hunter2@127.0.0.1:1/content", "COLUMNS": "300"}
    refused = CliRunner(env=environment).invoke(main, [*words, "--data", str(tmp_path / "data")])
    assert refused.exit_code == 1
    assert "the content database: cannot connect to 127.0.0.1:1/content" in refused.output
    assert "hunter2" not in refused.output


def test_a_database_that_is_away_is_told_with_its_shard() -> None:
    shards = json.dumps(["a 0-4095 mysql://typegate:hunter2@127.0.0.1:1/results"])
    refused = CliRunner(env={"TYPEGATE_MYSQL_SHARDS": shards}).invoke(main, ["migrate", "up"])
    assert refused.exit_code == 1
    assert "shard 'a': cannot connect to 127.0.0.1:1/results" in refused.output
    assert "hunter2" not in refused.output


def test_a_hole_in_the_map_is_told_before_anything_is_done() -> None:
    refused = CliRunner(env={"TYPEGATE_MYSQL_SHARDS": json.dumps(["a 0-99 mysql://u@h/d"])}).invoke(main, ["check"])
    assert refused.exit_code == 2
    assert "buckets 100-4095 have no shard" in refused.output


def test_check_tries_replicas(commands: Commands, tmp_path: Path) -> None:
    """One that is away, and one that follows another shard: of a user's history it would give nothing, unnoticed."""
    lines(commands("migrate", "up"))
    a, b = (server.dsn for server in commands.options.servers())
    for address, told in (
        (f"{a.host}:{a.port}/{a.database}", "1 follow their shards"),
        (f"{b.host}:{b.port}/{b.database}", "the database that the settings call shard 'a' is shard 'b'"),
        ("127.0.0.1:1/results", "cannot connect to 127.0.0.1:1/results"),
    ):
        replicas = json.dumps([f"a mysql://{a.user}:{a.password}@{address}"])
        checked = commands("check", "--data", str(tmp_path), TYPEGATE_MYSQL_REPLICAS=replicas, COLUMNS="400")
        (line,) = [line for line in checked.output.splitlines() if "│ replicas" in line]
        assert told in line


def test_settings_are_shown_without_passwords() -> None:
    shards = json.dumps(["a 0-4095 mysql://typegate:hunter2@127.0.0.1:1/results"])
    environment: dict[str, Any] = {"TYPEGATE_MYSQL_SHARDS": shards, "COLUMNS": "300"}
    shown = CliRunner(env=environment).invoke(main, ["check", "--settings"])
    assert "mysql://typegate:***@127.0.0.1:1/results" in shown.output
    assert "hunter2" not in shown.output
