"""The worker's order of things: what is stored, committed, tried again and by whom, on a log in memory."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from persistence.errors import StoreError
from persistence.notices import Doubt
from persistence.workers.rescore import RescoreOptions
from persistence.workers.worker import WorkerOptions
from session.identity import mint_race
from session.race_record import RaceRecord
from session.result import Result
from tests.persistence.samples import sample
from tests.persistence.workers.rig import PARTITIONS, Rig, rig
from tests.session.races import over


@pytest.fixture(name="rig")
async def _rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as made:
        yield made


def results(count: int, *, users: int = 8) -> list[Result]:
    return [sample(i, user=1 + i % users) for i in range(count)]


async def test_what_is_sent_is_stored_followed_and_committed(rig: Rig) -> None:
    """In batches of at most the limit, every step once a batch."""
    sent = results(50)
    await rig.send(sent)
    async with rig.working():
        await rig.done()
    await rig.holds(sent)
    assert rig.places.told == {result.session: 1 for result in sent}
    assert rig.meter.batches == [20, 20, 10]
    assert {rig.meter.steps[step] for step in ("decode", "rescore", "store", "boards", "commit")} == {3}


RACES = [RaceRecord.of(over(1, 2, race=mint_race(number))) for number in range(6)]


async def test_races_are_stored_among_results(rig: Rig) -> None:
    """Sent twice they are there once; nothing follows from them."""
    sent = results(10)
    await rig.send(sent)
    for number, race in enumerate([*RACES, *RACES]):
        await rig.log.append(number % PARTITIONS, race.pack())
    async with rig.working():
        await rig.done()
    await rig.holds(sent)
    assert {one.id: one for one in (await rig.store.races.by_user(1, limit=100)).races} == {r.id: r for r in RACES}
    assert set(rig.places.told) == {result.session for result in sent}
    assert set(rig.meter.races.values()) == {2}


async def test_a_race_that_cannot_be_stored_holds_up_its_partition_alone(rig: Rig) -> None:
    """And one that never can is a dead letter; results beside them are stored."""
    rig.store.races.away, rig.store.races.refused = {RACES[0].id}, {RACES[1].id}
    sent = [sample(1, user=PARTITIONS), sample(2, user=PARTITIONS + 1)]
    for number, race in enumerate(RACES):
        await rig.log.append(number % 2, race.pack())
    async with rig.working():
        await rig.send(sent)
        await rig.meter.until(lambda: bool(rig.meter.troubles[0]) and rig.meter.sessions == {s.session for s in sent})
        await rig.meter.until(lambda: rig.meter.races.keys() >= {RACES[3].id, RACES[5].id})
        assert rig.log.committed().get(0, 0) == 0
        rig.store.races.away = ()
        await rig.done()
    await rig.holds(sent)
    assert [(letter.reason, letter.record.offset) for letter in rig.graves.letters] == [("refused", 0)]
    assert {one.id for one in (await rig.store.races.by_user(1, limit=100)).races} == {
        race.id for race in RACES if race is not RACES[1]
    }


async def test_a_malformed_record_is_buried_and_holds_nobody(rig: Rig) -> None:
    sent = results(6)
    await rig.send(sent[:3])
    await rig.log.append(1, b"rubbish", key=b"k", headers=(("trace", b"t"),))
    await rig.log.append(1, None)
    await rig.send(sent[3:])
    async with rig.working():
        await rig.done()
    await rig.holds(sent)
    assert [(letter.record.key, letter.record.headers, letter.reason) for letter in rig.graves.letters] == [
        (b"k", (("trace", b"t"),), "malformed"),
        (None, (), "malformed"),
    ]


async def test_a_dead_letter_is_durable_before_its_offset_is_committed(rig: Rig) -> None:
    """While the dead letters' topic is away its partition waits, and no other does."""
    rig.graves.away = True
    await rig.log.append(1, b"rubbish")
    sent = [sample(1, user=PARTITIONS), sample(2, user=PARTITIONS + 2)]
    async with rig.working():
        await rig.send(sent)
        await committed(rig, {0: 1, 2: 1})
        assert rig.log.committed().get(1) is None
        rig.graves.away = False
        await rig.done()
    assert len(rig.graves.letters) == 1


