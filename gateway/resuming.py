"""`resume`: where the test is, and how it goes on here.

    resume ─> is it here? ─┬─> is it stored? ─────────────────────────────────┬─> made anew, in slices
                           └─> taken from whoever has it (`gateway.takeovers`) ┘

Much may happen while one waits: what this process has is looked at again after each wait, and is the truth.

Of two who resume a test the later has it, and the later is who asked later, not who had to wait longer: a connection
that broke off, and has not heard of it, may wait for a store that is away. So a test is taken in the moment in which
its `resume` is read, while it is looked for in the store; and here only who asked last goes on.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from gateway.costs import RESUME_COST
from persistence.errors import StoreError
from session.holder import Grounds, Question, Verdict, outdated, weigh
from session.machine import Claim, TypingSession
from session.messages import ERRORS, Error, Resume
from session.passages import Material
from session.result import Result

if TYPE_CHECKING:
    from gateway.connection import Connection
    from gateway.hub import Hub

__all__ = ["Resuming"]

_UNTIMED = Error("away", "this node could not ask what time the races go by yet; the test goes on once it can", 1_000)

_log = structlog.get_logger(__name__)


class Resuming:
    """One a process: what its connections' resumes come to."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._last: dict[bytes, Claim] = {}
        """Of those who wait, who asked last for each session; nobody, where someone who did not wait came after."""

    def hear(self, connection: Connection, resume: Resume) -> None:
        """Go on with a test, or say why not."""
        hub = self._hub
        if not connection.spend(RESUME_COST):
            return
        if connection.session is not None and connection.session.id != resume.session:
            connection.refuse(
                Error("running", "a test runs on this connection; finish or abort it first", ref=resume.ref)
            )
            return
        claim = Claim.open(resume, user=connection.user, ring=hub.ring, limits=hub.limits, epoch_ms=hub.epoch_ms())
        if isinstance(claim, Error):
            connection.refuse(claim)
            return
        self._last.pop(claim.ticket.session, None)
        if not self._go_on(connection, claim):
            connection.wait_for(self._look_up(connection, claim))

    def make_anew(self, connection: Connection, copy: TypingSession, claim: Claim) -> None:
        """Give up a copy for what its client sends, which is held to what was seen here."""
        said = copy.answer(Question.of(claim, epoch=copy.epoch))
        self._hub.takeovers.accounts.keep(copy.id, copy.epoch, said)
        if outdated(claim, said):  # it was elsewhere since: it is for all to know that it is here again
            connection.wait_for(self._look_up(connection, claim))
        else:
            self._take_over(connection, weigh(claim, said, epoch=copy.epoch))

    def _go_on(self, connection: Connection, claim: Claim) -> bool:
        """Go on with what this process has of a session; False where it has nothing."""
        hub = self._hub
        session_id = claim.ticket.session
        connection.let_go()  # the client resumes what it has: as if it had come back
        held = hub.release(session_id)
        if held is not None:
            answer = held.reattach(claim, now_ms=hub.clock() * 1000)
            if answer is None:
                self.make_anew(connection, held, claim)
            else:
                connection.go_on(held, answer)
                self._back(connection, claim)
            return True
        if hub.submissions.of(session_id) is not None:
            connection.wait_for_result(session_id, ref=claim.ref)
            return True
        if hub.was_aborted(session_id):
            connection.refuse(Error("gone", "this test was aborted", ref=claim.ref))
            return True
        return False

    async def _look_up(self, connection: Connection, claim: Claim) -> None:
        """Answer with the stored result, or else make the session anew, which is taken over meanwhile."""
        session = claim.ticket.session
        self._last[session] = claim
        try:
            verdict, result = await asyncio.gather(self._hub.takeovers.take(claim), self._stored(session))
        finally:
            last = self._last.get(session) is claim
            if last:
                del self._last[session]
        if not connection.alive:
            return
        if not last:
            connection.supersede()
            return
        if self._go_on(connection, claim):  # much may have happened meanwhile
            return
        if result is not None:
            self._hub.takeovers.accounts.forget(session)
            connection.tell_stored(result, ref=claim.ref)
            if claim.ticket.seat is not None and self._hub.racing is not None:
                self._hub.racing.stored(claim.ticket.seat, result)
            return
        self._take_over(connection, verdict if self._may_time(claim) else replace(_UNTIMED, ref=claim.ref))

    def _may_time(self, claim: Claim) -> bool:
        """Whether a test made anew can be given its time: a racer's goes by the clock that all nodes share."""
        racing = self._hub.racing
        return claim.ticket.seat is None or racing is None or racing.rooms.races.timed

    async def _stored(self, session: bytes) -> Result | None:
        """The result of a test, where it is stored and that can be looked up."""
        try:
            return await self._hub.store.by_id(session)
        except StoreError as exc:
            # made anew it comes to the same result, and the store will meet its own row
            _log.warning("a resumed session could not be looked up", reason=str(exc))
            return None

    def _take_over(self, connection: Connection, verdict: Verdict | None) -> None:
        """Go on as it was found: make the session anew, or say why not."""
        if verdict is None:
            connection.supersede()
            return
        if isinstance(verdict, Error):
            connection.refuse(verdict)
            return
        claim = verdict.claim
        if verdict.conflict:
            connection.refuse(Error("conflict", ERRORS["conflict"], ref=claim.ref))
        connection.work(
            self._hub.texts.again(claim.ticket, text=claim.text, ref=claim.ref),
            partial(self._rebuilt, connection, verdict),
        )

    def _rebuilt(self, connection: Connection, grounds: Grounds, material: Material | Error) -> None:
        if isinstance(material, Error):
            connection.refuse(material)
            return
        hub, claim = self._hub, grounds.claim
        if not grounds.conflict and self._go_on(connection, claim):
            return  # another connection was quicker, and what it has is the truth
        if not hub.takeovers.accounts.holds(claim.ticket.session, grounds.epoch):
            connection.supersede()
            return
        session = TypingSession.rebuild(
            claim,
            material,
            ring=hub.ring,
            limits=hub.limits,
            now_ms=hub.clock() * 1000,
            epoch_ms=hub.epoch_ms(),
            race_ms=hub.races_ms(),
            conflict=grounds.conflict,
            epoch=grounds.epoch,
            finished=grounds.finished,
        )
        if isinstance(session, Error):
            connection.refuse(session)
            return
        hub.release(session.id)  # after a conflict; the last one to ask has it
        connection.go_on(session, session.resumed())
        hub.takeovers.began(claim)
        self._back(connection, claim)

    def _back(self, connection: Connection, claim: Claim) -> None:
        """A racer's test goes on here: they are back in their race."""
        if claim.ticket.seat is not None and connection.session is not None and self._hub.racing is not None:
            self._hub.racing.back(connection, claim.ticket.seat, connection.session)
