"""The cluster in one process, without real time, network, disk or chance: every run of a seed is the same run.

The real classes are run (hub, connections, submissions, spool, drain, bus, takeovers), each process on an event loop of
its own whose time is the world's. What is around them stands in for the outside: a network that delays, cuts and leaves
half-open; disks of which it is known what lay on them at a crash; a broker, a store and a Redis that go away; browsers
with tabs, what they keep, and people who type. A seed makes a plan of all that goes wrong; laws are asserted on the way
and at the end: promise 1 of the design, "what you typed is never lost".

    python -m tests.simulation --seeds 0:10000        # many, with a progress bar
    python -m tests.simulation --replay 4711          # one, step by step

It mirrors no package: it holds all of them together. And it is no part of `loadtest`, for it reaches into the server,
which a load test never does.
"""
