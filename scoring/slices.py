"""Work in slices: a generator that yields wherever it may be put aside, and returns what the work comes to.

Who has others to serve takes slices when there is time for them; who has not, all of them at once.
"""

from collections.abc import Generator
from typing import TypeVar

__all__ = ["at_once"]

T = TypeVar("T")


def at_once(job: Generator[None, None, T]) -> T:
    """Do the work to its end without a break."""
    while True:
        try:
            next(job)
        except StopIteration as end:
            value: T = end.value
            return value
