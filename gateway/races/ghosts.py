"""Ghosts: results to race against, one's own and public ones, played again beside those who type."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final, NamedTuple

import structlog

from gateway.names import Names
from gateway.races.progress import Course
from gateway.races.rooms import Rooms
from gateway.said import Said
from persistence.cache import AccountGuests, PublicResults
from persistence.catalogue.texts import Texts
from persistence.errors import StoreError
from persistence.rescoring import Unreplayable, rescoring, scorer_for, ticket_of
from persistence.results import ResultStore, why_not_public
from session.identity import session_to_text
from session.messages import Error
from session.options import TestOptions
from session.passages import Material
from session.race import Race
from session.race_messages import RaceGhost
from session.race_options import RACE_MODES
from session.racing import Ghost
from session.result import Result

__all__ = ["STEP_MS", "Ghosts", "course_of"]

STEP_MS: Final = 100
"""A course tells how far a ghost is so often."""

_log = structlog.get_logger(__name__)


class Chosen(NamedTuple):
    """A result to race against, and the racer that it becomes."""

    result: Result
    ghost: Ghost


class Ghosts:
    """Finds results to race against, and plays them."""

    def __init__(
        self,
        store: ResultStore,
        guests: AccountGuests,
        public: PublicResults,
        names: Names,
        texts: Texts,
        rooms: Rooms,
    ) -> None:
        self._store = store
        self._guests = guests
        self._public = public
        self._names = names
        self._texts = texts
        self._rooms = rooms

    async def chosen(self, user: int, sessions: Sequence[bytes]) -> tuple[Chosen, ...] | Error:
        """The results of these sessions, all of the text of the first one; or why one of them will not do.

        Results are their owner's alone, keystroke timing identifies people; an account owns its guests' too. But what
        its owner has made public anybody may race against.
        """
        found: list[Chosen] = []
        try:
            for session in sessions:
                result = await self._store.by_id(session)
                own = result is not None and await self._owns(user, result)
                if result is None or not (own or await self._is_public(result)):
                    return _refused(session, "there is no such result, or it is somebody else's and not public")
                why = _unfit(result, [one.result for one in found])
                if why is not None:
                    return _refused(session, why)
                name = None if own else (await self._names.of([result.user]))[result.user]
                found.append(Chosen(result, ghost_of(result, name)))
        except StoreError as fault:
            return _away(fault)
        return tuple(found)

    async def still(self, race: Race) -> tuple[Ghost, ...] | Error:
        """A race's ghosts, for another one: those that are public still, or of somebody who raced."""
        ghosts: list[Ghost] = []
        try:
            for racer in race.racers:
                result = None if racer.session is None or not racer.ghost else await self._store.by_id(racer.session)
                if result is not None and await self._may_play(result, race):
                    ghosts.append(ghost_of(result, racer.name))
        except StoreError as fault:
            return _away(fault)
        if not ghosts and any(racer.ghost for racer in race.racers):
            return Error("options", "what was raced against is not public any more")
        return tuple(ghosts)

    async def _may_play(self, result: Result, race: Race) -> bool:
        """Whether a race's ghost is public still, or of somebody who races."""
        return await self._is_public(result) or any([await self._owns(person.user, result) for person in race.people])

    async def _owns(self, user: int, result: Result) -> bool:
        return result.user == user or result.user in await self._guests.of(user)

    async def _is_public(self, result: Result) -> bool:
        return why_not_public(result) is None and await self._public.holds(result.session)

    async def text(self, result: Result) -> Material | Error:
        """The text of a result's test, as it was."""
        return await self._rooms.sliced(self._texts.again(ticket_of(result), text=None, ref=None))

    async def courses(self, race: Race) -> list[Said]:
        """What is said of a race's ghosts; one that cannot be played, or that was taken back meanwhile, is left out.

        Raises `StoreError`.
        """
        said = []
        for racer in race.racers:
            if not racer.ghost or racer.session is None:
                continue
            result = await self._store.by_id(racer.session)
            if result is None or not await self._may_play(result, race):
                continue
            try:
                at = await self._rooms.sliced(course_of(result, self._texts))
            except Unreplayable as fault:
                _log.warning("a ghost cannot be played", session=session_to_text(racer.session), why=str(fault))
                continue
            said.append(Said(RaceGhost(race=race.id, lane=racer.lane, step_ms=STEP_MS, at=at).to_wire()))
        return said


def options_of(result: Result) -> TestOptions:
    """What everybody types who races against this."""
    return TestOptions(
        mode=result.mode,
        count=result.count,
        seconds=result.seconds,
        test=result.test,
        language=result.language,
        punctuation=result.punctuation,
        numbers=result.numbers,
    )


def ghost_of(result: Result, name: str | None) -> Ghost:
    """A result as a racer; one's own has no name."""
    summary = result.summary
    return Ghost(
        session=result.session,
        name=name or f"Ghost {summary.wpm:.0f} wpm",
        ms=summary.duration_ms,
        wpm=summary.wpm,
        raw=summary.raw,
        acc=summary.acc,
    )


def course_of(result: Result, texts: Texts) -> Generator[None, None, list[int]]:
    """Clusters done after each step of a result's test, up to its last key; in slices. Raises `Unreplayable`."""
    again = yield from rescoring(result, texts, with_holds=False)
    scorer, course, events = scorer_for(result, again.material), Course(again.material.words), again.log.events
    at: list[int] = []
    done = 0
    for i in range(0, len(events), 2):
        scorer.feed(events[i : i + 2])
        while (len(at) + 1) * STEP_MS < scorer.elapsed_ms:
            at.append(done)
        done = course.done(*scorer.pos)
        if scorer.ended:
            break
        if i % 500 == 0:
            yield
    at.append(done)
    return at


def _unfit(result: Result, others: Sequence[Result]) -> str | None:
    if result.mode not in RACE_MODES:
        return f"it is of mode {result.mode}; a race has one of {', '.join(RACE_MODES)}"
    if result.verdict == "void" or result.gave_up or not result.replay:
        return "it is void, was given up, or has no log"
    if others and (result.text_hash, result.mode, result.seconds) != (
        others[0].text_hash,
        others[0].mode,
        others[0].seconds,
    ):
        return "it is of another text than the first"
    return None


def _away(fault: StoreError) -> Error:
    _log.warning("ghosts could not be looked up", why=str(fault))
    return Error("away", "results cannot be looked up just now; try again in a moment", 1_000)


def _refused(session: bytes, why: str) -> Error:
    return Error("options", f"ghost {session_to_text(session)}: {why}")
