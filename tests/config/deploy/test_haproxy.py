"""A real HAProxy with our configuration before two nodes: who goes where, and what becomes of whom when a node goes."""

import asyncio
import os
import re
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from config.edge import EdgeOptions
from config.gateway import TlsOptions
from loadtest.cluster.balancer import Balancer, Behind
from loadtest.cluster.programs import Node
from loadtest.servers.certificate import write_certificate
from loadtest.servers.haproxy import HAProxy
from loadtest.servers.process import HOST
from persistence.bans import Ban, SqliteBans, read_who
from tests.config.deploy.nodes import GRACE_S, Amid, clean, cluster, stored_somewhere, swarm_of, typed
from tests.gateway.running import command, serving
from tests.gateway.typing_client import Closed, TypingClient, client
from tests.listening import listening

PATIENCE_S = 120.0
TYPISTS = int(os.environ.get("TYPEGATE_TEST_TYPISTS", "400"))
NOTHING: Mapping[str, str] = {}
ALL_AT_ONE = {"use-server %[urlp(node)] if { urlp(node) -m found }": "use-server node-1 if { always_true }"}
"""As long as it takes anybody."""
PATIENT = {"fall 3": "fall 30"}
"""Nodes that are well are not to count as down on a machine that is busy with other tests."""

TUNNEL = """
defaults
    mode tcp
    timeout connect 60s
    timeout client 60s
    timeout server 60s

listen tunnel
    bind 127.0.0.1:{port}
    server node {node} send-proxy
"""
"""Nothing but bytes, with the header of version 1."""


@pytest.fixture(autouse=True)
def _there() -> None:
    if (why := Balancer.missing()) is not None:
        pytest.skip(f"{why}; loadtest/servers/install installs it")


@contextmanager
def balanced(
    folder: Path, nodes: Sequence[Node | Behind], changed: Mapping[str, str] = NOTHING
) -> Iterator["Balanced"]:
    """HAProxy before these nodes, with some lines changed."""
    behind = [Behind(node.name, node.port, node.agent_port) for node in nodes]
    with Balancer(folder / "haproxy", behind, changed) as proxy:
        yield Balanced(proxy)


