import asyncio
import resource
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from persistence.errors import SpoolFull, StoreError
from persistence.stream import Spool, SpoolOptions
from session.result import Result
from tests.persistence.samples import copy_of, sample, settled_sample

QUICK = SpoolOptions(probe_ms=5, patience_ms=60_000)


async def drain(spool: Spool) -> list[Result]:
    """All that the spool holds, in order, dropped."""
    results: list[Result] = []
    await spool.sync()
    while spool.taken_seq < spool.durable_seq:
        rows = await spool.take(100)
        results += [row.result for row in rows]
        spool.drop(rows)
    return results


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the spool's thread will report to the loop."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # it is facts that we look at, and they come without an event
            await asyncio.sleep(0.001)


def crash(folder: Path, into: Path) -> Path:
    """What a `kill -9` now would leave: the files as they are, and no lock."""
    into.mkdir()
    for path in folder.iterdir():
        if ".db" in path.name:
            shutil.copyfile(path, into / path.name)
    return into


async def test_what_was_accepted_survives_a_crash(tmp_path: Path) -> None:
    async with Spool(tmp_path / "spool") as spool:
        await spool.put(sample())
        left = crash(tmp_path / "spool", tmp_path / "left")
    async with Spool(left) as spool:
        assert await drain(spool) == [sample()]


async def test_rows_come_in_the_order_of_put_and_once(tmp_path: Path) -> None:
    async with Spool(tmp_path) as spool:
        results = [sample(i) for i in range(500)]
        await asyncio.gather(*map(spool.put, results))
        assert await drain(spool) == results
        await spool.put(sample(1000))
        assert await drain(spool) == [sample(1000)]


async def test_a_row_that_is_committed_during_a_take_comes_once(tmp_path: Path) -> None:
    """The thread commits it before it reads: the read must not give what the loop does not know to be durable."""
    async with Spool(tmp_path) as spool:
        await spool.put(sample(0))
        late = spool.put(sample(1))  # its commit is before the take in the thread's queue
        taken = await spool.take(10)
        await late
        assert [row.result for row in taken] == [sample(0)]
        assert [row.result for row in await spool.take(10)] == [sample(1)]


async def test_take_waits_for_a_row(tmp_path: Path) -> None:
    async with Spool(tmp_path) as spool, asyncio.TaskGroup() as group:
        taking = group.create_task(spool.take(10))
        await asyncio.sleep(0)
        assert not taking.done()
        await spool.put(sample())
        assert [row.result for row in await taking] == [sample()]


@pytest.mark.parametrize("behind", [0, 400, 1_500, 2_500])
async def test_rows_come_once_and_in_order_however_far_behind_the_consumer_is(tmp_path: Path, behind: int) -> None:
    """What was put a moment ago comes as it was put, what is further back is read again: at every change over too."""
    taken: list[Result] = []
    async with Spool(tmp_path, SpoolOptions(gather_ms=0)) as spool:
        results = [settled_sample(i, events=3) for i in range(3_000)]
        for start in range(0, 3_000, 100):
            await asyncio.gather(*(spool.put(result) for result in results[start : start + 100]))
            while start + 100 - len(taken) > behind:
                rows = await spool.take(70)
                assert all(row.settled == results[len(taken) + i] for i, row in enumerate(rows))
                assert [row.seq for row in rows] == list(range(len(taken) + 1, len(taken) + len(rows) + 1))
                taken += [row.result for row in rows]
        taken += await drain(spool)
    assert taken == [result.result for result in results]


async def test_rows_are_the_same_as_they_were_put_and_as_they_are_read_again(tmp_path: Path) -> None:
    """In every field."""
    async with Spool(tmp_path) as spool:
        await spool.put(settled_sample())
        await spool.put(sample(1))
        kept = await spool.take(10)
        spool.rewind()
        assert await spool.take(10) == kept
        assert [row.settled for row in kept] == [settled_sample(), None]


async def test_a_burst_is_committed_in_few_batches(tmp_path: Path) -> None:
    """The first result at once, what comes within the rest after it together: here the rest ends with `sync`."""
    async with Spool(tmp_path, SpoolOptions(gather_ms=600_000)) as spool:
        await spool.put(sample(0))
        late = [spool.put(sample(i)) for i in range(1, 6)]
        await spool.ping()  # behind whatever the thread was given
        assert not any(one.done() for one in late)
        await spool.sync()
        await asyncio.gather(*late)
        assert len({row.accepted_ms for row in (await spool.take(10))[1:]}) == 1


