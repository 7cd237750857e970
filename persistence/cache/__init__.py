"""Values that may be lost: the port, the in-process cache, and what is kept in it about results.

A cache never answers for what is durable: when it is empty or away, the store is asked.
"""

from persistence.cache.guests import AccountGuests
from persistence.cache.memory import MemoryCache
from persistence.cache.port import Cache, CacheFacts, CacheOptions, Unkept
from persistence.cache.public import PublicResults
from persistence.cache.recent import RecentResults
from persistence.cache.redis import RedisCache
from persistence.cache.rows import Row

__all__ = [
    "AccountGuests",
    "Cache",
    "CacheFacts",
    "CacheOptions",
    "MemoryCache",
    "PublicResults",
    "RecentResults",
    "RedisCache",
    "Row",
    "Unkept",
]