class Balanced:
    """A running HAProxy, and what it thinks of the nodes."""

    def __init__(self, proxy: Balancer) -> None:
        self.proxy = proxy
        self.plain = f"http://{proxy.address}"
        self.secure = f"https://{HOST}:{proxy.tls_port}"
        self.redirect = f"http://{HOST}:{proxy.redirect_port}"
        self.trust = ssl.create_default_context(cafile=str(proxy.certificate))

    def states(self) -> dict[str, tuple[str, int]]:
        """Each node's state in HAProxy's words, and its connections now."""
        return {node: (fact["status"], int(fact["scur"])) for node, fact in self.proxy.facts(within_s=60).items()}

    async def until(self, holds: Callable[[dict[str, tuple[str, int]]], bool]) -> None:
        """Wait until HAProxy's view is such."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds(await asyncio.to_thread(self.states)):  # noqa: ASYNC110  # facts come without an event
                await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Balanced, list[Node]]]:
    """Two nodes behind HAProxy, for the tests that leave them alive. An address may ask twenty times at once."""
    folder = tmp_path_factory.mktemp("standing")
    limits = {"TYPEGATE_HTTP_ADDRESS_BURST": "20", "TYPEGATE_HTTP_ADDRESS_PER_S": "0.1"}
    with cluster(folder, variables=limits) as nodes, balanced(folder, nodes, PATIENT) as balancer:
        yield balancer, nodes


@asynccontextmanager
async def typist(url: str, **options: object) -> AsyncIterator[tuple[TypingClient, str, str]]:
    """A client, its node, and the cookie that it was given."""
    async with client(url, **options) as one:  # type: ignore[arg-type]
        response = one.socket.response
        assert response is not None
        cookie = response.headers.get("Set-Cookie", "")
        yield one, one.seen[0]["node"], cookie


def test_the_configuration_is_valid_without_a_warning(standing: tuple[Balanced, list[Node]]) -> None:
    proxy = standing[0].proxy
    done = subprocess.run(
        [proxy.program, "-c", "-V", "-f", proxy.configuration], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "[WARNING]" not in done.stdout + done.stderr


async def test_new_connections_are_shared_out_and_a_browser_stays(standing: tuple[Balanced, list[Node]]) -> None:
    balancer, nodes = standing
    names = {node.name for node in nodes}
    await balancer.until(lambda states: all(state.startswith("UP") for state, _ in states.values()))
    async with AsyncExitStack() as open_:
        met: list[str] = []
        while set(met) != names and len(met) < 60:  # a busy node may have a twentieth of the other's weight
            _, node, cookie = await open_.enter_async_context(typist(balancer.plain))
            assert re.fullmatch(rf"TYPEGATE={node}; path=/; HttpOnly; Secure; SameSite=None; Partitioned", cookie)
            met.append(node)
        assert set(met) == names
        for _ in range(3):
            async with typist(balancer.plain, additional_headers={"Cookie": cookie.partition(";")[0]}) as (_, again, _):
                assert again == node


async def test_a_client_without_cookies_names_its_node(standing: tuple[Balanced, list[Node]]) -> None:
    balancer, nodes = standing
    for node in [*nodes, *nodes]:
        async with typist(balancer.plain, query=f"node={node.name}") as (_, found, _):
            assert found == node.name
    async with typist(balancer.plain, query="node=gone") as (_, found, _):
        assert found in {node.name for node in nodes}


async def test_tls_ends_here_and_plain_pages_are_sent_there(standing: tuple[Balanced, list[Node]]) -> None:
    balancer, _ = standing
    async with typist(balancer.secure, ssl=balancer.trust) as (one, _, _):
        await one.start()
        assert (await one.type_all())["t"] == "result"
    async with httpx.AsyncClient(timeout=60, trust_env=False, verify=balancer.trust) as http:
        sent = await http.get(balancer.redirect + "/?x=1")
        assert sent.status_code == 308
        assert sent.headers["location"] == balancer.redirect.replace("http", "https") + "/?x=1"
        assert (await http.get(balancer.secure)).status_code == 200


async def test_limits_are_of_the_client_s_address_and_not_of_what_it_says(
    standing: tuple[Balanced, list[Node]],
) -> None:
    balancer, nodes = standing
    pinned = {"Cookie": f"TYPEGATE={nodes[0].name}"}  # each node counts by itself

    async def asked(address: str, times: int, **headers: str) -> list[int]:
        transport = httpx.AsyncHTTPTransport(local_address=address)
        async with httpx.AsyncClient(timeout=60, transport=transport, trust_env=False) as http:
            answers = [await http.get(f"{balancer.plain}/v1/tests", headers=headers | pinned) for _ in range(times)]
            return [answer.status_code for answer in answers]

    assert 429 in await asked("127.0.0.2", 50)
    assert set(await asked("127.0.0.3", 4)) == {200}
    assert 429 in await asked("127.0.0.2", 4, **{"X-Forwarded-For": "203.0.113.9"})


async def _refused(url: str, **options: Any) -> int:
    """Try to come in from another address of this machine until that is refused; the status."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                async with typist(url, local_addr=("127.0.0.9", 0), **options):
                    await asyncio.sleep(0.05)
            except InvalidStatus as refused:
                return refused.response.status_code
            except Closed as banned:
                if banned.code != 4505:  # which comes where the ban does between the handshake and `ready`
                    raise


async def test_the_client_s_address_arrives_by_proxy_headers(tmp_path: Path) -> None:
    """As the configuration says to write it instead of X-Forwarded-For; the checks bear the header too."""
    changed = PATIENT | {"default-server weight": "default-server send-proxy-v2 weight", "    option forwardfor\n": ""}
    required = {"TYPEGATE_SERVER_PROXY_PROTOCOL": "required"}
    with (
        cluster(tmp_path, count=1, variables=required) as nodes,
        balanced(tmp_path, nodes, changed) as balancer,
    ):
        await balancer.until(lambda states: all(state.startswith("UP") for state, _ in states.values()))
        data = ("--data", str(nodes[0].data))
        done = await command("ban", "add", "127.0.0.9", "--reason", "x", *data, folder=tmp_path)
        assert done[0] == 0, done
        assert await _refused(balancer.plain) == 403
        async with typist(balancer.plain, local_addr=("127.0.0.8", 0)) as (one, _, _):
            await one.start()
            assert (await one.type_all())["t"] == "result"


