"""`typegate topics`: Kafka's topics, made and checked."""

import asyncio
from pathlib import Path

import click

from gateway.cli.options import Failed, examples, read_settings, settings_flags

__all__ = ["topics"]

EXAMPLES = ("typegate topics create", "typegate topics check --config /etc/typegate.toml")


@click.group(epilog=examples(*EXAMPLES))
def topics() -> None:
    """Make and check the topics that Kafka keeps results in ([kafka] and [topics] of the settings)."""


@topics.command(
    epilog=examples(
        "typegate topics create",
        "TYPEGATE_TOPICS_REPLICATION=1 TYPEGATE_TOPICS_MIN_INSYNC=1 typegate topics create    with a single broker",
    )
)
@settings_flags
def create(config: Path | None, data: Path | None) -> None:
    """Make the topics that are missing, and check all. What is there already is not changed.

    Ends with 1 where one is weaker than [topics] asks for.
    """
    _visit(config, data, create_missing=True)


@topics.command(epilog=examples("typegate topics check"))
@settings_flags
def check(config: Path | None, data: Path | None) -> None:
    """Say of each topic in what it is weaker than [topics] asks for, and what to do.

    Ends with 0 when all is well and with 1 otherwise.
    """
    _visit(config, data, create_missing=False)


def _visit(config: Path | None, data: Path | None, *, create_missing: bool) -> None:
    settings = read_settings(config, {"node.data": ("--data", data)})
    if not settings.kafka.enabled:
        raise Failed("There is no Kafka: kafka.servers is empty.")
    from config.logs import set_up
    from persistence.errors import StoreError
    from persistence.kafka.admin import check_topics, create_topics

    set_up(settings.log)
    visit = create_topics if create_missing else check_topics
    try:
        reports = asyncio.run(visit(settings.kafka, settings.topics))
    except StoreError as fault:
        raise Failed(f"{fault}.") from None
    for report in reports:
        for weakness in report.faults:
            click.echo(f"{weakness}.")
        if not report.faults:
            click.echo(f"topic {report.topic} {'was made' if report.created else 'is as it should be'}.")
    weak = sum(bool(report.faults) for report in reports)
    if weak:
        raise Failed(f"{weak} of {len(reports)} topics {'is' if weak == 1 else 'are'} weaker than asked for.")
