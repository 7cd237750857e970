"""The webhook: personal bests and ranks, told to another site by signed POSTs.

It reads the analytics topic as a group of its own, apart from the workers that store: a site that hangs or is away
holds up nobody but those who wait for its own news. A user's news go in order, one after the other; several users' at a
time. What was posted is committed only then, so a process that dies posts some of it again: receivers know by `id`.

A site that is away is asked again, later and later, until a notice is too old to be news. One that takes others' news
and not this, or refuses it, is asked a few times. What was in vain goes to the dead letters, from where an operator may
send it again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import orjson
import structlog

from config.webhook import WebhookOptions
from gateway.posting import SIGNATURE, Target, Undelivered, signature
from persistence.errors import StoreError
from persistence.workers.analytics import News, news_in
from persistence.workers.backoff import BackOff
from persistence.workers.batch import DeadLetter, DeadLetters
from persistence.workers.feed import Feed, Record
from session.identity import session_to_text

__all__ = ["Webhook", "WebhookMeter", "read_secret"]

log = structlog.get_logger(__name__)

_BATCH = 100
_REFUSALS = 3
_TRIES = 10
"""So often a notice is tried while others are taken."""


class WebhookMeter(Protocol):
    """Who counts posts."""

    def posted(self, outcome: str) -> None:
        """A post came to this: `delivered`, `failed` (it is made again), or `dead`."""
        ...


class Webhook:
    """Posts, as long as it is open. Feed and dead letters belong to whoever opened them."""

    def __init__(
        self,
        feed: Feed,
        options: WebhookOptions,
        dead_letters: DeadLetters,
        meter: WebhookMeter,
        *,
        back_off: BackOff | None = None,
    ) -> None:
        self._feed = feed
        self._options = options
        self._dead_letters = dead_letters
        self._meter = meter
        self._target = Target(options.url, limit_s=options.limit_s)
        self._secret = b""
        self._back_off = back_off or BackOff(500, 60_000, random.Random())
        self._at_once = asyncio.Semaphore(options.at_once)
        self._task: asyncio.Task[None] | None = None
        self._posting: asyncio.Task[None] | None = None
        self._delivered = 0
        self._fault: str | None = None
        feed.watch(self._revoked)

    async def __aenter__(self) -> Self:
        """Raises `StoreError` where the secret cannot be used."""
        assert self._options.secret_file is not None
        self._secret = await asyncio.to_thread(read_secret, self._options.secret_file)
        self._task = asyncio.get_running_loop().create_task(self._work(), name="webhook")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [task for task in (self._task, self._posting) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def ping(self) -> None:
        """Raise `StoreError` where the last post was in vain."""
        if self._fault is not None:
            raise StoreError(f"the webhook {self._fault}", retriable=True)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        tries = 0
        while True:
            try:
                records = await self._feed.take(_BATCH)
            except Exception:  # the feed's own fault, or ours: nothing was taken
                log.exception("news could not be read")
                await asyncio.sleep(self._back_off.seconds(tries))
                tries += 1
                continue
            tries = 0
            if not records:
                continue
            self._posting = loop.create_task(self._pass_on(records))
            await asyncio.wait([self._posting])
            if not self._posting.cancelled() and (error := self._posting.exception()) is not None:
                log.error("news could not be posted", exc_info=error)

    async def _revoked(self, partitions: Collection[int]) -> None:
        """What is not posted yet is posted by whoever has these partitions next."""
        if self._posting is not None and not self._posting.done():
            self._posting.cancel()
            await asyncio.wait([self._posting])

    async def _pass_on(self, records: Sequence[Record]) -> None:
        """Post what is news in these, and commit."""
        by_user: dict[int, list[tuple[Record, News]]] = {}
        for record in records:
            try:
                news = news_in(record.value)
            except ValueError as error:
                log.error("no analytics event", partition=record.partition, offset=record.offset, why=str(error))
                continue
            if news is not None:
                by_user.setdefault(news.user, []).append((record, news))
        async with asyncio.TaskGroup() as group:
            for of_user in by_user.values():
                group.create_task(self._in_order(of_user))
        try:
            await self._feed.commit({record.partition: record.offset + 1 for record in records})
        except StoreError as error:
            log.warning("offsets could not be committed now", why=str(error))  # the next batch's commit says it too

    async def _in_order(self, of_user: Sequence[tuple[Record, News]]) -> None:
        for record, news in of_user:
            try:
                why = await self._post(news)
            except Exception as error:  # a fault of ours: the others' news are not lost with this one
                log.exception("a notice could not be posted")
                why = f"could not be told: {error!r}"
            if why is not None:
                self._meter.posted("dead")
                await self._bury(DeadLetter(record, "webhook", f"the webhook {why}"))

    async def _post(self, news: News) -> str | None:
        """Post until it is taken; why not, where it is given up."""
        body = orjson.dumps(
            {
                **{name: value for name, value in news.notice.items() if name not in ("t", "session")},
                "id": session_to_text(news.session),
                "user": str(news.user),
                "created_at_ms": news.created_at_ms,
            }
        )
        tries = refusals = 0
        others = self._delivered
        while True:
            try:
                async with self._at_once:
                    await self._target.post(body, self._signed(body))
            except Undelivered as error:
                why = self._fault = str(error)
                refusals += error.refused
            else:
                self._fault = None
                self._delivered += 1
                self._meter.posted("delivered")
                return None
            tries += 1
            old = time.time() - news.created_at_ms / 1000 > self._options.give_up_s
            if old or refusals >= _REFUSALS or (tries >= _TRIES and self._delivered > others):
                return why
            self._meter.posted("failed")
            await asyncio.sleep(self._back_off.seconds(tries))

    def _signed(self, body: bytes) -> Mapping[str, str]:
        return {SIGNATURE: signature(self._secret, body, epoch_s=int(time.time()))}

    async def _bury(self, letter: DeadLetter) -> None:
        tries = 0
        while True:
            try:
                await self._dead_letters.bury([letter])
                return
            except StoreError as error:
                log.warning("a dead letter of the webhook cannot be kept now", why=str(error))
            await asyncio.sleep(self._back_off.seconds(tries))
            tries += 1


def read_secret(file: Path) -> bytes:
    """The secret that signs posts. Raises `StoreError` where the file cannot be used."""
    try:
        secret = file.read_bytes().removesuffix(b"\n")
    except OSError as fault:
        raise StoreError(f"the webhook's secret {file} cannot be read: {fault.strerror}", retriable=False) from None
    if len(secret) < 16:
        raise StoreError(f"the webhook's secret {file} has {len(secret)} bytes; 16 are the least", retriable=False)
    return secret
