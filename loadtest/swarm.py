"""Ten thousand typists and more in one process, against a server of this machine.

    python -m loadtest.swarm --typists 1000 --seconds 30
    python -m loadtest.swarm --typists 10000 --seconds 120 --ramp 20 --server-core 0 --core 1
    python -m loadtest.swarm --typists 200 --seconds 60 --kill-every 10
    python -m loadtest.swarm --typists 500 --url ws://127.0.0.1:8080/ws --mode time15

Without --url it starts a server of its own, with its data in a temporary folder, and stops it afterwards. Every result
is held against the client's own scoring of its log; the exit code is 1 where one differs, is doubled or is missing.
"""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest.client import ClientOptions, TypingClient
from loadtest.crowd import PEOPLE, Crowd
from loadtest.engine import Engine
from loadtest.line import Address, loopback, loopback_url
from loadtest.meters import Meters
from loadtest.mixes import MIXES, MixPlan
from loadtest.report import print_report, write_json
from loadtest.served import Served, cpu_s, memory_bytes, raise_file_limit
from persistence.results import SqliteResults
from session.identity import session_from_text

__all__ = ["Swarm", "SwarmOptions", "main", "missing_rows"]

MOST_TYPISTS = 60_000
LONGEST_S = 3_600
SETTLE_S = 120.0
"""How long, after the time is over, tests under way may take to their `stored`."""


@dataclass(frozen=True, slots=True)
class SwarmOptions:
    """One run."""

    typists: int = 1_000
    seconds: float = 30.0
    """Of typing, after the ramp."""
    ramp_s: float = 0.0
    """Over which typists come; 0: two thousand a second."""
    seed: int = 1
    mix: str = "mix"
    rest_ms: float = 2_000.0
    """Mean pause between two tests."""
    kill_every_s: float | None = None
    """The run's own server is killed (SIGKILL) and started again this often."""
    drop_per_s: float = 0.0
    """Connections that are lost, each second."""
    settle: bool = True
    """Whether tests under way are waited for at the end."""
    client: ClientOptions = field(default_factory=ClientOptions)

    def __post_init__(self) -> None:
        if not 1 <= self.typists <= MOST_TYPISTS:
            raise ValueError(f"typists is {self.typists}; allowed are 1 to {MOST_TYPISTS}")
        if not 0 < self.seconds <= LONGEST_S or not 0 <= self.ramp_s <= LONGEST_S:
            raise ValueError(f"seconds and ramp are at most {LONGEST_S}, and seconds more than 0")
        if self.mix not in MIXES:
            raise ValueError(f"mode is {self.mix!r}; allowed are {', '.join(MIXES)}")
        if self.kill_every_s is not None and self.kill_every_s < 1:
            raise ValueError("kill-every is at least 1 second")
        if self.rest_ms < 0 or self.drop_per_s < 0:
            raise ValueError("rest and drop are 0 or more")


