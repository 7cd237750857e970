"""What there is to type: languages, tests. Public, the same for all, so that browsers and CDNs may keep it."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from gateway.api.pages import matches
from gateway.api.problems import Problem, ProblemDetails
from persistence.cache.contents import Contents
from persistence.catalogue import DIFFICULTIES, Catalogue, CatalogueError, Difficulty, Shelf, Test
from session.identity import IdentityError, user_from_text

__all__ = ["languages_body", "router", "test_body"]


class LanguageRow(BaseModel):
    """A language with a list of its common words."""

    language: str = Field(description="BCP 47 tag", examples=["en"])
    name: str = Field(description="What its speakers call it")
    direction: str = Field(description="`ltr` or `rtl`")
    words: int = Field(description="Words on its list")
    version: int = Field(description="Version of the list")
    quotes: int = Field(description="Tests in this language")


class Languages(BaseModel):
    """What a page offers to choose from."""

    languages: list[LanguageRow]
    categories: list[str] = Field(description="Categories that have tests")
    difficulties: list[str]


class PassageRow(BaseModel):
    """A passage to type, without its text."""

    id: str = Field(description="Decimal id", examples=["1000000001"])
    version: int
    title: str
    category: str
    difficulty: str
    language: str = Field(description="BCP 47 tag")
    words: int = Field(description="Words in the text")
    created_at: int = Field(description="Epoch ms")
    source: str | None = Field(None, description="Where an imported text came from")


class PassageWithText(PassageRow):
    """A passage to type."""

    text: str = Field(description="NFC, single spaces")


class PassageList(BaseModel):
    """A page of tests."""

    tests: list[PassageRow]
    cursor: str | None = Field(None, description="Give it back as `cursor` for the next page; null at the end")


def router(catalogue: Catalogue, contents: Contents, *, max_age_s: int, page_rows: int) -> APIRouter:
    """`/v1/languages`, `/v1/tests`, `/v1/tests/{id}`."""
    routes = APIRouter(prefix="/v1", tags=["catalogue"])
    public = f"public, max-age={max_age_s}"

    def answer(request: Request, body: Any, etag: str) -> Response:
        # what a server shows that could not read all of it yet is not for others to keep
        headers = {"etag": etag, "cache-control": public if catalogue.readings else "no-store"}
        if matches(request.headers.get("if-none-match"), etag):
            return Response(status_code=304, headers=headers)
        return Response(orjson.dumps(body), headers=headers, media_type="application/json")

    @routes.get("/languages", response_model=Languages, summary="Languages, categories and difficulties")
    async def languages(request: Request) -> Response:
        """All that a test can be chosen by."""
        return answer(request, languages_body(catalogue.shelf), f'"{catalogue.shelf.etag}"')

    @routes.get("/tests", response_model=PassageList, summary="List tests")
    async def tests(
        request: Request,
        category: Annotated[str | None, Query(max_length=40, description="Only this category")] = None,
        difficulty: Annotated[Difficulty | None, Query(description="Only this difficulty")] = None,
        language: Annotated[str | None, Query(max_length=35, description="BCP 47 range: `en` takes en-GB too")] = None,
        cursor: Annotated[str | None, Query(max_length=20, description="From the page before")] = None,
        limit: Annotated[int, Query(ge=1, description="Rows a page")] = min(50, page_rows),
    ) -> Response:
        """Tests in the order of their ids, newest versions, without texts."""
        shelf = catalogue.shelf
        after = 0 if cursor is None else _id(cursor, "cursor")
        page = shelf.page(
            category=category, difficulty=difficulty, language=language, after=after, limit=min(limit, page_rows)
        )
        body = {
            "tests": [_row(test) for test in page.tests],
            "cursor": None if page.next is None else str(page.next),
        }
        return answer(request, body, f'"{shelf.etag}"')

    @routes.get(
        "/tests/{id}",
        response_model=PassageWithText,
        summary="One test with its text",
        responses={404: {"model": ProblemDetails}, 503: {"model": ProblemDetails}},
    )
    async def test(
        id: Annotated[str, Path(description="The test's decimal id")],  # noqa: A002  # the API's own word
        request: Request,
        version: Annotated[
            int | None, Query(ge=1, le=2**31 - 1, description="An earlier version; they are kept for ever")
        ] = None,
    ) -> Response:
        """The present version, or the one asked for."""
        try:
            found = await contents.of(_id(id, "id"), version)
        except CatalogueError as fault:
            raise Problem(
                503, "this test cannot be looked up now; try again in a moment", headers={"retry-after": "1"}
            ) from fault
        if found is None:
            raise Problem(404, f"there is no test {id}{'' if version is None else f' of version {version}'}")
        return answer(request, test_body(found), f'"{found.id}-{found.version}"')

    return routes


def languages_body(shelf: Shelf) -> dict[str, Any]:
    """What `/v1/languages` answers."""
    return {
        "languages": [
            {
                "language": words.language,
                "name": words.name,
                "direction": words.direction,
                "words": len(words.words),
                "version": words.version,
                "quotes": len(shelf.ids(language=words.language)),
            }
            for words in shelf.word_lists
        ],
        "categories": list(shelf.categories),
        "difficulties": list(DIFFICULTIES),
    }


def test_body(test: Test) -> dict[str, Any]:
    """What `/v1/tests/{id}` answers."""
    return {**_row(test), "text": test.text}


def _row(test: Test) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": str(test.id),
        "version": test.version,
        "title": test.title,
        "category": test.category,
        "difficulty": test.difficulty,
        "language": test.language,
        "words": test.words,
        "created_at": test.created_at_ms,
    }
    if test.source is not None:
        row["source"] = test.source
    return row


def _id(text: str, name: str) -> int:
    try:
        number = user_from_text(text)
    except IdentityError:
        number = 0
    if number < 1:
        raise Problem(422, f"{name} is {text[:40]!r}; allowed is a whole number as decimal digits")
    return number