async def test_the_client_s_address_arrives_before_tls_of_the_node(tmp_path: Path) -> None:
    """Where HAProxy passes bytes on and the node has the certificate."""
    certificate, key = write_certificate(tmp_path)
    trust = ssl.create_default_context(cafile=str(certificate))
    edge = EdgeOptions(port=0, proxy_protocol="required", trusted_proxies=("127.0.0.1",))
    async with serving(tmp_path / "data", server=edge, tls=TlsOptions(cert=certificate, key=key)) as (gateway, _):
        tunnel = tmp_path / "tunnel.cfg"
        tunnel.write_text(TUNNEL.replace("{node}", gateway.url.removeprefix("https://").rstrip("/")))
        with HAProxy(tunnel, tmp_path / "haproxy", {}) as proxy:
            url = f"https://{proxy.address}"
            async with typist(url, ssl=trust, local_addr=("127.0.0.8", 0)) as (neighbour, _, _):
                await neighbour.start()
                async with SqliteBans(tmp_path / "data" / "bans.db") as store:
                    await store.add(Ban(read_who("127.0.0.9"), "x", "ops", 1))
                assert await _refused(url, ssl=trust) == 403
                assert (await neighbour.type_all())["t"] == "result"


async def test_a_node_that_is_busy_gets_less_and_not_nothing(tmp_path: Path) -> None:
    """Its agent says 5 %: of HAProxy's own weight, 1, that is 0, and nobody would be served where all are busy."""

    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"ready up 5%\n")

    async with listening(say) as agent_port:
        with cluster(tmp_path) as nodes:
            for node in nodes:
                node.agent_port = agent_port
            with balanced(tmp_path, nodes) as balancer:
                async with asyncio.timeout(PATIENCE_S):
                    facts = balancer.proxy.facts
                    while {fact["weight"] for fact in facts().values()} != {"5"}:  # noqa: ASYNC110  # facts come without an event
                        await asyncio.sleep(0.1)
                async with typist(balancer.plain) as (_, found, _):
                    assert found in {node.name for node in nodes}


