"""Where races are: the port, those of one process, those in Redis; the clock that all nodes race by.

A race belongs to no node. Its state is one value (`session.race`), changed by compare-and-set; who hears of a change is
the bus's matter, not this package's.
"""

from persistence.races.clock import RaceClock
from persistence.races.memory import MemoryRaces
from persistence.races.port import Races, RacesFacts, RacesOptions, Step
from persistence.races.redis import RedisRaces

__all__ = ["MemoryRaces", "RaceClock", "Races", "RacesFacts", "RacesOptions", "RedisRaces", "Step"]
