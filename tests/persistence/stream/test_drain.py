"""What a stream promises, between a real spool and sinks that fail on demand."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from persistence.cache import MemoryCache, RecentResults
from persistence.errors import StoreError
from persistence.results import SqliteResults, Stored, Written
from persistence.stream import Drain, Sink, Spool, Spooled, SpoolOptions, StoreSink, Stream, StreamOptions
from persistence.stream.drain import back_off_ms
from session.result import Result
from tests.persistence.samples import copy_of, judged, sample, settled_sample

QUICK = StreamOptions(backoff_min_ms=1, backoff_max_ms=5, close_ms=60_000)


class MoodyStore(SqliteResults):
    """A SQLite store that can be told to refuse, to hang, or to dislike one session for good."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.refusals: list[Exception] = []
        """What the next writes raise, in this order."""
        self.away = False
        self.open = asyncio.Event()
        self.open.set()
        self.disliked: bytes | None = None
        self.batches: list[list[bytes]] = []

    async def write(self, results: Sequence[Result]) -> list[Written]:
        await self.open.wait()
        if self.refusals:
            raise self.refusals.pop(0)
        if self.away:
            raise StoreError("the store is away", retriable=True)
        if self.disliked in [result.session for result in results]:
            raise StoreError("never this one", retriable=False)
        self.batches.append([result.session for result in results])
        return await super().write(results)


class PickySink(StoreSink):
    """A sink to the store that cannot take some users' results just now, and answers each for itself."""

    def __init__(self, store: MoodyStore) -> None:
        super().__init__(store)
        self.away: set[int] = set()
        """Users whose part of the far side is away."""
        self.asked: list[list[bytes]] = []
        self.answered = asyncio.Event()

    async def hand_on(self, rows: Sequence[Spooled]) -> Sequence[StoreError | None]:
        self.asked.append([row.result.session for row in rows])
        taken = [row for row in rows if row.result.user not in self.away]
        if taken:
            await super().hand_on(taken)
        self.answered.set()
        return [StoreError("not now", retriable=True) if row not in taken else None for row in rows]

    async def until(self, enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not enough():
                self.answered.clear()
                await self.answered.wait()


class Bench:
    """A spool, a store and what a stream between them reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[bytes] = []
        self.heard = asyncio.Event()

    async def __aenter__(self) -> "Bench":
        self._stack = AsyncExitStack()
        self.spool = await self._stack.enter_async_context(
            Spool(self.folder / "spool", SpoolOptions(probe_ms=5, patience_ms=0))
        )
        self.store = await self._stack.enter_async_context(MoodyStore(self.folder / "results.db"))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def stream(self, options: StreamOptions = QUICK, *, sink: Sink | None = None) -> Stream:
        return Drain(self.spool, sink or StoreSink(self.store), self.hear, options, chance=Random(1))

    def hear(self, result: Result) -> None:
        self.told.append(result.session)
        self.heard.set()

    async def told_of(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.told) < count:
                self.heard.clear()
                await self.heard.wait()

    async def emptied(self) -> None:
        """Wait for the spool's thread to have deleted what was dropped."""
        await self.spool.sync()
        await asyncio.sleep(0)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path) as made:
        yield made


async def test_a_result_is_stored_told_of_and_dropped(bench: Bench) -> None:
    async with bench.stream() as stream:
        await bench.spool.put(sample())
        await bench.told_of(1)
        assert bench.told == [sample().session]
        assert await bench.store.by_id(sample().session) == sample()
        assert await stream.flush(timeout_ms=60_000)
        await bench.emptied()
        assert bench.spool.facts().rows == 0
        assert stream.facts().stored == 1


async def test_it_is_told_only_after_the_store_has_it(bench: Bench) -> None:
    bench.store.open.clear()
    async with bench.stream() as stream:
        await bench.spool.put(sample())
        await asyncio.sleep(0.02)
        assert bench.told == []
        assert not await stream.flush(timeout_ms=1)
        bench.store.open.set()
        await bench.told_of(1)


async def test_each_users_results_are_handed_on_in_order(bench: Bench) -> None:
    async with bench.stream(StreamOptions(batch_rows=7)) as stream:
        results = [sample(i, user=i % 5 + 1) for i in range(200)]
        await asyncio.gather(*map(bench.spool.put, results))
        assert await stream.flush(timeout_ms=60_000)
    written = [session for batch in bench.store.batches for session in batch]
    assert written == bench.told == [result.session for result in results]
    assert all(len(batch) <= 7 for batch in bench.store.batches)


