"""Tickets and receipts: what a client holds so that any node can take its test over, and nobody can make one up.

A *ticket* says which test a session is; a *receipt* that this cluster saw its first `n` events, what they were, and
when. Both are sealed by a key ring. All numbers are unsigned and big-endian unless said otherwise.

Sealed bytes, any purpose:      key id (1) | payload | MAC (16)

MAC = BLAKE2b-128 over key id, payload and what it is bound to, keyed with the purpose's own key, which is BLAKE2b-256
of the ring's secret personalised with the purpose: what was sealed for one purpose opens for no other.

Ticket payload, layout 1, bound to nothing:

    layout (1) = 1 | history layout (1) | session (16) | user (8, signed) | mode (1) | input (1) | flags (1)
    | extent (4) | seed (8) | test id (8) | test version (4) | word list version (4) | generator (2) | started (8)
    | text hash (16) | scoring version, language, each: length (1), UTF-8 | number of tags (1) | tags likewise

`mode` and `input` index `MODES` and `INPUTS`; flags: 1 punctuation, 2 numbers, 4 others
may look on; `extent` is `count` in `words`,
`seconds` in `time` and timed `text`, else 0; test id and versions are 0 where there is none; `started` is the server's
clock in epoch ms; the text's hash is BLAKE2b-128 of its UTF-8.

Receipt payload, layout 1, bound to the ticket's hash (BLAKE2b-128 of the sealed ticket):

    layout (1) = 1 | flags (1) | n (4) | clock (8) | unseen events (4) | unseen ms (4) | slack ms (4) | digest (16)

`clock` is the server's clock in epoch ms when event n - 1 arrived; unseen and slack are what earlier resumes of this
test came to, so that a second resume does not launder the first; flag 1: the log once disagreed with what was seen;
`digest` is BLAKE2b-128 of the canonical history of the first n events:

History layout 1, for each event:   dt as LEB128 (7 bits a byte, the lowest first, the high bit on all but the last)
    | the key's UTF-8: a single byte as it is (below 128), else 128 + its length in one byte (130 to 192), then itself
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from hmac import compare_digest
from struct import Struct
from typing import Final

from session.options import INPUTS, MODES, TestOptions

__all__ = [
    "ALL_SEEN",
    "HISTORY_LAYOUT",
    "Forged",
    "KeyRing",
    "Purpose",
    "Receipt",
    "Seat",
    "Ticket",
    "hash_of",
    "seal_receipt",
    "unsealed",
]

MAC_BYTES: Final = 16
MARK_BYTES: Final = 8
HISTORY_LAYOUT: Final = 1
"""Version of the canonical history's layout, named in each ticket."""

_PLAIN_LAYOUT, _TICKET_LAYOUT = 1, 2
_RECEIPT_LAYOUT = 1
_TICKET = Struct(">BB16sqBBBIQQIIHQ16s")
_RECEIPT = Struct(">BBIQIII16s")
_SEAT = Struct(">BQ")
_PUNCTUATION, _NUMBERS, _WATCH = 1, 2, 4
_CONFLICT = 1

ALL_SEEN: Final = (0, 0, 0, False)
"""The account of a test that saw no resume."""


class Forged(ValueError):
    """Bytes that this ring did not seal for this purpose: forged, damaged, cut off, foreign, or of a key long gone."""


class Purpose(Enum):
    """What a seal is for. The value personalises the key (BLAKE2b's `person`, at most 16 bytes)."""

    TICKET = b"typegate ticket"
    RECEIPT = b"typegate receipt"
    GUEST = b"typegate guest"

    # by identity, as members are compared: an Enum's own hash is that of its name, made in Python for each look-up
    __hash__ = object.__hash__


_FOR_RECEIPTS: Final = Purpose.RECEIPT  # a look at an Enum's member takes a tenth of a microsecond
_new_hash: Final = blake2b(digest_size=16).copy  # cheaper than making one


def hash_of(data: bytes | bytearray) -> bytes:
    """BLAKE2b-128: the project's hash of texts, tickets and histories (16 bytes)."""
    state = _new_hash()
    state.update(data)
    return state.digest()


