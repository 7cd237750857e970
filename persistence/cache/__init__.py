"""Values that may be lost: the port, the in-process cache, and what is kept in it about results.

A cache never answers for what is durable: when it is empty or away, the store is asked.
"""

from persistence.cache.memory import MemoryCache, MemoryCacheOptions
from persistence.cache.port import Cache, CacheFacts
from persistence.cache.recent import RecentResults

__all__ = ["Cache", "CacheFacts", "MemoryCache", "MemoryCacheOptions", "RecentResults"]
