import re
import ssl
from pathlib import Path
from typing import Any

import pytest

from loadtest.servers.certificate import write_certificate
from persistence.errors import StoreError
from persistence.kafka.options import KafkaOptions

SASL: dict[str, Any] = {"security": "SASL_SSL", "user": "gateway", "password_file": Path("secret")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"servers": ("kafka-1",)}, "servers has 'kafka-1'; a broker is host:port"),
        ({"servers": ("kafka-1:9092", "kafka-2:0")}, "servers has 'kafka-2:0'"),
        ({"servers": (":9092",)}, "servers has ':9092'"),
        ({"servers": ("kafka-1:９０９２",)}, "a broker is host:port"),
        ({"results_topic": "test results"}, "'test results' is no topic; allowed are 1 to 249 letters"),
        ({"results_topic": ""}, "'' is no topic"),
        ({"results_topic": ".."}, "'..' is no topic"),
        ({"results_topic": "a", "dead_letter_topic": "a"}, "must be three different topics"),
        ({"security": "SASL_PLAINTEXT"}, "SASL_PLAINTEXT needs user and password_file"),
        (SASL | {"user": ""}, "SASL_SSL needs user and password_file"),
        ({"cert_file": Path("a")}, "cert_file and key_file belong together"),
        ({"ca_file": Path("a")}, "ca_file, cert_file and key_file are for TLS: set security to SSL or SASL_SSL"),
        ({"security": "SSL", "user": "us"}, "user and password_file are for SASL: set security to SASL_SSL"),
        ({"security": "SSL", "password_file": Path("a")}, "user and password_file are for SASL"),
        (
            SASL | {"security": "SASL_PLAINTEXT", "cert_file": Path("a"), "key_file": Path("b")},
            "are for TLS: set security to SSL or SASL_SSL",
        ),
        ({"answer_ms": 0}, "answer_ms is 0; allowed is 50 to 60000"),
        ({"request_ms": 100_000}, "request_ms is 100000; allowed is 500 to 60000"),
    ],
)
def test_what_cannot_be_is_refused_with_what_is_allowed(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        KafkaOptions(**changes)


def test_without_servers_there_is_no_kafka() -> None:
    assert not KafkaOptions().enabled
    assert KafkaOptions(servers=("[::1]:9092",)).enabled


def test_a_client_is_made_with_what_the_options_say(tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("pass word\n")
    options = KafkaOptions(
        servers=("a:1", "b:2"),
        ca_file=cert,
        cert_file=cert,
        key_file=key,
        request_ms=700,
        **SASL | {"password_file": secret},
    )
    arguments = options.client("me")
    context = arguments.pop("ssl_context")
    assert isinstance(context, ssl.SSLContext)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert arguments == {
        "bootstrap_servers": ["a:1", "b:2"],
        "client_id": "me",
        "request_timeout_ms": 700,
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "gateway",
        "sasl_plain_password": "pass word",
    }


@pytest.mark.parametrize("name", ["password_file", "ca_file", "cert_file"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    """Once it starts: the settings may be checked on another machine."""
    (tmp_path / "secret").write_text("x")
    files = {"password_file": tmp_path / "secret", name: tmp_path / "none"}
    if name == "cert_file":
        files["key_file"] = tmp_path / "none"
    with pytest.raises(StoreError, match=rf"{tmp_path}/none cannot be used: No such file"):
        KafkaOptions(servers=("a:1",), **SASL | files).client("me")