async def test_a_result_that_can_never_be_stored_is_found_and_buried(rig: Rig) -> None:
    """By halving: the others of its batch are stored."""
    sent = results(16)
    bad = sent[5]
    rig.store.refused = lambda result: result.session == bad.session
    await rig.send(sent)
    async with rig.working():
        await rig.done()
    await rig.holds([result for result in sent if result is not bad])
    assert [letter.reason for letter in rig.graves.letters] == ["refused"]


async def test_a_result_that_can_never_be_stored_is_buried_once_while_its_partition_waits(rig: Rig) -> None:
    """A partition's users may be of several shards; the shard that is away does not make more letters."""
    bad, away = sample(1, user=PARTITIONS), sample(2, user=2 * PARTITIONS)
    rig.store.refused = lambda result: result.session == bad.session
    rig.store.away = lambda result: result.user == away.user
    await rig.send([bad, away])
    async with rig.working() as (worker, _):
        await rig.meter.until(lambda: rig.meter.troubles[0] > 0)
        before = rig.store.writes
        await until_tried(rig, before + 3)
        assert set(worker.facts().troubled) == {0}
        rig.store.away = lambda result: False
        await rig.done()
    await rig.holds([away])
    assert [letter.reason for letter in rig.graves.letters] == ["refused"]


async def test_partitions_that_wait_are_prepared_apart(rig: Rig) -> None:
    """What one of them finds out is not forgotten when another begins: it is the batch's that was parted."""
    rig.catalogue_away = True
    doubted = [replace(sample(i, user=PARTITIONS + i), list_version=999) for i in range(2)]  # of a list nobody knows
    await rig.send(doubted)
    async with rig.working(rescore=RescoreOptions("always")):
        await rig.meter.until(lambda: rig.meter.troubles[0] > 0 and rig.meter.troubles[1] > 0)
        rig.store.gate.clear()  # the first waits here, while the second is prepared
        rig.catalogue_away = False
        await rig.store.waiting.wait()
        await until_tried(rig, 2)
        rig.store.gate.set()
        await rig.done()
    assert {doubt.session for doubt in rig.told.doubts} == {result.session for result in doubted}


async def test_an_unforeseen_fault_is_tried_again_before_it_is_the_record_s_own(rig: Rig) -> None:
    """A bug that passes costs nobody their row; one that stays buries its record alone."""
    sent = results(8, users=1)
    rig.store.raises = RuntimeError("a bug")
    await rig.send(sent)
    async with rig.working():
        await troubled(rig, 1)
        rig.store.raises = None
        await rig.done()
        await rig.holds(sent)
        assert rig.graves.letters == []
        rig.store.raises = RuntimeError("a bug that stays")
        await rig.send([sample(100, user=1)])
        await rig.done()
    assert [(letter.reason, letter.error) for letter in rig.graves.letters] == [("fault", "a bug that stays")]


async def test_a_partition_in_trouble_waits_and_the_others_go_on(rig: Rig) -> None:
    """A shard is away: its users' partitions are tried again by themselves, in order, and resume by themselves."""
    rig.store.away = lambda result: result.user in (1, 2)
    sent = results(30, users=4)
    await rig.send(sent)
    async with rig.working() as (worker, _):
        await committed(rig, {0: 7, 3: 7})
        assert rig.log.committed().keys() == {0, 3}
        await rig.send(more := [sample(100 + i, user=1 + i % 4) for i in range(40)])
        await committed(rig, {0: 17, 3: 17})
        with pytest.raises(StoreError, match="a shard is away"):
            await worker.ping()
        assert set(worker.facts().troubled) == {1, 2}
        rig.store.away = lambda result: False
        await rig.done()
        await worker.ping()
    await rig.holds([*sent, *more])


async def test_a_result_that_cannot_be_played_again_yet_waits_and_the_other_partitions_go_on(rig: Rig) -> None:
    """The catalogue is away, and its test not known here. When it is back nobody knows the test, so it is doubted."""
    rig.catalogue_away = True
    sent = [sample(i, user=1 + i % 4) for i in range(8)]
    unknown = replace(sample(100, user=1), list_version=999, verdict="review")
    await rig.send([*sent, unknown])
    async with rig.working() as (worker, _):
        await committed(rig, {0: 2, 2: 2, 3: 2})
        assert set(worker.facts().troubled) == {1}
        with pytest.raises(StoreError, match="not known here yet, and the content database is away"):
            await worker.ping()
        rig.catalogue_away = False
        await rig.done()
    await rig.holds([result for result in sent if result.user != 1])
    stored = await rig.store.by_id(unknown.session)
    assert stored is not None
    assert "rescore_unreplayable" in {reason.name for reason in stored.reasons}
    assert not rig.graves.letters


