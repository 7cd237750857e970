"""The command `typegate`: a file of this package for each of its commands.

Each command is a file; what it needs is imported when it runs, so that `--help` answers at once. A command that
cannot do what was asked says why and what to do next, and ends with 1; one that cannot even begin ends with 2.
"""

import click

from gateway.cli.ban import ban
from gateway.cli.check import check
from gateway.cli.completion import completion
from gateway.cli.dlq import dlq
from gateway.cli.embedded import embedded
from gateway.cli.importing import import_
from gateway.cli.keys import keys
from gateway.cli.leaderboards import leaderboards
from gateway.cli.migrate import migrate
from gateway.cli.nodes import nodes
from gateway.cli.partitions import partitions
from gateway.cli.replay import replay
from gateway.cli.serve import serve
from gateway.cli.shards import shards
from gateway.cli.spool import spool
from gateway.cli.tests import tests
from gateway.cli.topics import topics
from gateway.cli.worker import worker
from gateway.version import version

__all__ = ["main"]

EXAMPLES = """\b
Examples:
  typegate serve                          serve on http://127.0.0.1:8080
  typegate serve --port 0 --open          on a free port, and open it in the browser
  typegate check --config typegate.toml   what is wrong with these settings?
  typegate tests import quotes.json       add passages
"""


@click.group(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version(), "--version", prog_name="typegate")
def main() -> None:
    """Serves typing tests: every keystroke scored on the server as it arrives, no result lost."""


migrate.add_command(import_)
migrate.add_command(embedded)
for command in (
    *(serve, worker, check, tests, replay, keys, completion),
    *(topics, spool, dlq, migrate, partitions, shards, leaderboards, nodes, ban),
):
    main.add_command(command)
