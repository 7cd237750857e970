"""Whether Kafka's topics are as strong as the settings ask for: looked at before anybody is served, and told loudly."""

import asyncio

import structlog

from persistence.errors import StoreError
from persistence.kafka.options import KafkaOptions
from persistence.kafka.topics import TopicOptions

__all__ = ["look_at_topics", "look_until_seen"]

AGAIN_S = 30.0
"""Kafka may be away when a server starts; so often it is asked until it has said what its topics are like."""

log = structlog.get_logger(__name__)


async def look_at_topics(kafka: KafkaOptions, topics: TopicOptions) -> bool:
    """Say in the log in what topics are weaker than asked for; False where Kafka does not answer in time.

    Raises StoreError, not retriable, where they are weaker and `kafka.production` is set: what `stored` promises would
    not hold.
    """
    from persistence.kafka.admin import check_topics  # loads aiokafka

    try:
        async with asyncio.timeout(kafka.request_ms / 1000):
            reports = await check_topics(kafka, topics)
    except (StoreError, TimeoutError) as away:
        if isinstance(away, StoreError) and not away.retriable:
            raise
        log.warning("Kafka does not say what its topics are like", why=str(away) or "it does not answer")
        return False
    faults = [fault for report in reports for fault in report.faults]
    for fault in faults:
        log.error("a result that is stored is less safe than it should be", why=fault)
    if faults and kafka.production:
        raise StoreError(
            f"kafka.production is set, and topics are weaker than [topics] asks for: {'; '.join(faults)}",
            retriable=False,
        )
    return True


async def look_until_seen(kafka: KafkaOptions, topics: TopicOptions) -> None:
    """Ask again and again, beside all else, until Kafka has said what its topics are like."""
    while True:
        await asyncio.sleep(AGAIN_S)
        try:
            if await look_at_topics(kafka, topics):
                return
        except StoreError as fault:
            log.error("this server would not have started, had Kafka answered then", why=str(fault))
            return
