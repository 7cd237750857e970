"""The catalogue in MySQL beside what every catalogue promises: seeding, many nodes at once, a database that is away."""

import asyncio
import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pymysql
import pytest

from loadtest.servers.addresses import Addresses
from loadtest.servers.mariadb import MariaDbServer
from persistence.catalogue import Added, Catalogue, CatalogueError, CatalogueOptions, NewTest, NewWordList
from persistence.catalogue.builtin import built_in_tests, built_in_word_lists
from persistence.catalogue.entries import ASSIGNED_IDS, FIRST_IMPORTED_VERSION
from persistence.catalogue.mysql import MysqlCatalogue
from persistence.catalogue.upkeep import content_status, migrate_content
from persistence.mysql import MysqlOptions
from persistence.mysql.dsn import Dsn
from tests.persistence.mysql_shards import ask, make_database, patient
from tests.servers import skip_without

NEW = NewTest("Title", "Some text.", "notes", "easy", "en", 2)
PATIENT = CatalogueOptions(busy_ms=60_000)
WORDS = NewWordList("it", "Italiano", "ltr", ("di", "e", "il"))
BUILT_IN = len(built_in_tests()) + len(built_in_word_lists())


@pytest.fixture
def empty(mariadb_servers: Addresses, fresh_name: Callable[[str], str]) -> MysqlOptions:
    """A database without tables."""
    return patient(content=make_database(mariadb_servers["content"], fresh_name("content")))


def rows(options: MysqlOptions, statement: str) -> list[tuple[object, ...]]:
    return ask(options.content_dsn(), statement)


def count(options: MysqlOptions) -> int:
    ((number,),) = rows(options, "SELECT (SELECT COUNT(*) FROM tests) + (SELECT COUNT(*) FROM word_lists)")
    assert isinstance(number, int)
    return number


def test_the_catalogue_is_one() -> None:
    catalogue: Catalogue = MysqlCatalogue(patient(content="mysql://u@h/d"))
    assert isinstance(catalogue, MysqlCatalogue)


async def test_a_migrated_database_holds_what_is_built_in(empty: MysqlOptions) -> None:
    """Every column is as other programs would want to read it; migrating again changes nothing."""
    assert [one.version for one in (await content_status(empty))[1]] == [1, 2, 3]
    done, seeded = await migrate_content(empty)
    assert [one.title for one in done] == ["0001_content", "0002_bans", "0003_ban_changes"]
    assert seeded == Added(new=BUILT_IN)
    assert await migrate_content(empty) == ([], Added())
    assert (await content_status(empty))[1] == []
    test = built_in_tests()[0]
    ((title, text, category, difficulty, language, words, created),) = rows(
        empty,
        "SELECT title, text, category, difficulty, language, words, UNIX_TIMESTAMP(CONVERT_TZ(created_at, '+00:00', "
        f"@@time_zone)) FROM tests WHERE id = {test.id} AND version = {test.version}",
    )
    assert (title, text, category, difficulty, language, words) == (
        test.title,
        test.text,
        test.category,
        test.difficulty,
        test.language,
        test.words,
    )
    assert float(str(created)) * 1000 == test.created_at_ms
    async with MysqlCatalogue(empty) as catalogue:
        assert catalogue.shelf.test(test.id, test.version) == test


async def test_ten_nodes_that_start_at_once_put_in_what_is_missing_once(content_database: str) -> None:
    options = patient(content=content_database)
    ask(Dsn.parse(content_database), "DELETE FROM tests", "DELETE FROM word_lists WHERE language <> 'en'")
    nodes = [MysqlCatalogue(options, PATIENT, serving=True) for _ in range(10)]
    await asyncio.gather(*(node.__aenter__() for node in nodes))
    assert count(options) == BUILT_IN
    assert rows(options, "SELECT COUNT(*) FROM catalogue_revisions") == [(3,)], "the first, the fixture's, theirs"
    for node in nodes:
        await node.refresh()
    assert len({node.shelf.etag for node in nodes}) == 1
    for node in nodes:
        await node.__aexit__(None, None, None)


async def test_a_command_that_reads_writes_nothing(content_database: str) -> None:
    options = patient(content=content_database)
    ask(Dsn.parse(content_database), "DELETE FROM tests")
    async with MysqlCatalogue(options) as catalogue:
        assert catalogue.shelf.test(built_in_tests()[0].id) is not None
        await catalogue.ping()
    assert count(options) == len(built_in_word_lists())


