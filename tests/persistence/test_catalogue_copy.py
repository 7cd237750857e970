"""The copy of the content database: the same again, or nothing."""

import errno
import os
from pathlib import Path

import pytest

from persistence.catalogue.copy import CatalogueCopy, Contents
from persistence.catalogue.entries import Test, WordList

CONTENTS = Contents(
    {
        (number, version): Test(number, version, "Títle", "Some text.", "notes", "easy", "en", 2, 5, source)
        for number, version, source in (
            (number, 1 + number % 2, "a book" if number % 3 else None) for number in range(200)
        )
    },
    {(language, 1001): WordList(language, 1001, "Name", "rtl", ("a", "b")) for language in ("he", "ar", "fa")},
    (17, bytes(range(16))),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalogue.copy"


@pytest.fixture
def copy(path: Path) -> CatalogueCopy:
    return CatalogueCopy(path, database="content at db:3306")


def test_what_was_saved_is_loaded(copy: CatalogueCopy, path: Path) -> None:
    """All versions, and how far the database's history was; nobody else may read it; a later one takes its place."""
    assert copy.load() is None
    copy.save(CONTENTS)
    assert copy.load() == CONTENTS
    assert path.stat().st_mode & 0o777 == 0o600
    empty = Contents({}, {}, (18, bytes(16)))
    copy.save(empty)
    assert copy.load() == empty
    assert os.listdir(path.parent) == [path.name]


def test_a_damaged_copy_is_none(copy: CatalogueCopy, path: Path) -> None:
    """Cut off anywhere, or with any byte changed."""
    copy.save(CONTENTS)
    whole = path.read_bytes()
    for end in (0, 1, 15, 16, 17, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert copy.load() is None
    for at in range(0, len(whole), 97):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert copy.load() is None


def test_a_copy_of_another_database_is_none(copy: CatalogueCopy, path: Path) -> None:
    """Its tests may have the same numbers."""
    copy.save(CONTENTS)
    assert CatalogueCopy(path, database="content at elsewhere:3306").load() is None


def test_without_its_folder_there_is_no_copy(tmp_path: Path) -> None:
    """A worker has no data folder, and makes none."""
    CatalogueCopy(tmp_path / "none" / "catalogue.copy", database="d").save(CONTENTS)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_the_last_copy(copy: CatalogueCopy, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing beside it."""
    copy.save(CONTENTS)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        copy.save(Contents({}, {}, (18, bytes(16))))
    assert copy.load() == CONTENTS
    assert os.listdir(path.parent) == [path.name]
