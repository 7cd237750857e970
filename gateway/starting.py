"""`start`: what may speak against it, the queue where many type, the text, the test.

    start ─> is anything against it? ─> is there room? ─> the text, in slices ─> the test begins, the one before is over

Only once nothing speaks against it is the one that runs given up: a refusal costs nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.limits import network
from session.identity import RANDOM_BITS, mint_session
from session.machine import TypingSession
from session.messages import Error, Start
from session.options import TestOptions
from session.passages import Material

if TYPE_CHECKING:
    from gateway.ceiling import Ceiling
    from gateway.connection import Connection
    from gateway.hub import Hub

__all__ = ["Starting"]

SEED_BITS: Final = 53
"""Seeds travel as decimal strings; with so many bits a page may still make a number of one."""

FULL_RETRY_MS: Final = 5_000
"""When a client may try to start again on a node that can take no new tests."""


class Starting:
    """One a process: what its connections' starts come to."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def hear(self, connection: Connection, start: Start) -> None:
        """Start a test, or say why not."""
        hub = self._hub
        if connection.outlived():
            return
        if hub.draining:
            connection.refuse(Error("draining", "this node goes away; reconnect, then start", 0, ref=start.ref))
            return
        if _is_racing(connection, start.ref):
            return
        connection.sign_in()
        began_s = hub.clock()
        busy = self._busy(connection, start.ref, began_s * 1000)
        if busy is not None:
            connection.refuse(busy)
            return
        if hub.spool.refusal is not None:
            connection.refuse(Error("full", hub.spool.refusal, FULL_RETRY_MS, ref=start.ref))
            return
        options = start.choose(hub.limits)
        if isinstance(options, Error):
            connection.refuse(options)
            return
        if hub.ceiling is None or connection.session is not None or hub.ceiling.enter(connection):
            self._choose(connection, options, start.ref, began_s)
        else:
            connection.wait_for(self._queue(connection, hub.ceiling, options, start.ref))

    def _busy(self, connection: Connection, ref: int | None, now_ms: float) -> Error | None:
        """Too many starts of its user, or of its address."""
        hub, whose = self._hub, ""
        wait_ms = hub.starts.take(connection.user, now_ms=now_ms)
        if not wait_ms and hub.address_starts is not None:
            whose = " from your address"
            wait_ms = hub.address_starts.take(network(connection.address), now_ms=now_ms)
        if not wait_ms:
            return None
        return Error("busy", f"too many starts{whose}; the next one in {wait_ms} ms", wait_ms, ref=ref)

    async def _queue(self, connection: Connection, ceiling: Ceiling, options: TestOptions, ref: int | None) -> None:
        """There are many tests under way: start when it is our turn, or say when to ask again."""
        wait = await ceiling.ask(connection)
        if not connection.alive:
            return
        if wait is None:
            self._choose(connection, options, ref, self._hub.clock())
            return
        which = "more wait already than there are places" if wait.place is None else f"you are number {wait.place}"
        connection.refuse(Error("full", f"as many type as may; {which}", wait.retry_ms, ref=ref, place=wait.place))

    def _choose(self, connection: Connection, options: TestOptions, ref: int | None, began_s: float) -> None:
        """Choose the text, then begin."""
        seed = self._hub.random_bits(SEED_BITS)
        connection.work(
            self._hub.texts.choosing(options, seed=seed, ref=ref),
            partial(self._begin, connection, options, seed, ref, began_s),
        )

    def _begin(
        self,
        connection: Connection,
        options: TestOptions,
        seed: int,
        ref: int | None,
        began_s: float,
        material: Material | Error,
    ) -> None:
        hub = self._hub
        if hub.ceiling is not None:
            hub.ceiling.entered(connection)
        if isinstance(material, Error):
            connection.refuse(material)
            return
        if _is_racing(connection, ref):
            return
        if connection.session is not None and connection.session.returning:
            connection.let_go()  # `start` came right behind a `resume`: a finished log may be on its way
        epoch_ms, now_s = hub.epoch_ms(), hub.clock()
        session = TypingSession.begin(
            options,
            material,
            session=mint_session(connection.user, epoch_ms=epoch_ms, random_bits=hub.random_bits(RANDOM_BITS)),
            user=connection.user,
            seed=seed,
            ref=ref,
            ring=hub.ring,
            limits=hub.limits,
            now_ms=now_s * 1000,
            epoch_ms=epoch_ms,
            node=hub.node,
        )
        connection.take_up(session, material)
        hub.metrics.started(now_s - began_s)


def _is_racing(connection: Connection, ref: int | None) -> bool:
    """Whether a race's test runs here, which no `start` gives up by the way; then it is refused."""
    if connection.place is None or not connection.place.racing:
        return False
    connection.refuse(Error("running", "you are racing; race.leave gives the race up", ref=ref))
    return True
