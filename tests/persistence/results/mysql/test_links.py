"""Guests' links to accounts on several shards: which shard has what, and what is left when a claim is cut off."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from persistence.mysql import Pool
from persistence.results import Linked
from persistence.results.mysql import MysqlResults
from session.identity import bucket_of_user
from tests.persistence.mysql_shards import MysqlShards, plan
from tests.persistence.samples import T0_MS, sample, texts

GUEST_A = next(-user for user in range(1, 99) if bucket_of_user(-user) < 2048)
ACCOUNT_B, OTHER_B = [user for user in range(1, 99) if bucket_of_user(user) >= 2048][:2]
ACCOUNT_A = next(user for user in range(1, 99) if bucket_of_user(user) < 2048)


@pytest.fixture
async def store(mysql_shards: MysqlShards) -> AsyncIterator[MysqlResults]:
    mysql_shards.clear()
    async with MysqlResults(mysql_shards.options, texts=texts(), clock_ms=lambda: T0_MS) as store:
        yield store


def links(shards: MysqlShards, shard: str) -> list[tuple[int, ...]]:
    return shards.ask(shard, "SELECT guest_id, account_id FROM guest_links")


def listed(shards: MysqlShards, shard: str) -> list[tuple[int, ...]]:
    return shards.ask(shard, "SELECT account_id, guest_id FROM account_guests")


async def test_the_guest_s_shard_says_whose_it_is_and_the_account_s_whom_it_has(
    store: MysqlResults, mysql_shards: MysqlShards
) -> None:
    assert await store.link(GUEST_A, ACCOUNT_B) is Linked.NEW
    assert (links(mysql_shards, "a"), links(mysql_shards, "b")) == ([(GUEST_A, ACCOUNT_B)], [])
    assert (listed(mysql_shards, "a"), listed(mysql_shards, "b")) == ([], [(ACCOUNT_B, GUEST_A)])


@pytest.mark.parametrize("account", [ACCOUNT_A, ACCOUNT_B], ids=["of the same shard", "of another shard"])
async def test_rows_stay_where_they_are(store: MysqlResults, mysql_shards: MysqlShards, account: int) -> None:
    results = [sample(i, user=user) for i in range(3) for user in (GUEST_A, account)]
    await store.write(results)
    before = [mysql_shards.ask(shard, "SELECT * FROM test_results ORDER BY id") for shard in ("a", "b")]
    await store.link(GUEST_A, account)
    guests = await store.guests_of(account)
    page = await store.by_user(account, guests=guests)
    assert list(page.results) == sorted(results, key=lambda result: result.session, reverse=True)
    assert before == [mysql_shards.ask(shard, "SELECT * FROM test_results ORDER BY id") for shard in ("a", "b")]


async def test_a_claim_that_was_cut_off_halfway_is_completed_by_the_next_one(
    store: MysqlResults, mysql_shards: MysqlShards
) -> None:
    """The process died when it had won the guest and not listed it: nobody else gets it, and it is read by nobody."""
    pool = Pool(mysql_shards.dsns["b"], mysql_shards.options)
    async with pool.connection(60_000) as connection:
        await connection.run("BEGIN")
        await connection.ask("SELECT shard FROM shard_state FOR UPDATE")  # nothing is written in b meanwhile
        async with asyncio.TaskGroup() as group:
            claim = group.create_task(store.link(GUEST_A, ACCOUNT_B))
            while not await asyncio.to_thread(links, mysql_shards, "a"):
                assert not claim.done()
            claim.cancel()
        await connection.run("ROLLBACK")
    await pool.close()
    assert await store.guests_of(ACCOUNT_B) == ()
    assert await store.link(GUEST_A, OTHER_B) is Linked.TAKEN
    assert await store.link(GUEST_A, ACCOUNT_B) is Linked.NEW
    assert await store.guests_of(ACCOUNT_B) == (GUEST_A,)


async def test_a_claim_made_again_reaches_the_shard_that_the_first_one_did_not(
    store: MysqlResults, mysql_shards: MysqlShards
) -> None:
    """The account's bucket moves, and the second of its two shards was away when the guest was listed in the first."""
    moving = f"({bucket_of_user(ACCOUNT_B)}, 'b', 'a', 'copying', 1)"
    for shard in ("a", "b"):
        mysql_shards.ask(
            shard,
            f"INSERT INTO bucket_moves (bucket, source, target, phase, number) VALUES {moving}",
            "UPDATE shard_state SET moved = 1",
        )
    assert await store.link(GUEST_A, ACCOUNT_B) is Linked.NEW
    assert listed(mysql_shards, "a") == listed(mysql_shards, "b") == [(ACCOUNT_B, GUEST_A)]
    mysql_shards.ask("a", "DELETE FROM account_guests")
    assert await store.link(GUEST_A, ACCOUNT_B) is Linked.SAME
    assert listed(mysql_shards, "a") == [(ACCOUNT_B, GUEST_A)]


async def test_guests_are_read_from_their_index(mysql_shards: MysqlShards) -> None:
    (told,) = plan(mysql_shards.dsns["a"], "SELECT guest_id FROM account_guests WHERE account_id = 7")
    assert told["key"] == "PRIMARY"
