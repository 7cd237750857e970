"""Who is at the other end: guests by a signed token of ours, accounts by a JWT of the site's issuer.

`identify` answers at once from what is in memory. Only an unknown key id (or subject) wants a fresh look at the
issuer's key set (or the subjects' file): then it says so (None), and `identify_later` looks, off the loop and at most
once in `jwks_retry_s` however many ask.

Checking a JWT's signature costs 100 to 200 us, and after a restart ten thousand come back at once, each with a token
for the WebSocket and for every request. What a checked token said is kept by the token's hash until it ends or the keys
change; its times, and the user of its subject, are looked at each time.

A guest's token is base64url of what the key ring seals: layout (1) | user (8, signed) | end, epoch ms (8). It has no
dots, a JWT has two; so one field of `auth` and one `Authorization: Bearer` carry both.
"""

import base64
import secrets
import struct
from binascii import b2a_base64
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from hashlib import blake2b
from hmac import compare_digest
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import jwt

from config.gateway import AuthOptions
from gateway.jwks import KeySet, Renewed, SubjectsFile, Unreadable, fetch, parse_jwks, public_key
from session.identity import MAX_USER, IdentityError, mint_guest, user_from_text
from session.names import NameFault, clean_name
from session.receipt import KeyRing, Purpose

__all__ = ["Authenticator", "Identity", "Unauthorised"]

TOKEN_BYTES = 8192
"""Longest token that is looked at; an issuer's are 1 to 2 KiB."""
ADMIN_TOKEN_MIN = 32
RENEW_AFTER_MS = 86_400_000
"""A guest's token is given anew when it is a day old: not on each of a school's reconnects."""

CHECKED_TOKENS = 20_000
"""Checked tokens that are remembered, those seen last: one for each typist that a core holds, 0.5 KiB each."""

_GUEST = struct.Struct(">Bqq")
_GUEST_LAYOUT = 1
_NAME = ""
"""Where the name is among what is kept of a token: under no name that another claim has."""
_URLSAFE = bytes.maketrans(b"+/", b"-_")


class Unauthorised(Exception):
    """The token is not accepted; `code` is a word of a closed set, for metrics; the message says why and what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class _Wanted(Exception):
    """A fresh look at something is wanted; `refusal` is the answer when that does not help."""

    def __init__(self, renewed: Renewed[Any], refusal: Unauthorised) -> None:
        super().__init__()
        self.renewed = renewed
        self.refusal = refusal


class Identity(NamedTuple):
    """Somebody who may type."""

    user: int
    """1 to 2^53-1 for an account, -1 to -(2^53-1) for a guest."""
    guest: bool
    """Whether the id is a guest's."""
    token: str | None = None
    """A guest's token to keep for the next visit; None for accounts."""
    expires_at_ms: int | None = None
    """Epoch ms when an account's JWT ends; None for guests, whose token is renewed."""
    name: str | None = None
    """What an account's JWT calls it; "" where it says nothing that can be shown, None where it is not asked."""


