"""/healthz: the process turns. /readyz: it should get traffic. Each opened resource answers for itself.

A server whose store is away still takes tests and keeps their results in its spool; were it called not ready then, the
balancer would take every server away at once, for a fault that is behind all of them. So it is ready, and degraded.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Literal

import orjson
from fastapi import APIRouter
from fastapi.responses import Response

__all__ = ["PING_S", "READY_S", "Health", "router"]

State = Literal["ready", "degraded", "not ready"]

PING_S = 2.0
"""A resource that does not answer within this is not ready; balancers give up after 2 to 5 s."""
READY_S = 1.5
"""So long one of several processes has to say whether it is ready; whoever asks the server waits for `PING_S`."""
PART_S = 1.25
"""Its resources have so long, so that it is said of one that hangs, and not taken for the whole process."""
_LOOKS = 4
"""The time is waited for in so many parts: a process that was held up itself for as long takes one part for it, and the
answers that have come meanwhile for answers."""


class Health:
    """Knows the opened resources and whether the server is going.

    `behind` names those without which tests are still taken and kept: their faults degrade, and no more.
    `one_of_several`: it is asked by the server that this process is one of.
    """

    def __init__(
        self,
        pings: Mapping[str, Callable[[], Awaitable[None]]],
        *,
        behind: Collection[str] = (),
        one_of_several: bool = False,
    ) -> None:
        self._pings = pings
        self._within_s = PART_S if one_of_several else PING_S
        self._behind = frozenset(behind)
        self._asking: asyncio.Task[dict[str, str]] | None = None
        self.draining = False

    async def parts(self) -> dict[str, str]:
        """`ok` or what is wrong, for each resource. Those who ask at once share one answer, so asking costs little."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> dict[str, str]:
        too_late = f"no answer within {self._within_s:g} s"

        async def one(ping: Callable[[], Awaitable[None]]) -> str:
            try:
                await ping()
            except TimeoutError:
                return too_late
            except Exception as fault:  # whatever a resource fails with, it is not ready, and the others still answer
                return str(fault) or type(fault).__name__
            return "ok"

        loop = asyncio.get_running_loop()
        asked = {name: loop.create_task(one(ping)) for name, ping in self._pings.items()}
        late = set(asked.values())
        for _ in range(_LOOKS):
            if late:
                _, late = await asyncio.wait(late, timeout=self._within_s / _LOOKS)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
        return {name: too_late if task.cancelled() else task.result() for name, task in asked.items()}

    async def state(self) -> tuple[State, dict[str, str]]:
        """Whether traffic should come (unless `not ready`), and every part's state."""
        parts = {"server": "draining" if self.draining else "ok", **await self.parts()}
        faulty = {name for name, state in parts.items() if state != "ok"}
        if not faulty:
            return "ready", parts
        return "degraded" if faulty <= self._behind else "not ready", parts


def router(health: Health, *, detailed: bool) -> APIRouter:
    """`/healthz` and `/readyz`; with `detailed` (the admin port's) the faults in words, else only which part."""
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz", summary="Whether the process turns")
    async def healthz() -> Response:
        """200 as long as the event loop runs."""
        return Response(b'{"status":"ok"}', headers={"cache-control": "no-store"}, media_type="application/json")

    @routes.get("/readyz", summary="Whether it should get traffic", responses={503: {"description": "It should not"}})
    async def readyz() -> Response:
        """200 when tests are taken and kept: `ready`, or `degraded` where something behind that is away; else 503."""
        status, parts = await health.state()
        if not detailed:
            parts = {name: state if state in ("ok", "draining") else "fault" for name, state in parts.items()}
        body = {"status": status, "parts": parts}
        return Response(
            orjson.dumps(body),
            503 if status == "not ready" else 200,
            headers={"cache-control": "no-store"},
            media_type="application/json",
        )

    return routes
