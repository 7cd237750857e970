"""What a cluster costs and how fast it is, with nodes and Redis of this run's own.

    python -m loadtest.bench.cluster            (`make bench-cluster`)
    python -m loadtest.bench.cluster --quick
    python -m loadtest.bench.cluster --only a,c,f

- `plant`: Redis and nodes as real programs, and what each of them cost.
- `takeover` (a), `death` (b), `ticks` (c), `rooms` (d), `toll` (e): the measures. `racing`: the racers of c and d.
- `plan` (f): thirty nodes on paper, from what was measured. Pure.

The load is in this process, each node and Redis in one of its own; on two cores they share them, and a row tells how
late the load itself was.
"""
