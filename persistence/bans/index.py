"""Bans as they are looked up: users by their id, addresses by the prefixes of the lengths that there are."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

from persistence.bans.entries import Ban

__all__ = ["BanIndex"]

_MAPPED = b"\0" * 10 + b"\xff" * 2  # RFC 4291, 2.5.5.2

_Networks = list[tuple[int, dict[int, Ban]]]
"""By the bits that the prefix length leaves over: the bans, by the address without these bits."""


class BanIndex:
    """Some bans. A look-up costs one dictionary for a user, and one a prefix length that is there for an address."""

    __slots__ = ("_networks4", "_networks6", "_users", "bans")

    def __init__(self, bans: Iterable[Ban] = ()) -> None:
        self.bans = tuple(bans)
        self._users: dict[int, Ban] = {}
        by_spare: dict[tuple[int, int], dict[int, Ban]] = {}
        for ban in self.bans:
            who = ban.who
            if isinstance(who, IPv4Network | IPv6Network):
                spare = who.max_prefixlen - who.prefixlen
                by_spare.setdefault((who.version, spare), {})[int(who.network_address) >> spare] = ban
            else:
                self._users[who] = ban
        self._networks4: _Networks = [(spare, some) for (version, spare), some in by_spare.items() if version == 4]
        self._networks6: _Networks = [(spare, some) for (version, spare), some in by_spare.items() if version == 6]

    def __len__(self) -> int:
        return len(self.bans)

    @property
    def of_addresses(self) -> bool:
        """Whether there are any of networks."""
        return bool(self._networks4 or self._networks6)

    def user(self, user: int, *, now_ms: float) -> Ban | None:
        """The ban of this user."""
        ban = self._users.get(user)
        return None if ban is None or ban.over(now_ms) else ban

    def address(self, address: str, *, now_ms: float) -> Ban | None:
        """A ban of a network that has this address; None too for what is no address."""
        if not self._networks4 and not self._networks6:
            return None
        networks = self._networks4
        try:
            if ":" in address:
                packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
                if packed.startswith(_MAPPED):
                    packed = packed[12:]
                else:
                    networks = self._networks6
            else:
                packed = socket.inet_pton(socket.AF_INET, address)
        except (OSError, ValueError):
            return None
        number = int.from_bytes(packed)
        for spare, some in networks:
            ban = some.get(number >> spare)
            if ban is not None and not ban.over(now_ms):
                return ban
        return None
