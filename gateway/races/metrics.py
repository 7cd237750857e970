"""What operators see of races: facts, asked for at each scrape."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.races.rooms import Rooms

__all__ = ["families"]


def families(rooms: Rooms) -> Iterable[Metric]:
    """The figures of a process's rooms, and of its changes to races."""
    facts, store = rooms.facts, rooms.races.facts()
    open_rooms = GaugeMetricFamily("typegate_rooms", "Races with somebody who is connected here", labels=["phase"])
    for phase, count in rooms.phases().items():
        open_rooms.add_metric([phase], count)
    yield open_rooms
    people = GaugeMetricFamily("typegate_room_members", "Connections in races", labels=["kind"])
    for kind, count in rooms.people().items():
        people.add_metric([kind], count)
    yield people
    yield GaugeMetricFamily("typegate_rooms_frozen", "Rooms that stand still: Redis is away", value=rooms.frozen())
    phases = CounterMetricFamily("typegate_race_phases", "Races that this process brought into a phase", labels=["to"])
    for phase, count in facts.phases.items():
        phases.add_metric([phase], count)
    yield phases
    records = CounterMetricFamily("typegate_race_records", "Records of races that are over", labels=["how"])
    for how in ("spooled", "refused", "missed"):
        records.add_metric([how], facts.records[how])
    yield records
    changes = CounterMetricFamily("typegate_race_changes", "Changes of races, by what became of them", labels=["how"])
    for how, count in (("written", store.changes), ("conflict", store.conflicts), ("failed", store.failures)):
        changes.add_metric([how], count)
    yield changes
    frames = CounterMetricFamily("typegate_race_frames", "Messages sent to clients in races", labels=["kind"])
    frames.add_metric(["progress"], facts.progress)
    frames.add_metric(["state"], facts.states)
    yield frames
    yield CounterMetricFamily("typegate_race_posts", "Messages of progress to other processes", value=facts.posted)
    yield CounterMetricFamily("typegate_race_misheard", "Messages of races that made no sense", value=facts.misheard)
