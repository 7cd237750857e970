"""The port of races: what a gateway asks of whatever keeps them, and what may be relied on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from session.messages import Error
from session.race import Race

__all__ = ["Races", "RacesFacts", "RacesOptions", "Step"]

Step: TypeAlias = "Callable[[Race | None, int], Race | Error]"
"""From a race as it stands (None: there is none) and the race's clock to what it is to be, or the error to send.

It may be called several times, as others change the race meanwhile. The same object back: nothing is written.
"""


@dataclass(frozen=True, slots=True)
class RacesOptions:
    """How many races there may be, and how long they are kept."""

    most: int = 20_000
    """Races that are not over, at once, in the whole cluster."""
    open_most: int = 500
    """Public lobbies of a language that strangers are led to; of more the oldest are not found."""
    live_ms: int = 2 * 3_600_000
    """A race in which nothing changes for so long is forgotten."""
    settled_ms: int = 24 * 3_600_000
    """How long one that is over is kept."""
    tries: int = 50
    """How often a change is tried anew because somebody else changed the race."""
    retry_ms: int = 20
    """Longest first wait before that; chance takes a part of it, and it doubles up to sixteen times this."""
    clock_ms: int = 10_000
    """How often the race's clock is compared with the server's."""

    def __post_init__(self) -> None:
        for name, most in (
            ("most", 1_000_000),
            ("open_most", 10_000),
            ("live_ms", 7 * 24 * 3_600_000),
            ("settled_ms", 30 * 24 * 3_600_000),
            ("tries", 1_000),
            ("retry_ms", 1_000),
            ("clock_ms", 600_000),
        ):
            value = getattr(self, name)
            if not 1 <= value <= most:
                raise ValueError(f"{name} is {value}; allowed is 1 to {most}")


@dataclass(frozen=True, slots=True)
class RacesFacts:
    """What became of changes since this was opened."""

    changes: int
    """Written ones."""
    conflicts: int
    """Tries that somebody else was quicker than."""
    failures: int
    """Changes that the store refused."""


class Races(Protocol):
    """All races of the cluster.

    Guarantees:

    - **One after the other.** Of changes to a race at once each is made to what the one before left: none is lost, and
      all agree on their order (`Race.version` grows by one with each).
    - **At least once.** Where an answer is lost a change may have been made though `StoreError` is raised. Steps are to
      change nothing when they are repeated; those of `session.racing` do.
    - **One clock.** `now_ms` is the same on all nodes, to a few milliseconds; steps are given it.
    - **Hints to strangers.** `open` names lobbies that were public and had room a moment ago. Join one of them by
      `change`, and try the next where that is refused.
    - **Bounded.** `most` races that are not over; beyond them a new one is `error races_full`. Those that are over, and
      those that nobody changes any more, are forgotten in time.
    - **Away is away.** Where the store cannot be asked a retriable `StoreError` is raised and nothing is made up.
      What is there but cannot be read (of a newer version, damaged) is a `StoreError` that is not.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def timed(self) -> bool:
        """Whether `now_ms` is what all go by; until then it is this machine's clock, which may be anything."""
        ...

    def now_ms(self) -> int:
        """The race's clock, epoch ms; cheap."""
        ...

    async def read(self, race: str) -> Race | None:
        """The race with this id; None where there is none, or the id has not the form of one."""
        ...

    async def change(self, race: str, step: Step) -> Race | Error:
        """Change a race, or make it where `step` does of None; what it is now, or the step's error."""
        ...

    async def open(self, language: str, band: int) -> list[str]:
        """Ids of public lobbies of this language with room: those of the band first, then by nearness."""
        ...

    def facts(self) -> RacesFacts:
        """Facts for metrics; cheap."""
        ...

    async def ping(self) -> None:
        """Raise `StoreError` where races cannot be asked."""
        ...
