"""Where a MySQL database is and who we are there: `mysql://user:password@host:3306/database?ca=/etc/ssl/db.pem`.

A user or password with other characters than letters, digits, `-._~` is percent-encoded, as in any URL. With `ca`, the
PEM file of the authority that the server's certificate must come from, the connection is TLS; without it, it is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["Dsn"]

_SCHEMES = ("mysql", "mariadb")
_PORT = 3306
_EXAMPLE = "mysql://typegate:secret@db-1.internal:3306/typegate"


@dataclass(frozen=True, slots=True)
class Dsn:
    """A database, and the account to reach it by. Its text has no password."""

    host: str
    port: int
    user: str
    password: str | None = field(repr=False)
    """None where the address has none; the settings' password file has it then."""
    database: str
    ca: Path | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.database}"

    @classmethod
    def parse(cls, text: str) -> Dsn:
        """Read an address. Raises ValueError with what is wrong, and never with the password."""
        try:
            parts = urlsplit(text)
            port = parts.port or _PORT
            options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)) if parts.query else {}
        except ValueError as fault:
            raise ValueError(f"{_bare(text)!r} is no address ({fault}); write {_EXAMPLE}") from None
        ca = options.pop("ca", None)
        if parts.scheme not in _SCHEMES:
            what = f"begins with {parts.scheme}://" if parts.scheme else "has no scheme"
        elif not parts.hostname:
            what = "names no host"
        elif not parts.username:
            what = "names no user"
        elif not parts.path[1:] or "/" in parts.path[1:]:
            what = "names no database"
        elif options or parts.fragment or ca == "":
            what = f"has {', '.join(options) or parts.fragment or 'an empty ca'}, where ca=FILE alone is known"
        else:
            return cls(
                host=parts.hostname,
                port=port,
                user=unquote(parts.username),
                password=None if parts.password is None else unquote(parts.password),
                database=unquote(parts.path[1:]),
                ca=None if ca is None else Path(ca),
            )
        raise ValueError(f"{_bare(text)!r} {what}; write {_EXAMPLE}")


def _bare(text: str) -> str:
    """The address without what may be a password: all between the scheme and the last `@`."""
    scheme, separator, rest = text.rpartition("://") if "://" in text else ("", "", text)
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
