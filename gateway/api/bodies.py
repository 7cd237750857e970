"""Bodies of requests: read whole, up to a limit, and of the right types."""

from typing import TypeVar

import msgspec
from fastapi import Request

from gateway.api.problems import Problem

__all__ = ["schema_of", "whole_body"]

T = TypeVar("T")


async def whole_body(request: Request, decoder: msgspec.json.Decoder[T], *, most: int, hint: str = "") -> T:
    """The body, decoded. Raises Problem 413 for more than `most` bytes (`hint` says what to do), 422 if it is none."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > most:
            raise Problem(413, f"the body is over {most} bytes{hint}")
    try:
        return decoder.decode(bytes(data))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as fault:
        raise Problem(422, f"the body is one JSON object, as the documentation has it: {fault}") from None


def schema_of(body: type[msgspec.Struct]) -> dict[str, object]:
    """A body for the documentation, as the keyword argument `openapi_extra` of a route."""
    (_, components) = msgspec.json.schema_components([body])
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": components[body.__name__]}}}}
