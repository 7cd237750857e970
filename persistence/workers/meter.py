"""Who counts what a worker does: a worker tells, and knows nothing of metrics."""

from __future__ import annotations

from persistence.results.port import Written
from persistence.workers.feed import Record
from session.race_record import RaceRecord
from session.result import Result

__all__ = ["Meter"]


class Meter:
    """Told of what happens, as it happens. This one counts nothing; what counts overrides what it wants to know.

    Every method is called on the event loop, is cheap, and does not raise.
    """

    def batch(self, records: int) -> None:
        """A batch of so many records was taken."""

    def step(self, name: str, seconds: float) -> None:
        """A step of a batch is done, and took so long."""

    def stored(self, record: Record, result: Result, written: Written) -> None:
        """The result that a record holds is in the store."""

    def raced(self, record: Record, race: RaceRecord) -> None:
        """The race whose record this is is in the store."""

    def rescored(self, outcome: str) -> None:
        """A result was played again: `agrees`, `differs`, or why it could not be: `unreplayable`, `other version`."""

    def dead(self, reason: str) -> None:
        """A record could not be processed and is among the dead letters."""

    def troubled(self, partition: int, fault: str) -> None:
        """A partition waits, because something of it could not be done just now."""

    def owing(self, partitions: int) -> None:
        """So many partitions have results stored whose effects are still to come."""
