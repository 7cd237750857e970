"""The containers: their settings are Typegate's own and go together, and all that a service names is there."""

import re
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from config.settings import load, unservable
from gateway.cli import main
from tests.config.deploy.test_rules import DEPLOY

FOLDER = DEPLOY / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"] == "typegate")


@pytest.mark.parametrize("name", OURS)
def test_settings_are_valid_and_go_together(name: str) -> None:
    settings = load(environ=SERVICES[name]["environment"])
    assert unservable(settings) == []
    assert settings.notes() == []
    assert settings.kafka.production


@pytest.mark.parametrize("name", OURS)
def test_addresses_are_those_of_services(name: str) -> None:
    settings = load(environ=SERVICES[name]["environment"])
    named = [*settings.kafka.servers, *settings.mysql.shards, settings.mysql.content, settings.redis.url]
    hosts = {found[1] for where in named if (found := re.search(r"([\w-]+):\d+(?:/\w+)?$", where)) is not None}
    assert len(hosts) == len(named)
    assert hosts <= set(SERVICES)


def test_commands_are_ours() -> None:
    """What the containers run has a command, with the options that it is given."""
    setup = SERVICES["setup"]["entrypoint"][-1]
    commands = [part.strip().removeprefix("typegate ").split() for part in setup.split("&&")]
    commands += [SERVICES[name]["command"] for name in OURS if SERVICES[name]["command"]]
    for command in commands:
        assert CliRunner().invoke(main, [*command, "--help"]).exit_code == 0, command


def test_what_services_name_is_there() -> None:
    """Volumes are declared, files exist, and a service waits for services."""
    for name, service in SERVICES.items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (FOLDER / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"], name
        assert set(service.get("depends_on", ())) <= set(SERVICES), name
    build = SERVICES["gateway"]["build"]
    root = (FOLDER / build["context"]).resolve()
    assert (root / "setup.cfg").is_file()
    assert (root / build["dockerfile"]).samefile(FOLDER / "Dockerfile")


def test_prometheus_asks_services_for_what_the_rules_are_about() -> None:
    prometheus = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    admin = load(environ={}).admin
    ports = {"typegate-gateway": admin.port, "typegate-worker": admin.worker_port}
    assert {job["job_name"] for job in prometheus["scrape_configs"]} == set(ports)
    for job in prometheus["scrape_configs"]:
        for source in job["dns_sd_configs"]:
            assert set(source["names"]) <= set(SERVICES)
            assert source["port"] == ports[job["job_name"]]
