"""What must hold of races when all faults are over: each that a racer saw end has one record, which says the same.

The racers' word is what they were told last of a race (`RaceEnd`). It is held against the store's table, against what
anybody is shown over HTTP, against each racer's own list, and against the results of its tests.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from gateway.races.shown import state_of
from loadtest.chaos.checks import Check, Stored, some
from loadtest.client import TypingClient
from loadtest.cluster.cluster import Cluster
from loadtest.racer import RaceEnd, RacingClient
from persistence.catalogue import EmbeddedCatalogue
from persistence.catalogue.texts import Texts
from persistence.errors import StoreError
from persistence.results.mysql import MysqlResults
from session.identity import session_to_text
from session.options import SessionLimits
from session.places import placed
from session.race import Racer
from session.race_options import RaceRules
from session.race_record import RaceRecord
from session.result import Result
from session.state import RacerState

__all__ = ["Recorded", "Told", "losable", "of_races", "read_races", "told_by", "unrecorded"]

_AT_ONCE = 8
_A_PAGE = 20
_ASK_S = 30.0
_TRIES = 10
_FIGURES = ("ms", "wpm", "raw", "acc")

Told = Mapping[str, Mapping[str, RaceEnd]]
"""How races ended: by the token of each racer, and the race."""
Lane = tuple[str, int]
"""A race, and a lane of it."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is there of races in the end."""

    rows: Counter[str]
    """How many records each race has, over all shards."""
    racers: Counter[Lane]
    """How many rows each lane has in the table by which users find their races."""
    records: Mapping[str, RaceRecord | str]
    """The records of races that somebody was told of, where they are there; or why one cannot be read."""
    shown: Mapping[str, list[dict[str, Any]] | str]
    """The lanes of each race as anybody is shown them; or why not."""
    lists: Mapping[str, Counter[Lane] | str]
    """The races on each racer's own list, by token, with the lane that it had; or why there is no list."""


def told_by(clients: Sequence[TypingClient]) -> dict[str, dict[str, RaceEnd]]:
    """What racers were told."""
    racing = (one for one in clients if isinstance(one, RacingClient) and one.token is not None)
    return {one.token or "": one.ends for one in racing if one.ends}


def unrecorded(cluster: Cluster, told: Told, *, but: Collection[str] = ()) -> int:
    """How many of the races that somebody was told of, but these, have no record yet."""
    return len(_races(told) - _rows(cluster).keys() - set(but))


def losable(told: Told, may_be_lost: Callable[[RaceEnd], bool]) -> set[str]:
    """The races that may be lost: of which nobody was told that the places are final, or by a server that lived on."""
    certain = {race for ends in told.values() for race, end in ends.items() if end.final or not may_be_lost(end)}
    return _races(told) - certain


def _races(told: Told) -> set[str]:
    return {race for ends in told.values() for race in ends}


def _rows(cluster: Cluster) -> Counter[str]:
    return Counter(row["id"] for shard in cluster.shards.values() for row in shard.ask("SELECT id FROM typegate.races"))


def _racers(cluster: Cluster) -> Counter[Lane]:
    return Counter(
        (row["race_id"], row["lane"])
        for shard in cluster.shards.values()
        for row in shard.ask("SELECT race_id, lane FROM typegate.race_racers")
    )


async def read_races(cluster: Cluster, told: Told) -> Recorded:
    """Read what is there. Nodes and balancer still run."""
    rows, racers = await asyncio.to_thread(lambda: (_rows(cluster), _racers(cluster)))
    places = asyncio.Semaphore(_AT_ONCE)
    races = sorted(_races(told))
    async with (
        EmbeddedCatalogue(None) as catalogue,
        MysqlResults(cluster.mysql, texts=Texts(catalogue, limits=SessionLimits())) as store,
        httpx.AsyncClient(base_url="http://{}:{}".format(*cluster.address), timeout=_ASK_S, trust_env=False) as http,
    ):

        async def record(race: str) -> RaceRecord | str | None:
            async with places:
                try:
                    return await store.races.of(race)
                except StoreError as fault:
                    return str(fault)

        async def shown(race: str) -> list[dict[str, Any]] | str:
            async with places:
                answer = await _get(http, f"/v1/races/{race}")
            return answer if isinstance(answer, str) else answer["racers"]

        async def listed(token: str) -> Counter[Lane] | str:
            async with places:
                return await _list(http, token)

        records = await asyncio.gather(*map(record, races))
        pages = await asyncio.gather(*map(shown, races))
        lists = await asyncio.gather(*map(listed, told))
    return Recorded(
        rows,
        racers,
        {race: one for race, one in zip(races, records, strict=True) if one is not None},
        dict(zip(races, pages, strict=True)),
        dict(zip(told, lists, strict=True)),
    )


async def _list(http: httpx.AsyncClient, token: str) -> Counter[Lane] | str:
    """The whole of a racer's own list, page by page."""
    found = Counter[Lane]()
    cursor: dict[str, str] = {}
    while True:
        page = await _get(http, "/v1/users/me/races", token=token, limit=str(_A_PAGE), **cursor)
        if isinstance(page, str):
            return page
        found.update((row["race"], row["lane"]) for row in page["races"])
        if page.get("cursor") is None:
            return found
        cursor = {"cursor": page["cursor"]}


