"""An old installation as one finds them: ids, and JSON of every kind that ten years of deploys leave behind."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime
from typing import Final, NamedTuple

import pymysql

from loadtest.servers.addresses import Addresses
from persistence.mysql.dsn import Dsn
from persistence.results.mysql import Upkeep
from tests.persistence.mysql_shards import MysqlShards, ask, make_database, patient

NOW: Final = "2024-06-21 20:00:00"
"""The last instant of the old rows."""

NOW_MS: Final = int(datetime.fromisoformat(NOW).replace(tzinfo=UTC).timestamp() * 1000)

TESTS: Final = 60
"""Good tests, with ids from 1 on."""

GOOD = {
    "user_id": 7,
    "type": "time",
    "seconds": 60,
    "wpm": 71.5,
    "raw_wpm": 74.25,
    "accuracy": 96.4,
    "errors": 9,
    "duration": 60,
    "language": "english",
    "created_at": "2024-03-04T05:06:07.089Z",
}


class Odd(NamedTuple):
    """A row that is not as the others: its JSON as it stands, and what it comes to."""

    what: str
    data: str | bytes | None
    reason: str | None = None
    """A part of what the report says; None: it is imported."""


def _with(**changes: object) -> str:
    return json.dumps({name: value for name, value in (GOOD | changes).items() if value != "absent"})


_BARE = json.dumps(GOOD)

ODD_RESULTS: Final = [
    Odd("numbers as text", _with(wpm="71.5", accuracy=" 96.4 % ", errors="9", duration="60", user_id="7")),
    Odd("decimal comma", _with(wpm="71,5")),
    Odd("whole numbers as floats", _with(user_id=7.0, seconds=60.0)),
    Odd("camelCase", json.dumps({"userId": 7, "mode": "time", "mode2": 15, "wpm": 80, "rawWpm": 81, "acc": 97,
                                 "testDuration": 15.01, "timestamp": 1709528767089, "charStats": [100, 2, 1, 0]})),
    Odd("nested", json.dumps({"user": {"id": 7, "created_at": "1999-01-01"}, "stats": {"wpm": 60, "accuracy": 99},
                              "test": {"id": 3, "type": "quote"}, "meta": {"durationMs": 30500, "date": 1709528767}})),
    Odd("JSON in JSON", json.dumps(_BARE)),
    Odd("a name twice", _BARE[:-1] + ', "wpm": 72.25}'),
    Odd("errors as a list", _with(errors=[{"key": "a"}, {"key": "b"}])),
    Odd("nulls", _with(errors=None, language=None, raw_wpm=None)),
    Odd("half a surrogate pair, where nobody looks", _BARE[:-1] + ', "nick": "\\ud83d"}'),
    Odd("an unknown test", _with(type="quote", test_id=987654)),
    Odd("a test beyond the catalogue's numbers", _with(type="quote", test_id=1_000_000_017)),
    Odd("only a test", _with(type="absent", test_id=5, seconds="absent")),
    Odd("nothing about the test", _with(type="absent", seconds="absent")),
    Odd("type with its length", _with(type="time-15", duration=15, seconds="absent")),
    Odd("held invalid", _with(valid=False)),
    Odd("under review", _with(status="pending")),
    Odd("words", _with(type="words", words=50, duration=33.3)),
    Odd("words without their number", _with(type="words", duration=33.3)),
    Odd("epoch seconds", _with(created_at=1709528767)),
    Odd("epoch ms as text", _with(created_at="1709528767089")),
    Odd("epoch as a float", _with(created_at=1709528767.089)),
    Odd("a date with its offset", _with(created_at="2024-03-04 07:06:07+02:00")),
    Odd("a day", _with(created_at="2024-03-04")),
    Odd("a day in eight digits", _with(created_at="20240304")),
    Odd("JavaScript's date", _with(created_at="Mon Mar 04 2024 06:06:07 GMT+0100 (CET)")),
    Odd("mail's date", _with(created_at="Mon, 04 Mar 2024 05:06:07 GMT")),
    Odd("MongoDB's date", _with(created_at={"$date": {"$numberLong": "1709528767089"}})),
    Odd("Firestore's date", _with(created_at={"_seconds": 1709528767, "_nanoseconds": 0})),
    Odd("long ago", _with(created_at="2009-11-12T13:14:15Z")),
    Odd("NaN elsewhere", _BARE[:-1] + ', "burst": NaN}'),
    Odd("a huge number elsewhere", _BARE[:-1] + ', "score": ' + "9" * 400 + "}"),
    Odd("a million words", _with(note="word " * 40_000)),
    Odd("NULL", None, "the row has no field that is known"),
    Odd("empty text", "", "the row has no field that is known"),
    Odd("white space", "  \n", "the row has no field that is known"),
    Odd("an empty map", "{}", "the row has no field that is known"),
    Odd("null", "null", "data is missing; allowed: a JSON map"),
    Odd("an array", "[1, 2]", "data is an array"),
    Odd("a number", "17", "data is 17"),
    Odd("a text", '"seventeen"', "data is 'seventeen'"),
    Odd("cut off", _BARE[:60], "data is not JSON"),
    Odd("single quotes", "{'wpm': 71}", "data is not JSON"),
    Odd("too deep", "[" * 100_000, "data is nested too deeply"),
    Odd("not UTF-8", _BARE.encode().replace(b"english", b"engl\xefsh"), "data is not UTF-8 (byte 0xef at"),
    Odd("too large", _with(log="x" * 300_000), "the row has 300,"),
    Odd("no user", _with(user_id="absent"), "user is missing"),
    Odd("user 0", _with(user_id=0), "user is 0; allowed: a whole number from 1 to 9,007,199,254,740,991"),
    Odd("a negative user", _with(user_id=-7), "user is -7"),
    Odd("user 2^63", _with(user_id=2**63), "user is 9223372036854775808"),
    Odd("user 2^53", _with(user_id=2**53), "user is 9007199254740992"),
    Odd("half a user", _with(user_id=7.5), "user is 7.5"),
    Odd("a name for a user", _with(user_id="alice"), "user is 'alice'"),
    Odd("a user who is true", _with(user_id=True), "user is True"),
    Odd("no speed", _with(wpm="absent"), "wpm is missing"),
    Odd("speed NaN", _BARE.replace("71.5", "NaN"), "wpm is nan"),
    Odd("speed infinite", _BARE.replace("71.5", "-Infinity"), "wpm is -inf"),
    Odd("speed NaN as text", _with(wpm="NaN"), "wpm is 'NaN'; allowed: a number from 0 to 1,000"),
    Odd("negative speed", _with(wpm=-0.5), "wpm is -0.5"),
    Odd("speed beyond everybody", _with(wpm=1e9), "wpm is 1000000000.0"),
    Odd("speed of 400 digits", _BARE.replace("71.5", "9" * 400), "wpm is a number beyond all bounds"),
    Odd("speed 1e999", _BARE.replace("71.5", "1e999"), "wpm is inf"),
    Odd("a list of speeds", _with(wpm=[71, 72]), "wpm is an array"),
    Odd("a map of speeds", _with(wpm={"net": 71}), "wpm is a map"),
    Odd("no accuracy", _with(accuracy="absent"), "accuracy is missing"),
    Odd("accuracy over 100", _with(accuracy=100.5), "accuracy is 100.5; allowed: a number from 0 to 100"),
    Odd("no duration", _with(duration="absent", type="quote"), "duration is missing"),
    Odd("no time at all", _with(duration=0), "duration in seconds is 0"),
    Odd("a week", _with(duration=604_800), "duration in seconds is 604800"),
    Odd("negative errors", _with(errors=-1), "errors is -1"),
    Odd("errors of all keys", _with(errors={"a": 1}), "errors is a map"),
    Odd("an unknown mode", _with(type="marathon"), "mode is 'marathon'; allowed: time, words, quote"),
    Odd("a mode that is a number", _with(type=3), "mode is 3"),
    Odd("an unknown language", _with(language="klingonese"), "language is 'klingonese'"),
    Odd("half a surrogate pair in the language", _BARE.replace("english", "\\ud83d"), "language is '\\ud83d'"),
    Odd("no date", _with(created_at="absent"), "date is missing"),
    Odd("a date that is none", _with(created_at="2024-02-30"), "date is '2024-02-30'"),
    Odd("an ambiguous date", _with(created_at="03/04/2024"), "date is '03/04/2024'"),
    Odd("MySQL's zero date", _with(created_at="0000-00-00 00:00:00"), "date is '0000-00-00 00:00:00'"),
    Odd("1970", _with(created_at=0), "date is 0; allowed: from 1995-01-01 to tomorrow"),
    Odd("the far future", _with(created_at="9999-12-31"), "date is '9999-12-31'"),
    Odd("beyond every calendar", _with(created_at=1e16), "date is 1e+16"),
    Odd("a date in a thousand maps", _BARE.replace('"2024', '{"$date": ' * 1000 + '"2024')[:-1] + "}" * 1001,
        "date is a map"),
    Odd("a date without an end", _with(created_at="2024-03-04" * 50), "date is '2024-03-04"),
    Odd("the distant past", _with(created_at="1889-01-01"), "date is '1889-01-01'"),
    Odd("deleted", _with(deleted_at="2024-05-05"), "was deleted at the old place"),
    Odd("a test that is text", _with(type="quote", test_id="intro"), "test is 'intro'"),
]  # fmt: skip

ODD_TESTS: Final = [
    Odd("a text as JSON of its own", json.dumps({"text": "Just a text, and no title at all.", "lang": "english"})),
    Odd("the same text again", json.dumps({"title": "Again", "text": "Just a text, and no title at all."})),
    Odd("no text", json.dumps({"title": "Nothing"}), "text is missing"),
    Odd("a number for a text", json.dumps({"title": "Nothing", "text": 17}), "text is 17"),
    Odd("control characters", json.dumps({"text": "bell \x07"}), "text cannot be typed"),
    Odd(
        "too hard a word for us", json.dumps({"text": "words", "difficulty": "nightmare"}), "difficulty is 'nightmare'"
    ),
    Odd("an array", "[]", "data is an array"),
    Odd("nonsense", "{", "data is not JSON"),
]


def _numbers(first: int, last: int) -> str:
    """A table of these numbers, `seq`, as MariaDB and MySQL both have it."""
    digit = "(SELECT 0 AS d" + "".join(f" UNION ALL SELECT {d}" for d in range(1, 10)) + ")"
    places = range(len(str(last - first)))
    value = " + ".join([str(first), *(f"{10**place} * t{place}.d" for place in places)])
    tables = " JOIN ".join(f"{digit} AS t{place}" for place in places)
    return f"(SELECT {value} AS seq FROM {tables} HAVING seq <= {last}) AS numbers"


class OldSite:
    """The old database of an installation, and what is done in it."""

    def __init__(self, dsn: Dsn) -> None:
        self.dsn = dsn
        self.address = f"mysql://{dsn.user}:{dsn.password}@{dsn.host}:{dsn.port}/{dsn.database}"

    def ask(self, *statements: str) -> list[tuple[object, ...]]:
        """Run statements; the rows of the last one."""
        return ask(self.dsn, *statements)

    def make(self, *, updated_at: bool = True) -> None:
        """The tables, with some tests. `data` is a BLOB, as a dump through the wrong client leaves it."""
        changed = "TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)"
        self.ask(
            "CREATE TABLE tests (id BIGINT PRIMARY KEY AUTO_INCREMENT, data LONGTEXT) DEFAULT CHARACTER SET utf8mb4",
            "CREATE TABLE test_results (id BIGINT PRIMARY KEY AUTO_INCREMENT, data LONGBLOB"
            f"{f', updated_at {changed}' if updated_at else ''}) DEFAULT CHARACTER SET latin1",
            "INSERT INTO tests (id, data) SELECT seq, JSON_OBJECT('title', CONCAT('Passage ', seq), 'text', "
            "CONCAT('The old site had passage number ', seq, ' for everybody to type.'), 'language', 'english', "
            f"'category', 'classics') FROM {_numbers(1, TESTS)}",
        )

    def fill(self, rows: int, *, first: int = 1, users: int = 5_000) -> None:
        """Good results with ids from `first` on: one in three minutes, the last of them at `NOW`."""
        last = first + rows - 1
        self.ask(
            "INSERT INTO test_results (id, data) SELECT seq, JSON_OBJECT("
            f"'user_id', 1 + MOD(seq * 7919, {users}), "
            "'type', ELT(1 + MOD(seq, 4), 'time', 'words', 'quote', 'time'), "
            "'seconds', IF(MOD(seq, 4) = 0, 60, IF(MOD(seq, 4) = 3, 15, NULL)), "
            "'words', IF(MOD(seq, 4) = 1, 50, NULL), "
            f"'test_id', IF(MOD(seq, 4) = 2, 1 + MOD(seq, {TESTS}), NULL), "
            "'wpm', ROUND(30 + MOD(seq * 31, 9000) / 100, 2), 'raw_wpm', ROUND(31 + MOD(seq * 31, 9000) / 100, 2), "
            "'accuracy', ROUND(88 + MOD(seq * 17, 1200) / 100, 2), 'errors', MOD(seq, 13), "
            "'duration', IF(MOD(seq, 4) = 3, 15, IF(MOD(seq, 4) = 0, 60, 20 + MOD(seq, 600) / 10)), "
            "'language', ELT(1 + MOD(seq, 3), 'english', 'en', 'german'), "
            f"'created_at', DATE_FORMAT(TIMESTAMP '{NOW}' - INTERVAL ({last} - seq) * 3 MINUTE, '%Y-%m-%dT%H:%i:%sZ')) "
            f"FROM {_numbers(first, last)}"
        )

    def put(self, table: str, odd: list[Odd], *, first: int) -> dict[int, Odd]:
        """Put odd rows in, with ids from `first` on."""
        rows = dict(enumerate(odd, first))
        with (
            pymysql.connect(
                host=self.dsn.host,
                port=self.dsn.port,
                user=self.dsn.user,
                password=self.dsn.password or "",
                database=self.dsn.database,
                charset="utf8mb4",
                autocommit=True,
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.executemany(
                f"INSERT INTO {table} (id, data) VALUES (%s, %s)", [(id_, one.data) for id_, one in rows.items()]
            )
        return rows


def make_shards(servers: Addresses) -> MysqlShards:
    """Two shards as they were when the old site's last rows were typed."""
    name = f"imports_{uuid.uuid4().hex[:12]}"
    a, b = (make_database(address, name) for address in servers["shards"])
    options = patient(shards=(f"a 0-2047 {a}", f"b 2048-4095 {b}"), refresh_ms=100)

    async def migrating() -> None:
        async with Upkeep(options, clock_ms=lambda: NOW_MS) as upkeep:
            await upkeep.migrate()

    asyncio.run(migrating())
    return MysqlShards(options)
