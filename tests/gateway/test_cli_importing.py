"""`typegate migrate import`, as an operator uses it, between real servers."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from loadtest.servers.addresses import Addresses
from persistence.mysql.dsn import Dsn
from persistence.mysql.migrating import migrations
from session.identity import bucket_of_user
from tests.gateway.running import ROOT, environment
from tests.persistence.importing.oldsite import GOOD, ODD_RESULTS, ODD_TESTS, TESTS, OldSite, make_shards
from tests.persistence.mysql_shards import MysqlShards, make_database

ROWS = 100_000
USERS = 5_000
WRITTEN_FROM = 300_001
PATIENCE_S = 600


@pytest.fixture(scope="module")
def shards_of_then(mariadb_servers: Addresses) -> MysqlShards:
    return make_shards(mariadb_servers)


@pytest.fixture
def shards(shards_of_then: MysqlShards) -> MysqlShards:
    shards_of_then.clear()
    return shards_of_then


@pytest.fixture
def old(mariadb_servers: Addresses, fresh_name: Callable[[str], str]) -> OldSite:
    site = OldSite(Dsn.parse(make_database(mariadb_servers["content"], fresh_name("old"))))
    site.make()
    return site


class Command:
    """The command, with the settings of two shards."""

    def __init__(self, old: OldSite, shards: MysqlShards, folder: Path) -> None:
        self.report = folder / "bad.jsonl"
        self.words = ["migrate", "import", old.address, "--report", str(self.report)]
        self.variables = {
            "TYPEGATE_MYSQL_SHARDS": json.dumps(shards.options.shards),
            **{f"TYPEGATE_MYSQL_{name}_MS": "60000" for name in ("CONNECT", "WAIT", "READ", "WRITE")},
            "TYPEGATE_NODE_DATA": str(folder / "data"),
            "COLUMNS": "200",
        }

    def __call__(self, *words: str, **variables: str) -> Result:
        """Run it in this process."""
        return CliRunner(env=self.variables | variables).invoke(main, [*self.words, *words])

    def start(self) -> "subprocess.Popen[bytes]":
        """Start it as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", *self.words],
            cwd=ROOT,
            env=environment() | self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def bad(self) -> dict[tuple[str, int], Mapping[str, Any]]:
        """The report's lines."""
        lines = map(json.loads, self.report.read_text().splitlines())
        return {(line["table"], line["id"]): line for line in lines}


@pytest.fixture
def command(old: OldSite, shards: MysqlShards, tmp_path: Path) -> Command:
    return Command(old, shards, tmp_path)


def output(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.output


def sums(shards: MysqlShards, columns: str, tables: str) -> list[int]:
    """Sums over both shards."""
    rows = [shards.ask(shard, f"SELECT {columns} FROM {tables}")[0] for shard in shards.dsns]
    return [sum(int(value or 0) for value in values) for values in zip(*rows, strict=True)]


RESULTS = (
    "(SELECT id, wpm, errors, duration_ms FROM test_results UNION ALL "
    "SELECT id, wpm, errors, duration_ms FROM test_results_late) AS mine"
)


def test_a_dry_run_reads_everything_and_writes_nothing(command: Command, old: OldSite, shards: MysqlShards) -> None:
    old.fill(200)
    odd = old.put("test_results", ODD_RESULTS, first=1001)
    bad = sum(one.reason is not None for one in odd.values())
    said = output(command("--dry-run"))
    assert f"tests: {TESTS} good, 0 bad" in said
    assert f"results: {200 + len(odd) - bad} good, {bad} bad" in said
    assert "test_results: wpm is not a number from 0 to 1,000" in said
    assert "Nothing was written." in said
    assert len(command.bad()) == bad
    assert sums(shards, "COUNT(*)", RESULTS) == [0]
    assert sums(shards, "COUNT(*)", "imports") == [0]
    assert not Path(command.variables["TYPEGATE_NODE_DATA"]).exists()


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ("data = JSON_REPLACE(CONVERT(data USING utf8mb4), '$.accuracy', 0.97)", "--accuracy fraction"),
        ("data = JSON_REPLACE(CONVERT(data USING utf8mb4), '$.duration', 61000)", "--duration ms"),
    ],
)
def test_a_dry_run_sees_units_that_cannot_be_meant(command: Command, old: OldSite, change: str, advice: str) -> None:
    old.fill(20)
    assert advice not in output(command("--dry-run"))
    old.ask(f"UPDATE test_results SET {change}")
    assert advice in output(command("--dry-run"))


def test_the_report_names_each_bad_row_and_why(command: Command, old: OldSite) -> None:
    old.ask(f"""INSERT INTO test_results (id, data) VALUES (5, '{json.dumps(GOOD | {"wpm": "fast"})}')""")
    said = output(command())
    assert f"Bad rows: 1; {command.report} has them, with the reason." in said
    assert command.bad()["test_results", 5]["reason"] == "wpm is 'fast'; allowed: a number from 0 to 1,000"
    assert '"wpm": "fast"' in command.bad()["test_results", 5]["excerpt"]
    assert os.stat(command.report).st_mode & 0o777 == 0o600
    old.ask("DELETE FROM test_results")
    assert "Bad rows" not in output(command())
    assert command.bad() == {}