async def test_who_was_told_a_milder_verdict_is_told_the_one_that_holds(rig: Rig) -> None:
    """Of a result that is doubted when it is played again; nobody else hears anything."""
    good, unknown = sample(1, user=1), replace(sample(2, user=2), list_version=999, epoch=1)
    async with rig.working(rescore=RescoreOptions(one_in=1_000_000)):
        await rig.send([unknown, good])
        await rig.done()
    assert rig.told.doubts == [Doubt(2, unknown.session, "review")]


async def test_rows_do_not_wait_for_a_cache_that_is_away(rig: Rig) -> None:
    """They are stored and not committed; when it is back they are read again, and everything follows."""
    rig.places.away = True
    sent = results(70)
    await rig.send(sent)
    async with rig.working() as (worker, _):
        await stored(rig, sent)
        assert rig.log.committed() == {}
        assert worker.facts().owing == PARTITIONS
        with pytest.raises(StoreError, match="Redis is away"):
            await worker.ping()
        rig.places.away = False
        await rig.done()
        await worker.ping()
    await rig.holds(sent)
    assert rig.places.told.keys() == {result.session for result in sent}


async def test_a_cache_that_comes_back_is_noticed_without_a_new_result(rig: Rig) -> None:
    rig.places.away = True
    sent = results(3)
    async with rig.working():
        await rig.send(sent)
        await stored(rig, sent)
        rig.places.away = False
        await rig.done()
    assert len(rig.places.told) == 3


async def test_a_follower_s_own_fault_is_its_own_loss(rig: Rig) -> None:
    """A bug in what follows, or a refusal for ever, holds up no partition."""
    sent = results(4)
    async with rig.working():
        for fault in (RuntimeError("a bug"), StoreError("never", retriable=False)):
            rig.places.raises = fault
            await rig.send(sent)
            await rig.done()
    await rig.holds(sent)


async def test_while_the_log_is_away_nothing_is_lost(rig: Rig) -> None:
    """What was stored and could not be committed is committed with what comes next."""
    sent = results(20)
    rig.store.gate.clear()
    async with rig.working():
        await rig.send(sent[:10])
        await rig.store.waiting.wait()
        rig.log.away = True
        rig.store.gate.set()
        await stored(rig, sent[:10])
        assert rig.log.committed() == {}
        rig.log.away = False
        await rig.send(sent[10:])
        await rig.done()
    await rig.holds(sent)


async def test_stopping_finishes_the_batch_under_way(rig: Rig) -> None:
    sent = results(20)
    rig.store.gate.clear()
    async with asyncio.TaskGroup() as group:
        async with rig.working():
            await rig.send(sent)
            await rig.store.waiting.wait()
            group.create_task(opened_soon(rig))
        assert sum(rig.log.committed().values()) == 20
    await rig.holds(sent)


async def test_stopping_gives_up_a_batch_that_hangs(rig: Rig) -> None:
    """In bounded time; the next worker does it."""
    sent = results(5)
    rig.store.gate.clear()
    async with rig.working(WorkerOptions(patience_ms=1)):
        await rig.send(sent)
        await rig.store.waiting.wait()
    assert rig.log.committed() == {}
    rig.store.gate.set()
    async with rig.working():
        await rig.done()
    await rig.holds(sent)


async def test_a_rebalance_waits_for_the_batch_under_way(rig: Rig) -> None:
    """Its offsets are committed before the partitions go on to another: no result is done twice."""
    sent = results(20)
    rig.store.gate.clear()
    async with rig.working() as (_, first):
        await rig.send(sent)
        await rig.store.waiting.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(opened_soon(rig))
            async with rig.working() as (_, second):
                assert sum(rig.log.committed().values()) == 20
                assert first.facts().held | second.facts().held == set(range(PARTITIONS))
                await rig.send(more := results(60)[20:])
                await rig.done()
    await rig.holds([*sent, *more])
    assert rig.meter.outcomes == {"inserted": 60}


