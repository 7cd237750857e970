"""Programs that pretend to be typists, and how many of them plausibility tells: `python -m loadtest.bots`.

Each bot types common English words, half of its tests with a typist's errors and corrections, at the speeds of the
typist model; half of its tests without holds, half with holds drawn from a normal law (equal ones would give it away).
The rates are of `review` and `void` together. Choose a new seed for a fresh judgement: thresholds were never set by it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from loadtest.people import Recording, joined, read
from loadtest.typist import Typist
from persistence.catalogue.builtin import built_in_word_lists
from scoring.plausibility import judge

__all__ = ["BOTS", "PEOPLE", "Log", "Rate", "main", "play", "rate", "sped_up"]

LEAST_GAP_MS = 8.0
"""What a law with a tail below comes out as at least: a program cannot type backwards."""


@dataclass(frozen=True, slots=True)
class Log:
    """What a bot sends."""

    events: list[int | str]
    """Flat `[dt, key, ...]`."""
    holds: dict[int, int] | None


@dataclass(frozen=True, slots=True)
class Rate:
    """How many tests got which verdict."""

    tests: int
    review: int
    void: int

    @property
    def flagged(self) -> float:
        """The share that is not `ok`; 0 of no tests."""
        return (self.review + self.void) / self.tests if self.tests else 0.0


# A bot draws its gaps: (chance, mean gap in ms, number of keys) -> gaps in ms


def _constant(_chance: Random, mean: float, n: int) -> Iterable[float]:
    return [mean] * n


def _jittered(chance: Random, mean: float, n: int) -> Iterable[float]:
    most = chance.uniform(0.02, 0.3)
    return [mean * chance.uniform(1 - most, 1 + most) for _ in range(n)]


def _pasted(chance: Random, mean: float, n: int) -> Iterable[float]:
    """Bursts of a word's length with hardly a gap, and pauses that keep the mean."""
    gaps: list[float] = []
    fastest = chance.choice((0.0, 2.0, 6.0))
    while len(gaps) < n:
        burst = chance.randint(3, 9)
        gaps.append(mean * burst * chance.lognormvariate(-0.08, 0.4))
        gaps += [chance.uniform(0, fastest) for _ in range(burst - 1)]
    return gaps[:n]


def _uniform(chance: Random, mean: float, n: int) -> Iterable[float]:
    width = chance.uniform(0.3, 0.9)
    return [mean * chance.uniform(1 - width, 1 + width) for _ in range(n)]


def _normal(chance: Random, mean: float, n: int) -> Iterable[float]:
    sd = mean * chance.uniform(0.1, 0.6)
    return [chance.gauss(mean, sd) for _ in range(n)]


def _lognormal(chance: Random, mean: float, n: int) -> Iterable[float]:
    sigma = chance.uniform(0.2, 0.7)
    return [mean * chance.lognormvariate(-sigma * sigma / 2, sigma) for _ in range(n)]


def _exponential(chance: Random, mean: float, n: int) -> Iterable[float]:
    return [chance.expovariate(1 / mean) for _ in range(n)]


def _slowing(chance: Random, mean: float, n: int) -> Iterable[float]:
    """A lognormal law whose pace wanders slowly, as a person's does."""
    sigma = chance.uniform(0.25, 0.6)
    pace = 0.0
    gaps = []
    for _ in range(n):
        pace = 0.97 * pace + chance.gauss(0, 0.04)
        gaps.append(mean * chance.lognormvariate(pace - sigma * sigma / 2, sigma))
    return gaps


BOTS: Mapping[str, Callable[[Random, float, int], Iterable[float]]] = {
    "constant gaps": _constant,
    "constant, jittered": _jittered,
    "pasted bursts": _pasted,
    "normal law": _normal,
    "uniform law": _uniform,
    "lognormal law": _lognormal,
    "exponential law": _exponential,
    "lognormal, wandering": _slowing,
}
"""Every bot by its name."""


def play(bot: str, length: int, seed: int) -> Log:
    """Return one test of `length` keys by this bot; equal seeds give equal tests."""
    chance = Random(f"{bot} {length} {seed}")
    typist = Typist(chance.getrandbits(48))
    words = [f"{word} " for word in chance.choices(_english(), k=length)]
    keys = typist.type(words).keys[:length] if seed % 2 else "".join(words)[:length]
    mean = 12_000 / (typist.wpm * 1.173)
    now = 0.0
    whole = 0
    events: list[int | str] = []
    for key, gap in zip(keys, BOTS[bot](chance, mean, length), strict=True):
        now += gap if bot == "pasted bursts" else max(gap, LEAST_GAP_MS)
        events += [round(now) - whole, key]
        whole = round(now)
    if seed // 2 % 2:
        return Log(events, None)
    return Log(events, {event: max(1, round(chance.gauss(95, 22))) for event in range(length)})


