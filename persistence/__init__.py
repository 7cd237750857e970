"""What outlives the process: ports with their guarantees, and beside each its embedded default.

- `folder` and `keys`: the data folder (layout, permissions, lock, free space) and the cluster's keys in it.
- `stream`: the durable spool, and the stream that carries spooled results to where they are confirmed.
- `kafka`: a cluster that comes and goes, an idempotent producer, the topics.
- `results`: finished results, in SQLite or in MySQL's shards: by id, by user, progress, personal bests.
- `cache`: bounded, expiring values with one loader a key, in this process or in Redis; the recent results of a user.
- `boards`: leaderboards in front of the result store, in this process or in Redis; percentiles.
- `races`: races, each one value changed by compare-and-set, in this process or in Redis; the clock that nodes race by.
- `mysql`, `migrations`: pools of connections to MySQL's shards, which bucket is where, and the schemas.
- `redis`: the connections to Redis, standalone or Cluster, and how long one waits for it.
- `errors`, `sqlite`, `lock`: the three ways to fail, how a SQLite file is opened and worked on, locks that die with us.
- `catalogue`, `content`: tests and word lists, immutable by id and version, and the built-in ones.
- `importing`: an old installation's tests and results, brought over from its MySQL tables.

Every port is an async context manager with `ping()`; its coroutines never block the event loop (disk work is done on
threads of its own). Nothing is opened at import. There is no connection and no HTTP in here.
"""
