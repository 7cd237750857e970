"""What was seen of sessions that are not here any more, or not yet: it stands in for them at their client's return.

A session that is held stands for itself. But one that was let go in the middle of a job on it cannot go on, nor can one
that was taken over for a client that went away before it was made anew; what was seen of these must hold all the same,
else whoever closes a connection at the right moment could go back to an old receipt.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from session.holder import Answer

__all__ = ["MOST", "Account", "Accounts"]

MOST = 50_000
"""Sessions of which it is remembered what was seen; the oldest is forgotten first."""


@dataclass(frozen=True, slots=True)
class Account:
    """What is known of a session that was taken here and is no longer, or not yet, a session."""

    epoch: int
    """At which it was taken."""
    answer: Answer | None
    """What its holder said; None where there was none, or it did not answer."""
    until_s: float = 0.0


class Accounts:
    """Bounded, and each is forgotten after a while. `clock` is the loop's; `kept_s` as long as a session is held."""

    def __init__(self, *, clock: Callable[[], float], kept_s: float) -> None:
        self._clock = clock
        self._kept_s = kept_s
        self._accounts: OrderedDict[bytes, Account] = OrderedDict()

    def __len__(self) -> int:
        return len(self._accounts)

    def keep(self, session: bytes, epoch: int, answer: Answer | None) -> Account:
        """Remember this; what was known before is forgotten."""
        accounts = self._accounts
        now = self._clock()
        while accounts and (len(accounts) >= MOST or next(iter(accounts.values())).until_s <= now):
            accounts.popitem(last=False)
        accounts.pop(session, None)
        account = accounts[session] = Account(epoch, answer, now + self._kept_s)
        return account

    def of(self, session: bytes) -> Account | None:
        """What is known of a session."""
        account = self._accounts.get(session)
        return account if account is not None and account.until_s > self._clock() else None

    def holds(self, session: bytes, epoch: int) -> bool:
        """Whether what was taken at this epoch is still ours, and not yet a session."""
        account = self.of(session)
        return account is not None and account.epoch == epoch

    def forget(self, session: bytes) -> Account | None:
        """It stands for itself, or has gone elsewhere; what was known."""
        return self._accounts.pop(session, None)