async def test_what_an_earlier_process_left_is_stored_at_boot(bench: Bench) -> None:
    await asyncio.gather(*(bench.spool.put(sample(i)) for i in range(10)))
    async with bench.stream():
        await bench.told_of(10)
    bench.told.clear()
    async with bench.stream() as stream:  # and a second stream on the same spool finds nothing to do again
        assert await stream.flush(timeout_ms=60_000)
    assert bench.told == []


async def test_while_the_store_is_away_the_spool_grows_and_then_drains_in_order(bench: Bench) -> None:
    bench.store.away = True
    async with bench.stream() as stream:
        for i in range(5):
            await bench.spool.put(sample(i))
        async with asyncio.timeout(60):
            while stream.facts().failures < 3:  # noqa: ASYNC110  # facts come without an event
                await asyncio.sleep(0.001)
        with pytest.raises(StoreError, match="the store is away"):
            await stream.ping()
        assert bench.spool.facts().rows == 5
        bench.store.away = False
        await bench.told_of(5)
        assert bench.told == [sample(i).session for i in range(5)]
        assert await stream.flush(timeout_ms=60_000)
        await stream.ping()
        assert stream.facts().fault is None


async def test_a_fault_of_ours_does_not_end_the_drain(bench: Bench) -> None:
    bench.store.refusals = [RuntimeError("a bug"), StoreError("busy", retriable=True)]
    async with bench.stream() as stream:
        await bench.spool.put(sample())
        await bench.told_of(1)
        assert stream.facts().failures == 2


async def test_one_result_that_can_never_be_stored_holds_up_nobody(bench: Bench) -> None:
    bench.store.disliked = sample(5).session
    async with bench.stream() as stream:
        await asyncio.gather(*(bench.spool.put(sample(i)) for i in range(12)))
        await bench.told_of(11)
        assert await stream.flush(timeout_ms=60_000)
        assert (stream.facts().stored, stream.facts().refused) == (11, 1)
        await bench.emptied()
        assert (bench.spool.facts().rows, bench.spool.facts().refused_rows) == (1, 1)
    assert bench.told == [sample(i).session for i in range(12) if i != 5]


async def test_what_is_not_judged_yet_is_judged_before_it_is_handed_on(bench: Bench) -> None:
    """The store and whoever listens get final verdicts only; what was judged before it was spooled stays as it is."""
    heard: list[Result] = []

    def hear(result: Result) -> None:
        heard.append(result)
        bench.hear(result)

    settled = [settled_sample(i) for i in range(6)]
    final = [*map(judged, settled), sample(6)]
    assert {result.verdict for result in final} > {"ok", "void"}
    async with Drain(bench.spool, StoreSink(bench.store), hear, QUICK):
        for finished in settled:
            await bench.spool.put(finished)
        await bench.spool.put(sample(6))
        await bench.told_of(7)
    assert heard == final
    for result in final:
        assert await bench.store.by_id(result.session) == result


async def test_what_an_earlier_process_did_not_judge_is_judged_at_boot(bench: Bench) -> None:
    """It lies in the spool as that process settled it."""
    for i in range(3):
        await bench.spool.put(settled_sample(i))
    async with bench.stream():
        await bench.told_of(3)
    for i in range(3):
        assert await bench.store.by_id(sample(i).session) == judged(settled_sample(i))


async def test_what_cannot_be_judged_is_set_aside_and_holds_up_nobody(bench: Bench) -> None:
    """A log that is none: kept in the spool for a later version, as what the sink refuses is."""
    await bench.spool.put(replace(settled_sample(0), history=b"\x80"))
    await bench.spool.put(settled_sample(1))
    async with bench.stream() as stream:
        await bench.told_of(1)
        assert await stream.flush(timeout_ms=60_000)
        assert (stream.facts().stored, stream.facts().refused, stream.facts().failures) == (1, 1, 0)
        await bench.emptied()
        assert (bench.spool.facts().rows, bench.spool.facts().refused_rows) == (1, 1)
    assert bench.told == [sample(1).session]


async def test_others_have_their_turns_while_a_long_log_is_judged(bench: Bench) -> None:
    """It is judged in slices, with a turn of the loop between any two."""
    await bench.spool.put(settled_sample(1, events=30_000))
    turns = 0
    async with bench.stream(), asyncio.timeout(120):
        while not bench.told:
            turns += 1
            await asyncio.sleep(0)
    assert turns > 20


async def test_a_busy_loop_holds_up_the_judge_for_a_while_and_no_more(bench: Bench) -> None:
    """It gives way to others, but not for ever."""
    for i in range(40):
        await bench.spool.put(settled_sample(i))
    async with bench.stream(), asyncio.timeout(120):
        while len(bench.told) < 40:
            busy_until = time.perf_counter() + 0.001
            while time.perf_counter() < busy_until:
                pass
            await asyncio.sleep(0)


