"""One server as several real processes: killed, stopped, started anew, while people type."""

import asyncio
import os
import re
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from config.edge import EdgeOptions
from config.gateway import AdminOptions, AgentOptions
from config.processes import ProcessesOptions
from config.settings import Settings
from gateway.bus import Node
from gateway.bus.lease import read_nodes
from gateway.opening import CannotStart
from gateway.supervisor import Supervisor, share_of
from persistence.redis import RedisOptions, RedisServers
from tests.gateway.running import UNHURRIED, environment, program, settings, store_locked
from tests.gateway.typing_client import Closed, TypingClient, client

PATIENCE_S = 120.0
"""Several processes begin at once on a machine that has other work."""


@pytest.fixture(name="redis")
def _redis(redis_single: RedisOptions) -> RedisOptions:
    return replace(redis_single, prefix=f"{uuid.uuid4().hex}:")


LOST = (Closed, ConnectionClosed, InvalidStatus, InvalidMessage, OSError, EOFError)
"""How a connection ends, or is refused, whose server goes."""


class Several:
    """`typegate serve --workers N`, its processes, and what they say."""

    def __init__(self, process: asyncio.subprocess.Process, redis: RedisOptions, url: str, admin_url: str) -> None:
        self.process = process
        self.url = url
        self._redis = redis
        self.admin = httpx.AsyncClient(base_url=admin_url, trust_env=False, timeout=PATIENCE_S)

    def pids(self) -> dict[int, int]:
        """The processes that run, by their numbers."""
        found = {}
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        for pid in map(int, children.split()):
            try:
                arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"--process" in arguments:
                found[int(arguments[arguments.index(b"--process") + 1].split(b":")[0])] = pid
        return found

    async def metric(self, name: str) -> dict[int, float]:
        """A figure of each process that answered in time."""
        lines = (await self.admin.get("/metrics")).text
        return {
            int(found[1]): float(found[2])
            for found in re.finditer(rf'^{name}{{[^}}]*process="(\d+)"[^}}]*}} (\S+)$', lines, re.MULTILINE)
        }

    async def metric_of_all(self, name: str) -> dict[int, float]:
        """A figure of each process, once all have answered in time."""
        async with asyncio.timeout(PATIENCE_S):
            while (found := await self.metric(name)).keys() != self.pids().keys():
                pass
        return found

    async def all_serve(self, *, apart_from: dict[int, int] | None = None) -> None:
        """Wait until all processes serve, none of them one of those."""
        former = set((apart_from or {}).values())
        await until(lambda: self._all_serve(former))

    async def _all_serve(self, former: set[int]) -> bool:
        now = self.pids()  # before it is asked whether they serve: it may not know yet that one of them is dead
        parts = (await self.admin.get("/readyz")).json()["parts"]
        wanted = {int(found[1]) for part in parts if (found := re.fullmatch(r"process (\d+)", part))}
        return (
            all(state == "ok" for state in parts.values()) and now.keys() == wanted and not former & set(now.values())
        )

    async def drains(self) -> bool:
        """Whether it is known to be stopping."""
        state: str = (await self.admin.get("/readyz")).json()["parts"]["server"]
        return state == "draining"

    async def nodes(self) -> list[Node]:
        """As the processes describe themselves, by number."""
        async with RedisServers(self._redis) as servers:
            return await read_nodes(servers)

    async def ended(self) -> tuple[int, str]:
        """Exit code and standard error."""
        async with asyncio.timeout(PATIENCE_S):
            _, errors = await self.process.communicate()
        return self.process.returncode or 0, errors.decode()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():  # noqa: ASYNC110  # facts come without an event
            await asyncio.sleep(0.05)


@asynccontextmanager
async def started(
    folder: Path, redis: RedisOptions, *flags: str, **variables: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command; whatever becomes of it, none of its processes is left."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli", "serve", "--data", str(folder), "--port", "0", "--admin-port", "0"),
        *("--log-format", "json", "--node", "here", *flags),
        cwd=folder.parent,
        env=environment()
        | UNHURRIED
        | {
            "TYPEGATE_REDIS_URL": redis.url,
            "TYPEGATE_REDIS_PREFIX": redis.prefix,
            "TYPEGATE_REDIS_CALL_MS": "10000",
            "TYPEGATE_STOP_GRACE_S": "1",
            "TYPEGATE_STOP_FLUSH_S": "1",
        }
        | variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()  # its processes hear of it, and end
        async with asyncio.timeout(PATIENCE_S):
            await process.communicate()


