"""A whole cluster on this machine, of real programs: for runs that kill its parts, and for runs that measure it.

- `programs`: a gateway node and a worker as processes: what they say of their health and their figures.
- `balancer`: HAProxy with the configuration that we ship, before some nodes, and what it thinks of them.
- `links`: the ways between two parts, through Toxiproxy.
- `cluster`: all of it together, with Kafka, MariaDB shards and Redis behind it.
- `scraping`: figures as a process shows them to Prometheus.
"""
