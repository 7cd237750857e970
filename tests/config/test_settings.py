"""Every source in its order, and every fault in one report."""

from pathlib import Path

import pytest

from config.settings import Fault, Flag, Settings, SettingsError, load, unservable


def faults(**sources: object) -> list[Fault]:
    with pytest.raises(SettingsError) as caught:
        load(**{"environ": {}, **sources})  # type: ignore[arg-type]  # the tests' own words for load's arguments
    return caught.value.faults


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str, name: str = "typegate.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_without_any_source_there_are_the_defaults(in_folder: Path) -> None:
    settings = load(environ={})
    assert settings.server == Settings().server
    assert settings.origin("server.port") == "default"


def test_the_process_s_environment_does_not_reach_bare_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TYPEGATE_SERVER_PORT", "1")
    assert Settings().server.port == 8080


@pytest.mark.parametrize(
    ("file", "environ", "flag", "port", "origin"),
    [
        (1001, None, None, 1001, "file"),
        (1001, 1002, None, 1002, "environment TYPEGATE_SERVER_PORT"),
        (1001, 1002, 1003, 1003, "flag --port"),
        (None, 1002, 1003, 1003, "flag --port"),
        (1001, None, 1003, 1003, "flag --port"),
    ],
)
def test_flags_win_over_environment_over_file(
    in_folder: Path, file: int | None, environ: int | None, flag: int | None, port: int, origin: str
) -> None:
    if file is not None:
        write(in_folder, f"[server]\nport = {file}\n")
    settings = load(
        environ={} if environ is None else {"TYPEGATE_SERVER_PORT": str(environ)},
        flags={"server.port": Flag("--port", flag)},
    )
    assert settings.server.port == port
    assert settings.origin("server.port").startswith(origin)


def test_the_file_is_the_flag_s_or_the_environment_s_or_the_folder_s(in_folder: Path) -> None:
    write(in_folder, "[server]\nport = 1\n")
    other = write(in_folder, "[server]\nport = 2\n", "other.toml")
    third = write(in_folder, "[server]\nport = 3\n", "third.toml")
    assert load(environ={}).server.port == 1
    assert load(environ={"TYPEGATE_CONFIG": str(other)}).server.port == 2
    assert load(environ={"TYPEGATE_CONFIG": str(other)}, file=third).server.port == 3


def test_all_faults_come_at_once_each_with_its_origin_and_a_hint(in_folder: Path) -> None:
    write(
        in_folder,
        """
        loose = 3
        [server]
        prot = 80
        backlog = 0
        [sevrer]
        port = 1
        [log]
        level = "loud"
        [tls]
        cert = "chain.pem"
        """,
    )
    found = faults(
        environ={"TYPEGATE_SERVER_PORT": "many", "TYPEGATE_STOP_GRACE_S": "-1"},
        flags={"admin.port": Flag("--admin-port", 70_000)},
    )
    by_setting = {fault.setting: fault for fault in found}
    assert set(by_setting) == {
        "loose",
        "server.prot",
        "server.backlog",
        "sevrer",
        "log.level",
        "tls.cert",
        "server.port",
        "stop.grace_s",
        "admin.port",
    }
    assert by_setting["server.prot"].hint == "Did you mean port?"
    assert by_setting["sevrer"].hint == "Did you mean server?"
    assert by_setting["server.port"].origin == "environment TYPEGATE_SERVER_PORT"
    assert "'many'" in by_setting["server.port"].message
    assert by_setting["admin.port"].origin == "flag --admin-port"
    assert "0 to 65535" in by_setting["admin.port"].message
    assert by_setting["tls.cert"].origin == "file typegate.toml"
    assert "both files or neither" in by_setting["tls.cert"].message
    assert "debug" in by_setting["log.level"].message
    text = str(SettingsError(found))
    assert all(str(fault) in text for fault in found)


def test_a_setting_in_the_wrong_section_is_told_the_right_one(in_folder: Path) -> None:
    (fault,) = faults(environ={"TYPEGATE_SERVER_GUESTS": "false"})
    assert fault.hint == "Did you mean auth.guests?"


def test_two_settings_that_do_not_fit_each_other_are_named_together(in_folder: Path) -> None:
    write(in_folder, "[wire]\nsoft_bytes = 100000\nhard_bytes = 50000\n")
    (fault,) = faults()
    assert fault.setting == "wire.soft_bytes and wire.hard_bytes"


def test_a_fault_beside_settings_that_need_each_other_is_reported_alone(in_folder: Path) -> None:
    write(
        in_folder,
        '[auth]\nalgorithm = "HS256"\nissuer = "i"\naudience = "a"\nkey_file = "k"\nguest_days = 0\n',
    )
    (fault,) = faults()
    assert fault.setting == "auth.guest_days"


