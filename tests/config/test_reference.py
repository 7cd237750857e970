"""`typegate.toml` is what the code says."""

import dataclasses
import tomllib
from pathlib import Path

import pytest

import config
from config.reference import meanings, render
from config.settings import Settings, load

FILE = Path(config.__file__).parent / "typegate.toml"


def test_the_file_is_the_code_s() -> None:
    assert FILE.read_text() == render(), "write it anew: python -m config.reference > config/typegate.toml"


def test_every_setting_has_a_meaning() -> None:
    for section, info in Settings.model_fields.items():
        options = info.get_default(call_default_factory=True)
        names = {field.name for field in dataclasses.fields(options)}
        assert names == set(meanings(type(options))), section


def test_as_it_stands_it_changes_nothing() -> None:
    assert all(not table for table in tomllib.loads(FILE.read_text()).values())


def test_with_every_line_taken_in_it_gives_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands commented is what holds, and each line is valid as it stands."""
    monkeypatch.chdir(tmp_path)
    lines = FILE.read_text().splitlines()
    path = tmp_path / "typegate.toml"
    path.write_text("\n".join(line[1:] if line.startswith("#") and line[1:2].isalpha() else line for line in lines))
    taken, default = load(environ={}), Settings()
    for section in Settings.model_fields:
        before, after = dataclasses.asdict(getattr(default, section)), dataclasses.asdict(getattr(taken, section))
        if section == "node":
            assert after.pop("name") == "node-1"
            before.pop("name")
        assert after == before