def test_after_trust_the_leaderboards_are_to_be_filled(command: Command, old: OldSite) -> None:
    old.fill(20)
    assert "For the leaderboards now start the servers again" in output(command("--trust"))
    with_redis = command("--trust", TYPEGATE_REDIS_URL="redis://127.0.0.1:1/0")
    assert "now run `typegate leaderboards rebuild`." in output(with_redis)


def test_other_options_than_before_are_refused_unless_meant(command: Command, old: OldSite) -> None:
    old.fill(20)
    output(command())
    refused = command("--language", "de")
    assert refused.exit_code == 1
    assert "begun with other options: en, percent, seconds, UTC, not trusted (1); now they are de, percent" in (
        refused.output
    )
    assert command("--language", "de", "--verify").exit_code == 1
    assert "20 changed" in output(command("--language", "de", "--again"))


def test_another_database_under_the_same_name_is_refused_unless_meant(
    command: Command, old: OldSite, mariadb_servers: Addresses
) -> None:
    old.fill(20)
    output(command())
    elsewhere = command.words[2].replace("127.0.0.1", "localhost")
    command.words[2] = elsewhere
    refused = command()
    assert refused.exit_code == 1
    assert f"is of 127.0.0.1:{old.dsn.port}/{old.dsn.database}, and not of localhost:" in refused.output
    assert "results: 0 new, 0 changed, 0 bad" in output(command("--moved"))


def test_a_verification_alone_tells_what_is_to_be_done(command: Command, old: OldSite, shards: MysqlShards) -> None:
    early = command("--verify")
    assert early.exit_code == 1
    assert "nothing was imported from 'old'" in early.output
    old.fill(20)
    output(command())
    old.ask("UPDATE test_results SET data = '{}' WHERE id = 3")
    behind = command("--verify")
    assert behind.exit_code == 1
    assert "1 changed at the old place since they were imported: 3" in behind.output
    assert "Run the import again: it takes up what has changed" in behind.output
    output(command())
    for shard in shards.dsns:
        shards.ask(shard, "DELETE FROM test_results")
    lost = command("--verify")
    assert lost.exit_code == 1
    assert "20 imported, and not in the store: 1, 2, 3" in lost.output
    assert "--restore" in lost.output
    old.ask(
        "UPDATE test_results AS its JOIN test_results AS one ON one.id = 7 SET its.data = one.data WHERE its.id = 3"
    )
    assert "Verified: 20 results" in output(command("--restore"))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--dry-run", "--verify"], "exclude one another"),
        (["--restore", "--no-verify"], "exclude one another"),
        (["--name", "Old Site"], "the name is 'Old Site'; allowed are"),
        (["--timezone", "Mars"], "the time zone is 'Mars'; allowed is a name"),
        (["--accuracy", "permille"], "'permille' is not one of 'percent', 'fraction'"),
    ],
)
def test_options_that_cannot_be_are_refused(command: Command, words: list[str], why: str) -> None:
    refused = command(*words)
    assert refused.exit_code == 2
    assert why in refused.output


def test_an_address_that_is_none_is_refused_without_its_password(command: Command) -> None:
    command.words[2] = "postgres://reader:hunter2@db/site"
    refused = command()
    assert refused.exit_code == 2
    assert "begins with postgres://; write mysql://" in refused.output
    assert "hunter2" not in refused.output


def test_the_password_may_come_from_a_file(command: Command, old: OldSite, tmp_path: Path) -> None:
    command.words[2] = old.address.replace(f":{old.dsn.password}@", "@")
    (tmp_path / "password").write_text(f"{old.dsn.password}\n")
    assert "results: 0 new" in output(command("--password-file", str(tmp_path / "password")))


def test_a_shard_that_is_not_up_to_date_is_told(command: Command, shards: MysqlShards) -> None:
    (imports,) = (one for one in migrations("results") if one.name == "imports")
    shards.ask("b", f"DELETE FROM schema_migrations WHERE version = {imports.version}")
    try:
        refused = command()
    finally:
        applied = f"{imports.version}, 'imports', x'{imports.digest.hex()}', NOW()"
        shards.ask("b", f"INSERT INTO schema_migrations VALUES ({applied})")
    assert refused.exit_code == 1
    assert f"shard 'b': the database lacks {imports.title}; run `typegate migrate up`" in refused.output


def test_without_shards_there_is_nowhere_to_import_to(command: Command) -> None:
    refused = command(TYPEGATE_MYSQL_SHARDS="")
    assert refused.exit_code == 1
    assert "There is no MySQL: mysql.shards is empty." in refused.output


