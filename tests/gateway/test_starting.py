"""`start` over a real socket: every mode, what speaks against one, and the test that runs meanwhile."""

from pathlib import Path
from typing import Any

import pytest

from config.gateway import ConnectionOptions
from tests.gateway.running import serving
from tests.gateway.typing_client import TypingClient, client


async def test_restart_in_the_same_turn(typist: TypingClient) -> None:
    """`start` in mid-test aborts it; late keys of the old `ref` are dropped without a word."""
    await typist.start("words", count=10, ref=1)
    await typist.keys("a", "b")
    second = await typist.start("words", count=2, ref=2)
    await typist.send("keys", n=2, e=[100, "c"], ref=1)
    await typist.send("finish", n=3, ref=1)
    result = await typist.type_all()
    assert result["session"] == second["session"]
    assert not [message for message in typist.seen if message["t"] == "error"]


@pytest.mark.parametrize(
    ("code", "start"),
    [
        ("options", {"mode": "words", "count": 0}),
        ("unknown_language", {"mode": "words", "count": 5, "language": "tlh"}),
        ("unknown_test", {"mode": "quote", "test": "999999999"}),
        ("text", {"mode": "text", "text": " "}),
    ],
)
async def test_a_refused_start_leaves_the_running_test_alone(
    typist: TypingClient, code: str, start: dict[str, Any]
) -> None:
    """`error` means that nothing happened: what runs is typed on to its result."""
    started = await typist.start("words", count=3, ref=1)
    text = started["text"]
    await typist.keys(*text[:4])
    await typist.send("start", ref=2, **start)
    error = await typist.receive("error")
    assert (error["code"], error["ref"]) == (code, 2)
    await typist.keys(*text[4:])
    result = await typist.finish()
    assert (result["session"], result["ref"]) == (started["session"], 1)
    assert result["chars"] == [len(text), 0, 0, 0]


async def test_every_mode(typist: TypingClient) -> None:
    """Quote, own text, timed text and zen come to a result too."""
    quote = await typist.start("quote", difficulty="easy")
    assert quote["test"]
    assert quote["title"]
    assert (await typist.type_all(gap_ms=90))["chars"][0] == len(quote["text"])

    own = await typist.start("text", text="  one\n two ")
    assert own["text"] == "one two"
    assert (await typist.type_all())["acc"] == 100

    await typist.start("text", text="one two three", seconds=1)
    await typist.keys(*"one two", gap_ms=200)
    assert (await typist.finish())["duration_ms"] == 1000

    await typist.start("zen")
    await typist.keys(*"what ever", gap_ms=150)
    assert (await typist.finish())["acc"] == 100

    timed = await typist.start("time", seconds=1)
    await typist.keys(*timed["text"][:8], gap_ms=150)
    result = await typist.finish()
    assert result["duration_ms"] == 1000
    assert result["chars"][0] <= 7


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"mode": "sprint"}, "options"),
    ({"mode": "words"}, "options"),
    ({"mode": "words", "count": 0}, "options"),
    ({"mode": "words", "count": 10**9}, "options"),
    ({"mode": "time", "seconds": 601}, "options"),
    ({"mode": "text"}, "options"),
    ({"mode": "text", "text": ""}, "text"),
    ({"mode": "text", "text": "bell \x07"}, "text"),
    ({"mode": "text", "text": "e" * 50_000}, "options"),
    ({"mode": "words", "count": 5, "language": "tlh"}, "unknown_language"),
    ({"mode": "words", "count": 5, "language": "no such"}, "options"),
    ({"mode": "quote", "test": "999"}, "unknown_test"),
    ({"mode": "quote", "category": "nonsense"}, "unknown_test"),
    ({"mode": "words", "count": 5, "input": "telepathy"}, "options"),
    ({"mode": "words", "count": 5, "tags": ["no spaces allowed"]}, "options"),
]


async def test_a_recoverable_start(typist: TypingClient) -> None:
    """A `start` that is not allowed is an error with a sentence; the next one is fine."""
    for ref, (fields, code) in enumerate(REFUSED, 1):
        await typist.send("start", ref=2 * ref, **fields)
        error = await typist.receive("started", "error")
        assert (error["t"], error.get("code"), error["ref"]) == ("error", code, 2 * ref), fields
        assert len(error["message"]) > 10
        await typist.start("words", ref=2 * ref + 1)


async def test_too_many_starts_of_an_address_without_redis(tmp_path: Path) -> None:
    """It has one allowance for all its users; each has an own one as well, which is asked first."""
    options = ConnectionOptions(starts_per_s=0.01, starts_burst=2, address_starts_per_s=0.01, address_starts_burst=3)
    async with (
        serving(tmp_path / "data", connection=options) as (gateway, _),
        client(gateway.url) as one,
        client(gateway.url) as other,
    ):
        said = []
        for each in (one, one, one, other, other):
            await each.send("start", mode="words", count=3)
            said.append((await each.receive("started", "error")).get("message", ""))
    assert [message.partition(";")[0] for message in said] == [
        *("", "", "too many starts", ""),
        "too many starts from your address",
    ]


async def test_too_many_starts(typist: TypingClient) -> None:
    """Thirty at once, then `busy` with the time to wait; what is running goes on."""
    started = 0
    while True:
        await typist.send("start", mode="words", count=1)
        error = await typist.receive("started", "error")
        if error["t"] == "error":
            break
        started += 1
    assert started >= 30, "and as many more as the time that this took allows"
    assert error["code"] == "busy"
    assert 0 < error["retry"] <= 500
    await typist.send("keys", n=0, e=[100, "x", 100, " "])
    assert (await typist.receive("result"))["chars"][1:] != [0, 0, 0], "the last test that was started goes on"
