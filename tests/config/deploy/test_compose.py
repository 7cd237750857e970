"""The containers: their settings are Typegate's own and go together, and all that a service names is there."""

import re
from configparser import ConfigParser
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


def test_the_image_gets_what_builds_it_and_nothing_else_of_the_folder() -> None:
    """The packages, and the files that their building reads; no data, settings or keys that lie beside them."""
    root = (FOLDER / SERVICES["gateway"]["build"]["context"]).resolve()
    lines = [
        line for line in (root / ".dockerignore").read_text(encoding="utf-8").splitlines() if line and line[0] != "#"
    ]
    setup = ConfigParser()
    setup.read(root / "setup.cfg", encoding="utf-8")
    packages = {name.rstrip("*") for name in setup["options.packages.find"]["include"].split()}
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line[0] == "!"} == packages | {
        *("setup.cfg", "pyproject.toml", "constraints.txt", setup["metadata"]["long_description"].split()[1])
    }
    assert set(lines[1:]) >= {"**/__pycache__", "**/*.egg-info"}


def test_the_images_user_owns_the_folder_that_the_settings_name() -> None:
    """It is the volume of the gateway, and nobody else may look into it."""
    image = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    found = re.search(r"TYPEGATE_NODE_DATA=(\S+)", image)
    assert found is not None
    assert f"install -d -o typegate -g typegate -m 0700 {found[1]}\n" in image
    assert f"VOLUME {found[1]}\n" in image
    assert SERVICES["gateway"]["volumes"] == [f"gateway:{found[1]}"]


def test_health_is_asked_where_it_is_told() -> None:
    admin = load(environ={}).admin
    for name, port in (("gateway", admin.port), ("worker", admin.worker_port)):
        assert f"'http://127.0.0.1:{port}/readyz'" in SERVICES[name]["healthcheck"]["test"][-1]


def test_prometheus_asks_services_for_what_the_rules_are_about() -> None:
    prometheus = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    admin = load(environ={}).admin
    ports = {"typegate-gateway": admin.port, "typegate-worker": admin.worker_port}
    assert {job["job_name"] for job in prometheus["scrape_configs"]} == set(ports)
    for job in prometheus["scrape_configs"]:
        for source in job["dns_sd_configs"]:
            assert set(source["names"]) <= set(SERVICES)
            assert source["port"] == ports[job["job_name"]]
