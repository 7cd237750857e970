"""The page and its modules, from memory: read once at start, compressed once, with an entity tag of their content.

There is no build step. All files together have one version, a digest of their content, and the page asks for them below
it: `/assets/VERSION/app.js`, from where modules find each other by relative names. So nobody ever mixes modules of two
releases, what is known is never asked for again, and the page itself, the only file that is, tells of a new release.
Another version than this server's is not found; while a cluster changes over, that is what sticky sessions are for.

The service worker (`/worker.js`) is told version and files in its first line: it keeps one release whole, for visits
without a network, and browsers notice a new release by its bytes.

What several pages share stands once, in `parts/`: a page says `<!-- part: NAME -->` where it goes. For its modules it
says `<!-- modules: NAME.js -->`: that one is loaded, and all that it imports is announced, so that a browser need not
have read one to ask for the next.
"""

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.api.problems import Problem

__all__ = ["Asset", "Pages", "etag_of", "matches", "router"]

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
COMPRESSED = (".html", ".js", ".css", ".svg", ".json", ".webmanifest", ".txt")
WORTH_BYTES = 512
"""Smaller files fit one packet with their headers anyway."""

PAGE, RACE, RESULT, WATCH, WORKER = "index.html", "race.html", "result.html", "watch.html", "worker.js"
PARTS = "parts/"
PART = re.compile(rb"<!-- part: ([a-z]+) -->\n?")
MODULES = re.compile(rb"<!-- modules: ([a-z-]+\.js) -->")
IMPORTED = re.compile(rb'^(?:import|export)\s[^;"]*?\bfrom "\./([a-z-]+\.js)";', re.MULTILINE)
"""As all modules here name each other."""
FOR_EVER = "public, max-age=31536000, immutable"
"""For a file below its version (RFC 8246)."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, ready to send."""

    body: bytes
    gzipped: bytes | None
    media_type: str
    etag: str

    @classmethod
    def of(cls, body: bytes, suffix: str) -> "Asset":
        """An asset from its bytes; gzip is kept where it saves something."""
        gzipped = None
        if suffix in COMPRESSED and len(body) >= WORTH_BYTES:
            packed = gzip.compress(body, 9, mtime=0)
            gzipped = packed if len(packed) < len(body) else None
        return cls(body, gzipped, TYPES.get(suffix, "application/octet-stream"), etag_of(body))

    def response(self, request: Request, *, cache: str = "no-cache") -> Response:
        """The answer: the file, its compressed form where the browser takes it, or 304."""
        packed = self.gzipped is not None and _takes_gzip(request.headers.get("accept-encoding", ""))
        # each representation has a tag of its own (RFC 9110, 8.8.3.3)
        etag = f'{self.etag[:-1]}-gzip"' if packed else self.etag
        headers = {"etag": etag, "cache-control": cache, "vary": "accept-encoding"}
        if matches(request.headers.get("if-none-match"), etag):
            return Response(status_code=304, headers=headers)
        if packed:
            headers["content-encoding"] = "gzip"
        return Response(self.gzipped if packed else self.body, headers=headers, media_type=self.media_type)


class Pages:
    """All files below a folder, by their path in it; the page and its worker know the version of the whole."""

    def __init__(self, folder: Path) -> None:
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in _files(folder)}
        self.version = blake2b(
            b"".join(name.encode() + b"\0" + blake2b(body).digest() for name, body in files.items()), digest_size=8
        ).hexdigest()
        """Sixteen hexadecimal digits, others after any change to any file."""
        below = f"/assets/{self.version}/"
        parts = {name: files.pop(name) for name in list(files) if name.startswith(PARTS)}
        pages = [name for name in files if name.endswith(".html")]
        for name in pages:
            whole = PART.sub(lambda found: parts[f"{PARTS}{found[1].decode()}.html"], files[name])
            whole = MODULES.sub(lambda found: _loading(found[1].decode(), files), whole)
            files[name] = whole.replace(b"/assets/", below.encode())
        if WORKER in files:
            shell = {"version": self.version, "files": [below + name for name in files if name not in (*pages, WORKER)]}
            files[WORKER] = f"const SHELL = {json.dumps(shell)};\n".encode() + files[WORKER]
        self._assets = {name: Asset.of(body, Path(name).suffix) for name, body in files.items()}

    def __len__(self) -> int:
        return len(self._assets)

    def get(self, name: str) -> Asset | None:
        """The file of this name."""
        return self._assets.get(name)


