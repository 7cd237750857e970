import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import pytest

from persistence.lock import FileLock


def test_a_lock_is_held_by_one_and_free_again_after_release(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    lock = FileLock.take(path)
    assert lock is not None
    assert FileLock.take(path) is None
    assert FileLock.holder(path) == f"process {os.getpid()}"
    lock.release()
    lock.release()
    again = FileLock.take(path)
    assert again is not None
    again.release(remove=True)
    assert not path.exists()


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    """Killed with SIGKILL, a holder leaves a lock that the next one takes, whatever process id is written in it."""
    path = tmp_path / "x.lock"
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; from persistence.lock import FileLock\n"
            "lock = FileLock.take(Path(sys.argv[1])); print(lock is not None, flush=True); time.sleep(60)",
            str(path),
        ],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"True\n"
        assert FileLock.take(path) is None
        assert FileLock.holder(path) == f"process {child.pid}"
        child.kill()
        child.wait()
    lock = FileLock.take(path)
    assert lock is not None
    lock.release()


def test_a_lock_file_removed_by_its_last_holder_is_not_taken_for_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    first = FileLock.take(path)
    assert first is not None
    path.unlink()
    second = FileLock.take(path)  # a new file: a lock of its own
    assert second is not None
    assert FileLock.take(path) is None
    first.release()
    assert FileLock.take(path) is None
    second.release()


def test_who_looks_keeps_nobody_from_holding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several may look at a time; who wants to hold it waits for them, and nobody looks while it is held."""
    path = tmp_path / "x.lock"
    first, second = FileLock.look(path), FileLock.look(path)
    assert first is not None
    assert second is not None
    looks = [first, second]
    monkeypatch.setattr("persistence.lock.time.sleep", lambda _: looks.pop().release())
    lock = FileLock.take(path)
    assert lock is not None
    assert not looks
    assert FileLock.look(path) is None
    lock.release()


def test_a_damaged_lock_file_names_no_process(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.write_bytes(b"\xff\x00 not a number")
    assert FileLock.holder(path) == FileLock.holder(tmp_path / "none") == "another process"


def test_holders_who_remove_the_file_never_overlap(tmp_path: Path) -> None:
    """Who waited for a lock whose file is removed meanwhile tries the new file: at any time there is one holder."""
    path = tmp_path / "x.lock"
    alone = Lock()

    def hold_often() -> int:
        for _ in range(300):
            lock = FileLock.wait_for(path)
            assert alone.acquire(blocking=False), "two holders at once"
            alone.release()
            lock.release(remove=True)
        return 300

    with ThreadPoolExecutor(4) as threads:
        assert [done.result() for done in [threads.submit(hold_often) for _ in range(4)]] == [300] * 4
    assert not path.exists()


def test_a_lock_holds_even_where_its_holder_cannot_be_written() -> None:
    lock = FileLock.take(Path("/dev/full"))
    assert lock is not None
    assert FileLock.take(lock.path) is None
    lock.release()
