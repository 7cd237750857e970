"""A gateway and a worker under typists: how long a result takes to each of its stations, and how long readers wait."""

from __future__ import annotations

import http.client
import re
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from loadtest.bench.results.plant import Plant
from loadtest.client import ClientOptions, TypingClient
from loadtest.cluster.scraping import figures
from loadtest.crowd import Crowd
from loadtest.engine import Engine
from loadtest.line import Address
from loadtest.meters import Meters, Times
from loadtest.mixes import MixPlan
from loadtest.served import Child, Served
from loadtest.servers.process import unused_port

__all__ = ["Facts", "live", "quantiles"]

Facts = dict[str, float | int | None]
"""Readings and quantiles of a time, in ms."""

_READS = 300


def live(made: Plant, folder: Path, *, typists: int, seconds: float) -> dict[str, Facts]:
    """Typists at their own pace for so long; the times in ms by what took them."""
    admin = unused_port()
    worker = Child(
        "typegate worker",
        [sys.executable, "-m", "gateway.cli", "worker", "--data", str(folder / "worker")],
        folder=folder,
        variables=made.variables() | {"TYPEGATE_ADMIN_WORKER_PORT": str(admin)},
    )
    worker.launch()
    with Served(folder / "data", variables=made.variables()) as gateway:
        try:
            _await(admin)
            meters, token = _type(gateway.address, typists, seconds)
            _until_stored(admin, meters.stored)
            return {
                "finish to accepted": _facts(meters.to_accepted),
                "finish to saved, by one broker": _facts(meters.to_stored),
                "finish to row in MySQL": quantiles(_scrape(admin), "typegate_processing_seconds"),
                "read of recent results": _facts(_reads(gateway.address, token)),
            }
        finally:
            worker.stop()


def _type(address: Address, typists: int, seconds: float) -> tuple[Meters, str]:
    """What the typists measured, and the token of one of them."""
    engine, meters = Engine(), Meters()
    crowd = Crowd(1, typists)
    clients = []
    for number in range(typists):
        plan = MixPlan(crowd, number, mix="short", seed=1, rest_ms=500.0)
        client = TypingClient(engine, number, plan, options=ClientOptions(check_every=0), meters=meters)
        client.begin(address, due_ms=engine.now_ms + 2_000 * number / typists)
        clients.append(client)
    engine.run(until=lambda: False, limit_s=seconds)
    for client in clients:
        client.stop()
    engine.run(until=lambda: all(client.done for client in clients), limit_s=90)
    engine.close()
    token = next((client.token for client in clients if client.sessions and client.token is not None), None)
    if token is None:
        raise RuntimeError(f"no result was stored: {dict(meters.errors)} {meters.notes}")
    return meters, token


def _reads(address: Address, token: str) -> Times:
    """How long a typist's own recent results take, on one connection."""
    connection = http.client.HTTPConnection(*address, timeout=10)
    times = Times()
    while times.n < _READS:
        began = time.perf_counter()
        connection.request("GET", "/v1/users/me/results", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200:
            times.add((time.perf_counter() - began) * 1000)
        elif answer.status == 429:  # an address may not ask as often as this does
            time.sleep(0.1)
        else:
            raise RuntimeError(f"recent results: {answer.status} {answer.reason}")
    connection.close()
    return times


def _facts(times: Times) -> Facts:
    return {"n": times.n, "p50": times.quantile(0.5), "p95": times.quantile(0.95), "p99": times.quantile(0.99)}


def _await(port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            _scrape(port)
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the worker did not start")


def _until_stored(port: int, results: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        stored = sum(value for name, value in _scrape(port).items() if name.startswith("typegate_worker_results_total"))
        if stored >= results:
            return
        time.sleep(0.1)
    raise RuntimeError(f"the worker has not stored {results} results")


def _scrape(port: int) -> Mapping[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return figures(answer.read().decode())


def quantiles(scraped: Mapping[str, float], name: str) -> Facts:
    """Quantiles of a histogram, as Prometheus reckons them, in ms."""
    buckets = sorted(
        (float(found[1]), value)
        for series, value in scraped.items()
        if (found := re.fullmatch(rf'{name}_bucket{{le="([^"]+)"}}', series)) is not None
    )
    count = buckets[-1][1] if buckets else 0.0

    def quantile(share: float) -> float | None:
        below_s = below = 0.0
        for le_s, seen in buckets:
            if seen >= share * count and seen > below:
                reach_s = below_s if le_s == float("inf") else le_s
                return 1000 * (below_s + (reach_s - below_s) * (share * count - below) / (seen - below))
            below_s, below = le_s, seen
        return None

    return {"n": int(count), "p50": quantile(0.5), "p95": quantile(0.95), "p99": quantile(0.99)}
