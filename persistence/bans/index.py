"""Bans as they are looked up: users by their id, addresses by the prefixes of the lengths that there are.

To make an index of fifty thousand takes a tenth of a second, to change one of them a microsecond.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterable
from ipaddress import IPv4Network, IPv6Network

from persistence.bans.entries import Ban, Who

__all__ = ["BanIndex"]

_MAPPED = b"\0" * 10 + b"\xff" * 2  # RFC 4291, 2.5.5.2

_Networks = list[tuple[int, dict[int, Ban]]]
"""By the bits that the prefix length leaves over: the bans, by the address without these bits."""


class BanIndex:
    """Some bans, of each user or network one. A look-up costs one dictionary for a user, and for an address one a
    prefix length that is there."""

    __slots__ = ("_bans", "_networks4", "_networks6", "_users")

    def __init__(self, bans: Iterable[Ban] = ()) -> None:
        self._bans: dict[Who, Ban] = {}
        self._users: dict[int, Ban] = {}
        self._networks4: _Networks = []
        self._networks6: _Networks = []
        for ban in bans:
            self.put(ban)

    def __len__(self) -> int:
        return len(self._bans)

    @property
    def bans(self) -> Collection[Ban]:
        """All of them."""
        return self._bans.values()

    def put(self, ban: Ban) -> bool:
        """Have this one, in the place of an earlier one of the same; False where it was there just so."""
        who = ban.who
        if self._bans.get(who) == ban:
            return False
        self._bans[who] = ban
        if isinstance(who, IPv4Network | IPv6Network):
            spare = who.max_prefixlen - who.prefixlen
            some = next((some for each, some in self._of(who) if each == spare), None)
            if some is None:
                some = {}
                self._of(who).append((spare, some))
            some[int(who.network_address) >> spare] = ban
        else:
            self._users[who] = ban
        return True

    def drop(self, who: Who) -> None:
        """Have none of this user or network."""
        if self._bans.pop(who, None) is None:
            return
        if isinstance(who, IPv4Network | IPv6Network):
            spare = who.max_prefixlen - who.prefixlen
            of = self._of(who)
            place, some = next((place, some) for place, (each, some) in enumerate(of) if each == spare)
            del some[int(who.network_address) >> spare]
            if not some:
                del of[place]
        else:
            del self._users[who]

    def _of(self, who: IPv4Network | IPv6Network) -> _Networks:
        return self._networks4 if who.version == 4 else self._networks6

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
