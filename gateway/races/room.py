"""A room: one race, as long as somebody of it is connected here.

    what a connection says ─┐                      ┌─> race.state, race.progress, started
    what became of a test ──┼─> change in the store ┤
    an instant, a node gone ┘                      └─> the bus ─> rooms of other nodes

A room owns nothing. The race is a value in the store, changed by compare-and-set; the room knows it as it was last
seen, takes every newer version that it hears of, and does what follows for those who are here. One change is under way
at a time; what is asked meanwhile goes into the next one together. What must come to pass (somebody is gone, is back,
has finished) is *owed*: it is tried until it is written, however long Redis is away. Questions are answered at once
where it is: with `away`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog

from gateway.races.finishes import Finishes
from gateway.races.place import Place
from gateway.races.progress import Course, Row
from gateway.races.recording import Recording
from gateway.races.sharing import Sharing
from gateway.races.shown import state_of
from gateway.said import Said
from persistence.errors import StoreError
from session.machine import Claim, TypingSession
from session.messages import Error
from session.passages import Material
from session.race import Race
from session.racing import Back, Change, Due, Finished, Leave, Lost, NodesGone, change, due_ms
from session.state import Phase

if TYPE_CHECKING:
    from gateway.connection import Connection
    from gateway.races.rooms import Rooms

__all__ = ["PERIOD_S", "Room", "Step"]

PERIOD_S = 0.1
"""How often what changed is told: state and progress each ten times a second at most."""

LINGERS_S = 60.0
"""A room in which nobody is any more is kept for what it owes, or while the store is away, no longer than this; one
whose race has begun, until that is over."""

DOUBTED_S = 5.0
"""A racer's node that nobody has seen for so long is gone."""

AT_ONCE = 10
"""Questions, and facts, that go into one change: with a hundred racers each takes up to 0.2 ms."""

LATER_MS = 50
"""An instant is carried out by the host's node at once, by the others so much later, and up to twice as much more."""

NO_RACE = Error("no_race", "there is no such race, or it is long over")

GONE = Error("not_racing", "your lane was given up while this server could not be reached; join the race again")

RACING = frozenset({Phase.COUNTDOWN, Phase.RUNNING, Phase.CLOSING})

Step = Callable[[Race | None, int], Race | Error]
"""What is asked of a race, at an instant of the race's clock; None: there is no such race."""

Key = tuple[str, int]
"""What is owed, and of whom: "there" and "left" of a user, "finished" and "judged" of a lane, "gone" of a node."""

