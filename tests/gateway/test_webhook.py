"""News posted to another site: signed, in order for each user, and never in anybody's way."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from config.webhook import WebhookOptions
from gateway.posting import Target, Undelivered, signature
from gateway.webhook import Webhook, read_secret
from loadtest.servers.certificate import write_certificate
from persistence.errors import StoreError
from persistence.notices import notice_of
from persistence.results import Outcome, Written
from persistence.results.bests import Board, PersonalBest, places_of
from persistence.workers.analytics import event_of
from persistence.workers.backoff import BackOff
from session.identity import session_to_text
from session.result import Result
from tests.persistence.samples import sample
from tests.persistence.workers.memory import MemoryFeed, MemoryLog, MemoryRecord
from tests.persistence.workers.rig import Graves

SECRET = b"a secret of more than sixteen bytes"


@dataclass
class Post:
    """What the site got."""

    head: str
    body: dict[str, Any]
    raw: bytes

    def header(self, name: str) -> str:
        for line in self.head.split("\r\n"):
            if line.lower().startswith(name.lower() + ": "):
                return line.partition(": ")[2]
        raise KeyError(name)


@dataclass
class Site:
    """Another site: takes posts, and answers as it is told."""

    url: str = ""
    posts: list[Post] = field(default_factory=list)
    answer: Callable[[Post], bytes | None] = lambda post: b"HTTP/1.1 204 No Content\r\n\r\n"
    """None: it never answers."""
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, count: int) -> None:
        """Wait until so many posts have come."""
        async with asyncio.timeout(120), self.came:
            await self.came.wait_for(lambda: len(self.posts) >= count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(next(line for line in head.split("\r\n") if line.startswith("Content-Length")).split(": ")[1])
            raw = await reader.readexactly(length)
            post = Post(head, json.loads(raw), raw)
            async with self.came:
                self.posts.append(post)
                self.came.notify_all()
            answer = self.answer(post)
            if answer is None:
                await reader.read()  # until the other side has enough
            else:
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    site = Site()
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    site.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/hooks/typegate?from=us"
    try:
        yield site
    finally:
        server.close()


class Counting:
    def __init__(self) -> None:
        self.posts: Counter[str] = Counter()

    def posted(self, outcome: str) -> None:
        self.posts[outcome] += 1


@dataclass
class Hook:
    """A webhook on a log in memory."""

    site: Site
    folder: Path
    log: MemoryLog = field(default_factory=lambda: MemoryLog(2))
    graves: Graves = field(default_factory=Graves)
    meter: Counting = field(default_factory=Counting)

    def options(self, **changes: Any) -> WebhookOptions:
        secret = self.folder / "secret"
        secret.write_bytes(SECRET + b"\n")
        # long: a post that a busy machine cut short would be one more
        return WebhookOptions(url=self.site.url, secret_file=secret, **{"limit_s": 60.0} | changes)

    @asynccontextmanager
    async def open(self, **changes: Any) -> AsyncIterator[tuple[Webhook, MemoryFeed]]:
        feed = MemoryFeed(self.log, group="webhook")
        quick = BackOff(1, 2, Random(1))
        hook = Webhook(feed, self.options(**changes), self.graves, self.meter, back_off=quick)
        async with feed, hook:
            yield hook, feed

    async def send(self, *results: Result, news: bool = True) -> None:
        for result in results:
            await self.log.append(result.user % 2, event(result, news=news))

    async def done(self) -> None:
        async with asyncio.timeout(120):
            await self.log.until_committed("webhook")


def recent(i: int, user: int) -> Result:
    return sample(i, user=user, created_ms=int(time.time() * 1000) + i)


def event(result: Result, *, news: bool = True) -> bytes:
    """The analytics event of a result that is its user's best, or is not."""
    bests: dict[Any, Any] = {}
    if news:
        for place in places_of(result.user, Board("time", 15, "en"), result.created_at_ms):
            bests[place] = PersonalBest(place, result.session, result.summary.wpm, result.summary.acc)
    written = Written(result.session, Outcome.INSERTED, result.verdict, bests)
    return event_of(result, written, notice_of(result.user, written, {}))


@pytest.fixture(name="hook")
async def _hook(tmp_path: Path) -> AsyncIterator[Hook]:
    async with listening() as site:
        yield Hook(site, tmp_path)


