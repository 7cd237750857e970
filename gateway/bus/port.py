"""What carries a bus's frames from process to process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from persistence.errors import StoreError

__all__ = ["Carrier", "Frame", "Hearer"]

Frame = tuple[str, bytes]
"""A channel's name, and what is said on it."""


class Hearer(Protocol):
    """Who listens to a carrier: a bus. Called on the event loop; quick, and never raises."""

    def heard(self, channel: str, frame: bytes) -> None:
        """This came on a channel that we listen to."""
        ...

    def listening(self, channel: str) -> None:
        """From now on all that is said on the channel is heard; before this something may have been missed."""
        ...

    def returned(self) -> None:
        """What could not be sent before may be sent again."""
        ...


class Carrier(Protocol):
    """Brings frames to all who listen to a channel, the sender's own process included.

    Guarantees: frames of one sender on one channel are heard in the order in which it sent them; one may be missed, and
    one may come twice. `listening` is called when a channel begins to be heard, and again whenever something may have
    been missed since. Opened by a bus, with itself as the hearer.
    """

    async def open(self, hearer: Hearer) -> None:
        """Begin. Raises `StoreError` where it can never work; one that is away is waited for in silence."""
        ...

    async def close(self) -> None:
        """End: nothing is heard any more."""
        ...

    async def carry(self, frames: Sequence[Frame]) -> list[StoreError | None]:
        """Bring these on their way, one call at a time; what became of each, None where it is under way."""
        ...

    def listen(self, channel: str) -> None:
        """Hear a channel from as soon as it can be."""
        ...

    def ignore(self, channel: str) -> None:
        """Hear it no more."""
        ...

    async def ping(self) -> None:
        """Raise `StoreError` where a channel that should be heard is not, just now."""
        ...
