"""Races that are over: recorded by whoever settled them, or by another where that one was killed; read for long."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from config.gateway import ConnectionOptions
from config.rooms import RoomOptions
from gateway.app import Gateway
from gateway.races import Room, Rooms
from gateway.races.changes import AT_ONCE, NO_RACE
from loadtest.servers.addresses import Addresses
from persistence.errors import StoreError
from persistence.race_records import RaceRecords
from persistence.races import MemoryRaces, RacesOptions
from persistence.races.port import Step
from persistence.redis import RedisOptions
from persistence.results import SqliteResults
from persistence.stream.record import encode
from persistence.workers.graveyard import Graveyard, Letter
from persistence.workers.outgoing import Sender
from session.identity import session_to_text
from session.messages import Error
from session.race import Race
from session.race_record import RaceRecord
from session.racing import Due
from session.state import Phase
from tests.gateway.plant import Plant, build, committed, gateway_of, worker_of
from tests.gateway.races.racers import RULES, Racer, healthy, node, nodes, race_of, racer, racers
from tests.gateway.running import PATIENCE_S, Program, environment
from tests.persistence.mysql_shards import MysqlShards
from tests.session.races import over

QUICK = RoomOptions(retry_ms=100, burst=1_000, record_ms=10)


def records_of(gateway: Gateway) -> RaceRecords:
    assert gateway.hub.racing is not None
    return gateway.hub.racing.rooms.records


async def recorded(gateway: Gateway, race: str) -> RaceRecord:
    """The record of a race, once it is there."""
    async with asyncio.timeout(PATIENCE_S):
        while (found := await records_of(gateway).of(race)) is None:  # noqa: ASYNC110  # it goes its way by itself
            await asyncio.sleep(0.01)
    return found


async def gone(gateway: Gateway) -> None:
    """Wait until a node has no rooms."""
    assert gateway.hub.racing is not None
    async with asyncio.timeout(PATIENCE_S):
        while len(gateway.hub.racing.rooms):  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.01)


async def judged(gateway: Gateway, race: str, *, lane: int) -> None:
    """Wait until a racer's verdict is the final one."""
    assert gateway.hub.racing is not None
    async with asyncio.timeout(PATIENCE_S):
        while True:
            known = await gateway.hub.racing.rooms.races.read(race)
            racer_ = None if known is None else known.lane(lane)
            if racer_ is not None and racer_.final:
                return
            await asyncio.sleep(0.01)


async def raced(*racing: Racer, **fields: object) -> str:
    """A race from its beginning to its end; its id."""
    await race_of(*racing, **fields)
    await racing[0].begin()
    for each in racing:
        await each.type()
        await each.finish()
    for each in racing:
        await each.until(lambda state: state["phase"] == "settled" and not state["provisional"])
    return racing[0].race


def shown(state: dict[str, object]) -> dict[str, object]:
    """What of a `race.state` is the race's own."""
    return {name: value for name, value in state.items() if name not in ("t", "lane", "version", "ref", "title")}


async def test_a_race_is_read_from_its_record_when_it_is_forgotten(tmp_path: Path) -> None:
    """The same as at its end; to whoever has its id, and without anybody's user or session."""
    async with node(tmp_path) as gateway, racers(gateway, gateway) as (host, other):
        race = await raced(host, other)
        record = await recorded(gateway, race)
        users = {int(each.typist.ready["user"]) for each in (host, other)}
        assert {racer.user for racer in record.race.people} == users
    # races under way lie in a process's memory, and are forgotten with it
    async with node(tmp_path) as gateway, httpx.AsyncClient(timeout=60, base_url=gateway.url, trust_env=False) as http:
        answer = await http.get(f"/v1/races/{race}")
        assert answer.status_code == 200
        body = answer.json()
        assert shown(body) == shown(host.state)
        sessions = [session_to_text(one.session or b"") for one in record.race.people]
        for hidden in (*map(str, users), *sessions):
            assert hidden not in answer.text
        for unknown in ("0123456789abc", "nonsense", "x" * 500, race.upper()):
            assert (await http.get(f"/v1/races/{unknown}")).status_code == 404
        assert (await http.get("/v1/races")).json()["races"] == []


