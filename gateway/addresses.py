"""Whose connection it is: the socket's other end, or the client that trusted proxies tell in X-Forwarded-For."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

__all__ = ["Proxies"]


class Proxies:
    """The proxies that are believed."""

    __slots__ = ("_networks", "trusts")

    def __init__(self, networks: tuple[str, ...]) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(network) for network in networks]
        # The few proxies ask for every connection; 1,024 answers are kept for them and for what clients invent.
        self.trusts = lru_cache(maxsize=1024)(self._trusts)
        """Whether this address (text) is a trusted proxy's."""

    def __bool__(self) -> bool:
        return bool(self._networks)

    def client(self, address: str, forwarded: str | None) -> str:
        """The client behind a connection from `address` whose request had `forwarded` as X-Forwarded-For.

        Each proxy adds at the end whom it had the request from. So the list is read from its end, and the first
        address that is no trusted proxy's is the client's: what stands before it anybody may have written.
        """
        if not forwarded or not self._networks or not self.trusts(address):
            return address
        for entry in reversed(forwarded.split(",")):
            host = _host(entry.strip())
            if host is None:
                break  # no address: nothing from here on can be believed
            address = host
            if not self.trusts(host):
                break
        return address

    def _trusts(self, address: str) -> bool:
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if parsed.version == 6 and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self._networks)


def _host(entry: str) -> str | None:
    """The address in an entry, which may bear a port: `192.0.2.7:4711`, `[2001:db8::7]:4711`."""
    if len(entry) > 64:  # the longest address is far shorter
        return None
    if entry.startswith("["):
        entry = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        entry = entry.partition(":")[0]
    try:
        return str(ip_address(entry))
    except ValueError:
        return None
