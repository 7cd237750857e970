"""A result's way: settled, accepted, stored, in this order, told to whoever listens, and lost to nobody."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.metrics import Metrics
from gateway.slices import Slices
from gateway.submissions import RETRY_MS, Submission, Submissions
from persistence.stream import Spool, SpoolOptions
from session.holder import Word
from session.machine import TypingSession
from session.messages import Error
from session.options import TestOptions
from session.result import Result
from session.settling import Settled
from tests.persistence.samples import sample
from tests.session.play import EPOCH_MS, Player, rebuilt


def ended(seed: int) -> TypingSession:
    """A session whose text was typed to its end."""
    player = Player(TestOptions(mode="words", count=2), seed=seed)
    assert player.type(list(player.material.text)) is None
    assert player.session.ended
    return player.session


def stored_of(session: TypingSession) -> Result:
    """What the stream says of a session's result."""
    return replace(sample(), session=session.id, verdict="review")


class Heard:
    """A listener that writes down what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.news: list[tuple[str, bytes]] = []
        self.errors: list[Error] = []
        self.results: list[Result] = []
        self.refs: list[int | None] = []
        self.verdicts: list[str] = []
        self._told = asyncio.Event()

    def _note(self, what: str, submission: Submission) -> None:
        self.news.append((what, submission.session))
        self._told.set()

    def accepted(self, submission: Submission, result: Result, ref: int | None) -> None:
        assert result.session == submission.session
        self.results.append(result)
        self.refs.append(ref)
        self._note("accepted", submission)

    def unsaved(self, submission: Submission, error: Error) -> None:
        self.errors.append(error)
        self._note("unsaved", submission)

    def stored(self, submission: Submission, verdict: str) -> None:
        self.verdicts.append(verdict)
        self._note("stored", submission)

    def superseded(self, submission: Submission) -> None:
        self._note("superseded", submission)

    def lost(self, submission: Submission) -> None:
        self._note("lost", submission)

    async def until(self, enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not enough():
                self._told.clear()
                await self._told.wait()


class House:
    """Submissions on a real spool."""

    def __init__(self, spool: Spool) -> None:
        loop = asyncio.get_running_loop()
        self.spool = spool
        self.metrics = Metrics(node="n")
        self.submissions = Submissions(spool, Slices(loop, clock=loop.time), self.metrics, node="n", clock=loop.time)

    async def drop_all(self) -> None:
        """Confirm and forget what is spooled, as a stream does."""
        self.spool.drop(await self.spool.take(100))
        await self.spool.sync()


@pytest.fixture(name="house")
async def _house(tmp_path: Path) -> AsyncIterator[House]:
    async with Spool(tmp_path, SpoolOptions(max_rows=1, reserve_rows=1, min_free_bytes=0)) as spool:
        yield House(spool)


async def test_accepted_then_stored_then_forgotten(house: House) -> None:
    """The listener hears each once; at `stored` the submission is over."""
    heard, session = Heard(), ended(1)
    house.submissions.submit(session, heard, ping_ms=5)
    await heard.until(lambda: bool(heard.news))
    submission = house.submissions.of(session.id)
    assert submission is not None
    assert submission.accepted
    (row,) = await house.spool.take(10)
    assert row.settled == submission.finished
    assert row.result == submission.result
    house.submissions.stored(stored_of(session))
    house.submissions.stored(stored_of(session))
    assert heard.news == [("accepted", session.id), ("stored", session.id)]
    assert heard.verdicts == ["review"]
    assert house.submissions.of(session.id) is None
    assert len(house.submissions) == 0


async def test_stored_never_comes_before_accepted(house: House) -> None:
    """Where the stream is faster than the loop hears of the spool, `stored` waits."""
    heard, session = Heard(), ended(1)
    house.submissions.submit(session, heard, ping_ms=5)
    house.submissions.stored(stored_of(session))
    await heard.until(lambda: len(heard.news) == 2)
    assert heard.news == [("accepted", session.id), ("stored", session.id)]


async def test_a_result_of_an_earlier_process_is_nobodys(house: House) -> None:
    """The stream also reports what a process before us had spooled."""
    house.submissions.stored(sample())
    assert len(house.submissions) == 0


async def test_a_submission_outlives_its_listener(house: House) -> None:
    """Who leaves is not told; the result is spooled all the same."""
    heard, session = Heard(), ended(1)
    house.submissions.submit(session, heard, ping_ms=5)
    house.submissions.leave(session.id, heard)
    assert [row.result.session for row in await house.spool.take(10)] == [session.id]
    house.submissions.stored(stored_of(session))
    assert heard.news == []


async def test_a_full_spool_is_tried_again(house: House) -> None:
    """At the hard limit the client is told to keep its log and ask again, and when there is room it is taken."""
    heard = Heard()
    sessions = [ended(seed) for seed in (1, 2, 3)]
    for session in sessions:
        house.submissions.submit(session, heard, ping_ms=5)
    await heard.until(lambda: len(heard.news) == 3)
    third = sessions[2].id
    assert sorted(heard.news) == sorted(
        [("accepted", sessions[0].id), ("accepted", sessions[1].id), ("unsaved", third)]
    )
    assert (heard.errors[0].code, heard.errors[0].retry, heard.errors[0].ref) == ("full", RETRY_MS, 1)
    house.submissions.retry(third)  # still full
    await heard.until(lambda: len(heard.errors) == 2)
    await house.drop_all()
    assert house.spool.facts().rows == 0
    house.submissions.retry(third)
    await heard.until(lambda: ("accepted", third) in heard.news)


async def test_what_the_spool_refused_goes_with_its_client(house: House) -> None:
    """Nobody waits for it here any more: its client has ticket, receipt and log."""
    heard = Heard()
    sessions = [ended(seed) for seed in (1, 2, 3)]
    for session in sessions:
        house.submissions.submit(session, heard, ping_ms=5)
    await heard.until(lambda: bool(heard.errors))
    house.submissions.leave(sessions[2].id, heard)
    assert house.submissions.of(sessions[2].id) is None


async def test_everybody_who_listens_is_told(house: House) -> None:
    """Two tabs wait for one result: each hears all of it under its own `ref`, and one may leave."""
    session = ended(1)
    typed, came, went = Heard(), Heard(), Heard()
    house.submissions.submit(session, typed, ping_ms=5)
    house.submissions.listen(session.id, came, ref=7)
    house.submissions.listen(session.id, went, ref=8)
    house.submissions.leave(session.id, went)
    await came.until(lambda: bool(came.news))
    late = Heard()
    house.submissions.listen(session.id, late, ref=9)
    house.submissions.stored(stored_of(session))
    for heard, ref in ((typed, 1), (came, 7), (late, 9)):
        assert heard.news == [("accepted", session.id), ("stored", session.id)]
        assert heard.refs == [ref]
    assert went.news == []


async def test_who_resumes_a_refused_result_has_it_tried_again(house: House) -> None:
    """A newcomer to a result that the spool did not take is answered too; it goes when the last of both leaves."""
    first, second = Heard(), Heard()
    sessions = [ended(seed) for seed in (1, 2, 3)]
    for session in sessions:
        house.submissions.submit(session, first, ping_ms=5)
    await first.until(lambda: bool(first.errors))
    third = sessions[2].id
    house.submissions.listen(third, second, ref=2)
    await second.until(lambda: bool(second.errors))
    assert second.errors[0].ref == 2
    house.submissions.leave(third, first)
    assert house.submissions.of(third) is not None
    house.submissions.leave(third, second)
    assert house.submissions.of(third) is None


async def test_a_fault_in_settling_is_told(house: House) -> None:
    """A session that cannot be settled is lost here, and its client comes back with its log."""

    class Broken(TypingSession):
        __slots__ = ()

        def settled(self, *, node: str, ping_ms: float = 0.0, stall_ms: float = 0.0) -> Settled:
            raise RuntimeError("a bug")

    heard, session = Heard(), ended(1)
    broken = Broken.__new__(Broken)
    for name in ("id", "ref", "_takeover"):
        setattr(broken, name, getattr(session, name))
    house.submissions.submit(broken, heard, ping_ms=5)
    assert heard.news == [("lost", session.id)]
    assert len(house.submissions) == 0


def taken_over(seed: int) -> TypingSession:
    """The same of one that was taken over from another process."""
    player = Player(TestOptions(mode="words", count=2), seed=seed)
    for key in player.material.text:
        player.note(120, key)
    player.session = rebuilt(player.claim(), player.options, now_ms=player.now_ms, seed=seed, epoch=7)
    assert player.send(0) is None
    return player.session


class Records:
    """Whether a session is still ours, as a test says it, once it does."""

    def __init__(self, house: House) -> None:
        self.asked: list[tuple[bytes, int]] = []
        self.say: Callable[[bool], None]
        house.submissions.lasts = self._lasts

    def _lasts(self, session: bytes, epoch: int, then: Callable[[bool], None]) -> None:
        self.asked.append((session, epoch))
        self.say = then


async def test_what_was_taken_over_is_spooled_once_it_is_known_to_be_ours(house: House) -> None:
    """Its result says which takeover it was; what began here is not asked about."""
    heard, session, records = Heard(), taken_over(1), Records(house)
    house.submissions.submit(session, heard, ping_ms=5)
    assert records.asked == [(session.id, 7)]
    assert house.spool.facts().rows == 0
    house.submissions.retry(session.id)
    records.say(True)
    await heard.until(lambda: bool(heard.news))
    assert heard.news == [("accepted", session.id)]
    assert heard.results[0].epoch == 7
    await house.drop_all()
    house.submissions.submit(ended(2), heard, ping_ms=5)
    assert len(records.asked) == 1


async def test_what_another_has_taken_since_is_given_up(house: House) -> None:
    """A lower epoch drops its copy: nothing is spooled, and the client is told."""
    heard, session, records = Heard(), taken_over(1), Records(house)
    house.submissions.submit(session, heard, ping_ms=5)
    records.say(False)
    assert heard.news == [("superseded", session.id)]
    assert house.submissions.of(session.id) is None
    assert house.spool.facts().rows == 0


async def test_who_takes_over_what_has_finished_is_told_so_and_the_result_goes_on(house: House) -> None:
    """All that counts of it, and when it ended; even where the record names the other one by then."""
    heard, session, records = Heard(), taken_over(1), Records(house)
    assert house.submissions.answer(session.id, epoch_ms=1_000) is None
    house.submissions.submit(session, heard, ping_ms=5)
    answer = house.submissions.answer(session.id, epoch_ms=EPOCH_MS)
    assert answer is not None
    assert (answer.word, answer.epoch, answer.conflict) == (Word.FINISHED, 7, False)
    account = session.answer().account
    assert answer.account is not None
    assert account is not None
    assert (answer.account.n, answer.account.digest) == (account.n, account.digest)
    assert answer.account.unseen_events == account.n, "nothing of it was seen live"
    assert EPOCH_MS - 60_000 < answer.account.clock_ms <= EPOCH_MS
    records.say(False)
    await heard.until(lambda: bool(heard.news))
    assert heard.news == [("accepted", session.id)]


async def test_a_long_log_is_judged_before_it_is_spooled(tmp_path: Path) -> None:
    """Its replay takes half the room: what is spooled is the final result, and `accepted` tells of that one."""
    player = Player(TestOptions(mode="text", text="a word and another one " * 250))
    assert player.type(list(player.material.text), dt=200) is None
    session = player.session
    async with Spool(tmp_path) as spool:
        house, heard = House(spool), Heard()
        house.submissions.submit(session, heard, ping_ms=5)
        assert len(house.submissions) == 1
        await heard.until(lambda: bool(heard.news))
        (row,) = await spool.take(10)
        assert row.settled is None
        assert row.result == player.session.settle(node="n", ping_ms=5)
        assert heard.results == [row.result]
