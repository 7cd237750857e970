"""What accounts are called, as SQL: decided in the shard that is read, then written down in any other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from persistence.mysql.literals import text
from persistence.mysql.pool import Connection
from persistence.results.names import Called

__all__ = ["TABLE", "call", "names", "of_user", "put"]

TABLE: Final = "user_names"

_COLUMNS: Final = "user_id, name, changes"


async def call(connection: Connection, said: Mapping[int, str]) -> list[Called]:
    """Let accounts be called so from now on; what holds."""
    values = ", ".join(f"({int(user)}, {text(name)}, 1)" for user, name in sorted(said.items()))
    # assignments are made from left to right
    await connection.run(
        f"INSERT INTO {TABLE} ({_COLUMNS}) VALUES {values} "
        "ON DUPLICATE KEY UPDATE changes = changes + (name <> VALUES(name)), name = VALUES(name)"
    )
    return await _words(connection, said)


async def put(connection: Connection, words: Sequence[Called]) -> None:
    """Take over what was said elsewhere, where it is the later word."""
    if words:
        values = ", ".join(f"({one.user}, {text(one.name)}, {one.changes})" for one in words)
        await connection.run(
            f"INSERT INTO {TABLE} ({_COLUMNS}) VALUES {values} ON DUPLICATE KEY UPDATE "
            "name = IF(VALUES(changes) > changes, VALUES(name), name), changes = GREATEST(changes, VALUES(changes))"
        )


async def names(connection: Connection, users: Collection[int]) -> dict[int, str]:
    """What those of these users are called who have a name."""
    return {one.user: one.name for one in await _words(connection, users) if one.name}


async def of_user(connection: Connection, user: int) -> list[Called]:
    """What a user is called, as one word at the most."""
    return await _words(connection, (user,))


async def _words(connection: Connection, users: Collection[int]) -> list[Called]:
    wanted = ", ".join(str(int(user)) for user in sorted(users))
    rows = await connection.ask(f"SELECT {_COLUMNS} FROM {TABLE} WHERE user_id IN ({wanted})")
    return [Called(*row) for row in rows]
