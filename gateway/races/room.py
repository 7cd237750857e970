"""A room: one race, as long as somebody of it is connected here.

    what a connection says ─┐                      ┌─> race.state, race.progress, started
    what became of a test ──┼─> change in the store ┤
    an instant, a node gone ┘                      └─> the bus ─> rooms of other nodes

A room owns nothing. The race is a value in the store; the room knows it as it was last seen, takes every newer version
that it hears of, and does what follows for those who are here. What there is to do has rooms of its own: `changes` (to
the store), `showing` (how the race is), `beginning` (the racers' tests) and `finishes` (what became of them), `sharing`
(how far everybody is), `recording` (that it was).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.races.beginning import RACING, Beginning
from gateway.races.changes import NO_RACE, Changes, Key, Step
from gateway.races.finishes import Finishes, stored_before
from gateway.races.place import Place
from gateway.races.progress import Row, row_of, rows_since
from gateway.races.recording import Recording
from gateway.races.sharing import Sharing
from gateway.races.showing import PERIOD_S, Showing
from gateway.said import Said
from session.machine import Claim, TypingSession
from session.messages import Error
from session.race import Race
from session.racing import Back, Change, Leave, Lost, NodesGone, due_ms
from session.result import Result
from session.state import Phase

if TYPE_CHECKING:
    from gateway.connection import Connection
    from gateway.races.rooms import Rooms

__all__ = ["Room"]

LINGERS_S = 60.0
"""A room in which nobody is any more is kept for what it owes, or while the store is away, no longer than this; one
whose race has begun, until that is over."""

DOUBTED_S = 5.0
"""A racer's node that nobody has seen for so long is gone."""

LATER_MS = 50
"""An instant is carried out by the host's node at once, by the others so much later, and up to twice as much more."""

GONE = Error("not_racing", "your lane was given up while this server could not be reached; join the race again")


