"""The HTTP API beside the WebSocket: page, catalogue, results for their owners, leaderboards, health, documentation.

One file a resource; `public_app` and `admin_app` put them together. Never: keystrokes, a decision about a test.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fastapi import FastAPI
from fastapi.responses import Response

from config.gateway import HttpOptions
from gateway.api import (
    catalogue,
    claims,
    docs,
    health,
    leaderboards,
    offline,
    pages,
    problems,
    progress,
    public,
    races,
    results,
)
from gateway.api.found import Finding
from gateway.api.guard import Guard, allowing
from gateway.api.health import Health
from gateway.api.heavy import Heavy
from gateway.api.pages import Pages
from gateway.api.who import Callers
from gateway.auth import Authenticator
from gateway.bans import Bans
from gateway.exposition import CONTENT_TYPE
from gateway.limits import Credits
from gateway.metrics import Metrics
from gateway.names import Names
from gateway.offline import OfflineResults
from gateway.races import Rooms
from gateway.slices import Slices
from gateway.version import version
from persistence.catalogue import Catalogue
from persistence.catalogue.texts import Texts
from persistence.front import Front
from persistence.results import ResultStore
from session.settling import Finished

__all__ = ["Parts", "Scraped", "admin_app", "public_app"]

DESCRIPTION = (
    "Tests to type, results and replays. Typing itself goes over the WebSocket at /ws. Errors are problem details "
    "(RFC 9457); ids of users and tests are decimal strings."
)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the public API is made of; the composition root opens and closes it."""

    catalogue: Catalogue
    store: ResultStore
    front: Front
    names: Names
    offline: OfflineResults
    underway: Callable[[bytes], Finished | None]
    """A result that is durable on this node and not yet in the store, by session."""
    texts: Texts
    authenticator: Authenticator
    slices: Slices
    metrics: Metrics
    bans: Bans
    health: Health
    pages: Pages
    rooms: Rooms
    serves_api: bool = True
    """Whether there is anything but health to be had here."""


def public_app(parts: Parts, *, options: HttpOptions, origins: tuple[str, ...], tls: bool) -> Guard:
    """The ASGI application of the public port."""
    app = _api(parts, options) if parts.serves_api else _without_api()
    app.include_router(health.router(parts.health, detailed=False))
    if parts.serves_api:
        app.include_router(docs.router(app))
    return Guard(
        app,
        allowance=Credits(rate_per_s=options.address_per_s, burst=options.address_burst, capacity=options.tracked),
        pages=Credits(rate_per_s=options.page_per_s, burst=options.page_burst, capacity=options.tracked),
        metrics=parts.metrics,
        ban_of=parts.bans.address,
        tls=tls,
        may_read=allowing(origins),
    )


def _without_api() -> FastAPI:
    """Of a process that takes WebSockets alone."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    problems.install(app)
    return app


def _api(parts: Parts, options: HttpOptions) -> FastAPI:
    """Page and API."""
    app = FastAPI(
        title="Typegate", version=version(), description=DESCRIPTION, openapi_url=None, docs_url=None, redoc_url=None
    )
    problems.install(app)

    def title_of(test: int, version: int) -> str | None:
        found = parts.catalogue.shelf.test(test, version)
        return None if found is None else found.title

    callers = Callers(
        parts.authenticator,
        Credits(rate_per_s=options.user_per_s, burst=options.user_burst, capacity=options.tracked),
        parts.metrics,
        parts.bans.user,
    )
    app.include_router(pages.router(parts.pages))
    assert parts.front.contents is not None, "the front of a server has tests"
    app.include_router(
        catalogue.router(
            parts.catalogue,
            parts.front.contents,
            max_age_s=options.catalogue_max_age_s,
            page_rows=options.page_rows,
        )
    )
    heavy = Heavy(parts.slices, at_once=options.heavy_at_once)
    front = parts.front
    finding = Finding(parts.store, front.guests, front.public, parts.underway, heavy)
    app.include_router(
        results.router(
            finding=finding,
            store=parts.store,
            recent=front.recent,
            guests=front.guests,
            public=front.public,
            names=parts.names,
            texts=parts.texts,
            callers=callers,
            heavy=heavy,
            page_rows=options.page_rows,
            title_of=title_of,
        )
    )
    app.include_router(public.router(finding=finding, public=front.public, callers=callers))
    app.include_router(races.router(parts.rooms, title_of=title_of))
    app.include_router(
        races.users_router(
            parts.store.races, guests=parts.front.guests, callers=callers, heavy=heavy, title_of=title_of
        )
    )
    app.include_router(progress.router(store=parts.store, guests=parts.front.guests, callers=callers))
    app.include_router(claims.router(guests=parts.front.guests, authenticator=parts.authenticator, callers=callers))
    app.include_router(
        leaderboards.router(
            front=parts.front,
            store=parts.store,
            names=parts.names,
            callers=callers,
            languages=lambda: [words.language for words in parts.catalogue.shelf.word_lists],
            page_rows=options.page_rows,
        )
    )
    app.include_router(
        offline.router(
            offline=parts.offline,
            callers=callers,
            heavy=heavy,
            limits=parts.offline.limits,
            most_bytes=options.upload_bytes,
            title_of=title_of,
        )
    )
    return app


class Scraped(Protocol):
    """What Prometheus reads."""

    async def scrape(self) -> bytes:
        """All figures in Prometheus' text format."""
        ...


def admin_app(metrics: Scraped, state: Health) -> FastAPI:
    """The ASGI application of the admin port."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    problems.install(app)
    app.include_router(health.router(state, detailed=True))

    @app.get("/metrics")
    async def figures() -> Response:
        return Response(await metrics.scrape(), headers={"content-type": CONTENT_TYPE, "cache-control": "no-store"})

    return app
