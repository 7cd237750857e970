"""Tests by their ids: from the shelf, from Redis before the database, and after one was added."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from persistence.cache import CacheFacts, CacheOptions, RedisCache
from persistence.cache.contents import CONTENT_TTL_MS, Contents, forgetting
from persistence.catalogue import CatalogueError, EmbeddedCatalogue, NewTest, Test
from persistence.catalogue.builtin import built_in_tests
from persistence.catalogue.mysql import MysqlCatalogue
from persistence.redis import Call, RedisOptions, RedisServers
from tests.persistence.mysql_shards import patient

ZOO = NewTest("A zoo", "One two.", "zoo", "easy", "en", 2, id=17, source="a book")
OPTIONS = CacheOptions()


class Watched(MysqlCatalogue):
    """Counts how often the database is asked for a test; fails where it is `away`."""

    asked = 0
    away = False

    async def find(self, test_id: int, version: int | None = None) -> Test | None:
        self.asked += 1
        if self.away:
            raise CatalogueError("the content database: away", retriable=True)
        return await super().find(test_id, version)


@dataclass
class Node:
    catalogue: Watched
    servers: RedisServers
    contents: Contents


@pytest.fixture
def redis(redis_single: RedisOptions, fresh_name: Callable[[str], str]) -> RedisOptions:
    return replace(redis_single, prefix=f"{fresh_name('content')}:")


@asynccontextmanager
async def node(database: str, redis: RedisOptions) -> AsyncIterator[Node]:
    async with (
        Watched(patient(content=database), added=forgetting(redis, OPTIONS)) as catalogue,
        RedisServers(redis) as servers,
        RedisCache(servers, OPTIONS) as cache,
    ):
        yield Node(catalogue, servers, Contents(catalogue, cache))


@pytest.fixture
async def one(content_database: str, redis: RedisOptions) -> AsyncIterator[Node]:
    async with node(content_database, redis) as opened:
        yield opened


@pytest.fixture
async def two(content_database: str, redis: RedisOptions) -> AsyncIterator[Node]:
    async with node(content_database, redis) as opened:
        yield opened


async def test_what_is_on_the_shelf_costs_nobody_anything(one: Node) -> None:
    test = built_in_tests()[0]
    assert await one.contents.of(test.id, test.version) == test
    assert one.catalogue.asked == 0
    assert one.contents.facts() == CacheFacts(hits=1, misses=0, stale=0, errors=0)


async def test_what_another_node_added_is_there_before_the_next_refresh(one: Node, two: Node) -> None:
    """The first who asks reads it from the database, the others, of this node and the next, from Redis, for a day."""
    async with node_importing(one) as importer:
        await importer.add([ZOO], created_at_ms=5)
        wanted = importer.shelf.test(17)
    assert await asyncio.gather(*(one.contents.of(17) for _ in range(10))) == [wanted] * 10
    assert await two.contents.of(17) == wanted
    assert await two.contents.of(17, 1) == wanted
    assert (one.catalogue.asked, two.catalogue.asked) == (1, 1)
    key = f"{one.servers.prefix}test:17:content"
    left_ms = (await one.servers.ask(Call(key, ("PTTL", key)))).value
    assert 0.9 * CONTENT_TTL_MS - 60_000 < left_ms < 1.1 * CONTENT_TTL_MS + OPTIONS.stale_ms + 1
    await one.catalogue.refresh()
    one.catalogue.away = True
    assert await one.contents.of(17) == wanted


def node_importing(other: Node) -> MysqlCatalogue:
    """A command's catalogue on the same database, which tells the same Redis."""
    return MysqlCatalogue(other.catalogue._mysql, added=other.catalogue._added)


async def test_that_there_is_no_such_test_is_remembered_until_there_is(one: Node, two: Node) -> None:
    assert await one.contents.of(17) is None
    assert await one.contents.of(17, 1) is None
    assert await two.contents.of(17) is None
    assert (one.catalogue.asked, two.catalogue.asked) == (2, 0)
    async with node_importing(one) as importer:
        await importer.add([ZOO], created_at_ms=5)
    for each in (one, two):
        for version in (None, 1):
            found = await each.contents.of(17, version)
            assert found is not None
            assert found.title == "A zoo"


async def test_a_new_version_takes_the_place_of_the_one_before(one: Node) -> None:
    """The earlier one is kept under its number."""
    async with node_importing(one) as importer:
        await importer.add([ZOO], created_at_ms=5)
        assert await one.contents.of(17) == importer.shelf.test(17)
        assert await one.contents.of(17, 1) == importer.shelf.test(17)
        await importer.add([replace(ZOO, title="Two zoos")], created_at_ms=6)
        assert await one.contents.of(17) == importer.shelf.test(17, 2)
        assert await one.contents.of(17, 1) == importer.shelf.test(17, 1)


async def test_while_redis_is_away_the_database_is_asked_and_nothing_is_refused(content_database: str) -> None:
    nowhere = RedisOptions(url="redis://127.0.0.1:1/0", retry_min_ms=10)
    async with node(content_database, nowhere) as alone:
        async with node_importing(alone) as importer:
            await importer.add([ZOO], created_at_ms=5)
            wanted = importer.shelf.test(17)
        assert [await alone.contents.of(17) for _ in range(2)] == [wanted] * 2
        assert alone.contents.facts().errors == 2


async def test_while_the_database_is_away_what_is_in_redis_is_given_and_of_the_rest_it_is_said(
    one: Node, two: Node
) -> None:
    async with node_importing(one) as importer:
        await importer.add([ZOO], created_at_ms=5)
        wanted = importer.shelf.test(17)
    await one.contents.of(17)
    two.catalogue.away = True
    assert await two.contents.of(17) == wanted
    with pytest.raises(CatalogueError, match="away"):
        await two.contents.of(18)


async def test_on_one_machine_the_shelf_is_all_there_is() -> None:
    async with EmbeddedCatalogue(None) as catalogue:
        contents = Contents(catalogue, None)
        assert await contents.of(17) is None
        assert await contents.of(built_in_tests()[0].id) is not None
        assert contents.facts().hits == 2
