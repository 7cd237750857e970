"""Who holds each session that was ever taken over: the port, and what keeps it, in this process or in Redis.

A session that was never taken over has no record: its ticket names the process that it began on.
"""

from persistence.holders.memory import MemoryHolders
from persistence.holders.port import KEPT_S, Holders, Holding
from persistence.holders.redis import RedisHolders

__all__ = ["KEPT_S", "Holders", "Holding", "MemoryHolders", "RedisHolders"]
