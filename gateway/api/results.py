"""Results: one, its replay, its figures by key, and a user's list. Each for its owner, or the admin token.

An account is the owner, too, of what the guests typed that it has claimed. What an owner has made public everybody may
read, but not whose it is, nor how its verdict was found, nor what says more of people than the replay needs: how long
they hold keys, and by what means they type.
"""

import asyncio
from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import date
from functools import partial
from itertools import chain
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Security
from fastapi.responses import Response
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field

from gateway.api.found import Finding, Found
from gateway.api.heavy import PRIVATE, Heavy, private
from gateway.api.problems import Problem, ProblemDetails, unavailable
from gateway.api.public import PUBLIC_MAX_AGE_S
from gateway.api.who import Caller, Callers, user_named
from gateway.names import Names
from persistence.cache import AccountGuests, PublicResults, RecentResults
from persistence.catalogue.texts import Texts
from persistence.errors import CursorError, StoreError
from persistence.rescoring import Unreplayable, keyed, rescoring
from persistence.results import Page, ResultStore, why_not_public
from persistence.results.bests import DAY_MS
from persistence.results.cursor import MAX_PAGE, cursor_after
from session.result import Result

__all__ = ["ResultRow", "TitleOf", "router", "shown"]

RECENT = 10
EPOCH = date(1970, 1, 1)
SessionId = Annotated[str, Path(description="The session's UUID, from `started` and `result`")]
Verdict = Literal["ok", "review", "void"]
TitleOf = Callable[[int, int], str | None]
"""The title of a version of a test, by id and version."""


class ReasonRow(BaseModel):
    """Why a verdict is not `ok`."""

    name: str = Field(description="The feature")
    value: float = Field(description="What was measured")
    threshold: float = Field(description="What it was held against")


class SeriesRows(BaseModel):
    """One entry a second of client time."""

    wpm: list[int] = Field(description="Speed from the start to this second")
    raw: list[int] = Field(description="The same of every character")
    burst: list[int] = Field(description="Speed within this second alone")
    err: list[int] = Field(description="Wrong inserts within this second")


class SharedRow(BaseModel):
    """A finished test, as everybody may see it whom its owner lets."""

    session: str = Field(description="The session's UUID: the result's id")
    name: str | None = Field(None, description="What its owner is called; told to others alone")
    public: bool = Field(False, description="Whether its owner has made it public")
    created_at: int = Field(description="When it was started, epoch ms")
    mode: str
    count: int | None = Field(None, description="Words, in mode `words`")
    seconds: int | None = Field(None, description="Length, where it was on the clock")
    language: str = Field(description="BCP 47 tag")
    test: str | None = Field(None, description="The catalogue's passage, in mode `quote`")
    title: str | None = Field(None, description="Its title")
    punctuation: bool
    numbers: bool
    race: bool = Field(False, description="Typed in a race: its time begins at the start instant, not at the first key")
    wpm: float = Field(description="Words (5 characters) a minute, of correct words")
    raw: float = Field(description="The same of all characters")
    acc: float = Field(description="Correct inserts in per cent")
    consistency: float = Field(description="Evenness of the speed from second to second, 0 to 100")
    key_consistency: float = Field(description="Evenness of the gaps between keys, 0 to 100")
    chars: list[int] = Field(description="[correct, incorrect, extra, missed] characters")
    duration_ms: float
    afk_ms: float = Field(description="Of it, seconds without a key")
    series: SeriesRows
    verdict: Verdict
    state: Literal["accepted", "stored"] = Field(description="accepted: durable on this node; stored: in the store")
    scoring_version: str


class ResultRow(SharedRow):
    """A finished test as its owner sees it: the fields of the `result` message, and what else is stored."""

    user: str = Field(description="Its owner; a guest's id is negative")
    text: str | None = Field(None, description="The own text, in mode `text`")
    input: str = Field(description="keyboard, touch, ime or assistive")
    tags: list[str]
    reasons: list[ReasonRow] = Field(description="Why the verdict is not `ok`")
    features: dict[str, float] = Field(description="What was measured for the verdict")
    unseen_ms: int = Field(description="Client time in events that the server did not see as they were typed")
    slack_ms: int = Field(description="Server time before resumes that the log does not account for")


class ResultList(BaseModel):
    """A page of results, newest first."""

    results: list[ResultRow]
    cursor: str | None = Field(None, description="Give it back as `cursor` for the next page; null at the end")


