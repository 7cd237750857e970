"""States of a typing session."""

from enum import Enum


class State(Enum):
    """Where a typing session stands."""

    CREATED = "created"
    RUNNING = "running"
    DETACHED = "detached"
    FINISHED = "finished"
    ABANDONED = "abandoned"
