"""Races: those of strangers that one can join now, and how one is, or went. What a race shows anybody with its id."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from gateway.api.problems import Problem, ProblemDetails
from gateway.api.results import TitleOf
from gateway.races import Rooms
from gateway.races.shown import state_of
from persistence.catalogue.texts import DEFAULT_LANGUAGE
from persistence.errors import StoreError
from session.messages import Error
from session.race import Race, band_of
from session.racing import Due, change

__all__ = ["router"]

MOST_LISTED = 50


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


def router(rooms: Rooms, *, title_of: TitleOf) -> APIRouter:
    """`/v1/races` and `/v1/races/{id}`."""
    routes = APIRouter(
        prefix="/v1/races",
        tags=["races"],
        responses={
            404: {"model": ProblemDetails, "description": "There is no such race, or it is long over"},
            503: {"model": ProblemDetails, "description": "Races cannot be looked up just now"},
        },
    )

    async def read(id_: str) -> Race | None:
        """The race as it is by now: what is due is done in the answer, whoever writes it."""
        try:
            race = await rooms.races.read(id_)
        except StoreError:
            raise Problem(503, "races cannot be looked up just now; try again in a moment") from None
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
        except StoreError:
            raise Problem(503, "races cannot be looked up just now; try again in a moment") from None
        found = [race for id_ in ids[:MOST_LISTED] if (race := await read(id_)) is not None and race.open]
        found.sort(key=lambda race: -len(race.people))
        return _answer({"races": [state_of(race) for race in found]})

    @routes.get("/{id}", summary="One race", response_model=RaceRow)
    async def one(id: Annotated[str, Path(description="The race's id")]) -> Response:  # noqa: A002  # the path's name
        """Who is in it, how far it is, and once it is over its table."""
        race = await read(id)
        if race is None:
            raise Problem(404, "there is no such race, or it is long over")
        test = race.text.test
        return _answer(state_of(race, title=None if test is None else title_of(test, race.text.test_version)))

    return routes


def _answer(body: dict[str, Any]) -> Response:
    body.pop("t", None)
    for row in body.get("races", ()):
        row.pop("t", None)
    return Response(orjson.dumps(body), headers={"cache-control": "no-store"}, media_type="application/json")