class Replay(BaseModel):
    """All that a page needs to play a test again, and to check its score."""

    text: str = Field(description="What was to be typed; empty in zen")
    breaks: list[int] | None = Field(
        None, description="Code points of each grapheme cluster; absent where all have one"
    )
    word_lengths: list[int] | None = Field(None, description="Clusters of each word; absent where spaces part them")
    cyclic: bool = Field(description="Whether the text starts again after its last word")
    direction: str = Field(description="`ltr` or `rtl`")
    mode: str
    seconds: int | None = None
    count: int | None = None
    events: list[int | str] = Field(description="Flat: dt in ms, key, dt, key, ...")
    holds: list[int] | None = Field(None, description="Flat: event, ms held, ...; for its owner alone")
    agrees: bool = Field(description="Whether scoring the log again gives the stored figures to the digit")
    result: ResultRow | SharedRow


class KeyRow(BaseModel):
    """How one key went, by the key that was due (in zen: that was typed)."""

    inserts: int
    wrong: int
    latency_ms: float = Field(description="Mean time since the press before, of the correct ones")
    latency_sd_ms: float = Field(description="Its population standard deviation")


class SpreadRow(BaseModel):
    """Count, mean and population standard deviation."""

    n: int
    mean_ms: float
    sd_ms: float


class Rates(BaseModel):
    """Error rates of Soukoreff and MacKenzie (2003), as fractions."""

    msd: float = Field(description="Edit distance of target and input over the longer one's length")
    kspc: float = Field(description="Keystrokes per character")
    total: float
    corrected: float
    not_corrected: float


class Keys(BaseModel):
    """What a whole log says beside the result's figures."""

    keys: dict[str, KeyRow] = Field(description="By key")
    spacing: SpreadRow = Field(description="Times between presses")
    duration: SpreadRow = Field(description="Times that keys were held")
    overlap_ms: float = Field(description="Time in which two keys or more were held at once")
    rates: Rates


def router(
    *,
    finding: Finding,
    store: ResultStore,
    recent: RecentResults,
    guests: AccountGuests,
    public: PublicResults,
    names: Names,
    texts: Texts,
    callers: Callers,
    heavy: Heavy,
    page_rows: int,
    title_of: TitleOf,
) -> APIRouter:
    """`/v1/results/...` and `/v1/users/{id}/results`."""
    problems: dict[int | str, dict[str, Any]] = {
        401: {"model": ProblemDetails, "description": "No token, or none that is accepted"},
        404: {"model": ProblemDetails, "description": "There is no such result, or it is somebody else's"},
        429: {"model": ProblemDetails, "description": "Too many requests; Retry-After says when"},
        503: {"model": ProblemDetails, "description": "The store does not answer just now"},
    }
    routes = APIRouter(
        prefix="/v1",
        tags=["results"],
        responses=problems,
        dependencies=[Security(HTTPBearer(auto_error=False, description="A JWT of the site, or a guest's token"))],
    )

    async def caller(request: Request) -> Caller:
        return await callers.of(request)

    async def anybody(request: Request) -> Caller | None:
        return await callers.who(request)

    Known = Annotated[Caller, Depends(caller)]
    Anybody = Annotated[Caller | None, Depends(anybody)]

    async def row_of(found: Found) -> dict[str, Any]:
        user = found.result.user
        row = shown(found.result, stored=found.stored, title_of=title_of) | {"public": found.public}
        return row if found.own else _shared(row, (await names.of([user]))[user])

    @routes.get("/results/{id}", response_model=ResultRow | SharedRow, summary="One result")
    async def result(id: SessionId, known: Anybody) -> Response:  # noqa: A002  # the API's own word
        """A finished test with its figures and series; for its owner with the reasons of its verdict.

        One that is public is shown without a token, too.
        """
        return private(await row_of(await finding.find(id, known)), headers=_headers(known))

    @routes.get("/results/{id}/replay", response_model=Replay, summary="A result's keystrokes")
    async def replay(id: SessionId, known: Anybody) -> Response:  # noqa: A002
        """Text, keystrokes and holds, and whether scoring them again gives the stored figures.

        That of a public result is shown without a token, too, but for the holds.
        """
        found = await finding.find(id, known)
        row = await row_of(found)
        try:
            return await heavy.document(_replay(found.result, texts, row, own=found.own), headers=_headers(known))
        except Unreplayable as fault:
            raise Problem(422, str(fault)) from None

    @routes.get("/results/{id}/keys", response_model=Keys, summary="Figures by key, and error rates")
    async def keys(id: SessionId, known: Known) -> Response:  # noqa: A002
        """How each key went, and the error rates of Soukoreff and MacKenzie (2003). For its owner."""
        found = await finding.find(id, known)
        if not found.own:
            raise Problem(404, f"there is no result {id} of yours")
        try:
            again = await heavy.run(rescoring(found.result, texts))
        except Unreplayable as fault:
            raise Problem(422, str(fault)) from None
        return private(await heavy.in_thread(partial(keyed, found.result, again)))

    @routes.get(
        "/users/{id}/results",
        response_model=ResultList,
        summary="A user's results, newest first",
        responses={403: {"model": ProblemDetails, "description": "They are another user's"}},
    )
    async def results(
        id: Annotated[str, Path(description="The user's id, or `me`")],  # noqa: A002
        known: Known,
        limit: Annotated[int, Query(ge=1, description="Results a page")] = 10,
        cursor: Annotated[str | None, Query(max_length=64, description="From the page before")] = None,
        since: Annotated[date | None, Query(description="First day, UTC, by the start of the test")] = None,
        until: Annotated[date | None, Query(description="Last day, likewise")] = None,
    ) -> Response:
        """`me` stands for the token's own user. An account's list has the results of the guests that it claimed.

        The pages of a range of days are asked for by the same `since` and `until`.
        """
        user = user_named(id, known)
        if not known.may_read(user):
            raise Problem(403, "users read their own results; `me` stands for your own id")
        if not EPOCH <= (since or EPOCH) <= (until or date.max):
            raise Problem(422, f"since is {since} and until {until}; since must come first, from {EPOCH} on")
        try:
            claimed = await guests.of(user)
            page, visible = await asyncio.gather(
                _page(user, claimed, min(limit, page_rows, MAX_PAGE), cursor, since, until), public.of((user, *claimed))
            )
        except CursorError as fault:
            raise Problem(422, f"cursor: {fault}") from None
        except StoreError as fault:
            raise unavailable(fault) from None
        rows = (
            shown(one, stored=True, title_of=title_of)
            | {"public": one.session in visible and why_not_public(one) is None}
            for one in page.results
        )
        return await heavy.rows("results", rows, cursor=page.cursor)

    async def _page(
        user: int, claimed: Sequence[int], limit: int, cursor: str | None, since: date | None, until: date | None
    ) -> Page:
        if cursor is not None or limit > RECENT or since is not None or until is not None:
            return await store.by_user(
                user,
                guests=claimed,
                limit=limit,
                cursor=cursor,
                since_ms=None if since is None else (since - EPOCH).days * DAY_MS,
                until_ms=None if until is None else ((until - EPOCH).days + 1) * DAY_MS,
            )
        rows = await recent.of(user, claimed)
        more = len(rows) > limit or len(rows) == RECENT
        shown_rows = tuple(rows[:limit])
        return Page(shown_rows, cursor_after(shown_rows[-1].session) if more and shown_rows else None)

    return routes


