"""The gateway's options say what is allowed."""

from pathlib import Path
from typing import Any

import pytest

from config.edge import EdgeOptions
from config.gateway import (
    AdminOptions,
    AgentOptions,
    AuthOptions,
    ConnectionOptions,
    HttpOptions,
    NodeOptions,
    TlsOptions,
)

JWT: dict[str, Any] = {"algorithm": "RS256", "issuer": "i", "audience": "a", "jwks_url": "https://issuer.example/keys"}


@pytest.mark.parametrize(
    ("kind", "values", "told"),
    [
        (AdminOptions, {"host": "no host"}, "IP address or a host name"),
        (AdminOptions, {"port": 65_536}, "0 to 65535"),
        (NodeOptions, {"name": "a/b"}, "letters, digits"),
        (TlsOptions, {"key": Path("k")}, "both files or neither"),
        (AuthOptions, {"guests": False}, "nobody could type"),
        (AuthOptions, {"algorithm": "RS256"}, "issuer and audience"),
        (AuthOptions, {**JWT, "key_file": Path("k")}, "only one of them"),
        (AuthOptions, {**JWT, "jwks_url": ""}, "key_file or a jwks_url"),
        (AuthOptions, {**JWT, "algorithm": "HS256"}, "belongs into key_file"),
        (AuthOptions, {**JWT, "jwks_url": "http://issuer.example/keys"}, "https address"),
        (AuthOptions, {**JWT, "uid_claim": ""}, "claim's name"),
        (AuthOptions, {"guest_days": 31}, "1 to 30"),
        (ConnectionOptions, {"starts_burst": 0}, "1 to"),
        (HttpOptions, {"page_rows": 0}, "1 to 100"),
    ],
)
def test_what_is_not_allowed_is_refused_with_what_is(kind: type, values: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        kind(**values)


@pytest.mark.parametrize("host", ["127.0.0.1", "::", "0.0.0.0", "localhost", "gate-1.example.org"])
def test_addresses_and_names_are_hosts(host: str) -> None:
    assert AdminOptions(host=host).host == host


def test_an_issuer_on_this_machine_may_speak_http() -> None:
    assert AuthOptions(**{**JWT, "jwks_url": "http://127.0.0.1:9/keys"}).jwks_url


def test_the_node_s_default_name_is_allowed() -> None:
    assert NodeOptions().name


def test_a_worker_beside_a_server_has_a_port_of_its_own() -> None:
    """By default, each has: neither needs a flag."""
    assert len({EdgeOptions().port, AdminOptions().port, AdminOptions().worker_port, AgentOptions().port}) == 4
