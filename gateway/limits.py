"""What one peer may take: credits that refill with time, and places at the door. Both bounded, whoever asks."""

from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address


class Credits:
    """A bucket of credits per key, refilled at a steady rate (lila-ws limits its clients' requests alike).

    At most `capacity` keys are remembered; beyond, the one least recently seen is forgotten, which gives it a full
    bucket again.
    """

    __slots__ = ("_buckets", "_burst", "_capacity", "_rate")

    def __init__(self, *, rate_per_s: float, burst: int, capacity: int = 200_000) -> None:
        self._rate = rate_per_s / 1000
        self._burst = float(burst)
        self._capacity = capacity
        self._buckets: dict[Hashable, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Hashable, *, now_ms: float) -> int:
        """Take one credit of `key`; 0, or, where there is none, the milliseconds until there will be one."""
        buckets = self._buckets
        left, at_ms = buckets.pop(key, (self._burst, now_ms))
        left = min(self._burst, left + (now_ms - at_ms) * self._rate)
        if len(buckets) >= self._capacity:
            del buckets[next(iter(buckets))]
        if left >= 1:
            buckets[key] = (left - 1, now_ms)
            return 0
        buckets[key] = (left, now_ms)
        return max(1, round((1 - left) / self._rate))

    def left(self, key: Hashable, *, now_ms: float) -> float:
        """What `key` has now."""
        left, at_ms = self._buckets.get(key, (self._burst, now_ms))
        return min(self._burst, left + (now_ms - at_ms) * self._rate)

    def lower(self, key: Hashable, left: float, *, now_ms: float) -> None:
        """Leave `key` no more than this, which may be a debt; nothing where it is not remembered."""
        if key in self._buckets:
            self._buckets[key] = (min(left, self.left(key, now_ms=now_ms)), now_ms)


class Door:
    """Counts the connections of each address that are not `ready` yet, up to a limit an address.

    An IPv6 network of 64 bits counts as one address (RFC 6177: a site gets at least that). Bounded by the connections
    themselves.
    """

    __slots__ = ("_limit", "_waiting")

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._waiting: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, address: str) -> str | None:
        """A place for a connection from `address`: the key to `leave` with, or None where all are taken."""
        key = network(address)
        waiting = self._waiting.get(key, 0)
        if waiting >= self._limit:
            return None
        self._waiting[key] = waiting + 1
        return key

    def leave(self, key: str) -> None:
        """The connection that entered with `key` is ready, or gone."""
        waiting = self._waiting[key] - 1
        if waiting:
            self._waiting[key] = waiting
        else:
            del self._waiting[key]


def network(address: str) -> str:
    """What counts as one address: an IPv4 address, an IPv6 /64, or the text as it stands where it is neither."""
    if ":" not in address:  # by far the most common, and the dear parse is not needed for it
        return address
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