async def test_news_are_posted_and_signed(hook: Hook) -> None:
    """Only what is news; the receiver can check that it is ours, and of now."""
    mine, other = recent(1, 7), recent(2, 8)
    async with hook.open() as (webhook, _):
        await hook.send(mine)
        await hook.send(other, news=False)
        await hook.done()
        await webhook.ping()
    (post,) = hook.site.posts
    assert post.head.startswith("POST /hooks/typegate?from=us HTTP/1.1\r\n")
    assert post.body == {
        "kind": "best",
        "id": session_to_text(mine.session),
        "user": "7",
        "created_at_ms": mine.created_at_ms,
        "board": "time-15-en",
        "wpm": mine.summary.wpm,
        "spans": ["day", "week", "all"],
        "ranks": {},
    }
    stamp, version = post.header("typegate-signature").split(",")
    epoch = stamp.removeprefix("t=")
    assert abs(time.time() - int(epoch)) < 60
    assert version == "v1=" + hmac.new(SECRET, epoch.encode() + b"." + post.raw, hashlib.sha256).hexdigest()
    assert hook.meter.posts == {"delivered": 1}


async def test_a_site_that_fails_is_asked_again_in_order(hook: Hook) -> None:
    """A user's second notice waits for the first; nothing is lost."""
    failures = iter([b"HTTP/1.1 503 Busy\r\n\r\n", b"rubbish\r\n\r\n", b"HTTP/1.1 429 Slow down\r\n\r\n", b""])
    hook.site.answer = lambda post: next(failures, b"HTTP/1.1 200 OK\r\n\r\n")
    first, second = recent(1, 7), recent(2, 7)
    async with hook.open():
        await hook.send(first, second)
        await hook.done()
    ids = [post.body["id"] for post in hook.site.posts]
    assert ids == [session_to_text(first.session)] * 5 + [session_to_text(second.session)]
    assert hook.meter.posts == {"failed": 4, "delivered": 2}


async def test_a_notice_that_is_refused_goes_to_the_dead_letters(hook: Hook) -> None:
    """After a few tries, with why; the user's next one goes on."""
    first, second = recent(1, 7), recent(2, 7)
    bad = session_to_text(first.session)
    hook.site.answer = lambda post: b"HTTP/1.1 %s\r\n\r\n" % (b"422 No" if post.body["id"] == bad else b"200 OK")
    async with hook.open():
        await hook.send(first, second)
        await hook.done()
    assert [post.body["id"] for post in hook.site.posts] == [bad] * 3 + [session_to_text(second.session)]
    (letter,) = hook.graves.letters
    assert (letter.reason, letter.error) == ("webhook", "the webhook answered 422")
    assert letter.record.value == event(first)


async def test_a_notice_that_alone_fails_is_given_up_while_others_are_taken(hook: Hook) -> None:
    mine, other = recent(1, 7), recent(2, 8)
    bad = session_to_text(mine.session)
    hook.site.answer = lambda post: b"HTTP/1.1 %s\r\n\r\n" % (b"500 Oh" if post.body["id"] == bad else b"200 OK")
    async with hook.open():
        await hook.send(mine, other)
        await hook.done()
    assert Counter(post.body["id"] for post in hook.site.posts) == {bad: 10, session_to_text(other.session): 1}
    assert [letter.error for letter in hook.graves.letters] == ["the webhook answered 500"]


async def test_what_is_too_old_to_be_news_is_given_up(hook: Hook) -> None:
    """A site that is away for long does not keep everything behind it."""
    hook.site.answer = lambda post: b"HTTP/1.1 500 Oh\r\n\r\n"
    old = sample(1, user=7, created_ms=int((time.time() - 3700) * 1000))
    async with hook.open() as (webhook, _):
        await hook.send(old)
        await hook.done()
        with pytest.raises(StoreError, match="the webhook answered 500"):
            await webhook.ping()
    assert [letter.reason for letter in hook.graves.letters] == ["webhook"]


async def test_dead_letters_are_durable_before_the_offset(hook: Hook) -> None:
    hook.site.answer = lambda post: b"HTTP/1.1 404 What\r\n\r\n"
    hook.graves.away = True
    async with hook.open():
        await hook.send(recent(1, 7))
        await hook.site.until(3)
        assert hook.log.committed("webhook") == {}
        hook.graves.away = False
        await hook.done()
    assert len(hook.graves.letters) == 1


async def test_a_site_that_hangs_is_not_waited_for(hook: Hook) -> None:
    """Closing takes no time, and what was not taken is posted by the next one."""
    hook.site.answer = lambda post: None
    async with hook.open(limit_s=30):
        await hook.send(recent(1, 7))
        await hook.site.until(1)
    assert hook.log.committed("webhook") == {}
    hook.site.answer = lambda post: b"HTTP/1.1 200 OK\r\n\r\n"
    async with hook.open():
        await hook.done()
    assert len({post.body["id"] for post in hook.site.posts}) == 1


