"""What lies in a spool's folder: slots, spools that others left, files that are damaged."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from persistence.errors import StoreError
from persistence.lock import FileLock
from persistence.stream import Spool, SpoolOptions, spoolfile
from persistence.stream.spoolfile import Row, open_slot
from tests.persistence.samples import sample
from tests.persistence.stream.test_spool import crash, drain


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def leave(folder: Path, first: int, count: int, slot: int) -> None:
    """Put results and leave them in a slot's file as a killed process does."""
    scratch = folder.parent / f"scratch-{slot}"
    async with Spool(scratch) as spool:
        for i in range(first, first + count):
            await spool.put(sample(i))
        left = crash(scratch, folder.parent / f"left-{slot}")
    move(left, folder, slot)


def move(left: Path, folder: Path, slot: int) -> None:
    folder.mkdir(exist_ok=True)
    for path in left.iterdir():
        path.rename(folder / path.name.replace("spool-0", f"spool-{slot}"))


async def test_two_processes_on_one_folder_have_a_spool_each(tmp_path: Path) -> None:
    async with Spool(tmp_path) as first, Spool(tmp_path) as second:
        await first.put(sample(0))
        await second.put(sample(1))
        assert await drain(first) == [sample(0)]
        assert await drain(second) == [sample(1)]
        assert {"spool-0.db", "spool-1.db"} <= names(tmp_path)


