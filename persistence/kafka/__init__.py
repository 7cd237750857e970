"""Talking to Kafka, bounded in time whatever its brokers do.

- `options`: where it is, who we are there, how long it may take; what its clients are made with.
- `cluster`, `reach`: one client kept alive through outages: connected when there is somebody to connect to.
- `lot`, `producer`: an idempotent producer that brings lots of records and says of each what became of it.
- `topics`, `admin`: how the topics should be, and how they are; they are made here.

What records say is not known in here; that is `persistence.stream`'s and the workers' affair. Import from the files:
all but `options`, `lot` and `topics` load aiokafka, which a process without Kafka need not have in memory.
"""