class Swarm:
    """The typists of one run, and what they measured. `pid`: the server's, where it is known."""

    def __init__(self, options: SwarmOptions, address: Address, *, pid: Callable[[], int | None]) -> None:
        if not loopback(address[0]):
            raise ValueError(f"{address[0]} is not in 127.0.0.0/8: load is only ever put on this machine")
        self.options = options
        self.meters = Meters()
        self.engine = Engine()
        crowd = Crowd(options.seed, min(PEOPLE, options.typists))
        for number in range(min(PEOPLE, options.typists)):
            crowd.person(number)  # now, not amid the run
        self.clients = [
            TypingClient(
                self.engine,
                number,
                MixPlan(crowd, number, mix=options.mix, seed=options.seed, rest_ms=options.rest_ms),
                options=options.client,
                meters=self.meters,
            )
            for number in range(options.typists)
        ]
        self._address = address
        self._pid = pid
        self._chance = Random(f"swarm {options.seed}")

    def close(self) -> None:
        """Hang up everywhere."""
        for client in self.clients:
            client.abandon()
        self.engine.close()

    def run(
        self, *, progress: Callable[[float, str], None], restart: Callable[[], None] | None = None
    ) -> dict[str, Any]:
        """Ramp up, type for the time, stop, wait for the last results; the facts of it all."""
        options, meters, engine = self.options, self.meters, self.engine
        ramp_ms = options.ramp_s * 1000 or options.typists / 2
        empty_bytes = self._memory()
        begun_ms = engine.now_ms
        for number, client in enumerate(self.clients):
            client.begin(self._address, due_ms=begun_ms + number * ramp_ms / options.typists)
        gc.collect()
        gc.freeze()
        total_ms = ramp_ms + options.seconds * 1000
        self._turn(begun_ms + ramp_ms, lambda now: progress((now - begun_ms) / total_ms, "coming"))
        # the first second after the ramp still belongs to it
        meters.clear_times()
        engine.lateness.clear()
        steady_ms = engine.now_ms
        before = (meters.frames_out, meters.events, meters.frames_in, self._cpu(), os.times().user + os.times().system)
        kill_ms = steady_ms + (options.kill_every_s or 1e9) * 1000
        memory_most = 0
        kills = 0
        cpu_lost = 0.0
        next_look_ms = steady_ms
        drop_ms = steady_ms + (1000 / options.drop_per_s if options.drop_per_s else 1e12)
        end_ms = steady_ms + options.seconds * 1000
        while engine.now_ms < end_ms:
            self._turn(min(end_ms, next_look_ms + 250, kill_ms, drop_ms), None)
            now_ms = engine.now_ms
            if now_ms >= next_look_ms + 250:
                next_look_ms = now_ms
                progress((now_ms - begun_ms) / total_ms, f"{sum(c.typing for c in self.clients):,} typing")
                memory_most = max(memory_most, self._memory())
            if now_ms >= drop_ms:
                drop_ms += 1000 / options.drop_per_s
                self._chance.choice(self.clients).drop()
            if now_ms >= kill_ms and restart is not None and end_ms - now_ms > 3000:
                cpu_lost += self._cpu() - before[3]
                restart()
                before = (*before[:3], self._cpu(), before[4])
                kills += 1
                kill_ms = engine.now_ms + (options.kill_every_s or 0) * 1000
        steady_s = (engine.now_ms - steady_ms) / 1000
        cpu = self._cpu() - before[3] + cpu_lost
        frames = meters.frames_out - before[0]
        live = sum(client.typing for client in self.clients)
        facts: dict[str, Any] = {
            "typists": options.typists,
            "connections": len(engine),
            "typing": live,
            "mode": options.mix,
            "encoding": "msgpack" if options.client.binary else "JSON",
            "seed": options.seed,
            "steady_s": round(steady_s, 2),
            "frames_per_s": round(frames / steady_s, 1),
            "events_per_s": round((meters.events - before[1]) / steady_s, 1),
            "server_frames_per_s": round((meters.frames_in - before[2]) / steady_s, 1),
            "server_cpu_percent": round(100 * cpu / steady_s, 1) if cpu else None,
            "server_us_per_frame": round(1e6 * cpu / frames, 2) if cpu and frames else None,
            "generator_cpu_percent": round(100 * (os.times().user + os.times().system - before[4]) / steady_s, 1),
            "generator_late_ms": engine.lateness.facts(),
            "server_kib_per_connection": (
                round((memory_most - empty_bytes) / 1024 / max(1, len(engine)), 2) if empty_bytes else None
            ),
            "kills": kills,
            "times_ms": {name: times.facts() for name, times in meters.times().items() if times.n},
        }
        if options.settle:
            for client in self.clients:
                client.stop()
            progress(1.0, "the last results")
            engine.run(lambda: all(client.done for client in self.clients), limit_s=SETTLE_S)
        facts |= {
            "cut_short": sum(client.typing for client in self.clients) if options.settle else None,
            "unfinished": sum(not (c.done or c.typing) for c in self.clients) if options.settle else None,
            "started": meters.started,
            "accepted": meters.accepted,
            "stored": meters.stored,
            "checked": meters.checked,
            "mismatched": meters.mismatched,
            "doubled": meters.doubled,
            "reconnects": meters.reconnects,
            "resumed": meters.resumed,
            "resent_events": meters.resent,
            "verdicts": dict(meters.verdicts),
            "errors": dict(meters.errors),
            "notes": meters.notes,
        }
        for name in ("to_accepted", "to_stored", "to_resumed"):  # most of a short run's come at its end
            if (times := getattr(meters, name)).n:
                facts["times_ms"][name] = times.facts()
        return facts

    def sessions(self) -> list[str]:
        """Ids of all sessions that some client saw stored."""
        return [session for client in self.clients for session in client.sessions]

    def _turn(self, until_ms: float, progress: Callable[[float], None] | None) -> None:
        engine = self.engine
        shown_ms = engine.now_ms
        while engine.now_ms < until_ms:
            engine.turn()
            if progress is not None and engine.now_ms - shown_ms > 200:
                shown_ms = engine.now_ms
                progress(shown_ms)

    def _cpu(self) -> float:
        pid = self._pid()
        return 0.0 if pid is None else cpu_s(pid)

    def _memory(self) -> int:
        pid = self._pid()
        return 0 if pid is None else memory_bytes(pid)