async def test_a_store_that_is_away_is_not_asked_for_at_every_node(tmp_path: Path) -> None:
    """The API's 503 is passed on; after that of an upgrade another node is tried."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
        asked.append(path)
        status = b"200 OK" if path == b"/readyz" else b"503 Service Unavailable"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"ready up 100%\n")

    async with (
        listening(answer) as port,
        listening(say) as agent_port,
        httpx.AsyncClient(timeout=60, trust_env=False) as http,
    ):
        nodes = [Behind(f"node-{number}", port, agent_port) for number in range(1, 4)]
        with balanced(tmp_path, nodes, PATIENT) as balancer:
            await balancer.until(lambda states: all(state.startswith("UP") for state, _ in states.values()))
            for path, times in (("/v1/tests", 1), ("/ws", 3)):
                assert (await http.get(balancer.plain + path)).status_code == 503
                assert asked.count(path.encode()) == times


async def test_a_node_that_dies_over_a_request_is_left_for_another(tmp_path: Path) -> None:
    """Of a handshake the client notices nothing; what else was asked may have been done, and is not asked again."""
    asked: list[tuple[str, bytes]] = []

    async def answer(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
        if path != b"/readyz":
            asked.append((name, path))
        if name == "living" or path == b"/readyz":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"ready up 100%\n")

    async with (
        listening(partial(answer, "dying")) as first,
        listening(partial(answer, "living")) as second,
        listening(say) as agent_port,
        httpx.AsyncClient(timeout=60, trust_env=False) as http,
    ):
        nodes = [Behind("node-1", first, agent_port), Behind("node-2", second, agent_port)]
        with balanced(tmp_path, nodes, PATIENT | ALL_AT_ONE) as balancer:
            await balancer.until(lambda states: all(state.startswith("UP") for state, _ in states.values()))
            for path, status, times in (("/ws", 200, ["dying", "living"]), ("/v1/tests", 502, ["dying"])):
                # a second request over one connection would be answered by its end, so that the client asks again
                response = await http.get(balancer.plain + path, headers={"Connection": "close"})
                assert response.status_code == status
                assert [name for name, found in asked if found == path.encode()] == times


async def test_a_node_that_stops_gets_nobody_and_loses_nobody(tmp_path: Path) -> None:
    """SIGTERM amid the typing: tests end there, and who starts the next one goes to the other."""
    with cluster(tmp_path) as nodes, balanced(tmp_path, nodes, ALL_AT_ONE) as balancer:
        first, second = nodes
        swarm = swarm_of(40, (HOST, balancer.proxy.port))
        stop = Amid(swarm, 30, first.leave)
        facts = await typed(swarm, fault=stop, over=lambda: stop.came and swarm.meters.stored >= 80)
        clean(facts)
        await asyncio.to_thread(first.ended, within_s=GRACE_S + 30)
        await balancer.until(lambda states: states["node-1"][0].startswith(("MAINT", "DOWN")))
        async with typist(balancer.plain) as (_, found, _):
            assert found == second.name
        await asyncio.to_thread(first.start)
        await balancer.until(lambda states: states["node-1"][0].startswith("UP"))
        async with typist(balancer.plain) as (_, found, _):
            assert found == first.name
        await asyncio.to_thread(stored_somewhere, nodes, swarm)


async def test_all_of_a_node_go_on_at_the_other_amid_their_tests(tmp_path: Path) -> None:
    """The grace is shorter than their tests: no key is lost, no test begins anew, and the node is gone."""
    with cluster(tmp_path, stop_grace_s=1.0) as nodes, balanced(tmp_path, nodes, ALL_AT_ONE) as balancer:
        swarm = swarm_of(TYPISTS, (HOST, balancer.proxy.port), mix="time30")
        stop = Amid(swarm, TYPISTS, nodes[0].leave)
        facts = await typed(swarm, fault=stop, over=lambda: stop.came)
        assert stop.came
        clean(facts)
        assert facts["started"] == facts["stored"] == TYPISTS
        assert facts["resumed"] > 0.9 * TYPISTS
        await asyncio.to_thread(nodes[0].ended, within_s=60)
        await asyncio.to_thread(stored_somewhere, nodes, swarm)


async def test_a_rolling_restart_loses_nobody(tmp_path: Path) -> None:
    with cluster(tmp_path, count=3) as nodes, balanced(tmp_path, nodes) as balancer:
        swarm = swarm_of(200, (HOST, balancer.proxy.port))
        waiting, rolling = list(nodes), list[Future[None]]()

        def rolled() -> bool:
            return not waiting and all(one.done() for one in rolling)

        def restart(node: Node) -> None:
            node.leave()
            node.ended(within_s=GRACE_S + 30)
            node.start()

        with ThreadPoolExecutor(1) as apart:

            def turn() -> None:
                if waiting and all(one.done() for one in rolling):
                    rolling.append(apart.submit(restart, waiting.pop(0)))

            facts = await typed(swarm, fault=turn, over=lambda: rolled() and swarm.meters.stored >= 400)
            for one in rolling:
                one.result()
        assert rolled()
        clean(facts)
        await asyncio.to_thread(stored_somewhere, nodes, swarm)


async def test_a_killed_node_s_typists_go_on_at_the_other(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes, balanced(tmp_path, nodes, ALL_AT_ONE) as balancer:
        first = nodes[0]
        swarm = swarm_of(40, (HOST, balancer.proxy.port))
        kill = Amid(swarm, 30, first.kill)
        facts = await typed(swarm, fault=kill, over=lambda: swarm.meters.resumed >= 30)
        clean(facts)
        assert facts["resumed"] >= 30
        await asyncio.to_thread(first.start)  # what was in its spool goes on to its store
        await asyncio.to_thread(stored_somewhere, nodes, swarm)


async def test_a_node_that_hangs_is_left(tmp_path: Path) -> None:
    """SIGSTOP: its connections stay open, and nothing answers."""
    with cluster(tmp_path) as nodes, balanced(tmp_path, nodes) as balancer:
        first, second = nodes
        async with typist(balancer.plain, query="node=node-1") as (one, found, _):
            assert found == first.name
            await one.start()
            await one.keys(*one.started["text"][:4])
            tick = await one.receive("tick")
            first.pause()
            try:
                await balancer.until(lambda states: states["node-1"][0].startswith("DOWN"))
                token = one.ready["token"]
                async with client(balancer.plain, token=token, query="node=node-1") as other:
                    assert other.seen[0]["node"] == second.name
                    started = one.started
                    await other.send(
                        "resume", session=started["session"], ticket=started["ticket"], receipt=tick["r"], n=4
                    )
                    assert (await other.receive("resumed"))["n"] == 0
                    other.started = started
                    await other.keys(*one.log[1::2])
                    await other.keys(*started["text"][4:])
                    assert (await other.finish())["acc"] == 100
            finally:
                first.resume()
        await balancer.until(lambda states: states["node-1"][0].startswith("UP"))
