"""A real nginx with our configuration before two nodes."""

import asyncio
import re
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from loadtest.cluster.programs import Node
from loadtest.servers.certificate import write_certificate
from loadtest.servers.nginx import Nginx
from loadtest.servers.process import HOST, unused_port
from tests.config.deploy.nodes import Amid, clean, cluster, stored_somewhere, swarm_of, typed
from tests.config.deploy.test_rules import DEPLOY
from tests.gateway.running import store_away
from tests.gateway.typing_client import client

CONFIGURATION = DEPLOY / "nginx-nodes.conf"


@contextmanager
def balanced(folder: Path, nodes: list[Node]) -> Iterator[tuple[Nginx, int, Path]]:
    """nginx before these nodes: it, its TLS port, and the certificate to trust. Its own port is without TLS."""
    if (why := Nginx.missing()) is not None:
        pytest.skip(f"{why}; loadtest/servers/install installs it")
    certificate, key = write_certificate(folder)
    both = folder / "typegate.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    secure, redirect = unused_port(), unused_port()
    replaced = {
        "worker_processes auto": "worker_processes 1",
        "worker_connections 65536": "worker_connections 1024",
        "/run/typegate-nginx.pid": str(folder / "nginx.pid"),
        "listen 80;": f"listen {HOST}:{redirect};",
        "listen 443 ssl;": f"listen {HOST}:{secure} ssl; listen {HOST}:{{port}};",
        "/etc/typegate/typegate.pem": str(both),
        "server 10.0.0.11:8080": f"server {HOST}:{nodes[0].port}",
        "server 10.0.0.12:8080": f"server {HOST}:{nodes[1].port}",
        "        server 10.0.0.13:8080 max_fails=1 fail_timeout=2s;\n": "",
    }
    with Nginx(CONFIGURATION, folder / "nginx", replaced) as nginx:
        yield nginx, secure, certificate


async def test_browsers_are_shared_out_and_each_stays(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes, balanced(tmp_path, nodes) as (nginx, secure, certificate):
        met = set()
        for _ in range(40):  # all at one node by chance: once in 2 ** 39
            async with client(f"http://{nginx.address}") as one:
                node = one.seen[0]["node"]
                met.add(node)
                assert one.socket.response is not None
                cookie = one.socket.response.headers["Set-Cookie"]
            assert re.fullmatch(r"TYPEGATE=[0-9a-f]{32}; Path=/; HttpOnly; Secure; SameSite=None; Partitioned", cookie)
            async with client(
                f"http://{nginx.address}", additional_headers={"Cookie": cookie.partition(";")[0]}
            ) as again:
                assert again.seen[0]["node"] == node
        assert met == {one.name for one in nodes}
        trust = ssl.create_default_context(cafile=str(certificate))
        async with client(f"https://{HOST}:{secure}", ssl=trust) as typist:
            await typist.start()
            assert (await typist.type_all())["t"] == "result"
        async with httpx.AsyncClient(timeout=60, trust_env=False, verify=trust) as http:
            assert (await http.get(f"https://{HOST}:{secure}/")).status_code == 200


async def test_a_store_that_is_away_takes_no_node_out(tmp_path: Path) -> None:
    """The API says 503, and whoever types is let in all the same."""
    with cluster(tmp_path) as nodes, balanced(tmp_path, nodes) as (nginx, _, _), ExitStack() as away:
        url = f"http://{nginx.address}"
        async with client(url) as one, httpx.AsyncClient(timeout=60, trust_env=False) as http:
            for node in nodes:
                away.enter_context(store_away(node.data))
            headers = {"authorization": f"Bearer {one.ready['token']}"}
            for _ in range(4):
                assert (await http.get(f"{url}/v1/users/me/results", headers=headers)).status_code == 503
                async with client(url) as typist:
                    await typist.start()
                    assert (await typist.type_all())["t"] == "result"


async def test_a_killed_node_s_typists_go_on_at_the_other(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes, balanced(tmp_path, nodes) as (nginx, _, _):
        swarm = swarm_of(40, (HOST, nginx.port))
        kill = Amid(swarm, 30, nodes[0].kill)  # so that a few of them are its own, but once in a million
        facts = await typed(swarm, fault=kill, over=lambda: kill.came and swarm.meters.resumed > 0)
        clean(facts)
        assert facts["resumed"] > 0
        await asyncio.to_thread(nodes[0].start)
        await asyncio.to_thread(stored_somewhere, nodes, swarm)
