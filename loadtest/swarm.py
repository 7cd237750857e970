"""Ten thousand typists and more in a process, against a server of this machine.

    python -m loadtest.swarm --typists 1000 --seconds 30
    python -m loadtest.swarm --typists 10000 --seconds 120 --ramp 20 --server-core 0 --core 1
    python -m loadtest.swarm --typists 40000 --processes 3 --server-core 0 --core 1 --core 2 --core 3
    python -m loadtest.swarm --typists 200 --seconds 60 --kill-every 10
    python -m loadtest.swarm --typists 500 --url ws://127.0.0.1:8080/ws --mode time15

Without --url it starts a server of its own, with its data in a temporary folder, and stops it afterwards. Every result
is held against the client's own scoring of its log; the exit code is 1 where one differs, is doubled or is missing.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest.client import ClientOptions
from loadtest.line import Address, loopback, loopback_url
from loadtest.meters import Meters, Times
from loadtest.mixes import MIXES
from loadtest.report import print_report, write_json
from loadtest.served import Served, cpu_s, memory_bytes, raise_file_limit
from loadtest.share import Outcome, Share, SwarmOptions, Window, help_swarm
from persistence.results import SqliteResults
from session.identity import session_from_text

__all__ = ["Swarm", "SwarmOptions", "main", "missing_rows"]

T = TypeVar("T")

_LOOK_MS = 250
"""How often the server's memory is read."""
_LAST_KILL_MS = 3_000
"""Before the end: the typists are to be seen to come back."""
_ENDED = "a process of the swarm has ended; its error is above"


class Swarm:
    """The typists of one run, and what they measured. `pid`: the server's, where it is known.

    This process types its own share of them; further ones (`SwarmOptions.processes`) help with theirs.
    """

    def __init__(self, options: SwarmOptions, address: Address, *, pid: Callable[[], int | None]) -> None:
        if not loopback(address[0]):
            raise ValueError(f"{address[0]} is not in 127.0.0.0/8: load is only ever put on this machine")
        self.options = options
        self._pid = pid
        self._sessions: list[str] = []
        self._helpers = [_Helper(options, address, place) for place in range(1, options.processes)]
        self._share = Share(options, address)
        for helper in self._helpers:
            helper.receive(bool)  # it is there

    def close(self) -> None:
        """Hang up everywhere."""
        self._share.close()
        for helper in self._helpers:
            helper.close()

    def run(
        self,
        *,
        progress: Callable[[float, str], None],
        restart: Callable[[], None] | None = None,
        over: Callable[[], bool] | None = None,
    ) -> dict[str, Any]:
        """Ramp up, type for the time or until it is `over`, stop, wait for the last results; the facts of it all.

        One process alone can be `over` before its time.
        """
        options, share = self.options, self._share
        assert over is None or not self._helpers, "others would type on"
        total_ms = options.total_ms
        empty_bytes = self._memory()
        begun_ms = monotonic() * 1000 + (100 if self._helpers else 0)
        for helper in self._helpers:
            helper.send(begun_ms)
        share.begin(begun_ms)
        share.turn(begun_ms + options.ramp_ms, lambda now: progress((now - begun_ms) / total_ms, "coming"))
        share.steady()
        end_ms = begun_ms + total_ms
        kill_every_ms = (options.kill_every_s or 1e9) * 1000
        now_ms = look_ms = share.engine.now_ms
        kill_ms = now_ms + kill_every_ms
        memory_most = kills = 0
        cpu, cpu_before = 0.0, self._cpu()
        while now_ms < end_ms:
            share.turn_steady(min(end_ms, look_ms + _LOOK_MS, kill_ms))
            now_ms = share.engine.now_ms
            if now_ms >= look_ms + _LOOK_MS:
                look_ms = now_ms
                progress((now_ms - begun_ms) / total_ms, f"{self.typing():,} typing")
                memory_most = max(memory_most, self._memory())
                if over is not None and over():
                    break
            if now_ms >= kill_ms:
                if restart is not None and end_ms - now_ms > _LAST_KILL_MS:
                    cpu += self._cpu() - cpu_before
                    restart()
                    cpu_before = self._cpu()
                    kills += 1
                kill_ms = share.engine.now_ms + kill_every_ms
        cpu += self._cpu() - cpu_before
        windows = [share.window(), *(helper.receive(Window) for helper in self._helpers)]
        facts = _steady_facts(options, windows, cpu, (memory_most - empty_bytes) if empty_bytes else None)
        facts["kills"] = kills
        if options.settle:
            progress(1.0, "the last results")
            share.settle()
        outcomes = [share.outcome(), *(helper.receive(Outcome) for helper in self._helpers)]
        self._sessions = [session for outcome in outcomes for session in outcome.sessions]
        return facts | _final_facts(options, outcomes, facts["times_ms"])

    def typing(self) -> int:
        """How many are amid a test now, as far as this process's share of them tells."""
        return sum(client.typing for client in self._share.clients) * self.options.processes

    @property
    def meters(self) -> Meters:
        """What this process's share of them counts."""
        return self._share.meters

    def sessions(self) -> list[str]:
        """Ids of all sessions that some client saw stored, once the run is over."""
        return self._sessions

    def _cpu(self) -> float:
        pid = self._pid()
        return 0.0 if pid is None else cpu_s(pid)

    def _memory(self) -> int:
        pid = self._pid()
        return 0 if pid is None else memory_bytes(pid)


