"""Real people's sessions, key by key at their own pace, over real sockets, against a server of this machine.

    python -m loadtest.humans --reference ../shared
    python -m loadtest.humans --people 50 --sentences 3 --encoding json

Each person has a connection and types sentence after sentence as they were recorded, as tests of mode `text`. Every
result is held against the client's own scoring; the exit code is 1 where one differs or an honest person's is void.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loadtest.client import ClientOptions, TypingClient
from loadtest.engine import Engine
from loadtest.line import LONGEST_HOLD_MS, Address, loopback_url
from loadtest.meters import Meters
from loadtest.people import Recording, read
from loadtest.report import print_report, write_json
from loadtest.served import Served, raise_file_limit
from loadtest.typist import Typed
from scoring.text import Word

__all__ = ["HumanPlan", "main", "play"]

REACTION_MS = 700
"""From `started` to the first key, which the recordings do not have."""


class HumanPlan:
    """One person's sentences, one test each."""

    __slots__ = ("_recordings",)

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self._recordings = recordings

    def choose(self, test: int) -> dict[str, Any] | None:
        """The next sentence."""
        if test >= len(self._recordings):
            return None
        return {"mode": "text", "text": self._recordings[test].text}

    def type(self, words: Sequence[Word], *, test: int, limit_ms: int | None) -> Typed:
        """As it was typed, whatever the words are."""
        recording = self._recordings[test]
        holds = array("H", (min(max(hold, 0), LONGEST_HOLD_MS) for hold in recording.holds))
        return Typed(array("I", [REACTION_MS, *recording.gaps[1:]]), tuple(recording.keys), holds)

    def pause_ms(self, test: int) -> float:
        """A breath, and starts stay under the server's two a second."""
        return 600.0


def play(
    address: Address,
    people: Sequence[Sequence[Recording]],
    *,
    options: ClientOptions,
    limit_s: float,
    progress: Callable[[int], None] = lambda stored: None,
) -> tuple[Meters, int]:
    """Have all these people type at once; what was measured, and how many did not come to their end in time."""
    engine, meters = Engine(), Meters()
    clients = [
        TypingClient(engine, number, HumanPlan(recordings), options=options, meters=meters)
        for number, recordings in enumerate(people)
    ]
    try:
        for number, client in enumerate(clients):
            client.begin(address, due_ms=engine.now_ms + 2 * number)
        shown = 0

        def all_done() -> bool:
            nonlocal shown
            if meters.stored != shown:
                shown = meters.stored
                progress(shown)
            return shown == wanted or all(client.done for client in clients)

        wanted = sum(map(len, people))
        engine.run(all_done, limit_s=limit_s)
        return meters, wanted - meters.stored
    finally:
        for client in clients:
            client.abandon()
        engine.close()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--reference",
    envvar="TYPEGATE_REFERENCE_DATA",
    default=Path("../shared"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder with humans/typing.jsonl.gz (or TYPEGATE_REFERENCE_DATA).",
)
@click.option("--people", default=1_000, show_default=True, help="How many people at most.")
@click.option("--sentences", default=1_000, show_default=True, help="How many of each one's at most.")
@click.option("--encoding", default="msgpack", show_default=True, type=click.Choice(["msgpack", "json"]))
@click.option("--url", help="A server that runs already, in 127.0.0.0/8 [one of the run's own].")
@click.option("--minutes", default=30.0, show_default=True, help="Give up then.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the report here, too.")
def main(
    reference: Path,
    people: int,
    sentences: int,
    encoding: str,
    url: str | None,
    minutes: float,
    json_file: Path | None,
) -> None:
    """Play real people's recorded sessions over real sockets, at their own pace.

    Every result is held against the client's own scoring; none may be void.

    \b
    Examples:
      python -m loadtest.humans --reference ../shared
      python -m loadtest.humans --people 50 --sentences 3 --encoding json
    """
    file = reference / "humans" / "typing.jsonl.gz"
    if not file.exists():
        raise click.BadParameter(f"there is no {file}", param_hint="--reference")
    try:
        address = None if url is None else loopback_url(url)
    except ValueError as fault:
        raise click.BadParameter(str(fault), param_hint="--url") from None
    chosen = [recordings[:sentences] for recordings in list(read(file).values())[:people]]
    raise_file_limit()
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ExitStack() as stack:
        if address is None:
            address = stack.enter_context(Served.in_temporary_folder()).address
        bar = stack.enter_context(Progress(*columns, console=console, transient=True))
        task = bar.add_task(f"{len(chosen)} people type", total=sum(map(len, chosen)))
        meters, missing = play(
            address,
            chosen,
            options=ClientOptions(binary=encoding == "msgpack"),
            limit_s=60 * minutes,
            progress=lambda stored: bar.update(task, completed=stored),
        )
    facts = {
        "typists": len(chosen),
        "mode": "people's sentences",
        "encoding": encoding,
        "seed": "as recorded",
        "sessions": sum(map(len, chosen)),
        "stored": meters.stored,
        "checked": meters.checked,
        "mismatched": meters.mismatched,
        "missing": missing,
        "review_per_thousand": round(1000 * meters.verdicts["review"] / max(1, meters.stored), 2),
        "verdicts": dict(meters.verdicts),
        "errors": dict(meters.errors),
        "notes": meters.notes,
        "times_ms": {name: times.facts() for name, times in meters.times().items() if times.n},
    }
    print_report(console, facts)
    if json_file is not None:
        write_json(json_file, facts)
    if meters.mismatched or missing or meters.verdicts["void"]:
        raise click.ClickException(
            f"{meters.mismatched} differ, {missing} are missing, {meters.verdicts['void']} are void"
        )


if __name__ == "__main__":
    main()
