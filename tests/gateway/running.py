"""A whole gateway for the tests of the API, the composition root and the commands: in this process, or as a program."""

import asyncio
import os
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from config.edge import EdgeOptions
from config.gateway import AdminOptions, NodeOptions
from config.settings import Settings
from gateway.app import Gateway

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120.0


def settings(folder: Path, **sections: Any) -> Settings:
    """The defaults on free ports, and time for clients that a busy machine does not let run."""
    return Settings(
        **{
            "server": EdgeOptions(port=0, head_limit_s=PATIENCE_S),
            "node": NodeOptions(name="node-1", data=folder),
            "admin": AdminOptions(port=0, worker_port=0),
            **sections,
        }
    )


@asynccontextmanager
async def serving(folder: Path, **sections: Any) -> AsyncIterator[tuple[Gateway, httpx.AsyncClient]]:
    """A running gateway, and an HTTP client for it."""
    async with (
        Gateway(settings(folder, **sections)) as gateway,
        # it speaks no TLS: reading the certificates for it would take 35 ms of a core
        httpx.AsyncClient(timeout=60, base_url=gateway.url, trust_env=False, verify=False) as http,
    ):
        yield gateway, http


@contextmanager
def store_away(folder: Path) -> Iterator[None]:
    """Let the embedded store of a running gateway refuse every read and write until the context is left."""
    with closing(sqlite3.connect(folder / "results.db", timeout=PATIENCE_S, isolation_level=None)) as operator:
        operator.execute("ALTER TABLE results RENAME TO away")
        try:
            yield
        finally:
            operator.execute("ALTER TABLE away RENAME TO results")


@contextmanager
def store_locked(folder: Path) -> Iterator[None]:
    """Let the embedded store of a running gateway take no write until the context is left; it may be read."""
    with closing(sqlite3.connect(folder / "results.db", timeout=PATIENCE_S, isolation_level=None)) as operator:
        operator.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            operator.execute("ROLLBACK")


UNHURRIED = {"TYPEGATE_SERVER_HEAD_LIMIT_S": "120", "TYPEGATE_CONNECTION_AUTH_DEADLINE_S": "60"}
"""Time that a program gives its clients, who are in another process: that may not be let run for a while."""


def environment() -> dict[str, str]:
    """The environment of a command, without settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TYPEGATE_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "", "COLUMNS": "200", "NO_COLOR": "1"}


class Program:
    """A command that goes on, as a process of its own."""

    def __init__(
        self, process: asyncio.subprocess.Process, url: str, errors: asyncio.Task[bytes] | None = None
    ) -> None:
        self.process = process
        self.url = url
        self._errors = errors

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def ended(self) -> tuple[int, str]:
        """The exit code, and what was written to standard error."""
        async with asyncio.timeout(PATIENCE_S):
            if self._errors is None:
                _, errors = await self.process.communicate()
            else:
                assert self.process.stdout is not None
                await self.process.stdout.read()
                errors = await self._errors
                await self.process.wait()
        return self.process.returncode or 0, errors.decode()


def program(
    folder: Path, *flags: str, through: Sequence[str] = (), **variables: str
) -> AbstractAsyncContextManager[Program]:
    """Run `typegate serve` on free ports until the context is left; it is killed if it still runs then.

    `through` is a command that runs the one that follows it, in its own place.
    """
    arguments = ["serve", "--data", str(folder), "--port", "0", "--admin-port", "0", *flags]
    return _running(arguments, r"open (https?://\S+/)", folder.parent, variables, through)


def worker_program(folder: Path, *flags: str, **variables: str) -> AbstractAsyncContextManager[Program]:
    """Run `typegate worker` likewise; its `url` is its name."""
    arguments = ["worker", "--data", str(folder), "--admin-port", "0", *flags]
    return _running(arguments, r"worker (\S+) is ready", folder.parent, variables)


@asynccontextmanager
async def _running(
    arguments: Sequence[str],
    announced: str,
    folder: Path,
    variables: Mapping[str, str],
    through: Sequence[str] = (),
) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        *through,
        sys.executable,
        "-m",
        "gateway.cli",
        *arguments,
        cwd=folder,
        env=environment() | UNHURRIED | dict(variables),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    # read all the time: a program that has filled a pipe waits for ever
    errors = asyncio.get_running_loop().create_task(process.stderr.read())
    try:
        async with asyncio.timeout(PATIENCE_S):
            line = (await process.stdout.readline()).decode()
            if (found := re.search(announced, line)) is None:
                raise AssertionError(f"it did not start: {line!r} {(await errors).decode()}")
        yield Program(process, found[1], errors)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        errors.cancel()


async def command(*arguments: str, folder: Path, **variables: str) -> tuple[int, str, str]:
    """Run `typegate`; its exit code, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway.cli",
        *arguments,
        cwd=folder,
        env=environment() | variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_S):
        output, errors = await process.communicate()
    return process.returncode or 0, output.decode(), errors.decode()
