"""What accounts are called: heard at their sign-in, kept in the result store, shown beside what they have done.

A sign-in waits for no database: what was heard is written by one task, a second's at once, and only where it is news.
Who asks gets what was known not longer ago than `KEPT_S`; a change shows within that time.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Final

import structlog

from persistence.errors import StoreError
from persistence.results import MOST_NAMED, ResultStore
from session.names import default_name

__all__ = ["KEPT_S", "Names"]

KEPT_S: Final = 60.0
"""How old a name may be that is shown."""
MOST_KEPT: Final = 20_000
"""Users whose names are known here; who was asked for least lately goes first. About 200 bytes each."""
MOST_HEARD: Final = 50_000
"""Names that may wait to be written; one more is heard at the next sign-in."""
GATHER_S: Final = 1.0
AGAIN_S: Final = 5.0
"""When it is tried again after the store did not answer."""

_log = structlog.get_logger(__name__)


class Names:
    """`run` is to be run as long as names are heard. `clock` is in seconds.

    `shown`: whether accounts are called by names at all; else all have default ones, whatever the store knows.
    """

    def __init__(
        self,
        store: ResultStore,
        *,
        shown: bool = True,
        clock: Callable[[], float] = time.monotonic,
        gather_s: float = GATHER_S,
        again_s: float = AGAIN_S,
    ) -> None:
        self._store = store
        self._shown = shown
        self._clock = clock
        self._gather_s = gather_s
        self._again_s = again_s
        self._kept: OrderedDict[int, tuple[str, float]] = OrderedDict()
        """Names as the store has them, "" for none, and until when they hold."""
        self._heard: dict[int, str] = {}
        self._news = asyncio.Event()

    def heard(self, user: int, name: str) -> None:
        """An account has signed in under this name; "": under none that can be shown."""
        kept = self._kept.get(user)
        if kept is not None and kept[0] == name and kept[1] > self._clock():
            self._heard.pop(user, None)
        elif user in self._heard or len(self._heard) < MOST_HEARD:
            self._heard[user] = name
            self._news.set()

    async def of(self, users: Collection[int]) -> dict[int, str]:
        """What these users are called; a guest as the account that has its past.

        Who has no name, or whose cannot be read now, has a default one.
        """
        if not self._shown:
            return {user: default_name(user) for user in users}
        now = self._clock()
        known = {user: self._fresh(user, now) for user in users}
        wanted = [user for user, name in known.items() if name is None and user > 0]
        try:
            for guest in [user for user, name in known.items() if name is None and user < 0]:
                account = await self._store.account_of(guest)
                names = {} if account is None else await self._store.names_of([account])
                known[guest] = names.get(account or 0, "")
                self._keep([guest], {guest: known[guest] or ""})
            for start in range(0, len(wanted), MOST_NAMED):
                part = wanted[start : start + MOST_NAMED]
                read = await self._store.names_of(part)
                self._keep(part, read)
                known |= read
        except StoreError as fault:
            _log.warning("names cannot be read; default ones are shown", why=str(fault))
        return {user: known.get(user) or default_name(user) for user in users}

    def _fresh(self, user: int, now: float) -> str | None:
        kept = self._kept.get(user)
        return kept[0] if kept is not None and kept[1] > now else None

    def _keep(self, users: Collection[int], names: Mapping[int, str]) -> None:
        until = self._clock() + KEPT_S
        for user in users:
            self._kept[user] = names.get(user, ""), until
            self._kept.move_to_end(user)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)

    async def run(self) -> None:
        """Write what was heard."""
        while True:
            await self._news.wait()
            self._news.clear()
            await asyncio.sleep(self._gather_s)
            while self._heard:
                part = dict(list(self._heard.items())[:MOST_NAMED])
                try:
                    await self._write(part)
                except StoreError as fault:
                    _log.warning("names cannot be written now; they wait", users=len(self._heard), why=str(fault))
                    await asyncio.sleep(self._again_s)
                    continue
                except Exception:  # a fault of ours must not end the task: no name would be written any more
                    _log.exception("names were not written")
                for user, name in part.items():
                    if self._heard.get(user) == name:  # else another one was heard meanwhile
                        del self._heard[user]

    async def _write(self, heard: Mapping[int, str]) -> None:
        there = await self._store.names_of(list(heard))
        news = {user: name for user, name in heard.items() if there.get(user, "") != name}
        if news:
            await self._store.name_users(news)
        self._keep(heard, heard)
