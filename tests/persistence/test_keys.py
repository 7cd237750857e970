import stat
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from persistence.errors import FolderError
from persistence.keys import KEPT_MS, SETTLED_MS, KeyFile, load_keys, rotate_keys
from session.receipt import Forged, Purpose


def entropy() -> Callable[[int], bytes]:
    """Bytes that differ from call to call."""
    calls = iter(range(256))
    return lambda count: bytes([next(calls)]) * count


DAY_MS = 86_400_000


def test_keys_are_made_once_and_kept_private(tmp_path: Path) -> None:
    path, chance = tmp_path / "keys.json", entropy()
    made = load_keys(path, now_ms=0, entropy=chance)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    loaded = load_keys(path, now_ms=1, entropy=chance)
    assert loaded.open(Purpose.TICKET, made.seal(Purpose.TICKET, b"x")) == b"x"
    assert [name.name for name in tmp_path.iterdir() if name.name.endswith(".new")] == []


def test_keys_that_are_there_are_only_read(tmp_path: Path) -> None:
    """A secret that is mounted for all nodes: nothing is written beside it, not even a lock."""
    path = tmp_path / "shared" / "keys.json"
    path.parent.mkdir()
    load_keys(path, now_ms=0, entropy=entropy())
    (tmp_path / "shared" / "keys.json.lock").unlink()
    load_keys(path, now_ms=1, entropy=entropy())
    assert [name.name for name in path.parent.iterdir()] == ["keys.json"]


def test_after_a_rotation_the_new_key_seals_and_the_old_one_still_opens(tmp_path: Path) -> None:
    path, chance = tmp_path / "keys.json", entropy()
    old = load_keys(path, now_ms=0, entropy=chance)
    assert rotate_keys(path, now_ms=DAY_MS, entropy=chance) == (2, 1)
    new = load_keys(path, now_ms=DAY_MS + SETTLED_MS, entropy=chance)
    assert new.ids == (2, 1)
    assert new.open(Purpose.GUEST, old.seal(Purpose.GUEST, b"x")) == b"x"
    with pytest.raises(Forged):
        old.open(Purpose.GUEST, new.seal(Purpose.GUEST, b"x"))


def test_a_new_key_opens_at_once_and_seals_when_all_have_read_it(tmp_path: Path) -> None:
    """Processes that share the file look every 5 s: none seals with what another has not seen yet."""
    path, chance = tmp_path / "keys.json", entropy()
    first, second = KeyFile(path), KeyFile(path)
    assert first.load(now_ms=0, entropy=chance).ids == (1,)
    second.load(now_ms=0, entropy=chance)
    assert first.look(now_ms=1) is None
    rotate_keys(path, now_ms=1000, entropy=chance)
    early = first.look(now_ms=1001)
    assert early is not None
    assert early.ids == (1, 2)
    assert first.look(now_ms=999 + SETTLED_MS) is None
    late = second.look(now_ms=1000 + SETTLED_MS)
    assert late is not None
    assert late.ids == (2, 1)
    assert early.open(Purpose.TICKET, late.seal(Purpose.TICKET, b"x")) == b"x"
    rotate_keys(path, now_ms=2000 + SETTLED_MS, entropy=chance)
    rotate_keys(path, now_ms=2001 + SETTLED_MS, entropy=chance)
    again = first.look(now_ms=2002 + SETTLED_MS)
    assert again is not None
    assert again.ids == (2, 4, 3, 1)


def test_keys_that_have_gone_or_are_damaged_are_told_and_looked_at_again(tmp_path: Path) -> None:
    path, chance = tmp_path / "keys.json", entropy()
    keys = KeyFile(path)
    keys.load(now_ms=0, entropy=chance)
    good = path.read_bytes()
    path.write_bytes(b"{}")
    with pytest.raises(FolderError, match="damaged"):
        keys.look(now_ms=1)
    path.unlink()
    with pytest.raises(FolderError, match="cannot read"):
        keys.look(now_ms=1)
    path.write_bytes(good)
    path.chmod(0o600)
    back = keys.look(now_ms=1)
    assert back is not None
    assert back.ids == (1,)


def test_a_key_leaves_when_all_that_it_sealed_has_ended(tmp_path: Path) -> None:
    """Counted from its retirement, not from its making: it sealed until then."""
    path, chance = tmp_path / "keys.json", entropy()
    load_keys(path, now_ms=0, entropy=chance)
    assert rotate_keys(path, now_ms=100 * DAY_MS, entropy=chance) == (2, 1)
    assert rotate_keys(path, now_ms=100 * DAY_MS + KEPT_MS - 1, entropy=chance) == (3, 2, 1)
    assert rotate_keys(path, now_ms=100 * DAY_MS + KEPT_MS, entropy=chance) == (4, 3, 2)


def test_ids_go_round_without_meeting_a_living_one(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    load_keys(path, now_ms=0, entropy=bytes)
    for i in range(600):
        ids = rotate_keys(path, now_ms=i * 10 * DAY_MS, entropy=bytes)
        assert len(set(ids)) == len(ids) <= 6
        assert load_keys(path, now_ms=(i + 1) * 10 * DAY_MS, entropy=bytes).ids == ids


def test_too_many_living_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    load_keys(path, now_ms=0, entropy=bytes)
    for _ in range(255):
        rotate_keys(path, now_ms=1, entropy=bytes)
    with pytest.raises(FolderError, match="rotate less often"):
        rotate_keys(path, now_ms=2, entropy=bytes)


def test_keys_that_others_may_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    load_keys(path, now_ms=0, entropy=bytes)
    path.chmod(0o640)
    with pytest.raises(FolderError, match="chmod 600"):
        load_keys(path, now_ms=0, entropy=bytes)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff",
        b"{}",
        b'{"version": 2, "keys": []}',
        b'{"version": 1, "keys": []}',
        b'{"version": 1, "keys": 7}',
        b'{"version": 1, "keys": [{"id": 1, "secret": "AA", "made_ms": 0, "retired_ms": null}]}',
        b'{"version": 1, "keys": [{"id": 1, "secret": "%s", "made_ms": 0, "retired_ms": "x"}]}' % (b"A" * 43 + b"="),
        b'{"version": 1, "keys": [{"id": 1, "secret": "%s", "made_ms": 0}]}' % (b"A" * 43 + b"="),
        orjson.dumps({"version": 1, "keys": [], "x": "x" * 100_000}),
    ],
    ids=["empty", "binary", "no version", "newer", "no keys", "no list", "short", "bad time", "cut", "huge"],
)
def test_damaged_keys_are_never_replaced(tmp_path: Path, content: bytes) -> None:
    """A new ring would silently end every running test and every guest."""
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(FolderError, match=r"damaged|version"):
        load_keys(path, now_ms=0, entropy=bytes)
    with pytest.raises(FolderError):
        rotate_keys(path, now_ms=0, entropy=bytes)
    assert path.read_bytes() == content


def test_a_half_written_new_file_is_no_matter(tmp_path: Path) -> None:
    path, chance = tmp_path / "keys.json", entropy()
    (tmp_path / "keys.json.new").write_text("half")
    made = load_keys(path, now_ms=0, entropy=chance)
    assert load_keys(path, now_ms=0, entropy=chance).ids == made.ids


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="cannot"):
        load_keys(tmp_path / "none" / "keys.json", now_ms=0, entropy=bytes)
