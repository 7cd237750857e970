"""Credits refill with time, places at the door are counted, and neither can be grown by who asks."""

import pytest

from gateway.limits import Credits, Door, network


def test_credits_are_a_burst_and_then_a_rate() -> None:
    """Thirty at once, then one each half second; the refusal says exactly when."""
    credits_ = Credits(rate_per_s=2, burst=30)
    assert [credits_.take(7, now_ms=0) for _ in range(30)] == [0] * 30
    assert credits_.take(7, now_ms=0) == 500
    assert credits_.take(7, now_ms=300) == 200
    assert credits_.take(7, now_ms=500) == 0
    assert credits_.take(7, now_ms=500) == 500


def test_credits_never_exceed_the_burst() -> None:
    """A year of rest gives no more than a full bucket."""
    credits_ = Credits(rate_per_s=2, burst=3)
    credits_.take(1, now_ms=0)
    assert [bool(credits_.take(1, now_ms=3e10)) for _ in range(4)] == [False, False, False, True]


def test_one_peers_flood_is_not_anothers() -> None:
    """Keys have buckets of their own."""
    credits_ = Credits(rate_per_s=1, burst=1)
    assert credits_.take("a", now_ms=0) == 0
    assert credits_.take("a", now_ms=0) > 0
    assert credits_.take("b", now_ms=0) == 0


def test_credits_forget_the_least_recent() -> None:
    """Beyond the capacity the longest unseen key is forgotten, however many come."""
    credits_ = Credits(rate_per_s=1, burst=1, capacity=3)
    for key in ("a", "b", "c"):
        credits_.take(key, now_ms=0)
    assert credits_.take("a", now_ms=0) > 0  # seen again: now b is the oldest
    credits_.take("d", now_ms=0)
    assert len(credits_) == 3
    assert credits_.take("a", now_ms=0) > 0
    assert credits_.take("b", now_ms=0) == 0


def test_the_door_counts_an_address() -> None:
    """The limit holds for one address, and a place that was left is free again."""
    door = Door(limit=2)
    first = door.enter("10.0.0.1")
    assert first is not None
    assert door.enter("10.0.0.1") is not None
    assert door.enter("10.0.0.1") is None
    assert door.enter("10.0.0.2") is not None
    door.leave(first)
    assert door.enter("10.0.0.1") is not None


def test_the_door_remembers_nobody() -> None:
    """When all have left nothing is kept."""
    door = Door(limit=2)
    for key in [door.enter("10.0.0.1"), door.enter("2001:db8::1"), door.enter("10.0.0.1")]:
        assert key is not None
        door.leave(key)
    assert len(door) == 0


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("not:an:address", "not:an:address"),
    ],
)
def test_network(address: str, expected: str) -> None:
    """A neighbour within an IPv6 /64 is the same site; IPv4 counts whole, mapped or not."""
    assert network(address) == expected
