"""A ban: of a user, or of a network."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, TypeAlias

from session.identity import MAX_USER

__all__ = ["REASON_LETTERS", "Ban", "Who", "read_who", "who_text"]

REASON_LETTERS: Final = 200
"""Longest reason. The banned are told as much of it as a close frame holds."""
BY_LETTERS: Final = 64
WIDEST: Final = {4: 8, 6: 19}
"""Shortest prefix that may be banned, by IP version: the largest blocks that one operator was ever given. A wider one
is a slip of the finger that shuts everybody out."""
FAR_MS: Final = 253_402_300_800_000
"""The year 10000, which no ban reaches."""

Who: TypeAlias = int | IPv4Network | IPv6Network
"""A user's id, or a network; an address is a network of one."""


@dataclass(frozen=True, slots=True)
class Ban:
    """Somebody may not come in."""

    who: Who
    reason: str
    """Told to whom it concerns."""
    by: str
    """Who said so."""
    since_ms: int
    until_ms: int | None = None
    """Epoch ms; None: for good."""

    def __post_init__(self) -> None:
        if not 0 < len(self.reason) <= REASON_LETTERS or not self.reason.isprintable() or self.reason.isspace():
            raise ValueError(f"the reason must be 1 to {REASON_LETTERS} letters on one line")
        if len(self.by) > BY_LETTERS or not self.by.isprintable():
            raise ValueError(f"who says so must be at most {BY_LETTERS} letters on one line")
        if self.until_ms is not None and not self.since_ms < self.until_ms < FAR_MS:
            raise ValueError("a ban ends after it has begun, and before the year 10000")

    def over(self, now_ms: float) -> bool:
        """Whether it has ended."""
        return self.until_ms is not None and now_ms >= self.until_ms

    @property
    def told(self) -> str:
        """What the banned are told: until when, and why."""
        if self.until_ms is None:
            return f"for good: {self.reason}"
        until = datetime.fromtimestamp(self.until_ms / 1000, UTC)
        return f"until {until:%Y-%m-%d %H:%M} UTC: {self.reason}"


def read_who(text: str) -> Who:
    """Whom a text names: a user's id (`17`, a guest's `-42`), an address, or a network in CIDR notation.

    An IPv6 address without a prefix length is its /64, which is what one customer has at least (RFC 6177); one that
    only carries an IPv4 address is that. Raises ValueError with what is allowed.
    """
    text = text.strip()
    if text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() and len(text) <= 17:
        user = int(text)
        if 1 <= abs(user) <= MAX_USER:
            return user
        raise ValueError(f"{text} is no user; allowed are 1 to {MAX_USER}, and -1 to -{MAX_USER} for guests")
    try:
        network = ip_network(text if "/" in text or ":" not in text else f"{text}/128", strict=False)
    except ValueError:
        raise ValueError(
            f"{text[:80]!r} is no user id, address or network; allowed are 17, -42, 192.0.2.7, 192.0.2.0/24, "
            "2001:db8::/32"
        ) from None
    if isinstance(network, IPv6Network):
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= 96:
            network = IPv4Network((mapped, network.prefixlen - 96))
        elif "/" not in text:
            network = network.supernet(new_prefix=64)
    if network.prefixlen < (widest := WIDEST[network.version]):
        raise ValueError(f"{network} is too wide; the widest network of its kind that may be banned is a /{widest}")
    return network


def who_text(who: Who) -> str:
    """The text that names whom; `read_who` gives the same again."""
    return str(who)
