"""Leaderboards: who is how fast, where one stands oneself, and how many are slower. All may read them; who may be on
them is the store's rule (accounts, the server's own passages, verdict `ok`).
"""

import time
from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Query, Request, Security
from fastapi.responses import Response
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field

from gateway.api.heavy import private
from gateway.api.problems import Problem, ProblemDetails, unavailable
from gateway.api.who import Callers, user_named
from gateway.names import Names
from persistence.boards import Ranked
from persistence.errors import StoreError
from persistence.front import Front
from persistence.results import Board, BoardError, Period, PersonalBest, ResultStore, Span
from persistence.results.bests import DAY_MS, KINDS
from session.identity import created_at_ms

__all__ = ["router"]

MAX_AGE_S = 5
"""How long browsers and CDNs may keep a page: many look at the same one, and nobody minds five seconds."""
PERCENTILE_MAX_AGE_S = 60
"""It is counted every ten minutes."""
DEEPEST = 100_000

BoardName = Annotated[str, Path(max_length=80, description="`time-15-en`: the test and its language")]
SpanName = Annotated[Literal["day", "week", "all"], Query(description="Of the day, the week (from Monday), or ever")]
Ago = Annotated[int, Query(ge=0, le=1, description="1: the day or week before; UTC")]


class BoardRow(BaseModel):
    """A kind of test that has leaderboards."""

    board: str = Field(description="Its name", examples=["time-15-en"])
    mode: str
    seconds: int | None = Field(None, description="In mode `time`")
    count: int | None = Field(None, description="Words, in mode `words`")
    language: str = Field(description="BCP 47 tag")


class BoardList(BaseModel):
    """All boards that there are."""

    boards: list[BoardRow]


class EntryRow(BaseModel):
    """A user's best."""

    rank: int = Field(description="1 for the first; of equal speeds the earlier test is first")
    user: str = Field(description="The account's id")
    name: str = Field(description="What it is called; a default name where its sign-in says none")
    wpm: float
    acc: float = Field(description="Correct inserts in per cent")
    created_at: int = Field(description="When the test was started, epoch ms")


class BestRow(BaseModel):
    """A user's best, whether or not a board has room for it."""

    wpm: float
    acc: float
    created_at: int = Field(description="When the test was started, epoch ms")


class BoardPeriod(BaseModel):
    """Which board, and of which time."""

    board: str
    span: str
    since: int | None = Field(None, description="First instant of the day or week, epoch ms; null: ever")
    until: int | None = Field(None, description="The first instant after it")


class BoardPage(BoardPeriod):
    """A page of a leaderboard."""

    size: int | None = Field(None, description="Entries of the board; null where it is not known just now")
    entries: list[EntryRow]
    next: int | None = Field(None, description="Give it back as `offset` for the next page; null at the end")


class Standing(BoardPeriod):
    """Where a user stands."""

    rank: int | None = Field(None, description="Null: not on the board, or a guest, whom no board ranks")
    best: BestRow | None = Field(None, description="The user's best; null where there is none that counts")
    slower_percent: float | None = Field(None, description="How many of all users' bests it beats")
    entries: list[EntryRow] = Field(description="The board around the user")


class Percentile(BoardPeriod):
    """How a speed compares."""

    wpm: float
    slower_percent: float | None = Field(None, description="Per cent of the users who are slower; null: there are none")
    users: int = Field(description="Users with a best on this board, on its pages or below them")
    counted_at: int = Field(description="When they were counted, epoch ms")


