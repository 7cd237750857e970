"""An issuer of tokens: keys, tokens, and a small real HTTP server with its key set."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

PrivateKey = RSAPrivateKey | Ed25519PrivateKey
NOW_MS = 1_790_000_000_000


def rsa(bits: int = 2048) -> RSAPrivateKey:
    """A fresh RSA key."""
    return generate_private_key(65_537, bits)


def claims(**changed: Any) -> dict[str, Any]:
    """The claims of a good token; None leaves one out."""
    all_claims = {"iss": "https://site.example", "aud": "typegate", "exp": NOW_MS // 1000 + 600, "uid": 7, **changed}
    return {name: value for name, value in all_claims.items() if value is not None}


def token(key: PrivateKey | bytes, algorithm: str, *, kid: str | None = None, **changed: Any) -> str:
    """A signed token."""
    return jwt.encode(claims(**changed), key, algorithm=algorithm, headers={} if kid is None else {"kid": kid})


def public_pem(key: PrivateKey) -> bytes:
    """The public half as a key file."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(key: PrivateKey) -> bytes:
    """The private half, which belongs in nobody's settings."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def jwk(key: PrivateKey, kid: str | None, **more: str) -> dict[str, Any]:
    """The public half as a member of a key set."""
    algorithm = "RS256" if isinstance(key, RSAPrivateKey) else "EdDSA"
    entry = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key()))
    return {**entry, **({} if kid is None else {"kid": kid}), **more}


class Issuer:
    """What the server answers, and how often it was asked."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.answer: Callable[[], tuple[int, bytes]] = lambda: (200, json.dumps({"keys": self.keys}).encode())
        self.asked = 0
        self.url = ""


@contextmanager
def issuing() -> Iterator[Issuer]:
    """A running issuer."""
    issuer = Issuer()

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked += 1
            status, body = issuer.answer()
            self.send_response(status)
            if status in (301, 302):
                self.send_header("location", issuer.url + "/moved")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    issuer.url = f"http://127.0.0.1:{server.server_port}/keys"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
