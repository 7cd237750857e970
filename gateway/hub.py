"""Who is here: the connections of this process, the sessions it holds, and what they all share.

A session is in one of four places, by its id: with its connection (`live`), without one for a while (`held`), finished
and on its way to the store (`submissions`), or aborted a short while ago (`aborted`). Anything else the store knows,
or nobody.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import structlog

from config.gateway import ConnectionOptions
from gateway.accounts import Accounts
from gateway.admitting import Admitting
from gateway.auth import Authenticator
from gateway.codec import CODECS
from gateway.connection import Connection
from gateway.limits import Credits
from gateway.metrics import Metrics
from gateway.resuming import Resuming
from gateway.slices import Slices
from gateway.stalls import Stalls
from gateway.starting import Starting
from gateway.submissions import Submissions
from gateway.takeovers import Alone, Takeovers
from gateway.wheel import Wheel
from persistence.catalogue.texts import Texts
from persistence.results import ResultStore
from persistence.stream import Spool
from session.machine import Due, TypingSession
from session.messages import Hello
from session.options import SessionLimits
from session.receipt import KeyRing

if TYPE_CHECKING:
    from gateway.ceiling import Ceiling
    from gateway.heads import Request
    from gateway.races.racing import Racing
    from gateway.watching import Watching
    from persistence.bans import Ban

KEPT_ABORTED = 10_000
"""Aborted sessions remembered, so that a late `resume` is told `gone`; the oldest is forgotten first."""

WAVE = 200
"""Clients sent away at a time in a drain, 50 ms apart: 4,000 a second, as many as another node takes in."""

_WAVE_S = 0.05

_log = structlog.get_logger(__name__)


class Hub:
    """One per process. Everything is called on the event loop."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        node: str,
        options: ConnectionOptions,
        limits: SessionLimits,
        ring: KeyRing,
        authenticator: Authenticator,
        texts: Texts,
        spool: Spool,
        store: ResultStore,
        metrics: Metrics,
        frame_bytes: int,
        epoch_ms: Callable[[], int],
        random_bits: Callable[[int], int],
    ) -> None:
        self.loop = loop
        self.node = node
        """This process's name among all."""
        self.clock = loop.time
        self.options = options
        self.limits = limits
        self.ring = ring
        """The keys of tickets and receipts; another one may take its place."""
        self.authenticator = authenticator
        self.texts = texts
        self.spool = spool
        self.store = store
        self.metrics = metrics
        self.counts = metrics.counts
        self.epoch_ms = epoch_ms
        self.random_bits = random_bits
        self.slices = Slices(loop, clock=self.clock)
        self.stalls = Stalls()
        """When this process read nothing: what it read then may have waited for it."""
        self.wheel = Wheel(loop, turned=self.stalls.turned)
        self.submissions = Submissions(spool, self.slices, metrics, node=node, clock=self.clock)
        self.starts = Credits(rate_per_s=options.starts_per_s, burst=options.starts_burst)
        self.address_starts: Credits | None = None
        """Those of addresses, where they have a limit."""
        if options.address_starts_per_s:
            self.address_starts = Credits(rate_per_s=options.address_starts_per_s, burst=options.address_starts_burst)
        self.takeovers: Alone | Takeovers = Alone(Accounts(clock=self.clock, kept_s=limits.detached_ms / 1000))
        """Asked for a session that is not here."""
        self.admitting = Admitting(self)
        self.starting = Starting(self)
        self.resuming = Resuming(self)
        self.ban_of: Callable[[int], Ban | None] = _nobody_is_banned
        """Asked whether a user who has shown who it is may not come in."""
        self.named: Callable[[int, str], None] = _nobody_listens
        """Told what an account that signs in is called."""
        self.racing: Racing | None = None
        """What is said about races; None where there are none."""
        self.races_ms = epoch_ms
        """The races' clock (epoch ms), which a client is told by `hb`."""
        self.watching: Watching | None = None
        """Who looks on at whom; None where nobody may."""
        self.ceiling: Ceiling | None = None
        """How many tests may be under way; None: as many as like."""
        self.coming: list[Callable[[Connection], None]] = []
        """Called with each connection that is open."""
        self.signing_in: list[Callable[[Connection], None]] = []
        """Called with each connection that has told who it is, and is there for more than an old test."""
        self.parting: list[Callable[[Connection], None]] = []
        """Called with each connection that is being closed from here; its client may not have answered yet."""
        self.leaving: list[Callable[[Connection], None]] = []
        """Called with each connection that is closed."""
        self.draining = False
        self.phase = 0
        self.connections: set[Connection] = set()
        self._users: dict[int, Connection | set[Connection]] = {}
        """Those that are `ready`, by their user: mostly one; a set where there are several tabs or machines."""
        self.live: dict[bytes, Connection] = {}
        self._held: OrderedDict[bytes, TypingSession] = OrderedDict()
        self._aborted: OrderedDict[bytes, None] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone = asyncio.Event()
        hello = Hello(
            v=1,
            node=node,
            hb_ms=round(options.heartbeat_s * 1000),
            limits={
                "frame_bytes": frame_bytes,
                "keys_ms": 250,
                "events": limits.events,
                "text_graphemes": limits.text_graphemes,
                "text_bytes": limits.text_bytes,
                "timed_s": limits.timed_seconds,
                "untimed_s": limits.untimed_ms // 1000,
                "words": limits.words,
            },
        ).to_wire()
        self.hello = {name: codec.encode(hello) for name, codec in CODECS.items()}
        """The greeting by subprotocol, encoded once each."""

    def start(self) -> None:
        """Begin to keep time."""
        self.wheel.start()
        self.wheel.join(self)

    def connect(self, request: Request) -> Connection:
        """Make the peer of a new WebSocket (the edge's peer factory)."""
        assert request.subprotocol is not None  # the edge refuses the upgrade without one
        return Connection(self, CODECS[request.subprotocol])

    # --- sessions ---

    def hold(self, session: TypingSession) -> None:
        """Keep a session whose connection is lost, until it is resumed or due; beyond the limit the oldest goes."""
        session.detach(now_ms=self.clock() * 1000)
        self._held[session.id] = session
        if len(self._held) > self.options.held_sessions:
            self._held.popitem(last=False)

    def release(self, session: bytes) -> TypingSession | None:
        """Give up a session that is held, or that another connection has, to whoever resumes it."""
        other = self.live.get(session)
        if other is not None:
            other.supersede()
        return self._held.pop(session, None)

    def held(self, session: bytes) -> TypingSession | None:
        """A session that waits here for its client's return."""
        return self._held.get(session)

    def copy_of(self, session: bytes) -> TypingSession | None:
        """The session, where it is with a connection or held."""
        connection = self.live.get(session)
        return self._held.get(session) if connection is None else connection.session

    def copies(self) -> list[bytes]:
        """All sessions that are here, with or without a connection."""
        return [*self.live, *self._held]

    def aborted(self, session: bytes) -> None:
        """Remember for a while that this session has no result."""
        self._aborted[session] = None
        if len(self._aborted) > KEPT_ABORTED:
            self._aborted.popitem(last=False)

    def was_aborted(self, session: bytes) -> bool:
        """Whether this session was aborted here a short while ago."""
        return session in self._aborted

    def beat(self, now_ms: float) -> None:
        """Once a second: forget held sessions whose time is over. All are held equally long: the first is due first."""
        while self._held:
            session = next(iter(self._held.values()))
            if now_ms < session.deadline_ms:
                break
            if session.due(now_ms=now_ms) is not Due.FORGET:  # its own end came first: no result without a client
                self._held.move_to_end(session.id)
                break
            del self._held[session.id]

    def alarm(self, now_ms: float) -> None:
        """The hub asks for none."""

    def sessions(self) -> dict[str, int]:
        """Sessions by where they are, for metrics."""
        return {"live": len(self.live), "held": len(self._held), "submitted": len(self.submissions)}

    # --- tasks ---

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what must wait for something (a lookup, an issuer's keys); the hub owns the task until it ends."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            _log.error("a connection's task failed", exc_info=exc)

    # --- coming and going ---

    def joined(self, connection: Connection) -> None:
        """A WebSocket is open."""
        self.connections.add(connection)
        self.wheel.join(connection)

    def ready(self, connection: Connection) -> None:
        """It is known who is there."""
        others = self._users.get(connection.user)
        if others is None:
            self._users[connection.user] = connection
        elif isinstance(others, set):
            others.add(connection)
        else:
            self._users[connection.user] = {others, connection}

    def of(self, user: int) -> tuple[Connection, ...]:
        """All connections of a user that are here."""
        found = self._users.get(user)
        return tuple(found) if isinstance(found, set) else () if found is None else (found,)

    def deliver(self, user: int, event: dict[str, Any]) -> None:
        """Send a message to all connections of a user that are here; who is slow or not here misses it."""
        for connection in self.of(user):
            connection.notify(event)

    def left(self, connection: Connection) -> None:
        """A WebSocket is closed."""
        self.connections.discard(connection)
        others = self._users.get(connection.user)
        if isinstance(others, set):
            others.discard(connection)
        if others is connection or others == set():
            del self._users[connection.user]
        self.wheel.leave(connection)
        if self.watching is not None:
            self.watching.leave(connection)
        for tell in self.leaving:
            tell(connection)
        if not self.connections:
            self._gone.set()

    async def drain(self, *, grace_s: float) -> None:
        """Send every client away: the idle at once, in waves, those who type when they have finished or grace is over.

        New tests are refused from the first moment. Sessions still running at the end are resumed elsewhere, or here
        after the restart, from their clients' tickets, receipts and logs.
        """
        self.draining = True
        until = self.clock() + grace_s
        told: set[Connection] = set()  # who does not answer the close frame must not hold up those behind
        while self.connections:
            over = self.clock() >= until
            idle = [each for each in self.connections - told if over or each.idle]
            for connection in idle[:WAVE]:
                connection.send_away(after_ms=self.random_bits(10))
                told.add(connection)
            self._gone.clear()
            if over and len(idle) <= WAVE:
                break
            try:
                await asyncio.wait_for(self._gone.wait(), _WAVE_S)
            except TimeoutError:
                continue

    async def stop(self) -> None:
        """Keep no time any more, and end the hub's tasks."""
        self.wheel.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _nobody_listens(user: int, name: str) -> None:
    """What accounts are called is kept nowhere here."""


def _nobody_is_banned(user: int) -> None:
    """There are no bans here."""
