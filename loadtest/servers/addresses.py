"""How one process tells others where its servers are: a JSON file whose path is in TYPEGATE_TEST_SERVERS.

The file maps kind to names and values: `{"kafka": {"bootstrap": "127.0.0.1:20001,127.0.0.1:20002"}}`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

__all__ = ["VARIABLE", "Addresses", "given", "write"]

VARIABLE = "TYPEGATE_TEST_SERVERS"

Addresses: TypeAlias = dict[str, Any]
"""Where the servers of a kind are: names and JSON values, as the kind's own file documents them."""


def write(file: Path, addresses: Mapping[str, Addresses]) -> None:
    """Write the file whole or not at all."""
    part = file.with_suffix(".part")
    part.write_text(json.dumps(addresses, indent=1) + "\n", encoding="utf-8")
    part.rename(file)


def given(kind: str) -> Addresses | None:
    """The addresses of a kind that somebody started for us; None where nobody did."""
    file = os.environ.get(VARIABLE)
    if not file:
        return None
    found: dict[str, Addresses] = json.loads(Path(file).read_text(encoding="utf-8"))
    return found.get(kind)
