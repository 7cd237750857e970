"""Where Kafka is, who we are there, and how long it may take."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from persistence.errors import StoreError

__all__ = ["KafkaOptions"]

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """Where Kafka is, who we are there, and how long it may take."""

    servers: tuple[str, ...] = ()
    """Brokers to begin with, as host:port; the others are learnt from them. Empty: no Kafka, results go to a store."""
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Kafka's security protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How user and password are shown, with a SASL protocol: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."""
    user: str = ""
    """The user's name, with a SASL protocol."""
    password_file: Path | None = None
    """File with the password, with a SASL protocol; one line feed at its end is not part of it."""
    ca_file: Path | None = None
    """PEM file with the authority that brokers' certificates must come from; the system's authorities by default."""
    cert_file: Path | None = None
    """PEM file with our own certificate, where brokers ask for one."""
    key_file: Path | None = None
    """PEM file with its private key, without a password."""
    results_topic: str = "test-results"
    """Topic of finished results, keyed by user."""
    analytics_topic: str = "test-analytics"
    """Topic of analytics events."""
    dead_letter_topic: str = "test-results-dlq"
    """Topic of results that could not be processed."""
    answer_ms: int = 1_000
    """How long one batch is waited for; what has no answer by then is asked about again, and holds up nobody else."""
    request_ms: int = 5_000
    """How long a broker may take to answer a request, or to take a connection, before it counts as away."""
    production: bool = False
    """Refuse to start where a topic is missing, or weaker than [topics] asks for."""

    def __post_init__(self) -> None:
        for server in self.servers:
            host, _, port = server.rpartition(":")
            if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
                raise ValueError(f"servers has {server!r}; a broker is host:port, such as kafka-1.internal:9092")
        topics = (self.results_topic, self.analytics_topic, self.dead_letter_topic)
        for topic in topics:
            if not _TOPIC.fullmatch(topic) or topic in (".", ".."):
                raise ValueError(f"{topic!r} is no topic; allowed are 1 to 249 letters, digits, '.', '_' and '-'")
        if len(set(topics)) < len(topics):
            raise ValueError("results_topic, analytics_topic and dead_letter_topic must be three different topics")
        if self.security.startswith("SASL") and (not self.user or self.password_file is None):
            raise ValueError(f"security {self.security} needs user and password_file")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together; give both files or neither")
        # else what is meant to be secret would go in the clear, and nobody would be told
        if not self.security.endswith("SSL") and any((self.ca_file, self.cert_file, self.key_file)):
            raise ValueError("ca_file, cert_file and key_file are for TLS: set security to SSL or SASL_SSL")
        if not self.security.startswith("SASL") and (self.user or self.password_file):
            raise ValueError("user and password_file are for SASL: set security to SASL_SSL or SASL_PLAINTEXT")
        for name, low, high in (("answer_ms", 50, 60_000), ("request_ms", 500, 60_000)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is {low} to {high}")

    @property
    def enabled(self) -> bool:
        """Whether there is a Kafka at all."""
        return bool(self.servers)

    def client(self, client_id: str) -> dict[str, Any]:
        """What every client of aiokafka is made with. Reads files: raises StoreError where one cannot be used."""
        arguments: dict[str, Any] = {
            "bootstrap_servers": list(self.servers),
            "client_id": client_id,
            "request_timeout_ms": self.request_ms,
            "security_protocol": self.security,
        }
        if self.security.endswith("SSL"):
            arguments["ssl_context"] = self._tls_context()
        if self.security.startswith("SASL"):
            assert self.password_file is not None
            try:
                password = self.password_file.read_text(encoding="utf-8").removesuffix("\n")
            except (OSError, UnicodeDecodeError) as fault:
                raise _unusable("password file", self.password_file, fault) from None
            arguments["sasl_mechanism"] = self.mechanism
            arguments["sasl_plain_username"] = self.user
            arguments["sasl_plain_password"] = password
        return arguments

    def _tls_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self.ca_file)
        except (OSError, ssl.SSLError) as fault:
            raise _unusable("authority", self.ca_file, fault) from None
        if self.cert_file is not None:
            try:
                context.load_cert_chain(self.cert_file, self.key_file, password=_no_password)
            except (OSError, ssl.SSLError, ValueError) as fault:
                raise _unusable("certificate", self.cert_file, fault) from None
        return context


def _no_password() -> str:
    raise ValueError("its key has a password; remove it, nobody is here to type it")


def _unusable(what: str, path: Path | None, fault: Exception) -> StoreError:
    reason = getattr(fault, "strerror", None) or str(fault)
    return StoreError(f"the Kafka {what} {path} cannot be used: {reason}", retriable=False)
