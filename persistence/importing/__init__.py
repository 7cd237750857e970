"""Brings an old installation over: its MySQL tables `tests` and `test_results` into the catalogue and the shards.

- `source`: the old database, read alone; `fields`, `values`: what a row says, wherever and however it says it.
- `converting`: fields to a result, or to what is wrong with them.
- `target`: the shards, and what is kept there of the import: how far it is, which old row is which result, bad rows.
- `importing`: an import from beginning to end, and its verification; `report`: bad rows as a file.
- `embedded`: the same of an embedded server's data folder, whose results and tests are what ours are.

Nothing is lost and nothing doubled, whenever it is killed and however often it is run: an old row always becomes the
same result, under the same id, and a chunk counts as read when all of it is written.
"""

from persistence.importing.converting import ImportRules
from persistence.importing.importing import Counts, Differences, Importing, Trial, try_out
from persistence.importing.report import bad_rows, write_report
from persistence.importing.source import OldSite
from persistence.importing.target import Fault, Import, Target

__all__ = [
    "Counts",
    "Differences",
    "Fault",
    "Import",
    "ImportRules",
    "Importing",
    "OldSite",
    "Target",
    "Trial",
    "bad_rows",
    "try_out",
    "write_report",
]