async def test_a_version_that_a_newer_typegate_brings_reaches_the_nodes_that_still_lack_it(
    content_database: str,
) -> None:
    """So all nodes have the same present versions while they are upgraded one after the other."""
    options = patient(content=content_database)
    test = built_in_tests()[0]
    async with MysqlCatalogue(options, serving=True) as older:
        ask(
            Dsn.parse(content_database),
            "INSERT INTO catalogue_revisions VALUES (2, x'01', NOW(3))",
            "INSERT INTO tests SELECT id, 77, title, 'Corrected.', category, difficulty, language, words, created_at, "
            f"source, 2 FROM tests WHERE id = {test.id} AND version = {test.version}",
        )
        assert await older.refresh() is True
        present = older.shelf.test(test.id)
        assert present is not None
        assert (present.version, present.text) == (77, "Corrected.")


async def test_only_what_is_new_is_read_again(content_database: str) -> None:
    """However many rows came in one change: pages put together are all of them, and no other."""
    options = patient(content=content_database)
    many = [replace(NEW, text=f"text {i}") for i in range(200)]
    lists = [replace(WORDS, language=f"x-{i:02}") for i in range(11)]
    async with MysqlCatalogue(options) as importer, MysqlCatalogue(options) as server:
        await importer.add(many[:130], lists, created_at_ms=5)
        await importer.add(many[130:], created_at_ms=6)
        ask(Dsn.parse(content_database), "UPDATE tests SET text = 'not read' WHERE revision = 1")
        assert await server.refresh() is True
        assert {test.text for test in server.shelf.versions() if test.id in ASSIGNED_IDS} == {
            test.text for test in many
        }
        assert sum(words.language.startswith("x-") for words in server.shelf.list_versions()) == len(lists)
        assert server.shelf.etag == importer.shelf.etag
        assert "not read" not in {test.text for test in server.shelf.versions()}


async def test_a_database_that_lost_a_change_is_read_anew(content_database: str) -> None:
    """After a failover another change may bear the number that a node has read."""
    options = patient(content=content_database)
    async with MysqlCatalogue(options) as one, MysqlCatalogue(options) as other:
        await one.add([replace(NEW, id=7)], created_at_ms=5)
        await other.refresh()
        ask(
            Dsn.parse(content_database),
            "DELETE FROM catalogue_revisions WHERE revision = 2",
            "DELETE FROM tests WHERE revision = 2",
        )
        async with MysqlCatalogue(options) as third:
            await third.add([replace(NEW, id=8)], created_at_ms=6)
        for node in (one, other):
            assert await node.refresh() is True
            assert node.shelf.test(7) is None
            assert node.shelf.test(8) is not None
            assert await node.refresh() is False


async def test_one_test_is_found_as_the_database_has_it_now(content_database: str) -> None:
    options = patient(content=content_database)
    async with MysqlCatalogue(options) as importer, MysqlCatalogue(options) as server:
        await importer.add([replace(NEW, id=7), replace(NEW, id=7, title="Again")], created_at_ms=5)
        assert server.shelf.test(7) is None
        assert await server.find(7) == importer.shelf.test(7)
        assert await server.find(7, 1) == importer.shelf.test(7, 1)
        assert await server.find(7, 3) is None
        assert await server.find(8) is None


async def test_a_busy_database_is_a_fault_that_passes(content_database: str) -> None:
    dsn = Dsn.parse(content_database)
    options = patient(content=content_database)
    async with MysqlCatalogue(options, CatalogueOptions(busy_ms=1)) as catalogue:
        with closing(
            pymysql.connect(
                host=dsn.host, port=dsn.port, user=dsn.user, password=dsn.password or "", database=dsn.database
            )
        ) as other:
            other.cursor().execute("SELECT * FROM catalogue_revisions WHERE revision = 0 FOR UPDATE")
            with pytest.raises(CatalogueError, match=r"another process is writing .*; try again") as caught:
                await catalogue.add([NEW], created_at_ms=5)
            assert caught.value.retriable
            await catalogue.ping()
            other.rollback()  # a server that is held up sees only later that a connection is closed
        assert await catalogue.add([NEW], created_at_ms=5) == Added(new=1)


def _die_while_adding(address: str) -> None:
    async def add() -> None:
        async with MysqlCatalogue(patient(content=address)) as catalogue:
            run = type(catalogue)._add

            async def and_die(*arguments: object) -> object:
                await run(catalogue, *arguments)  # type: ignore[arg-type]  # as they come
                os._exit(9)

            catalogue._add = and_die  # type: ignore[method-assign, assignment]  # so that nothing is committed
            await catalogue.add([replace(NEW, id=8)], created_at_ms=5)

    asyncio.run(add())


async def test_an_importer_that_is_killed_leaves_nothing_half_done(content_database: str) -> None:
    async with MysqlCatalogue(patient(content=content_database), PATIENT) as catalogue:
        process = multiprocessing.get_context("spawn").Process(target=_die_while_adding, args=(content_database,))
        process.start()
        await asyncio.to_thread(process.join)
        assert process.exitcode == 9
        await catalogue.refresh()
        assert catalogue.shelf.test(8) is None
        assert await catalogue.add([replace(NEW, id=8)], created_at_ms=5) == Added(new=1)


