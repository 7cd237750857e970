"""Errors of the HTTP API as problem details (RFC 9457): one shape, a sentence that says what to do next."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from persistence.errors import StoreError

__all__ = ["Problem", "ProblemDetails", "describe", "install", "problem_response", "unavailable"]

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"


class ProblemDetails(BaseModel):
    """An error, as RFC 9457 writes it."""

    type: str = Field(description="`about:blank`: the status says what kind of problem it is")
    title: str = Field(description="The status in words")
    status: int = Field(description="The HTTP status")
    detail: str = Field(description="What was wrong and what to do next")
    errors: list[dict[str, str]] | None = Field(None, description="Each parameter that was wrong: `at` and `detail`")
    now: int | None = Field(None, description="The server's clock, epoch ms, where an instant was refused")


class Problem(Exception):
    """Ends a request with this status and sentence."""

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, now_ms: int | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.now_ms = now_ms


def unavailable(fault: StoreError) -> Problem:
    """The store's fault as a problem of the moment. What it says of servers and users is for operators alone."""
    log.debug("the store could not answer a request", why=str(fault))
    return Problem(503, "the results cannot be looked up just now; try again in a moment", headers={"retry-after": "1"})


def problem_response(
    status: int,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[Mapping[str, str]] | None = None,
    now_ms: int | None = None,
) -> Response:
    """The answer for a problem; never kept by caches."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = list(errors)
    if now_ms is not None:
        body["now"] = now_ms
    return Response(
        orjson.dumps(body), status, media_type=MEDIA_TYPE, headers={"cache-control": "no-store", **(headers or {})}
    )


def describe(api: dict[str, Any]) -> dict[str, Any]:
    """Say in an OpenAPI document what the errors look like; the framework would write a shape of its own for 422."""
    schemas = api.get("components", {}).get("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    shape = {"schema": {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}}
    for methods in api["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if status >= "400" and "content" in response:
                    response["content"] = {MEDIA_TYPE: shape}
                    if status == "422":
                        response["description"] = (
                            "A parameter makes no sense; the answer says which and what is allowed"
                        )
    return api


def install(app: FastAPI) -> None:
    """Answer every error of the app in this shape."""

    @app.exception_handler(Problem)
    async def problem(_: Request, fault: Problem) -> Response:
        return problem_response(fault.status, fault.detail, headers=fault.headers, now_ms=fault.now_ms)

    @app.exception_handler(HTTPException)
    async def plain(request: Request, fault: HTTPException) -> Response:
        detail = str(fault.detail)
        if fault.status_code == HTTPStatus.NOT_FOUND:
            detail = f"there is nothing at {request.url.path[:200]}; the API is described at /docs"
        elif fault.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            detail = f"{request.method} is not allowed here; {(fault.headers or {}).get('Allow', 'GET')} is"
        return problem_response(fault.status_code, detail, headers=fault.headers)

    @app.exception_handler(Exception)
    async def ours(_: Request, __: Exception) -> Response:
        # the framework raises it again after this answer, and whoever is around the app logs it
        return problem_response(500, "the server made a mistake; its log says which")

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, fault: RequestValidationError) -> Response:
        errors = [
            {"at": ".".join(str(part) for part in error["loc"]), "detail": str(error["msg"])}
            for error in fault.errors()
        ]
        detail = "; ".join(f"{error['at']}: {error['detail']}" for error in errors)
        return problem_response(422, detail, errors=errors)