def shown(result: Result, *, stored: bool, title_of: TitleOf) -> dict[str, Any]:
    """A result as the API shows it."""
    row = result.to_wire()
    del row["t"]
    row.update(
        state="stored" if stored else "accepted",
        user=str(result.user),
        created_at=result.created_at_ms,
        mode=result.mode,
        language=result.language,
        punctuation=result.punctuation,
        numbers=result.numbers,
        input=result.input,
        tags=list(result.tags),
        reasons=[{"name": why.name, "value": why.value, "threshold": why.threshold} for why in result.reasons],
        features=result.features,
        unseen_ms=result.unseen_ms,
        slack_ms=result.slack_ms,
        scoring_version=result.scoring_version,
    )
    for name, value in (("count", result.count), ("seconds", result.seconds), ("text", result.text)):
        if value is not None:
            row[name] = value
    if result.race is not None:
        row["race"] = True  # not which: who has a private race's id has its key
    if result.test is not None:
        row["test"] = str(result.test)
        title = title_of(result.test, result.test_version)
        if title is not None:
            row["title"] = title
    return row


def _shared(row: dict[str, Any], name: str) -> dict[str, Any]:
    """A row as others see it."""
    return {"name": name} | {field: value for field, value in row.items() if field in SharedRow.model_fields}


def _headers(known: Caller | None) -> Mapping[str, str]:
    """What is shown to everybody caches may keep, for a short time: after it nobody sees what was taken back.

    Nor from a cache that gives out what is old while this server does not answer (RFC 9111, 4.2.4).
    """
    kept = f"public, max-age={PUBLIC_MAX_AGE_S}, must-revalidate"
    return PRIVATE if known is not None else {**PRIVATE, "cache-control": kept}


def _replay(result: Result, texts: Texts, row: dict[str, Any], *, own: bool) -> Generator[None, None, dict[str, Any]]:
    """All that a page needs to play the test again, made in slices."""
    again = yield from rescoring(result, texts, with_holds=own)
    material = again.material
    yield
    holds = list(chain.from_iterable(sorted(again.log.holds.items())))
    yield
    body = {
        "text": material.text,
        "breaks": material.breaks,
        "word_lengths": material.word_lengths,
        "cyclic": material.cyclic,
        "direction": material.direction,
        "mode": result.mode,
        "seconds": result.seconds,
        "count": result.count,
        "events": again.log.events,
        "holds": holds if own else None,
        "agrees": again.agrees,
        "result": row,
    }
    return {name: value for name, value in body.items() if value is not None}
