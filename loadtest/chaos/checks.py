"""What must hold when all faults are over: nothing lost, nothing doubled, every figure as its typist has it.

Each check is a sentence that holds or not, with what was found. Nothing is excused silently: what is allowed stands in
the sentence.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import orjson
from aiokafka import AIOKafkaConsumer

from loadtest.chaos.faults import Faults
from loadtest.chaos.typing import People
from loadtest.checking import differences, figures_of
from loadtest.cluster.cluster import Cluster
from loadtest.cluster.programs import Node
from loadtest.cluster.scraping import total
from persistence.catalogue import EmbeddedCatalogue
from persistence.catalogue.texts import Texts
from persistence.results.mysql import MysqlResults
from persistence.stream.dead_letter import exhume
from persistence.stream.spoolfile import survey
from session.identity import session_from_text, session_to_text
from session.options import SessionLimits
from session.result import Result

__all__ = [
    "Check",
    "Stored",
    "all_well",
    "everything",
    "of_faults",
    "of_store",
    "read_store",
    "rows_there",
    "some",
    "within",
]

_AT_ONCE = 8
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Check:
    """One sentence about a run."""

    law: str
    holds: bool
    found: str
    """What was found, in a few words."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What the shards have in the end."""

    rows: Counter[str]
    """How many rows each session has, over all shards and tables."""
    results: Mapping[str, Result]
    """The results of the sessions that somebody was told of, where they are there."""
    conflicts: Counter[str]
    """Other copies that lost against a session's row."""
    letters: Sequence[str]
    """Why records are among the dead letters, one each."""


def all_well(cluster: Cluster) -> list[str]:
    """What is not well, each part in words; nothing when all is."""
    faults = []
    for program in cluster.programs:
        health = program.health()
        if health is None:
            faults.append(f"{program.name} does not answer")
        elif health.status != "ready":
            wrong = {name: state for name, state in health.parts.items() if state != "ok"}
            faults.append(f"{program.name} is {health.status}: {wrong}")
    states = cluster.balancer.states()
    for node in cluster.nodes:
        state = states.get(node.name, "nowhere")
        if state != "UP":
            faults.append(f"HAProxy has {node.name} {state}")
    return faults


def rows_there(cluster: Cluster, told: Mapping[str, object]) -> int:
    """How many of the sessions that somebody was told of have no row yet, and records that no worker has taken."""
    figures = [worker.figures() for worker in cluster.workers]
    lag = sum(total(one, "typegate_worker_lag") for one in figures if one is not None)
    return len(told.keys() - _rows(cluster).keys()) + int(lag)


def _rows(cluster: Cluster) -> Counter[str]:
    rows = Counter[str]()
    for shard in cluster.shards.values():
        for table in ("test_results", "test_results_late"):
            rows.update(session_to_text(row["id"]) for row in shard.ask(f"SELECT id FROM typegate.{table}"))
    return rows


async def read_store(cluster: Cluster, told: Sequence[str]) -> Stored:
    """Read what is there. The workers have come to their end."""
    async with EmbeddedCatalogue(None) as catalogue:
        texts = Texts(catalogue, limits=SessionLimits())
        await texts.warm()
        async with MysqlResults(cluster.mysql, texts=texts) as store:
            results: dict[str, Result] = {}
            for start in range(0, len(told), _AT_ONCE):
                some = told[start : start + _AT_ONCE]
                found = await asyncio.gather(*(store.by_id(session_from_text(session)) for session in some))
                results |= {session: one for session, one in zip(some, found, strict=True) if one is not None}
    conflicts = Counter[str]()
    for shard in cluster.shards.values():
        conflicts.update(session_to_text(row["id"]) for row in shard.ask("SELECT id FROM typegate.result_conflicts"))
    return Stored(await asyncio.to_thread(_rows, cluster), results, conflicts, await _letters(cluster))


