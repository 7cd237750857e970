"""A user's progress by day and mode, for its owner alone."""

import time
from collections.abc import Callable
from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Security
from fastapi.responses import Response
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field

from gateway.api.heavy import private
from gateway.api.problems import Problem, ProblemDetails, unavailable
from gateway.api.who import Callers, user_named
from persistence.cache import AccountGuests
from persistence.errors import StoreError
from persistence.results import ResultStore

__all__ = ["router"]

DEFAULT_DAYS = 30
MOST_DAYS = 400
EPOCH = date(1970, 1, 1)


class ProgressRow(BaseModel):
    """A day's tests of one mode. Void ones count in `tests` alone."""

    day: date = Field(description="UTC, by the start of the test")
    mode: str
    tests: int
    duration_ms: int = Field(description="Time typed")
    wpm: float = Field(description="Mean speed, weighted by time typed")
    best_wpm: float
    acc: float = Field(description="Mean accuracy in per cent, weighted by time typed")


class ProgressList(BaseModel):
    """Days with tests, the oldest first."""

    progress: list[ProgressRow]


def router(
    *, store: ResultStore, guests: AccountGuests, callers: Callers, epoch_s: Callable[[], float] = time.time
) -> APIRouter:
    """`/v1/users/{id}/progress`."""
    routes = APIRouter(
        prefix="/v1",
        tags=["results"],
        responses={
            401: {"model": ProblemDetails, "description": "No token, or none that is accepted"},
            403: {"model": ProblemDetails, "description": "It is another user's"},
            429: {"model": ProblemDetails, "description": "Too many requests; Retry-After says when"},
            503: {"model": ProblemDetails, "description": "The store does not answer just now"},
        },
        dependencies=[Security(HTTPBearer(auto_error=False, description="A JWT of the site, or a guest's token"))],
    )

    @routes.get("/users/{id}/progress", response_model=ProgressList, summary="A user's progress by day")
    async def progress(
        request: Request,
        id: Annotated[str, Path(description="The user's id, or `me`")],  # noqa: A002  # the API's own word
        since: Annotated[date | None, Query(description=f"First day; by default {DEFAULT_DAYS} days")] = None,
        until: Annotated[date | None, Query(description="Last day; by default today")] = None,
    ) -> Response:
        """Tests, time typed, speed and accuracy of each day (UTC) by mode; an account's with its claimed guests'.

        `me` stands for the token's own user.
        """
        known = await callers.of(request)
        user = user_named(id, known)
        if not known.may_read(user):
            raise Problem(403, "users read their own progress; `me` stands for your own id")
        last = until or EPOCH + timedelta(seconds=epoch_s())
        first = since or max(EPOCH, last - timedelta(days=DEFAULT_DAYS - 1))
        if not EPOCH <= first <= last:
            raise Problem(422, f"since is {first} and until {last}; since must come first, from {EPOCH} on")
        if (last - first).days >= MOST_DAYS:
            raise Problem(422, f"since and until are {(last - first).days + 1} days; at most {MOST_DAYS} are allowed")
        try:
            rows = await store.progress(
                user,
                guests=await guests.of(user),
                since_day=(first - EPOCH).days,
                until_day=(last - EPOCH).days,
            )
        except StoreError as fault:
            raise unavailable(fault) from None
        shown = [
            {
                "day": EPOCH + timedelta(days=row.day),
                "mode": row.mode,
                "tests": row.tests,
                "duration_ms": row.duration_ms,
                "wpm": row.wpm,
                "best_wpm": row.best_wpm,
                "acc": row.acc,
            }
            for row in rows
        ]
        return private({"progress": shown})

    return routes