PEOPLE: Mapping[str, tuple[float, bool]] = {
    "people, joined": (1.0, True),
    "people, without holds": (1.0, False),
    "people, 1.5 × speed": (1.5, True),
    "people, 2.5 × speed": (2.5, True),
}
"""How real people's tests are played: how many times as fast, with holds or without."""


def sped_up(recording: Recording, times: float, *, with_holds: bool = True) -> Log:
    """Return a person's test played so many times as fast."""
    events = recording.events()
    now = 0.0
    whole = 0
    for at in range(0, len(events), 2):
        now += recording.gaps[at // 2] / times
        events[at] = round(now) - whole
        whole = round(now)
    holds = {event: max(1, round(hold / times)) for event, hold in enumerate(recording.holds)}
    return Log(events, holds if with_holds else None)


def rate(logs: Iterable[Log], advance: Callable[[], object] = lambda: None) -> Rate:
    """Judge each log as a keyboard's and count the verdicts."""
    counts = {"ok": 0, "review": 0, "void": 0}
    for log in logs:
        counts[judge(log.events, log.holds).verdict] += 1
        advance()
    return Rate(sum(counts.values()), counts["review"], counts["void"])


def _english() -> Sequence[str]:
    return next(words.words for words in built_in_word_lists() if words.language == "en")


def _typist(length: int, seed: int) -> Log:
    """Return the first `length` keys of the load's own typist."""
    typist = Typist(seed)
    typed = typist.type([f"{word} " for word in Random(seed).choices(_english(), k=length)])
    return Log(typed.events(0, length), dict(enumerate(typed.holds[:length])))


@click.command(epilog="Example: python -m loadtest.bots --seed 20261123 --tests 500 --lengths 200,400")
@click.option("--seed", type=int, required=True, help="A number; take one that was never used before.")
@click.option(
    "--tests", type=click.IntRange(1, 100_000), default=500, show_default=True, help="Tests of each bot and length."
)
@click.option("--lengths", default="50,100,200,400", show_default=True, help="Keys a test, separated by commas.")
@click.option(
    "--reference",
    envvar="TYPEGATE_REFERENCE_DATA",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder with humans/typing.jsonl.gz (or TYPEGATE_REFERENCE_DATA); without it no people are judged.",
)
def main(seed: int, tests: int, lengths: str, reference: Path | None) -> None:
    """Print how many tests of each bot, and of real people, plausibility would flag, by number of keys."""
    try:
        keys = sorted({int(length) for length in lengths.split(",")})
    except ValueError:
        raise click.BadParameter(f"{lengths!r} is not a list of numbers", param_hint="--lengths") from None
    if keys[0] < 2 or keys[-1] > 10_000:
        raise click.BadParameter("a test has 2 to 10,000 keys", param_hint="--lengths")
    console = Console()
    recordings: dict[int, list[Recording]] = {}
    if reference is not None:
        file = reference / "humans" / "typing.jsonl.gz"
        if not file.exists():
            raise click.BadParameter(f"there is no {file}", param_hint="--reference")
        recordings = read(file)
    table = Table(title=f"Per cent flagged (void), of {tests:,} tests a cell; seed {seed}")
    table.add_column("who types")
    for length in keys:
        table.add_column(f"{length} keys", justify="right")
    rows = [*BOTS, "the load's typist"]
    columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *(c if not isinstance(c, str) else TextColumn(c) for c in columns), console=console, transient=True
    ) as bar:
        total = len(rows) * len(keys) * tests
        task = bar.add_task("judging", total=total)
        for name in rows:
            cells = []
            for length in keys:
                one = _typist if name == "the load's typist" else lambda n, s, name=name: play(name, n, s)
                logs = (one(length, seed * 1_000_003 + test) for test in range(tests))
                cells.append(_cell(rate(logs, lambda: bar.advance(task))))
            table.add_row(name, *cells)
        if recordings:
            table.add_section()
            judged: dict[str, list[Rate]] = {name: [] for name in PEOPLE}
            for length in keys:
                chance = Random(seed)
                own = [test for theirs in recordings.values() for test in joined(theirs, length, chance)]
                for name, (times, with_holds) in PEOPLE.items():
                    judged[name].append(rate(sped_up(test, times, with_holds=with_holds) for test in own))
            for name, rates in judged.items():
                table.add_row(name, *map(_cell, rates))
            table.add_row("tests of people", *(f"{one.tests:,}" for one in rates))
    console.print(table)
    if recordings:
        alone = rate(sped_up(recording, 1.0) for theirs in recordings.values() for recording in theirs)
        console.print(f"People's {alone.tests:,} sessions as they are: {alone.review} review, {alone.void} void.")


def _cell(judged: Rate) -> str:
    return f"{100 * judged.flagged:.1f} ({100 * judged.void / max(1, judged.tests):.0f})"


if __name__ == "__main__":
    main()
