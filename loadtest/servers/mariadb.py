"""MariaDB or MySQL: servers on new or kept folders, replicas that follow a primary, and the set that Typegate wants.

Which of the two, and what differs: `dialects`.

What a commit wrote is with the kernel before the commit returns, though not on the disk: kill -9 loses nothing of it, a
power cut would. `durable=True` makes every commit wait for the disk as in production, for benchmarks.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pymysql
from pymysql.cursors import DictCursor

from loadtest.servers import dialects
from loadtest.servers.addresses import Addresses
from loadtest.servers.process import HOST, ServerProcess, cache_folder, unused_port

__all__ = ["MariaDb", "MariaDbServer"]

_USER = _PASSWORD = "typegate"
_FOLLOWS_S = 180
# No SUPER: a replica's `read_only` must bind the user. The administrator has no password, and is on this machine alone.
_ACCOUNTS = f"""\
CREATE USER '{_USER}'@'%' IDENTIFIED BY '{_PASSWORD}';
GRANT ALL PRIVILEGES ON `%`.* TO '{_USER}'@'%';
CREATE USER 'follower'@'%' IDENTIFIED BY '{_PASSWORD}';
GRANT REPLICATION SLAVE ON *.* TO 'follower'@'%';
"""


class MariaDbServer(ServerProcess):
    """One `mariadbd` or `mysqld`; `options` are more of its own: `"--max-connections=5"`.

    It keeps a binary log, so that another may `follow` it; `number` tells the servers of a set apart. One that was
    stopped or killed comes back with its data, and a replica goes on following.
    """

    def __init__(
        self, folder: Path, *options: str, name: str = "mariadb", number: int = 1, durable: bool = False
    ) -> None:
        port = unused_port()
        self._data = folder / "data"
        command = [
            *(dialects.program(), "--no-defaults", f"--user={getpass.getuser()}"),
            *(f"--bind-address={HOST}", f"--port={port}", f"--datadir={self._data}", "--socket=socket"),
            # of its own: a server that starts deletes the temporary tables in its folder, also those of others
            *(f"--tmpdir={folder / 'tmp'}", "--skip-name-resolve", "--max-connections=500"),
            *("--innodb-buffer-pool-size=64M", "--innodb-use-native-aio=0"),
            *(f"--server-id={number}", "--log-bin=binlog", *dialects.dialect().options),
            *(() if durable else ("--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0")),
            *options,
        ]
        super().__init__(name, command, folder=folder, port=port)

    def dsn(self, database: str = "") -> str:
        """A `mysql://` address of this server, or of a database in it, for a user who may do all but administer."""
        return f"mysql://{_USER}:{_PASSWORD}@{self.address}/{database}"

    def launch(self) -> None:
        """Start it and wait for nothing; a folder without data gets those of a new server."""
        if not self._data.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            part = self.folder / "data.part"
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(_new_data(), part)
            part.rename(self._data)
        (self.folder / "tmp").mkdir(exist_ok=True)
        super().launch()

    def ask(self, statement: str, *parameters: object) -> list[dict[str, Any]]:
        """Run a statement as the administrator; its rows, by name."""
        with (
            pymysql.connect(
                host=HOST, port=self.port, user="root", autocommit=True, cursorclass=DictCursor
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall())

    def follow(self, primary: MariaDbServer) -> None:
        """Replicate a primary from its first transaction on. To bind users to reading is for `--read-only`."""
        self.ask(dialects.dialect().follow, HOST, primary.port, _PASSWORD)
        self.ask("START REPLICA")

    def wait_followed_by(self, replica: MariaDbServer) -> None:
        """Wait until a replica has all that is committed here by now. Raises RuntimeError with what holds it up."""
        said = dialects.dialect()
        (here,) = self.ask(said.position)
        (there,) = replica.ask(said.wait, here["position"], _FOLLOWS_S)
        if there["outcome"] != 0:
            (status,) = replica.ask("SHOW REPLICA STATUS")
            why = status["Last_IO_Error"] or status["Last_SQL_Error"]
            raise RuntimeError(f"{replica.name} does not follow {self.name}: {why}\n{replica.log_tail()}")


def _new_data() -> Path:
    """The data of a server that has just been installed; made once and kept."""
    said = dialects.dialect()
    accounts_sql = said.administrator + _ACCOUNTS
    data = cache_folder("mariadb") / hashlib.sha256((dialects.version() + accounts_sql).encode()).hexdigest()[:12]
    if data.exists():
        return data
    with tempfile.TemporaryDirectory(prefix="part-", dir=data.parent) as folder:
        accounts = Path(folder) / "accounts.sql"
        accounts.write_text(accounts_sql, encoding="ascii")
        done = subprocess.run(
            [*said.install, f"--datadir={folder}/data", f"{said.accounts_option}={accounts}"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(
                f"a database server's data could not be made: {(done.stdout + done.stderr).strip()[-2000:]}"
            )
        # it names the server: each is to have a name of its own, and makes one where it finds none
        (Path(folder) / "data" / "auto.cnf").unlink(missing_ok=True)
        try:
            (Path(folder) / "data").rename(data)
        except OSError:
            if not data.exists():  # else another process was faster
                raise
    return data


class MariaDb:
    """Two shards, a replica of the first, and the server of the content database, each with a database `typegate`.

    `addresses()`: `shards` and `replicas` (of the first shard), lists of addresses, and `content`, all without the name
    of a database: tests make their own.
    """

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        def server(name: str, number: int, *options: str) -> MariaDbServer:
            return MariaDbServer(folder / name, *options, name=name, number=number, durable=durable)

        self.shards = [server("mariadb-a", 1), server("mariadb-b", 2)]
        self.replica = server("mariadb-a-replica", 3, "--read-only")
        self.content = server("mariadb-content", 4)

    @property
    def _servers(self) -> list[MariaDbServer]:
        return [*self.shards, self.replica, self.content]

    @staticmethod
    def missing() -> str | None:
        """Why it cannot run on this machine, and what to install; None where it can."""
        return dialects.missing()

    def start(self) -> None:
        """Start all four."""
        with ThreadPoolExecutor(len(self._servers)) as together:
            list(together.map(ServerProcess.start, self._servers))
        if not self.replica.ask("SHOW REPLICA STATUS"):
            self.replica.follow(self.shards[0])
        for server in (*self.shards, self.content):
            server.ask("CREATE DATABASE IF NOT EXISTS typegate")

    def stop(self) -> None:
        """Stop all four."""
        with ThreadPoolExecutor(len(self._servers)) as together:
            list(together.map(ServerProcess.stop, self._servers))

    def addresses(self) -> Addresses:
        """Where they are."""
        return {
            "shards": [shard.dsn() for shard in self.shards],
            "replicas": [self.replica.dsn()],
            "content": self.content.dsn(),
        }

    def settings(self) -> dict[str, str]:
        """The settings that name them."""
        a, b = (shard.dsn("typegate") for shard in self.shards)
        return {
            "TYPEGATE_MYSQL_SHARDS": json.dumps([f"a 0-2047 {a}", f"b 2048-4095 {b}"]),
            "TYPEGATE_MYSQL_REPLICAS": json.dumps([f"a {self.replica.dsn('typegate')}"]),
            "TYPEGATE_MYSQL_CONTENT": self.content.dsn("typegate"),
        }

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
