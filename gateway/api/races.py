"""Races: those of strangers that one can join now, how one is, or went, and those that a user was in.

What a race shows anybody with its id. A live one comes from where races are kept; one that is over stays there for a
day, and then comes from its record in the store. A list of races names ids, which are private races' keys: it is for
those who were in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Query, Request, Security
from fastapi.responses import Response
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field

from gateway.api.heavy import Heavy
from gateway.api.problems import Problem, ProblemDetails, unavailable
from gateway.api.results import TitleOf
from gateway.api.who import Callers, user_named
from gateway.races import Rooms
from gateway.races.shown import state_of
from persistence.cache import AccountGuests
from persistence.catalogue.texts import DEFAULT_LANGUAGE
from persistence.errors import CursorError, StoreError
from persistence.race_records import RaceRecords
from session.identity import is_race
from session.messages import Error
from session.race import Race, band_of
from session.racing import Due, change

__all__ = ["router", "users_router"]

MOST_LISTED = 50
MOST_OWN = 20
"""Of a user's own a page: each may have a hundred racers."""


class RacerRow(BaseModel):
    """One lane of a race."""

    lane: int
    name: str
    state: Literal["waiting", "racing", "detached", "finished", "dnf", "ghost"]
    ready: bool
    place: int | None = Field(None, description="1 the first; two who were equally fast share one")
    ms: float | None = Field(None, description="From the start instant to the last key")
    wpm: float | None = None
    acc: float | None = None
    verdict: Literal["ok", "review", "void"] | None = None


class RaceRow(BaseModel):
    """A race, as everybody may see it who has its id."""

    race: str = Field(description="Its id; its page is /race/{id}")
    version: int = Field(description="Grows with each change")
    phase: Literal["lobby", "countdown", "running", "closing", "settled"]
    host: int | None = Field(None, description="The host's lane")
    public: bool
    most: int = Field(description="Room for so many racers")
    mode: Literal["words", "time", "quote"]
    count: int | None = None
    seconds: int | None = None
    language: str = Field(description="BCP 47 tag")
    title: str | None = Field(None, description="The passage's title, from the countdown on")
    start_ms: int | None = Field(None, description="The start instant, epoch ms")
    until_ms: int | None = Field(None, description="When the present phase ends at the latest")
    provisional: bool | None = Field(None, description="Once settled: whether places may still change")
    next: str | None = Field(None, description="The race that followed")
    racers: list[RacerRow]


class RaceList(BaseModel):
    """Lobbies of strangers with room, the best filled first."""

    races: list[RaceRow]


class OwnRaceRow(RaceRow):
    """A race that is over, as one of its racers sees it."""

    lane: int = Field(description="The user's own")


class OwnRaceList(BaseModel):
    """A page of a user's races that are over, newest first."""

    races: list[OwnRaceRow]
    cursor: str | None = Field(None, description="Give it back as `cursor` for the next page; null at the end")


def router(rooms: Rooms, *, title_of: TitleOf) -> APIRouter:
    """`/v1/races` and `/v1/races/{id}`."""
    routes = APIRouter(
        prefix="/v1/races",
        tags=["races"],
        responses={
            404: {"model": ProblemDetails, "description": "There is no such race"},
            503: {"model": ProblemDetails, "description": "Races cannot be looked up just now"},
        },
    )

    async def read(id_: str) -> Race | None:
        """The race as it is by now: what is due is done in the answer, whoever writes it."""
        race = await rooms.races.read(id_)
        if race is None:
            return None
        now = change(race, Due(), now_ms=rooms.now_ms(), rules=rooms.rules)
        return race if isinstance(now, Error) else now

    @routes.get("", summary="Races of strangers that one can join", response_model=RaceList)
    async def listed(
        language: Annotated[str, Query(max_length=35, description="BCP 47 tag")] = DEFAULT_LANGUAGE,
    ) -> Response:
        """Public lobbies with room. `race.join` without `race` finds one that fits."""
        try:
            ids = await rooms.races.open(language, band_of(None))
            found = [race for id_ in ids[:MOST_LISTED] if (race := await read(id_)) is not None and race.open]
        except StoreError:
            raise _away() from None
        found.sort(key=lambda race: -len(race.people))
        return _answer({"races": [_row(state_of(race)) for race in found]})

    @routes.get("/{id}", summary="One race", response_model=RaceRow)
    async def one(id: Annotated[str, Path(description="The race's id")]) -> Response:  # noqa: A002  # the path's name
        """Who is in it, how far it is, and once it is over its table, for as long as results are kept."""
        if not is_race(id):
            raise Problem(404, "there is no such race: an id has 13 characters, 0 to 9 and a to z without i, l, o, u")
        race: Race | None = None
        unknown = Problem(404, "there is no such race")
        try:
            race = await read(id)
        except StoreError:
            unknown = _away()  # it may be there, unless it is over
        if race is None:
            try:
                record = await rooms.records.of(id)
            except StoreError as fault:
                raise unavailable(fault) from None
            if record is None:
                raise unknown
            race = record.race
        return _answer(_row(state_of(race, title=_title(race, title_of))))

    return routes


def users_router(
    records: RaceRecords, *, guests: AccountGuests, callers: Callers, heavy: Heavy, title_of: TitleOf
) -> APIRouter:
    """`/v1/users/{id}/races`."""
    routes = APIRouter(
        prefix="/v1/users",
        tags=["races"],
        dependencies=[Security(HTTPBearer(auto_error=False, description="A JWT, a guest's token or the admin token"))],
        responses={
            401: {"model": ProblemDetails, "description": "The token is missing or refused"},
            403: {"model": ProblemDetails, "description": "They are another user's"},
            429: {"model": ProblemDetails, "description": "Too many requests; see `Retry-After`"},
            503: {"model": ProblemDetails, "description": "The store does not answer just now"},
        },
    )

    @routes.get("/{id}/races", response_model=OwnRaceList, summary="The races that a user was in, newest first")
    async def races(
        request: Request,
        id: Annotated[str, Path(description="The user's id, or `me`")],  # noqa: A002  # the path's name
        limit: Annotated[int, Query(ge=1, le=MOST_OWN, description="Races a page")] = 10,
        cursor: Annotated[str | None, Query(max_length=64, description="From the page before")] = None,
    ) -> Response:
        """Those that are over. An account's list has the races of the guests that it claimed."""
        known = await callers.of(request)
        user = user_named(id, known)
        if not known.may_read(user):
            raise Problem(403, "users read their own races; `me` stands for your own id")
        try:
            claimed = await guests.of(user)
            page = await records.by_user(user, guests=claimed, limit=limit, cursor=cursor)
        except CursorError as fault:
            raise Problem(422, f"cursor: {fault}") from None
        except StoreError as fault:
            raise unavailable(fault) from None
        rows = (_own(record.race, (user, *claimed), title_of) for record in page.races)
        return await heavy.rows("races", rows, cursor=page.cursor)

    return routes


def _own(race: Race, users: Sequence[int], title_of: TitleOf) -> dict[str, Any]:
    """A race with the lane that one of these users had."""
    lane = next(racer.lane for racer in race.people if racer.user in users)
    return _row({**state_of(race, title=_title(race, title_of)), "lane": lane})


def _away() -> Problem:
    return Problem(503, "races cannot be looked up just now; try again in a moment")


def _title(race: Race, title_of: TitleOf) -> str | None:
    return None if race.text.test is None else title_of(race.text.test, race.text.test_version)


def _row(state: dict[str, Any]) -> dict[str, Any]:
    del state["t"]
    return state


def _answer(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), headers={"cache-control": "no-store"}, media_type="application/json")
