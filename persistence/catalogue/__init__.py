"""The catalogue of tests and word lists: what there is to type, every version of it for ever.

`Catalogue` is the port. `EmbeddedCatalogue` is its driver for one machine: the content that comes with Typegate, and
what `import_file` added, in a SQLite file; `catalogue.mysql` keeps that in a database, for many nodes. Reads come from
`catalogue.shelf`, without I/O. It never chooses a text (session does, by seed), and it never changes or removes a
version.
"""

from persistence.catalogue.embedded import EmbeddedCatalogue
from persistence.catalogue.entries import (
    DIFFICULTIES,
    Added,
    Difficulty,
    Direction,
    NewTest,
    NewWordList,
    Page,
    Test,
    WordList,
)
from persistence.catalogue.imports import BadRow, Format, ImportOptions, ImportRefused, Report, import_file
from persistence.catalogue.options import CatalogueOptions
from persistence.catalogue.port import Catalogue, CatalogueError, Finds
from persistence.catalogue.shelf import Shelf

__all__ = [
    "DIFFICULTIES",
    "Added",
    "BadRow",
    "Catalogue",
    "CatalogueError",
    "CatalogueOptions",
    "Difficulty",
    "Direction",
    "EmbeddedCatalogue",
    "Finds",
    "Format",
    "ImportOptions",
    "ImportRefused",
    "NewTest",
    "NewWordList",
    "Page",
    "Report",
    "Shelf",
    "Test",
    "WordList",
    "import_file",
]
