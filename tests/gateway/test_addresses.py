"""Who the client is, behind proxies and before liars."""

import pytest

from gateway.addresses import Proxies

PROXIES = Proxies(("10.0.0.0/8", "192.0.2.1", "2001:db8:1::/48"))


@pytest.mark.parametrize(
    ("address", "forwarded", "client"),
    [
        ("198.51.100.7", None, "198.51.100.7"),
        ("198.51.100.7", "203.0.113.9", "198.51.100.7"),
        ("10.1.2.3", None, "10.1.2.3"),
        ("10.1.2.3", "", "10.1.2.3"),
        ("10.1.2.3", "203.0.113.9", "203.0.113.9"),
        ("10.1.2.3", "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("10.1.2.3", "6.6.6.6, 203.0.113.9, 192.0.2.1", "203.0.113.9"),
        ("10.1.2.3", "10.0.0.1, 10.0.0.2", "10.0.0.1"),
        ("10.1.2.3", "203.0.113.9:4711", "203.0.113.9"),
        ("10.1.2.3", "2001:db8:2::5", "2001:db8:2::5"),
        ("10.1.2.3", "[2001:db8:2::5]:4711", "2001:db8:2::5"),
        ("2001:db8:1::1", "203.0.113.9", "203.0.113.9"),
        ("::ffff:10.1.2.3", "203.0.113.9", "203.0.113.9"),
        ("10.1.2.3", "unknown", "10.1.2.3"),
        ("10.1.2.3", "203.0.113.9, _hidden, 10.0.0.5", "10.0.0.5"),
        ("10.1.2.3", "9" * 10_000, "10.1.2.3"),
        ("", "203.0.113.9", ""),
    ],
)
def test_the_last_address_that_no_trusted_proxy_has(address: str, forwarded: str | None, client: str) -> None:
    assert PROXIES.client(address, forwarded) == client


def test_nobody_is_trusted_by_default() -> None:
    assert not Proxies(())
    assert Proxies(()).client("127.0.0.1", "203.0.113.9") == "127.0.0.1"
