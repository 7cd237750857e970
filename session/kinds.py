"""Kinds of values on the wire, and what every message of either vocabulary knows of its own fields.

MACs, digests, tickets and receipts are bytes here; where the encoding has none they are base64url without padding.
"""

from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Any, ClassVar, Final, NamedTuple, get_args, get_type_hints

from session.identity import IdentityError, session_from_text, session_to_text

__all__ = [
    "BOOLEAN",
    "BYTES",
    "ID",
    "INTEGER",
    "LIST",
    "MAP",
    "MAX_INTEGER",
    "NUMBER",
    "SESSION",
    "SESSIONS",
    "STRING",
    "STRINGS",
    "Kind",
    "Message",
    "ToClient",
    "Wire",
]

MAX_INTEGER: Final = (1 << 53) - 1
"""Whole numbers on the wire fit a JavaScript double."""


class Kind(NamedTuple):
    """A kind of value on the wire."""

    name: str
    """As the documentation writes it."""
    read: Callable[[Any], Any]
    """From the wire; raises `ValueError` with what it should have been."""
    write: Callable[[Any], Any] | None = None
    """To the wire; None: as it is."""


class Wire(NamedTuple):
    """What a message's field is on the wire."""

    kind: Kind
    meaning: str


def _string(value: object) -> str:
    if type(value) is not str:
        raise ValueError("a string")
    return value


def _boolean(value: object) -> bool:
    if type(value) is not bool:
        raise ValueError("true or false")
    return value


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_INTEGER:
        raise ValueError("a whole number from 0 to 2^53-1")
    return value


def _clock(value: object) -> float:
    if type(value) not in (int, float) or not 0 <= value <= MAX_INTEGER:  # type: ignore[operator]  # numbers by now
        raise ValueError("a number from 0 to 2^53-1")
    return value  # type: ignore[return-value]  # the same


def _bytes(value: object) -> bytes:
    if type(value) is bytes:
        return value
    if type(value) is str:
        try:
            return urlsafe_b64decode(value.encode("ascii") + b"=" * (-len(value) % 4))
        except (Base64Error, UnicodeEncodeError):
            pass
    raise ValueError("bytes, or base64url without padding")


def _session(value: object) -> bytes:
    try:
        return session_from_text(_string(value))
    except IdentityError as exc:
        raise ValueError(str(exc)) from None


def _decimal(value: object) -> int:
    text = _string(value)
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and text[0] != "0" and int(text) <= MAX_INTEGER):
        raise ValueError("a whole number from 1 to 2^53-1 as decimal digits")
    return int(text)


def _strings(value: object) -> tuple[str, ...]:
    if type(value) is not list or not all(type(item) is str for item in value):
        raise ValueError("a list of strings")
    return tuple(value)


def _sessions(value: object) -> tuple[bytes, ...]:
    try:
        return tuple(map(_session, _strings(value)))
    except ValueError:
        raise ValueError("a list of results' ids, each a canonical UUIDv7 string in lower case") from None


def _list(value: object) -> list[Any]:
    if type(value) is not list:
        raise ValueError("a list")
    return value


def _map(value: object) -> dict[Any, Any]:
    if type(value) is not dict:
        raise ValueError("a map")
    return value


STRING = Kind("string", _string)
BOOLEAN = Kind("boolean", _boolean)
INTEGER = Kind("integer", _count)
NUMBER = Kind("number", _clock)
BYTES = Kind("bytes", _bytes)
SESSION = Kind("UUID", _session, session_to_text)
ID = Kind("decimal string", _decimal, str)
STRINGS = Kind("list of strings", _strings, list)
SESSIONS = Kind("list of UUIDs", _sessions, lambda sessions: list(map(session_to_text, sessions)))
LIST = Kind("list", _list)
MAP = Kind("map", _map)


class Message:
    """What both directions share: a tag, and fields that know themselves."""

    __slots__ = ()
    T: ClassVar[str]
    """The message's `t`."""

    @classmethod
    def wire_fields(cls) -> dict[str, tuple[Wire, bool]]:
        """The fields by name: what each is, and whether it may be left out."""
        hints = get_type_hints(cls, include_extras=True)
        return {
            field.name: (
                next(note for note in hints[field.name].__metadata__ if isinstance(note, Wire)),
                type(None) in get_args(get_args(hints[field.name])[0]) or type(field.default) is bool,
            )
            for field in fields(cls)  # type: ignore[arg-type]  # every message is a dataclass
        }


class ToClient(Message):
    """What goes to the client can become a map."""

    __slots__ = ()

    def to_wire(self) -> dict[str, Any]:
        """The message as a map; fields that are None are left out."""
        wire: dict[str, Any] = {"t": self.T}
        for name, write in _writers(type(self)):  # type: ignore[arg-type]  # a class can be hashed
            value = getattr(self, name)
            if value is not None:
                wire[name] = value if write is None else write(value)
        return wire


@cache
def _writers(message: type[ToClient]) -> tuple[tuple[str, Callable[[Any], Any] | None], ...]:
    return tuple((name, wire.kind.write) for name, (wire, _) in message.wire_fields().items())
