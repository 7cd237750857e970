import os
import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from persistence.errors import FolderError, StoreError
from persistence.folder import DataFolder


async def test_the_folder_is_made_private(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "a" / "data")
    async with folder:
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
        assert {folder.spool.parent, folder.results.parent, folder.catalogue.parent, folder.keys.parent} == {
            folder.path
        }
        assert folder.free_bytes() > 0
        await folder.ping()


async def test_a_second_server_on_the_folder_is_refused_with_the_first_ones_id(tmp_path: Path) -> None:
    async with DataFolder(tmp_path):
        with pytest.raises(FolderError, match=rf"in use by process {os.getpid()}; stop it or name another"):
            await DataFolder(tmp_path).__aenter__()
    async with DataFolder(tmp_path):
        pass


def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(FolderError, match="is not a folder"):
        DataFolder(tmp_path / "data").open()
    with pytest.raises(FolderError, match="cannot make"):
        DataFolder(tmp_path / "data" / "below").open()


def test_a_folder_that_anybody_may_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(FolderError, match="chmod 700"):
        DataFolder(tmp_path).open()


def test_a_folder_that_others_may_read_is_said(tmp_path: Path) -> None:
    """It may be meant, for a group of operators: it works, but not without a word."""
    tmp_path.chmod(0o750)
    with capture_logs() as said:
        DataFolder(tmp_path).open()
    assert [(line["log_level"], line["mode"]) for line in said] == [("warning", "0750")]
    tmp_path.chmod(0o700)
    with capture_logs() as said:
        DataFolder(tmp_path).open()
    assert said == []


async def test_a_folder_that_cannot_be_locked_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(FolderError, match="cannot lock"):
        await DataFolder(tmp_path).__aenter__()


async def test_a_full_volume_and_a_lost_folder_fail_the_ping(tmp_path: Path) -> None:
    async with DataFolder(tmp_path / "data", min_free_bytes=2**62) as folder:
        with pytest.raises(StoreError, match="MiB are free") as raised:
            await folder.ping()
        assert raised.value.retriable
        folder.path.rename(tmp_path / "elsewhere")
        with pytest.raises(StoreError, match="is gone"):
            await folder.ping()
