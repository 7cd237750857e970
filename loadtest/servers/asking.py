"""One HTTP request to a server of this machine, at a fifth of a millisecond.

A run that watches dozens of parts several times a second asks hundreds of times a second. A client that makes a TLS
context for each request, as httpx's plain calls do, takes 30 ms of a core for each, whether or not TLS is spoken.
"""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException
from typing import Any, NamedTuple

import orjson

from loadtest.servers.process import HOST

__all__ = ["Answer", "ask"]


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    body: bytes


def ask(port: int, path: str, *, within_s: float, method: str = "GET", body: Any = None) -> Answer:
    """Ask 127.0.0.1 on a connection of its own; `body` goes as JSON. Each read may take `within_s`.

    Raises OSError where nobody answers, or not in HTTP, or not in time.
    """
    connection = HTTPConnection(HOST, port, timeout=within_s)
    try:
        if body is None:
            connection.request(method, path)
        else:
            connection.request(method, path, orjson.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return Answer(answer.status, answer.read())
    except HTTPException as fault:
        raise ConnectionError(f"no HTTP from {HOST}:{port}: {fault!r}") from fault
    finally:
        connection.close()