async def test_partitions_are_given_up_at_once(hook: Hook) -> None:
    """A rebalance does not wait for a site that hangs."""
    hook.site.answer = lambda post: None
    async with hook.open(limit_s=30) as (_, feed):
        await hook.send(recent(1, 7))
        await hook.site.until(1)
        hook.site.answer = lambda post: b"HTTP/1.1 200 OK\r\n\r\n"
        async with asyncio.timeout(60):
            await feed.regroup()
        await hook.done()


async def test_no_event_is_passed_over(hook: Hook) -> None:
    """Whatever lies on the topic, the news behind it is posted."""
    async with hook.open():
        for rubbish in (b"", None, b"\xff", b"[]", b"{}", b'{"schema": 9}', b'{"schema": 1, "notice": 7, "id": 3}'):
            await hook.log.append(0, rubbish)
        await hook.send(recent(1, 8))
        await hook.done()
    assert len(hook.site.posts) == 1


async def test_an_event_that_cannot_be_told_costs_nobody_else_their_news(hook: Hook) -> None:
    """An instant that no clock shows, among the events of one batch."""
    mine, other = recent(1, 7), recent(2, 9)
    strange = json.loads(event(mine)) | {"created_at_ms": 1e300}
    await hook.send(mine)
    await hook.log.append(1, json.dumps(strange).encode())
    await hook.send(other)
    async with hook.open():
        await hook.done()
    assert {post.body["id"] for post in hook.site.posts} == {session_to_text(one.session) for one in (mine, other)}


async def test_a_fault_of_ours_costs_one_notice_alone(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes to the dead letters; those beside it and behind it are posted."""
    first, second, other = recent(1, 7), recent(2, 7), recent(3, 9)
    post = Target.post

    async def faulty(target: Target, body: bytes, headers: Mapping[str, str]) -> None:
        if json.loads(body)["id"] == session_to_text(first.session):
            raise RuntimeError("a bug")
        await post(target, body, headers)

    monkeypatch.setattr(Target, "post", faulty)
    await hook.send(first, second, other)
    async with hook.open():
        await hook.done()
    assert {post.body["id"] for post in hook.site.posts} == {session_to_text(one.session) for one in (second, other)}
    assert [(letter.reason, letter.error) for letter in hook.graves.letters] == [
        ("webhook", "the webhook could not be told: RuntimeError('a bug')")
    ]


async def test_a_fault_of_the_feed_does_not_end_it(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = iter([RuntimeError("a bug")])
    take = MemoryFeed.take

    async def faulty(feed: MemoryFeed, most: int) -> Sequence[MemoryRecord]:
        for fault in faults:
            raise fault
        return await take(feed, most)

    monkeypatch.setattr(MemoryFeed, "take", faulty)
    async with hook.open():
        await hook.send(recent(1, 7))
        await hook.done()
    assert len(hook.site.posts) == 1


async def test_a_name_that_no_host_can_have_is_no_delivery() -> None:
    with pytest.raises(Undelivered, match="cannot be reached"):
        await Target("http://a..b/", limit_s=60).post(b"{}", {})


async def test_a_post_is_bounded_in_time() -> None:
    async with listening() as site:
        site.answer = lambda post: None
        with pytest.raises(Undelivered, match=r"^no answer within 0.05 s$"):
            await Target(site.url, limit_s=0.05).post(b"{}", {})


@pytest.mark.parametrize("answer", [b"x" * 5000, b"HTTP/1.1", b"FTP/1.1 200 OK\r\n", b"HTTP/1.1 2x0 OK\r\n", b""])
async def test_what_is_no_http_is_no_delivery(answer: bytes) -> None:
    async with listening() as site:
        site.answer = lambda post: answer
        with pytest.raises(Undelivered, match="answered nothing that is HTTP"):
            await Target(site.url, limit_s=10).post(b"{}", {})


async def test_nobody_there() -> None:
    async with listening() as site:
        url = site.url
    with pytest.raises(Undelivered, match=r"cannot be reached: .*Connect call failed|cannot be reached: .*refused"):
        await Target(url, limit_s=10).post(b"{}", {})


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(cert, key)
    async with listening(tls) as site:
        with pytest.raises(Undelivered, match="cannot be reached"):
            await Target(site.url, limit_s=10).post(b"{}", {})
        assert site.posts == []


def test_a_signature_is_of_time_and_body() -> None:
    assert signature(SECRET, b"{}", epoch_s=5) == ("t=5,v1=" + hmac.new(SECRET, b"5.{}", hashlib.sha256).hexdigest())


def test_a_secret_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"short\n")
    with pytest.raises(StoreError, match="has 5 bytes; 16 are the least"):
        read_secret(tmp_path / "short")
    with pytest.raises(StoreError, match="cannot be read"):
        read_secret(tmp_path / "none")
