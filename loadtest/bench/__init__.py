"""What this machine does: Typegate beside other WebSocket servers, in one run, by the server's own CPU time.

    python -m loadtest.bench            (`make bench`)
    python -m loadtest.bench --quick
    python -m loadtest.bench --only a,f

Each server is a program of its own, pinned to one core; the load comes from another. Rounds are interleaved and
medians quoted, since a machine is never as quiet as it seems. Nothing here is ever part of a server.
"""
