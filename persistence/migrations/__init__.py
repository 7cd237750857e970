"""The schemas of MySQL databases, as numbered SQL files: `results` for each shard, `content` for tests and word lists.

A file is applied once to a database, in the order of the numbers, and never changed afterwards: what comes later is a
file of its own. Its statements may be begun again after a crash (`IF NOT EXISTS`), for MySQL commits each by itself.
"""