def router(
    *,
    front: Front,
    store: ResultStore,
    names: Names,
    callers: Callers,
    languages: Callable[[], Collection[str]],
    page_rows: int,
    epoch_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> APIRouter:
    """`/v1/leaderboards` and below. `languages()` are those that have a list of words."""
    routes = APIRouter(
        prefix="/v1",
        tags=["leaderboards"],
        responses={
            429: {"model": ProblemDetails, "description": "Too many requests; Retry-After says when"},
            503: {"model": ProblemDetails, "description": "The store does not answer just now"},
        },
    )
    missing: dict[int | str, dict[str, Any]] = {404: {"model": ProblemDetails, "description": "There is no such board"}}

    def board_named(name: str) -> Board:
        try:
            board = Board.named(name)
        except BoardError as fault:
            raise Problem(404, f"{fault}; /v1/leaderboards lists them") from None
        if board.language not in languages():
            raise Problem(404, f"there is no list of words in {board.language!r}; /v1/leaderboards lists the boards")
        return board

    def period_of(span: str, ago: int) -> Period:
        today = epoch_ms() // DAY_MS
        now = Period.of(Span(span), today)
        if not ago or now.span is Span.ALL:
            return now
        return Period.of(now.span, now.day - 1)

    @routes.get("/leaderboards", response_model=BoardList, summary="All leaderboards")
    async def boards() -> Response:
        """Each has a day, a week and all time."""
        found = [Board(mode, extent, language) for language in languages() for mode, extent in KINDS]
        return _public({"boards": [_board(board) for board in found]}, PERCENTILE_MAX_AGE_S)

    @routes.get("/leaderboards/{board}", response_model=BoardPage, summary="A leaderboard", responses=missing)
    async def page(
        board: BoardName,
        span: SpanName = "all",
        ago: Ago = 0,
        offset: Annotated[int, Query(ge=0, le=DEEPEST, description="Entries before the page")] = 0,
        limit: Annotated[int, Query(ge=1, description="Entries a page")] = min(50, page_rows),
    ) -> Response:
        """The fastest first. On it are accounts, with tests of the server's passages that nothing speaks against."""
        named, period, count = board_named(board), period_of(span, ago), min(limit, page_rows)
        try:
            found = await front.boards.page(named, period, offset=offset, count=count)
        except StoreError as fault:
            raise unavailable(fault) from None
        full = len(found.entries) == count
        more = full and (found.size is None or offset + count < found.size)
        body = {
            **_period(named, period),
            "size": found.size,
            "entries": await _entries(found.entries, names),
            "next": offset + count if more else None,
        }
        return _public(body, MAX_AGE_S)

    @routes.get(
        "/leaderboards/{board}/me",
        response_model=Standing,
        summary="Where one stands",
        responses={**missing, 401: {"model": ProblemDetails, "description": "No token, or none that is accepted"}},
        dependencies=[Security(HTTPBearer(auto_error=False, description="A JWT of the site, or a guest's token"))],
    )
    async def me(
        request: Request,
        board: BoardName,
        span: SpanName = "all",
        ago: Ago = 0,
        limit: Annotated[int, Query(ge=1, description="Entries around one's own")] = 11,
    ) -> Response:
        """One's own best, its rank, how many are slower, and the board around it. Guests are on no board."""
        user = user_named("me", await callers.of(request))
        named, period = board_named(board), period_of(span, ago)
        best: PersonalBest | None = None
        slower: float | None = None
        entries: tuple[Ranked, ...] = ()
        if user > 0:
            try:
                day = period.day if ago and period.span is not Span.ALL else epoch_ms() // DAY_MS
                bests = await store.bests(user, day=day)
                best = next((one for one in bests if (one.place.board, one.place.period) == (named, period)), None)
                if best is not None:
                    around = await front.boards.around(named, period, user, count=min(limit, page_rows))
                    entries = around.entries
                    slower = (await front.speeds.of(named, period)).slower_than(best.wpm)
            except StoreError as fault:
                raise unavailable(fault) from None
        own = next((entry for entry in entries if entry.best.place.user == user), None)
        return private(
            {
                **_period(named, period),
                "rank": None if own is None else own.rank,
                "best": None if best is None else _best(best),
                "slower_percent": slower,
                "entries": await _entries(entries, names),
            }
        )

    @routes.get(
        "/leaderboards/{board}/percentile", response_model=Percentile, summary="How a speed compares", responses=missing
    )
    async def percentile(
        board: BoardName,
        wpm: Annotated[float, Query(ge=0, le=10_000, allow_inf_nan=False, description="The speed")],
        span: SpanName = "all",
        ago: Ago = 0,
    ) -> Response:
        """Among all users' bests, those that no page shows included; counted every few minutes."""
        named, period = board_named(board), period_of(span, ago)
        try:
            speeds = await front.speeds.of(named, period)
        except StoreError as fault:
            raise unavailable(fault) from None
        body = {
            **_period(named, period),
            "wpm": wpm,
            "slower_percent": speeds.slower_than(wpm),
            "users": speeds.total,
            "counted_at": speeds.counted_ms,
        }
        return _public(body, PERCENTILE_MAX_AGE_S)

    return routes


def _public(body: dict[str, Any], max_age_s: int) -> Response:
    headers = {"cache-control": f"public, max-age={max_age_s}"}
    return Response(orjson.dumps(body), headers=headers, media_type="application/json")


def _board(board: Board) -> dict[str, Any]:
    extent = "seconds" if board.mode == "time" else "count"
    return {"board": str(board), "mode": board.mode, extent: board.extent, "language": board.language}


def _period(board: Board, period: Period) -> dict[str, Any]:
    since, until = (None, None) if period.span is Span.ALL else period.bounds_ms
    return {"board": str(board), "span": period.span.value, "since": since, "until": until}


async def _entries(entries: Sequence[Ranked], names: Names) -> list[dict[str, Any]]:
    called = await names.of([entry.best.place.user for entry in entries])
    return [
        {
            "rank": entry.rank,
            "user": str(entry.best.place.user),
            "name": called[entry.best.place.user],
            **_best(entry.best),
        }
        for entry in entries
    ]


def _best(best: PersonalBest) -> dict[str, Any]:
    return {"wpm": best.wpm, "acc": best.acc, "created_at": created_at_ms(best.session)}
