"""What MariaDB and MySQL are told in different words: how a server's first data are made, options, and replication.

Servers are this machine's MariaDB. `TYPEGATE_TEST_MYSQLD=/path/to/mysqld` names the program of a MySQL, from 8.0.30 on,
or of another MariaDB; then each server that is started is that one, those of tests that kill their own too.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from typing import Final

__all__ = ["VARIABLE", "Dialect", "dialect", "missing", "program", "version"]

VARIABLE: Final = "TYPEGATE_TEST_MYSQLD"


@dataclass(frozen=True, slots=True)
class Dialect:
    """One make of server."""

    install: tuple[str, ...]
    """The program that makes the data of a new server and its options, but for the folder and the accounts."""
    accounts_option: str
    """The option that names the file of statements that make the accounts."""
    administrator: str
    """The statements that file begins with: `root` comes in without a password, by TCP."""
    options: tuple[str, ...]
    """What a server starts with, beside what all makes have in common."""
    follow: str
    """The statement that makes a server follow another from its first transaction on: host, port, password."""
    position: str
    """The one that asks which transactions a server has, as `position`."""
    wait: str
    """The one that waits until a position is reached, so many seconds at most; `outcome` is 0 when it is."""


def program() -> str:
    """The server program."""
    return os.environ.get(VARIABLE) or _found("mariadbd") or "mariadbd"


def missing() -> str | None:
    """Why no server can be run on this machine, and what to install; None where one can."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return None if os.access(chosen, os.X_OK) else f"{VARIABLE} is {chosen!r}, which is no program"
    if _found("mariadbd") and _found("mariadb-install-db"):
        return None
    return "mariadbd and mariadb-install-db are not there (mariadb-server-core)"


@cache
def version() -> str:
    """What the server program says of itself."""
    return subprocess.run(
        [program(), "--no-defaults", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()


@cache
def dialect() -> Dialect:
    """The dialect of the server program."""
    return _mariadb() if "MariaDB" in version() else _mysql()


def _found(name: str) -> str | None:
    """Where a program is; daemons are in folders that are not on everybody's path."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def _mariadb() -> Dialect:
    return Dialect(
        install=(
            *(_found("mariadb-install-db") or "mariadb-install-db", "--no-defaults", f"--user={getpass.getuser()}"),
            *("--auth-root-authentication-method=normal", "--skip-name-resolve", "--skip-test-db"),
            *("--innodb-log-file-size=32M", "--innodb-use-native-aio=0"),
        ),
        accounts_option="--extra-file",
        administrator="FLUSH PRIVILEGES;\n",
        options=(
            *("--innodb-log-file-size=32M", "--binlog-format=ROW", "--gtid-strict-mode"),
            *("--log-slave-updates", "--slave-net-timeout=4"),
        ),
        follow=(
            "CHANGE MASTER TO MASTER_HOST = %s, MASTER_PORT = %s, MASTER_USER = 'follower', MASTER_PASSWORD = %s,"
            " MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1"
        ),
        position="SELECT @@gtid_binlog_pos AS position",
        wait="SELECT MASTER_GTID_WAIT(%s, %s) AS outcome",
    )


def _mysql() -> Dialect:
    return Dialect(
        install=(
            *(program(), "--no-defaults", "--initialize-insecure", f"--user={getpass.getuser()}"),
            *("--innodb-use-native-aio=0", "--auto-generate-certs=OFF", "--secure-file-priv=NULL"),
        ),
        accounts_option="--init-file",
        administrator="CREATE USER 'root'@'%';\nGRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;\n",
        options=(
            *("--innodb-redo-log-capacity=64M", "--gtid-mode=ON", "--enforce-gtid-consistency"),
            *("--replica-net-timeout=4", "--performance-schema=OFF", "--mysqlx=OFF"),
            "--secure-file-priv=NULL",
            "--auto-generate-certs=OFF",  # no TLS where no test asks for it, as in MariaDB
        ),
        follow=(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = %s, SOURCE_PORT = %s, SOURCE_USER = 'follower',"
            # without TLS a password goes encrypted with the source's key; and it never gives up
            " SOURCE_PASSWORD = %s, SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 1, SOURCE_AUTO_POSITION = 1,"
            " SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 86400"
        ),
        position="SELECT @@global.gtid_executed AS position",
        wait="SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s) AS outcome",
    )
