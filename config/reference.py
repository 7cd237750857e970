"""Writes `typegate.toml`: every setting with its default, commented out, and what it means.

`python -m config.reference > config/typegate.toml` after an option changed; a test holds the file to the code. The
meanings are the docstrings below the fields, which Python does not keep, so they are read from the source.
"""

import ast
import dataclasses
import inspect
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from config.settings import Settings

__all__ = ["meanings", "render"]

HEAD = """\
# Every setting of Typegate with its default. Remove the `#` before a line to change it.
#
# Read from ./typegate.toml, from the file that TYPEGATE_CONFIG names, or with: typegate serve --config FILE
# The environment wins over this file (TYPEGATE_SERVER_PORT=9000 for [server] port), flags win over both.
# `typegate check` says what is wrong with the settings, all at once.
"""
EXAMPLES: Mapping[str, str] = {"node.name": '"node-1"'}
"""What stands for a default that differs from machine to machine."""


def meanings(kind: type[Any]) -> dict[str, str]:
    """The docstrings below a class's fields, by field."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    field = ""
    for statement in definition.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name)):
                field = name
            case ast.Expr(value=ast.Constant(value=str(text))) if field:
                found[field] = inspect.cleandoc(text)
                field = ""
            case _:
                field = ""
    return found


def render() -> str:
    """The whole file."""
    parts = [HEAD]
    for section, info in Settings.model_fields.items():
        options = info.get_default(call_default_factory=True)
        parts.append(f"\n# {(inspect.getdoc(type(options)) or '').splitlines()[0]}\n[{section}]\n")
        meaning = meanings(type(options))
        for field in dataclasses.fields(options):
            if dataclasses.is_dataclass(getattr(options, field.name)):
                continue  # a section of its own
            lines = textwrap.wrap(" ".join(meaning[field.name].split()), 117)
            parts += [f"# {line}\n" for line in lines]
            value = EXAMPLES.get(f"{section}.{field.name}") or _toml(getattr(options, field.name))
            parts.append(f"#{field.name} = {value}\n")
    return "".join(parts)


def _toml(value: object) -> str:
    """A default as TOML writes it; what is absent by default is shown empty."""
    match value:
        case None:
            return '""'
        case bool():
            return str(value).lower()
        case int():
            return f"{value:_}" if abs(value) >= 100_000 else str(value)
        case float():
            return repr(value)
        case str() | Path():
            return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
        case tuple() | list():
            return "[" + ", ".join(_toml(item) for item in value) + "]"
        case Mapping():
            return "{" + ", ".join(f"{_toml(str(key))} = {_toml(item)}" for key, item in value.items()) + "}"
        case _:
            raise TypeError(f"{value!r} has no form in TOML")


if __name__ == "__main__":
    sys.stdout.write(render())