# the last of the module, for nothing is as slow as emptying the tables after it
def test_a_hundred_thousand_rows_survive_a_kill_and_a_writer(
    command: Command, old: OldSite, shards: MysqlShards
) -> None:
    """Killed between the two shards of a chunk, taken up while people type at the old place, and verified."""
    old.fill(ROWS, users=USERS)
    odd = old.put("test_results", ODD_RESULTS, first=200_001)
    odd_tests = old.put("tests", ODD_TESTS, first=501)
    bad = {("test_results", id_) for id_, one in odd.items() if one.reason is not None}
    bad |= {("tests", id_) for id_, one in odd_tests.items() if one.reason is not None}

    half = ROWS // 2
    held = next(id_ for id_ in range(half + 1, ROWS) if bucket_of_user(1 + id_ * 7919 % USERS) >= 2048)
    process = command.start()
    with _held_up(shards, held):
        _wait_until(lambda: _entries_beyond(shards, "a", held) > 0, process)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert process.stdout is not None
        process.stdout.close()
    ((done_to, finished_at),) = shards.ask("a", "SELECT done_to, finished_at FROM imports")
    assert (done_to < held, finished_at) == (True, None)
    assert _entries_beyond(shards, "b", done_to) == 0, "it was killed between two shards"

    process = command.start()
    with _writer(old) as written:
        said, _ = process.communicate()
    assert process.returncode == 0, said.decode()
    assert len(written) > 0
    assert command.bad().keys() == bad

    said_then = output(command("--no-verify"))
    assert "tests: 0 new, 0 changed, 6 bad" in said_then
    assert "Verified: " in output(command("--verify"))

    rows = ROWS + len(written) + sum(one.reason is None for one in odd.values())
    assert sums(shards, "COUNT(*), COUNT(DISTINCT id)", RESULTS) == [rows, rows]
    assert sums(shards, "COUNT(*), COUNT(DISTINCT old_id)", "imported_results") == [rows, rows]
    assert sums(shards, "SUM(tests)", "user_progress") == [rows]
    field = "SUM(ROUND({} * JSON_VALUE(CONVERT(data USING utf8mb4), '$.{}')))"
    ((*there,),) = old.ask(
        f"SELECT COUNT(*), {field.format(100, 'wpm')}, {field.format(1, 'errors')}, {field.format(1000, 'duration')} "
        f"FROM test_results WHERE id <= {ROWS} OR id >= {WRITTEN_FROM}"
    )
    here = sums(
        shards,
        "COUNT(*), SUM(wpm * 100), SUM(errors), SUM(duration_ms)",
        f"imported_results JOIN {RESULTS} USING (id) WHERE old_id <= {ROWS} OR old_id >= {WRITTEN_FROM}",
    )
    assert here == [int(value) for value in there]  # type: ignore[call-overload]  # numbers all


def _entries_beyond(shards: MysqlShards, shard: str, old_id: int) -> int:
    ((count,),) = shards.ask(shard, f"SELECT COUNT(*) FROM imported_results WHERE old_id > {old_id}")
    return int(count)


@contextmanager
def _held_up(shards: MysqlShards, old_id: int) -> Iterator[None]:
    """Let shard `b` wait with the entry of a row, as for a lock of somebody else's."""
    dsn = shards.dsns["b"]
    with (
        pymysql.connect(
            host=dsn.host, port=dsn.port, user=dsn.user, password=dsn.password or "", database=dsn.database
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f"INSERT INTO imported_results VALUES ('old', {old_id}, x'{'00' * 16}', 0, 0)")
        yield
        connection.rollback()


def _wait_until(true: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < until, "the import has not come so far"
        if process.poll() is not None:
            assert process.stdout is not None
            pytest.fail(f"the import has ended: {process.stdout.read().decode()}")
        time.sleep(0.05)


@contextmanager
def _writer(old: OldSite) -> Iterator[set[int]]:
    """Type at the old place: new rows, and old ones that change. Yields the new ones' ids."""
    written: set[int] = set()
    over = threading.Event()

    def write() -> None:
        id_ = WRITTEN_FROM
        while True:
            rows = range(id_, id_ + 20)
            data = [json.dumps(GOOD | {"user_id": 1 + one % USERS, "wpm": 40 + one % 50}) for one in rows]
            values = ", ".join(f"({one}, '{row}')" for one, row in zip(rows, data, strict=True))
            changed = ", ".join(str(1 + one * 7907 % ROWS) for one in rows)
            old.ask(
                f"INSERT INTO test_results (id, data) VALUES {values}",
                "UPDATE test_results SET data = JSON_REPLACE(CONVERT(data USING utf8mb4), '$.wpm', 33.25) "
                f"WHERE id IN ({changed})",
            )
            written.update(rows)
            id_ = rows.stop
            if over.wait(0.2):
                return

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield written
    finally:
        over.set()
        thread.join()
