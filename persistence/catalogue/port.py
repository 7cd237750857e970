"""The catalogue's port: tests and word lists, immutable by (id, version), and the shelf from which a node reads them.

A result names the versions of what was typed, and a result can be replayed for ever: so a version, once published,
never changes and never goes away. Changing a test or a list makes a new version beside the old.

Reads do no I/O: a catalogue holds a `Shelf`, an immutable picture of all versions with its indexes ready, and replaces
it as a whole when `refresh` finds that another process (an import on the command line) has written. Who chooses a test
and then reads it does both on one shelf, so that nothing moves between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from persistence.catalogue.entries import Added, NewTest, NewWordList, Test
from persistence.catalogue.shelf import Shelf
from persistence.errors import StoreError


class CatalogueError(StoreError):
    """The catalogue cannot do what was asked: its file is broken, locked, newer than this program, or full.

    `retriable`: whether the same call may succeed in a moment (another process holds the file).
    """

    def __init__(self, message: str, *, retriable: bool = False) -> None:
        super().__init__(message, retriable=retriable)


class Catalogue(Protocol):
    """Tests and word lists with all their versions.

    Guarantees: a version that was once on the shelf stays readable, unchanged, for as long as the data is kept. An
    `add` is one transaction: all of it or nothing, and afterwards this process's shelf has it; other processes see it
    after their next `refresh`. Concurrent `add`s, of other processes too, happen one after the other. A cancelled
    `add` may still happen; made again it adds nothing twice. A `refresh` that fails leaves the shelf as it was, and
    the next one tries again.

    Entering opens what it needs; leaving closes it. The async methods never block the event loop.
    """

    @property
    def shelf(self) -> Shelf:
        """The present picture; reading it does no I/O."""
        ...

    @property
    def readings(self) -> int:
        """How often it was taken in what others had added, the opening counted; 0 while that could not be done yet."""
        ...

    async def refresh(self) -> bool:
        """Take in what other processes wrote; True if the shelf was replaced. Cheap when nothing happened."""
        ...

    async def add(
        self, tests: Sequence[NewTest] = (), word_lists: Sequence[NewWordList] = (), *, created_at_ms: int
    ) -> Added:
        """Add all of it or nothing. `created_at_ms` is the wall clock (epoch).

        Raises `CatalogueError`; `retriable` where another process holds the file.
        """
        ...

    async def ping(self) -> None:
        """Return when the catalogue can be read; raise `CatalogueError` when not."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class Finds(Protocol):
    """What a catalogue can do besides whose data other nodes add to: say what is not on its shelf yet."""

    async def find(self, test_id: int, version: int | None = None) -> Test | None:
        """A version of a test, without a number the present one, as the data has it now. Raises `CatalogueError`."""
        ...
