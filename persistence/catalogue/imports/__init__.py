"""Importing files: bytes to text, text to rows, rows to tests and word lists, each step with its own kind of complaint.

`import_file` does all three and adds what came out to a catalogue. Nothing here writes, and nothing decides on ids and
versions: that is the catalogue's.
"""

from persistence.catalogue.imports.importing import ImportOptions, import_file
from persistence.catalogue.imports.rows import BadRow, Format, ImportRefused, Progress, Report

__all__ = ["BadRow", "Format", "ImportOptions", "ImportRefused", "Progress", "Report", "import_file"]
