"""Looking bans up."""

from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import given
from hypothesis import strategies as st

from persistence.bans import Ban, BanIndex, read_who


def banned(*whos: str, until_ms: int | None = None) -> BanIndex:
    return BanIndex(Ban(read_who(who), who, "ops", 0, until_ms) for who in whos)


def reason(ban: Ban | None) -> str | None:
    return None if ban is None else ban.reason


def test_a_user_is_found_until_the_ban_is_over() -> None:
    """And nobody else is."""
    index = banned("17", "-42", until_ms=100)
    assert reason(index.user(17, now_ms=99)) == "17"
    assert reason(index.user(-42, now_ms=99)) == "-42"
    assert index.user(17, now_ms=100) is None
    assert index.user(42, now_ms=0) is None
    assert not index.of_addresses


def test_an_address_is_found_by_any_network_that_has_it_and_is_banned_now() -> None:
    """Also where a narrower ban is over, and where IPv6 carries IPv4."""
    index = BanIndex(
        [
            Ban(read_who("192.0.2.7"), "narrow", "ops", 0, 50),
            Ban(read_who("192.0.0.0/16"), "wide", "ops", 0),
            Ban(read_who("2001:db8::1"), "six", "ops", 0),
        ]
    )
    assert index.of_addresses
    assert reason(index.address("192.0.2.7", now_ms=60)) == "wide"
    assert reason(index.address("::ffff:192.0.2.8", now_ms=0)) == "wide"
    assert reason(index.address("2001:db8::ffff%eth0", now_ms=0)) == "six"
    assert index.address("2001:db8:0:1::1", now_ms=0) is None
    assert index.address("::c000:0207", now_ms=0) is None


def test_what_is_no_address_is_banned_by_nothing() -> None:
    """A Unix socket's peer, or what a proxy made up."""
    index = banned("192.0.2.0/24", "2001:db8::/32")
    for text in ("", "unix", "192.0.2", "1:2", "192.0.2.7\0", "ü:"):
        assert index.address(text, now_ms=0) is None


_NETWORKS = st.lists(
    st.one_of(
        st.builds("{}/{}".format, st.ip_addresses(v=4, network="192.0.2.0/24"), st.integers(24, 32)),
        st.builds("{}/{}".format, st.ip_addresses(v=6, network="2001:db8::/120"), st.integers(120, 128)),
    ),
    max_size=8,
)


@given(_NETWORKS, st.ip_addresses(network="192.0.2.0/24") | st.ip_addresses(network="2001:db8::/120"))
def test_look_up_agrees_with_the_library(networks: list[str], address: IPv4Address | IPv6Address) -> None:
    """An address is banned where a network that has it is."""
    whos = [read_who(network) for network in networks]
    expected = any(ip_address(address) in who for who in whos if not isinstance(who, int))
    assert (banned(*networks).address(str(address), now_ms=0) is not None) is expected


@given(
    st.lists(
        st.tuples(st.sampled_from(["17", "-42", "192.0.2.0/24", "192.0.2.0/25", "2001:db8::/64"]), st.integers(0, 2))
    )
)
def test_an_index_that_was_changed_is_as_one_that_was_made(steps: list[tuple[str, int]]) -> None:
    """Whatever was put into it and dropped before; `put` says whether it is news."""
    changed, kept = BanIndex(), dict[str, Ban]()
    for text, step in steps:
        if step:
            ban = Ban(read_who(text), f"{text} {step}", "ops", 0)
            assert changed.put(ban) is (kept.get(text) != ban)
            kept[text] = ban
        else:
            changed.drop(read_who(text))
            kept.pop(text, None)
    made = BanIndex(kept.values())
    assert (len(changed), set(changed.bans), changed.of_addresses) == (len(made), set(made.bans), made.of_addresses)
    for user in (17, -42):
        assert changed.user(user, now_ms=0) == made.user(user, now_ms=0) == kept.get(str(user))
    for address in ("192.0.2.1", "192.0.2.200", "2001:db8::1"):
        found = (changed.address(address, now_ms=0), made.address(address, now_ms=0))
        assert (found[0] is None) is (found[1] is None)
