"""nginx with one of our configurations, its addresses and folders put in place."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from loadtest.servers.configured import adapted
from loadtest.servers.process import ServerProcess, unused_port

__all__ = ["Nginx"]


class Nginx(ServerProcess):
    """nginx in the foreground, its files in `folder`.

    `replaced`: what stands in the configuration and what is to stand there instead, `{port}` meaning the port that it
    gets. Raises ValueError as `adapted` does.
    """

    def __init__(self, configuration: Path, folder: Path, replaced: Mapping[str, str]) -> None:
        port = unused_port()
        text = adapted(configuration, replaced).replace("{port}", str(port))
        folder.mkdir(parents=True, exist_ok=True)
        own = folder / "nginx.conf"
        own.write_text(text, encoding="utf-8")
        # `user` only matters to root, whose workers could not read a test's folder otherwise
        directives = "daemon off; user root;" if Path.home() == Path("/root") else "daemon off;"
        command = [shutil.which("nginx") or "/usr/sbin/nginx", "-p", str(folder), "-c", str(own), "-g", directives]
        super().__init__("nginx", command, folder=folder, port=port)

    @staticmethod
    def missing() -> str | None:
        """Why it cannot run on this machine; None where it can."""
        return None if shutil.which("nginx") or Path("/usr/sbin/nginx").exists() else "nginx is not installed"
