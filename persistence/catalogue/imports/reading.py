"""A file's bytes to text: UTF-8, or what a byte order mark says; anything else is refused with the byte that tells."""

from __future__ import annotations

import codecs
from os import PathLike
from pathlib import Path

from persistence.catalogue.imports.rows import ImportRefused

# UTF-32's little-endian mark begins with UTF-16's, so it is asked for first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_text(path: str | PathLike[str], *, max_bytes: int) -> str:
    """The text of a file, without its byte order mark and with `\\n` for each end of line. Raises `ImportRefused`."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(max_bytes + 1)  # never more, whatever the file is: a pipe, or something without an end
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ImportRefused(f"{path} cannot be read: {reason}") from error
    if len(content) > max_bytes:
        raise ImportRefused(f"{path} is larger than {max_bytes:,} bytes, which is the most allowed; split it")

    encoding = "utf-8"
    mark = b""
    for known_mark, its_encoding in _MARKS:
        if content.startswith(known_mark):
            mark, encoding = known_mark, its_encoding
            break
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise ImportRefused(_undecodable(path, content, error, len(mark))) from error
    nul = text.find("\x00")
    if nul >= 0:
        line = text.count("\n", 0, nul) + 1
        raise ImportRefused(
            f"{path} has a NUL character on line {line}: it is no text file, or UTF-16 without a byte order mark;"
            " allowed: text in UTF-8, or in UTF-16 or UTF-32 with a byte order mark"
        )
    if not text.strip():
        raise ImportRefused(f"{path} is empty")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _undecodable(path: str | PathLike[str], content: bytes, error: UnicodeDecodeError, skipped: int) -> str:
    offset = skipped + error.start
    name = error.encoding.upper()
    line = content.count(b"\n", 0, offset) + 1
    return (
        f"{path} is not {name}: byte 0x{content[offset]:02x} at offset {offset} (line {line}) does not fit;"
        " save it as UTF-8 and try again"
    )
