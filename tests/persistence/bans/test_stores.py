"""What every store of bans promises."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from persistence.bans import Ban, BanOptions, BanStore, SqliteBans, Who, read_who
from persistence.bans.mysql import MysqlBans
from persistence.errors import StoreError
from tests.persistence.mysql_shards import patient

Opener = Callable[..., BanStore]
DAY_MS = 86_400_000
T0_MS = 1_767_225_600_000
USER = Ban(17, "a bot \U0001f916", "ops", T0_MS, T0_MS + DAY_MS)
NETWORK = Ban(read_who("2001:db8::/32"), "a flood", "ops", T0_MS + 1)


@pytest.fixture(name="opened", params=["sqlite", "mysql"])
def _opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Opens stores of the same data, which is empty."""
    if request.param == "sqlite":
        return lambda **options: SqliteBans(tmp_path / "bans.db", BanOptions(**options))
    database = request.getfixturevalue("content_database")
    return lambda **options: MysqlBans(patient(content=database), BanOptions(**options))


async def test_bans_are_kept_as_they_were_made(opened: Opener) -> None:
    """Every field, for another process too."""
    async with opened() as store:
        assert list(await store.read(now_ms=T0_MS)) == []
        for ban in (USER, NETWORK):
            await store.add(ban)
    async with opened() as other:
        assert set(await other.read(now_ms=T0_MS)) == {USER, NETWORK}
        assert set(await other.read(now_ms=T0_MS + DAY_MS)) == {NETWORK}


async def test_of_one_there_is_one_ban_the_last(opened: Opener) -> None:
    """Adding is changing."""
    async with opened() as store:
        await store.add(USER)
        changed = replace(USER, reason="appeal", until_ms=None)
        await store.add(changed)
        assert list(await store.read(now_ms=T0_MS)) == [changed]


async def test_a_change_has_another_mark_for_everybody(opened: Opener) -> None:
    """And nothing but a change has."""
    async with opened() as one, opened() as other:
        marks = [await other.mark()]
        assert await other.mark() == marks[0]
        await one.add(USER)
        marks.append(await other.mark())
        assert await one.remove(USER.who)
        marks.append(await other.mark())
        assert len(set(marks)) == 3
        assert not await one.remove(USER.who)
        assert list(await other.read(now_ms=T0_MS)) == []


async def test_what_changed_since_a_mark_is_told(opened: Opener) -> None:
    """Each once, as it is by now, to whoever knows the mark before; all of one moment."""
    async with opened() as one, opened() as other:
        await one.add(USER)
        mark = await other.mark()
        assert await other.since(mark) == (mark, (), ())
        await one.add(NETWORK)
        await one.add(replace(NETWORK, reason="still"))
        assert await one.remove(USER.who)
        await one.add(other_ban := Ban(-4, "x", "ops", T0_MS))
        await one.add(gone := Ban(18, "x", "ops", T0_MS))
        await one.remove(gone.who)
        changes = await other.since(mark)
        assert changes is not None
        assert changes.mark == await other.mark()
        assert set(changes.made) == {replace(NETWORK, reason="still"), other_ban}
        assert set(changes.ended) == {USER.who, gone.who}
        assert await other.since(changes.mark) == (changes.mark, (), ())
        await one.add(USER)
        again = await other.since(changes.mark)
        assert again is not None
        assert (again.made, again.ended) == ((USER,), ())


async def test_what_is_no_change_leaves_the_mark(opened: Opener) -> None:
    """Removing nobody, and an addition that is refused."""
    async with opened(most=1) as store:
        await store.add(USER)
        mark = await store.mark()
        assert not await store.remove(NETWORK.who)
        with pytest.raises(StoreError):
            await store.add(NETWORK)
        assert await store.since(mark) == (mark, (), ())
        assert await store.mark() == mark


