"""How the servers in other languages are built: sources from here, libraries by each language's own package client.

Builds are kept in a cache outside the tree, one folder each, and made anew when a source of ours changes. Where a
toolchain is missing, or a build fails, `Absent` says so in a sentence: the comparison goes on without that server.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Absent", "fastwebsockets", "go", "node", "uwebsockets"]

BUILD_S = 600.0
"""How long one step of a build may take."""

_SOURCES = Path(__file__).parent / "others"
_BUILT = "built"  # of what sources: written last


class Absent(Exception):
    """A server that cannot be had on this machine, and why."""


def uwebsockets() -> list[str]:
    """The C++ server: uWebSockets with its own epoll loop, from the sources that the crate `libuwebsockets-sys` has."""
    cargo, cc, cxx = _tool("cargo"), _tool("cc"), _tool("c++")
    folder, fresh = _folder("uwebsockets")
    if fresh:
        _run([cargo, "vendor", "--quiet", "vendor"], folder)
        sources = Path("vendor/libuwebsockets-sys/uWebSockets")
        sockets = sources / "uSockets" / "src"
        flags = ["-O3", "-flto", "-w", "-DLIBUS_NO_SSL", "-DLIBUS_USE_EPOLL", "-DUWS_NO_ZLIB", f"-I{sockets}"]
        parts = ("bsd", "context", "loop", "socket", "udp", "eventing/epoll_kqueue")
        _run([cc, *flags, "-c", *(str(sockets / f"{part}.c") for part in parts)], folder)
        objects = [f"{Path(part).name}.o" for part in parts]
        _run([cxx, *flags, "-std=c++20", f"-I{sources / 'src'}", "server.cpp", *objects, "-o", "server"], folder)
        shutil.rmtree(folder / "vendor")  # 130 MB, with what the crate's own build would need
        _done(folder, "uwebsockets")
    return [str(folder / "server")]


def fastwebsockets() -> list[str]:
    """The Rust server."""
    cargo = _tool("cargo")
    folder, fresh = _folder("fastwebsockets")
    if fresh:
        _run([cargo, "build", "--quiet", "--release"], folder)
        _done(folder, "fastwebsockets")
    return [str(folder / "target" / "release" / "server")]


def go(program: str) -> list[str]:
    """One of the Go servers."""
    tool = _tool("go")
    folder, fresh = _folder("go")
    if fresh:
        _run([tool, "build", "-o", "bin/", "./gorilla", "./nbio"], folder)
        _done(folder, "go")
    return [str(folder / "bin" / program)]


def node() -> list[str]:
    """The Node server."""
    tool, npm = _tool("node"), _tool("npm")
    folder, fresh = _folder("node")
    if fresh:
        _run([npm, "install", "--silent", "--no-audit", "--no-fund"], folder)
        _done(folder, "node")
    return [tool, str(folder / "server.js")]


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Absent(f"not here: no {name}")
    return found


def _folder(name: str) -> tuple[Path, bool]:
    """Where this is built, and whether that is yet to be done; its sources are there then."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "typegate-bench" / name
    marker = folder / _BUILT
    if marker.exists() and marker.read_bytes() == _content(name):
        return folder, False
    marker.unlink(missing_ok=True)
    shutil.copytree(_SOURCES / name, folder, dirs_exist_ok=True)
    return folder, True


def _done(folder: Path, name: str) -> None:
    (folder / _BUILT).write_bytes(_content(name))


def _content(name: str) -> bytes:
    files = sorted(file for file in (_SOURCES / name).rglob("*") if file.is_file())
    return b"\0".join(part for file in files for part in (file.name.encode(), file.read_bytes()))


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=BUILD_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise Absent(f"not here: {fault}"[:300]) from None
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise Absent(f"not here: {Path(command[0]).name} could not build it ({said[-200:]})")
