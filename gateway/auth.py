"""Who is at the other end: guests by a signed token of ours, accounts by a JWT of the site's issuer.

`identify` answers at once from keys in memory; only an unknown key id of a JWKS issuer needs the network, and then
it says so (None) and `fetch_keys` gets them off the loop, at most once in `jwks_retry_s` however many ask.
"""

from dataclasses import dataclass

from config.gateway import AuthOptions
from session.receipt import KeyRing

__all__ = ["Authenticator", "Identity", "Unauthorised"]


class Unauthorised(Exception):
    """The token is not accepted; `code` is a short closed word for metrics, the message says why and what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who may type."""

    user: int
    """1 to 2^53-1 for an account, -1 to -(2^53-1) for a guest."""
    guest: bool
    """Whether the id is a guest's."""
    token: str | None = None
    """A guest's token to keep for the next visit; None for accounts."""
    expires_at_ms: int | None = None
    """Epoch ms when an account's JWT ends; None for guests, whose token is renewed on each visit."""
    admin: bool = False
    """Whether the admin token was shown: may read any result, types nothing (user 0)."""


class Authenticator:
    """Checks tokens against the options' keys; an async context manager that owns the JWKS fetches."""

    def __init__(self, options: AuthOptions, ring: KeyRing) -> None:
        raise NotImplementedError

    def identify(self, token: str | None, *, now_ms: int) -> Identity | None:
        """Say who bears this token (None: a new guest); None when its key must be fetched first.

        `now_ms` is epoch ms. Raises Unauthorised with a reason. Takes about 5 µs for a guest, 60 µs for a JWT.
        """
        raise NotImplementedError

    async def identify_later(self, token: str, *, now_ms: int) -> Identity:
        """As `identify`, after fetching the issuer's keys where they are wanted. Raises Unauthorised."""
        raise NotImplementedError
