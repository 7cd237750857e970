"""What accounts are called, kept where their results are: so it lasts as long, moves with them and goes with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from session.identity import MAX_USER
from session.names import NAME_BYTES

__all__ = ["MOST_NAMED", "Called", "check_names"]

MOST_NAMED: Final = 1_000
"""Users that are asked for, or named, at once."""


class Called(NamedTuple):
    """What an account is called."""

    user: int
    name: str
    """Empty: nothing of its own, though it once was."""
    changes: int
    """How often it was changed: of two words the one with more holds."""


def check_names(names: Mapping[int, str]) -> None:
    """Refuse what no store could hold. Raises ValueError."""
    if len(names) > MOST_NAMED:
        raise ValueError(f"{len(names)} users at once; {MOST_NAMED} are allowed")
    for user, name in names.items():
        if not 1 <= user <= MAX_USER:
            raise ValueError(f"only an account (1 to 2^53-1) has a name, and not {user}")
        if len(name.encode()) > NAME_BYTES:
            raise ValueError(f"a name of {len(name.encode())} bytes; {NAME_BYTES} are allowed")