async def _letters(cluster: Cluster) -> list[str]:
    options = cluster.kafka_options
    consumer = AIOKafkaConsumer(
        options.dead_letter_topic, bootstrap_servers=list(options.servers), auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        letters: list[str] = []
        while len(letters) < sum(ends.values()):  # nothing is deleted from a topic this young
            for records in (await consumer.getmany(timeout_ms=1_000)).values():
                for record in records:
                    buried = exhume(record.headers)
                    letters.append("no letter" if buried is None else f"{buried.reason}: {buried.error}")
        return letters
    finally:
        await consumer.stop()


def everything(people: People, told: Mapping[str, bytes | None], stored: Stored, cluster: Cluster) -> list[Check]:
    """All checks but those of the faults, in the order of a report."""
    return [*of_people(people), *of_store(told, stored), *of_spools(cluster.nodes)]


def of_people(people: People) -> list[Check]:
    """What must hold of what people were told."""
    meters, clients = people.meters, people.clients
    left = [client for client in clients if not client.done]
    given_up = sum(meters.given_up.values()) - meters.given_up["nothing typed"]
    ended = meters.stored + sum(meters.given_up.values())
    done = len(clients) - len(left)
    return [
        _check("Every typist came to the end of the last test", not left, f"{done} of {len(clients)}"),
        _check(
            "No test was lost, begun anew or given up",
            meters.started == ended and not given_up,
            f"{meters.started} started, {meters.stored} stored, given up: {_counted(meters.given_up)}",
        ),
        _check(
            "Each result is what the typist's own log comes to, to the digit",
            not meters.mismatched and meters.checked == meters.accepted,
            f"{meters.checked} scored again, {meters.mismatched} differ",
        ),
        _check("Nobody was given two different results of one test", not meters.doubled, f"{meters.doubled} were"),
        _check(
            "All racers of a race were told the same end of it",
            not meters.errors["another table"],
            f"{meters.raced} tests were of races, {meters.errors['another table']} ends differ",
        ),
        _check(
            "The server never said anything that cannot be",
            not any(meters.errors[one] for one in _NONSENSE),
            _counted(Counter({one: meters.errors[one] for one in _NONSENSE if meters.errors[one]})),
        ),
    ]


_NONSENSE = (
    "tick beyond the log",
    "resumed wrongly",
    "stored without a result",
    "a verdict that is none",
    "conflict",
    "ticket",
    "foreign",
    "early",
)


def of_store(told: Mapping[str, bytes | None], stored: Stored) -> list[Check]:
    """What must hold of the rows. `told`: the figures of each session that somebody saw stored, in JSON."""
    missing = [session for session in told if not stored.rows[session]]
    twice = [session for session, count in stored.rows.items() if count > 1]
    unknown = [session for session in stored.rows if session not in told]
    other = [
        f"{session}: {'; '.join(wrong)}"
        for session, result in stored.results.items()
        if (wrong := _differences(session, told[session], result))
    ]
    verdicts = Counter(result.verdict for result in stored.results.values())
    reasons = Counter(
        reason.name for result in stored.results.values() if result.verdict != "ok" for reason in result.reasons
    )
    return [
        _check("Every result that a typist saw stored is in MySQL", not missing, _of(missing, len(told))),
        _check("... exactly once", not twice, f"{len(twice)} are there twice {some(twice)}"),
        _check("... with the figures of the typist's own log", not other, f"{len(other)} differ {some(other)}"),
        _check("Nothing is there that nobody was told of", not unknown, f"{len(unknown)} rows {some(unknown)}"),
        _check(
            "No result is void",
            not verdicts["void"],
            f"{_counted(verdicts)}{f', for {_counted(reasons)}' if reasons else ''}",
        ),
        _check(
            "No session has two results that disagree",
            not stored.conflicts,
            f"{sum(stored.conflicts.values())} {some(list(stored.conflicts))}",
        ),
        _check("There are no dead letters", not stored.letters, f"{len(stored.letters)} {some(stored.letters)}"),
    ]


def _differences(session: str, wanted: bytes | None, result: Result) -> list[str]:
    if wanted is None:
        return ["its typist has no figures"]
    found = orjson.loads(orjson.dumps(figures_of(session, result.summary)))
    return differences(found, orjson.loads(wanted))


def of_spools(nodes: Sequence[Node]) -> list[Check]:
    """What must hold of the data folders of stopped nodes."""
    left = [
        f"{node.name}: {one.rows} wait, {sum(one.set_aside.values())} set aside {one.fault or ''}"
        for node in nodes
        for one in survey(node.data / "spool")
        if one.rows or one.set_aside or one.fault
    ]
    return [_check("All spools are empty", not left, "; ".join(left) or "nothing waits")]


def of_faults(faults: Faults, unwell: Sequence[str]) -> list[Check]:
    """What must hold of the parts themselves."""
    slow = [f"{one.fault.part} {one.fault.kind}" for one in faults.suffered if one.well_s is None]
    troubled = [f"{one.fault.part}: {one.trouble}" for one in faults.suffered if one.trouble is not None]
    return [
        _check("All parts are well again", not unwell, "; ".join(unwell) or "ready, and UP at the balancer"),
        _check(
            "Whatever was done to a part, all was well again in time",
            not slow,
            f"{len(faults.suffered)} faults; not after {some(slow) or 'none'}",
        ),
        _check("Whatever was started came up at the first try", not troubled, some(troubled) or "all did"),
        _check("Nothing ended that nobody had ended", not faults.deaths, some(faults.deaths) or "nothing did"),
    ]


def within(holds: Callable[[], bool], *, within_s: float, every_s: float = 0.2) -> bool:
    """Wait until something holds; whether it does in time."""
    until = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(every_s)
    return True


def _check(law: str, holds: bool, found: str) -> Check:
    return Check(law, holds, found.strip())


def _of(missing: Sequence[str], all_: int) -> str:
    return f"{all_ - len(missing)} of {all_} {some(missing)}"


def some(names: Sequence[str]) -> str:
    """The first few of these, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items()) if count) or "none"