async def test_of_a_mark_that_is_not_known_nothing_is_told(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too long ago, too many changes since, of another history, or changed by who takes no notes: all is to be read."""
    monkeypatch.setattr("persistence.bans.rows.MOST_CHANGES", 2)
    for module in ("sqlite", "mysql"):
        monkeypatch.setattr(f"persistence.bans.{module}.MOST_CHANGES", 2)
        monkeypatch.setattr(f"persistence.bans.{module}.KEPT_CHANGES", 3)
    async with opened() as store:
        fresh = await store.mark()
        assert await store.since(fresh) is None
        marks = []
        for number in range(1, 6):
            await store.add(Ban(number, "x", "ops", T0_MS))
            marks.append(await store.mark())
        told = [await store.since(mark) for mark in marks]
        assert [changes and len(changes.made) for changes in told] == [None, None, 2, 1, 0]
        assert await store.since(b"another history!") is None
        await _unnoted(store)
        assert await store.since(marks[-1]) is None
        assert await store.mark() != marks[-1]


async def _unnoted(store: BanStore) -> None:
    """A change by an earlier version."""
    if isinstance(store, MysqlBans):
        async with store._pool.connection(60_000) as connection:
            await connection.run("UPDATE ban_mark SET mark = '0123456789abcdef'")
    elif isinstance(store, SqliteBans):
        await store._thread.run(lambda connection: connection.execute("UPDATE mark SET mark = ?", (b"0" * 16,)))


async def test_there_is_a_most_and_what_is_over_does_not_count(opened: Opener) -> None:
    """The one too many is not kept; a ban may be changed all the same, and time makes room."""
    async with opened(most=2) as store:
        await store.add(USER)
        await store.add(NETWORK)
        before = await store.mark()
        with pytest.raises(StoreError, match=r"there are 2 bans, .*bans\.most") as caught:
            await store.add(Ban(18, "x", "ops", T0_MS))
        assert not caught.value.retriable
        assert await store.mark() == before
        await store.add(replace(NETWORK, reason="still"))
        await store.add(Ban(18, "x", "ops", T0_MS + DAY_MS))
        assert {ban.who for ban in await store.read(now_ms=T0_MS)} == {NETWORK.who, 18}


async def test_changes_at_once_are_all_there(opened: Opener) -> None:
    """From several processes; more of them than are read at once."""
    async with opened() as one, opened() as other:
        bans = [Ban(number, "x", "ops", T0_MS) for number in range(1, 41)]
        await asyncio.gather(*(_added((one, other)[ban.since_ms % 2 ^ hash(ban.who) % 2], ban) for ban in bans))
        assert set(await one.read(now_ms=T0_MS)) == set(bans)


async def _added(store: BanStore, ban: Ban) -> None:
    """Add it, again and again while that may help: one waits for all others, and a database lets nobody wait long."""
    while True:
        try:
            return await store.add(ban)
        except StoreError as error:
            if not error.retriable:
                raise


async def test_many_are_read_in_parts(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, each once."""
    monkeypatch.setattr("persistence.bans.mysql._AT_ONCE", 3)
    async with opened() as store:
        bans = [Ban(number, "x", "ops", T0_MS) for number in range(1, 10)]
        for ban in bans:
            await store.add(ban)
        assert sorted((ban.who for ban in await store.read(now_ms=T0_MS)), key=str) == list(range(1, 10))


async def test_bans_are_made_of_what_changed_and_not_on_the_event_loop(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are: of those that were read before there is nothing to be made."""
    made: list[tuple[str, int]] = []

    def read(who: str) -> Who:
        made.append((who, threading.get_ident()))
        return read_who(who)

    monkeypatch.setattr("persistence.bans.rows.read_who", read)
    async with opened() as store:
        for ban in (USER, NETWORK):
            await store.add(ban)
        before = await store.read(now_ms=T0_MS)
        assert {who for who, _ in made} == {"17", "2001:db8::/32"}
        await store.add(replace(USER, reason="appeal"))
        await store.add(Ban(18, "x", "ops", T0_MS))
        await store.remove(NETWORK.who)
        await store.add(NETWORK)
        after = await store.read(now_ms=T0_MS)
        assert [who for who, _ in made[2:]] == ["17", "18"]
        assert threading.get_ident() not in {thread for _, thread in made}
        assert {ban for ban in after if ban in set(before)} == {NETWORK}


async def test_a_store_that_cannot_be_is_a_fault(tmp_path: Path) -> None:
    """A database that is away fails when it is asked, a file that is none when it is opened."""
    (tmp_path / "bans.db").write_text("no database at all, but long enough to have been one")
    with pytest.raises(StoreError, match=r"bans\.db"):
        await SqliteBans(tmp_path / "bans.db").__aenter__()
    async with MysqlBans(patient(content="mysql://u@127.0.0.1:1/content")) as store:
        with pytest.raises(StoreError, match="cannot connect") as caught:
            await store.mark()
        assert caught.value.retriable
