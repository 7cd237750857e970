"""What nodes say to each other about tests that are watched. Each is a list; a newer version may add to its end.

On the channel `watching`, which all hear, a node says at what its connections look on:

    [thread, session, level, anew], ...    `session` is the thread's present test, as far as is known

On the channel of a thread its typist's node shows what there is. All begin with a word, the node, and the epoch at
which it took the test over: of two nodes that both think they have it, the one with the greater epoch does.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ANYBODY", "CHANNEL", "END", "FULL", "KEYS", "OTHERS", "OWN", "STATE", "TEST", "WHO", "channel_of", "look"]

CHANNEL = "watching"

ANYBODY, OTHERS, OWN = 0, 1, 2
"""On whose behalf a node looks: it does not know yet whether they may; of others; of the typist too."""

WHO = "who"
"""`user`: there is such a test, but it is for its own user alone."""
TEST = "test"
"""`ticket, open, name`: this test is shown from now on, from its first key; `open`: not only to its own user; `name`:
what its typist's account is called, None where it has no name, or where that is not known here. It is said again where
that comes to be known."""
KEYS = "keys"
"""`session, n, keys, ms, wpm, raw, acc, err`: keys from number n on, and the figures after them."""
STATE = "state"
"""`state, user, open`: typing, away, waiting or gone; said again all the time: we are there."""
END = "end"
"""`session, how, figures, verdict`: the test is over; figures as a map, or None without a result."""
FULL = "full"
"""Nothing of it is shown: so many are shown already."""


def channel_of(thread: bytes) -> str:
    """The channel on which a thread is shown."""
    return f"watch:{thread.hex()}"


def look(entry: Any) -> tuple[bytes, bytes, int, bool]:
    """What another node looks at. Raises ValueError."""
    match entry:
        case [bytes(thread), bytes(session), int(level), bool(anew), *_] if len(thread) == len(session) == 16:
            return thread, session, level, anew
    raise ValueError("nobody looks at that")