async def test_a_listener_that_fails_holds_up_nobody(tmp_path: Path) -> None:
    """What it raises is logged; the next one hears of its result."""

    def broken(error: StoreError | None) -> None:
        raise RuntimeError("the listener's fault")

    async with Spool(tmp_path) as spool:
        with capture_logs() as logs:
            spool.submit(sample(0), broken)
            await spool.put(sample(1))
        assert [line["event"] for line in logs] == ["a listener to spooled results failed"]


async def test_closing_does_not_wait_for_the_rest_after_a_commit(tmp_path: Path) -> None:
    """What gathers is committed at once."""
    async with asyncio.timeout(300):
        async with Spool(tmp_path, SpoolOptions(gather_ms=600_000)) as spool:
            await spool.put(sample(0))
            late = spool.put(sample(1))
        await late


async def test_a_cancelled_take_loses_nothing(tmp_path: Path) -> None:
    async with Spool(tmp_path) as spool:
        await spool.put(sample())
        spool.rewind()  # so that it is read from the file
        taking = asyncio.get_running_loop().create_task(spool.take(10))
        await asyncio.sleep(0)
        taking.cancel()
        await asyncio.wait([taking])
        assert await drain(spool) == [sample()]


async def test_rows_not_dropped_come_again_after_rewind_and_restart(tmp_path: Path) -> None:
    async with Spool(tmp_path) as spool:
        await asyncio.gather(*(spool.put(sample(i)) for i in range(3)))
        first, *_ = await spool.take(10)
        spool.drop([first])
        spool.rewind()
        assert [row.result for row in await spool.take(10)] == [sample(1), sample(2)]
    async with Spool(tmp_path) as spool:
        assert await drain(spool) == [sample(1), sample(2)]


async def test_numbers_go_on_after_the_spool_was_empty(tmp_path: Path) -> None:
    """A consumer's place must never lie beyond rows that are still to come."""
    async with Spool(tmp_path) as spool:
        await spool.put(sample(0))
        (row,) = await spool.take(10)
        spool.drop([row])
        await spool.put(sample(1))
        (later,) = await spool.take(10)
        assert later.seq > row.seq


async def test_facts_follow_what_lies_in_the_spool(tmp_path: Path) -> None:
    now_ms = 1_000
    async with Spool(tmp_path, clock_ms=lambda: now_ms) as spool:
        empty = spool.facts()
        assert (empty.rows, empty.bytes, empty.oldest_age_ms, empty.fault) == (0, 0, 0, None)
        await spool.put(sample(0))
        now_ms = 1_500
        await spool.put(sample(1))
        now_ms = 2_000
        facts = spool.facts()
        assert (facts.rows, facts.bytes, facts.oldest_age_ms) == (2, len(sample(0).pack() + sample(1).pack()), 1_000)
        first, second = await spool.take(10)
        spool.drop([first])
        await until(lambda: spool.facts().rows == 1)
        assert spool.facts().oldest_age_ms == 500
        spool.drop([second])
        await until(lambda: spool.facts() == empty)


async def test_facts_are_there_again_after_a_restart(tmp_path: Path) -> None:
    async with Spool(tmp_path, clock_ms=lambda: 1_000) as spool:
        await spool.put(sample())
    async with Spool(tmp_path, clock_ms=lambda: 4_000) as spool:
        facts = spool.facts()
        assert (facts.rows, facts.bytes, facts.oldest_age_ms) == (1, len(sample().pack()), 3_000)


# -- limits ------------------------------------------------------------------------------------------------------


async def test_a_full_spool_refuses_new_tests_first_and_results_last(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolOptions(max_rows=2, reserve_rows=1)) as spool:
        await spool.put(sample(0))
        assert (spool.accepting, spool.refusal) == (True, None)
        await spool.put(sample(1))
        assert (spool.accepting, spool.refusal) == (False, "2 results wait to be stored (limit 2)")
        with pytest.raises(StoreError, match="2 results wait"):
            await spool.ping()
        await spool.put(sample(2))
        with pytest.raises(SpoolFull) as raised:
            spool.put(sample(3))
        assert raised.value.retriable
        assert len(await drain(spool)) == 3
        await until(lambda: spool.accepting)
        await spool.put(sample(3))


