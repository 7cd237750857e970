"""Races that are over, for good: the port, and what the result stores keep of them.

They lie where results lie, and have their way there from the spool (`persistence.stream`): a store of results has its
races in `races`. Live races are `persistence.races`' own.
"""

from persistence.race_records.port import RacePage, RaceRecords

__all__ = ["RacePage", "RaceRecords"]