async def test_a_rebalance_does_not_wait_for_ever(rig: Rig) -> None:
    """A batch that hangs is given up uncommitted, and done by whoever has its partitions next."""
    sent = results(20)
    rig.store.gate.clear()
    async with rig.working(WorkerOptions(patience_ms=1)) as (_, feed):
        await rig.send(sent)
        await rig.store.waiting.wait()
        await feed.regroup()
        assert rig.log.committed() == {}
        rig.store.gate.set()
        await rig.done()
    await rig.holds(sent)


async def test_a_partition_in_trouble_is_given_up_with_the_others(rig: Rig) -> None:
    """Whoever has it next begins where it was committed, and this worker tries it no more."""
    rig.store.away = lambda result: result.user == 1
    sent = results(8, users=4)
    await rig.send(sent)
    async with rig.working() as (worker, _):
        await committed(rig, {0: 2, 2: 2, 3: 2})
        async with rig.working() as (other, second):
            assert 1 in second.facts().held
            assert worker.facts().troubled == {}
            rig.store.away = lambda result: False
            await rig.done()
            assert other.facts().troubled == {}
    await rig.holds(sent)


async def test_debts_are_paid_by_whoever_has_the_partition_next(rig: Rig) -> None:
    rig.places.away = True
    sent = results(40)
    await rig.send(sent)
    async with rig.working() as (worker, _):
        await stored(rig, sent)
        async with rig.working():
            rig.places.away = False
            await rig.done()
        assert worker.facts().owing == 0
    assert rig.places.told.keys() == {result.session for result in sent}


async def test_a_worker_that_dies_loses_nothing(rig: Rig) -> None:
    """It dies with a batch stored and not committed; the next one meets the rows."""
    sent = results(20)
    async with rig.working() as (_, feed):
        rig.store.gate.clear()
        await rig.send(sent)
        await rig.store.waiting.wait()
        feed.die()
        rig.store.gate.set()
        await stored(rig, sent)
        assert rig.log.committed() == {}
        async with rig.working():
            await rig.done()
        feed._group.members.append(feed)  # so that it can leave as the context wants it to
    await rig.holds(sent)
    assert rig.meter.outcomes == {"inserted": 20, "repeated": 20}


async def test_two_deliveries_in_any_order_come_to_one_row(rig: Rig) -> None:
    """A producer that tried again, and a partition that was read again."""
    sent = results(12)
    async with rig.working():
        await rig.send([*sent, *reversed(sent), *sent[::3]])
        await rig.done()
    await rig.holds(sent)


def test_a_worker_s_options_are_checked() -> None:
    with pytest.raises(ValueError, match="batch_rows is 0; 1 or more is allowed"):
        WorkerOptions(batch_rows=0)
    with pytest.raises(ValueError, match="at most 1000"):
        WorkerOptions(batch_rows=1001)


async def test_a_closed_worker_says_so(rig: Rig) -> None:
    async with rig.working() as (worker, _):
        await worker.ping()
    with pytest.raises(StoreError, match="the worker has stopped"):
        await worker.ping()


async def committed(rig: Rig, ends: dict[int, int]) -> None:
    """Wait until the group has committed at least these."""
    async with asyncio.timeout(120), rig.log.changed:
        await rig.log.changed.wait_for(
            lambda: all(rig.log.committed().get(partition, 0) >= end for partition, end in ends.items())
        )


async def stored(rig: Rig, wanted: list[Result]) -> None:
    """Wait until these are in the store."""
    await rig.meter.until(lambda: {result.session for result in wanted} <= rig.meter.sessions)


async def troubled(rig: Rig, partition: int) -> None:
    """Wait until a partition is in trouble."""
    await rig.meter.until(lambda: rig.meter.troubles[partition] > 0)


async def until_tried(rig: Rig, writes: int) -> None:
    """Wait until the store was asked so often to write."""
    async with asyncio.timeout(120):
        while rig.store.writes < writes:  # noqa: ASYNC110  # a count, which comes without an event
            await asyncio.sleep(0.001)


async def opened_soon(rig: Rig) -> None:
    """Open the store's gate when everybody else has had some turns: a rebalance waits at it by then."""
    for _ in range(20):
        await asyncio.sleep(0)
    rig.store.gate.set()
