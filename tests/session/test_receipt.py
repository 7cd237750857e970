"""Keys, tickets and receipts: what was sealed comes back to the bit, anything else is refused."""

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session.options import INPUTS, MODES, TestOptions
from session.receipt import Forged, KeyRing, Purpose, Receipt, Seat, Ticket, hash_of
from tests.session.play import RING, session_id

OTHER_RING = KeyRing([(7, bytes(range(1, 33)))])


def a_ticket(**changes: object) -> Ticket:
    values: dict[str, object] = {
        "session": session_id(),
        "user": -12,
        "options": TestOptions("words", count=25, language="en", tags=("caret=bar", "b"), numbers=True, input="touch"),
        "seed": 2**64 - 1,
        "test_version": 0,
        "list_version": 4,
        "generator": 1,
        "text_hash": bytes(16),
        "scoring_version": "1/17.0",
        "started_ms": 1_790_000_000_000,
    }
    return Ticket(**values | changes)  # type: ignore[arg-type]  # the values are those of a ticket


short = st.text(max_size=32).filter(lambda text: len(text.encode("utf-8", "ignore")) <= 64)


@st.composite
def all_options(draw: st.DrawFn) -> TestOptions:
    mode = draw(st.sampled_from(MODES))
    return TestOptions(
        mode,
        count=draw(st.integers(1, 10_000)) if mode == "words" else None,
        seconds=draw(st.integers(1, 3600)) if mode == "time" or (mode == "text" and draw(st.booleans())) else None,
        test=draw(st.integers(1, 2**53)) if mode == "quote" else None,
        language=draw(st.sampled_from(["en", "zh-Hant", "ar"])),
        punctuation=draw(st.booleans()),
        numbers=draw(st.booleans()),
        tags=tuple(draw(st.lists(st.from_regex(r"[a-z=]{1,32}", fullmatch=True), max_size=8))),
        input=draw(st.sampled_from(INPUTS)),
        watch=draw(st.booleans()),
    )


@given(
    all_options(),
    st.integers(-(2**53), 2**53),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**48),
    st.from_regex(r"[a-z0-9._-]{0,64}", fullmatch=True),
    st.none() | st.builds(Seat, st.just("0123456789abc"), st.integers(0, 99), st.integers(0, 2**48)),
)
def test_a_ticket_comes_back(
    options: TestOptions, user: int, seed: int, version: int, started_ms: int, node: str, seat: Seat | None
) -> None:
    ticket = a_ticket(
        options=options,
        user=user,
        seed=seed,
        test_version=version,
        list_version=version,
        started_ms=started_ms,
        node=node,
        seat=seat,
    )
    assert Ticket.open(RING, ticket.seal(RING)) == ticket


@given(
    st.integers(0, 30_000),
    st.integers(0, 2**48),
    st.binary(min_size=16, max_size=16),
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.booleans(),
)
def test_a_receipt_comes_back(
    n: int, clock_ms: int, digest: bytes, account: tuple[int, int, int], conflict: bool
) -> None:
    receipt = Receipt(n, clock_ms, digest, *account, conflict)
    assert Receipt.open(RING, receipt.seal(RING, b"t" * 16), b"t" * 16) == receipt


def test_marks_of_a_ring() -> None:
    """One for each key, the sealing one's first; another key has another, and rings that share a key its mark."""
    old, new = (1, b"o" * 32), (2, b"n" * 32)
    assert KeyRing([new, old]).marks == (*KeyRing([new]).marks, *KeyRing([old]).marks)
    assert {len(mark) for mark in KeyRing([new, old]).marks} == {8}
    assert KeyRing([old]).marks != KeyRing([new]).marks


def test_golden_ticket_of_layout_2() -> None:
    """The node, then the race with lane and start instant, where there is one."""
    plain = a_ticket().seal(RING)[3:-16].hex()
    of_node = a_ticket(node="n1").seal(RING)
    assert of_node[:-16].hex() == "070201" + plain + "026e3100"
    of_race = a_ticket(node="n1", seat=Seat("0123456789abc", 99, 1_790_000_000_000)).seal(RING)
    assert of_race[:-16].hex() == (
        "070201" + plain + "026e31" + "0d" "30313233343536373839616263" "63" "000001a0c4506c00"
    )  # fmt: skip


def test_golden_ticket() -> None:
    """Clients hold tickets of the version before: layout 1 must be read as it was written."""
    sealed = a_ticket().seal(RING)
    assert sealed[:-16].hex() == (
        "07" "01" "01"
        "0190163d8694739b8000000000000000" "fffffffffffffff4" "00" "01" "02" "00000019" "ffffffffffffffff"
        "0000000000000000" "00000000" "00000004" "0001" "000001a0c4506c00" "00000000000000000000000000000000"
        "06" "312f31372e30" "02" "656e" "02" "09" "63617265743d626172" "01" "62"
    )  # fmt: skip
    key = blake2b(key=bytes(range(32)), digest_size=32, person=b"typegate ticket").digest()
    assert sealed[-16:] == blake2b(sealed[:-16], key=key, digest_size=16).digest()


