"""Names of sessions and users: ids that carry what they must say, minted from time and chance that others give.

A session's id is a UUIDv7 (RFC 9562 §5.7) in which `rand_a` is not random: it holds the user's logical bucket, so the
id alone names shard and partition, and the instant in it is the result's `created_at` for ever.

     0               48   52            64  66                            128
     +----------------+----+-------------+---+-----------------------------+
     | epoch ms       | 7  | bucket (12) |10 | random (62 bits)            |
     +----------------+----+-------------+---+-----------------------------+
"""

from functools import lru_cache
from hashlib import blake2b

__all__ = [
    "BUCKETS",
    "MAX_EPOCH_MS",
    "MAX_USER",
    "RACE_BITS",
    "RACE_PATTERN",
    "RANDOM_BITS",
    "IdentityError",
    "bucket_of",
    "bucket_of_race",
    "bucket_of_user",
    "created_at_ms",
    "is_race",
    "mint_guest",
    "mint_race",
    "mint_session",
    "session_from_text",
    "session_to_text",
    "user_from_text",
]

BUCKETS = 4096
"""Logical buckets of users; shards are mapped from them."""
MAX_USER = (1 << 53) - 1
"""Accounts are 1 to this, guests -1 to minus this: whole numbers that a JavaScript double holds exactly."""
MAX_EPOCH_MS = (1 << 48) - 1
"""The last instant that a UUIDv7 holds, in the year 10889."""
RANDOM_BITS = 62
"""Random bits that `mint_session` takes."""

RACE_BITS = 65
"""Random bits of a race's id: who has the link to a private race has its key."""

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"  # base32 without i, l, o and u: read out or written down without doubt
_CROCKFORD_SET = frozenset(_CROCKFORD)
RACE_PATTERN = f"^[{_CROCKFORD}]{{13}}\\Z"
"""A race's id, for those who check by patterns."""
_HEX = frozenset("0123456789abcdef")


class IdentityError(ValueError):
    """Text that names no session or no user; the message says what is allowed."""


@lru_cache(maxsize=4096)
def bucket_of_user(user: int) -> int:
    """The user's logical bucket: the low 12 bits of BLAKE2b-64 over the id as 8 bytes, signed, big-endian."""
    digest = blake2b(user.to_bytes(8, "big", signed=True), digest_size=8).digest()
    return (digest[6] << 8 | digest[7]) & (BUCKETS - 1)


def mint_session(user: int, *, epoch_ms: int, random_bits: int) -> bytes:
    """Make a session's id (16 bytes) for a user from the wall clock (epoch ms) and 62 random bits."""
    if not 0 <= epoch_ms <= MAX_EPOCH_MS:
        raise ValueError(f"epoch_ms is {epoch_ms}; a UUIDv7 holds 0 to {MAX_EPOCH_MS}")
    if not 0 <= random_bits < 1 << RANDOM_BITS:
        raise ValueError(f"random_bits has more than {RANDOM_BITS} bits")
    high = epoch_ms << 16 | 0x7000 | bucket_of_user(user)
    return (high << 64 | 0b10 << RANDOM_BITS | random_bits).to_bytes(16, "big")


def created_at_ms(session: bytes) -> int:
    """The instant (epoch ms) at which a session's id was minted."""
    return int.from_bytes(session[:6], "big")


def bucket_of(session: bytes) -> int:
    """The bucket of the user whose session this is, read from the id."""
    return (session[6] << 8 | session[7]) & (BUCKETS - 1)


def session_to_text(session: bytes) -> str:
    """The canonical UUID string (RFC 9562 §4) of a session's 16 bytes."""
    text = session.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def session_from_text(text: str) -> bytes:
    """The 16 bytes of a session's canonical UUID string, which is a version 7 one in lower case.

    Raises `IdentityError` for anything else, so that a session has one name only.
    """
    if len(text) == 36 and text[8] == text[13] == text[18] == text[23] == "-":
        digits = text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:]
        if len(digits) == 32 and _HEX.issuperset(digits) and digits[12] == "7" and digits[16] in "89ab":
            return bytes.fromhex(digits)
    raise IdentityError("a session's id is a canonical UUIDv7 string in lower case")


def mint_guest(random_bits: int) -> int:
    """Make a guest's id, -1 to -(2^53-1), from random bits (53 or more of them)."""
    return -(random_bits % MAX_USER) - 1


def user_from_text(text: str) -> int:
    """The user's id that a decimal string names. Raises `IdentityError` where it names none."""
    digits = text[1:] if text.startswith("-") else text
    if digits.isascii() and digits.isdigit() and len(digits) <= 16 and digits[0] != "0":
        user = int(text)
        if abs(user) <= MAX_USER:
            return user
    raise IdentityError("a user's id is a whole number as decimal digits, 1 to 2^53-1, a guest's with a minus sign")


def mint_race(random_bits: int) -> str:
    """Make a race's id (13 characters of Crockford's base32, lower case) from 65 random bits."""
    if not 0 <= random_bits < 1 << RACE_BITS:
        raise ValueError(f"random_bits has more than {RACE_BITS} bits")
    return "".join(_CROCKFORD[random_bits >> shift & 31] for shift in range(60, -1, -5))


def is_race(text: str) -> bool:
    """Whether a text has the form of a race's id."""
    return len(text) == 13 and _CROCKFORD_SET.issuperset(text)


def bucket_of_race(race: str) -> int:
    """A race's logical bucket, as a user's: the low 12 bits of BLAKE2b-64 over the id."""
    digest = blake2b(race.encode(), digest_size=8).digest()
    return (digest[6] << 8 | digest[7]) & (BUCKETS - 1)
