"""What a connection says about races, and what comes of it: each message a coroutine that gives the error to answer.

The wire is held meanwhile: a connection does one thing at a time. A connection is in one room at most; whoever goes to
another leaves the first, but not in the middle of typing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

import structlog

from gateway.races.changes import NO_RACE, Step
from gateway.races.finishes import stored_before
from gateway.races.ghosts import Ghosts, options_of
from gateway.races.place import Place
from gateway.races.room import Room
from gateway.races.rooms import Rooms
from gateway.races.speeds import Speeds
from persistence.errors import StoreError
from session.holder import Word
from session.identity import RACE_BITS, mint_race
from session.machine import Claim, TypingSession
from session.messages import Error
from session.names import NameFault, clean_name, default_name
from session.options import INPUTS, Input
from session.race import Race, RaceText, band_of
from session.race_messages import (
    RaceAgain,
    RaceCreate,
    RaceJoin,
    RaceLeave,
    RaceReady,
    RaceStart,
    Unwatch,
    Watch,
)
from session.race_options import RaceOptions, choose_race
from session.racing import Change, Due, Ghost, Join, Leave, Next, Ready, Start, change, opened
from session.receipt import Seat
from session.result import Result

if TYPE_CHECKING:
    from gateway.connection import Connection

__all__ = ["RaceTalk", "Racing"]

RaceTalk: TypeAlias = RaceCreate | RaceJoin | RaceReady | RaceStart | RaceLeave | RaceAgain | Watch | Unwatch

_log = structlog.get_logger(__name__)

SEED_BITS: Final = 53
SALT_BITS: Final = 64

MOST_TRIED: Final = 10
"""Open races that are tried for one who looks for one."""

TAKEN: Final = frozenset({"no_race", "race_full", "race_running", "race_over"})
"""Why the next one is tried."""

NOT_RACING: Final = Error("not_racing", "you are in no race; join one first")
RUNNING: Final = Error("running", "you are racing; race.leave gives up, then you may go elsewhere")
TYPED: Final = Error("running", "you are racing over another connection, or were; `resume` goes on with what is typed")
ELSEWHERE: Final = Error("running", "the test is at another node")
"""Told nobody: it is to be had from there first."""
ENDED: Final = Error("running", "you have finished, and the result is on its way; join again then", 1_000)


class Racing:
    """All conversations of this node about races."""

    def __init__(self, rooms: Rooms, speeds: Speeds, ghosts: Ghosts) -> None:
        self.rooms = rooms
        self._hub = rooms.hub
        self._speeds = speeds
        self._ghosts = ghosts
        rooms.alone = self._alone
        rooms.courses = ghosts.courses

    async def hear(self, connection: Connection, said: RaceTalk) -> Error | None:
        """Do what a connection says; the error to answer, if there is one."""
        if isinstance(said, RaceCreate | RaceJoin | RaceAgain) and connection.outlived():
            return None
        match said:
            case RaceCreate():
                return await self._create(connection, said)
            case RaceJoin():
                return await self._join(connection, said)
            case RaceReady():
                return await self._say(connection, Ready(connection.user, said.ready))
            case RaceStart():
                return await self._say(connection, Start(connection.user))
            case RaceLeave():
                return self._leave(connection)
            case RaceAgain():
                return await self._again(connection)
            case Watch():
                return await self._watch(connection, said)
            case Unwatch():
                if connection.place is not None and connection.place.lane is None:
                    connection.place.room.rise(connection.place)
                return None
            case _:
                assert_never(said)

    def back(self, connection: Connection, seat: Seat, session: TypingSession) -> None:
        """A racer's test goes on over this connection."""
        room = self.rooms.open(seat.race)
        if isinstance(room, Room):
            if connection.place is not None and connection.place.room is not room:
                connection.place.leave()
            room.come_back(connection, seat.lane, session)

    def stored(self, seat: Seat, result: Result) -> None:
        """A racer asks for a test whose result is stored, which its race may not have heard of."""
        room = self.rooms.open(seat.race)
        if isinstance(room, Room):
            room.found(seat.lane, result, seat.start_ms)

    # --- into a race ---

    async def _create(self, connection: Connection, said: RaceCreate) -> Error | None:
        refusal = self._may_come(connection) or self._may_open(connection)
        if refusal is not None:
            return refusal
        options = choose_race(said, limits=self._hub.limits, rules=self.rooms.rules)
        if isinstance(options, Error):
            return options
        joining = self._joining(connection, said.name, said.input)
        if isinstance(joining, Error):
            return joining
        if said.ghosts:
            race = await self._against(connection, options, said.ghosts)
        else:
            race = await self._compose(options, band=await self._band(connection))
        if isinstance(race, Error):
            return race
        return await self._enter(connection, race.id, self._into(joining, race))

    async def _join(self, connection: Connection, said: RaceJoin) -> Error | None:
        refusal = self._may_come(connection)
        if refusal is not None:
            return refusal
        joining = self._joining(connection, said.name, said.input)
        if isinstance(joining, Error):
            return joining
        if said.race is None:
            return await self._find(connection, joining, said.language)
        return await self._enter(connection, said.race, self._into(joining))

    async def _find(self, connection: Connection, joining: Join, language: str | None) -> Error | None:
        """Into an open race of strangers, or else into a new one."""
        refusal = self._may_open(connection)
        if refusal is not None:
            return refusal
        options = choose_race(
            RaceCreate("quote", language=language, public=True), limits=self._hub.limits, rules=self.rooms.rules
        )
        if isinstance(options, Error):
            return options
        made = await self._compose(options, band=await self._band(connection))
        if isinstance(made, Error):
            return made
        try:
            races = await self.rooms.races.open(made.text.language, made.band)
        except StoreError as fault:
            self.rooms.froze(fault)
            return self.rooms.away()
        for race in races[:MOST_TRIED]:
            error = await self._enter(connection, race, self._into(joining))
            if error is None or error.code not in TAKEN:
                return error
        error = await self._enter(connection, made.id, self._into(joining, made))
        if error is None and connection.place is not None:
            connection.place.found = True
        return error

    async def _alone(self, room: Room) -> None:
        """Nobody has come yet to a race that was opened for who looked for one: look again for one that is older.

        Two who looked at once, on two nodes perhaps, have each opened one; the younger goes to the older.
        """
        place, race = next(iter(room.places.values()), None), room.race
        if place is None or race is None:
            return
        racer = race.racer_of(place.connection.user)
        try:
            others = await self.rooms.races.open(race.text.language, race.band)
        except StoreError:
            return
        if racer is None:
            return
        joining = Join(racer.user, racer.name, self.rooms.node, racer.input)

        def older(other: Race | None, now_ms: int) -> Race | Error:
            if other is None or (other.created_ms, other.id) >= (race.created_ms, race.id):
                return NO_RACE
            return change(other, joining, now_ms=now_ms, rules=self.rooms.rules)

        for other in others[:MOST_TRIED]:
            if other == race.id or not room.alone:
                continue
            if await self._enter(place.connection, other, older, at=place) is None:
                return

    async def _again(self, connection: Connection) -> Error | None:
        """After the end: all who say so go to the same new race; whoever is the first makes it."""
        place = connection.place
        if place is None or place.lane is None or place.room.race is None:
            return NOT_RACING
        refusal = self._may_come(connection)
        if refusal is not None:
            return refusal
        before = place.room.race
        racer = before.lane(place.lane)
        assert racer is not None
        joining = Join(connection.user, racer.name, self.rooms.node, racer.input)
        made = await self._following(before)
        if isinstance(made, Error):
            return made
        gone: str | None = None
        error: Error | None = None
        for _ in range(MOST_TRIED):
            after = await place.room.ask(place.room.step(Next(connection.user, made.id, instead_of=gone)))
            if isinstance(after, Error):
                return after
            assert after.next is not None
            following = replace(made, id=after.next)  # somebody else's, perhaps, who has not opened it yet
            error = await self._enter(connection, following.id, self._into(joining, following))
            if error is None or error.code not in TAKEN or after.next in (gone, made.id):
                return error
            gone = after.next  # begun, full or over: whoever asks now meets in another
        return error

    async def _following(self, before: Race) -> Race | Error:
        """A race like the one before; against ghosts it is the same text again."""
        ghosts = await self._ghosts.still(before)
        if isinstance(ghosts, Error):
            return ghosts
        if not ghosts:
            return await self._compose(before.options, band=before.band)
        return self._opened(before.options, before.text, band=before.band, ghosts=ghosts)

    async def _watch(self, connection: Connection, said: Watch) -> Error | None:
        if said.race is None:
            return Error("options", "watch names a race or a test's session, one of them")
        if connection.place is not None and connection.place.racing:
            return RUNNING
        room = self.rooms.open(said.race)
        if isinstance(room, Error):
            return room
        if len(room.watchers) >= self.rooms.options.watchers:
            return Error("races_full", "as many watch this race as this server lets", 5_000)
        room.coming += 1
        try:
            race = await room.ask(room.step(Due()))
        finally:
            room.coming -= 1
        if isinstance(race, Error):
            return race
        if connection.alive:
            self._leave_place(connection, room)
            if connection.place is None:
                room.watch(connection)
        return None

    async def _compose(self, options: RaceOptions, *, band: int) -> Race | Error:
        """A new race that nobody is in yet; its text is chosen, so that what there is not is told at once."""
        hub = self._hub
        seed = hub.random_bits(SEED_BITS)
        material = await self.rooms.sliced(hub.texts.choosing(options.test, seed=seed, ref=None))
        return (
            material
            if isinstance(material, Error)
            else self._opened(options, RaceText.of(material, seed=seed), band=band)
        )

    async def _against(self, connection: Connection, options: RaceOptions, sessions: tuple[bytes, ...]) -> Race | Error:
        """A new race against results: its text is theirs."""
        chosen = await self._ghosts.chosen(connection.user, sessions)
        if isinstance(chosen, Error):
            return chosen
        first = chosen[0].result
        material = await self._ghosts.text(first)
        if isinstance(material, Error):
            return material
        options = replace(options, test=options_of(first))
        text = RaceText.of(material, seed=first.seed)
        ghosts = tuple(one.ghost for one in chosen)
        return self._opened(options, text, band=band_of(first.summary.wpm), ghosts=ghosts)

    def _opened(self, options: RaceOptions, text: RaceText, *, band: int, ghosts: tuple[Ghost, ...] = ()) -> Race:
        hub = self._hub
        return opened(
            mint_race(hub.random_bits(64) << RACE_BITS - 64 | hub.random_bits(RACE_BITS - 64)),
            options,
            text,
            salt=hub.random_bits(SALT_BITS),
            band=band,
            now_ms=self.rooms.now_ms(),
            ghosts=ghosts,
        )

    def _into(self, joining: Join, made: Race | None = None) -> Step:
        """Join; `made`: the race as it is where nobody has opened it yet."""
        rules = self.rooms.rules

        def step(race: Race | None, now_ms: int) -> Race | Error:
            race = made if race is None else race
            return NO_RACE if race is None else change(race, joining, now_ms=now_ms, rules=rules)

        return step

    def _unless_typed(self, connection: Connection, step: Step, *, brought: bool = False) -> Step:
        """The step, unless it would begin a test anew of which something is here: another tab would lose it.

        Where it is another node's, unless it was `brought` from there: two nodes would have it.
        """
        hub = self._hub

        def careful(race: Race | None, now_ms: int) -> Race | Error:
            racer = None if race is None else race.racer_of(connection.user)
            if racer is not None and racer.racing and racer.session is not None:
                copy = hub.copy_of(racer.session)
                if copy is not None and copy.n and hub.live.get(racer.session) is not connection:
                    return TYPED
                if hub.submissions.of(racer.session) is not None:
                    return ENDED
                account = hub.takeovers.accounts.of(racer.session)
                if account is not None and account.answer is not None and account.answer.account is not None:
                    return TYPED
                if racer.node != self.rooms.node and not brought:
                    return ELSEWHERE
            return step(race, now_ms)

        return careful

    async def _enter(self, connection: Connection, race: str, step: Step, *, at: Place | None = None) -> Error | None:
        """Take a lane in a race, and leave the one where the connection was; `at`: where it must still be by then."""
        if connection.place is not None and connection.place.racing and connection.place.room.id != race:
            return RUNNING
        room = self.rooms.open(race)
        if isinstance(room, Error):
            return room
        room.coming += 1
        claim: Claim | None = None
        try:
            after = await room.ask(self._unless_typed(connection, step))
            if after is ELSEWHERE:
                assert room.race is not None
                brought = await self._bring(room.race, connection.user)
                if isinstance(brought, Error):
                    return brought
                claim = brought
                after = await room.ask(self._unless_typed(connection, step, brought=True))
            if not isinstance(after, Error):
                after = await self._unless_stored(room, after, connection.user)
        finally:
            room.coming -= 1
        if isinstance(after, Error):
            return after
        racer = after.racer_of(connection.user)
        assert racer is not None, "who has joined has a lane"
        if not connection.alive:
            room.absent(connection.user)
            return None
        if at is not None and connection.place is not at:
            room.owe(("left", connection.user), Leave(connection.user))
            return None
        self._leave_place(connection, room)
        room.sit(connection, racer.lane, claim=claim)
        return None

    async def _unless_stored(self, room: Room, race: Race, user: int) -> Race | Error:
        """The race, told of a result of this racer that is stored: else the test would begin anew."""
        racer = race.racer_of(user)
        if racer is None or racer.session is None or not racer.racing or self._hub.copy_of(racer.session) is not None:
            return race
        try:
            result = await self._hub.store.by_id(racer.session)
        except StoreError as fault:
            _log.warning("it could not be looked up whether a racer has finished", race=race.id, why=str(fault))
            return race
        if result is None:
            return race
        finished, judged = stored_before(result, racer.lane, race.seat_of(racer).start_ms)
        after = await room.ask(room.step(finished))
        room.owe(("judged", racer.lane), judged)
        return after

    async def _bring(self, race: Race, user: int) -> Claim | Error:
        """Take a racer's test from the node where it is, if nothing of it is typed; the claim by which it is ours."""
        racer = race.racer_of(user)
        assert racer is not None
        assert racer.session is not None, "who is racing has one"
        node = racer.node.rpartition("/")[0]
        takeovers = self._hub.takeovers
        seen = await takeovers.seen(racer.session, node)
        if seen is not None and (seen.account is not None or seen.word in (Word.FINISHED, Word.LATER)):
            return TYPED
        ticket = replace(race.ticket(), session=racer.session, user=user, node=node, seat=race.seat_of(racer))
        claim = Claim(ticket, b"", bytes(16), None, 0, None, None)
        verdict = await takeovers.take(claim)
        if verdict is None:
            return TYPED
        return verdict if isinstance(verdict, Error) else claim

    async def _band(self, connection: Connection) -> int:
        return band_of(await self._speeds.of(connection.user))

    def _may_come(self, connection: Connection) -> Error | None:
        hub = self._hub
        if hub.draining:
            return Error("draining", "this node goes away; reconnect, then join", 0)
        if hub.spool.refusal is not None:
            return Error("full", hub.spool.refusal, 5_000)
        return None

    def _may_open(self, connection: Connection) -> Error | None:
        wait_ms = self.rooms.opened.take(connection.user, now_ms=self._hub.clock() * 1000)
        return Error("busy", f"too many races; the next one in {wait_ms} ms", wait_ms) if wait_ms else None

    def _joining(self, connection: Connection, name: str | None, given: str | None) -> Join | Error:
        """The join that is meant, or what is wrong with it."""
        chosen: Input = "keyboard"
        if given is not None:
            found = next((one for one in INPUTS if one == given), None)
            if found is None:
                return Error("options", f"input is {given[:40]!r}; allowed are {', '.join(INPUTS)}")
            chosen = found
        if name is None:
            called = connection.name or default_name(connection.user)
        else:
            try:
                called = clean_name(name)
            except NameFault as fault:
                return Error("name", str(fault))
        return Join(connection.user, called, self.rooms.node, chosen, chosen=name is not None)

    # --- in a race ---

    async def _say(self, connection: Connection, what: Change) -> Error | None:
        place = connection.place
        if place is None or place.lane is None:
            return NOT_RACING
        after = await place.room.ask(place.room.step(what))
        return after if isinstance(after, Error) else None

    def _leave(self, connection: Connection) -> Error | None:
        place = connection.place
        if place is None or place.lane is None:
            return NOT_RACING
        self._leave_place(connection, None)
        return None

    @staticmethod
    def _leave_place(connection: Connection, room: Room | None) -> None:
        """Leave where the connection is, unless that is `room`."""
        place = connection.place
        if place is not None and place.room is not room:
            place.leave()