_log = structlog.get_logger(__name__)


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
        self.frozen = False
        """The store did not answer the last time."""
        self.closed = False
        self.coming = 0
        """Connections that are on their way in; the room stays for them."""
        self._rooms = rooms
        self._hub = rooms.hub
        self._asked: list[tuple[Step, asyncio.Future[Race | Error]]] = []
        self._owed: dict[Key, Change] = {}
        self._look = True
        self._changing = False
        self._retry_ms = 0.0
        self._searched = False
        """Whether it was looked for those who should be here."""
        self._material: Material | None = None
        self._course: Course | None = None
        self._making = False
        self._ghosts: list[Said] | None = None
        """The courses of ghosts, once they have been played; None before the countdown."""
        self._finishes = Finishes(rooms.hub.submissions, self.owe, rooms.now_ms)
        self._recording = Recording(rooms)
        self._doubted: dict[str, float] = {}
        """Nodes of racers that the directory does not know, since when."""
        self._looked_ms = 0.0
        self._shown_ms = float("-inf")
        self._unshown = False
        self._behind: set[Place] = set()
        """Those who did not read when they were to be told how the race is."""
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
        self._subscription = rooms.bus.subscribe(channel, self._heard, resync=self._resync)

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
            self._tell_state(before)
            return
        place = self.places[lane] = Place(self, connection, lane)
        place.claim = claim
        self._here = None
        if session is not None:
            place.session = session.id
        if before is not None and before.connection is not connection:
            self._supersede(before)
        connection.place = place
        self._come(place)
        self._begin()

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
        self._behind.discard(place)
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
        self._tell_state(place)
        self._tell_ghosts(place)

    def _supersede(self, place: Place) -> None:
        """Another connection of the same user has the lane."""
        self.rise(place)
        place.connection.supersede()

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

    # --- changing the race ---

    def step(self, what: Change) -> Step:
        """What asks for a change of a race that is there."""
        rules = self._rooms.rules
        return lambda race, now_ms: NO_RACE if race is None else change(race, what, now_ms=now_ms, rules=rules)

    async def ask(self, step: Step) -> Race | Error:
        """The race after this step, or why it may not be; `error away` where the store is away."""
        if self.closed:  # while whoever asks had something else to wait for
            return NO_RACE
        answer: asyncio.Future[Race | Error] = self._hub.loop.create_future()
        self._asked.append((step, answer))
        self._change()
        return await answer

    def owe(self, key: Key, happened: Change) -> None:
        """This has come to pass, and is to be written; a later one of the same key takes its place."""
        self._owed.pop(key, None)
        self._owed[key] = happened
        self._change()

    def _change(self) -> None:
        if not self._changing and not self.closed:
            self._changing = True
            self._hub.spawn(self._changes())

    async def _changes(self) -> None:
        """Bring what is asked and owed to the store, all of it together, as long as there is any."""
        try:
            while self._asked or self._owed or self._look:
                if not await self._once():
                    break
        finally:
            self._changing = False

    async def _once(self) -> bool:
        asked, self._asked = self._asked[:AT_ONCE], self._asked[AT_ONCE:]
        owed = list(self._owed.items())[:AT_ONCE]
        # results first: they were there at an instant of their own, before what is due by now
        happened = sorted((what for _, what in owed), key=lambda what: not isinstance(what, Finished))
        self._look = False
        answers: list[Race | Error] = []
        before: Race | None = None

        def step(stored: Race | None, now_ms: int) -> Race | Error:
            """May be taken several times, each on what is stored by then."""
            nonlocal before
            answers.clear()
            before = stored
            race = self._newest(stored)
            steps = [self.step(what) for what in (*happened, Due())]
            for number, take in enumerate((*steps, *(ask for ask, _ in asked))):
                after = take(race, now_ms)
                if not isinstance(after, Error):
                    race = after
                if number >= len(steps):
                    answers.append(after)
            return NO_RACE if race is None else race

        try:
            race = await self._rooms.races.change(self.id, step)
        except Exception as fault:
            if not isinstance(fault, StoreError):
                for _, answer in asked:
                    answer.cancel()
                raise
            self._freeze(fault)
            asked += self._asked  # it is away for all who ask, not for these few alone
            self._asked.clear()
            for _, answer in asked:
                _resolve(answer, self._rooms.away())
            return False
        self._thaw()
        for key, what in owed:
            if self._owed.get(key) is what:
                del self._owed[key]
        if isinstance(race, Error):
            if race.code == NO_RACE.code:
                self._vanished()
        else:
            if before is None or race.version > before.version:
                self._written(before, race)
            self.take(race)
        for (_, answer), said in zip(asked, answers, strict=True):
            _resolve(answer, said if isinstance(said, Error) else race)
        return True

    def _newest(self, stored: Race | None) -> Race | None:
        """What is stored, unless it is older than what we know: a Redis that lost it is given it back.

        One that is over may be forgotten, but not before its places are final: else it would never be recorded.
        """
        known = self.race
        if known is None or (stored is not None and stored.version >= known.version):
            return stored
        return None if stored is None and known.final else known

    def _written(self, before: Race | None, race: Race) -> None:
        """We have changed the race: tell the others."""
        self._rooms.bus.post(self._subscription.channel, ["state", race.version, race.pack()])
        if before is None or race.phase is not before.phase:
            self._rooms.facts.phases[race.phase.value] += 1
        ours = before is None or not before.final
        self._recording.see(race, ours=ours, now_ms=self._hub.clock() * 1000)

    def _freeze(self, fault: StoreError) -> None:
        self._look = True
        jitter = 0.5 + self._hub.random_bits(10) / 2048
        self._retry_ms = self._hub.clock() * 1000 + self._rooms.options.retry_ms * jitter
        if not self.frozen:
            self.frozen = True
            self._rooms.froze(fault)
            said = Said(self._rooms.away().to_wire())
            for place in self._everybody():
                place.connection.hear(said)

    def _thaw(self) -> None:
        if self.frozen:
            self.frozen = False
            self._rooms.thawed()

    def _vanished(self) -> None:
        """There is no such race, or none any more: those who are here are told, and their tests are ordinary ones."""
        said = Said(NO_RACE.to_wire())
        for place in self._everybody():
            place.connection.hear(said)
            self.rise(place)

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
            elif racer.away_ms is not None and racer.node == self._rooms.node and ("there", user) not in self._owed:
                # others took this node for gone, and it is not
                self.owe(("there", user), Back(user, self._rooms.node))
            elif racer.away_ms is None and racer.node != self._rooms.node and ("there", user) not in self._owed:
                self._supersede(place)
        self._begin()
        self._arm(self._hub.clock() * 1000)
        self._unshown = True
        now_ms = self._hub.clock() * 1000
        self._recording.see(race, now_ms=now_ms)
        if now_ms - self._shown_ms >= PERIOD_S * 1000:
            self._show(now_ms)

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

    def _begin(self) -> None:
        """From the countdown on: a test for every racer who is here and has none."""
        race = self.race
        if race is None or race.phase not in RACING:
            return
        if self._ghosts is None:
            self._ghosts = []
            if len(race.people) < len(race.racers):
                self._hub.spawn(self._play_ghosts(race))
        if self._material is not None:
            for place in list(self.places.values()):
                if self._lacks_test(race, place):
                    self._begin_at(race, place, self._material)
        elif self.places and not self._making:
            self._making = True
            self._hub.slices.run(self._rooms.making(race), self._made, self._unmade)

    async def _play_ghosts(self, race: Race) -> None:
        """Let ghosts be played, and tell it to those who are here; the store is asked again while it is away."""
        assert self._rooms.courses is not None
        while not self.closed and self.race is not None and self.race.phase in RACING:
            try:
                self._ghosts = await self._rooms.courses(race)
            except StoreError:
                await asyncio.sleep(self._rooms.options.retry_ms / 1000)
                continue
            for place in self._everybody():
                self._tell_ghosts(place)
            return

    def _tell_ghosts(self, place: Place) -> None:
        for said in self._ghosts or ():
            place.connection.hear(said)

    @staticmethod
    def _lacks_test(race: Race, place: Place) -> bool:
        assert place.lane is not None
        racer = race.lane(place.lane)
        return place.session is None and racer is not None and racer.racing

    def _made(self, material: Material | Error) -> None:
        self._making = False
        if isinstance(material, Error):
            for place in list(self.places.values()):
                place.connection.hear(Said(material.to_wire()))
            return
        self._material = material
        self._course = Course(material.words)
        self._begin()

    def _unmade(self, fault: Exception) -> None:
        self._making = False
        _log.error("a race's text could not be made", race=self.id, exc_info=fault)

    def _begin_at(self, race: Race, place: Place, material: Material) -> None:
        hub, connection = self._hub, place.connection
        assert place.lane is not None
        racer = race.lane(place.lane)
        assert racer is not None
        assert racer.session is not None, "from the countdown on it has one"
        copy, account = hub.copy_of(racer.session), hub.takeovers.accounts.of(racer.session)
        if place.claim is not None and account is None:  # somebody has taken it since
            self._supersede(place)
            return
        hub.release(racer.session)  # who joins again begins again
        session = TypingSession.begin(
            race.test_of(racer),
            material,
            session=racer.session,
            user=racer.user,
            seed=race.text.seed,
            ref=None,
            ring=hub.ring,
            limits=hub.limits,
            now_ms=hub.clock() * 1000,
            epoch_ms=hub.epoch_ms(),
            race_ms=self._rooms.now_ms(),
            node=hub.node,
            seat=race.seat_of(racer),
            epoch=max((had.epoch for had in (copy, account) if had is not None), default=0),
        )
        if place.claim is not None:
            hub.takeovers.began(place.claim)
            place.claim = None
        else:
            hub.takeovers.accounts.forget(session.id)
        place.session = session.id
        place.n = 0
        connection.take_up(session, material)

    def ended(self, place: Place, session: TypingSession) -> None:
        """A racer's test has ended with a result, which is on its way."""
        assert place.lane is not None
        if self._course is not None:
            self._sharing.take(self._row(place, session))
        stall_ms = self._hub.stalls.waited_ms(session.seen_ms)
        late_ms = session.late_ms(ping_ms=place.connection.ping_ms, stall_ms=stall_ms)
        self._finishes.follow(session.id, place.lane, late_ms=late_ms)

    def gave_up(self, place: Place) -> None:
        """A racer's test is over without a result."""
        user = place.connection.user
        self.owe(("left", user), Leave(user))

    # --- progress ---

    def _pull(self) -> list[Row]:
        """What changed in the tests of those who race here."""
        if self._course is None:
            return []
        rows: list[Row] = []
        for place in self.places.values():
            session = place.connection.session
            if session is not None and session.n != place.n and session.id == place.session:
                rows.append(self._row(place, session))
        return rows

    def _row(self, place: Place, session: TypingSession) -> Row:
        assert self._course is not None, "who has a test of the race has its text"
        place.n = session.n
        wpm, _, _, word, cluster, err = session.figures()
        return [place.lane, self._course.done(word, cluster), wpm, err]

    # --- state ---

    def _show(self, now_ms: float) -> None:
        """Tell everybody who is here how the race is."""
        race = self.race
        assert race is not None
        self._unshown = False
        self._behind.clear()
        self._shown_ms = now_ms
        said = self._state(race)
        for place in self._everybody():
            self._tell(place, said)

    def _tell_state(self, place: Place) -> None:
        if self.race is not None:
            self._tell(place, self._state(self.race))

    def _state(self, race: Race) -> Said:
        return Said(state_of(race, title=None if self._material is None else self._material.title))

    def _tell(self, place: Place, said: Said) -> None:
        told = place.connection.hear(said, None if place.lane is None else {"lane": place.lane})
        self._rooms.facts.states += told
        if told:
            self._behind.discard(place)
        else:
            self._behind.add(place)

    def _everybody(self) -> tuple[Place, ...]:
        here = self._here
        if here is None:
            here = self._here = (*self.places.values(), *self.watchers)
        return here

    # --- time ---

    def beat(self, now_ms: float) -> None:
        """Ten times a second."""
        if self.frozen:
            if now_ms >= self._retry_ms:
                self._change()
        elif self._look or self._owed or self._asked:
            self._change()
        if self._due_ms is not None and self._due_ms - now_ms <= PERIOD_S * 1000:
            self._arm(now_ms)
        if self._unshown:
            if now_ms - self._shown_ms >= PERIOD_S * 990:
                self._show(now_ms)
        elif self._behind and self.race is not None:
            said = self._state(self.race)
            for place in tuple(self._behind):
                self._tell(place, said)
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
        if self.frozen or self._changing:
            return
        if wait_ms <= 0:
            self._look = True
            self._change()
        elif wait_ms <= PERIOD_S * 1000:
            self._rooms.wheel.ring(self, now_ms + wait_ms)

    @property
    def spare(self) -> bool:
        """Whether nobody is here, and the room is kept for the race's end alone."""
        return self._deserted and not self._owing

    @property
    def _deserted(self) -> bool:
        return self._empty and not self._changing

    @property
    def _empty(self) -> bool:
        return not (self.places or self.watchers or self.coming or self._asked)

    @property
    def _owing(self) -> bool:
        return bool(self._owed or self._finishes) or self._recording.owing

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
        if over and not self._changing:  # what is tried meanwhile puts nothing off
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

    def _resync(self) -> None:
        """Something may have been missed: look what there is, and ask the others for their progress."""
        self._look = True
        self._change()
        self._sharing.ask(self._hub.clock() * 1000, new=True)


def _resolve(answer: asyncio.Future[Race | Error], value: Race | Error) -> None:
    if not answer.done():
        answer.set_result(value)
