"""Which lobbies a stranger is led to first."""

from collections.abc import Iterable

__all__ = ["nearest"]


def nearest(lobbies: Iterable[tuple[str, int]], band: int) -> list[str]:
    """Ids of lobbies (id, band), the oldest first: those of the band in front, then the nearer ones; the slower of two
    that are equally near."""
    return [race for race, _ in sorted(lobbies, key=lambda lobby: (abs(lobby[1] - band), lobby[1]))]