class KeyRing:
    """The cluster's keys: the first one seals, all of them open.

    To rotate, put a new key in front; drop an old one when all that it sealed has ended (tickets 7 days, guests 30).

    `keys` are pairs of id (0 to 255, never used twice) and secret (32 to 64 bytes of chance).
    """

    __slots__ = ("_macs", "_sealing", "ids", "marks")

    ids: tuple[int, ...]
    """The keys' ids, the sealing one first."""
    marks: tuple[bytes, ...]
    """For each key 8 bytes that tell nothing of it, and by which others who have it know each other."""

    def __init__(self, keys: Sequence[tuple[int, bytes]]) -> None:
        if not keys:
            raise ValueError("a key ring needs at least one key")
        self.ids = tuple(key_id for key_id, _ in keys)
        if len(set(self.ids)) != len(keys):
            raise ValueError(f"key ids {list(self.ids)} repeat; each key has an id of its own")
        self._macs: dict[tuple[int, Purpose], Callable[[], blake2b]] = {}
        for key_id, secret in keys:
            if not 0 <= key_id <= 255:
                raise ValueError(f"key id {key_id} is not allowed; 0 to 255 are")
            if not 32 <= len(secret) <= 64:
                raise ValueError(f"key {key_id} has {len(secret)} bytes; 32 to 64 are allowed")
            for purpose in Purpose:
                key = blake2b(key=secret, digest_size=32, person=purpose.value).digest()
                # the id stands first in what is authenticated, and copying a keyed state is cheaper than keying one
                state = blake2b(bytes([key_id]), key=key, digest_size=MAC_BYTES)
                self._macs[key_id, purpose] = state.copy
        self.marks = tuple(
            blake2b(key=secret, digest_size=MARK_BYTES, person=b"typegate mark").digest() for _, secret in keys
        )
        self._sealing = {purpose: (bytes([self.ids[0]]), self._macs[self.ids[0], purpose]) for purpose in Purpose}

    def seal(self, purpose: Purpose, payload: bytes, bound: bytes = b"") -> bytes:
        """Seal a payload: key id, payload, MAC over these and over `bound`, which is not part of what comes out."""
        prefix, copy = self._sealing[purpose]
        mac = copy()
        mac.update(payload + bound)
        return prefix + payload + mac.digest()

    def open(self, purpose: Purpose, sealed: bytes, bound: bytes = b"") -> bytes:
        """The payload of what `seal` made for the same purpose and `bound`. Raises `Forged` for anything else."""
        if len(sealed) > MAC_BYTES:
            copy = self._macs.get((sealed[0], purpose))
            if copy is not None:
                payload = sealed[1:-MAC_BYTES]
                mac = copy()
                mac.update(payload + bound)
                if compare_digest(mac.digest(), sealed[-MAC_BYTES:]):
                    return payload
        raise Forged(f"no {purpose.name.lower()} of this cluster")


@dataclass(frozen=True, slots=True)
class Seat:
    """Whose place in which race a test is."""

    race: str
    """The race's id, 13 characters."""
    lane: int
    start_ms: int
    """The start instant, the test's time zero: epoch ms on the race's clock."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """Which test a session is: all that a node needs to build it anew, but for an own text."""

    session: bytes
    """The session's id, 16 bytes."""
    user: int
    options: TestOptions
    """What was chosen; `language` always set, `text` never (its hash is)."""
    seed: int
    """What the text was chosen or generated by, 64 bits."""
    test_version: int
    """Version of the catalogue's test, 0 without one."""
    list_version: int
    """Version of the word list, 0 without one."""
    generator: int
    """`passages.GENERATOR_VERSION`, 0 where no text was generated."""
    text_hash: bytes
    """`hash_of` the passage's text in UTF-8."""
    scoring_version: str
    started_ms: int
    """The server's clock (epoch ms) at `started`."""
    node: str = ""
    """Name of the node that it began on; empty where there was none."""
    seat: Seat | None = None
    """Its place in a race; None where it is no race's."""

    def seal(self, ring: KeyRing) -> bytes:
        """The sealed ticket."""
        return ring.seal(Purpose.TICKET, self._payload())

    @classmethod
    def open(cls, ring: KeyRing, sealed: bytes) -> "Ticket":
        """The ticket that `seal` sealed. Raises `Forged`; how old it may be is the caller's question."""
        return cls.read(ring.open(Purpose.TICKET, sealed))

    def _payload(self) -> bytes:
        options = self.options
        # what was typed offline has no node: sent again after an upgrade it is to have the same ticket as before
        plain = not self.node and self.seat is None
        parts = [
            _TICKET.pack(
                _PLAIN_LAYOUT if plain else _TICKET_LAYOUT,
                HISTORY_LAYOUT,
                self.session,
                self.user,
                MODES.index(options.mode),
                INPUTS.index(options.input),
                _PUNCTUATION * options.punctuation | _NUMBERS * options.numbers | _WATCH * options.watch,
                options.count or options.seconds or 0,
                self.seed,
                options.test or 0,
                self.test_version,
                self.list_version,
                self.generator,
                self.started_ms,
                self.text_hash,
            )
        ]
        parts += map(_short, (self.scoring_version, options.language or ""))
        parts.append(bytes([len(options.tags)]))
        parts += map(_short, options.tags)
        if not plain:
            seat = self.seat
            parts += map(_short, (self.node, "" if seat is None else seat.race))
            if seat is not None:
                parts.append(_SEAT.pack(seat.lane, seat.start_ms))
        return b"".join(parts)

    @classmethod
    def read(cls, payload: bytes) -> "Ticket":
        """The ticket in an opened payload. Raises `Forged` for a layout that this build does not know."""
        layout = payload[0]
        if layout not in (_PLAIN_LAYOUT, _TICKET_LAYOUT) or payload[1] != HISTORY_LAYOUT:
            raise Forged("no ticket of a layout that this version knows")
        (
            _,
            _,
            session,
            user,
            mode,
            kind,
            flags,
            extent,
            seed,
            test,
            test_version,
            list_version,
            generator,
            started_ms,
            text_hash,
        ) = _TICKET.unpack_from(payload)
        strings: list[str] = []
        at = _TICKET.size
        wanted = 2
        beyond = 0 if layout == _PLAIN_LAYOUT else 2
        while len(strings) < wanted:
            end = at + 1 + payload[at]
            strings.append(payload[at + 1 : end].decode())
            at = end
            if len(strings) == 2:
                wanted += payload[at] + beyond
                at += 1
        node, race = strings[-beyond:] if beyond else ("", "")
        name = MODES[mode]
        options = TestOptions(
            mode=name,
            count=extent if name == "words" else None,
            seconds=extent or None if name in ("time", "text") else None,
            test=test or None,
            language=strings[1],
            punctuation=bool(flags & _PUNCTUATION),
            numbers=bool(flags & _NUMBERS),
            tags=tuple(strings[2 : wanted - beyond]),
            input=INPUTS[kind],
            watch=bool(flags & _WATCH),
        )
        return cls(
            session,
            user,
            options,
            seed,
            test_version,
            list_version,
            generator,
            text_hash,
            strings[0],
            started_ms,
            node,
            Seat(race, *_SEAT.unpack_from(payload, at)) if race else None,
        )


