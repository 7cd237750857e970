"""The plainest worker: takes batches by aiokafka, unpacks them, inserts them by aiomysql, commits. Nothing else.

    python -m loadtest.bench.results.plainest SERVERS TOPIC DSN SKIP COUNT

No checks, no re-scoring, no copies, no bests, no shards, no lists, no boards, no events: what is left is the price of
the two clients. It prints one line of JSON as `measured` does.
"""

from __future__ import annotations

import json
import sys
import time

import aiomysql
import msgpack
import uvloop
from aiokafka import AIOKafkaConsumer

from persistence.mysql.dsn import Dsn

__all__: list[str] = []

TABLE = (
    "CREATE TABLE IF NOT EXISTS plain (id BINARY(16) PRIMARY KEY, user_id BIGINT NOT NULL, wpm DECIMAL(7,2) NOT NULL, "
    "raw_wpm DECIMAL(7,2) NOT NULL, accuracy DECIMAL(5,2) NOT NULL, replay BLOB NOT NULL)"
)
INSERT = "INSERT IGNORE INTO plain (id, user_id, wpm, raw_wpm, accuracy, replay) VALUES (%s, %s, %s, %s, %s, %s)"
_SESSION, _USER, _REPLAY, _SUMMARY = 1, 2, 4, 6  # places in a packed result, its version before them


async def main(servers: str, topic: str, dsn: Dsn, skip: int, count: int) -> None:
    """Insert until all are there."""
    connection = await aiomysql.connect(
        host=dsn.host, port=dsn.port, user=dsn.user, password=dsn.password or "", db=dsn.database
    )
    cursor = await connection.cursor()
    await cursor.execute(TABLE)
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=servers,
        group_id=f"plainest-{topic}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    seen, began = 0, (0.0, 0.0)
    while seen < skip + count:
        taken = await consumer.getmany(timeout_ms=1_000, max_records=100)
        rows = []
        for records in taken.values():
            for record in records:
                values = msgpack.unpackb(record.value)
                summary = values[_SUMMARY]
                rows.append((values[_SESSION], values[_USER], *summary[:3], values[_REPLAY]))
        if not rows:
            continue
        await cursor.executemany(INSERT, rows)
        await connection.commit()
        await consumer.commit()
        if seen < skip <= seen + len(rows):
            began = (time.process_time(), time.perf_counter())
            skip = seen + len(rows)
        seen += len(rows)
    cpu_s, wall_s = time.process_time() - began[0], time.perf_counter() - began[1]
    facts = {"cpu_us": 1e6 * cpu_s / (seen - skip), "per_s": (seen - skip) / wall_s, "batch": 100.0, "shares": None}
    await consumer.stop()
    connection.close()
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], Dsn.parse(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])))
