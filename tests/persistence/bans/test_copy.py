"""The copy of the bans: the same again, or nothing."""

import os
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from persistence.bans import Ban, BanCopy, read_who
from persistence.copyfile import CopyFile

BANS = (
    *(Ban(number, "a bot \U0001f916", "ops", 5) for number in range(1, 700)),
    Ban(read_who("2001:db8::/32"), "a flood", "ops", 5, 1_000),
)


@pytest.fixture(name="copy")
def _copy(tmp_path: Path) -> BanCopy:
    return BanCopy(tmp_path / "bans.copy", database="content at db:3306")


def test_what_was_saved_is_loaded(copy: BanCopy, tmp_path: Path) -> None:
    """But for what is over by then; nobody else may read it; a later one takes its place."""
    assert copy.load(now_ms=0) is None
    copy.save(BANS, now_ms=70)
    assert copy.load(now_ms=999) == (70, BANS)
    assert copy.load(now_ms=1_000) == (70, BANS[:-1])
    assert (tmp_path / "bans.copy").stat().st_mode & 0o777 == 0o600
    copy.save((), now_ms=80)
    assert copy.load(now_ms=0) == (80, ())
    assert os.listdir(tmp_path) == ["bans.copy"]


def test_what_is_no_copy_of_these_bans_is_none(copy: BanCopy, tmp_path: Path) -> None:
    """Cut off, changed, of another database, or of rows that are no bans; it is said."""
    copy.save(BANS, now_ms=70)
    whole = (tmp_path / "bans.copy").read_bytes()
    with capture_logs() as said:
        for damaged in (b"", whole[:-1], whole[:900] + bytes([whole[900] ^ 1]) + whole[901:]):
            (tmp_path / "bans.copy").write_bytes(damaged)
            assert copy.load(now_ms=0) is None
        wrong: list[list[Any]] = [[[["nobody", "x", "ops", 1, None]]], [[7]], [[]], [{}, 1]]
        for pieces in wrong:
            CopyFile(tmp_path / "bans.copy", what="x", layout=1, database="content at db:3306").save([], pieces)
            assert copy.load(now_ms=0) is None
        (tmp_path / "bans.copy").write_bytes(whole)
        assert BanCopy(tmp_path / "bans.copy", database="elsewhere").load(now_ms=0) is None
    assert len(said) == 8
