"""Prometheus' rules: valid, about figures that there are, and each alarm explained to whoever is called by it."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.metrics import Metrics, SpoolFigures
from gateway.worker_metrics import WorkerMetrics, partitions_ahead
from loadtest.servers.process import cache_folder
from persistence.workers.feed import FeedFacts
from persistence.workers.worker import WorkerFacts

DEPLOY = Path(__file__).parents[3] / "config" / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alarms() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


@pytest.fixture(name="promtool")
def _promtool(tmp_path: Path) -> Callable[..., None]:
    """Runs promtool on the rules; `tests/system-packages` puts it into the cache folder, out of Debian's package."""
    kept = cache_folder("prometheus") / "promtool"
    found = shutil.which("promtool") or (str(kept) if kept.exists() else None)
    if found is None:
        pytest.skip("no promtool here; tests/system-packages fetches it")
    for file in (RULES, RULES.with_name("prometheus.yml"), Path(__file__).with_name("rules_test.yml")):
        shutil.copy(file, tmp_path)

    def run(*arguments: str) -> None:
        done = subprocess.run([found, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


def test_the_rules_are_valid(promtool: Callable[..., None]) -> None:
    promtool("check", "rules", "rules.yml")


def test_the_configuration_is_valid(promtool: Callable[..., None]) -> None:
    promtool("check", "config", "prometheus.yml")


def test_alarms_go_off_when_they_should_and_only_then(promtool: Callable[..., None]) -> None:
    """A healthy installation calls nobody; what is slow, full, absent or wrong calls by its own name."""
    promtool("test", "rules", "rules_test.yml")


def test_every_alarm_is_explained_and_nothing_else() -> None:
    text = (DEPLOY / "OPERATIONS.md").read_text(encoding="utf-8")
    explained = re.findall(r"^### (Typegate\w+)$", text, re.MULTILINE)
    assert sorted(explained) == sorted(rule["alert"] for rule in alarms())
    assert len(set(explained)) == len(explained)


def test_every_alarm_says_how_bad_it_is_and_what_happened() -> None:
    for rule in alarms():
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]


async def test_rules_are_about_figures_that_there_are() -> None:
    """Every name in an expression is shown by a gateway, a worker or a rule above it."""
    gateway, worker = Metrics(node="n"), WorkerMetrics()
    gateway.watch(
        connections=lambda: 1, sessions=dict, spool=lambda: SpoolFigures(rows=0, oldest_age_s=0), edge=lambda: EDGE
    )
    worker.watch(
        feed=lambda: FeedFacts(frozenset(), {}, 0, None), worker=lambda: WorkerFacts(troubled={}, owing=0, fault=None)
    )
    shown = (await gateway.scrape() + await worker.scrape()).decode()
    known = {line.split()[2] for line in shown.splitlines() if line.startswith("# TYPE")}
    known |= {name + suffix for name in known for suffix in ("_bucket", "_count", "_sum", "_total")}
    known |= {"typegate_cache_requests_total", "typegate_redis_away"}  # of what stands in front of the store
    known |= {metric.name for metric in partitions_ahead({})}
    known |= {"typegate_process_up"}  # of the parent of several processes
    for rule in rules():
        for name in re.findall(r"\btypegate[a-z0-9_:]+", re.sub(r'"[^"]*"', "", rule["expr"])):
            assert name in known, f"{name} in {rule.get('alert') or rule.get('record')}"
        known.add(rule.get("record", ""))


class Edge:
    accepted = websockets = refused_handshakes = refused_full = refused_address = heads_overdue = 0
    proxy_untrusted = proxy_malformed = proxy_late = 0


EDGE = Edge()
