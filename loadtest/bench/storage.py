"""What a stored result takes: bytes in MySQL with all indexes, and CPU of the process that writes it.

`python -m loadtest.bench.storage` fills one shard of a MariaDB of its own with results of the bench mix, in batches as
a worker does, and asks the database for the size of its tables. The results are of a few thousand logs that a crowd
types once; each copy gets ids and hashes of its own, for those are what no two rows have in common.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest.finished import Typists
from loadtest.servers.mariadb import MariaDbServer
from persistence.catalogue import EmbeddedCatalogue
from persistence.catalogue.texts import Texts
from persistence.mysql import MysqlOptions
from persistence.results.bests import DAY_MS
from persistence.results.mysql import MysqlResults, Upkeep
from persistence.workers import typed
from session.identity import MAX_USER, mint_session
from session.options import SessionLimits
from session.result import Result, core_hash_of

__all__ = ["Measured", "measure"]

T0_MS = 1_790_000_000_000
DAYS = 40
"""Over which the results are spread: two months' partitions."""
LOGS = 3_000
TESTS_A_DAY = 5
"""Of a user, who types on every day."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What it came to."""

    results: int
    batch: int
    bytes_by_index: dict[str, float]
    """Of `test_results`, per result: of the rows (PRIMARY) and of each other index."""
    bytes_beside: dict[str, float]
    """Of the other tables, per result."""
    cpu_us: float
    """Of this process for a result, the median of the batches: rows made, sent, answers read."""
    rate: float
    """Results a second, one batch after the other."""

    @property
    def bytes_a_result(self) -> float:
        """Of its row and all indexes."""
        return sum(self.bytes_by_index.values())


async def measure(
    server: MariaDbServer, results: int, *, batch: int, seed: int = 1, bar: Progress | None = None
) -> Measured:
    """Fill a fresh database on a server."""
    server.ask("CREATE DATABASE storage")
    options = MysqlOptions(shards=(f"a 0-4095 {server.dsn('storage')}",))
    async with Upkeep(options, clock_ms=lambda: T0_MS + DAYS * DAY_MS) as upkeep:
        await upkeep.migrate()
    async with EmbeddedCatalogue(None) as catalogue:
        logs = list(Typists(Texts(catalogue, limits=SessionLimits()), seed=seed).results(min(LOGS, results)))
    task = None if bar is None else bar.add_task("results", total=results)
    spent: list[float] = []
    began = perf_counter()
    async with MysqlResults(options) as store:
        for some in _batches(logs, results, batch=batch, seed=seed):
            before = process_time()
            await store.write(some)
            spent.append((process_time() - before) / len(some))
            if bar is not None and task is not None:
                bar.update(task, advance=len(some))
    took_s = perf_counter() - began
    for table in ("test_results", "personal_bests", "user_progress", "result_origins"):
        server.ask(f"ANALYZE TABLE storage.{table}")
    sizes = server.ask(
        "SELECT SUBSTRING_INDEX(table_name, '#', 1) AS name, index_name AS part, "
        "SUM(stat_value) * @@innodb_page_size AS bytes FROM mysql.innodb_index_stats "
        "WHERE database_name = 'storage' AND stat_name = 'size' GROUP BY 1, 2"
    )
    by_index = {row["part"]: float(row["bytes"]) / results for row in sizes if row["name"] == "test_results"}
    beside: dict[str, float] = {}
    for row in sizes:
        if row["name"] in ("personal_bests", "user_progress"):
            beside[row["name"]] = beside.get(row["name"], 0.0) + float(row["bytes"]) / results
    return Measured(results, batch, by_index, beside, median(spent) * 1e6, results / took_s)


def _batches(logs: Sequence[Result], results: int, *, batch: int, seed: int) -> Iterator[list[Result]]:
    """Results in the order of time, each a typed log under another name."""
    chance = random.Random(f"storage {seed}")
    users = [chance.randrange(1, MAX_USER) for _ in range(max(1, results // (TESTS_A_DAY * DAYS)))]
    some: list[Result] = []
    for i in range(results):
        log, user = logs[i % len(logs)], chance.choice(users)
        session = mint_session(user, epoch_ms=T0_MS + i * DAYS * DAY_MS // results, random_bits=chance.getrandbits(62))
        ticket_hash, log_digest = chance.randbytes(16), chance.randbytes(16)
        core_hash = core_hash_of(
            session=session,
            user=user,
            ticket_hash=ticket_hash,
            log_digest=log_digest,
            summary=log.summary,
            gave_up=log.gave_up,
            scoring_version=log.scoring_version,
        )
        # a real connection's; a crowd in memory has no clocks
        clocks = {"drift_ms": round(chance.uniform(-3, 3), 4), "lag_ms": round(chance.uniform(0, 40), 4)}
        some.append(
            _received(
                log,
                session=session,
                user=user,
                ticket_hash=ticket_hash,
                log_digest=log_digest,
                core_hash=core_hash,
                text_hash=chance.randbytes(16),
                seed=chance.getrandbits(64),
                lag_ms=clocks["lag_ms"],
                drift_ms=clocks["drift_ms"],
                features=log.features | clocks,
            )
        )
        if len(some) == batch or i == results - 1:
            yield some
            some = []


def _received(log: Result, **changes: Any) -> Result:
    """A log under another name, as a worker reads it from the stream."""
    result = typed.read(replace(log, **changes).pack())
    if result is None:
        raise ValueError("a result that no worker takes")
    return result


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExamples:\n  python -m loadtest.bench.storage\n"
    "  python -m loadtest.bench.storage --results 100000 --batch 25",
)
@click.option("--results", type=click.IntRange(1), default=1_000_000, show_default=True, help="Results to store.")
@click.option("--batch", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Results a transaction.")
@click.option("--seed", default=1, show_default=True, help="Of the crowd and all else that is drawn.")
def main(results: int, batch: int, seed: int) -> None:
    """Measure the bytes of a stored result, and the CPU of writing it."""
    console = Console()
    with TemporaryDirectory(prefix="typegate-storage-") as folder:
        server = MariaDbServer(Path(folder) / "mariadb", "--innodb-buffer-pool-size=1G", "--innodb-log-file-size=512M")
        with server, Progress(console=Console(stderr=True), transient=True) as bar:
            found = asyncio.run(measure(server, results, batch=batch, seed=seed, bar=bar))
    table = Table("a stored result of the bench mix", "bytes")
    for name, size in sorted(found.bytes_by_index.items(), key=lambda part: -part[1]):
        table.add_row("row" if name == "PRIMARY" else f"index {name}", f"{size:,.1f}")
    table.add_row("[bold]in all", f"[bold]{found.bytes_a_result:,.1f}")
    for name, size in found.bytes_beside.items():
        table.add_row(f"beside it: {name}", f"{size:,.1f}")
    console.print(table)
    console.print(
        f"{found.cpu_us:,.1f} µs of CPU a result to write it, {found.rate:,.0f} results/s in batches of {batch}"
    )


if __name__ == "__main__":
    main(prog_name="python -m loadtest.bench.storage")
