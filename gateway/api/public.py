"""`PUT` and `DELETE /v1/results/{id}/public`: the owner of a result lets everybody see it, or takes it back."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Security
from fastapi.responses import Response
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field

from gateway.api.found import Finding, Found
from gateway.api.heavy import private
from gateway.api.problems import Problem, ProblemDetails, unavailable
from gateway.api.who import Caller, Callers
from persistence.cache import PublicResults
from persistence.errors import StoreError
from persistence.results import MOST_PUBLIC, why_not_public
from session.identity import session_to_text

__all__ = ["PUBLIC_MAX_AGE_S", "router"]

PUBLIC_MAX_AGE_S = 60
"""How long caches may keep what is shown of a public result: so long it may still be seen after it was taken back."""


class PublicRow(BaseModel):
    """A result that everybody may see."""

    session: str = Field(description="The session's UUID")
    public: bool
    page: str = Field(description="The path of its page, for everybody")


def router(*, finding: Finding, public: PublicResults, callers: Callers) -> APIRouter:
    """`/v1/results/{id}/public`."""
    problems: dict[int | str, dict[str, Any]] = {
        401: {"model": ProblemDetails, "description": "No token, or none that is accepted"},
        403: {"model": ProblemDetails, "description": "Only its owner makes a result public"},
        404: {"model": ProblemDetails, "description": "There is no such result, or it is somebody else's"},
        429: {"model": ProblemDetails, "description": "Too many requests; Retry-After says when"},
        503: {"model": ProblemDetails, "description": "The store does not answer just now; the same may be sent again"},
    }
    routes = APIRouter(
        prefix="/v1/results",
        tags=["results"],
        responses=problems,
        dependencies=[Security(HTTPBearer(auto_error=False, description="A JWT of the site, or a guest's token"))],
    )

    @routes.put(
        "/{id}/public",
        response_model=PublicRow,
        summary="Let everybody see a result",
        responses={
            409: {
                "model": ProblemDetails,
                "description": "It is void, of an own text, or not in the store yet; or too many of yours are public",
            }
        },
    )
    async def publish(
        id: Annotated[str, Path(description="The session's UUID")],  # noqa: A002  # the API's own word
        request: Request,
    ) -> Response:
        """Figures, series and replay, and so the rhythm of its keys, by which people can be told from each other.

        For everybody, until it is taken back; for races against it, too. Made public again it is the same.
        """
        known = await callers.of(request)
        if known.admin:
            raise Problem(403, "only its owner makes a result public")
        found = await own(id, known)
        why = why_not_public(found.result)
        if why is not None:
            raise Problem(409, f"this result cannot be public: {why}")
        if not found.stored:
            soon = {"retry-after": "1"}
            raise Problem(409, "this result is not in the store yet; try again in a moment", headers=soon)
        session = found.result.session
        try:
            if not await public.publish(session, found.result.user):
                raise Problem(409, f"{MOST_PUBLIC:,} of your results are public already; take another one back first")
        except StoreError as fault:
            raise unavailable(fault) from None
        name = session_to_text(session)
        return private({"session": name, "public": True, "page": f"/r/{name}"})

    @routes.delete(
        "/{id}/public", status_code=204, response_class=Response, summary="Let a result be its owner's alone again"
    )
    async def unpublish(id: Annotated[str, Path(description="The session's UUID")], request: Request) -> Response:  # noqa: A002
        """From now on; caches may show it for a minute more. One that was not public stays what it was."""
        found = await own(id, await callers.of(request))
        try:
            await public.unpublish(found.result.session, found.result.user)
        except StoreError as fault:
            raise unavailable(fault) from None
        return Response(status_code=204)

    async def own(name: str, known: Caller) -> Found:
        found = await finding.find(name, known)
        if not found.own:
            raise Problem(404, f"there is no result {name} of yours")
        return found

    return routes