class Room:
    """A member of the rooms' wheel. Made by `Rooms.open`, closed by itself when nobody is left and nothing is owed."""

    def __init__(self, rooms: Rooms, race: str) -> None:
        self.id = race
        self.phase = 0
        self.race: Race | None = None
        """As it was last seen; None before that."""
        self.places: dict[int, Place] = {}
        """Those of its racers who are connected here, by lane."""
        self.watchers: set[Place] = set()
        self.closed = False
        self.coming = 0
        """Connections that are on their way in; the room stays for them."""
        self._rooms = rooms
        self._hub = rooms.hub
        self._searched = False
        """Whether it was looked for those who should be here."""
        self._changes = Changes(
            rooms, race, known=lambda: self.race, changed=self._changed, vanished=self._vanished, froze=self._froze
        )
        self._beginning = Beginning(rooms, race, places=self.places, everybody=self._everybody)
        self._showing = Showing(rooms.facts, everybody=self._everybody, title=lambda: self._beginning.title)
        self._finishes = Finishes(rooms.hub.submissions, self._changes.owe, rooms.now_ms)
        self._recording = Recording(rooms)
        self._doubted: dict[str, float] = {}
        """Nodes of racers that the directory does not know, since when."""
        self._looked_ms = 0.0
        self._lag_ms = self._hub.random_bits(8) * LATER_MS // 128
        self._left_ms: float | None = None
        self._here: tuple[Place, ...] | None = ()
        """All who are here; None where it is to be put together anew."""
        self._racing = False
        """Whether it is typed."""
        self._missed = False
        """Whether some of what other nodes tell of progress may not have come."""
        self._due_ms: float | None = None
        """When the race's next instant is for this node, by the loop's clock as far as it is known."""
        channel = f"race:{race}"
        self._sharing = Sharing(
            rooms.bus,
            channel,
            rooms.courier,
            rooms.facts,
            race=race,
            pull=self._pull,
            everybody=self._everybody,
        )
        self._subscription = rooms.bus.subscribe(channel, self._heard, resync=lambda: rooms.catching_up.add(self))

    # --- who is here ---

    def sit(
        self, connection: Connection, lane: int, session: TypingSession | None = None, *, claim: Claim | None = None
    ) -> None:
        """Give a racer's lane to a connection of its user. Who had it here has it no more, and is sent away.

        `session`: the test of the race that the connection has already. `claim`: by which it was taken from another
        node, to be begun anew.
        """
        before = self.places.get(lane)
        if before is not None and before.connection is connection and session is None:
            self._showing.greet(before)
            return
        place = self.places[lane] = Place(self, connection, lane)
        place.claim = claim
        self._here = None
        if session is not None:
            place.session = session.id
        if before is not None and before.connection is not connection:
            before.supersede()
        connection.place = place
        self._come(place)
        self._beginning.begin()

    def watch(self, connection: Connection) -> Place:
        """Let a connection look on."""
        place = Place(self, connection, None)
        self.watchers.add(place)
        self._here = None
        connection.place = place
        self._come(place)
        return place

    def rise(self, place: Place) -> None:
        """This connection is not in the room any more."""
        if place.lane is not None and self.places.get(place.lane) is place:
            del self.places[place.lane]
        self._here = None
        self.watchers.discard(place)
        self._showing.leave(place)
        self._sharing.leave(place)
        if place.connection.place is place:
            place.connection.place = None

    def lost(self, place: Place) -> None:
        """A connection that was here is closed."""
        lane = place.lane
        mine = lane is not None and self.places.get(lane) is place
        self.rise(place)
        self._finishes.gone(place.session)
        if mine:
            self.absent(place.connection.user)

    def absent(self, user: int) -> None:
        """A racer's connection to this node is lost."""
        self.owe(("there", user), Lost(user, self._rooms.node))

    def leave(self, place: Place) -> None:
        """The connection leaves of its own will: a racer gives up, or the lane in the lobby."""
        user = place.connection.user
        racing = place.lane is not None and self.race is not None and self.race.phase is not Phase.SETTLED
        if racing:
            self.owe(("left", user), Leave(user))
        place.connection.give_up(place.session)
        self.rise(place)

    def _come(self, place: Place) -> None:
        self._left_ms = None
        self._sharing.come(place)
        self._showing.greet(place)
        self._beginning.greet(place)

    def _everybody(self) -> tuple[Place, ...]:
        here = self._here
        if here is None:
            here = self._here = (*self.places.values(), *self.watchers)
        return here

    @property
    def alone(self) -> bool:
        """Whether all its racers are one who was found no race of others."""
        race, place = self.race, next(iter(self.places.values()), None)
        return (
            race is not None
            and place is not None
            and place.found
            and race.phase is Phase.LOBBY
            and len(race.racers) == 1
            and not self.coming
        )

    # --- the race as it is ---

    def step(self, what: Change) -> Step:
        """What asks for a change of a race that is there."""
        return self._changes.step(what)

    async def ask(self, step: Step) -> Race | Error:
        """The race after this step, or why it may not be; `error away` where the store is away."""
        return await self._changes.ask(step)

    def owe(self, key: Key, happened: Change) -> None:
        """This has come to pass, and is to be written; a later one of the same key takes its place."""
        self._changes.owe(key, happened)

    @property
    def frozen(self) -> bool:
        """Whether the store did not answer the last time."""
        return self._changes.frozen

    def _changed(self, before: Race | None, race: Race) -> None:
        """This is how it is, and how it was before; where we have changed it the others are told."""
        if before is None or race.version > before.version:
            self._rooms.bus.post(self._subscription.channel, ["state", race.version, race.pack()])
            if before is None or race.phase is not before.phase:
                self._rooms.facts.phases[race.phase.value] += 1
            ours = before is None or not before.final
            self._recording.see(race, ours=ours, now_ms=self._hub.clock() * 1000)
        self.take(race)

    def _vanished(self) -> None:
        """There is no such race, or none any more: those who are here are told, and their tests are ordinary ones."""
        said = Said(NO_RACE.to_wire())
        for place in self._everybody():
            place.connection.hear(said)
            self.rise(place)

    def _froze(self) -> None:
        """The store is away: those who are here are told."""
        said = Said(self._rooms.away().to_wire())
        for place in self._everybody():
            place.connection.hear(said)

    def take(self, race: Race) -> None:
        """This is how the race is, if it is newer than what was known: do what follows for those who are here."""
        known = self.race
        if known is not None and race.version <= known.version:
            return
        self.race = race
        self._racing = race.phase in RACING
        mine = self._rooms.node
        self._sharing.nodes = frozenset(
            racer.node for racer in race.people if racer.away_ms is None and racer.node != mine
        )
        for lane, place in list(self.places.items()):
            racer = race.lane(lane)
            user = place.connection.user
            if racer is None or racer.user != user:
                place.connection.hear(Said(GONE.to_wire()))
                self.rise(place)
            elif self._changes.owes(("there", user)):
                pass  # the store is to hear of it first
            elif racer.away_ms is not None and racer.node == mine:
                # others took this node for gone, and it is not
                self.owe(("there", user), Back(user, mine, still=True))
            elif racer.away_ms is None and racer.node != mine:
                place.supersede()
        self._beginning.take(race)
        self._arm(self._hub.clock() * 1000)
        now_ms = self._hub.clock() * 1000
        self._recording.see(race, now_ms=now_ms)
        self._showing.take(race, now_ms)

    def _find_absent(self, race: Race) -> None:
        """Racers who should be here and are not: this node has been told no more of them since the room closed.

        Once, and when whoever opened the room has sat down.
        """
        if self._searched or self.coming:
            return
        self._searched = True
        for racer in race.people:
            if racer.away_ms is None and racer.node == self._rooms.node and racer.lane not in self.places:
                self.absent(racer.user)

    def gone(self, node: str) -> None:
        """A node is not there any more: so are those of its racers who have not come back elsewhere."""
        self._sharing.gone(node)
        if self.race is not None and any(racer.away_ms is None and racer.node == node for racer in self.race.people):
            self._doubted.pop(node, None)
            self.owe(("gone", hash(node)), NodesGone(frozenset({node})))

    def _doubt(self, now_ms: float) -> None:
        """Look for nodes of racers that the directory does not know: it may never have known them."""
        if self.race is None or self.race.final:
            return
        nodes = {racer.node for racer in self.race.people if racer.away_ms is None}
        absent = {node for node in nodes if not self._rooms.there(node)}
        self._doubted = {node: self._doubted.get(node, now_ms) for node in absent}
        for node, since_ms in list(self._doubted.items()):
            if now_ms - since_ms >= DOUBTED_S * 1000:
                self.gone(node)

    # --- the tests of those who race here ---

    def come_back(self, connection: Connection, lane: int, session: TypingSession) -> None:
        """A racer's test goes on here: the lane is this connection's, unless the race turns out to know better."""
        self.owe(("there", connection.user), Back(connection.user, self._rooms.node))
        self.sit(connection, lane, session)

    def found(self, lane: int, result: Result, start_ms: int) -> None:
        """A racer's result turns out to be stored: the race is told, if it has not heard of it."""
        finished, judged = stored_before(result, lane, start_ms)
        self.owe(("finished", lane), finished)
        self.owe(("judged", lane), judged)

    def ended(self, place: Place, session: TypingSession) -> None:
        """A racer's test has ended with a result, which is on its way."""
        assert place.lane is not None
        if self._beginning.course is not None:
            self._sharing.take(row_of(place, session, self._beginning.course))
        stall_ms = self._hub.stalls.waited_ms(session.seen_ms)
        late_ms = session.late_ms(ping_ms=place.connection.ping_ms, stall_ms=stall_ms)
        self._finishes.follow(session.id, place.lane, late_ms=late_ms)

    def gave_up(self, place: Place) -> None:
        """A racer's test is over without a result."""
        user = place.connection.user
        self.owe(("left", user), Leave(user))

    def _pull(self) -> list[Row]:
        """What changed in the tests of those who race here."""
        course = self._beginning.course
        return [] if course is None else rows_since(self.places.values(), course)

    # --- time ---

    def beat(self, now_ms: float) -> None:
        """Ten times a second."""
        self._changes.beat(now_ms)
        if self._due_ms is not None and self._due_ms - now_ms <= PERIOD_S * 1000:
            self._arm(now_ms)
        self._showing.beat(now_ms)
        if self._racing or self._sharing.owing:
            self._sharing.turn(now_ms)
        if now_ms - self._looked_ms >= 1000:
            self._look_around(now_ms)

    def _look_around(self, now_ms: float) -> None:
        """Once a second: whatever need not be looked at in every beat."""
        self._looked_ms = now_ms
        self._arm(now_ms)
        self._doubt(now_ms)
        if self.race is not None:
            self._find_absent(self.race)
        self._recording.look(now_ms)
        if self.places or self.watchers:
            self._sharing.ask(now_ms, new=self._missed)
            self._missed = False
        if self._rooms.alone is not None and self.alone:
            self._hub.spawn(self._rooms.alone(self))
        self._close_unless_needed(now_ms)

    def alarm(self, now_ms: float) -> None:
        """What was asked for with `Wheel.ring`: an instant of the race has come."""
        if not self.closed:
            self._arm(now_ms)

    def _arm(self, now_ms: float) -> None:
        """See that what is due next is done in time, by whoever is first."""
        race = self.race
        due = None if race is None else due_ms(race, self._rooms.rules)
        if race is None or due is None:
            self._due_ms = None
            return
        host = race.lane(race.host)
        if host is None or host.node != self._rooms.node:
            due += LATER_MS + self._lag_ms
        wait_ms = due - self._rooms.now_ms()
        self._due_ms = now_ms + wait_ms
        if self.frozen or self._changes.busy:
            return
        if wait_ms <= 0:
            self._changes.look()
        elif wait_ms <= PERIOD_S * 1000:
            self._rooms.wheel.ring(self, now_ms + wait_ms)

    @property
    def spare(self) -> bool:
        """Whether nobody is here, and the room is kept for the race's end alone."""
        return self._empty and not self._changes.busy and not self._owing

    @property
    def _empty(self) -> bool:
        return not (self.places or self.watchers or self.coming or self._changes.asked)

    @property
    def _owing(self) -> bool:
        return self._changes.owing or bool(self._finishes) or self._recording.owing

    def _close_unless_needed(self, now_ms: float) -> None:
        if self.spare:
            self._rooms.deserted.add(self)
        # somebody has to settle the race, and to record it, though all its racers be gone
        if not self._empty or (self._under_way and not self.frozen):
            self._left_ms = None
            return
        if self._left_ms is None:
            self._left_ms = now_ms
        over = now_ms - self._left_ms >= LINGERS_S * 1000 or not (self._owing or self._under_way)
        if over and not self._changes.busy:  # what is tried meanwhile puts nothing off
            self.close()

    @property
    def _under_way(self) -> bool:
        """Whether the race has begun, and its places are not final."""
        race = self.race
        return race is not None and race.start_ms is not None and not race.final

    def close(self) -> None:
        """Hear and do nothing any more."""
        if self.closed:
            return
        self.closed = True
        self._changes.close()
        self._beginning.close()
        self._finishes.close()
        self._sharing.close()
        for place in self._everybody():
            self.rise(place)
        self._subscription.close()
        self._rooms.forget(self)

    # --- the bus ---

    def _heard(self, message: Any) -> None:
        try:
            match message:
                case ["state", int(version), bytes(packed), *_]:
                    if self.race is None or version > self.race.version:  # not what we said ourselves
                        race = Race.unpack(packed)
                        if race.id != self.id:
                            raise ValueError(f"this is race {race.id!r:.40}")
                        self.take(race)
                case _:
                    self._sharing.hear(message, self._hub.clock() * 1000)
        except (ValueError, TypeError) as fault:
            self._rooms.misheard(self.id, fault)

    def heard_progress(self, node: str, rows: Any, answer: bool) -> None:
        """Another node tells how far its racers are. Raises ValueError or TypeError for what makes no sense."""
        self._sharing.heard(node, rows, answer, self._hub.clock() * 1000)

    def missed_progress(self) -> None:
        """Some of what other nodes tell may not have come: they are asked for all of it in this room's next look."""
        self._missed = True

    async def catch_up(self) -> None:
        """Something may have been missed: see what there is, and ask the others for their progress."""
        self._sharing.ask(self._hub.clock() * 1000, new=True)
        await self._changes.see()
