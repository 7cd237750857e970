"""The smallest kind of server: one that accepts connections, and says so."""

import sys
from pathlib import Path

from loadtest.servers.addresses import Addresses
from loadtest.servers.process import ServerProcess, unused_port

PROGRAM = """
import socket, sys, time
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)  # it is ready, and may be stopped, as soon as one can connect
listener.listen()
while True:
    listener.accept()[0].sendall(b"hello")
"""


def sleeper(folder: Path, program: str = PROGRAM) -> ServerProcess:
    """A server that runs this Python program with its port as argument."""
    port = unused_port()
    return ServerProcess("sleeper", [sys.executable, "-c", program, str(port)], folder=folder, port=port)


class Sleepers:
    """A kind with one server."""

    def __init__(self, folder: Path) -> None:
        self.server = sleeper(folder / "sleeper")

    @staticmethod
    def missing() -> str | None:
        return None

    def start(self) -> None:
        self.server.start()

    def stop(self) -> None:
        self.server.stop()

    def addresses(self) -> Addresses:
        return {"port": self.server.port}

    def settings(self) -> dict[str, str]:
        return {"TYPEGATE_SLEEPER_PORT": str(self.server.port)}


class Broken(Sleepers):
    """One that cannot be started."""

    def __init__(self, folder: Path) -> None:
        self.server = sleeper(folder / "broken", "raise SystemExit('the disk is on fire')")


class Missing(Sleepers):
    """One that this machine does not have."""

    @staticmethod
    def missing() -> str | None:
        return "nobody sells it"