async def test_bytes_are_limited_too(tmp_path: Path) -> None:
    large = sample(0, replay_bytes=50_000)
    async with Spool(tmp_path, SpoolOptions(max_bytes=1, reserve_bytes=60_000)) as spool:
        await spool.put(large)
        assert spool.refusal == "0 MiB of results wait to be stored (limit 0)"
        await spool.put(sample(1, replay_bytes=50_000))
        with pytest.raises(SpoolFull):
            spool.put(sample(2))


async def test_little_room_on_the_volume_refuses_new_tests_only(tmp_path: Path) -> None:
    with capture_logs() as logged:
        async with Spool(tmp_path, SpoolOptions(min_free_bytes=2**62, probe_ms=1)) as spool:
            assert spool.refusal is not None
            assert "free on the spool's volume" in spool.refusal
            await spool.put(sample())
            for _ in range(3):
                await asyncio.sleep(0.002)
                await spool.sync()
    told = [line for line in logged if "nearly full" in line["event"]]
    assert len(told) == 1, "an operator is told, once"


@pytest.mark.parametrize(
    "wrong", [{"max_rows": 0}, {"patience_ms": -1}, {"batch_rows": 5_000}], ids=lambda wrong: next(iter(wrong))
)
def test_options_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SpoolOptions(**wrong)


# -- a disk that refuses -----------------------------------------------------------------------------------------

TINY = 200_000
"""Bytes of a file that takes a few of `sample(replay_bytes=50_000)` (SQLite answers with a real SQLITE_FULL)."""


def large(i: int) -> Result:
    return sample(i, replay_bytes=50_000)


async def fill(spool: Spool) -> int:
    """Put large results until the disk refuses one; how many were accepted."""
    for i in range(20):
        (answer,) = await asyncio.gather(spool.put(large(i)), return_exceptions=True)
        if answer is not None:
            assert isinstance(answer, StoreError)
            assert answer.retriable
            assert "full" in str(answer)
            return i
    raise AssertionError("the file never filled up")


async def test_a_full_disk_is_a_clear_retriable_error_and_heals(tmp_path: Path) -> None:
    """Accepted results stay, the refused one is not kept, nothing needs a restart."""
    async with Spool(tmp_path, SpoolOptions(max_file_bytes=TINY, patience_ms=0, probe_ms=5)) as spool:
        accepted = await fill(spool)
        assert accepted > 1
        assert spool.facts().rows == accepted
        assert not spool.accepting
        assert "full" in (spool.facts().fault or "")
        with pytest.raises(StoreError, match="full"):
            await spool.ping()
        assert await drain(spool) == [large(i) for i in range(accepted)]
        await until(lambda: spool.accepting)
        await spool.put(large(99))
        assert await drain(spool) == [large(99)]


async def test_what_is_put_while_the_disk_refuses_is_taken_as_soon_as_it_can(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolOptions(max_file_bytes=TINY, patience_ms=60_000, probe_ms=5)) as spool:
        waiting = [spool.put(large(i)) for i in range(8)]
        await until(lambda: spool.facts().fault is not None)
        waiting.append(spool.put(sample(99)))
        results: list[Result] = []
        while len(results) < 9:
            rows = await spool.take(100)
            results += [row.result for row in rows]
            spool.drop(rows)
        await asyncio.gather(*waiting)
        assert results == [*(large(i) for i in range(8)), sample(99)]


async def test_a_result_that_waits_for_room_is_accepted_without_anybody_trying_again(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolOptions(max_file_bytes=TINY, patience_ms=60_000, probe_ms=5)) as spool:
        waiting = [spool.put(large(i)) for i in range(8)]
        await until(lambda: spool.facts().fault is not None)
        assert not waiting[-1].done()
        results: list[Result] = []
        while len(results) < 8:
            rows = await spool.take(100)
            results += [row.result for row in rows]
            spool.drop(rows)
        await asyncio.gather(*waiting)
        assert results == [large(i) for i in range(8)]
        await until(lambda: spool.facts().fault is None)