def router(pages: Pages) -> APIRouter:
    """`/`, `/race`, `/r/...`, `/watch/...`, `/assets/...` and what browsers ask for at fixed places."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    async def page(request: Request) -> Response:
        return _asset(pages, PAGE).response(request)

    @routes.get("/race")
    @routes.get("/race/{race}")
    async def race_page(request: Request) -> Response:
        # the page itself asks what race that is, and whether there is one
        return _asset(pages, RACE).response(request)

    @routes.get("/r/{session}")
    async def result_page(request: Request) -> Response:
        # likewise: the page asks for the result, as who the visitor is
        return _asset(pages, RESULT).response(request)

    @routes.get("/watch/{session}")
    async def watch_page(request: Request) -> Response:
        # likewise: whether there is anything to be seen is told over the WebSocket, to those who may see it
        return _asset(pages, WATCH).response(request)

    @routes.get("/worker.js")
    async def worker(request: Request) -> Response:
        # not below /assets: a service worker may only look after what lies beside or below it
        return _asset(pages, WORKER).response(request)

    @routes.get("/assets/{name:path}")
    async def asset(name: str, request: Request) -> Response:
        version, _, versioned = name.partition("/")
        if version == pages.version:
            return _asset(pages, versioned).response(request, cache=FOR_EVER)
        return _asset(pages, name).response(request)

    @routes.get("/favicon.ico")
    async def icon(request: Request) -> Response:
        for name in ("favicon.ico", "icon.svg", "favicon.svg"):
            found = pages.get(name)
            if found is not None:
                return found.response(request, cache="public, max-age=86400")
        return Response(status_code=204, headers={"cache-control": "public, max-age=86400"})

    @routes.get("/robots.txt")
    async def robots() -> Response:
        # not the pages of races and results: who may not read them does not see that they say `noindex`, and lists
        # their addresses where somebody has linked to them
        return Response("User-agent: *\nDisallow: /v1/\n", media_type="text/plain; charset=utf-8")

    return routes


def etag_of(body: bytes) -> str:
    """A strong entity tag of a representation's content."""
    return f'"{blake2b(body, digest_size=12).hexdigest()}"'


def matches(header: str | None, etag: str) -> bool:
    """Whether If-None-Match names this tag, by weak comparison (RFC 9110, 13.1.2)."""
    if header is None:
        return False
    named = [part.strip().removeprefix("W/") for part in header.split(",")]
    return "*" in named or etag.removeprefix("W/") in named


def _asset(pages: Pages, name: str) -> Asset:
    found = pages.get(name)
    if found is None:
        raise Problem(404, f"there is no file {name[:200]!r} here")
    return found


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith((".", "__")) for part in path.relative_to(folder).parts):
            yield path


def _loading(first: str, files: Mapping[str, bytes]) -> bytes:
    """What loads a module, and announces those that it imports, directly or not."""
    imported: set[str] = set()
    unread = [first]
    while unread:
        news = {name.decode() for name in IMPORTED.findall(files[unread.pop()])} - imported
        imported |= news
        unread += news
    lines = [f'<script type="module" src="/assets/{first}"></script>']
    lines += [f'<link rel="modulepreload" href="/assets/{name}">' for name in sorted(imported - {first})]
    return "\n    ".join(lines).encode()


def _takes_gzip(header: str) -> bool:
    """Whether Accept-Encoding allows gzip (RFC 9110, 12.5.3)."""
    for part in header.split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