async def test_a_listener_that_fails_holds_up_nobody(bench: Bench) -> None:
    def broken(result: Result) -> None:
        bench.hear(result)
        raise RuntimeError("the listener's fault")

    async with Drain(bench.spool, StoreSink(bench.store), broken, QUICK) as stream:
        await asyncio.gather(*(bench.spool.put(sample(i)) for i in range(3)))
        await bench.told_of(3)
        assert await stream.flush(timeout_ms=60_000)
        assert stream.facts().failures == 0


async def test_a_copy_of_a_stored_session_is_told_again(bench: Bench) -> None:
    """A client that resumes and finishes once more must hear `stored` for its copy too."""
    async with bench.stream():
        await bench.spool.put(sample())
        await bench.told_of(1)
        await bench.spool.put(copy_of(sample(), core=1, seen_live=1))
        await bench.told_of(2)
    found = await bench.store.by_id(sample().session)
    assert found is not None
    assert (found.core_hash, found.verdict) == (sample().core_hash, "review")


async def test_closing_hands_on_what_is_left(bench: Bench) -> None:
    async with bench.stream():
        puts = [bench.spool.put(sample(i)) for i in range(300)]
    assert len(bench.told) == 300
    assert all(put.done() for put in puts)


async def test_closing_ends_in_bounded_time_and_leaves_the_rest_spooled(bench: Bench) -> None:
    bench.store.away = True
    async with asyncio.timeout(60):
        async with bench.stream(StreamOptions(close_ms=20, backoff_min_ms=1_000, backoff_max_ms=60_000)):
            await bench.spool.put(sample())
    assert bench.spool.facts().rows == 1
    bench.store.away = False
    async with bench.stream():
        await bench.told_of(1)


async def test_closing_cuts_a_back_off_short(bench: Bench) -> None:
    bench.store.away = True
    async with asyncio.timeout(60):
        async with bench.stream(
            StreamOptions(backoff_min_ms=600_000, backoff_max_ms=600_000, close_ms=60_000)
        ) as stream:
            await bench.spool.put(sample())
            while stream.facts().failures == 0:  # noqa: ASYNC110  # facts come without an event
                await asyncio.sleep(0.001)
            bench.store.away = False
    assert bench.told == [sample().session]


async def test_a_closed_stream_says_so(bench: Bench) -> None:
    async with bench.stream() as stream:
        await stream.ping()
    with pytest.raises(StoreError, match="stopped"):
        await stream.ping()
    assert not await stream.flush(timeout_ms=10)


async def test_the_recent_list_knows_of_a_result_before_its_owner_hears(bench: Bench) -> None:
    async with MemoryCache() as cache:
        recent = RecentResults(cache, bench.store)
        assert await recent.of(7) == []
        lists: list[asyncio.Task[list[Result]]] = []

        def hear(result: Result) -> None:
            lists.append(asyncio.get_running_loop().create_task(recent.of(7)))
            bench.hear(result)

        async def follow(stored: Sequence[Stored]) -> None:
            await recent.stored([one.result for one in stored])

        async with Drain(bench.spool, StoreSink(bench.store, follow=follow), hear, QUICK):
            await bench.spool.put(sample())
            await bench.told_of(1)
        assert await lists[0] == [sample()]


async def test_what_cannot_be_taken_now_holds_up_its_users_alone_and_keeps_their_order(bench: Bench) -> None:
    """Others go on past a user whose part of the far side is away; his results come in order when it is back."""
    sink = PickySink(bench.store)
    sink.away.add(1)
    async with bench.stream(sink=sink) as stream:
        theirs = [sample(i, user=1) for i in range(3)]
        await bench.spool.put(theirs[0])
        await sink.until(lambda: bool(sink.asked))
        for i, late in enumerate(theirs[1:]):
            await bench.spool.put(late)
            await bench.spool.put(sample(10 + i, user=2))
        await bench.told_of(2)
        assert bench.told == [sample(10, user=2).session, sample(11, user=2).session]
        assert not await stream.flush(timeout_ms=20)
        facts = stream.facts()
        assert (facts.stored, facts.held, facts.fault) == (2, 3, "not now")
        with pytest.raises(StoreError, match="not now"):
            await stream.ping()
        sink.away.clear()
        assert await stream.flush(timeout_ms=60_000)
        assert bench.told[2:] == [result.session for result in theirs]
        facts = stream.facts()
        assert (facts.stored, facts.held, facts.fault, facts.wait_ms) == (5, 0, None, 0)
        await stream.ping()


