"""HAProxy with one of our configurations, its addresses and files put in place."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from loadtest.servers.configured import adapted
from loadtest.servers.process import ServerProcess, unused_port

__all__ = ["HAProxy"]


class HAProxy(ServerProcess):
    """HAProxy in the foreground, its files in `folder`.

    `replaced`: what stands in the configuration and what is to stand there instead, `{port}` meaning the port that it
    gets; `added` comes at the end. Raises ValueError as `adapted` does.
    """

    def __init__(self, configuration: Path, folder: Path, replaced: Mapping[str, str], *, added: str = "") -> None:
        port = unused_port()
        text = adapted(configuration, replaced) + added
        folder.mkdir(parents=True, exist_ok=True)
        self.configuration = folder / "haproxy.cfg"
        self.configuration.write_text(text.replace("{port}", str(port)), encoding="utf-8")
        self.program = shutil.which("haproxy") or "/usr/sbin/haproxy"
        super().__init__("haproxy", [self.program, "-db", "-f", self.configuration], folder=folder, port=port)

    @staticmethod
    def missing() -> str | None:
        """Why it cannot run on this machine; None where it can."""
        return None if shutil.which("haproxy") or Path("/usr/sbin/haproxy").exists() else "HAProxy is not installed"