async def test_one_s_own_races_are_listed(tmp_path: Path) -> None:
    """Newest first, in pages, with the lane; nobody else's."""
    async with node(tmp_path) as gateway, racers(gateway, gateway) as (host, other):
        first = await raced(host, other, count=1)
        await host.say("race.leave")
        await other.say("race.leave")
        second = await raced(other, host, count=1)
        for race in (first, second):
            await recorded(gateway, race)
        async with httpx.AsyncClient(timeout=60, base_url=gateway.url, trust_env=False) as http:

            def bearing(who: Racer) -> dict[str, str]:
                return {"authorization": f"Bearer {who.typist.ready['token']}"}

            page = (await http.get("/v1/users/me/races?limit=1", headers=bearing(host))).json()
            assert [(row["race"], row["lane"]) for row in page["races"]] == [(second, 1)]
            assert page["races"][0]["racers"][0]["place"] in (1, 2)
            rest = (await http.get(f"/v1/users/me/races?cursor={page['cursor']}", headers=bearing(host))).json()
            assert [(row["race"], row["lane"]) for row in rest["races"]] == [(first, 0)]
            assert rest["cursor"] is None
            path = f"/v1/users/{host.typist.ready['user']}/races"
            assert (await http.get(path, headers=bearing(host))).status_code == 200
            refused = await http.get(path, headers=bearing(other))
            assert refused.status_code == 403
            assert (await http.get(path)).status_code == 401
            for wrong in ("cursor=abc", "limit=0", "limit=21"):
                assert (await http.get(f"/v1/users/me/races?{wrong}", headers=bearing(host))).status_code == 422


async def test_a_race_that_all_have_left_is_settled_and_recorded(tmp_path: Path) -> None:
    """The first has finished and is gone, the others' connections are lost: the node sees to the race's end."""
    rules = replace(RULES, closing_ms=3_000, closing_most_ms=3_000)  # longer than a room is kept that owes nothing
    async with node(tmp_path, race=rules) as gateway:
        async with racers(gateway, gateway) as (host, other):
            await race_of(host, other)
            await host.begin()
            await host.type()
            await other.typist.socket.close()
            await host.finish()
            await host.until(lambda state: state["phase"] in ("closing", "settled"))
        record = await recorded(gateway, host.race)
        assert [racer.place for racer in record.race.racers] == [1, None]
        await gone(gateway)


async def test_a_lobby_that_nobody_raced_in_has_no_record(tmp_path: Path) -> None:
    async with node(tmp_path) as gateway:
        async with racer(gateway) as host:
            await host.create()
            await host.say("race.leave")
        await gone(gateway)
        assert gateway.hub.racing is not None
        assert gateway.hub.racing.rooms.facts.records == {}
        assert await records_of(gateway).of(host.race) is None


async def test_of_several_nodes_one_records(
    tmp_path: Path, redis_single: RedisOptions, mysql_shards: MysqlShards
) -> None:
    """The one that settled the race; the other looks for the record in the store that they share."""
    mysql_shards.clear()
    async with nodes(tmp_path, redis_single, "a", "b", mysql=mysql_shards.options, rooms=QUICK) as both:
        async with racers(*both) as racing:
            race = await raced(*racing)
        for gateway in both:
            await gone(gateway)
            assert (await recorded(gateway, race)).id == race
        records = [gateway.hub.racing.rooms.facts.records for gateway in both if gateway.hub.racing is not None]
        assert sum(one["spooled"] - one["missed"] for one in records) == 1
        assert sum(one["refused"] for one in records) == 0
    rows = [row for shard in ("a", "b") for row in mysql_shards.ask(shard, "SELECT id FROM races")]
    assert rows == [(race,)]


