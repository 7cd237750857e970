"""Tests that were typed offline: scored by their log, then on the way of every result.

Who sends one again, to this node or another, meets the first copy: the id is made from the test (`session.offline`).
"""

import asyncio
from collections.abc import Generator

from gateway.hub import Hub
from gateway.submissions import Submission
from session.machine import TypingSession
from session.messages import Error
from session.offline import OfflineTest
from session.options import SessionLimits
from session.result import Result

__all__ = ["OfflineResults", "Unsaved"]


class Unsaved(Exception):
    """The result could not be made, or made durable, just now; the same request may be sent again after `retry_ms`."""

    def __init__(self, message: str, retry_ms: int) -> None:
        super().__init__(message)
        self.retry_ms = retry_ms


class OfflineResults:
    """Takes finished tests that no connection of ours has seen."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    @property
    def limits(self) -> SessionLimits:
        """What a test may be."""
        return self._hub.limits

    def mistimed(self, test: OfflineTest, *, now_ms: int) -> str | None:
        """Why its start is none for a result at this instant (epoch ms); None where it is one."""
        return test.mistimed(epoch_ms=now_ms, limits=self._hub.limits)

    def refusal(self, test: OfflineTest) -> str | None:
        """Why it can have no result however often it is sent; None where it may."""
        return test.refusal(limits=self._hub.limits)

    def epoch_ms(self) -> int:
        """The server's clock."""
        return self._hub.epoch_ms()

    def wait_ms(self, user: int) -> int:
        """How long the user must wait before another test: each counts as a start; 0: not at all."""
        return self._hub.starts.take(user, now_ms=self._hub.clock() * 1000)

    def scoring(self, test: OfflineTest) -> Generator[None, None, TypingSession | str]:
        """Score it in slices: a session that has ended, or a sentence that says why there is no result.

        Raises Unsaved where its text may be here in a moment.
        """
        hub = self._hub
        material = yield from hub.texts.again(test.ticket(), text=test.options.text, ref=None)
        if isinstance(material, Error):
            if material.retry is not None:
                raise Unsaved(material.message, material.retry)
            return material.message
        return (
            yield from test.scoring(
                material, ring=hub.ring, limits=hub.limits, now_ms=hub.clock() * 1000, epoch_ms=hub.epoch_ms()
            )
        )

    async def submit(self, session: TypingSession) -> tuple[Result, bool]:
        """Make its result durable; the result, and whether it was stored before.

        Raises Unsaved, and StoreError as the store does.
        """
        hub = self._hub
        stored = await hub.store.by_id(session.id)
        if stored is not None:
            return stored, True
        if hub.spool.refusal is not None:
            raise Unsaved(hub.spool.refusal, _RETRY_MS)
        listener = _Waiting(hub.loop.create_future())
        if hub.submissions.of(session.id) is None:
            hub.submissions.submit(session, listener, ping_ms=0.0)
        else:  # sent twice at once
            hub.submissions.listen(session.id, listener, ref=None)
        try:
            return await listener.durable, False
        finally:
            hub.submissions.leave(session.id, listener)


_RETRY_MS = 5_000


class _Waiting:
    """A request that waits for its result to be durable (gateway.submissions.Listener)."""

    def __init__(self, durable: "asyncio.Future[Result]") -> None:
        self.durable = durable

    def accepted(self, submission: Submission, result: Result, ref: int | None) -> None:
        """It is."""
        if not self.durable.done():
            self.durable.set_result(result)

    def unsaved(self, submission: Submission, error: Error) -> None:
        """It is not."""
        if not self.durable.done():
            self.durable.set_exception(Unsaved(error.message, error.retry or _RETRY_MS))

    def stored(self, submission: Submission, verdict: str) -> None:
        """`accepted` came before."""

    def superseded(self, submission: Submission) -> None:
        """Nobody takes over what was typed offline."""

    def lost(self, submission: Submission) -> None:
        """A fault of ours."""
        if not self.durable.done():
            self.durable.set_exception(RuntimeError("a test typed offline could not be settled"))
