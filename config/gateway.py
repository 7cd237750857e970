"""The gateway's own options: one frozen dataclass a part, a default and a line of meaning a field.

`Settings` nests them beside the options of the packages below. They check only what the types cannot say;
whether a file or a port is really there is `typegate check`'s to try.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = [
    "AdminOptions",
    "AgentOptions",
    "AuthOptions",
    "ConnectionOptions",
    "HttpOptions",
    "LogOptions",
    "NodeOptions",
    "StopOptions",
    "TlsOptions",
]

Role = Literal["ws", "api"]
Algorithm = Literal["", "HS256", "RS256", "EdDSA"]


def between(name: str, value: float, low: float, high: float) -> None:
    """Raise ValueError with what is allowed when `value` is not in [low, high]."""
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}; allowed is {low} to {high}")


def host_name(name: str, value: str) -> None:
    """Raise ValueError when `value` can be no address or host name."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        if not re.fullmatch(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9])?", value):
            raise ValueError(
                f"{name} is {value!r}; allowed is an IP address or a host name (0.0.0.0 or :: for all)"
            ) from None


def _node_name() -> str:
    """The host's name, kept to what a node may be called."""
    return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9._-]", "", socket.gethostname())[:64] or "node"


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """What this node is called, and where it keeps what must outlive it."""

    data: Path = Path("data")
    """Folder of the spool, the store and the keys; made if absent. Keep it on a volume that outlives the process."""
    name: str = field(default_factory=_node_name)
    """Name of this node in results and metrics; the host's name by default."""
    keys_file: Path | None = None
    """The cluster's keys: the same file, or a copy of it, for all nodes that one balancer stands before; keys.json in
    the data folder by default. Without common keys no node takes over another's tests, nor knows its guests,
    nor believes what it says on the bus."""
    roles: tuple[Role, ...] = ("ws", "api")
    """What it serves: ws (the WebSocket), api (page and HTTP API). Health is answered by all."""

    def __post_init__(self) -> None:
        if not self.roles or len(set(self.roles)) < len(self.roles):
            raise ValueError(f"roles is {', '.join(self.roles) or 'empty'}; allowed are ws and api, each once")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", self.name):
            raise ValueError(f"name is {self.name!r}; allowed are 1 to 64 letters, digits, '.', '_' and '-'")


@dataclass(frozen=True, slots=True)
class AdminOptions:
    """The port for the people who run it: /metrics, /healthz, /readyz."""

    enabled: bool = True
    """Whether there is an admin port at all."""
    host: str = "127.0.0.1"
    """Address of the admin port; it has no password, so keep it off the open network."""
    port: int = 9080
    """Admin port of a server; 0 takes a free one."""
    worker_port: int = 9081
    """Admin port of a worker, which may run beside a server; 0 takes a free one."""

    def __post_init__(self) -> None:
        host_name("host", self.host)
        between("port", self.port, 0, 65535)
        between("worker_port", self.worker_port, 0, 65535)


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """The port for HAProxy's agent check: how much more this process can take, and when it is to get nobody."""

    enabled: bool = False
    """Whether there is such a port."""
    host: str = "127.0.0.1"
    """Address of the port; it only tells, but keep it off the open network."""
    port: int = 9070
    """The port; 0 takes a free one."""

    def __post_init__(self) -> None:
        host_name("host", self.host)
        between("port", self.port, 0, 65535)


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """TLS by this process itself; both files or neither."""

    cert: Path | None = None
    """PEM file with the certificate and its chain."""
    key: Path | None = None
    """PEM file with the certificate's private key, without a password."""

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key belong together; give both files or neither")

    @property
    def enabled(self) -> bool:
        """Whether the server speaks TLS."""
        return self.cert is not None