async def test_a_spool_that_refuses_is_asked_again(tmp_path: Path) -> None:
    """The room stays for it, though everybody is gone."""
    file, aside = tmp_path / "a" / "spool" / "spool-0.db", tmp_path / "aside.db"
    async with node(tmp_path, rooms=QUICK) as gateway:
        assert gateway.hub.racing is not None
        async with racers(gateway, gateway) as (host, other):
            await race_of(host, other)
            await host.begin()
            await host.type()
            await host.finish()
            await judged(gateway, host.race, lane=0)
            file.rename(aside)
            async with asyncio.timeout(PATIENCE_S):
                while gateway.hub.spool.refusal is None:  # noqa: ASYNC110  # it looks after its file by itself
                    await asyncio.sleep(0.01)
            await other.say("race.leave")
            async with asyncio.timeout(PATIENCE_S):
                while gateway.hub.racing.rooms.facts.records["refused"] < 2:  # noqa: ASYNC110  # as above
                    await asyncio.sleep(0.01)
        aside.rename(file)
        await recorded(gateway, host.race)


@pytest.mark.parametrize("when", ["at once", "later"])
async def test_killed_between_settling_and_spooling(
    tmp_path: Path, redis_single: RedisOptions, fresh_name: Callable[[str], str], when: str
) -> None:
    """`kill -9` right after the last compare-and-set: another node that has a racer, or gets one back, records it."""
    where = replace(redis_single, prefix=f"{fresh_name('recording')}:")
    async with node(tmp_path, "a", redis=where, rooms=QUICK) as survivor:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.gateway.races.doomed_node",
            str(tmp_path),
            where.url,
            where.prefix,
            env=environment() | {"PYTHONPATH": os.getcwd()},
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(PATIENCE_S):
                url = (await process.stdout.readline()).decode().strip()
            doomed = Program(process, url)
            async with racer(doomed) as host, racer(survivor if when == "at once" else doomed) as other:
                await race_of(host, other)
                await host.begin()
                await other.type()
                await other.finish()
                await judged(survivor, host.race, lane=1)
                await host.say("race.leave")  # with which nothing is awaited any more: the host's node settles the race
                async with asyncio.timeout(PATIENCE_S):
                    assert await process.wait() == -signal.SIGKILL
            race = host.race
            stored = await survivor.hub.racing.rooms.races.read(race)  # type: ignore[union-attr]
            assert stored is not None
            assert (stored.phase, stored.final) == (Phase.SETTLED, True)
            async with SqliteResults(tmp_path / "b" / "results.db") as store:
                assert await store.races.of(race) is None
            if when == "later":
                async with racer(survivor, token=other.typist.ready["token"]) as back:
                    await back.join(race)
            record = await recorded(survivor, race)
            assert [one.place for one in record.race.racers] == [None, 1]
            assert survivor.hub.racing.rooms.facts.records["missed"] == 1  # type: ignore[union-attr]
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def test_the_way_of_a_record_through_kafka(
    tmp_path: Path,
    fresh_name: Callable[[str], str],
    kafka_servers: list[str],
    mariadb_servers: Addresses,
    redis_servers: Addresses,
) -> None:
    """From the spool to a row that every node reads, once however often it comes; what is none is a dead letter."""
    plant = await build(
        fresh_name, kafka=kafka_servers, mariadb=mariadb_servers, redis=redis_servers["url"], patient=True
    )
    sections: dict[str, Any] = {"race": RULES, "rooms": QUICK, "connection": ConnectionOptions(starts_burst=1_000)}
    async with worker_of(plant, tmp_path), gateway_of(plant, tmp_path, **sections) as gateway:
        await healthy(gateway)
        async with racers(gateway, gateway) as racing:
            race = await raced(*racing)
        record = await recorded(gateway, race)
        async with httpx.AsyncClient(timeout=60, base_url=gateway.url, trust_env=False) as http:
            assert shown((await http.get(f"/v1/races/{race}")).json()) == shown(racing[0].state)
        again = [RaceRecord.of(over(1, 2)), record, record]
        sent = [encode(one, node="n", timestamp_ms=5, accepted_ms=4) for one in again]
        wrong = [
            sent[0]._replace(value=b"rubbish"),
            sent[0]._replace(key=b"race:0123456789abd"),
            sent[0]._replace(headers=[("kind", b"race"), ("schema", b"9")]),
            sent[0]._replace(headers=[("kind", b"cup"), ("schema", b"2")]),
        ]
        async with Sender(plant.kafka, client_id="elsewhere", topics=[plant.kafka.results_topic]) as sender:
            await sender.partitions(plant.kafka.results_topic)
            await sender.send(plant.kafka.results_topic, {1: [*sent, *wrong]})
        await committed(plant)
        assert await records_of(gateway).of(race) == record
        assert await records_of(gateway).of(again[0].id) == again[0]
        assert sorted(plant.rows("id", table="races")) == sorted([(race,), (again[0].id,)])
        assert len(plant.rows("user_id", table="race_racers")) == 4
        letters = [letter async for letter in _letters(plant)]
        assert sorted(letter.buried.reason for letter in letters if letter.buried is not None) == [
            "malformed",
            "malformed",
            "newer",
            "newer",
        ]
        assert {letter.value for letter in letters} == {one.value for one in wrong}