def test_golden_receipt() -> None:
    sealed = Receipt(300, 1_790_000_000_000, bytes(range(16)), 1, 2, 3, True).seal(RING, b"t" * 16)
    assert sealed[:-16].hex() == (
        "07" "01" "01" "0000012c" "000001a0c4506c00" "00000001" "00000002" "00000003"
        "000102030405060708090a0b0c0d0e0f"
    )  # fmt: skip
    key = blake2b(key=bytes(range(32)), digest_size=32, person=b"typegate receipt").digest()
    assert sealed[-16:] == blake2b(sealed[:-16] + b"t" * 16, key=key, digest_size=16).digest()


def test_each_forged_bit_is_seen() -> None:
    """No bit of a ticket or a receipt can be changed, and none cut off or added."""
    ticket = a_ticket().seal(RING)
    receipt = Receipt(5, 6, bytes(16)).seal(RING, hash_of(ticket))
    for bit in range(8 * len(ticket)):
        forged = bytearray(ticket)
        forged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Forged):
            Ticket.open(RING, bytes(forged))
        with pytest.raises(Forged):  # and no receipt is good for another ticket
            Receipt.open(RING, receipt, hash_of(bytes(forged)))
    for bit in range(8 * len(receipt)):
        forged = bytearray(receipt)
        forged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Forged):
            Receipt.open(RING, bytes(forged), hash_of(ticket))
    for cut in range(len(ticket)):
        with pytest.raises(Forged):
            Ticket.open(RING, ticket[:cut])
    with pytest.raises(Forged):
        Ticket.open(RING, ticket + b"\0")


@given(st.binary(max_size=300))
def test_noise_is_no_ticket(noise: bytes) -> None:
    with pytest.raises(Forged):
        Ticket.open(RING, noise)
    with pytest.raises(Forged):
        Receipt.open(RING, noise, bytes(16))


def test_foreign_keys_open_nothing() -> None:
    ticket = a_ticket().seal(OTHER_RING)
    with pytest.raises(Forged):
        Ticket.open(RING, ticket)


@pytest.mark.parametrize("purpose", Purpose)
def test_a_seal_is_good_for_its_purpose_only(purpose: Purpose) -> None:
    sealed = RING.seal(purpose, b"payload")
    for other in Purpose:
        if other is purpose:
            assert RING.open(other, sealed) == b"payload"
        else:
            with pytest.raises(Forged, match=other.name.lower()):
                RING.open(other, sealed)


def test_rotation() -> None:
    """The first key seals; what the others sealed goes on until they are dropped."""
    old, new = (1, b"o" * 32), (2, b"n" * 32)
    sealed = KeyRing([old]).seal(Purpose.GUEST, b"x")
    both = KeyRing([new, old])
    assert both.ids == (2, 1)
    assert both.open(Purpose.GUEST, sealed) == b"x"
    fresh = both.seal(Purpose.GUEST, b"x")
    assert KeyRing([new]).open(Purpose.GUEST, fresh) == b"x"
    with pytest.raises(Forged):
        KeyRing([new]).open(Purpose.GUEST, sealed)


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ([], "at least one"),
        ([(1, b"k" * 32), (1, b"l" * 32)], "repeat"),
        ([(256, b"k" * 32)], "0 to 255"),
        ([(-1, b"k" * 32)], "0 to 255"),
        ([(1, b"k" * 31)], "32 to 64"),
        ([(1, b"k" * 65)], "32 to 64"),
    ],
)
def test_rings_that_are_none(keys: list[tuple[int, bytes]], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        KeyRing(keys)


def test_layouts_of_other_versions() -> None:
    """Sealed by us, but of a layout that this build does not know: not read as something else."""
    ticket = RING.open(Purpose.TICKET, a_ticket().seal(RING))
    for payload in (b"\x03" + ticket[1:], b"\x01\x02" + ticket[2:]):
        with pytest.raises(Forged, match="layout"):
            Ticket.open(RING, RING.seal(Purpose.TICKET, payload))
    receipt = RING.open(Purpose.RECEIPT, Receipt(1, 2, bytes(16)).seal(RING, b"t"), b"t")
    for payload in (b"\x02" + receipt[1:], receipt + b"\0"):
        with pytest.raises(Forged, match="layout"):
            Receipt.open(RING, RING.seal(Purpose.RECEIPT, payload, b"t"), b"t")