@asynccontextmanager
async def several(folder: Path, redis: RedisOptions, *flags: str, **variables: str) -> AsyncIterator[Several]:
    """The processes, once all serve."""
    async with started(folder, redis, *flags, **variables) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            line = (await process.stdout.readline()).decode()
            found = re.search(r"open (http://\S+/)", line)
            assert found, (line, await process.stderr.read() if not line else b"")
            while True:
                said = (await process.stderr.readline()).decode()
                assert said, "it has ended"
                if '"event": "serving"' in said:
                    break
        admin = re.search(r'"admin": "([^"]+)"', said)
        assert admin
        server = Several(process, redis, found[1], admin[1])
        async with server.admin:
            await server.all_serve()
            yield server


async def resumed(url: str, before: TypingClient, stack: AsyncExitStack) -> TypingClient:
    """The typist whose connection was lost, on a new one; a server that is about to go is tried again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                typist = await stack.enter_async_context(client(url, token=before.ready["token"]))
                typist.started, typist.log = before.started, before.log
                ticks = [message["r"] for message in before.seen if message["t"] == "tick"]
                await typist.send(
                    "resume",
                    session=before.started["session"],
                    ticket=before.started["ticket"],
                    n=len(before.log) // 2,
                    **({"receipt": ticks[-1]} if ticks else {}),
                )
                answer = await typist.receive("resumed", "error")
            except LOST:
                await asyncio.sleep(0.05)
                continue
            assert answer["t"] == "resumed", answer
            typist.log = before.log[: 2 * answer["n"]]
            with suppress(*LOST):  # then whoever types on comes here again
                await typist.keys(*before.log[2 * answer["n"] + 1 :: 2])
            typist.log = before.log
            typist.seen = [*before.seen, *typist.seen]
            return typist


async def half(url: str, stack: AsyncExitStack) -> TypingClient:
    """A typist in mid-test."""
    typist = await stack.enter_async_context(client(url))
    await typist.start(mode="words", count=6)
    text = typist.started["text"]
    await typist.keys(*text[: len(text) // 2])
    await typist.receive("tick")
    return typist


async def finish(url: str, typist: TypingClient, stack: AsyncExitStack) -> dict[str, Any]:
    """Type the rest, over a new connection where the old one is lost; the result, once it is stored."""
    while True:
        try:
            text = typist.started["text"]
            await typist.keys(*text[len(typist.log) // 2 :])
            result = await typist.finish()
            await typist.receive("stored")
            return result
        except LOST:
            typist = await resumed(url, typist, stack)


async def stored(url: str, typist: TypingClient) -> list[str]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE_S) as http:
        answer = await http.get("/v1/users/me/results", headers={"authorization": f"Bearer {typist.ready['token']}"})
        assert answer.status_code == 200, answer.text
        return [row["session"] for row in answer.json()["results"]]


async def test_one_of_three_is_killed_and_its_typists_go_on_at_another(tmp_path: Path, redis: RedisOptions) -> None:
    """No key lost; the others' connections stay; the dead one comes back; the death is counted."""
    async with several(tmp_path / "data", redis, "--workers", "3") as server, AsyncExitStack() as stack:
        typists = [await half(server.url, stack) for _ in range(9)]
        crowd = await server.metric_of_all("typegate_ws_connections")
        assert sum(crowd.values()) == 9, "the processes' figures come in one scrape"
        most = max(crowd, key=lambda number: crowd[number])
        before = server.pids()
        os.kill(before[most], signal.SIGKILL)
        results = await asyncio.gather(*(finish(server.url, typist, stack) for typist in typists))
        for typist, result in zip(typists, results, strict=True):
            assert result["session"] == typist.started["session"]
            assert result["chars"][0] == len(typist.started["text"])
            assert await stored(server.url, typist) == [result["session"]], "whichever process is asked"
        await server.all_serve(apart_from={most: before[most]})
        assert {number: pid for number, pid in server.pids().items() if number != most} == {
            number: pid for number, pid in before.items() if number != most
        }
        deaths = await server.metric("typegate_process_deaths_total")
        assert deaths == {number: float(number == most) for number in range(3)}
        server.process.send_signal(signal.SIGTERM)
        code, errors = await server.ended()
        assert code == 0, errors
        assert "Traceback" not in errors