async def _letters(plant: Plant) -> AsyncIterator[Letter]:
    async with Graveyard(plant.kafka, client_id="looks") as yard:
        async for letter in yard.letters():
            yield letter


async def test_a_race_that_another_settled_is_recorded_by_who_sees_it(tmp_path: Path) -> None:
    """As soon as the store can be asked for the record."""
    async with node(tmp_path, rooms=QUICK) as gateway, racer(gateway) as late:
        assert gateway.hub.racing is not None
        rooms = gateway.hub.racing.rooms
        begun_ms = rooms.now_ms() - 60_000
        settled = over(1, 2, begun_ms=begun_ms)
        await rooms.races.change(settled.id, lambda stored, now_ms: settled)
        with closing(sqlite3.connect(tmp_path / "a" / "results.db", isolation_level=None)) as operator:
            operator.execute("ALTER TABLE races RENAME TO away")
            await late.say("watch", race=settled.id)
            await late.hear("race.state")
            await searched(rooms, settled.id)
            assert rooms.facts.records == {}
            operator.execute("ALTER TABLE away RENAME TO races")
        assert await recorded(gateway, settled.id) == RaceRecord.of(settled)
        assert rooms.facts.records == {"missed": 1, "spooled": 1}


async def test_a_race_that_the_store_loses_before_its_places_are_final(tmp_path: Path) -> None:
    """Who is in its room gives it back, so that it ends, is recorded, and the room closes."""
    async with node(tmp_path, rooms=QUICK) as gateway:
        async with racer(gateway) as late:
            assert gateway.hub.racing is not None
            rooms = gateway.hub.racing.rooms
            rooms.races = store = Fickle(RacesOptions(settled_ms=1))
            known = over(1, 2, begun_ms=rooms.now_ms() - 60_000)
            until_ms = rooms.now_ms() + 60_000
            provisional = replace(
                known, until_ms=until_ms, racers=tuple(replace(one, final=False) for one in known.racers)
            )
            await rooms.races.change(known.id, lambda stored, now_ms: provisional)
            room = rooms.open(known.id)
            assert isinstance(room, Room)
            room.take(provisional)  # as another node tells it
            await late.say("watch", race=known.id)
            assert (await late.hear("race.state"))["provisional"]
            store.ahead_ms = 60_000
            assert await store.read(known.id) is None
            await late.until(lambda state: not state["provisional"])
        record = await recorded(gateway, known.id)
        assert [one.place for one in record.race.racers] == [one.place for one in known.racers]
        await gone(gateway)


