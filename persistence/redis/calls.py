"""What is said to Redis and what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1
from typing import Any, TypeAlias

Argument: TypeAlias = bytes | str | int


@dataclass(frozen=True, slots=True)
class Call:
    """One command, brought to the server that has `key`. It may be carried out twice where an answer is lost."""

    key: str
    command: tuple[Argument, ...]
    script: Script | None = None
    """The script that the command names by its digest; it is sent whole to a server that does not know it."""

    @property
    def whole(self) -> tuple[Argument, ...]:
        """The command with the script itself instead of its digest."""
        assert self.script is not None
        return ("EVAL", self.script.body, *self.command[2:])


class Script:
    """A Lua script: runs in one piece, on one server, with all of its keys in one slot (one hash tag)."""

    __slots__ = ("body", "digest")

    def __init__(self, body: str) -> None:
        self.body = body
        self.digest = sha1(body.encode(), usedforsecurity=False).hexdigest()

    def call(self, keys: tuple[str, ...], *arguments: Argument) -> Call:
        """A call of the script with these KEYS and ARGV."""
        return Call(keys[0], ("EVALSHA", self.digest, len(keys), *keys, *arguments), self)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, and which run of it."""

    value: Any
    """None, int, bytes, or a list of them."""
    run: str
    """The server's `run_id`: another after a restart or a failover, when it may have lost what it had promised."""