class Authenticator:
    """Checks tokens against the options' keys. An async context manager: entering reads the key files.

    `chance(bits)` gives random bits for guests' ids. Entering raises Unreadable where a file is not what it should be.
    """

    def __init__(self, options: AuthOptions, ring: KeyRing, *, chance: Callable[[int], int] = secrets.randbits) -> None:
        self._options = options
        self.ring = ring
        """The keys of guests' tokens; another one may take its place."""
        self._chance = chance
        self._key: Any = None
        self._jwks: Renewed[KeySet] | None = None
        self._subjects: Renewed[Mapping[str, int]] | None = None
        self._admin: bytes | None = None
        self._key_set: tuple[bytes, KeySet] = (b"", {})
        self._checked: dict[bytes, Mapping[str, Any]] = {}
        self._checked_by: object = None
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Read the files, and begin to read the issuer's key set where there is one."""
        options = self._options
        async with AsyncExitStack() as opening:
            self.load()
            if options.jwks_url and options.algorithm:
                self._jwks = await opening.enter_async_context(
                    Renewed(
                        "issuer's key set",
                        self._read_jwks,
                        ttl_s=options.jwks_ttl_s,
                        retry_s=options.jwks_retry_s,
                        timeout_s=options.jwks_timeout_s,
                    )
                )
            if options.subjects_file is not None:
                self._subjects = await opening.enter_async_context(
                    Renewed(
                        "subjects_file",
                        SubjectsFile(options.subjects_file).read,
                        ttl_s=options.jwks_ttl_s,
                        retry_s=options.jwks_retry_s,
                        timeout_s=options.jwks_timeout_s,
                    )
                )
            self._open = opening.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop renewing."""
        await self._open.aclose()

    def load(self) -> None:
        """Read key file and admin token. Blocking, for start-up. Raises Unreadable with the setting's name."""
        options = self._options
        if options.key_file is not None and options.algorithm:
            try:
                self._key = public_key(_file("auth.key_file", options.key_file), algorithm=options.algorithm)
            except Unreadable as fault:
                raise Unreadable(f"auth.key_file {options.key_file}: {fault}") from None
        if options.admin_token_file is not None:
            token = _file("auth.admin_token_file", options.admin_token_file).strip()
            if len(token) < ADMIN_TOKEN_MIN:
                raise Unreadable(
                    f"auth.admin_token_file {options.admin_token_file}: the token has {len(token)} characters; "
                    f"{ADMIN_TOKEN_MIN} or more are wanted (openssl rand -hex 32 > FILE makes one)"
                )
            self._admin = token

    async def ping(self) -> None:
        """Raise Unreadable where nobody can come in: no guests, and the issuer's keys were never read.

        While guests come in an issuer that is away is in the log, and no reason to send everybody elsewhere.
        """
        if self._options.guests:
            return
        for renewed in (self._jwks, self._subjects):
            if renewed is not None and renewed.value is None:
                raise Unreadable(renewed.fault or "not read yet")

    def is_admin(self, token: str) -> bool:
        """Whether this is the admin token; it names nobody, and opens every result over the API."""
        return self._admin is not None and compare_digest(token.encode(errors="replace"), self._admin)

    def guest(self, *, now_ms: int, user: int | None = None) -> Identity:
        """A guest with a fresh token: a new one, or `user` again. `now_ms` is epoch ms."""
        if user is None:
            user = mint_guest(self._chance(64))
        payload = _GUEST.pack(_GUEST_LAYOUT, user, now_ms + self._options.guest_days * 86_400_000)
        sealed = self.ring.seal(Purpose.GUEST, payload)
        return Identity(user, True, _base64url(sealed))

    def identify(self, token: str | None, *, now_ms: int) -> Identity | None:
        """Say who bears this token (none: a new guest); None when its key must be read first.

        `now_ms` is epoch ms. Raises Unauthorised with a reason.
        """
        try:
            return self._identify(token, now_ms=now_ms)
        except _Wanted as wanted:
            if wanted.renewed.may_read():
                return None
            raise wanted.refusal from None

    async def identify_later(self, token: str, *, now_ms: int) -> Identity:
        """As `identify`, after a fresh look at the issuer's keys where that is wanted. Raises Unauthorised."""
        looked: set[Renewed[Any]] = set()
        while True:
            try:
                return self._identify(token, now_ms=now_ms)
            except _Wanted as wanted:
                if wanted.renewed in looked:
                    raise wanted.refusal from None
                looked.add(wanted.renewed)
                await wanted.renewed.read()

    def _identify(self, token: str | None, *, now_ms: int) -> Identity:
        if not token:
            if not self._options.guests:
                raise Unauthorised("guests_off", "this server takes no guests; sign in and send the site's token")
            return self.guest(now_ms=now_ms)
        if len(token) > TOKEN_BYTES:
            raise Unauthorised("malformed", f"the token is over {TOKEN_BYTES} bytes")
        if "." in token:
            return self._account(token, now_ms=now_ms)
        return self._known_guest(token, now_ms=now_ms)

    def guest_of(self, token: str, *, now_ms: int) -> int:
        """The guest whose token this is, whether or not guests may type here. Raises Unauthorised with a reason."""
        if len(token) > TOKEN_BYTES or "." in token:
            raise Unauthorised("malformed", "this is no guest token; it is the `token` of an earlier `ready`")
        user, end_ms = self._open_guest(token)
        if now_ms >= end_ms:
            raise Unauthorised("expired", "the guest token has expired, and with it the way to its results")
        return user

    def _known_guest(self, token: str, *, now_ms: int) -> Identity:
        user, end_ms = self._open_guest(token, "; send none to be a new guest")
        if now_ms >= end_ms:
            raise Unauthorised("expired", "the guest token has expired; send none to be a new guest")
        if not self._options.guests:
            raise Unauthorised("guests_off", "this server takes no guests any more; sign in and send the site's token")
        if end_ms - now_ms < self._options.guest_days * 86_400_000 - RENEW_AFTER_MS:
            return self.guest(now_ms=now_ms, user=user)
        return Identity(user, True, token)

    def _open_guest(self, token: str, hint: str = "") -> tuple[int, int]:
        """The guest, and when the token ends (epoch ms); `hint` is added to the reason why it is none."""
        try:
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            layout, user, end_ms = _GUEST.unpack(self.ring.open(Purpose.GUEST, sealed))
        except struct.error:
            layout, user, end_ms = 0, 0, 0
        except ValueError:  # not base64 (binascii.Error, UnicodeEncodeError) or not sealed by us (Forged)
            raise Unauthorised("forged", f"the token is not this server's{hint}") from None
        if layout != _GUEST_LAYOUT or not -MAX_USER <= user <= -1:
            raise Unauthorised("malformed", f"the guest token is of another version{hint}")
        return user, end_ms

    def _account(self, token: str, *, now_ms: int) -> Identity:
        if not self._options.algorithm:
            raise Unauthorised("accounts_off", "this server knows no accounts; send no token to be a guest")
        if not token.isascii():
            raise Unauthorised("malformed", "the token is no JWT")
        known = self._checked
        keys = self._key if self._jwks is None else self._jwks.value
        if keys is not self._checked_by:  # a token whose key was withdrawn must not come in
            known.clear()
            self._checked_by = keys
        digest = blake2b(token.encode(), digest_size=32).digest()
        claims = known.pop(digest, None) or self._verified(token)
        self._check_times(claims, now_ms=now_ms)
        identity = self._user_of(claims)
        if len(known) >= CHECKED_TOKENS:
            del known[next(iter(known))]
        known[digest] = claims  # last in the order: the last to be forgotten
        return identity

    def _verified(self, token: str) -> Mapping[str, Any]:
        """What a token says of user and times, once its signature, issuer and audience are found right."""
        algorithm = self._options.algorithm
        try:
            head = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise Unauthorised("malformed", "the token is no JWT") from None
        # pinned before anything is verified: the token does not choose how it is checked (RFC 8725, 3.1)
        if head.get("alg") != algorithm:
            raise Unauthorised(
                "algorithm", f"the token is signed with {head.get('alg')!r}; this server takes {algorithm}"
            )
        key = self._key
        if self._jwks is not None:
            key = (self._jwks.value or {}).get(head.get("kid"))
            if key is None:
                refusal = Unauthorised("key_unknown", "the token's key (kid) is not among the issuer's keys just now")
                raise _Wanted(self._jwks, refusal)
        claims = self._claims(token, key)
        kept = {name: claims[name] for name in ("exp", "nbf", "sub", self._options.uid_claim) if name in claims}
        if self._options.name_claim:  # issuers leave out what somebody has taken back (OpenID Connect Core, 5.3.2)
            kept[_NAME] = _called(claims.get(self._options.name_claim))
        return kept

    def _claims(self, token: str, key: Any) -> dict[str, Any]:
        options = self._options
        try:
            # times are looked at each time, by the clock that was given
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[options.algorithm],
                audience=options.audience,
                issuer=options.issuer,
                options={
                    "require": ["exp", "iss", "aud"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_sub": False,
                },
            )
        except jwt.InvalidSignatureError:
            raise Unauthorised("signature", "the token's signature is not the issuer's") from None
        except jwt.InvalidIssuerError:
            raise Unauthorised("issuer", f"the token's issuer (iss) is not {options.issuer!r}") from None
        except jwt.InvalidAudienceError:
            raise Unauthorised("audience", f"the token is not meant for {options.audience!r} (aud)") from None
        except jwt.MissingRequiredClaimError as fault:
            code = {"iss": "issuer", "aud": "audience"}.get(fault.claim, "claims")
            raise Unauthorised(code, f"the token has no {fault.claim!r} claim") from None
        except jwt.PyJWTError:
            raise Unauthorised("malformed", "the token is no JWT that could be checked") from None
        return claims

    def _check_times(self, claims: Mapping[str, Any], *, now_ms: int) -> None:
        leeway_ms = self._options.leeway_s * 1000
        end = _instant(claims, "exp")
        begin = _instant(claims, "nbf") if "nbf" in claims else 0
        if now_ms >= end + leeway_ms:
            raise Unauthorised("expired", "the token has expired; sign in again")
        if now_ms < begin - leeway_ms:
            raise Unauthorised("not_yet", "the token is not valid yet; is a clock wrong?")

    def _user_of(self, claims: Mapping[str, Any]) -> Identity:
        end_ms = int(_instant(claims, "exp"))
        name = self._options.uid_claim
        if name in claims:
            uid = claims[name]
            if isinstance(uid, str):
                try:
                    uid = user_from_text(uid)
                except IdentityError:
                    uid = 0
            if not isinstance(uid, int) or isinstance(uid, bool) or not 1 <= uid <= MAX_USER:
                raise Unauthorised("user", f"the token's {name!r} is no user id; allowed are 1 to {MAX_USER}")
            return Identity(uid, False, expires_at_ms=end_ms, name=claims.get(_NAME))
        if self._subjects is None:
            raise Unauthorised("user", f"the token has no {name!r} claim with the user's id")
        subject = claims.get("sub")
        refusal = Unauthorised("user", "the token's subject (sub) is not known here")
        if not isinstance(subject, str):
            raise refusal
        user = (self._subjects.value or {}).get(subject)
        if user is None:
            raise _Wanted(self._subjects, refusal)
        return Identity(user, False, expires_at_ms=end_ms, name=claims.get(_NAME))

    def _read_jwks(self) -> KeySet:
        options = self._options
        body = fetch(options.jwks_url, timeout_s=options.jwks_timeout_s, max_bytes=options.jwks_bytes)
        if body != self._key_set[0]:  # else the same value again: nothing that hangs on the keys begins anew
            self._key_set = body, parse_jwks(body, algorithm=options.algorithm)
        return self._key_set[1]


def _instant(claims: Mapping[str, Any], name: str) -> float:
    """A NumericDate claim (RFC 7519, 2) as epoch ms."""
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e11:
        raise Unauthorised("claims", f"the token's {name!r} is no time in seconds since 1970")
    return value * 1000


def _called(name: object) -> str:
    """A name as others may see it; empty where it is none, or an e-mail address, as some issuers' names are."""
    try:
        return clean_name(name) if isinstance(name, str) and "@" not in name else ""
    except NameFault:
        return ""


def _base64url(data: bytes) -> str:
    """base64url without padding (RFC 4648, 5); the library's own takes three calls of Python to the same end."""
    return b2a_base64(data, newline=False).rstrip(b"=").translate(_URLSAFE).decode()


def _file(setting: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(65_537)
    except OSError as fault:
        raise Unreadable(f"{setting} {path} cannot be read: {fault.strerror}") from None
    if len(content) > 65_536:
        raise Unreadable(f"{setting} {path} is over 64 KiB; that is no key")
    return content
