"""What a kind of server is, and which kinds there are."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol

from loadtest.servers.addresses import Addresses

__all__ = ["KINDS", "Kind", "kind_named"]


class Kind(Protocol):
    """All servers of one kind that development and tests want, as one thing to start and stop.

    A kind is made with the folder that holds its servers' data, one folder each; what lies there from an earlier run
    is used again. `start` returns when all are ready and raises RuntimeError where one is not; `stop` may be called at
    any time, also after a `start` that failed.
    """

    def __init__(self, folder: Path) -> None: ...

    @staticmethod
    def missing() -> str | None:
        """Why it cannot run on this machine, and what to install; None where it can."""
        ...

    def start(self) -> None:
        """Start all of its servers."""
        ...

    def stop(self) -> None:
        """Stop all of its servers."""
        ...

    def addresses(self) -> Addresses:
        """Where they are, for programs."""
        ...

    def settings(self) -> dict[str, str]:
        """Typegate's settings that make use of them: environment variables and their values."""
        ...


KINDS = {
    "mariadb": "loadtest.servers.mariadb:MariaDb",
    "kafka": "loadtest.servers.kafka:Kafka",
    "redis": "loadtest.servers.redis:Redis",
}
"""Every kind by name: the class that starts it, imported when it is asked for. A kind joins by adding a line here."""


def kind_named(name: str) -> type[Kind]:
    """The kind's class. Raises ValueError where there is none of that name."""
    if name not in KINDS:
        raise ValueError(f"there is no kind of server called {name!r}; there are {', '.join(KINDS)}")
    module, _, attribute = KINDS[name].partition(":")
    found: type[Kind] = getattr(importlib.import_module(module), attribute)
    return found
