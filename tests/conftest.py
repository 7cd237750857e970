"""What every test may lean on: the reference data's folder, and CI's rule that a skipped test is a failure."""

import logging
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.clock", "tests.servers", "tests.persistence.mysql_shards"]

# How fast an example runs is the machine's affair: a law that holds is not broken by a busy neighbour.
settings.register_profile("typegate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("typegate")

# Hundreds of programs are started: the first one compiles the code for all of them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

SLOW = (
    "gateway/test_faults.py",
    "gateway/test_worker_death.py",
    "config/deploy/test_haproxy.py",
    "gateway/test_networks.py",
    "simulation/test_schedules_first.py",
    "persistence/kafka/test_faults.py",
    "simulation/test_schedules_second.py",
    "gateway/test_cli_importing.py",
    "simulation/test_schedules_third.py",
    "persistence/stream/test_kafka_faults.py",
    "simulation/test_schedules_fourth.py",
    "simulation/races/test_schedules.py",
    "loadtest/test_swarm.py",
    "persistence/stream/test_crash.py",
    "persistence/stream/test_kafka_crash.py",
    "loadtest/chaos/test_run.py",
    "loadtest/test_bench.py",
    "loadtest/test_racer.py",
    "loadtest/test_bench_cluster.py",
    "persistence/workers/test_kafka_range.py",
    "persistence/workers/test_graveyard.py",
)
"""Files that take longest, those that wait among those that reckon. They come first: a file begun last, when the other
processes have nothing more to do, is to be a short one."""

ROOT = Path(__file__).resolve().parent.parent
REFERENCE_DATA = Path(os.environ.get("TYPEGATE_REFERENCE_DATA", ROOT.parent / "shared"))


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command that a test runs in this process sets up the logging of all of it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()
    logging.getLogger("uvicorn.access").disabled = False
    for name in ("uvicorn.error", "aiokafka"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder with `vectors/` and `humans/`; a test that asks for it skips where it is absent."""
    if not (REFERENCE_DATA / "vectors" / "scoring.json").exists():
        pytest.skip(f"no reference data in {REFERENCE_DATA} (set TYPEGATE_REFERENCE_DATA)")
    return REFERENCE_DATA


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first; with `--no-loadscope-reorder` they are given out in this order."""
    places = {ROOT / "tests" / name: place for place, name in enumerate(SLOW)}
    assert all(map(Path.exists, places)), "SLOW names a file that is not there any more"
    items.sort(key=lambda item: places.get(item.path, len(SLOW)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CI=true a skip is a failure, but for tests marked `reference`."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and item.get_closest_marker("reference") is None:
        report.outcome = "failed"
        report.longrepr = f"skipped, and CI=true allows no skip here: {report.longrepr}"
    return report
