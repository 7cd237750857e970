"""/docs: the API's description as a page, made from the OpenAPI document when the server starts.

Plain HTML and one style sheet from here: the usual documentation pages load scripts from elsewhere, which the
content security policy forbids, and nobody's browser should tell a third party that it reads this.
"""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response

from gateway.api.pages import Asset
from gateway.api.problems import describe

__all__ = ["render", "router"]

STYLE = """\
:root { color-scheme: light dark; --ink: #1d2026; --paper: #fbfbf9; --line: #d8d8d2; --soft: #f1f1ec; --mark: #0b6b58;
  --faint: #5c6068 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e4de; --paper: #17191c; --line: #34383e; --soft: #1f2226; --mark: #5cc8ae; --faint: #a0a5ad }
}
body { margin: 0 auto; max-width: 56rem; padding: 2rem 1.25rem 6rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.9rem; margin: 0 0 .25rem } h2 { margin: 2.5rem 0 .75rem; font-size: 1.2rem;
  text-transform: capitalize }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem } p { margin: .4rem 0 } a { color: var(--mark) }
code, pre { font: .9em/1.5 ui-monospace, monospace } pre { background: var(--soft); padding: .75rem 1rem;
  overflow-x: auto; border-radius: .4rem }
details { border: 1px solid var(--line); border-radius: .5rem; margin: .5rem 0; padding: 0 1rem }
details[open] { padding-bottom: 1rem } summary { cursor: pointer; padding: .7rem 0; display: flex; gap: .75rem;
  flex-wrap: wrap; align-items: baseline } summary .what { color: var(--faint) }
summary:focus-visible { outline: 2px solid var(--mark); outline-offset: 2px }
summary::before { content: "+"; color: var(--faint); width: .6em } details[open] > summary::before { content: "−" }
.method { font: 600 .8rem ui-monospace, monospace; color: var(--mark) } .path { font-family: ui-monospace, monospace }
table { border-collapse: collapse; width: 100%; font-size: .93rem } th { text-align: left; font-weight: 600 }
td, th { border-bottom: 1px solid var(--line); padding: .35rem .75rem .35rem 0; vertical-align: top }
.faint { color: var(--faint) }
"""


def render(api: Mapping[str, Any]) -> str:
    """The page for an OpenAPI document."""
    groups: dict[str, list[str]] = {}
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            groups.setdefault(tag, []).append("".join(_operation(api, path, method, operation)))
    info = api["info"]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(info['title'])}: HTTP API</title>",
        '<link rel="stylesheet" href="/docs/style.css"></head><body><main>',
        f"<h1>{escape(info['title'])}</h1><p>{escape(info.get('description', ''))}</p>",
        f'<p class="faint">Version {escape(info["version"])}. For machines: '
        '<a href="/openapi.json">openapi.json</a>. <a href="/">Back to the page</a>.</p>',
    ]
    for tag, operations in groups.items():
        parts += [f"<h2>{escape(tag)}</h2>", *operations]
    return "".join([*parts, "</main></body></html>"])


def _operation(api: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f'<details><summary><span class="method">{method.upper()}</span> <span class="path">{escape(path)}</span> '
        f'<span class="what">{escape(operation.get("summary", ""))}</span></summary>'
    )
    if operation.get("description"):
        yield f"<p>{escape(operation['description'])}</p>"
    secured = bool(operation.get("security"))
    if secured:
        yield "<p>Needs <code>Authorization: Bearer</code> with a JWT or a guest's token.</p>"
    rows = [
        (name["name"], f"{name['in']}, {_type(api, name['schema'])}", name.get("description", ""))
        for name in operation.get("parameters", ())
    ]
    if rows:
        yield "<h3>Parameters</h3>" + _table(("name", "what", "meaning"), rows)
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body:
        yield "<h3>Body</h3>" + _table(("field", "type", "meaning"), list(_body(api, body)))
    for status, response in operation["responses"].items():
        schema = response.get("content", {}).get("application/json", {}).get("schema")
        said = response.get("description", "")
        yield f"<h3>{escape(status)}</h3>" + ("" if said == "Successful Response" else f"<p>{escape(said)}</p>")
        if schema:
            yield _table(("field", "type", "meaning"), list(_fields(api, schema)))
    how = "" if method == "get" else f" -X {method.upper()}"
    how += " -H 'Authorization: Bearer '$TOKEN" if secured else ""
    how += " --json @body.json" if body else ""
    yield f"<h3>Try</h3><pre>curl -s{how} http://localhost:8080{escape(path)}</pre></details>"


def _body(api: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Fields of what is sent: like those of an answer, but some may be left out."""
    needed = _resolved(api, schema).get("required", ())
    for name, what, meaning in _fields(api, schema):
        yield name if name in needed else f"{name}?", what, meaning


def _fields(api: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    schema = _resolved(api, schema)
    for name, kind in schema.get("properties", {}).items():
        yield name, _type(api, kind), kind.get("description", "")
        inner = _resolved(api, kind.get("items", kind))
        for field, what, meaning in _fields(api, inner) if inner.get("properties") else ():
            yield f"{name}.{field}", what, meaning


def _resolved(api: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Mapping[str, Any] = api["components"]["schemas"][reference.rsplit("/", 1)[1]]
    return found


def _type(api: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(api, option) for option in schema["anyOf"])
    schema = _resolved(api, schema)
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(api, schema.get('items', {}))}"
    return str(schema.get("type", "any"))


def _table(head: tuple[str, ...], rows: list[tuple[str, str, str]]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(what)}</td><td>{escape(meaning)}</td></tr>"
        for name, what, meaning in rows
    )
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def router(app: FastAPI) -> APIRouter:
    """`/openapi.json`, `/docs` and its style sheet; made once, when all routes are there."""
    routes = APIRouter(include_in_schema=False)
    made: dict[str, Asset] = {}

    def asset(name: str) -> Asset:
        if not made:
            api = describe(app.openapi())
            made["json"] = Asset.of(json.dumps(api, separators=(",", ":")).encode(), ".json")
            made["html"] = Asset.of(render(api).encode(), ".html")
            made["css"] = Asset.of(STYLE.encode(), ".css")
        return made[name]

    @routes.get("/openapi.json")
    async def openapi(request: Request) -> Response:
        return asset("json").response(request)

    @routes.get("/docs")
    async def docs(request: Request) -> Response:
        return asset("html").response(request)

    @routes.get("/docs/style.css")
    async def style(request: Request) -> Response:
        return asset("css").response(request)

    return routes