async def test_a_race_whose_end_comes_while_the_store_is_away(tmp_path: Path) -> None:
    """Its room waits for the store, though all its racers be gone."""
    rules = replace(RULES, verdicts_ms=100)
    async with node(tmp_path, rooms=replace(QUICK, retry_ms=60_000), race=rules) as gateway:
        assert gateway.hub.racing is not None
        rooms = gateway.hub.racing.rooms
        rooms.races = store = Fickle()
        async with racers(gateway, gateway) as (host, other):
            await race_of(host, other)
            await host.begin()
            await host.type()
            await host.finish()
            await host.phase("closing")
        (room,) = rooms.rooms()
        async with asyncio.timeout(PATIENCE_S):
            while not room.spare:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.01)
            store.away, store.ahead_ms = True, RULES.closing_ms
            while not room.frozen:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.01)
            looked_ms = room._looked_ms
            while room._looked_ms < looked_ms + 1_000:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.01)
            store.away = False
        rooms.bus.listening(f"race:{host.race}")  # with what the servers share the bus is back
        assert [one.place for one in (await recorded(gateway, host.race)).race.racers] == [1, None]


class Fickle(MemoryRaces):
    """A store of races that may be away, and whose clock may be put forward."""

    away = False
    ahead_ms = 0
    tries = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms

    async def change(self, race: str, step: Step) -> Race | Error:
        self.tries += 1
        if self.away:
            raise StoreError("away", retriable=True)
        return await super().change(race, step)


async def test_all_who_ask_are_told_at_once_that_the_store_is_away(tmp_path: Path) -> None:
    """By one try, however many they are: each may take as long as the store has time to answer."""
    async with node(tmp_path, rooms=replace(QUICK, retry_ms=60_000)) as gateway:
        assert gateway.hub.racing is not None
        rooms = gateway.hub.racing.rooms
        rooms.races = store = Fickle()
        store.away = True
        room = rooms.open("0123456789abc")
        assert isinstance(room, Room)
        answers = await asyncio.gather(*(room.ask(room.step(Due())) for _ in range(3 * AT_ONCE)))
        assert {answer.code for answer in answers if isinstance(answer, Error)} == {"away"}
        assert store.tries <= 2  # one may be the room's own: it catches up when its channel is there


async def test_a_room_that_has_closed_answers(tmp_path: Path) -> None:
    """Who asks for another race and waits for its text may ask a room that nobody needed meanwhile."""
    async with node(tmp_path) as gateway:
        assert gateway.hub.racing is not None
        room = gateway.hub.racing.rooms.open("0123456789abc")
        assert isinstance(room, Room)
        room.close()
        async with asyncio.timeout(PATIENCE_S):
            assert await room.ask(room.step(Due())) is NO_RACE


async def searched(rooms: Rooms, race: str) -> None:
    """Wait until a room has looked for the record of its race at least once."""
    room = rooms.open(race)
    assert isinstance(room, Room)
    async with asyncio.timeout(PATIENCE_S):
        planned_ms = room._recording._at_ms
        while room._recording._at_ms == planned_ms:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.01)


async def test_who_needs_a_room_gets_that_of_a_race_which_all_have_left(tmp_path: Path) -> None:
    """A room that waits for its race's end alone stands in nobody's way."""
    async with node(tmp_path, rooms=replace(QUICK, most=1)) as gateway:
        assert gateway.hub.racing is not None
        async with racers(gateway, gateway) as (host, other):
            await race_of(host, other)
            async with racer(gateway) as third:
                assert await third.refused("race.create", mode="words", count=5) == "races_full"
            for each in (host, other):
                await each.typist.socket.close()
        async with racer(gateway) as third, asyncio.timeout(PATIENCE_S):
            while not gateway.hub.racing.rooms.deserted:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.01)
            assert gateway.hub.racing.rooms.rooms()[0].id == host.race
            await third.create()
            assert [room.id for room in gateway.hub.racing.rooms.rooms()] == [third.race]