async def test_what_is_held_is_asked_about_in_its_time_however_much_else_waits(bench: Bench) -> None:
    """A long queue of others' results does not put a user off who can be served again."""
    sink = PickySink(bench.store)
    sink.away.add(1)
    bench.store.open.clear()
    async with bench.stream(StreamOptions(batch_rows=2, backoff_min_ms=1, backoff_max_ms=1), sink=sink):
        await asyncio.gather(*(bench.spool.put(sample(i, user=1 + min(i, 1))) for i in range(200)))
        bench.store.open.set()
        await bench.told_of(20)
        sink.away.clear()
        await bench.told_of(200)
    assert bench.told.index(sample(0, user=1).session) < 100


async def test_what_is_held_has_a_limit_at_which_all_wait(bench: Bench) -> None:
    """With a batch of held results nothing more is taken from the spool, until they are taken."""
    sink = PickySink(bench.store)
    sink.away = {1, 2, 3}
    async with bench.stream(StreamOptions(batch_rows=3, backoff_min_ms=1, backoff_max_ms=1), sink=sink) as stream:
        held = [sample(i, user=i) for i in (1, 2, 3)]
        await asyncio.gather(*map(bench.spool.put, held))
        await sink.until(lambda: stream.facts().held == 3)
        await bench.spool.put(sample(4, user=4))
        asked = len(sink.asked)
        await sink.until(lambda: len(sink.asked) > asked + 3)
        assert bench.told == []
        sink.away.clear()
        await bench.told_of(4)
        assert bench.told[-1] == sample(4, user=4).session


async def test_closing_asks_again_about_what_is_held(bench: Bench) -> None:
    """Closing cuts the rest of held results short too."""
    sink = PickySink(bench.store)
    sink.away.add(7)
    async with asyncio.timeout(60):
        async with bench.stream(
            StreamOptions(backoff_min_ms=600_000, backoff_max_ms=600_000, close_ms=60_000), sink=sink
        ):
            await bench.spool.put(sample())
            await sink.until(lambda: bool(sink.asked))
            sink.away.clear()
    assert bench.told == [sample().session]


async def test_a_sink_that_answers_for_too_few_is_asked_again(bench: Bench) -> None:
    """Nothing is dropped on the word of a sink that has lost count."""

    class Miscounting(StoreSink):
        wrong = 2

        async def hand_on(self, rows: Sequence[Spooled]) -> Sequence[StoreError | None]:
            answers = await super().hand_on(rows)
            self.wrong -= 1
            return answers[1:] if self.wrong >= 0 else answers

    async with bench.stream(sink=Miscounting(bench.store)) as stream:
        await bench.spool.put(sample())
        await bench.told_of(1)
        assert stream.facts().failures == 2


async def test_a_drain_waits_longer_after_each_failure(bench: Bench) -> None:
    """The wait doubles from failure to failure, and is gone once the far side takes results."""

    class Latest(Random):
        def random(self) -> float:
            return 1.0

    waits: list[float] = []

    class Watched(StoreSink):
        async def hand_on(self, rows: Sequence[Spooled]) -> Sequence[StoreError | None]:
            waits.append(stream.facts().wait_ms)
            return await super().hand_on(rows)

    bench.store.refusals = [StoreError("busy", retriable=True)] * 4
    options = StreamOptions(backoff_min_ms=1, backoff_max_ms=4)
    stream = Drain(bench.spool, Watched(bench.store), bench.hear, options, chance=Latest())
    async with stream:
        await bench.spool.put(sample())
        await bench.told_of(1)
        assert await stream.flush(timeout_ms=60_000)
    assert waits == [0, 1, 2, 4, 4]
    assert stream.facts().wait_ms == 0


@pytest.mark.parametrize(
    ("tries", "least", "most"), [(0, 5, 10), (1, 5, 20), (3, 5, 80), (4, 5, 100), (1_000_000, 5, 100)]
)
def test_back_offs_lie_between_a_hot_loop_and_their_limit(tries: int, least: float, most: float) -> None:
    """Full jitter between half of the shortest and the doubled one."""
    options = StreamOptions(backoff_min_ms=10, backoff_max_ms=100)
    chance = Random(5)
    drawn = [back_off_ms(options, tries, chance) for _ in range(2_000)]
    assert least <= min(drawn) < least + (most - least) / 20
    assert most - (most - least) / 20 < max(drawn) <= most


@pytest.mark.parametrize("wrong", [{"batch_rows": 0}, {"batch_rows": 20_000}, {"close_ms": 0}])
def test_options_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        StreamOptions(**wrong)
