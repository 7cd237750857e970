"""The result store on sharded, partitioned MySQL.

- `store`: the port's driver: which shard a result goes to and is read from.
- `writing`: one transaction on one shard; `progress` and `bests`: what follows from its rows, as SQL.
- `links`: whose account has which guest's past.
- `rows`: a result as a row and back; `played`: what rows do not have, made again from the log.
- `servers`, `state`: a shard's primary and replicas, and what it says of itself.
- `upkeep`, `partitions`: migrations, partitions ahead; `moving`: a bucket's way to another shard.

The tables are in `persistence/migrations/results`.
"""

from persistence.results.mysql.store import MysqlResults
from persistence.results.mysql.upkeep import Upkeep

__all__ = ["MysqlResults", "Upkeep"]