async def _get(http: httpx.AsyncClient, path: str, *, token: str | None = None, **query: str) -> dict[str, Any] | str:
    """The answer as a map, or what stands instead of it; who asks too fast is told how long to wait, and does."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    answer = None
    for _ in range(_TRIES):
        try:
            answer = await http.get(path, params=query, headers=headers)
        except httpx.TransportError as fault:
            return repr(fault)
        if answer.status_code != 429:
            break
        await asyncio.sleep(float(answer.headers["retry-after"]))
    assert answer is not None, "it was tried"
    return orjson.loads(answer.content) if answer.status_code == 200 else f"{answer.status_code} {answer.text[:200]}"


def of_races(
    told: Told,
    recorded: Recorded,
    stored: Stored,
    *,
    rules: RaceRules | None = None,
    may_be_lost: Callable[[RaceEnd], bool] = lambda end: False,
) -> list[Check]:
    """What must hold of the records of all races that somebody saw end.

    `may_be_lost`: whether a race may be lost for all that one of its racers was told, where nobody was told that its
    places are final (`loadtest.chaos.losses`).
    """
    races = sorted(_races(told))
    absent = [race for race in races if not recorded.rows[race]]
    lost = losable(told, may_be_lost).intersection(absent)
    missing = [race for race in absent if race not in lost]
    twice = [race for race, count in recorded.rows.items() if count > 1]
    records = {race: one for race, one in recorded.records.items() if isinstance(one, RaceRecord)}
    unread = [f"{race}: {one}" for race, one in recorded.records.items() if isinstance(one, str)]
    lanes = {(race, racer.lane): 1 for race, one in records.items() for racer in one.race.people}
    askew = [
        f"{race} lane {lane} is there {recorded.racers[race, lane]} times"
        for race, lane in sorted({*lanes, *recorded.racers})
        if race in records and recorded.racers[race, lane] != lanes.get((race, lane), 0)
    ]
    finals = [
        (race, end.racers) for ends in told.values() for race, end in ends.items() if end.final and race in records
    ]
    tables = {race: _table(one) for race, one in records.items()}
    others = sorted({race for race, racers in finals if tables[race] != racers})
    misplaced = [race for race, one in records.items() if placed(one.race, rules or RaceRules()) != one.race.racers]
    apart = [
        f"{race} lane {racer.lane}: {wrong}"
        for race, one in records.items()
        for racer in one.race.people
        if (wrong := _apart(racer, stored))
    ]
    unlike = [
        f"{race}: {page if isinstance(page, str) else 'other lanes'}"
        for race, page in recorded.shown.items()
        if race in tables and page != tables[race]
    ]
    wanted = [(token, race, end.lane) for token, ends in told.items() for race, end in ends.items() if race not in lost]
    unlisted = [
        f"{race} lane {lane}: {_listed(recorded.lists.get(token, 'no list'), race, lane)}"
        for token, race, lane in wanted
        if _listed(recorded.lists.get(token, "no list"), race, lane)
    ]
    there = f"{len(races) - len(absent)} of {len(races)}"
    if lost:
        there += f"; lost so: {some(sorted(lost))}"
    return [
        _check(
            "Every race that a racer saw end has a record in MySQL, or its servers and Redis had died before its"
            " places were final",
            missing,
            f"{there}; missing",
        ),
        _check(
            "... exactly one, with each of its racers once", [*twice, *unread, *askew], f"{len(records)} read; wrong"
        ),
        _check("... with the places and figures that its racers were told", others, f"{len(finals)} were told; differ"),
        _check("... in places that follow from its figures", misplaced, f"{len(records)} placed again; wrong"),
        _check("... with the figures of the results that are stored", apart, "differ"),
        _check("... and whoever asks is shown the same", unlike, f"{len(recorded.shown)} asked for; differ"),
        _check(
            "Each racer has the race on the own list, once, in the lane that it had", unlisted, f"{len(wanted)}; wrong"
        ),
    ]


def _table(record: RaceRecord) -> list[dict[str, Any]]:
    """The lanes as everybody is shown them."""
    rows: list[dict[str, Any]] = state_of(record.race)["racers"]
    return rows


def _apart(racer: Racer, stored: Stored) -> str | None:
    """How a racer's lane differs from the result of its test; None where it does not."""
    if racer.state is not RacerState.FINISHED:
        return None  # its test may have been typed to its end, too late for the race
    session = None if racer.session is None else session_to_text(racer.session)
    result = stored.results.get(session or "")
    if result is None:
        return f"there is no result {session}"
    if result.user != racer.user:
        return f"result {session} is another user's"
    if racer.final and result.verdict != racer.verdict:
        return f"verdict {racer.verdict}, the result's is {result.verdict}"
    told, wanted = [getattr(racer, name) for name in _FIGURES], _raced(result, racer.ms or 0.0)
    return None if told == wanted else f"{told}, by the result {wanted}"


def _raced(result: Result, ms: float) -> list[float]:
    """A result's figures as a race counts them: never less time than until its last key came (`session.racing`)."""
    summary = result.summary
    if ms <= summary.duration_ms:
        return [summary.duration_ms, summary.wpm, summary.raw, summary.acc]
    share = summary.duration_ms / ms
    return [ms, round(summary.wpm * share, 2), round(summary.raw * share, 2), summary.acc]


def _listed(listed: Counter[Lane] | str, race: str, lane: int) -> str | None:
    """What is wrong with a race on a list; None: nothing."""
    if isinstance(listed, str):
        return listed
    lanes = {of: count for (one, of), count in listed.items() if one == race}
    return None if lanes == {lane: 1} else f"in lanes {lanes}" if lanes else "not there"


def _check(law: str, wrong: Sequence[str], found: str) -> Check:
    return Check(law, not wrong, f"{found}: {some(wrong) or 'none'}")