async def test_spools_that_others_left_are_adopted_in_order_and_removed(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    await leave(folder, 0, 600, slot=0)
    await leave(folder, 600, 5, slot=3)
    await leave(folder, 605, 5, slot=7)
    async with Spool(folder) as spool:
        assert (spool.facts().rows, spool.facts().adopted_rows) == (610, 10)
        assert await drain(spool) == [sample(i) for i in range(610)]
        assert {name for name in names(folder) if name.endswith((".db", ".lock"))} == {"spool-0.db", "spool-0.lock"}


async def test_who_lists_spools_keeps_no_server_from_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody looks at just then is taken, and adopted, when the look is over; not by a later start alone."""
    folder = tmp_path / "spool"
    await leave(folder, 0, 3, slot=0)
    await leave(folder, 3, 2, slot=4)
    looks = [look for slot in (0, 4) if (look := FileLock.look(folder / f"spool-{slot}.lock")) is not None]
    monkeypatch.setattr("persistence.lock.time.sleep", lambda _: looks.pop(0).release())
    assert [found.rows for found in spoolfile.survey(folder)] == [3, 2]
    assert len(looks) == 2
    slot = open_slot(folder, max_file_bytes=2**30, now_ms=0)
    assert not looks
    assert (slot.path.name, slot.adopted_rows) == ("spool-0.db", 2)
    slot.connection.close()
    slot.lock.release()


async def test_a_spool_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    async with Spool(tmp_path) as first, Spool(tmp_path) as second:
        await second.put(sample(1))
        async with Spool(tmp_path) as third:
            assert third.facts().rows == 0
        assert await drain(second) == [sample(1)]
        assert first.facts().adopted_rows == 0


async def test_a_spool_without_its_lock_file_is_adopted(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    await leave(folder, 0, 3, slot=9)
    async with Spool(folder) as spool:
        assert await drain(spool) == [sample(i) for i in range(3)]


async def test_a_crash_in_the_midst_of_adopting_shows_rows_twice_and_never_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    await leave(folder, 0, 5, slot=1)
    left = (folder / "spool-1.db").read_bytes(), (folder / "spool-1.db-wal").read_bytes()
    async with Spool(folder) as spool:
        assert spool.facts().rows == 5
    (folder / "spool-1.db").write_bytes(left[0])  # as if the deletion had not reached the disk
    (folder / "spool-1.db-wal").write_bytes(left[1])
    async with Spool(folder) as spool:
        assert await drain(spool) == [sample(i) for i in range(5)] * 2


async def test_a_file_that_is_no_database_is_set_aside_and_work_goes_on(tmp_path: Path) -> None:
    (tmp_path / "spool-0.db").write_bytes(b"not a database" * 1000)
    async with Spool(tmp_path, clock_ms=lambda: 123) as spool:
        assert spool.facts().set_aside_files == 1
        await spool.put(sample())
        assert await drain(spool) == [sample()]
    assert (tmp_path / "spool-0.salvaged-123.db").read_bytes() == b"not a database" * 1000


async def test_what_can_be_read_of_a_damaged_file_is_taken_over(tmp_path: Path) -> None:
    """A hole in the middle costs the rows in it; those before and after are there, and so is the damaged file."""
    async with Spool(tmp_path) as spool:
        for i in range(400):
            await spool.put(sample(i))
    path = tmp_path / "spool-0.db"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 8192] = os.urandom(8192)
    path.write_bytes(content)
    async with Spool(tmp_path, clock_ms=lambda: 123) as spool:
        results = await drain(spool)
        assert spool.facts().set_aside_files == 1
        assert spool.facts().adopted_rows == len(results)
    assert (tmp_path / "spool-0.salvaged-123.db").read_bytes() == content
    originals = [sample(i) for i in range(400)]
    assert 300 < len(results) < 400
    assert [result for result in originals if result in results] == results
    assert results[0] == originals[0]
    assert results[-1] == originals[-1]


async def test_damage_that_only_a_check_finds_costs_no_row(tmp_path: Path) -> None:
    """Here the list of free pages is wrong: every row can be read, but the next write might go anywhere."""
    async with Spool(tmp_path) as spool:
        for i in range(20):
            await spool.put(sample(i))
    path = tmp_path / "spool-0.db"
    content = bytearray(path.read_bytes())
    content[36:40] = (7).to_bytes(4, "big")  # the count of free pages, in the file's header
    path.write_bytes(content)
    async with Spool(tmp_path, clock_ms=lambda: 123) as spool:
        assert (spool.facts().set_aside_files, spool.facts().adopted_rows) == (1, 20)
        assert await drain(spool) == [sample(i) for i in range(20)]


async def test_a_damaged_spool_that_another_process_left_is_set_aside_too(tmp_path: Path) -> None:
    (tmp_path / "spool-1.db").write_bytes(b"not a database" * 1000)
    async with Spool(tmp_path, clock_ms=lambda: 123) as spool:
        assert spool.facts().set_aside_files == 1
        assert (tmp_path / "spool-1.salvaged-123.db").exists()
    async with Spool(tmp_path) as spool:
        assert spool.facts().set_aside_files == 0


async def test_what_does_not_fit_stays_where_it_is(tmp_path: Path) -> None:
    """A spool left by another process that has no room in ours waits, whole, for the next start."""
    folder = tmp_path / "spool"
    await leave(folder, 0, 600, slot=1)
    async with Spool(folder, SpoolOptions(max_file_bytes=150_000)) as spool:
        assert spool.facts().adopted_rows == 0
        await spool.put(sample(1000))
        assert await drain(spool) == [sample(1000)]
    async with Spool(folder) as spool:
        assert await drain(spool) == [sample(i) for i in range(600)]


def test_a_spool_of_a_newer_version_is_refused_and_kept(tmp_path: Path) -> None:
    open_slot(tmp_path, max_file_bytes=2**20, now_ms=0).connection.close()
    with sqlite3.connect(tmp_path / "spool-0.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    (tmp_path / "spool-0.lock").unlink()  # its holder is this test
    with pytest.raises(StoreError, match="newer Typegate"):
        open_slot(tmp_path, max_file_bytes=2**20, now_ms=0)
    lock = FileLock.take(tmp_path / "spool-0.lock")
    assert lock is not None, "a refused start keeps no lock"
    lock.release()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot use the spool folder"):
        open_slot(tmp_path / "file" / "spool", max_file_bytes=2**20, now_ms=0)


def refused(folder: Path, *, match: str, max_file_bytes: int = 2**20) -> StoreError:
    """Open a folder whose spool cannot be opened; nobody may be kept out by a lock afterwards."""
    with pytest.raises(StoreError, match=match) as raised:
        open_slot(folder, max_file_bytes=max_file_bytes, now_ms=123)
    lock = FileLock.take(folder / "spool-0.lock")
    assert lock is not None, "a refused start keeps no lock"
    lock.release()
    return raised.value


def test_a_spool_that_cannot_be_opened_is_a_clear_error(tmp_path: Path) -> None:
    """Here its name is a folder's; it is no damage, so nothing is renamed."""
    (tmp_path / "spool-0.db").mkdir()
    refused(tmp_path, match="cannot open the spool")
    assert names(tmp_path) == {"spool-0.db", "spool-0.lock"}


async def test_a_spool_that_another_process_left_and_cannot_be_opened_stays(tmp_path: Path) -> None:
    (tmp_path / "spool-1.db").mkdir()
    async with Spool(tmp_path) as spool:
        await spool.put(sample())
        assert await drain(spool) == [sample()]
    assert (tmp_path / "spool-1.db").is_dir()


async def damage(folder: Path, number: int, *, slot: int = 0) -> bytes:
    """Leave a spool with so many rows that a check finds damaged, though each row can be read; its content."""
    async with Spool(folder) as spool:
        for i in range(number):
            await spool.put(sample(i, replay_bytes=10_000))
    content = bytearray((folder / "spool-0.db").read_bytes())
    content[36:40] = (7).to_bytes(4, "big")  # the count of free pages, in the file's header
    (folder / "spool-0.db").unlink()
    (folder / f"spool-{slot}.db").write_bytes(content)
    return bytes(content)


@pytest.mark.parametrize("slot", [0, 3], ids=["own", "another's"])
async def test_a_damaged_spool_that_does_not_fit_waits_for_a_start_that_has_room(tmp_path: Path, slot: int) -> None:
    """Work goes on meanwhile; nothing of the file is lost, whichever start reads it."""
    content = await damage(tmp_path, 20, slot=slot)
    small = SpoolOptions(max_file_bytes=65_536, max_rows=1_000)
    for set_aside in (1, 0):
        async with Spool(tmp_path, small, clock_ms=lambda: 123) as spool:
            assert (spool.facts().set_aside_files, spool.facts().adopted_rows) == (set_aside, 0)
            await spool.put(sample(100, replay_bytes=1_000))
            assert await drain(spool) == [sample(100, replay_bytes=1_000)]
        assert (tmp_path / f"spool-{slot}.damaged-123.db").read_bytes() == content
    async with Spool(tmp_path) as spool:
        assert spool.facts().adopted_rows == 20
        assert await drain(spool) == [sample(i, replay_bytes=10_000) for i in range(20)]
    assert (tmp_path / f"spool-{slot}.salvaged-123.db").read_bytes() == content
    async with Spool(tmp_path) as spool:
        assert spool.facts().rows == 0
    assert set(os.listdir(tmp_path)) == {"spool-0.db", "spool-0.lock", f"spool-{slot}.salvaged-123.db"}


def test_a_folder_whose_spools_are_all_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoolfile, "_SLOTS", 2)
    slots = [open_slot(tmp_path, max_file_bytes=2**20, now_ms=0) for _ in range(2)]
    with pytest.raises(StoreError, match=r"all 2 spools of .* are in use"):
        open_slot(tmp_path, max_file_bytes=2**20, now_ms=0)
    for slot in slots:
        slot.connection.close()
        slot.lock.release()


