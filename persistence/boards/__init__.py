"""Leaderboards in front of the result store: the port, those of one process, those in Redis; percentiles.

They keep nothing that the store does not have, and are read from it anew whenever they may lack something.
"""

from persistence.boards.direct import StoreBoards
from persistence.boards.memory import MemoryBoards
from persistence.boards.port import BoardPage, Boards, BoardsFacts, BoardsOptions, Ranked
from persistence.boards.redis import RedisBoards
from persistence.boards.speeds import CountedSpeeds, Speeds

__all__ = [
    "BoardPage",
    "Boards",
    "BoardsFacts",
    "BoardsOptions",
    "CountedSpeeds",
    "MemoryBoards",
    "Ranked",
    "RedisBoards",
    "Speeds",
    "StoreBoards",
]
