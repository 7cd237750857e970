"""Guests' links to accounts, as SQL: won in the guest's shard, then listed in the account's."""

from __future__ import annotations

from persistence.mysql.literals import instant
from persistence.mysql.pool import Connection

__all__ = ["account", "guests", "put_in_list", "put_owner", "win"]


async def win(connection: Connection, guest: int, account: int, *, at_ms: int) -> int:
    """The account that a guest's past is, which is this one if it was nobody's."""
    await connection.run(
        "INSERT INTO guest_links (guest_id, account_id, claimed_at) VALUES "
        f"({int(guest)}, {int(account)}, {instant(at_ms)}) ON DUPLICATE KEY UPDATE account_id = account_id"
    )
    ((owner,),) = await connection.ask(f"SELECT account_id FROM guest_links WHERE guest_id = {int(guest)}")
    return int(owner)


async def put_owner(connection: Connection, guest: int, account: int, *, at_ms: int) -> None:
    """Write down in one more shard what was decided in the one that is read."""
    await connection.run(
        "INSERT INTO guest_links (guest_id, account_id, claimed_at) VALUES "
        f"({int(guest)}, {int(account)}, {instant(at_ms)}) ON DUPLICATE KEY UPDATE account_id = VALUES(account_id)"
    )


async def put_in_list(connection: Connection, guest: int, account: int, *, at_ms: int) -> None:
    """Put a guest into its account's list, where it may be already."""
    await connection.run(
        "INSERT INTO account_guests (account_id, guest_id, claimed_at) VALUES "
        f"({int(account)}, {int(guest)}, {instant(at_ms)}) ON DUPLICATE KEY UPDATE claimed_at = claimed_at"
    )


async def account(connection: Connection, guest: int) -> int | None:
    """The account that a guest's past is, by the guest's own shard."""
    rows = await connection.ask(f"SELECT account_id FROM guest_links WHERE guest_id = {int(guest)}")
    return int(rows[0][0]) if rows else None


async def guests(connection: Connection, account: int) -> tuple[int, ...]:
    """An account's guests, the first one first."""
    rows = await connection.ask(
        f"SELECT guest_id FROM account_guests WHERE account_id = {int(account)} ORDER BY claimed_at, guest_id"
    )
    return tuple(guest for (guest,) in rows)