async def test_what_the_database_will_never_take_is_no_passing_fault(content_database: str) -> None:
    async with MysqlCatalogue(patient(content=content_database)) as catalogue:
        with pytest.raises(CatalogueError, match=r"the content database: .*title") as caught:
            await catalogue.add([replace(NEW, title="x" * 501), replace(NEW, text="b")], created_at_ms=5)
        assert not caught.value.retriable
        assert await catalogue.add([replace(NEW, text="b")], [WORDS], created_at_ms=5) == Added(new=2)
        words = catalogue.shelf.word_list("it")
        assert words is not None
        assert words.version == FIRST_IMPORTED_VERSION


async def test_a_database_that_was_never_migrated_is_refused_with_what_to_do(empty: MysqlOptions) -> None:
    for serving in (False, True):
        with pytest.raises(
            CatalogueError, match=r"lacks 0001_content, 0002_bans, 0003_ban_changes; run `typegate migrate up`"
        ):
            async with MysqlCatalogue(empty, serving=serving):
                pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MariaDbServer]:
    """A server of the test's own, not yet started."""
    skip_without("mariadb")
    own = MariaDbServer(tmp_path / "mariadb")
    yield own
    own.stop()


async def test_a_node_goes_on_while_the_database_is_away_and_takes_in_the_rest_when_it_is_back(
    server: MariaDbServer,
) -> None:
    """Away at the start it has what is built in; away later it keeps what it has read. Commands are told."""
    options = replace(patient(content=server.dsn("content")), retry_ms=10)
    with pytest.raises(CatalogueError, match="the content database: cannot connect to"):
        async with MysqlCatalogue(options):
            pass
    async with MysqlCatalogue(options, serving=True) as node:
        assert node.shelf.test(built_in_tests()[0].id) is not None
        with pytest.raises(CatalogueError, match="cannot connect"):
            await node.ping()
        with pytest.raises(CatalogueError, match="cannot connect"):
            await node.refresh()
        await asyncio.to_thread(server.start)
        server.ask("CREATE DATABASE content")
        with pytest.raises(CatalogueError, match="typegate migrate up"):
            await node.refresh()
        await migrate_content(options)
        async with MysqlCatalogue(options) as importer:
            await importer.add([replace(NEW, id=7)], created_at_ms=5)
        assert await node.refresh() is True
        await node.ping()
        shelf = node.shelf
        assert shelf.test(7) is not None
        server.kill()
        for call in (node.refresh, node.ping, lambda: node.find(8), lambda: node.add([NEW], created_at_ms=5)):
            with pytest.raises(CatalogueError, match="the content database") as caught:
                await call()
            assert caught.value.retriable
        assert node.shelf is shelf
        await asyncio.to_thread(server.start)
        assert await node.refresh() is False
        await node.ping()


async def test_a_node_that_starts_while_the_database_is_away_has_what_it_last_read(
    server: MariaDbServer, tmp_path: Path
) -> None:
    """And reads what is new once it is back; where that has another history, nothing of the copy stays."""
    options = replace(patient(content=server.dsn("content")), retry_ms=10)
    copy = tmp_path / "catalogue.copy"
    await asyncio.to_thread(server.start)
    server.ask("CREATE DATABASE content")
    await migrate_content(options)
    async with MysqlCatalogue(options, serving=True, copy=copy) as node, MysqlCatalogue(options) as importer:
        await importer.add([replace(NEW, id=7)], [WORDS], created_at_ms=5)
        await node.refresh()
        seen = node.shelf
        await importer.add([replace(NEW, id=8)], created_at_ms=6)
    server.kill()
    async with MysqlCatalogue(options, serving=True, copy=copy) as node:
        assert node.readings == 0
        assert sorted(node.shelf.ids()) == sorted(seen.ids())
        assert node.shelf.test(7) == seen.test(7)
        assert node.shelf.word_list("it") == seen.word_list("it")
        await asyncio.to_thread(server.start)
        assert await node.refresh() is True
        assert node.shelf.test(8) is not None
    server.ask("DROP DATABASE content")
    server.ask("CREATE DATABASE content")
    await migrate_content(options)
    async with MysqlCatalogue(options, serving=True, copy=copy) as node:
        assert node.shelf.test(7) is None
    server.kill()
    async with MysqlCatalogue(options, serving=True, copy=copy) as node:
        assert (node.readings, node.shelf.test(7)) == (0, None)
    with pytest.raises(CatalogueError, match="cannot connect"):
        async with MysqlCatalogue(options, copy=copy):
            pass
