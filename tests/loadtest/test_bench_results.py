"""The bench of results: what it reads from a worker is what the worker said."""

import time
from pathlib import Path

import pytest

from gateway.exposition import Exposition
from loadtest.bench.results.__main__ import WORKERS, backlog
from loadtest.bench.results.live import quantiles
from loadtest.bench.results.reads import reads
from loadtest.bench.results.shares import Shares
from loadtest.bench.rounds import Part
from loadtest.cluster.scraping import figures
from loadtest.servers.nginx import Nginx
from scoring.text import prepare


async def test_quantiles_are_those_of_what_was_observed() -> None:
    """Nine in ten took between 25 and 50 ms, one in ten between 2.5 and 5 s."""
    metrics = Exposition()
    for _ in range(90):
        metrics.processed(0.03)
    for _ in range(10):
        metrics.processed(3.0)
    taken = quantiles(figures((await metrics.scrape()).decode()), "typegate_processing_seconds")
    assert taken == {"n": 100, "p50": pytest.approx(25 + 25 * 50 / 90), "p95": 3750.0, "p99": pytest.approx(4750.0)}


def test_a_backlog_takes_twice_the_workers() -> None:
    """One that stores 1,500 a second keeps up with 1,000; with a backlog beside them there are 2,000 a second to do."""
    rounds = {name: [{"per_s": 1_500.0, "cpu_us": 200.0}] for name in WORKERS}
    rows = backlog(Part("", (), [], {"rounds": rounds})).rows
    assert {tuple(row[1:]) for row in rows} == {(1_000, 1, 2, 0.2), (3_472, 3, 5, 0.6944), (10_000, 7, 14, 2.0)}


async def test_without_observations_there_are_no_quantiles() -> None:
    scraped = figures((await Exposition().scrape()).decode())
    assert quantiles(scraped, "typegate_processing_seconds") == {"n": 0, "p50": None, "p95": None, "p99": None}


def test_shares_tell_whose_code_had_the_processor() -> None:
    """What runs here is no part of a worker, what it calls in `scoring` is."""
    shares = Shares()
    shares.start()
    until = time.process_time() + 0.2
    while time.process_time() < until:
        prepare("some words that are cut again and again", timed=True)
    taken = shares.stop()
    assert sum(taken.values()) == pytest.approx(100)
    assert taken["scoring"] > 50


def test_tests_are_read_from_nginx_and_from_typegate(tmp_path: Path) -> None:
    """Every way gives answers, all of them as long as the first."""
    missing = Nginx.missing()
    if missing is not None:
        pytest.skip(f"{missing}; loadtest/servers/install installs it")
    taken = reads(tmp_path, seconds=0.2)
    assert len(taken) == 4
    for one in taken.values():
        assert one.per_s > 0
        assert one.cpu_us > 0
        assert one.p50_ms <= one.p99_ms
