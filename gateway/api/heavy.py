"""Long work for HTTP requests, a few at a time, in slices or in a thread: no typist waits for another's replay."""

import asyncio
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, TypeVar

import orjson
from fastapi.responses import Response

from gateway.slices import Slices

__all__ = ["Heavy", "private"]

T = TypeVar("T")

PRIVATE = {"cache-control": "private, no-store", "vary": "authorization"}
SLICE_BYTES = 65_536
"""JSON encoded between two breaths: about 0.3 ms. (A thread would not help: the encoder holds the interpreter.)"""


class Heavy:
    """Runs jobs in the process's slices; beyond `at_once` they wait for a place."""

    def __init__(self, slices: Slices, *, at_once: int) -> None:
        self._slices = slices
        self._places = asyncio.Semaphore(at_once)

    async def run(self, job: Generator[None, None, T]) -> T:
        """What the job returns. Raises what it raises.

        A request that goes away meanwhile lets its job end unheard, and its place taken until then.
        """
        await self._places.acquire()
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def succeed(value: T) -> None:
            self._places.release()
            if not done.done():
                done.set_result(value)

        def fail(fault: Exception) -> None:
            self._places.release()
            if not done.done():
                done.set_exception(fault)

        self._slices.run(job, succeed, fail)
        return await done

    async def in_thread(self, work: Callable[[], T]) -> T:
        """What `work` returns, done in a thread, which takes turns with the loop each ms (`app.run` sees to it)."""
        async with self._places:
            return await asyncio.to_thread(work)

    async def rows(self, name: str, rows: Iterable[dict[str, Any]], **more: Any) -> Response:
        """A private JSON answer with a list of rows, encoded row by row: a row may have an hour's series in it."""
        return await self.run(_encoding(name, rows, more))

    async def document(
        self, making: Generator[None, None, dict[str, Any]], *, headers: Mapping[str, str] = PRIVATE
    ) -> Response:
        """A JSON answer with large fields, made by a job and encoded field by field; as `private` is."""
        return await self.run(_writing(making, headers))


def private(body: dict[str, Any], *, headers: Mapping[str, str] = PRIVATE) -> Response:
    """A small JSON answer; without other `headers` private, and never kept by caches."""
    return Response(orjson.dumps(body), headers=headers, media_type="application/json")


def _writing(
    making: Generator[None, None, dict[str, Any]], headers: Mapping[str, str]
) -> Generator[None, None, Response]:
    encoded: list[bytes] = []
    for name, value in (yield from making).items():
        encoded.append(orjson.dumps(name) + b":" + orjson.dumps(value))
        if len(encoded[-1]) >= SLICE_BYTES:
            yield
    return Response(b"{" + b",".join(encoded) + b"}", headers=headers, media_type="application/json")


def _encoding(name: str, rows: Iterable[dict[str, Any]], more: dict[str, Any]) -> Generator[None, None, Response]:
    encoded: list[bytes] = []
    size = 0
    for row in rows:
        encoded.append(orjson.dumps(row))
        size += len(encoded[-1])
        if size >= SLICE_BYTES:
            size = 0
            yield
    body = orjson.dumps(more)
    head = orjson.dumps(name) + b":[" + b",".join(encoded) + b"]"
    return Response(b"{" + head + (b"," if more else b"") + body[1:], headers=PRIVATE, media_type="application/json")
