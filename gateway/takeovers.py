"""A test that goes on here is taken from whoever has it: recorded, asked for, and given up there.

    resume ─> is it here? ─> record {epoch, node}, and who was it before ─> ask that one ─> made anew, or told if stored

A record of all processes (`persistence.holders`) says who took a session over last, and orders those who do so by
epochs; of one that was never taken over the ticket says where it began. That process is asked over the bus to let it
go and to say what it saw (`session.holder` has what each answer comes to); one that is not in the directory is not
asked, and one that does not answer in time counts as gone. All of it is bounded: in time by Redis' own limit and the
answer's, in room by what may be under way.

Each case has one outcome:

- *Two clients with one session, on two nodes.* The later `resume` has it; the other connection closes as `superseded`.
- *Two at once.* The record orders them. The later one asks the earlier, which waits for its own answer, hands it on,
  and closes its client.
- *A node that hangs and comes back, or answers late.* It counted as gone: the receipt alone stood for what it saw. The
  question reaches it in the end, and it drops its copy. If the question was lost meanwhile it is told that something
  may have been, and compares all its sessions with the records.
- *Redis is away, full, a replica, or refuses us.* Nobody is recorded, epochs are the clock's. The ticket's node is
  asked where the bus carries that; else the receipt alone counts. All are told of what is still here when they can be.
- *Redis has lost its data.* Epochs go on upwards, by the clock. The ticket's node is asked; a copy on a third one drops
  out when it hears of the takeover, or at the latest when it looks before its result.
- *A copy that is outdated*, for it heard of no takeover, knows it by a receipt for more than it saw: that counts, and
  what the copy saw must be in the log.
- *A result of a session that was taken over* is spooled only if nobody has taken it since; else its client has been
  superseded. One that began here and never left has no record to look at: should two such copies end differently, the
  store keeps one and counts the other as a conflict.
- *Thousands at once.* Records go to Redis together, questions so many at a time. Who waits for a process that hangs are
  the first of them; the others go on with their receipts until it says something again.
- *In the middle of a replay* what was seen before it stands, until the log has come to that.
- *While its node drains* it lets go of it like any other; the client was sent the last receipt as well.
- *A racer without a log* comes back by `race.join`, and begins the test anew. Whoever has it says first what was seen
  of it, and keeps it: where that is anything the racer is refused. Else it is taken like any other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

import structlog

from gateway.accounts import Account, Accounts
from gateway.bus import Bus
from persistence.errors import StoreError
from persistence.holders import Holders, Holding
from session.holder import NOTHING, Answer, Question, Verdict, Word, outdated, weigh
from session.identity import MAX_EPOCH_MS
from session.resume import Claim

if TYPE_CHECKING:
    from gateway.hub import Hub

__all__ = ["CHANNEL", "Alone", "Takeovers"]

CHANNEL = "takeovers"
"""Where all are told of takeovers; each process is asked, and answered, on `takeovers:{its name}`."""
MOST = 20_000
"""Takeovers under way; beyond them the receipt alone counts."""
WINDOW = 100
"""Questions to one process at a time, so that a wave of thousands overflows none of its queues."""
SILENT_S = 1.0
"""Time in which nobody waits for a process that has said nothing since it was asked: ten thousand would, one by one."""
LOOKED_AT = 500
"""Sessions whose records are read at a time, after something may have been missed."""

_ASK, _SEE, _SAY = "ask", "see", "say"
_TRIES = 3
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 5.0
"""Between looks at records that cannot be read."""
_NUMBER_BITS = 48

log = structlog.get_logger(__name__)


class Alone:
    """Where there is one process: nobody else has anything."""

    def __init__(self, accounts: Accounts) -> None:
        self.accounts = accounts

    async def take(self, claim: Claim) -> Verdict | None:
        """What a claim comes to whose session is not here. None: another has it by now."""
        account = self.accounts.of(claim.ticket.session) or self.accounts.keep(claim.ticket.session, 0, None)
        return weigh(claim, account.answer, epoch=account.epoch)

    async def seen(self, session: bytes, node: str) -> Answer | None:
        """What was seen of a session elsewhere; None: there is nobody else."""
        return None

    def began(self, claim: Claim) -> None:
        """It was made anew on this claim, and stands for itself."""
        self.accounts.forget(claim.ticket.session)


class Takeovers:
    """Between a hub, the bus and the records. `node` names this process, `present` says whether another one is there.

    `epoch_ms` is the wall clock. Epochs that are not recorded are its, but always later than all that was heard of:
    who takes a session after hearing that another did has it, however much their clocks differ.
    """

    def __init__(
        self,
        bus: Bus,
        hub: Hub,
        holders: Holders,
        *,
        node: str,
        present: Callable[[str], bool],
        epoch_ms: Callable[[], int],
        answer_ms: int,
    ) -> None:
        self.accounts: Accounts = hub.takeovers.accounts
        self._bus = bus
        self._hub = hub
        self._holders = holders
        self._node = node
        self._present = present
        self._epoch_ms = epoch_ms
        self._answer_s = answer_ms / 1000
        self._latest = 0
        self._takings: dict[bytes, _Taking] = {}
        self._open: dict[int, asyncio.Future[Answer | None]] = {}
        """Questions of ours without an answer, by their number."""
        self._numbers = count(hub.random_bits(_NUMBER_BITS))  # an answer to a process before us is none of ours
        self._due: deque[tuple[float, int]] = deque()
        """When the time for each question is over; all have equally long, so the first is the first."""
        self._timer: asyncio.TimerHandle | None = None
        self._peers: dict[str, _Peer] = {}
        self._looking = self._look_again = False
        hub.takeovers = self
        hub.submissions.lasts = self._lasts
        bus.subscribe(CHANNEL, self._announced, resync=self._missed)
        bus.subscribe(f"{CHANNEL}:{node}", self._heard, resync=self._missed)

    # -- taking --------------------------------------------------------------------------------------------------

    async def take(self, claim: Claim) -> Verdict | None:
        """What a claim comes to whose session is not here. None: another has it by now."""
        session = claim.ticket.session
        taking = self._takings.get(session)
        if taking is not None:
            account = await asyncio.shield(taking.done)
        elif len(self._takings) < MOST:  # also where it was taken for us before: others may have had it since
            account = await self._begin(claim)
        else:
            self._hub.metrics.takeover("full")
            before = self.accounts.of(session)
            account = self.accounts.keep(session, self._now(), None if before is None else before.answer)
        return None if account is None else weigh(claim, account.answer, epoch=account.epoch)

    async def seen(self, session: bytes, node: str) -> Answer | None:
        """What was seen of a session by who has it, and keeps it: by `node`, if nobody is recorded. None: no answer."""
        try:
            (record,) = await self._holders.read([session])
        except StoreError:
            record = None
        _, answer = await self._ask(node if record is None else record.node, _SEE, [session])
        return answer

    def began(self, claim: Claim) -> None:
        """It was made anew, and stands for itself. Unless its holder let it go, any may have a copy: all are told."""
        session = claim.ticket.session
        account = self.accounts.forget(session)
        if account is not None and (
            account.answer is None or account.answer.word is Word.NOTHING or outdated(claim, account.answer)
        ):
            self._bus.post(CHANNEL, [session, account.epoch, self._node])

    async def _begin(self, claim: Claim) -> Account | None:
        session = claim.ticket.session
        taking = self._takings[session] = _Taking()
        account, ours = None, self.accounts.of(session)
        try:
            epoch, answer = await self._take(claim, taking)
            if ours is not None and (answer is None or answer.word is Word.NOTHING):
                answer = ours.answer  # it may be outdated, but nobody else says anything
            if taking.beyond < (epoch, self._node):
                account = self.accounts.keep(session, epoch, answer)
            else:
                self.accounts.forget(session)
                self._hub.metrics.takeover("superseded")
        except Exception as fault:  # of ours: who waits for the same is not superseded, and comes back
            taking.done.set_exception(fault)
            taking.done.exception()  # there may be nobody to hear it
            raise
        finally:
            del self._takings[session]
            if not taking.done.done():
                taking.done.set_result(account)
        for asker, number, _ in taking.questions:
            self._say(asker, number, answer or NOTHING)
        return account

    async def _take(self, claim: Claim, taking: _Taking) -> tuple[int, Answer | None]:
        """Record it, and ask who had it."""
        session = claim.ticket.session
        for _ in range(_TRIES):
            recorded = True
            epoch = self._now()
            try:
                epoch, former = await self._holders.take(session, self._node, floor=epoch)
            except StoreError:
                recorded, former = False, ""
            self._latest = max(self._latest, epoch)
            for asker, number in taking.took(epoch):
                self._say(asker, number, Answer(Word.LATER, epoch=epoch))
            question = Question.of(claim, epoch=epoch)
            outcome, answer = await self._ask(former or claim.ticket.node, _ASK, question.to_wire())
            self._hub.metrics.takeover(outcome, recorded=recorded)
            if answer is None or answer.word is not Word.LATER:
                break
            self._latest = max(self._latest, answer.epoch)
        return epoch, answer

    async def _ask(self, node: str, kind: str, question: list[Any]) -> tuple[str, Answer | None]:
        """What became of the question to a process, and its answer."""
        if not node:
            return "unnamed", None
        if node == self._node:
            return Word.NOTHING.value, None
        if not self._present(node):
            return "gone", None
        peer = self._peers.get(node)
        if peer is None:
            self._forget_peers()
            peer = self._peers[node] = _Peer()
        loop = self._hub.loop
        number = next(self._numbers)
        message = [kind, number, self._node, *question]
        async with peer.window:
            if peer.silent_until > loop.time():  # it is told, and nobody waits for it again
                self._bus.post(f"{CHANNEL}:{node}", message)
                return "silent", None
            answered = self._open[number] = loop.create_future()
            try:
                await self._bus.publish(f"{CHANNEL}:{node}", message)
                asked = loop.time()
                self._due.append((asked + self._answer_s, number))
                if self._timer is None:
                    self._timer = loop.call_at(self._due[0][0], self._over)
                answer = await answered
            except StoreError:
                return "away", None
            finally:
                del self._open[number]
            if answer is not None:
                return answer.word.value, answer
            if peer.heard_at < asked:
                peer.silent_until = loop.time() + SILENT_S
            return "silent", None

    def _forget_peers(self) -> None:
        """Processes that are gone, and of which nobody waits for an answer."""
        for node in [node for node, peer in self._peers.items() if not (self._present(node) or peer.window.locked())]:
            del self._peers[node]

    def _heard_from(self, node: str) -> None:
        """It does not hang."""
        peer = self._peers.get(node)
        if peer is not None:
            peer.heard_at = self._hub.loop.time()
            peer.silent_until = 0.0

    def _over(self) -> None:
        """The time for some questions is over."""
        loop, due = self._hub.loop, self._due
        self._timer = None
        now = loop.time()
        while due and (due[0][0] <= now or due[0][1] not in self._open):
            _, number = due.popleft()
            answered = self._open.get(number)
            if answered is not None and not answered.done():
                answered.set_result(None)
        if due:
            self._timer = loop.call_at(due[0][0], self._over)

    def _now(self) -> int:
        return max(self._epoch_ms(), self._latest + 1)

    # -- being asked ---------------------------------------------------------------------------------------------

    def _heard(self, message: Any) -> None:
        """A question to us, or the answer to one of ours; what else a newer version says is passed over."""
        match message:
            case [str(kind), int(number), str(asker), *parts] if kind == _ASK:
                self._heard_from(asker)
                self._asked(asker, number, Question.of_wire(parts))
            case [str(kind), int(number), str(asker), bytes(session), *_] if kind == _SEE:
                self._heard_from(asker)
                self._say(asker, number, self._has(session))
            case [str(kind), int(number), str(node), *parts] if kind == _SAY:
                self._heard_from(node)
                answered = self._open.get(number)
                if answered is None or answered.done():
                    self._hub.metrics.takeover("late")
                else:
                    answered.set_result(Answer.of_wire(parts))

    def _asked(self, asker: str, number: int, question: Question) -> None:
        if question.epoch > MAX_EPOCH_MS:  # who believed that could not say anything later
            raise ValueError(f"no epoch: {question.epoch!r}")
        self._latest = max(self._latest, question.epoch)
        taking = self._takings.get(question.session)
        if taking is None:
            answer = self._let_go(question)
        elif (taking.epoch, self._node) < (question.epoch, asker):
            taking.questions.append((asker, number, question.epoch))
            taking.beyond = max(taking.beyond, (question.epoch, asker))
            return
        else:
            answer = Answer(Word.LATER, epoch=taking.epoch)
        self._say(asker, number, answer)

    def _let_go(self, question: Question) -> Answer:
        """Give up what is here of a session, and say what was seen of it."""
        hub, session = self._hub, question.session
        finished = hub.submissions.answer(session, epoch_ms=self._epoch_ms())
        if finished is not None:
            return finished
        copy = hub.copy_of(session)
        if copy is not None:
            if copy.epoch >= question.epoch:
                return Answer(Word.LATER, epoch=copy.epoch)
            answer = copy.answer(question)
            self._drop(session)
            return answer
        account = self.accounts.of(session)
        if account is not None:
            if account.epoch >= question.epoch:
                return Answer(Word.LATER, epoch=account.epoch)
            self.accounts.forget(session)
            return account.answer or NOTHING
        return Answer(Word.ABORTED) if hub.was_aborted(session) else NOTHING

    def _has(self, session: bytes) -> Answer:
        """What was seen here of a session, which stays."""
        hub = self._hub
        if session in self._takings:
            return Answer(Word.LATER, epoch=self._takings[session].epoch)
        if hub.submissions.of(session) is not None:
            return Answer(Word.FINISHED)
        copy, account = hub.copy_of(session), self.accounts.of(session)
        if copy is not None:
            return copy.answer()
        return (account and account.answer) or NOTHING

    def _say(self, asker: str, number: int, answer: Answer) -> None:
        self._hub.metrics.given(answer.word.value)
        self._bus.post(f"{CHANNEL}:{asker}", [_SAY, number, self._node, *answer.to_wire()])

    # -- being told, and looking ---------------------------------------------------------------------------------

    def _announced(self, message: Any) -> None:
        """Somebody has taken a session over: no older copy of it goes on."""
        session, epoch, node, *_ = message  # a newer version may say more
        if not 0 <= epoch <= MAX_EPOCH_MS:
            raise ValueError(f"no epoch: {epoch!r}")
        self._latest = max(self._latest, epoch)
        if node != self._node:
            self._outdated(session, epoch, node)

    def _outdated(self, session: bytes, epoch: int, node: str) -> None:
        """A session was taken at this epoch by another one."""
        taking = self._takings.get(session)
        if taking is not None:
            taking.beyond = max(taking.beyond, (epoch, node))
            return
        mine = self._hub.copy_of(session) or self.accounts.of(session)
        if mine is not None and (mine.epoch, self._node) < (epoch, node):
            self._hub.metrics.given("outdated")
            self._drop(session)

    def _drop(self, session: bytes) -> None:
        self._hub.release(session)
        self.accounts.forget(session)  # in the middle of a job it has left an account

    def _missed(self) -> None:
        """Something may have been missed: have others taken what is here?"""
        if self._looking:
            self._look_again = True
            return
        self._looking = True
        self._hub.spawn(self._look())

    async def _look(self) -> None:
        """Until all is compared: the bus may be back before the records are, and does not tell again."""
        wait_s = _FIRST_WAIT_S
        try:
            again = True
            while again:
                self._look_again = False
                try:
                    await self._compare_all()
                    again = self._look_again
                except StoreError as fault:
                    if wait_s == _FIRST_WAIT_S:
                        log.warning("it is not known whether others have taken tests of ours", why=str(fault))
                    await asyncio.sleep(wait_s)
                    wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        finally:
            self._looking = False

    async def _compare_all(self) -> None:
        sessions = self._hub.copies()
        for start in range(0, len(sessions), LOOKED_AT):
            some = sessions[start : start + LOOKED_AT]
            for session, record in zip(some, await self._holders.read(some), strict=True):
                self._compare(session, record)

    def _compare(self, session: bytes, record: Holding | None) -> None:
        """Hold a session that is here to its record."""
        if record is not None and record.node != self._node:
            self._outdated(session, record.epoch, record.node)
            return
        copy = self._hub.copy_of(session)
        if copy is not None and copy.epoch > (0 if record is None else record.epoch):
            self._bus.post(CHANNEL, [session, copy.epoch, self._node])  # taken while nobody could be told of it

    # -- before a result -----------------------------------------------------------------------------------------

    def _lasts(self, session: bytes, epoch: int, then: Callable[[bool], None]) -> None:
        """Call with whether nobody has taken a session since this epoch, as far as anybody knows."""
        self._hub.spawn(self._look_at(session, epoch, then))

    async def _look_at(self, session: bytes, epoch: int, then: Callable[[bool], None]) -> None:
        try:
            (record,) = await self._holders.read([session])
        except StoreError:
            record = None
        then(record is None or record.epoch <= epoch or record.node == self._node)


class _Peer:
    """A process that is asked."""

    __slots__ = ("heard_at", "silent_until", "window")

    def __init__(self) -> None:
        self.window = asyncio.Semaphore(WINDOW)
        self.heard_at = 0.0
        """When it last said anything, by the loop's clock."""
        self.silent_until = 0.0
        """Until when it is thought to hang, unless it says something."""


class _Taking:
    """One takeover under way, for all clients here that want it."""

    __slots__ = ("beyond", "done", "epoch", "questions")

    def __init__(self) -> None:
        self.epoch = 0
        """0 until it is recorded."""
        self.beyond = (0, "")
        """The greatest epoch at which another one took it meanwhile, and which."""
        self.questions: list[tuple[str, int, int]] = []
        """Who asked meanwhile for what we are to get: the asker, its question's number, its epoch."""
        self.done: asyncio.Future[Account | None] = asyncio.get_running_loop().create_future()

    def took(self, epoch: int) -> list[tuple[str, int]]:
        """It is ours at this epoch; who asked before this, and has taken it before us."""
        self.epoch = epoch
        early = [(asker, number) for asker, number, theirs in self.questions if theirs < epoch]
        self.questions = [question for question in self.questions if question[2] >= epoch]
        return early