async def test_a_disk_that_fails_heals_without_losing_or_keeping_anything(tmp_path: Path) -> None:
    """The kernel refuses every write that would make the log longer: puts wait, drops are tried again."""
    async with Spool(tmp_path, QUICK) as spool:
        await spool.put(sample(0))
        rows = await spool.take(10)
        with no_file_longer_than((tmp_path / "spool-0.db-wal").stat().st_size):
            spool.drop(rows)
            await until(lambda: spool.facts().fault is not None)
            waiting = [spool.put(sample(i)) for i in range(1, 4)]
            with pytest.raises(StoreError, match="cannot be written"):
                await spool.ping()
            assert not any(future.done() for future in waiting)
        await asyncio.gather(*waiting)
        assert await drain(spool) == [sample(i) for i in range(1, 4)]
        await until(lambda: spool.facts().rows == 0)
        assert spool.facts().fault is None


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """Let the kernel answer EFBIG to every write of this process beyond a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_closing_fails_what_the_disk_did_not_take(tmp_path: Path) -> None:
    async with Spool(tmp_path, SpoolOptions(max_file_bytes=TINY, patience_ms=60_000)) as spool:
        waiting = [spool.put(large(i)) for i in range(8)]
        await until(lambda: spool.facts().fault is not None)
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    refused = [answer for answer in answers if answer is not None]
    assert refused
    assert all(isinstance(error, StoreError) and error.retriable for error in refused)
    async with Spool(tmp_path) as spool:
        assert len(await drain(spool)) == 8 - len(refused)


async def test_closing_commits_what_waits(tmp_path: Path) -> None:
    async with Spool(tmp_path) as spool:
        waiting = [spool.put(sample(i)) for i in range(300)]
    await asyncio.gather(*waiting)
    with pytest.raises(StoreError, match="closed"):
        spool.put(sample())
    async with Spool(tmp_path) as spool:
        assert len(await drain(spool)) == 300


async def test_an_owner_that_gives_up_waiting_does_not_take_its_result_back(tmp_path: Path) -> None:
    async with Spool(tmp_path) as spool:
        spool.put(sample(0)).cancel()
        await spool.put(sample(1))
        assert await drain(spool) == [sample(0), sample(1)]


async def test_a_result_that_cannot_be_packed_fails_alone(tmp_path: Path) -> None:
    broken = copy_of(sample(1), features={"x": object()})
    async with Spool(tmp_path) as spool:
        futures = [spool.put(result) for result in (sample(0), broken, sample(2))]
        good, bad, other = await asyncio.gather(*futures, return_exceptions=True)
        assert (good, other) == (None, None)
        assert isinstance(bad, StoreError)
        assert not bad.retriable
        assert await drain(spool) == [sample(0), sample(2)]
        await until(lambda: spool.facts().rows == 0)


async def test_a_file_that_was_deleted_under_us_is_noticed(tmp_path: Path) -> None:
    """Writes would go on and succeed, and nobody would ever see them again."""
    async with Spool(tmp_path, QUICK) as spool:
        (tmp_path / "spool-0.db").unlink()
        await until(lambda: not spool.accepting)
        assert "removed or replaced" in (spool.facts().fault or "")
        with pytest.raises(StoreError, match="removed or replaced"):
            spool.put(sample())
        with pytest.raises(StoreError, match="removed or replaced"):
            await spool.ping()


async def test_a_folder_that_was_deleted_under_us_is_noticed(tmp_path: Path) -> None:
    async with Spool(tmp_path / "spool", QUICK) as spool:
        (tmp_path / "spool").rename(tmp_path / "elsewhere")
        await until(lambda: spool.facts().fault is not None)
        assert not spool.accepting
        with pytest.raises(StoreError, match=r"is gone|was removed"):  # whichever the look came upon first
            spool.put(sample())


async def test_a_folder_that_is_back_is_taken_for_what_it_was(tmp_path: Path) -> None:
    """It is the same file, so all that was accepted is in it: a moment's absence stops no server for good."""
    folder, elsewhere = tmp_path / "spool", tmp_path / "elsewhere"
    async with Spool(folder, QUICK) as spool:
        await spool.put(sample(0))
        folder.rename(elsewhere)
        await until(lambda: not spool.accepting)
        elsewhere.rename(folder)
        await until(lambda: spool.accepting)
        await spool.ping()
        await spool.put(sample(1))
        assert await drain(spool) == [sample(0), sample(1)]


