"""The settings of MySQL: which databases there are, and what they may cost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from persistence.errors import StoreError
from persistence.mysql.dsn import Dsn
from persistence.mysql.shards import ShardMap, read_shard

__all__ = ["MysqlOptions", "Server"]


@dataclass(frozen=True, slots=True)
class Server:
    """A database server's part in the whole."""

    shard: str
    """The shard whose rows it has."""
    dsn: Dsn
    replica: bool = False


@dataclass(frozen=True, slots=True)
class MysqlOptions:
    """Which MySQL databases there are, and what they may cost."""

    shards: tuple[str, ...] = ()
    """Each shard as NAME BUCKETS ADDRESS: "a 0-2047 mysql://user:password@host:3306/database". All 4096 buckets, 0 to
    4095, have one shard each; a shard that is to take over buckets later has - instead. Empty: results go to SQLite."""
    replicas: tuple[str, ...] = ()
    """Servers that follow a shard's, as NAME ADDRESS: "a mysql://...". History is read from them."""
    content: str = ""
    """Address of the database of tests and word lists, which all nodes share; empty: they are in the data folder."""
    password_file: Path | None = None
    """File with the password for addresses that have none; one line feed at its end is not part of it."""
    connections: int = 8
    """Connections that a process opens to a server for writing, and as many again for reading, at most."""
    max_waiting: int = 1_000
    """Requests that may wait for a connection to a server; beyond them a request fails at once."""
    connect_ms: int = 2_000
    """Longest time to connect; a server that did not answer is left alone for `retry_ms`, and its requests fail."""
    retry_ms: int = 1_000
    """Time after which a server that was away is tried again."""
    wait_ms: int = 2_000
    """Longest wait for a connection while all are in use."""
    write_ms: int = 10_000
    """Longest time of one transaction, its waiting for a connection counted in."""
    read_ms: int = 5_000
    """The same of a read, on each server that is asked."""
    history_ms: int = 3_600_000
    """Pages of results from before this long ago are read from a replica; they may miss what was stored just now."""
    refresh_ms: int = 5_000
    """How often it is looked whether buckets have moved. A move waits for twice this, that everybody has seen it."""
    max_conflicts: int = 8
    """Losing copies kept of one session; the worst go first."""
    partition: Literal["month", "day"] = "month"
    """How much time one partition of results holds, from the next that is made on."""
    partitions_ahead: int = 3
    """Partitions kept ready beyond the present one."""
    hot_days: int = 90
    """Days that results stay at least; results older than the oldest partition go to a table of their own."""

    def __post_init__(self) -> None:
        for name, least, most in (
            ("connections", 1, 1_000),
            ("max_waiting", 0, 100_000),
            ("connect_ms", 50, 60_000),
            ("retry_ms", 10, 60_000),
            ("wait_ms", 10, 60_000),
            ("write_ms", 100, 600_000),
            ("read_ms", 100, 600_000),
            ("history_ms", 0, 90 * 86_400_000),
            ("refresh_ms", 100, 600_000),
            ("max_conflicts", 1, 255),
            ("partitions_ahead", 1, 366),
            ("hot_days", 1, 3_660),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}; allowed is {least} to {most}")
        if self.shards:
            shard_map = self.shard_map()
            for server in self._replicas():
                if server.shard not in shard_map.names:
                    raise ValueError(
                        f"replicas has one of {server.shard!r}; there are the shards {', '.join(shard_map.names)}"
                    )
            self._primaries()
        elif self.replicas:
            raise ValueError("replicas is set, and shards is not")
        if self.content:
            Dsn.parse(self.content)

    @property
    def enabled(self) -> bool:
        """Whether results are in MySQL at all."""
        return bool(self.shards)

    def shard_map(self) -> ShardMap:
        """Which shard has which buckets, as the settings say."""
        return ShardMap.of([read_shard(text)[:2] for text in self.shards])

    def servers(self) -> list[Server]:
        """All servers of results, a shard's primary before its replicas. Reads the password: raises StoreError."""
        return [
            Server(server.shard, self._with_password(server.dsn), server.replica)
            for server in (*self._primaries(), *self._replicas())
        ]

    def content_dsn(self) -> Dsn:
        """The database of tests and word lists. Reads the password: raises StoreError."""
        return self._with_password(Dsn.parse(self.content))

    def _primaries(self) -> list[Server]:
        found = []
        for text in self.shards:
            name, _, address = read_shard(text)
            found.append(Server(name, Dsn.parse(address)))
        return found

    def _replicas(self) -> list[Server]:
        found = []
        for text in self.replicas:
            name, _, address = text.partition(" ")
            if not address:
                raise ValueError("replicas has an entry that is not NAME ADDRESS")
            found.append(Server(name, Dsn.parse(address.strip()), replica=True))
        return found

    def _with_password(self, dsn: Dsn) -> Dsn:
        if dsn.password is not None:
            return dsn
        password = ""
        if self.password_file is not None:
            try:
                password = self.password_file.read_text(encoding="utf-8").removesuffix("\n")
            except (OSError, UnicodeDecodeError) as fault:
                reason = getattr(fault, "strerror", None) or str(fault)
                raise StoreError(
                    f"the MySQL password file {self.password_file} cannot be read: {reason}", retriable=False
                ) from None
        return Dsn(dsn.host, dsn.port, dsn.user, password, dsn.database, dsn.ca)
