"""Redis, standalone or Cluster: what is said to it, and how long one waits for it.

`RedisServers` brings calls to the server that has their keys, in bounded time; while a server is away its calls fail at
once. What lies in Redis may always be lost or old: who keeps something there says what stands in for it.
"""

from persistence.redis.calls import Answer, Argument, Call, Script
from persistence.redis.options import RedisOptions
from persistence.redis.servers import RedisFacts, RedisServers

__all__ = ["Answer", "Argument", "Call", "RedisFacts", "RedisOptions", "RedisServers", "Script"]
