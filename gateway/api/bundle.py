"""The catalogue as files, for a CDN or a web server to hold: the same answers as the API's, byte for byte.

    FOLDER/v1/languages.json               /v1/languages
    FOLDER/v1/tests/{id}.json              /v1/tests/{id}             the present version
    FOLDER/v1/tests/{id}.{version}.json    /v1/tests/{id}?version=N   never changes

Lists (`/v1/tests?...`) are no files: there are too many ways to ask. `config/deploy/nginx-content.conf` serves both,
lists through its cache.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from gateway.api.catalogue import languages_body, test_body
from persistence.catalogue import Shelf

__all__ = ["Written", "write_bundle"]


@dataclass(frozen=True, slots=True)
class Written:
    """What an export has done so far."""

    files: int
    """Files looked at."""
    changed: int
    """Of these, those that were written since they were new or different."""
    total: int
    """Files of the whole bundle."""


def write_bundle(shelf: Shelf, folder: Path) -> Iterator[Written]:
    """Write the bundle file by file, telling after each how far it is; unchanged files are left as they are.

    A file is there whole or not at all, and one that nothing refers to any more stays: tests are kept for ever. So it
    may be run on a folder that is being served. Raises OSError.
    """
    tests = folder / "v1" / "tests"
    tests.mkdir(parents=True, exist_ok=True)
    versions = list(shelf.versions())
    total = 1 + len(versions) + len(shelf)
    # texts before the list that leads to them
    bodies = (
        *((tests / f"{test.id}.{test.version}.json", test_body(test)) for test in versions),
        *((tests / f"{test.id}.json", test_body(test)) for test in shelf.current()),
        (folder / "v1" / "languages.json", languages_body(shelf)),
    )
    changed = 0
    for files, (path, body) in enumerate(bodies, 1):
        changed += _write(path, orjson.dumps(body))
        yield Written(files, changed, total)


def _write(path: Path, data: bytes) -> bool:
    """Put `data` there where it is not yet; whether it was not."""
    try:
        if path.read_bytes() == data:
            return False
    except FileNotFoundError:
        pass
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        half.write_bytes(data)
        half.chmod(0o644)
        half.replace(path)
    except OSError:
        half.unlink(missing_ok=True)
        raise
    return True
