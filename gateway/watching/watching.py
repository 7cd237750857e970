"""Looking on, as one node does it: at what its connections look, and what it shows of its own typists."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, ref

import structlog

from config.watch import WatchOptions
from gateway.bus import Bus
from gateway.limits import Credits
from gateway.watching.facts import WatchFacts
from gateway.watching.gallery import Gallery
from gateway.watching.sight import Sight
from gateway.watching.words import ANYBODY, CHANNEL, FULL, OTHERS, OWN, WHO, channel_of, look
from gateway.wheel import Wheel
from session.machine import TypingSession
from session.messages import Error

if TYPE_CHECKING:
    from gateway.connection import Connection
    from gateway.hub import Hub

__all__ = ["PERIOD_S", "Wanted", "Watching"]

PERIOD_S = 0.1
"""So often what is new of a test is told, and no oftener."""

RENEW_S = 5.0
"""So often a node says at what its connections look."""

WANTED_MS = 3_000 * RENEW_S
"""What was not said again for so long is looked at no more."""

FULL_RETRY_MS = 10_000
AWAY_RETRY_MS = 2_000

_BUCKETS = 5
_AT_ONCE = 500
"""Threads in one message: some 25 KB."""

_KEPT_WANTED = 10_000
"""Threads of the whole cluster that somebody looks at; beyond them the longest unsaid is forgotten."""

_SOUGHT_AT_ONCE = 500
"""Of these, how many are looked for in one visit: a millisecond's work; with more of them each has its turn later."""

_KEPT_OPENED = 10_000
"""Tests whose typists are known although the test is over; beyond them the oldest is forgotten."""

_log = structlog.get_logger(__name__)


class Wanted:
    """That somebody in the cluster looks at a thread."""

    __slots__ = ("own_until_ms", "session", "until_ms")

    def __init__(self, session: bytes) -> None:
        self.session = session
        """The thread's present test."""
        self.until_ms = 0.0
        self.own_until_ms = 0.0
        """Until when its own user is among them."""