async def test_ping_answers(tmp_path: Path) -> None:
    async with Spool(tmp_path) as spool:
        await spool.ping()


# -- rows that nobody can take -----------------------------------------------------------------------------------


async def test_a_refused_row_is_kept_and_tried_again_at_the_next_start(tmp_path: Path) -> None:
    async with Spool(tmp_path) as spool:
        await asyncio.gather(spool.put(sample(0)), spool.put(sample(1)))
        first, second = await spool.take(10)
        await spool.refuse(first, "no")
        spool.drop([second])
        spool.rewind()
        await spool.put(sample(2))
        assert await drain(spool) == [sample(2)]
        await until(lambda: spool.facts().rows == 1)
        assert (spool.facts().refused_rows, spool.facts().oldest_age_ms) == (1, 0)
    async with Spool(tmp_path) as spool:
        assert await drain(spool) == [sample(0)]


async def test_what_was_set_aside_is_not_the_oldest_that_waits(tmp_path: Path) -> None:
    now_ms = 1_000
    async with Spool(tmp_path, clock_ms=lambda: now_ms) as spool:
        await spool.put(sample(0))
        now_ms = 3_000
        await spool.put(sample(1))
        first, _ = await spool.take(10)
        now_ms = 4_000
        assert spool.facts().oldest_age_ms == 3_000
        await spool.refuse(first, "no")
        await until(lambda: spool.facts().oldest_age_ms == 1_000)


async def test_many_unreadable_rows_hide_nothing_behind_them(tmp_path: Path) -> None:
    async with Spool(tmp_path) as spool:
        await asyncio.gather(*(spool.put(sample(i)) for i in range(12)))
    with sqlite3.connect(tmp_path / "spool-0.db") as connection:
        connection.execute("UPDATE spool SET packed = x'00' WHERE seq <= 10")
    connection.close()
    async with Spool(tmp_path) as spool:
        seen: list[Result] = []
        while spool.taken_seq < spool.durable_seq:
            seen += [row.result for row in await spool.take(5)]
        assert seen == [sample(10), sample(11)]
        assert spool.facts().refused_rows == 10


async def test_rows_that_nobody_can_take_hold_up_nobody_while_the_disk_refuses_to_mark_them(tmp_path: Path) -> None:
    """Those behind them must go, for that makes room. Without a mark they are tried again at the next start, too."""
    async with Spool(tmp_path) as spool:
        await asyncio.gather(*(spool.put(sample(i)) for i in range(4)))
    with sqlite3.connect(tmp_path / "spool-0.db") as connection:
        connection.execute("UPDATE spool SET packed = x'00' WHERE seq = 1")
    connection.close()
    async with Spool(tmp_path) as spool:
        await spool.put(sample(4))
        with no_file_longer_than((tmp_path / "spool-0.db-wal").stat().st_size):
            refused, *others = await spool.take(10)
            await spool.refuse(refused, "no")
            assert [row.result for row in others] == [sample(i) for i in range(2, 5)]
            assert spool.facts().refused_rows == 2
            assert spool.facts().fault is not None
        spool.drop(others)
    async with Spool(tmp_path) as spool:
        assert await drain(spool) == [sample(1)]
        assert spool.facts().refused_rows == 1


async def test_a_row_whose_bytes_changed_is_set_aside_and_holds_up_nobody(tmp_path: Path) -> None:
    async with Spool(tmp_path) as spool:
        await asyncio.gather(*(spool.put(sample(i)) for i in range(3)))
    with sqlite3.connect(tmp_path / "spool-0.db") as connection:
        connection.execute("UPDATE spool SET packed = zeroblob(length(packed)) WHERE seq = 2")
    connection.close()
    async with Spool(tmp_path) as spool:
        assert await drain(spool) == [sample(0), sample(2)]
        await until(lambda: spool.facts().rows == 1)
        assert spool.facts().refused_rows == 1