class _Helper:
    """A further process that types, and the pipe to it."""

    def __init__(self, options: SwarmOptions, address: Address, place: int) -> None:
        spawning = multiprocessing.get_context("spawn")
        theirs: Connection
        self._pipe, theirs = spawning.Pipe()
        self._process = spawning.Process(target=help_swarm, args=(theirs, options, address, place), daemon=True)
        self._process.start()
        theirs.close()  # so that its end is seen here

    def send(self, begun_ms: float) -> None:
        """Tell it when to begin. Raises RuntimeError where it has ended."""
        try:
            self._pipe.send(begun_ms)
        except OSError:
            raise RuntimeError(_ENDED) from None

    def receive(self, kind: type[T]) -> T:
        """What it has to give next. Raises RuntimeError where it has ended instead."""
        try:
            given = self._pipe.recv()
        except (EOFError, OSError):
            raise RuntimeError(_ENDED) from None
        assert isinstance(given, kind)
        return given

    def close(self) -> None:
        """End it, whatever it does."""
        self._pipe.close()
        self._process.terminate()
        self._process.join()
        self._process.close()


def _steady_facts(options: SwarmOptions, windows: list[Window], cpu: float, memory_bytes: int | None) -> dict[str, Any]:
    """What the steady part showed, over all processes. `cpu`: the server's."""
    steady_s = max(window.seconds for window in windows)
    frames = sum(window.frames for window in windows)
    connections = sum(window.connections for window in windows)
    own = [_rate(100 * window.cpu_s, window.seconds) for window in windows]
    lateness = Times.joined(window.lateness for window in windows)
    times = {name: Times.joined(window.times[name] for window in windows) for name in windows[0].times}
    return {
        "typists": options.typists,
        "connections": connections,
        "typing": sum(window.typing for window in windows),
        "mode": options.mix,
        "encoding": "msgpack" if options.client.binary else "JSON",
        "seed": options.seed,
        "steady_s": round(steady_s, 2),
        "frames_per_s": round(_rate(frames, steady_s), 1),
        "events_per_s": round(_rate(sum(window.events for window in windows), steady_s), 1),
        "server_frames_per_s": round(_rate(sum(window.frames_in for window in windows), steady_s), 1),
        "server_cpu_percent": round(_rate(100 * cpu, steady_s), 1) if cpu else None,
        "server_us_per_frame": round(1e6 * cpu / frames, 2) if cpu and frames else None,
        "generator_processes": options.processes,
        "generator_cpu_percent": round(sum(own), 1),
        "generator_busiest_percent": round(max(own), 1),
        "server_kib_per_connection": None
        if memory_bytes is None
        else round(memory_bytes / 1024 / max(1, connections), 2),
        "times_ms": {name: one.facts() for name, one in times.items() if one.n} | {"generator_late": lateness.facts()},
    }


def _rate(amount: float, seconds: float) -> float:
    """So much a second; 0 where a stalled machine left no time to measure in."""
    return amount / seconds if seconds else 0.0


def _final_facts(options: SwarmOptions, outcomes: list[Outcome], steady_times: dict[str, Any]) -> dict[str, Any]:
    """What the whole run showed, over all processes."""
    meters = Meters()
    for outcome in outcomes:
        meters.add(outcome.meters)
    late_times = {  # most of a short run's come at its end
        name: times.facts() for name in ("to_accepted", "to_stored", "to_resumed") if (times := meters.times()[name]).n
    }
    return {
        "cut_short": sum(outcome.cut_short for outcome in outcomes) if options.settle else None,
        "unfinished": sum(outcome.unfinished for outcome in outcomes) if options.settle else None,
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
        "times_ms": steady_times | late_times,
    }


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
@click.option("--processes", default=1, show_default=True, help="Share the typists out among so many processes.")
@click.option(
    "--core", "cores", type=int, multiple=True, help="Pin the typists to this core; again for the next process."
)
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
    processes: int,
    cores: tuple[int, ...],
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
            processes=processes,
            cores=cores,
            client=ClientOptions(
                binary=encoding == "msgpack",
                check_every=check_every,
                retry_ms=(100.0, 2_000.0) if kill_every else (500.0, 20_000.0),
            ),
        )
    except ValueError as fault:
        raise click.UsageError(str(fault)) from None
    files = raise_file_limit()
    if typists / processes + 64 > files:
        raise click.UsageError(f"{typists} connections need more than this process's {files} open files")
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