async def test_started_anew_one_after_the_other_nobody_is_lost(tmp_path: Path, redis: RedisOptions) -> None:
    """SIGHUP: new processes, with the settings as they are then; the tests that were running go on."""
    settings = tmp_path / "typegate.toml"
    settings.write_text("[http]\npage_rows = 50\n")
    flags = ("--workers", "2", "--config", str(settings))
    async with several(tmp_path / "data", redis, *flags) as server, AsyncExitStack() as stack:
        typists = [await half(server.url, stack) for _ in range(4)]
        before = server.pids()
        server.process.send_signal(signal.SIGHUP)
        await server.all_serve(apart_from=before)
        results = await asyncio.gather(*(finish(server.url, typist, stack) for typist in typists))
        for typist, result in zip(typists, results, strict=True):
            assert result["session"] == typist.started["session"]
            assert result["chars"][0] == len(typist.started["text"])
        assert set((await server.metric("typegate_process_deaths_total")).values()) == {0.0}, "no death, a wish"
        again = server.pids()
        settings.write_text("[http]\npage_rows = 0\n")
        server.process.send_signal(signal.SIGHUP)
        await said(server, "the settings have a fault; nothing was started anew")
        settings.write_text("[admin]\nhost = 'localhost'\n")
        server.process.send_signal(signal.SIGHUP)
        await said(server, "these settings need a restart of the whole")
        assert server.pids() == again
        await server.all_serve()


async def said(server: Several, words: str) -> None:
    """Wait for a line of the log."""
    assert server.process.stderr is not None
    async with asyncio.timeout(PATIENCE_S):
        while words not in (line := (await server.process.stderr.readline()).decode()):
            assert line, "it has ended"


async def test_on_ports_of_their_own_a_test_is_taken_from_one_to_another(tmp_path: Path, redis: RedisOptions) -> None:
    """Whoever had it is told that it goes on elsewhere; a personal list is the same at both."""
    async with several(tmp_path / "data", redis, "--workers", "2", "--own-ports") as server, AsyncExitStack() as stack:
        here, there = await server.nodes()
        assert [here.id, there.id] == ["here-0", "here-1"]
        assert here.url != there.url
        first = await half(here.url, stack)
        second = await resumed(there.url, first, stack)
        assert (await first.closed()).code == 4502
        back = await resumed(here.url, second, stack)
        assert (await second.closed()).code == 4502
        result = await finish(here.url, back, stack)
        for node in (here, there):
            assert await stored(node.url, first) == [result["session"]]


async def test_one_that_dies_again_and_again_stops_all_with_the_reason(tmp_path: Path, redis: RedisOptions) -> None:
    variables = {"TYPEGATE_PROCESSES_MOST_DEATHS": "2", "TYPEGATE_PROCESSES_YOUNG_S": "3600"}
    async with several(tmp_path / "data", redis, "--workers", "2", **variables) as server:
        first = server.pids()
        os.kill(first[1], signal.SIGKILL)
        await server.all_serve(apart_from={1: first[1]})
        os.kill(server.pids()[1], signal.SIGKILL)
        code, errors = await server.ended()
        assert code == 1
        assert "Stopped: process 1: it was killed by SIGKILL. It died at once 2 times in a row." in errors


async def test_one_that_hangs_is_killed_and_its_typists_go_on_at_another(tmp_path: Path, redis: RedisOptions) -> None:
    """Its connections are open and nobody answers: without a watch they would stay so until their clients gave up."""
    variables = {"TYPEGATE_PROCESSES_HUNG_S": "5"}
    flags = ("--workers", "2", "--own-ports")
    async with several(tmp_path / "data", redis, *flags, **variables) as server, AsyncExitStack() as stack:
        here, there = await server.nodes()
        typist = await half(here.url, stack)
        before = server.pids()
        os.kill(before[0], signal.SIGSTOP)
        await said(server, "a process hangs and is killed")
        result = await finish(there.url, typist, stack)
        assert await stored(there.url, typist) == [result["session"]]
        await server.all_serve(apart_from={0: before[0]})
        assert server.pids()[1] == before[1], "the other one said that it is alive"
        assert await server.metric("typegate_process_deaths_total") == {0: 1.0, 1: 0.0}