def test_sections_that_do_not_fit_each_other_are_seen(in_folder: Path) -> None:
    (fault,) = faults(environ={"TYPEGATE_SERVER_PORT": "9080"})
    assert fault.setting == "server.port and admin.port"
    assert "environment TYPEGATE_SERVER_PORT" in fault.origin
    assert load(environ={"TYPEGATE_SERVER_PORT": "9080", "TYPEGATE_ADMIN_ENABLED": "no"}).server.port == 9080


def test_a_worker_is_waited_for_longer_than_it_takes(in_folder: Path) -> None:
    write(in_folder, "[worker]\npatience_ms = 30000\n[feed]\nrebalance_ms = 30000")
    (fault,) = faults()
    assert fault.setting == "worker.patience_ms and feed.rebalance_ms"
    assert "30000" in fault.message


def test_an_empty_host_is_not_taken_for_all_addresses(in_folder: Path) -> None:
    (fault,) = faults(environ={"TYPEGATE_SERVER_HOST": ""})
    assert fault.setting == "server.host"
    assert "0.0.0.0" in fault.message


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ('[server]\norigins = "https://a.example"', "a list"),
        ("[node]\ndata = 5", "a path"),
        ("[auth]\nissuer = 3", "text"),
        ('[auth]\nguests = "maybe"', "true or false"),
        ('[server]\nport = "x"', "a whole number"),
        ("[server]\nport = 80.5", "a whole number"),
        ('[stop]\ngrace_s = "long"', "a number"),
    ],
)
def test_a_wrong_type_is_told_in_words(in_folder: Path, line: str, allowed: str) -> None:
    write(in_folder, line)
    (fault,) = faults()
    assert fault.message.endswith(f"it must be {allowed}.") or f"it must be {allowed}," in fault.message


@pytest.mark.parametrize(
    "line",
    [
        '[mysql]\nshards = "a 0-4095 mysql://us:word-of-ours@db/x"',
        '[mysql]\nshards = [["a 0-4095 mysql://us:word-of-ours@db/x"], "b - mysql://us:word-of-ours@db/x"]',
        '[mysql]\ncontent = ["mysql://us:word@word-of-ours@db/x"]',
        '[redis]\nurl = ["redis://:word-of-ours@db"]',
        '[webhook]\nurl = ["https://us:word-of-ours@db"]',
    ],
)
def test_a_password_in_an_address_is_not_repeated(in_folder: Path, line: str) -> None:
    """What is told ends in logs and terminals, whatever is wrong with the value that it stands in."""
    write(in_folder, line)
    (fault, *_) = faults()
    assert "db" in fault.message
    assert "word-of-ours" not in fault.message


@pytest.mark.parametrize("text", ["a b, c", '["a b", "c"]', " a b ,c,"])
def test_lists_of_the_environment_are_json_or_have_commas(in_folder: Path, text: str) -> None:
    settings = load(environ={"TYPEGATE_SERVER_TRUSTED_PROXIES": text.replace("a b", "10.0.0.0/8").replace("c", "::1")})
    assert settings.server.trusted_proxies == ("10.0.0.0/8", "::1")


def test_a_list_that_is_half_json_is_a_fault(in_folder: Path) -> None:
    (fault,) = faults(environ={"TYPEGATE_SERVER_ORIGINS": '["https://a.example"'})
    assert fault.setting == "server.origins"
    assert "JSON" in fault.message


def test_variables_that_only_look_like_ours_are_noted(in_folder: Path) -> None:
    """Kubernetes sets TYPEGATE_PORT and TYPEGATE_SERVICE_HOST beside a Service named typegate."""
    settings = load(environ={"TYPEGATE_PORT": "tcp://10.0.0.1:80", "TYPEGATE_SERVICE_HOST": "10.0.0.1", "HOME": "/"})
    assert settings.server.port == 8080
    assert [note.split()[2] for note in settings.notes()] == ["TYPEGATE_PORT", "TYPEGATE_SERVICE_HOST"]


def test_an_empty_text_stands_for_none(in_folder: Path) -> None:
    write(in_folder, '[tls]\ncert = ""\nkey = ""\n')
    assert not load(environ={"TYPEGATE_AUTH_KEY_FILE": ""}).tls.enabled


def test_a_missing_file_is_a_fault(in_folder: Path) -> None:
    (fault,) = faults(file=in_folder / "none.toml")
    assert "No such file" in fault.message
    assert fault.origin == "flag --config"


@pytest.mark.parametrize("content", [b"[server\n", b"\xff\xfe"], ids=["syntax", "encoding"])
def test_a_broken_file_is_a_fault_beside_the_others(in_folder: Path, content: bytes) -> None:
    (in_folder / "typegate.toml").write_bytes(content)
    found = faults(environ={"TYPEGATE_SERVER_PORT": "x"})
    assert [fault.setting for fault in found] == ["typegate.toml", "server.port"]


