"""Facts that live elsewhere and change: an issuer's keys (JWKS), a file of subjects. Read off the loop, kept, renewed.

`Renewed` holds the last good value. It is renewed in the background when its time is over, and on demand when
somebody asks for what it lacks, then at most once in `retry_s` however many ask. A failed renewal keeps the old value.
"""

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Generic, Self, TypeVar

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["KeySet", "Renewed", "SubjectsFile", "Unreadable", "fetch", "parse_jwks", "parse_subjects", "public_key"]

T = TypeVar("T")
KeySet = Mapping[str | None, Any]
"""Verification keys by key id; under None the only key, for tokens that name none."""

USER_MAX = 2**53 - 1
RSA_BITS_MIN = 2048  # NIST SP 800-131A

log = structlog.get_logger(__name__)


class Unreadable(Exception):
    """What was read is not what it should be; the message says what is wrong and what is allowed."""


class Renewed(Generic[T]):
    """A value read by a blocking function in a thread of its own; an async context manager that renews it."""

    def __init__(self, what: str, read: Callable[[], T], *, ttl_s: float, retry_s: float, timeout_s: float) -> None:
        self.value: T | None = None
        self.fault: str | None = "not read yet"
        self._what = what
        self._read = read
        self._ttl_s = ttl_s
        self._retry_s = retry_s
        self._timeout_s = timeout_s
        self._tried_at = float("-inf")
        self._reading: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to read; do not wait for it, since an issuer that is away must not keep the server from starting."""
        self._task = asyncio.get_running_loop().create_task(self._renew(), name=f"renew {self._what}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop renewing; a thread that still waits for the network ends with the process."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def may_read(self) -> bool:
        """Whether asking again now is allowed, or is being done already."""
        return self._reading is not None or time.monotonic() - self._tried_at >= self._retry_s

    async def read(self) -> None:
        """Read again, or wait for the reading under way; at most once in `retry_s`. `value` and `fault` tell."""
        loop = asyncio.get_running_loop()
        if self._reading is None:
            if not self.may_read():
                return
            self._tried_at = time.monotonic()
            reading = self._reading = loop.create_future()
            threading.Thread(target=self._in_thread, args=(loop, reading), name=self._what, daemon=True).start()
        await asyncio.wait([self._reading], timeout=self._timeout_s)

    def _in_thread(self, loop: asyncio.AbstractEventLoop, reading: "asyncio.Future[None]") -> None:
        value: T | None = None
        fault: str | None = None
        try:
            value = self._read()
        except (OSError, Unreadable, ValueError) as error:
            fault = str(error) or type(error).__name__
        except Exception as error:  # whatever it is: else this reading would never be over, and no other would begin
            fault = f"{type(error).__name__}: {error}"
        try:
            loop.call_soon_threadsafe(self._done, reading, value, fault)
        except RuntimeError:
            pass  # the loop has closed meanwhile

    def _done(self, reading: "asyncio.Future[None]", value: T | None, fault: str | None) -> None:
        self._reading = None
        if fault is None:
            self.value = value
        elif fault != self.fault:
            log.warning(f"{self._what} cannot be read; what was read before stays", fault=fault)
        self.fault = fault
        if not reading.done():
            reading.set_result(None)

    async def _renew(self) -> None:
        while True:
            await self.read()
            await asyncio.sleep(self._ttl_s if self.fault is None else max(1.0, self._retry_s))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """Follow nothing: the address in the settings is the one that is trusted."""


def fetch(url: str, *, timeout_s: float, max_bytes: int) -> bytes:
    """The body behind `url`. Blocking; bounded in time and size. Raises OSError or Unreadable."""
    until = time.monotonic() + timeout_s
    request = urllib.request.Request(url, headers={"Accept": "application/jwk-set+json, application/json"})
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=timeout_s) as response:
            body = bytearray()
            while chunk := response.read1(65536):
                body += chunk
                if len(body) > max_bytes:
                    raise Unreadable(f"the answer of {url} is over {max_bytes} bytes")
                if time.monotonic() > until:
                    raise TimeoutError(f"{url} took over {timeout_s} s")
            return bytes(body)
    except urllib.error.HTTPError as answer:
        raise OSError(f"{url} answered {answer.code} {answer.reason}") from None
    except urllib.error.URLError as failure:
        raise OSError(f"{url} cannot be reached: {failure.reason}") from None
    except HTTPException as failure:
        raise OSError(f"{url} answered what is no HTTP: {type(failure).__name__}") from None


def parse_jwks(body: bytes, *, algorithm: str) -> KeySet:
    """The keys of a JWKS (RFC 7517) that sign with `algorithm`. Raises Unreadable where there is none."""
    try:
        entries = json.loads(body)["keys"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Unreadable('the key set is not JSON of the form {"keys": [...]}') from None
    if not isinstance(entries, list):
        raise Unreadable('the key set\'s "keys" is no list')
    family = {"RS256": "RSA", "EdDSA": "OKP"}[algorithm]
    keys: dict[str | None, Any] = {}
    for entry in entries:
        fits = isinstance(entry, dict) and entry.get("kty") == family and entry.get("use", "sig") == "sig"
        if not fits or entry.get("alg", algorithm) not in (algorithm, "Ed25519"):
            continue
        try:
            key = jwt.PyJWK(entry, algorithm=algorithm).key
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue  # one odd key does not spoil the set
        if _strong(key):
            kid = entry.get("kid")
            keys[kid if isinstance(kid, str) else None] = key
    if not keys:
        raise Unreadable(f"the key set has no key for {algorithm}")
    if len(keys) == 1:
        keys[None] = next(iter(keys.values()))
    return keys


def public_key(pem: bytes, *, algorithm: str) -> Any:
    """The key in a key file: a secret for HS256, else a PEM public key. Raises Unreadable."""
    if algorithm == "HS256":
        secret = pem.strip(b"\r\n")
        if b"-----BEGIN" in secret:
            raise Unreadable(
                "it holds a PEM key; HS256 wants a shared secret (a public key as secret would be no secret)"
            )
        if len(secret) < 32:
            raise Unreadable(f"the secret has {len(secret)} bytes; HS256 wants 32 or more (RFC 7518, 3.2)")
        return secret
    if b"PRIVATE KEY" in pem:
        raise Unreadable("it holds a private key; give the public key alone, the private one stays with the issuer")
    try:
        key = jwt.get_algorithm_by_name(algorithm).prepare_key(pem)
    except (jwt.PyJWTError, ValueError, TypeError):
        raise Unreadable(f"it holds no PEM public key for {algorithm}") from None
    if not _strong(key):
        raise Unreadable(f"the RSA key is under {RSA_BITS_MIN} bits")
    return key


def _strong(key: object) -> bool:
    return not isinstance(key, RSAPublicKey) or key.key_size >= RSA_BITS_MIN


class SubjectsFile:
    """The subjects' file, parsed again only when it has changed: a large one holds the interpreter for a while."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._table: Mapping[str, int] = {}

    def read(self) -> Mapping[str, int]:
        """The table as it is now. Blocking. Raises OSError or Unreadable."""
        facts = self._path.stat()
        seen = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        if seen != self._seen:
            self._table = parse_subjects(self._path)
            self._seen = seen
        return self._table


def parse_subjects(path: Path) -> Mapping[str, int]:
    """The file that maps `sub` to user id. Raises OSError or Unreadable."""
    try:
        table = json.loads(path.read_bytes())
    except ValueError as fault:
        raise Unreadable(f"{path} is not JSON: {fault}") from None
    if not isinstance(table, dict):
        raise Unreadable(f'{path} holds no map; it should read {{"auth0|5f7c": 17}}')
    for subject, user in table.items():
        if not isinstance(user, int) or isinstance(user, bool) or not 1 <= user <= USER_MAX:
            raise Unreadable(f"{path} maps {subject!r} to {user!r}; allowed are 1 to {USER_MAX}")
    if len(set(table.values())) != len(table):
        raise Unreadable(f"{path} maps two subjects to one user id")
    return table
