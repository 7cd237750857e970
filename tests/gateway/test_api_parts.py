"""Parts of the HTTP API that need no server: files, entity tags, origins."""

import re
from pathlib import Path

import pytest

from gateway.api.guard import allowing
from gateway.api.pages import Asset, Pages, matches
from gateway.app import WEB


def test_an_entity_tag_is_of_the_content() -> None:
    assert Asset.of(b"a" * 600, ".js").etag != Asset.of(b"b" * 600, ".js").etag
    assert Asset.of(b"a" * 600, ".js").gzipped is not None
    assert Asset.of(b"a" * 100, ".js").gzipped is None
    assert Asset.of(bytes(range(256)) * 4, ".png").gzipped is None


def test_hidden_files_are_no_pages(tmp_path: Path) -> None:
    for name in (".secret", "__pycache__/x.js", "a/.b/c.js", "a/d.js"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    pages = Pages(tmp_path)
    assert len(pages) == 1
    assert pages.get("a/d.js") is not None


def test_any_change_makes_another_release(tmp_path: Path) -> None:
    """Content and names alike; the same files are the same release on every node."""
    versions: list[str] = []
    for name, text in (("a.js", "x"), ("a.js", "x"), ("a.js", "y"), ("b.js", "y")):
        folder = tmp_path / str(len(versions))
        folder.mkdir()
        (folder / name).write_text(text)
        versions.append(Pages(folder).version)
    assert versions[0] == versions[1]
    assert len(set(versions)) == 3


def test_a_page_announces_all_modules_that_it_comes_to_need(tmp_path: Path) -> None:
    """The first one is loaded; each that it imports, directly or not, stands once, however often it is imported."""
    modules = {
        "first.js": 'import { b } from "./b.js";\nimport {\n  one,\n  two,\n} from "./c.js";\n',
        "b.js": 'export { two } from "./c.js";\nexport const b = "from ./none.js";\n',
        "c.js": '/** @typedef {import("./none.js").X} X */\nimport { first } from "./first.js";\n',
        "other.js": 'import "what nobody asks for";\n',
    }
    for name, text in modules.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "index.html").write_text("<head>\n    <!-- modules: first.js -->\n  </head>\n")
    pages = Pages(tmp_path)
    page = pages.get("index.html")
    assert page is not None
    assert page.body.decode().replace(pages.version, "V").split("\n")[1:-2] == [
        '    <script type="module" src="/assets/V/first.js"></script>',
        '    <link rel="modulepreload" href="/assets/V/b.js">',
        '    <link rel="modulepreload" href="/assets/V/c.js">',
    ]


def test_every_page_has_its_modules_announced() -> None:
    """No page names modules itself: what a module imports changes more often than pages do."""
    for page in WEB.glob("*.html"):
        assert len(re.findall(r"<!-- modules: [a-z-]+\.js -->", page.read_text())) == 1, page.name
        assert not re.search(r'rel="modulepreload"|type="module"', page.read_text()), page.name


@pytest.mark.parametrize(
    ("header", "hit"), [(None, False), ("*", True), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ('"b"', False)]
)
def test_entity_tags_are_compared_weakly(header: str | None, hit: bool) -> None:
    assert matches(header, '"a"') == hit


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        (("same-origin",), "https://typing.example", False),
        (("https://typing.example",), "https://typing.example", True),
        (("https://typing.example",), "https://typing.example.evil", False),
        (("https://*.typing.example",), "https://a.typing.example", True),
        (("https://*.typing.example",), "https://typing.example", False),
        (("https://*.typing.example",), "http://a.typing.example", False),
        (("https://*.typing.example",), "https://eviltyping.example", False),
        (("*",), "https://any.example", True),
        (("same-origin",), "same-origin", False),
        (("same-origin",), "null", False),
    ],
)
def test_pages_of_other_origins_read_what_the_settings_allow(
    origins: tuple[str, ...], origin: str, allowed: bool
) -> None:
    assert allowing(origins)(origin) == allowed
