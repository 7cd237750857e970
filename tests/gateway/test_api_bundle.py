"""The catalogue as files."""

from pathlib import Path

import httpx

from gateway.api.bundle import write_bundle
from persistence.catalogue import EmbeddedCatalogue
from tests.gateway.running import command, serving


def _times(folder: Path) -> dict[Path, int]:
    """When each file was written last, half-written ones too."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


async def test_each_file_is_the_apis_answer(tmp_path: Path) -> None:
    """Byte for byte."""
    folder = tmp_path / "content"
    async with EmbeddedCatalogue(None) as catalogue:
        *_, last = write_bundle(catalogue.shelf, folder)
        shelf = catalogue.shelf
    assert last.files == last.total == last.changed == len(list(folder.rglob("*.json")))
    async with serving(tmp_path / "data") as (_, client):
        api: httpx.AsyncClient = client
        assert (folder / "v1/languages.json").read_bytes() == (await api.get("/v1/languages")).content
        for test in shelf.current():
            answer = (await api.get(f"/v1/tests/{test.id}")).content
            assert (folder / f"v1/tests/{test.id}.json").read_bytes() == answer
            assert (folder / f"v1/tests/{test.id}.{test.version}.json").read_bytes() == answer


async def test_a_second_export_leaves_what_has_not_changed(tmp_path: Path) -> None:
    """A damaged file is mended, all others keep their times, which are their tags at a web server."""
    async with EmbeddedCatalogue(None) as catalogue:
        *_, first = write_bundle(catalogue.shelf, tmp_path)
        languages = tmp_path / "v1" / "languages.json"
        whole = languages.read_bytes()
        languages.write_bytes(whole[:10])
        before = _times(tmp_path)
        *_, second = write_bundle(catalogue.shelf, tmp_path)
    assert (second.total, second.changed) == (first.total, 1)
    assert languages.read_bytes() == whole
    after = _times(tmp_path)
    assert {path for path in after if after[path] != before.get(path)} == {languages}


async def test_the_command(tmp_path: Path) -> None:
    """It says how much it wrote, and what to do where it cannot."""
    code, output, errors = await command("tests", "export", "content", folder=tmp_path)
    assert code == 0, errors
    files = len(list((tmp_path / "content").rglob("*.json")))
    assert f"content holds {files} files; {files} of them are new or changed." in output
    assert "; 0 of them" in (await command("tests", "export", "content", folder=tmp_path))[1]
    (tmp_path / "taken").write_text("")
    code, _, errors = await command("tests", "export", "taken/content", folder=tmp_path)
    assert code == 1
    assert "cannot be written: Not a directory" in errors
    assert "Traceback" not in errors