def unsealed(ticket: Ticket) -> bytes:
    """A ticket in a sealed one's form that no ring opens: of a test that no client of ours was given."""
    return b"\0" + ticket._payload() + bytes(MAC_BYTES)


@dataclass(frozen=True, slots=True)
class Receipt:
    """That this cluster saw the first `n` events of a test, what they were and when."""

    n: int
    clock_ms: int
    """The server's clock (epoch ms) when event n - 1 arrived."""
    digest: bytes
    """BLAKE2b-128 of the canonical history of the first n events."""
    unseen_events: int = 0
    """Of the n events, those that came by a resume and had never been attested live."""
    unseen_ms: int = 0
    """Client time in those."""
    slack_ms: int = 0
    """Server time before earlier resumes that the log does not account for."""
    conflict: bool = False
    """Whether the log once disagreed with what was seen."""

    def seal(self, ring: KeyRing, ticket_hash: bytes) -> bytes:
        """The sealed receipt, good for one ticket."""
        return seal_receipt(
            ring,
            ticket_hash,
            self.n,
            self.clock_ms,
            self.digest,
            (self.unseen_events, self.unseen_ms, self.slack_ms, self.conflict),
        )

    @classmethod
    def open(cls, ring: KeyRing, sealed: bytes, ticket_hash: bytes) -> "Receipt":
        """The receipt that `seal` sealed for this ticket. Raises `Forged`."""
        payload = ring.open(Purpose.RECEIPT, sealed, ticket_hash)
        if len(payload) != _RECEIPT.size or payload[0] != _RECEIPT_LAYOUT:
            raise Forged("no receipt of a layout that this version knows")
        _, flags, n, clock_ms, unseen_events, unseen_ms, slack_ms, digest = _RECEIPT.unpack(payload)
        return cls(n, clock_ms, digest, unseen_events, unseen_ms, slack_ms, bool(flags & _CONFLICT))


def seal_receipt(
    ring: KeyRing,
    ticket_hash: bytes,
    n: int,
    clock_ms: int,
    digest: bytes,
    account: tuple[int, int, int, bool] = ALL_SEEN,
) -> bytes:
    """Seal a receipt from its parts, as each tick does: making a `Receipt` first would cost twice as much.

    `account` is what earlier resumes came to: unseen events, unseen ms, slack ms, conflict.
    """
    unseen_events, unseen_ms, slack_ms, conflict = account
    payload = _RECEIPT.pack(
        _RECEIPT_LAYOUT, _CONFLICT if conflict else 0, n, clock_ms, unseen_events, unseen_ms, slack_ms, digest
    )
    return ring.seal(_FOR_RECEIPTS, payload, ticket_hash)


def _short(text: str) -> bytes:
    """A string of at most 255 bytes of UTF-8, its length before it."""
    data = text.encode()
    return bytes([len(data)]) + data
