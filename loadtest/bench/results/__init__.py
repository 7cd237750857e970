"""What a result costs on its way from Kafka to MySQL and beyond, on real servers of the run's own.

    python -m loadtest.bench.results            (`make bench-results`)
    python -m loadtest.bench.results --quick

- `plant`: the servers, their topics and tables, and a topic full of results of the bench mix.
- `measured`: a worker process that says what CPU time it took for so many results, and what that went into.
- `plainest`: the least that a worker could do on the same topic, as the limit to compare with.
- `live`: a gateway and a worker under typists: how long a result takes, and how long readers wait.

CPU time is the worker process's own; brokers and databases are not counted, and share the machine.
"""
