"""The port of bans, and its options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from persistence.bans.entries import Ban, Who

__all__ = ["KEPT_CHANGES", "MOST_CHANGES", "BanChanges", "BanOptions", "BanStore", "Mark", "full"]

Mark = bytes
"""16 random bytes, which every change replaces: who knows the mark knows the bans."""

KEPT_CHANGES: Final = 10_000
"""Changes of which a store still knows whom they concerned."""
MOST_CHANGES: Final = 500
"""After more than so many all is read again: it costs no more."""


class BanChanges(NamedTuple):
    """What became of the bans since a mark, each named once."""

    mark: Mark
    """The present one."""
    made: Sequence[Ban]
    """Those that are new, or other than they were."""
    ended: Sequence[Who]
    """Those whose ban was taken back."""


@dataclass(frozen=True, slots=True)
class BanOptions:
    """Bans: how many there may be, and how soon a process sees them."""

    most: int = 50_000
    """Most bans at a time, those that are over not counted; each process holds all of them in memory."""
    look_ms: int = 500
    """How often a process looks whether there is a new one; ten times as rarely while it is told over Redis."""

    def __post_init__(self) -> None:
        for name, least, most in (("most", 1, 1_000_000), ("look_ms", 50, 60_000)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is {least} to {most}")


class BanStore(Protocol):
    """Where bans are kept.

    Guarantees: what `add` or `remove` has returned of is durable, and in what `read` gives from then on, to every
    process; of one user or network there is one ban, the last. Of changes at once one comes after the other. `mark` is
    another after each change, and short to ask for. All raise `StoreError`.

    Entering opens what it needs, and needs no database that is there; leaving closes it. Nothing blocks the event loop.
    """

    async def mark(self) -> Mark:
        """What tells whether there was a change."""
        ...

    async def read(self, *, now_ms: int) -> Sequence[Ban]:
        """All that are not over, in no order."""
        ...

    async def since(self, mark: Mark) -> BanChanges | None:
        """What changed since this mark; None where that is not known any more: too long ago, or in another history."""
        ...

    async def add(self, ban: Ban) -> None:
        """Add one, in the place of an earlier one of the same. Those that are over at its beginning are forgotten.

        Raises `StoreError`, not retriable, where there are as many as may be.
        """
        ...

    async def remove(self, who: Who) -> bool:
        """End a ban; False where there was none."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def full(most: int) -> str:
    """What is said where there are as many as may be."""
    return f"there are {most} bans, and no more are allowed (bans.most); remove some, or ban networks as a whole"