async def test_one_that_reads_its_code_slowly_does_not_hang(tmp_path: Path, redis: RedisOptions) -> None:
    """It says nothing yet, and is not killed for that: on a busy machine none would ever come up."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "sitecustomize.py").write_text(
        "import sys, time\nif '--process' in sys.orig_argv:\n    time.sleep(7)\n", encoding="utf-8"
    )
    variables = {"TYPEGATE_PROCESSES_HUNG_S": "5", "PYTHONPATH": f"{code}:{environment()['PYTHONPATH']}"}
    async with several(tmp_path / "data", redis, "--workers", "2", **variables) as server:
        assert await server.metric("typegate_process_deaths_total") == {0: 0.0, 1: 0.0}


@pytest.mark.parametrize("why", ["the whole group is told to stop", "one has died too often"])
async def test_told_twice_to_stop_they_let_who_types_finish(tmp_path: Path, redis: RedisOptions, why: str) -> None:
    """Whoever supervises us may tell all processes, and the parent tells its own; neither is in a hurry."""
    variables = {"TYPEGATE_STOP_GRACE_S": "600", "TYPEGATE_PROCESSES_MOST_DEATHS": "1"}
    flags = ("--workers", "2", "--own-ports")
    async with several(tmp_path / "data", redis, *flags, **variables) as server, AsyncExitStack() as stack:
        here, _ = await server.nodes()
        typist = await half(here.url, stack)
        pids = server.pids()
        if why == "one has died too often":
            os.kill(pids[1], signal.SIGKILL)
        else:
            for pid in [server.process.pid, *pids.values()]:
                os.kill(pid, signal.SIGTERM)
        await until(server.drains)
        typed = len(typist.log) // 2
        await typist.keys(typist.started["text"][typed])
        await typist.receive("tick")
        await typist.keys(*typist.started["text"][typed + 1 :])
        await typist.finish()
        await typist.receive("stored")
        code, errors = await server.ended()
        assert code == (1 if why == "one has died too often" else 0), errors


async def test_a_second_signal_hurries_them(tmp_path: Path, redis: RedisOptions) -> None:
    variables = {"TYPEGATE_STOP_GRACE_S": "600"}
    async with several(tmp_path / "data", redis, "--workers", "2", **variables) as server, AsyncExitStack() as stack:
        typist = await half(server.url, stack)
        server.process.send_signal(signal.SIGTERM)
        await until(server.drains)
        server.process.send_signal(signal.SIGTERM)
        assert (await typist.closed()).code in (1012, 4001)
        assert (await server.ended())[0] == 0


async def test_settings_with_which_none_can_start_stop_nobody(tmp_path: Path, redis: RedisOptions) -> None:
    """Started anew the first one fails, however often; the other serves on, until the settings are mended."""
    settings = tmp_path / "typegate.toml"
    settings.write_text("")
    variables = {"TYPEGATE_PROCESSES_MOST_DEATHS": "2", "TYPEGATE_PROCESSES_AGAIN_MAX_MS": "500"}
    flags = ("--workers", "2", "--config", str(settings))
    async with several(tmp_path / "data", redis, *flags, **variables) as server:
        before = server.pids()
        settings.write_text(f'[node]\nkeys_file = "{tmp_path / "nowhere" / "keys.json"}"\n')
        server.process.send_signal(signal.SIGHUP)
        await said(server, "a process that was started anew does not serve; the others stay as they were")

        async def died_often() -> bool:
            return (await server.metric("typegate_process_deaths_total"))[0] >= 3

        await until(died_often)
        assert server.pids()[1] == before[1]
        settings.write_text("")
        server.process.send_signal(signal.SIGHUP)
        await server.all_serve(apart_from=before)


async def test_it_is_ready_as_long_as_one_of_them_is(tmp_path: Path, redis: RedisOptions) -> None:
    """Without their data folder none of them takes a test."""
    async with several(tmp_path / "data", redis, "--workers", "2") as server:

        async def is_not_ready() -> bool:
            return (await server.admin.get("/readyz")).status_code == 503

        (tmp_path / "data").rename(tmp_path / "elsewhere")
        try:
            await until(is_not_ready)
        finally:
            (tmp_path / "elsewhere").rename(tmp_path / "data")
        await server.all_serve()


async def test_one_that_cannot_start_at_all_says_why(tmp_path: Path, redis: RedisOptions) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "results.db").write_bytes(b"this is no database" * 100)
    async with started(tmp_path / "data", redis, "--workers", "2") as process:
        async with asyncio.timeout(PATIENCE_S):
            _, errors = await process.communicate()
        assert process.returncode == 2
        assert "Error: Cannot start: process 0: " in errors.decode()
        assert "results.db" in errors.decode()


async def test_without_their_parent_they_drain_and_end(tmp_path: Path, redis: RedisOptions) -> None:
    """The data folder is theirs until the last has gone; then another server may have it."""
    async with several(tmp_path / "data", redis, "--workers", "2") as server, AsyncExitStack() as stack:
        typist = await half(server.url, stack)
        server.process.kill()
        assert (await typist.closed()).code in (1012, 4001)
        await server.ended()  # their ends of its output are closed when they have ended
    async with program(tmp_path / "data") as alone, AsyncExitStack() as stack:
        result = await finish(alone.url, await resumed(alone.url, typist, stack), stack)
        assert result["session"] == typist.started["session"]


async def test_what_many_had_spooled_fewer_store(tmp_path: Path, redis: RedisOptions) -> None:
    """Accepted by two processes, stored by none, killed: the one that comes after them stores all, once."""
    async with several(tmp_path / "data", redis, "--workers", "2", "--own-ports") as server, AsyncExitStack() as stack:
        typists = [await half(node.url, stack) for node in await server.nodes()]
        with store_locked(tmp_path / "data"):
            for typist in typists:
                await typist.keys(*typist.started["text"][len(typist.log) // 2 :])
                await typist.finish()
            server.process.send_signal(signal.SIGSTOP)  # it starts nobody anew
            for pid in [*server.pids().values(), server.process.pid]:
                os.kill(pid, signal.SIGKILL)
            await server.ended()
        assert len(list((tmp_path / "data" / "spool").glob("spool-*.db"))) == 2
    async with program(tmp_path / "data") as alone:
        for typist in typists:
            await until(lambda typist=typist: is_stored(alone.url, typist))  # type: ignore[misc]  # bound early
        assert len(list((tmp_path / "data" / "spool").glob("spool-*.db"))) == 1


async def is_stored(url: str, typist: TypingClient) -> bool:
    return await stored(url, typist) == [typist.started["session"]]


@pytest.mark.parametrize(
    ("own_ports", "ports"),
    [(False, [(8080, 9180, 9070), (8080, 9181, 9071)]), (True, [(8080, 9180, 9070), (8081, 9181, 9071)])],
)
def test_each_has_its_own_ports(own_ports: bool, ports: list[tuple[int, int, int]]) -> None:
    """The parent has the admin port of the settings; 0 stays a free one for each."""
    settings = Settings(processes=ProcessesOptions(count=2, own_ports=own_ports))
    shares = [share_of(settings, number) for number in range(2)]
    assert [(share.server.port, share.admin.port, share.agent.port) for share in shares] == ports
    assert {share.server.reuse_port for share in shares} == {not own_ports}
    free = share_of(Settings(server=EdgeOptions(port=0), admin=AdminOptions(port=0), agent=AgentOptions(port=0)), 1)
    assert (free.server.port, free.admin.port, free.agent.port) == (0, 0, 0)


async def test_a_process_that_says_no_word_counts_as_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be followed: it is killed, and started again as one that dies at once."""
    pids = tmp_path / "pids"
    babbling = tmp_path / "babbling"
    babbling.write_text(
        f"#!{sys.executable}\n"
        "import os, sys, time\n"
        f"with open({str(pids)!r}, 'a') as file:\n"
        "    print(os.getpid(), file=file)\n"
        "os.write(int(sys.argv[-1].split(':')[1]), b'no word\\n')\n"
        "time.sleep(600)\n",
        encoding="utf-8",
    )
    babbling.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(babbling))
    options = ProcessesOptions(count=2, most_deaths=3, again_min_ms=1, again_max_ms=1)
    here = settings(tmp_path / "data", processes=options)
    with pytest.raises(CannotStart, match=r"process 0: it cannot be followed: .*It died at once 3 times"):
        async with Supervisor(here, arguments=["serve"], reread=lambda: here):
            pass
    started = pids.read_text(encoding="ascii").split()
    assert len(started) == 3
    for pid in started:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