def test_the_wire_s_options_reach_the_edge(in_folder: Path) -> None:
    settings = load(environ={"TYPEGATE_WIRE_MESSAGE_BYTES": "1000"})
    assert settings.edge.wire.message_bytes == 1000


def test_what_only_one_machine_can_check_is_left_to_check(in_folder: Path) -> None:
    """A file that is not there is no fault of the settings: `typegate check` and the start say so."""
    environ = {"TYPEGATE_TLS_CERT": "/nowhere/a.pem", "TYPEGATE_TLS_KEY": "/nowhere/b.pem"}
    assert load(environ=environ).tls.enabled


def test_an_optional_proxy_header_does_not_go_with_tls(in_folder: Path) -> None:
    """What is read to look for it would be missing from the handshake."""
    environ = {
        "TYPEGATE_TLS_CERT": "a.pem",
        "TYPEGATE_TLS_KEY": "b.pem",
        "TYPEGATE_SERVER_PROXY_PROTOCOL": "optional",
        "TYPEGATE_SERVER_TRUSTED_PROXIES": "10.0.0.1",
    }
    (fault,) = faults(environ=environ)
    assert "set it to required" in str(fault)
    assert load(environ=environ | {"TYPEGATE_SERVER_PROXY_PROTOCOL": "required"}).server.proxy_protocol == "required"


def test_what_keeps_a_server_from_being_of_use() -> None:
    """A Kafka without databases for the workers, and a webhook without workers; commands for one part need not mind."""
    kafka = load(environ={"TYPEGATE_KAFKA_SERVERS": "127.0.0.1:9092"})
    (fault,) = unservable(kafka)
    assert "there is a Kafka and no MySQL" in str(fault)
    assert "environment TYPEGATE_KAFKA_SERVERS" in str(fault)
    hook = load(environ={"TYPEGATE_WEBHOOK_URL": "https://x.example/", "TYPEGATE_WEBHOOK_SECRET_FILE": "secret"})
    (fault,) = unservable(hook)
    assert "set kafka.servers too" in str(fault)
    assert unservable(load(environ={})) == []


def test_remarks_about_what_goes_together() -> None:
    shards = {"TYPEGATE_MYSQL_SHARDS": "a 0-4095 mysql://u:p@127.0.0.1/x"}
    (alone,) = load(environ=shards).notes()
    assert "this server writes results to MySQL itself" in alone
    kafka = shards | {"TYPEGATE_KAFKA_SERVERS": "127.0.0.1:9092"}
    (untold,) = load(environ=kafka | {"TYPEGATE_MYSQL_CONTENT": "mysql://u:p@127.0.0.1/x"}).notes()
    assert "nobody hears of a personal best" in untold
    (apart,) = load(environ=kafka | {"TYPEGATE_REDIS_URL": "redis://127.0.0.1"}).notes()
    assert "mysql.content is not" in apart


def test_several_processes_need_a_redis_and_ports_that_nobody_else_has() -> None:
    """One is the default and needs nothing."""
    several = {"TYPEGATE_PROCESSES_COUNT": "4"}
    redis = {"TYPEGATE_REDIS_URL": "redis://127.0.0.1/0"}
    own = {"TYPEGATE_PROCESSES_OWN_PORTS": "true"}

    def said(**environ: str) -> list[str]:
        return [str(fault) for fault in unservable(load(environ=environ))]

    (alone,) = said(**several)
    assert alone.startswith(
        "processes.count and redis.url (environment TYPEGATE_PROCESSES_COUNT, default): there are 4"
    )
    assert said(**several, **redis) == said(**several, **redis, **own) == []
    (agent,) = said(**several, **redis, TYPEGATE_AGENT_ENABLED="true")
    assert "share a port" in agent
    (over,) = said(**several, **redis, **own, TYPEGATE_SERVER_PORT="9077", TYPEGATE_ADMIN_PORT="9080")
    assert over.startswith("server.port and admin.port")
    (last,) = said(**several, **redis, **own, TYPEGATE_SERVER_PORT="65533")
    assert "none above 65535" in last
    assert said(**several, **redis, **own, TYPEGATE_SERVER_PORT="0", TYPEGATE_ADMIN_ENABLED="false") == []
    with pytest.raises(SettingsError, match="count is 0; allowed is 1 to 256"):
        load(environ={"TYPEGATE_PROCESSES_COUNT": "0"})


@pytest.mark.parametrize("roles", ["", "ws,ws", "ws,pages"])
def test_roles_are_ws_and_api_each_once(roles: str) -> None:
    with pytest.raises(SettingsError, match=r"node\.roles"):
        load(environ={"TYPEGATE_NODE_ROLES": roles})
