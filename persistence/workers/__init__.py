"""What consumes the stream: takes results from Kafka, plays doubtful ones again, stores them, does all that follows.

    feed ─> decode ─> re-score ─> store ─> recent lists, boards, notices, analytics ─> commit

- `feed` is the port of what is read, `batch` has the steps, `worker` the order of batches, faults and rebalances.
- `rescore` chooses results and plays them again.

Every step may be done again and comes to the same, so a worker may die between any two of them.
"""
