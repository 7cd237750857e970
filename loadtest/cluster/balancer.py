"""HAProxy with the configuration that we ship, before nodes of this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import config
from loadtest.servers.asking import ask
from loadtest.servers.certificate import write_certificate
from loadtest.servers.haproxy import HAProxy
from loadtest.servers.process import HOST, unused_port

__all__ = ["HAPROXY_CFG", "Balancer", "Behind"]

HAPROXY_CFG = Path(config.__file__).parent / "deploy" / "haproxy.cfg"
_SHIPPED = 3  # nodes in the configuration
_ASK_S = 5.0

_PLAIN = f"""
frontend plain
    bind {HOST}:{{port}}
    http-request del-header X-Forwarded-For
    option forwardfor
    default_backend nodes
"""
"""The same backend without TLS, for typists of this machine: `port` is its."""


@dataclass(frozen=True, slots=True)
class Behind:
    """A node as HAProxy sees it."""

    name: str
    port: int
    agent_port: int


class Balancer(HAProxy):
    """HAProxy before these nodes, its files in `folder`.

    `changed`: what else of the configuration is to be otherwise, lines and what stands there instead. It listens to
    HTTP at `port`, by a frontend of its own with the same lines, to TLS at `tls_port` with `certificate`, and redirects
    who comes to `redirect_port`.
    """

    def __init__(self, folder: Path, nodes: Sequence[Behind], changed: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate, key = write_certificate(folder)
        both = folder / "typegate.pem"
        both.write_bytes(self.certificate.read_bytes() + key.read_bytes())
        self.tls_port, self.redirect_port, self._figures_port = unused_port(), unused_port(), unused_port()
        replaced = {
            "maxconn 100000": "maxconn 5000",
            "bind :80\n": f"bind {HOST}:{self.redirect_port}\n",
            "bind :443 ssl crt /etc/haproxy/typegate.pem": f"bind {HOST}:{self.tls_port} ssl crt {both}",
            "bind 127.0.0.1:8404": f"bind {HOST}:{self._figures_port}",
        }
        lines = [
            f"    server {node.name} {HOST}:{node.port} cookie {node.name} agent-port {node.agent_port}\n"
            for node in nodes
        ]
        for number in range(1, _SHIPPED + 1):
            shipped = f"    server node-{number} 10.0.0.1{number}:8080 cookie node-{number}\n"
            replaced[shipped] = "" if number < _SHIPPED else "".join(lines)
        plain = _PLAIN
        for old, new in (changed or {}).items():
            plain = plain.replace(old, new)
        super().__init__(HAPROXY_CFG, folder, replaced | dict(changed or {}), added=plain)

    def states(self, *, within_s: float = _ASK_S) -> dict[str, str]:
        """Each node's state in HAProxy's words (`UP`, `DOWN`, `MAINT` ...); none where it does not answer."""
        try:
            return {node: fact["status"] for node, fact in self.facts(within_s=within_s).items()}
        except OSError:
            return {}

    def facts(self, *, within_s: float = _ASK_S) -> dict[str, dict[str, str]]:
        """What HAProxy tells of each node, by its own names. Raises OSError where it does not answer."""
        text = ask(self._figures_port, "/;csv", within_s=within_s).body.decode()
        head, *rows = (line.split(",") for line in text.removeprefix("# ").splitlines() if line)
        facts = (dict(zip(head, row, strict=False)) for row in rows)
        return {fact["svname"]: fact for fact in facts if fact["pxname"] == "nodes" and fact["svname"] != "BACKEND"}
