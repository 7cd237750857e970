"""The public HTTP API without results: the page, the catalogue, health, documentation, limits, errors."""

import asyncio
import gzip
import io
import json
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio
from fastapi import FastAPI

from config.edge import EdgeOptions
from config.gateway import HttpOptions, LogOptions
from config.logs import set_up
from gateway.api.catalogue import Languages, PassageList, PassageWithText
from gateway.api.guard import Guard, allowing
from gateway.api.problems import ProblemDetails, install
from gateway.app import WEB, Gateway
from gateway.limits import Credits
from gateway.metrics import Metrics
from tests.gateway.running import serving, store_away
from tests.gateway.typing_client import client

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(name="served", scope="module", loop_scope="module")
async def _served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Gateway, httpx.AsyncClient]]:
    """One gateway for all tests that only read."""
    async with serving(tmp_path_factory.mktemp("gateway") / "data") as both:
        yield both


@pytest.fixture(name="http", scope="module")
def _http(served: tuple[Gateway, httpx.AsyncClient]) -> httpx.AsyncClient:
    return served[1]


def problem(response: httpx.Response, status: int) -> ProblemDetails:
    """The answer as problem details; it must be that."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    found = ProblemDetails.model_validate_json(response.content)
    assert found.status == status
    return found


# --- the page ---


@pytest.mark.parametrize("path", ["/", "/race", "/race/0000000000000", "/r/x"])
async def test_the_page_and_all_it_asks_for_come_from_here(http: httpx.AsyncClient, path: str) -> None:
    page = await http.get(path)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<!-- part" not in page.text
    asked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert asked
    for address in asked:
        assert address.startswith(("/", "#")), f"{address} is outside"
        if address.startswith("/assets/"):
            assert (await http.get(address)).status_code == 200, address


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("app.js", "text/javascript; charset=utf-8"),
        ("base.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ],
)
async def test_assets_have_their_type(http: httpx.AsyncClient, name: str, media_type: str) -> None:
    response = await http.get(f"/assets/{name}")
    assert response.headers["content-type"] == media_type
    assert response.content == (WEB / name).read_bytes()


@pytest.mark.parametrize(
    "name", ["none.js", "../app.py", "%2e%2e/app.py", "..%2fapp.py", "/etc/passwd", ".hidden", "%00", "index.html/x"]
)
async def test_nothing_else_is_served(http: httpx.AsyncClient, name: str) -> None:
    problem(await http.get(f"/assets/{name}"), 404)


async def test_the_page_asks_for_files_of_its_own_release_which_may_be_kept_for_ever(http: httpx.AsyncClient) -> None:
    page = await http.get("/")
    assert page.headers["cache-control"] == "no-cache"
    releases = set(re.findall(r'"/assets/([^"/]+)/', page.text))
    assert len(releases) == 1
    assert '"/assets/app.js"' not in page.text
    release = releases.pop()
    found = await http.get(f"/assets/{release}/app.js")
    assert found.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert found.content == (WEB / "app.js").read_bytes()
    for other in (f"/assets/{'0' * 16}/app.js", f"/assets/{release}/none.js", f"/assets/{release}/{release}/app.js"):
        problem(await http.get(other), 404)


async def test_the_worker_is_told_which_files_make_a_release(http: httpx.AsyncClient) -> None:
    response = await http.get("/worker.js")
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    first = response.text.partition("\n")[0]
    shell = json.loads(first.removeprefix("const SHELL = ").removesuffix(";"))
    assert f'"/assets/{shell["version"]}/app.js"' in (await http.get("/")).text
    names = {name.removeprefix(f"/assets/{shell['version']}/") for name in shell["files"]}
    assert names == {path.name for path in WEB.iterdir() if path.suffix != ".html" and path.is_file()} - {"worker.js"}
    for address in shell["files"]:
        assert (await http.get(address)).status_code == 200


async def test_a_page_that_is_known_is_not_sent_again(http: httpx.AsyncClient) -> None:
    first = await http.get("/assets/app.js")
    again = await http.get("/assets/app.js", headers={"if-none-match": f'W/{first.headers["etag"]}, "x"'})
    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["etag"] == first.headers["etag"]
    assert first.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("*", True), ("gzip;q=0", False), ("identity", False), ("", False)],
)
async def test_files_are_packed_for_those_who_take_it(http: httpx.AsyncClient, accepted: str, packed: bool) -> None:
    async with http.stream("GET", "/assets/app.js", headers={"accept-encoding": accepted}) as response:
        raw = b"".join([part async for part in response.aiter_raw()])
        assert (response.headers.get("content-encoding") == "gzip") == packed
        assert response.headers["vary"] == "accept-encoding"
    assert (gzip.decompress(raw) if packed else raw) == (WEB / "app.js").read_bytes()


async def test_packed_and_plain_have_tags_of_their_own(http: httpx.AsyncClient) -> None:
    tags = {
        (await http.get("/assets/app.js", headers={"accept-encoding": coding})).headers["etag"]
        for coding in ("gzip", "identity")
    }
    assert len(tags) == 2


async def test_head_is_get_without_the_content(http: httpx.AsyncClient) -> None:
    for path in ("/", "/assets/app.js", "/v1/tests", "/healthz"):
        got = await http.get(path)
        head = await http.head(path)
        assert head.content == b""
        assert head.status_code == 200
        for name in ("content-type", "cache-control"):
            assert head.headers.get(name) == got.headers.get(name)


# --- what every answer bears ---


@pytest.mark.parametrize("path", ["/", "/v1/tests", "/nothing", "/docs", "/healthz", "/v1/results/x"])
async def test_every_answer_is_guarded(http: httpx.AsyncClient, path: str) -> None:
    headers = (await http.get(path)).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert "strict-transport-security" not in headers, "this is plain HTTP"
    assert "server" not in headers


@pytest.mark.parametrize("path", ["/race", "/v1/tests", "/v1/tests/7", "/v1/tests?category=nature"])
async def test_a_slash_too_many_leads_to_the_path_without_it(http: httpx.AsyncClient, path: str) -> None:
    """On the same host and by the same scheme, whatever Host says and whoever has ended TLS before us."""
    name, mark, query = path.partition("?")
    answer = await http.get(f"{name}/{mark}{query}", headers={"host": "evil.example"})
    assert (answer.status_code, answer.headers["location"]) == (307, path)


async def test_errors_are_problem_details(http: httpx.AsyncClient) -> None:
    assert "/nothing" in problem(await http.get("/nothing"), 404).detail
    assert "GET" in problem(await http.post("/v1/tests"), 405).detail
    wrong = problem(await http.get("/v1/tests?limit=0&difficulty=huge"), 422)
    assert {error["at"] for error in wrong.errors or []} == {"query.limit", "query.difficulty"}


async def test_a_fault_of_ours_is_an_answer_and_a_line_in_the_log() -> None:
    app = FastAPI()
    install(app)

    @app.get("/v1/broken")
    async def broken() -> None:
        raise RuntimeError("lost")

    metrics = Metrics(node="a")
    guard = Guard(
        app,
        allowance=Credits(rate_per_s=1, burst=9),
        pages=Credits(rate_per_s=1, burst=9),
        metrics=metrics,
        ban_of=lambda _: None,
        tls=False,
        may_read=allowing(()),
    )
    set_up(LogOptions(format="json"), (written := io.StringIO()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://test") as http:
        response = await http.get("/v1/broken")
    assert "lost" not in problem(response, 500).detail
    assert response.headers["x-content-type-options"] == "nosniff"
    assert orjson.loads(written.getvalue().splitlines()[0])["exception"][0]["exc_value"] == "lost"
    assert b'route="/v1/broken",status="5xx"' in await metrics.scrape()


async def test_an_address_that_asks_too_much_waits(tmp_path: Path) -> None:
    limits = HttpOptions(address_per_s=0.01, address_burst=3)
    async with serving(tmp_path / "data", http=limits) as (_, http):
        for _ in range(3):
            assert (await http.get("/v1/languages")).status_code == 200
        refused = await http.get("/v1/languages")
        assert "wait" in problem(refused, 429).detail
        assert int(refused.headers["retry-after"]) >= 90
        assert (await http.get("/")).status_code == 200, "the page has a limit of its own"


async def test_pages_cost_something_too_and_health_never(tmp_path: Path) -> None:
    """Who asks for pages without end waits; the API has another limit, and a balancer always hears how it stands."""
    limits = HttpOptions(page_per_s=0.01, page_burst=2)
    async with serving(tmp_path / "data", http=limits) as (_, http):
        for path in ("/", "/docs"):
            assert (await http.get(path)).status_code == 200
        for path in ("/", "/docs", "/race", "/nothing"):
            assert int((await http.get(path)).headers["retry-after"]) >= 90
        assert (await http.get("/v1/languages")).status_code == 200
        for _ in range(3):
            assert [(await http.get(path)).status_code for path in ("/healthz", "/readyz")] == [200, 200]


async def test_addresses_behind_a_trusted_proxy_are_counted_each(tmp_path: Path) -> None:
    limits = HttpOptions(address_per_s=0.01, address_burst=1)
    edge = EdgeOptions(port=0, trusted_proxies=("127.0.0.1",))
    async with serving(tmp_path / "data", http=limits, server=edge) as (_, http):
        one, other = {"x-forwarded-for": "203.0.113.1"}, {"x-forwarded-for": "203.0.113.2"}
        assert (await http.get("/v1/languages", headers=one)).status_code == 200
        assert (await http.get("/v1/languages", headers=one)).status_code == 429
        assert (await http.get("/v1/languages", headers=other)).status_code == 200


async def test_a_page_of_an_allowed_origin_may_read(tmp_path: Path) -> None:
    edge = EdgeOptions(port=0, origins=("https://typing.example",))
    async with serving(tmp_path / "data", server=edge) as (_, http):
        headers = {"origin": "https://typing.example", "access-control-request-headers": "authorization"}
        before = await http.options("/v1/users/me/results", headers=headers)
        assert before.status_code == 204
        assert "authorization" in before.headers["access-control-allow-headers"]
        response = await http.get("/v1/languages", headers=headers)
        assert response.headers["access-control-allow-origin"] == "https://typing.example"
        foreign = await http.get("/v1/languages", headers={"origin": "https://other.example"})
        assert "access-control-allow-origin" not in foreign.headers
        assert foreign.headers["vary"] == "origin"


# --- the catalogue ---


async def test_languages_categories_and_difficulties(http: httpx.AsyncClient) -> None:
    found = Languages.model_validate_json((await http.get("/v1/languages")).content)
    by_tag = {row.language: row for row in found.languages}
    assert by_tag["en"].words == 1000
    assert by_tag["en"].quotes > 0
    assert "rtl" in {row.direction for row in found.languages}
    assert len(found.categories) >= 5
    assert found.difficulties == ["easy", "medium", "hard"]


async def test_all_tests_come_page_by_page_each_once(http: httpx.AsyncClient) -> None:
    ids: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": "7"} | ({} if cursor is None else {"cursor": cursor})
        page = PassageList.model_validate_json((await http.get("/v1/tests", params=query)).content)
        ids += [row.id for row in page.tests]
        cursor = page.cursor
        if cursor is None:
            break
        assert len(page.tests) == 7
    assert len(ids) == len(set(ids)) >= 40


async def test_filters_hold(http: httpx.AsyncClient) -> None:
    every = PassageList.model_validate_json((await http.get("/v1/tests?limit=100")).content).tests
    wanted = [row for row in every if row.difficulty == "easy" and row.language.startswith("en")]
    category = wanted[0].category
    response = await http.get(f"/v1/tests?category={category}&difficulty=easy&language=en")
    found = PassageList.model_validate_json(response.content)
    assert [row.id for row in found.tests] == [row.id for row in wanted if row.category == category]
    assert orjson.loads((await http.get("/v1/tests?category=none")).content) == {"tests": [], "cursor": None}


async def test_a_test_with_its_text_may_be_kept(http: httpx.AsyncClient) -> None:
    first = PassageList.model_validate_json((await http.get("/v1/tests?limit=1")).content).tests[0]
    response = await http.get(f"/v1/tests/{first.id}")
    test = PassageWithText.model_validate_json(response.content)
    assert len(test.text.split()) == test.words == first.words
    assert response.headers["cache-control"] == "public, max-age=300"
    again = await http.get(f"/v1/tests/{first.id}", headers={"if-none-match": response.headers["etag"]})
    assert again.status_code == 304
    versioned = await http.get(f"/v1/tests/{first.id}?version={first.version}")
    assert versioned.content == response.content


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/tests/1", 404),
        ("/v1/tests/1000000001?version=77", 404),
        ("/v1/tests/x", 422),
        ("/v1/tests/-5", 422),
        ("/v1/tests/01", 422),
        ("/v1/tests/99999999999999999999", 422),
        ("/v1/tests?cursor=x", 422),
        ("/v1/tests?limit=-1", 422),
        ("/v1/tests?category=" + "x" * 41, 422),
    ],
)
async def test_what_is_not_there_or_makes_no_sense_is_told(http: httpx.AsyncClient, path: str, status: int) -> None:
    assert problem(await http.get(path), status).detail


# --- health ---


async def test_health_and_readiness(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as (gateway, http):
        assert (await http.get("/healthz")).status_code == 200
        async with asyncio.timeout(60):
            while set((ready := await http.get("/readyz")).json()["parts"].values()) != {"ok"}:
                pass  # a part may be late with its answer
        assert ready.status_code == 200
        gateway.health.draining = True
        gone = await http.get("/readyz")
        assert gone.status_code == 503
        assert gone.json()["parts"]["server"] == "draining"
        assert (await http.get("/healthz")).status_code == 200


async def test_readiness_names_the_part_that_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with (
        serving(folder) as (gateway, http),
        httpx.AsyncClient(timeout=60, base_url=gateway.admin_url or "") as admin,
    ):
        folder.rename(tmp_path / "moved")
        public = await http.get("/readyz")
        assert public.status_code == 503
        assert public.json()["parts"]["data folder"] == "fault", "the public port tells no paths"
        async with asyncio.timeout(60):
            while str(folder) not in (await admin.get("/readyz")).json()["parts"]["data folder"]:
                pass  # it may be late with its answer
            (tmp_path / "moved").rename(folder)
            while (await admin.get("/readyz")).status_code != 200:
                pass  # the spool, which may have missed its file, looks once a second


async def test_a_store_that_is_away_degrades_and_tests_go_on(tmp_path: Path) -> None:
    """While the spool takes results the server is ready: else a balancer would take all of them away at once."""
    folder = tmp_path / "data"
    async with (
        serving(folder) as (gateway, http),
        httpx.AsyncClient(timeout=60, base_url=gateway.admin_url or "") as admin,
        client(gateway.url) as typist,
    ):
        with store_away(folder):
            await typist.start(mode="words", count=3)
            assert (await typist.type_all())["state"] == "accepted"
            async with asyncio.timeout(60):
                while (seen := (await admin.get("/readyz")).json()["parts"])["stream"] == "ok":
                    pass
                while "no such table" not in seen["store"]:
                    seen = (await admin.get("/readyz")).json()["parts"]  # it may be late with its answer
                while (degraded := await http.get("/readyz")).json()["parts"]["spool"] != "ok":
                    pass  # the same
            assert degraded.status_code == 200
            assert degraded.json()["status"] == "degraded"
            assert degraded.json()["parts"]["store"] == "fault", "the public port tells no more"
        await typist.receive("stored")
        async with asyncio.timeout(60):
            while (await http.get("/readyz")).json()["status"] != "ready":
                pass


async def test_the_admin_port_has_metrics_and_nothing_of_the_public_one(
    served: tuple[Gateway, httpx.AsyncClient],
) -> None:
    gateway, http = served
    await http.get("/v1/languages")
    async with httpx.AsyncClient(timeout=60, base_url=gateway.admin_url or "") as admin:
        shown = await admin.get("/metrics")
        assert shown.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert 'typegate_ws_connections{node="node-1",process="0"} 0.0' in shown.text
        assert 'route="/v1/languages"' in shown.text
        assert (await admin.get("/")).status_code == 404
    assert (await http.get("/metrics")).status_code == 404


# --- documentation ---


class Elements(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.found.append((tag, dict(attrs)))


async def test_the_docs_page_shows_every_path_and_asks_nobody_else(http: httpx.AsyncClient) -> None:
    page = await http.get("/docs")
    api: dict[str, Any] = json.loads((await http.get("/openapi.json")).text)
    assert {"/v1/tests", "/v1/tests/{id}", "/v1/results/{id}/replay", "/v1/users/{id}/results"} <= set(api["paths"])
    for path in api["paths"]:
        assert path in page.text
    elements = Elements()
    elements.feed(page.text)
    for tag, attributes in elements.found:
        assert tag not in ("script", "style", "img", "iframe")
        assert "style" not in attributes
        for name in ("href", "src"):
            assert (attributes.get(name) or "/").startswith("/"), attributes
    assert (await http.get("/docs/style.css")).headers["content-type"] == "text/css; charset=utf-8"


async def test_the_docs_page_tells_what_to_send_and_how(http: httpx.AsyncClient) -> None:
    """By each path's own method; the fields of a body with what they mean, a `?` at those that may be left out."""
    api: dict[str, Any] = json.loads((await http.get("/openapi.json")).text)
    page = (await http.get("/docs")).text
    operations = [(method, path) for path, methods in api["paths"].items() for method in methods]
    tries = re.findall(r"<h3>Try</h3><pre>curl -s(?: -X (\S+))?.*? http://localhost:8080(\S+)</pre>", page)
    assert sorted(tries) == sorted(("" if method == "get" else method.upper(), path) for method, path in operations)
    whole = re.search(r'<span class="path">/v1/results</span>.*?<h3>Body</h3>(.*?)<h3>', page, re.DOTALL)
    assert whole is not None
    said = re.findall(r"<td><code>(\S+)</code></td><td>[^<]+</td><td>([^<]*)</td>", whole[1])
    assert ("mode", "words, time, quote, text or zen") in said
    assert {"holds?", "events", "started_at", "text?"} < {name for name, _ in said}
    assert {"200", "202"} < api["paths"]["/v1/results"]["post"]["responses"].keys()


async def test_every_answer_in_the_document_has_words(http: httpx.AsyncClient) -> None:
    api: dict[str, Any] = json.loads((await http.get("/openapi.json")).text)
    for path, methods in api["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
            assert operation["description"], path
    for name, schema in api["components"]["schemas"].items():
        assert schema.get("description"), name


async def test_errors_are_documented_in_the_shape_that_they_have(http: httpx.AsyncClient) -> None:
    """Clients are generated from the document: what it says of an error must be what comes."""
    api: dict[str, Any] = json.loads((await http.get("/openapi.json")).text)
    wrong = await http.get("/v1/tests", params={"limit": "0"})
    documented = api["paths"]["/v1/tests"]["get"]["responses"]["422"]["content"]
    assert list(documented) == [wrong.headers["content-type"]]
    assert documented["application/problem+json"]["schema"]["$ref"].endswith("/ProblemDetails")
    schema = api["components"]["schemas"]["ProblemDetails"]
    assert set(schema["required"]) <= set(wrong.json()) <= set(schema["properties"])
    assert "403" in api["paths"]["/v1/users/{id}/results"]["get"]["responses"]
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(api)))
    assert named <= set(api["components"]["schemas"])
