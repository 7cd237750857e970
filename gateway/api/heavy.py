"""Long work for HTTP requests, a few at a time, in slices or in a thread: no typist waits for another's replay."""

import asyncio
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import orjson
from fastapi.responses import Response

from gateway.slices import Slices

__all__ = ["Heavy"]

T = TypeVar("T")

MANY_VALUES = 2_000
"""Encoding takes about 30 ns a value: 0.1 ms for this many; more are encoded in a thread."""


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

    async def json(self, body: dict[str, Any]) -> Response:
        """A private JSON answer; a long one is encoded in a thread."""
        size = sum(len(value) for value in body.values() if isinstance(value, list))
        encode = orjson.dumps
        data = await asyncio.to_thread(encode, body) if size > MANY_VALUES else encode(body)
        headers = {"cache-control": "private, no-store", "vary": "authorization"}
        return Response(data, headers=headers, media_type="application/json")