async def missing_rows(data: Path, sessions: list[str]) -> int:
    """How many of these sessions the store of a stopped server has no row of (its key allows no second one)."""
    async with SqliteResults(data / "results.db") as store:
        missing = 0
        for session in sessions:
            missing += await store.by_id(session_from_text(session)) is None
        return missing


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]}, help=(__doc__ or "").replace("\n    p", "\n\b\n    p", 1)
)
@click.option("--typists", default=1_000, show_default=True, help="How many type at once.")
@click.option("--seconds", default=30.0, show_default=True, help="How long, after the ramp.")
@click.option("--ramp", default=0.0, help="Seconds over which they come [2,000 a second].")
@click.option("--seed", default=1, show_default=True)
@click.option("--mode", "mix", default="mix", show_default=True, type=click.Choice(list(MIXES)))
@click.option("--encoding", default="msgpack", show_default=True, type=click.Choice(["msgpack", "json"]))
@click.option("--url", help="A server that runs already, in 127.0.0.0/8 [one of the run's own].")
@click.option("--kill-every", type=float, help="Kill the run's own server so often (seconds), and start it again.")
@click.option("--drop", default=0.0, show_default=True, help="Connections lost each second.")
@click.option("--check-every", default=1, show_default=True, help="Score every so-manieth result again; 0: none.")
@click.option("--server-core", type=int, help="Pin the run's own server to this core.")
@click.option("--core", type=int, help="Pin the typists to this core.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the report here, too.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def main(
    typists: int,
    seconds: float,
    ramp: float,
    seed: int,
    mix: str,
    encoding: str,
    url: str | None,
    kill_every: float | None,
    drop: float,
    check_every: int,
    server_core: int | None,
    core: int | None,
    json_file: Path | None,
    quiet: bool,
) -> None:
    """Replaced by the module's own text."""
    if url is not None and (kill_every is not None or server_core is not None):
        raise click.UsageError("--kill-every and --server-core are for a server of the run's own, without --url")
    try:
        address = None if url is None else loopback_url(url)
        options = SwarmOptions(
            typists=typists,
            seconds=seconds,
            ramp_s=ramp,
            seed=seed,
            mix=mix,
            kill_every_s=kill_every,
            drop_per_s=drop,
            client=ClientOptions(
                binary=encoding == "msgpack",
                check_every=check_every,
                retry_ms=(100.0, 2_000.0) if kill_every else (500.0, 20_000.0),
            ),
        )
    except ValueError as fault:
        raise click.UsageError(str(fault)) from None
    files = raise_file_limit()
    if typists + 64 > files:
        raise click.UsageError(f"{typists} connections need more than this process's {files} open files")
    if core is not None:
        os.sched_setaffinity(0, {core})
    console = Console()
    columns = (TextColumn("{task.description:24}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    with ExitStack() as stack:
        server: Served | None = None
        if address is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="typegate-swarm-")))
            server = stack.enter_context(Served(folder / "data", core=server_core))
            address = server.address
        swarm = Swarm(options, address, pid=lambda: server.pid if server is not None and server.alive else None)
        stack.callback(swarm.close)
        bar = stack.enter_context(
            Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=quiet)
        )
        task = bar.add_task("starting", total=1.0)

        def restart() -> None:
            assert server is not None
            server.kill()
            server.launch()  # its typists type on, and find it when it listens

        begun = monotonic()
        facts = swarm.run(
            progress=lambda share, what: bar.update(task, completed=share, description=what),
            restart=restart if kill_every is not None else None,
        )
        facts["total_s"] = round(monotonic() - begun, 1)
        if server is not None:
            server.stop()
            sessions = swarm.sessions()
            facts["rows_missing"] = asyncio.run(missing_rows(server.data, sessions))
        bar.update(task, completed=1.0)
    print_report(console, facts)
    if json_file is not None:
        write_json(json_file, facts)
    wrong = [name for name in ("mismatched", "doubled", "unfinished", "rows_missing") if facts.get(name)]
    if wrong:
        raise click.ClickException(f"the run is not clean: {', '.join(f'{facts[name]} {name}' for name in wrong)}")


if __name__ == "__main__":
    main()
