"""`POST /v1/claims`: an account takes the past of a guest, whose token it shows.

The guest's results keep their owner; whoever reads the account's history reads them too, and so may open and replay
them. They join no leaderboard. The guest's token stays good: what is still typed by it, or was typed and not stored
yet, goes the same way, for a tab that was open during the claim must lose nothing.
"""

import time
from collections.abc import Callable
from typing import Annotated

import msgspec
from fastapi import APIRouter, Request, Security
from fastapi.responses import Response
from fastapi.security import HTTPBearer
from msgspec import Meta
from pydantic import BaseModel, Field

from gateway.api.bodies import schema_of, whole_body
from gateway.api.heavy import private
from gateway.api.problems import Problem, ProblemDetails, unavailable
from gateway.api.who import Callers
from gateway.auth import TOKEN_BYTES, Authenticator, Unauthorised
from persistence.cache import AccountGuests
from persistence.errors import StoreError
from persistence.results import MOST_GUESTS, Linked

__all__ = ["router"]


class ClaimBody(msgspec.Struct):
    """Whose past is claimed."""

    token: Annotated[str, Meta(description="The guest's token, as the last `ready` gave it")]


class ClaimRow(BaseModel):
    """A guest whose past is an account's."""

    user: str = Field(description="The account's id")
    guest: str = Field(description="The guest's id, which its results keep as their `user`")


_decoder = msgspec.json.Decoder(ClaimBody)


def router(
    *,
    guests: AccountGuests,
    authenticator: Authenticator,
    callers: Callers,
    epoch_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> APIRouter:
    """`/v1/claims`."""
    routes = APIRouter(
        prefix="/v1",
        tags=["results"],
        dependencies=[Security(HTTPBearer(auto_error=False, description="A JWT of the site"))],
        responses={
            status: {"model": ProblemDetails, "description": description}
            for status, description in (
                (401, "No token, or none that is accepted"),
                (403, "Only accounts claim; or this one has as many guests as it may have"),
                (409, "The guest is another account's"),
                (413, "The body is too long"),
                (422, "The guest's token is forged, of another cluster, or has expired; or the body is none"),
                (429, "Too many requests; Retry-After says when"),
                (503, "The store does not answer just now; the same claim may be made again"),
            )
        },
    )
    underway: set[int] = set()

    @routes.post(
        "/claims",
        status_code=201,
        response_model=ClaimRow,
        summary="Take a guest's results along",
        responses={200: {"model": ClaimRow, "description": "They are this account's already"}},
        openapi_extra=schema_of(ClaimBody),
    )
    async def claim(request: Request) -> Response:
        """From now on the guest's results are in the account's history and progress, on no leaderboard, and for good.

        Made again it is the same claim.
        """
        known = await callers.of(request)
        if known.admin or known.user < 0:
            raise Problem(403, "a guest's results are claimed by an account: send its JWT as the Bearer token")
        body = await whole_body(request, _decoder, most=TOKEN_BYTES + 1024)
        try:
            guest = authenticator.guest_of(body.token, now_ms=epoch_ms())
        except Unauthorised as fault:
            raise Problem(422, f"token: {fault.message}") from None
        if known.user in underway:  # many at once could have more guests than are allowed
            raise Problem(429, "another claim of yours is under way", headers={"retry-after": "1"})
        underway.add(known.user)
        try:
            linked = await guests.link(guest, known.user)
        except StoreError as fault:
            raise unavailable(fault) from None
        finally:
            underway.remove(known.user)
        if linked is Linked.TAKEN:
            raise Problem(409, "this guest's results are another account's")
        if linked is Linked.FULL:
            raise Problem(403, f"this account has the results of {MOST_GUESTS} guests, and may have no more")
        answer = private({"user": str(known.user), "guest": str(guest)})
        answer.status_code = 200 if linked is Linked.SAME else 201
        return answer

    return routes