@dataclass(frozen=True, slots=True)
class AuthOptions:
    """Who may type: guests, and accounts by JSON Web Token."""

    guests: bool = True
    """Whether one may type without an account."""
    guest_days: int = 30
    """Days that a guest's token is good for; it is renewed on each visit."""
    algorithm: Algorithm = ""
    """The one algorithm that a JWT may bear: HS256, RS256 or EdDSA; empty: no accounts."""
    issuer: str = ""
    """The `iss` that a JWT must bear; required with an algorithm."""
    audience: str = ""
    """The `aud` that a JWT must bear; required with an algorithm."""
    key_file: Path | None = None
    """File with the secret (HS256: 32 bytes or more, as they are) or the PEM public key; or use jwks_url."""
    jwks_url: str = ""
    """https address of the issuer's key set (JWKS), for RS256 and EdDSA; or use key_file."""
    jwks_ttl_s: float = 600.0
    """Seconds until a fetched key set is fetched again."""
    jwks_retry_s: float = 10.0
    """Least seconds between two fetches, however many unknown key ids arrive."""
    jwks_timeout_s: float = 5.0
    """Seconds that one fetch of the key set may take in all."""
    jwks_bytes: int = 262_144
    """Largest key set in bytes."""
    leeway_s: float = 30.0
    """Seconds that the issuer's clock may differ from ours."""
    uid_claim: str = "uid"
    """Claim with the user id, 1 to 2^53-1; without it `sub` is looked up in subjects_file."""
    name_claim: str = "nickname"
    """Claim with what an account is called, shown to all on leaderboards and in races: not `name` where that is a full
    name; what has an @ is taken for an address and not shown; a token without it: a default name; empty: for all."""
    subjects_file: Path | None = None
    """JSON file that maps `sub` to user id: {"auth0|5f7c": 17, ...}."""
    admin_token_file: Path | None = None
    """File with the secret (32 characters or more) that reads any result over the API as a Bearer token."""

    def __post_init__(self) -> None:
        between("guest_days", self.guest_days, 1, 30)  # the keys that sealed them are kept for 31
        between("jwks_ttl_s", self.jwks_ttl_s, 1, 86_400)
        between("jwks_retry_s", self.jwks_retry_s, 0, 3600)
        between("jwks_timeout_s", self.jwks_timeout_s, 0.1, 60)
        between("jwks_bytes", self.jwks_bytes, 256, 16 << 20)
        between("leeway_s", self.leeway_s, 0, 300)
        if not self.uid_claim:
            raise ValueError("uid_claim is empty; give the claim's name, for example uid")
        if self.jwks_url and not re.match(
            r"https://[^/\s]+|http://(127\.0\.0\.1|localhost|\[::1\])[:/]", self.jwks_url
        ):
            raise ValueError(f"jwks_url is {self.jwks_url!r}; allowed is an https address (http on this machine only)")
        if not self.algorithm:
            if not self.guests:
                raise ValueError("guests are off and no algorithm is set, so nobody could type; set one of them")
            return
        missing = [name for name in ("issuer", "audience") if not getattr(self, name)]
        if missing:
            raise ValueError(f"algorithm {self.algorithm} needs {' and '.join(missing)} too")
        if (self.key_file is None) == (not self.jwks_url):
            raise ValueError(f"algorithm {self.algorithm} needs a key_file or a jwks_url, and only one of them")
        if self.algorithm == "HS256" and self.jwks_url:
            raise ValueError("HS256 has one secret, which belongs into key_file; jwks_url is for RS256 and EdDSA")


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """What a WebSocket connection or a user may cost, beside the wire's own limits."""

    auth_deadline_s: float = 5.0
    """Seconds from the upgrade to the first `auth` frame."""
    heartbeat_s: float = 10.0
    """Seconds between the server's pings; two unanswered ones end the connection with 4003."""
    bytes_per_s: int = 8192
    """Bytes that a connection may send per second in the long run, each frame counted as 48 more; typing takes 400."""
    burst_bytes: int = 2_097_152
    """Bytes that it may send at once: a whole log at a resume, twice."""
    held_sessions: int = 20_000
    """Sessions without a connection that are held; beyond, the oldest is forgotten (its client's log still resumes)."""
    per_user: int = 0
    """Most connections of a user, over all processes; the one too many is closed with 4004. 0: no limit."""
    per_address: int = 0
    """Most connections of an address (IPv6: a /64), likewise; a school sits behind one. 0: no limit."""
    sign_ins: Literal["many", "newest", "first"] = "many"
    """How often a user, a guest too, may be signed in at a time, over all processes. many: as often as per_user says;
    newest: who signs in closes the older connections (4502); first: as long as one is open a newer is closed (4004)."""
    starts_per_s: float = 2.0
    """Tests that a user may start per second, in the long run."""
    starts_burst: int = 30
    """Tests that a user may start at once."""
    address_starts_per_s: float = 0.0
    """Tests that an address (IPv6: a /64) may start per second, in the long run; a school sits behind one. 0: no
    limit."""
    address_starts_burst: int = 1_000
    """Tests that an address may start at once, where there is a limit."""
    tests: int = 0
    """Most tests under way, over all processes; who would start one more waits in a queue, and is told its place. 0: no
    limit. Races, and tests that are resumed, count and do not wait."""

    def __post_init__(self) -> None:
        between("auth_deadline_s", self.auth_deadline_s, 0.1, 60)
        between("heartbeat_s", self.heartbeat_s, 1, 300)
        between("bytes_per_s", self.bytes_per_s, 1024, 1 << 30)
        between("burst_bytes", self.burst_bytes, 65_536, 1 << 30)
        between("held_sessions", self.held_sessions, 0, 10_000_000)
        between("per_user", self.per_user, 0, 1_000_000)
        between("per_address", self.per_address, 0, 1_000_000)
        between("starts_per_s", self.starts_per_s, 0.01, 10_000)
        between("starts_burst", self.starts_burst, 1, 100_000)
        between("address_starts_per_s", self.address_starts_per_s, 0, 100_000)
        between("address_starts_burst", self.address_starts_burst, 1, 1_000_000)
        between("tests", self.tests, 0, 10_000_000)


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """The HTTP API's limits."""

    address_per_s: float = 200.0
    """Requests to /v1 that an address (IPv6: a /64) may make per second, in the long run; a school sits behind one."""
    address_burst: int = 4000
    """Requests to /v1 that an address may make at once."""
    page_per_s: float = 500.0
    """Requests for pages, their files and /docs that an address may make per second, in the long run: a first visit
    makes some 50."""
    page_burst: int = 20_000
    """Requests for pages and their files that an address may make at once."""
    user_per_s: float = 5.0
    """Requests for results that a user may make per second, in the long run."""
    user_burst: int = 60
    """Requests for results that a user may make at once."""
    tracked: int = 20_000
    """Addresses and users whose requests are counted at a time; the longest unseen are forgotten first."""
    page_rows: int = 100
    """Most rows in one page of a listing."""
    catalogue_max_age_s: int = 300
    """Seconds that browsers and CDNs may keep a catalogue answer without asking."""
    heavy_at_once: int = 2
    """Replays being analysed at a time; more wait."""
    upload_bytes: int = 655_360
    """Longest body of a result that was typed offline: 30,000 keystrokes with their holds."""

    def __post_init__(self) -> None:
        between("address_per_s", self.address_per_s, 0.01, 1_000_000)
        between("address_burst", self.address_burst, 1, 10_000_000)
        between("page_per_s", self.page_per_s, 0.01, 1_000_000)
        between("page_burst", self.page_burst, 1, 10_000_000)
        between("user_per_s", self.user_per_s, 0.01, 1_000_000)
        between("user_burst", self.user_burst, 1, 10_000_000)
        between("tracked", self.tracked, 100, 10_000_000)
        between("page_rows", self.page_rows, 1, 1000)
        between("catalogue_max_age_s", self.catalogue_max_age_s, 0, 31_536_000)
        between("heavy_at_once", self.heavy_at_once, 1, 64)
        between("upload_bytes", self.upload_bytes, 65_536, 16 << 20)


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is written: debug, info, warning or error."""
    format: Literal["auto", "human", "json"] = "auto"
    """human: lines to read; json: one object a line; auto: human on a terminal, else json."""


@dataclass(frozen=True, slots=True)
class StopOptions:
    """How the server goes."""

    grace_s: float = 10.0
    """Seconds that clients get to leave after SIGTERM; running tests go on meanwhile."""
    flush_s: float = 10.0
    """Seconds that the spool gets to pass its rows on; what is left is safe on disk."""

    def __post_init__(self) -> None:
        between("grace_s", self.grace_s, 0, 3600)
        between("flush_s", self.flush_s, 0, 3600)