def test_deleting_leaves_what_comes_next_as_durable_as_before(tmp_path: Path) -> None:
    """Deleting waits for no disk; the next result does."""
    slot = open_slot(tmp_path, max_file_bytes=2**20, now_ms=0)
    spoolfile.insert(slot.connection, [Row(1, 0, 0, b"x")])
    spoolfile.delete(slot.connection, [1])
    assert slot.connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    slot.connection.close()
    slot.lock.release()


def test_a_killed_process_leaves_its_spool_to_the_next(tmp_path: Path) -> None:
    """The lock dies with its holder, so nothing is compared, cleaned up or waited for."""
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; from persistence.stream.spoolfile import open_slot\n"
            "slot = open_slot(Path(sys.argv[1]), max_file_bytes=2**20, now_ms=0); print('open', flush=True)\n"
            "time.sleep(60)",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"open\n"
        child.kill()
        child.wait()
    slot = open_slot(tmp_path, max_file_bytes=2**20, now_ms=0)
    assert slot.path.name == "spool-0.db"
    slot.connection.close()
    slot.lock.release()


async def test_a_file_that_grew_large_shrinks_when_it_is_empty(tmp_path: Path) -> None:
    async with Spool(tmp_path) as spool:
        for i in range(0, 400, 50):
            for j in range(50):
                spool.put(sample(i + j, replay_bytes=60_000))
            await spool.sync()
        assert len(await drain(spool)) == 400
    assert (tmp_path / "spool-0.db").stat().st_size > 16 * 2**20
    async with Spool(tmp_path):
        pass
    assert (tmp_path / "spool-0.db").stat().st_size < 2**20