class Watching:
    """One a process. `node` is its name among all. Everything is called on the event loop."""

    def __init__(self, bus: Bus, hub: Hub, options: WatchOptions | None = None, *, node: str) -> None:
        self.hub = hub
        self.bus = bus
        self.node = node
        self.options = options or WatchOptions()
        self.facts = WatchFacts()
        self.phase = 0
        self._wheel = Wheel(hub.loop, period_s=PERIOD_S, buckets=_BUCKETS)
        self._turning: set[Sight | Gallery | Watching] = set()
        self._watchers: dict[Connection, Gallery] = {}
        self._own: Counter[int] = Counter()
        """How many of them each user has."""
        self._looks = Credits(rate_per_s=self.options.per_s, burst=self.options.burst)
        """How often each user may begin to look on, at races too."""
        self._galleries: dict[bytes, Gallery] = {}
        self._sights: dict[bytes, Sight] = {}
        self._wanted: OrderedDict[bytes, Wanted] = OrderedDict()
        self._sought: list[bytes] = []
        """Those of them that are still to be looked for in this round."""
        self._opened: OrderedDict[bytes, ReferenceType[Connection]] = OrderedDict()
        self._renewed_ms = 0.0
        self._heard_of = bus.subscribe(CHANNEL, self._asked)
        hub.watching = self

    def close(self) -> None:
        """Show and look at nothing any more."""
        self._wheel.stop()
        self._heard_of.close()
        for gallery in list(self._galleries.values()):
            gallery.close()

    # --- what connections say ---

    def too_often(self, user: int) -> Error | None:
        """Why a user may not begin to look on just now; else it is counted."""
        wait_ms = self._looks.take(user, now_ms=self.hub.clock() * 1000)
        return Error("busy", f"you look here and there too fast; again in {wait_ms} ms", wait_ms) if wait_ms else None

    def watch(self, connection: Connection, session: bytes) -> Error | None:
        """Let a connection look on at who types this test, instead of what it looked at; None where that may come."""
        self.leave(connection)
        options = self.options
        gallery = self._galleries.get(session)
        if (
            len(self._watchers) >= options.watchers
            or self._own[connection.user] >= options.watchers_own
            or (gallery is None and len(self._galleries) >= options.typists)
            or (gallery is not None and len(gallery) >= options.watchers_each)
        ):
            return self.full()
        if gallery is None:
            gallery = self._galleries[session] = Gallery(self, session)
            self._turn(gallery)
            self._turn(self)
        self._watchers[connection] = gallery
        self._own[connection.user] += 1
        gallery.add(connection)
        return None

    def leave(self, connection: Connection) -> None:
        """A connection looks away, or is gone."""
        gallery = self._watchers.get(connection)
        if gallery is not None:
            self.forget_watcher(connection)
            gallery.remove(connection)

    def opened(self, session: TypingSession, connection: Connection) -> None:
        """A test at which others may look on begins, or goes on, on a connection."""
        self._opened[session.id] = ref(connection)
        self._opened.move_to_end(session.id)
        if len(self._opened) > _KEPT_OPENED:
            self._opened.popitem(last=False)

    # --- galleries ---

    def look(self, gallery: Gallery, *, anew: bool) -> None:
        """Say at once that a gallery looks, and what it would like."""
        self._post(CHANNEL, [_entry(gallery, anew)])

    def forget(self, gallery: Gallery) -> None:
        """A gallery has closed."""
        del self._galleries[gallery.thread]
        self._rest(gallery)

    def forget_watcher(self, connection: Connection) -> None:
        """Somebody is in no gallery any more."""
        if self._watchers.pop(connection, None) is not None:
            user = connection.user
            self._own[user] -= 1
            if not self._own[user]:
                del self._own[user]

    # --- sights ---

    def _asked(self, message: Any) -> None:
        """A node, perhaps this one, says at what it looks."""
        now_ms = self.hub.clock() * 1000
        try:
            looks = [look(entry) for entry in message]
        except (TypeError, ValueError) as fault:
            self.misheard(fault)
            return
        for thread, session, level, anew in looks:
            wanted = self._wanted.get(thread)
            if wanted is None:
                wanted = self._wanted[thread] = Wanted(session)
                if len(self._wanted) > _KEPT_WANTED:
                    self._wanted.popitem(last=False)
            self._wanted.move_to_end(thread)
            wanted.until_ms = now_ms + WANTED_MS
            if level >= OWN:
                wanted.own_until_ms = wanted.until_ms
            sight = self._sights.get(thread)
            if sight is None:
                wanted.session = session
                self._show(thread, wanted, ask=True)
            elif anew:
                sight.again()
        self._turn(self)

    def _show(self, thread: bytes, wanted: Wanted, *, ask: bool) -> None:
        """Show a thread where it is here and may be seen. `ask`: somebody asks just now, and is told if it may not."""
        found = self._here(thread, wanted.session)
        if found is None:
            return
        typist, session = found
        now_ms = self.hub.clock() * 1000
        others = session is None or session.watch
        if session is not None and not session.shows(own=now_ms < wanted.own_until_ms):
            if ask and session.shows(own=True):
                self.say(channel_of(thread), [WHO, self.node, 0, session.user])
            return
        if len(self._sights) >= self.options.shown:
            if ask:
                self.say(channel_of(thread), [FULL, self.node, 0])
            return
        user = session.user if session is not None else typist.user if typist is not None else 0
        sight = self._sights[thread] = Sight(self, thread, wanted, typist, user=user, others=others)
        self._turn(sight)

    def _here(self, thread: bytes, session: bytes) -> tuple[Connection | None, TypingSession | None] | None:
        """Who types a thread here, and what: no test between two of them, no connection where its client is away."""
        hub = self.hub
        typist = hub.live.get(session)
        if typist is not None and typist.session is not None:
            return typist, typist.session
        held = hub.held(session)
        if held is not None:
            return None, held
        for known in (thread, session):
            opened = self._opened.get(known)
            typist = None if opened is None else opened()
            if typist is not None and typist.alive:
                test = typist.session
                return typist, test if test is not None and test.watch else None
        return None

    def drop(self, sight: Sight) -> None:
        """Show this no more."""
        del self._sights[sight.thread]
        self._rest(sight)

    def say(self, channel: str, message: list[Any]) -> None:
        """Say something of what is shown."""
        self.facts.posted += 1
        self._post(channel, message)

    def _post(self, channel: str, message: list[Any]) -> None:
        try:
            self.bus.post(channel, message)
        except ValueError as fault:  # longer than `bus.message_bytes`
            self.facts.unsaid += 1
            if self.facts.unsaid == 1:
                _log.error("what others look at could not be said", why=str(fault))

    def misheard(self, fault: Exception) -> None:
        """What another node said made no sense."""
        self.facts.misheard += 1
        if self.facts.misheard & (self.facts.misheard - 1) == 0:  # the first, and then ever more seldom
            _log.warning("another node says what makes no sense", why=str(fault), times=self.facts.misheard)

    # --- what those are told who get to see nothing ---

    @staticmethod
    def full() -> Error:
        """There is no room for them."""
        return Error("watch_full", "so many look on that there is no room for one more", FULL_RETRY_MS)

    @staticmethod
    def unseen(*, heard: bool) -> Error:
        """Nobody showed it; `heard`: others could have told us."""
        if heard:
            return Error("unwatchable", "there is no such test to be seen, or it is over, or it is not for you")
        return Error("away", "what the servers share is away; looking on stands still until it is back", AWAY_RETRY_MS)

    # --- time ---

    def _turn(self, member: Sight | Gallery | Watching) -> None:
        """Visit it ten times a second from now on."""
        if member in self._turning:
            return
        if not self._turning:
            self._wheel.start()
        self._turning.add(member)
        self._wheel.join(member)

    def _rest(self, member: Sight | Gallery | Watching) -> None:
        self._turning.discard(member)
        self._wheel.leave(member)
        if not self._turning:
            self._wheel.stop()

    def beat(self, now_ms: float) -> None:
        """See what came here that somebody looks at; say from time to time at what ours look."""
        galleries = self._galleries
        if galleries and now_ms >= self._renewed_ms + 1000 * RENEW_S:
            self._renewed_ms = now_ms
            entries = [_entry(gallery, False) for gallery in galleries.values()]
            for start in range(0, len(entries), _AT_ONCE):
                self._post(CHANNEL, entries[start : start + _AT_ONCE])
        sought = self._sought = self._sought or list(self._wanted)
        some = sought[-_SOUGHT_AT_ONCE:]
        del sought[-_SOUGHT_AT_ONCE:]
        for thread in some:
            wanted = self._wanted.get(thread)
            if wanted is None:
                continue
            if now_ms >= wanted.until_ms:
                del self._wanted[thread]
            elif thread not in self._sights:
                self._show(thread, wanted, ask=False)
        if not self._wanted and not galleries:
            self._rest(self)

    def alarm(self, now_ms: float) -> None:
        """It asks for none."""

    def figures(self) -> Mapping[str, int]:
        """How many there are now."""
        return {"watchers": len(self._watchers), "watched": len(self._galleries), "shown": len(self._sights)}


def _entry(gallery: Gallery, anew: bool) -> list[Any]:
    level = ANYBODY if gallery.user is None else OWN if gallery.has_own else OTHERS
    return [gallery.thread, gallery.session or gallery.thread, level, anew]
