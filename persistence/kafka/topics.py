"""The topics: how they should be, how they are, and what to do where they are weaker than that.

A result that Kafka has confirmed lives in as many brokers as the topic says; so what `stored` is worth is decided here.
Partitions may be more than asked for and never fewer: they bound how many workers can share the work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from persistence.kafka.options import KafkaOptions

__all__ = ["Found", "Report", "TopicOptions", "Wanted", "wanted", "weaknesses"]

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class TopicOptions:
    """How the topics are made, and what is the least that they may be."""

    replication: int = 3
    """Brokers that have each record; 1 where there is one broker, and then its disk is all there is."""
    min_insync: int = 2
    """Brokers that must have a record before it counts as stored."""
    results_partitions: int = 100
    """Partitions of the results' topic: the most workers that can share it out."""
    analytics_partitions: int = 50
    """Partitions of the analytics' topic."""
    dead_letter_partitions: int = 10
    """Partitions of the dead letters' topic."""
    retention_days: int = 7
    """Days that results and analytics events are kept: how far a worker can be rewound."""
    dead_letter_days: int = 30
    """Days that dead letters are kept: how long somebody may take to look at them."""

    def __post_init__(self) -> None:
        for name, most in (
            ("replication", 32_767),
            ("min_insync", 32_767),
            ("results_partitions", 100_000),
            ("analytics_partitions", 100_000),
            ("dead_letter_partitions", 100_000),
            ("retention_days", 3_650),
            ("dead_letter_days", 3_650),
        ):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is 1 to {most}")
        if self.min_insync > self.replication:
            raise ValueError(
                f"min_insync is {self.min_insync} and replication {self.replication}; no more brokers can have a "
                "record than hold it"
            )


class Wanted(NamedTuple):
    """A topic as it should be."""

    name: str
    partitions: int
    replication: int
    configs: Mapping[str, str]
    """Kafka's names and values, as a topic is created with."""


class Found(NamedTuple):
    """A topic as it is."""

    partitions: int
    replication: int
    """Of the partition that has the fewest replicas."""
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Report:
    """What was found of one topic."""

    topic: str
    created: bool
    """Whether it was made just now."""
    faults: tuple[str, ...]
    """In which it is weaker than it should be, each with what to do; none when all is well."""


def wanted(kafka: KafkaOptions, options: TopicOptions) -> list[Wanted]:
    """The three topics as they should be."""

    def topic(name: str, partitions: int, days: int) -> Wanted:
        configs = {
            "cleanup.policy": "delete",
            "min.insync.replicas": str(options.min_insync),
            "unclean.leader.election.enable": "false",
            "retention.ms": str(days * _DAY_MS),
            # Retention and a worker's rewind go by the brokers' clock: a gateway's may be set wrong.
            "message.timestamp.type": "LogAppendTime",
        }
        return Wanted(name, partitions, options.replication, configs)

    return [
        topic(kafka.results_topic, options.results_partitions, options.retention_days),
        topic(kafka.analytics_topic, options.analytics_partitions, options.retention_days),
        topic(kafka.dead_letter_topic, options.dead_letter_partitions, options.dead_letter_days),
    ]


def weaknesses(want: Wanted, found: Found | None) -> list[str]:
    """In which a topic is weaker than it should be; a sentence each, with what to do."""
    name = want.name
    if found is None:
        return [f"topic {name} is missing; make it with: typegate topics create"]
    faults = []
    if found.partitions < want.partitions:
        faults.append(
            f"topic {name} has {found.partitions} partitions, {want.partitions} are wanted; add them with: "
            f"kafka-topics.sh --alter --topic {name} --partitions {want.partitions}"
        )
    if found.replication < want.replication:
        faults.append(
            f"topic {name} has {found.replication} replicas of a partition, {want.replication} are wanted; add them "
            "with kafka-reassign-partitions.sh"
        )
    for config, value in want.configs.items():
        is_now = found.configs.get(config, "")
        if not _as_strong(config, is_now, value):
            faults.append(
                f"topic {name} has {config}={is_now or 'nothing'}, {value} is wanted; set it with: "
                f"kafka-configs.sh --alter --topic {name} --add-config {config}={value}"
            )
    return faults


def _as_strong(config: str, is_now: str, value: str) -> bool:
    if config == "min.insync.replicas":
        return is_now.isdigit() and int(is_now) >= int(value)
    if config == "retention.ms":
        return is_now == "-1" or (is_now.isdigit() and int(is_now) >= int(value))  # -1: for ever
    return is_now == value
