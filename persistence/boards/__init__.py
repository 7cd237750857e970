"""Leaderboards in front of the result store: the port, those of one process, and those in Redis.

They keep nothing that the store does not have, and are read from it anew whenever they may lack something.
"""

from persistence.boards.memory import MemoryBoards
from persistence.boards.port import BoardPage, Boards, BoardsFacts, BoardsOptions, Ranked
from persistence.boards.redis import RedisBoards

__all__ = ["BoardPage", "Boards", "BoardsFacts", "BoardsOptions", "MemoryBoards", "Ranked", "RedisBoards"]
