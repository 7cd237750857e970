"""Races in the simulated cluster: racers as people before pages, and the servers' rooms as they are.

Everything of a node that has to do with races is the product's own: its rooms, the pure race, its compare-and-set in
Redis (`tests.simulation.keys` stands in for the server and its scripts alone), the races' clock, the directory by
leases, takeovers, the records on their way to the store. Around it are pages that do what `room.js`, `race.js` and
`race-clock.js` do, and people who open races, come by link or find one, are ready or not, type, type too early, leave,
look on, and want another one.

    python -m tests.simulation --races --seeds 0:10000
"""
