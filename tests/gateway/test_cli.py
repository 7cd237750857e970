"""The commands as processes: what they print, and how they end."""

import json
import os
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import main
from persistence.redis import RedisOptions
from tests.gateway.running import command, program
from tests.servers import PATIENT_MS

COMMANDS = [
    ["serve"],
    ["check"],
    ["tests"],
    ["tests", "import"],
    ["tests", "list"],
    ["tests", "show"],
    ["topics"],
    ["topics", "create"],
    ["topics", "check"],
    ["migrate"],
    ["migrate", "up"],
    ["migrate", "status"],
    ["partitions"],
    ["partitions", "ensure"],
    ["partitions", "list"],
    ["shards"],
    ["shards", "list"],
    ["shards", "move"],
    ["leaderboards"],
    ["leaderboards", "show"],
    ["leaderboards", "rebuild"],
    ["spool"],
    ["spool", "list"],
    ["spool", "drain"],
    ["dlq"],
    ["dlq", "list"],
    ["dlq", "show"],
    ["dlq", "replay"],
    ["dlq", "drop"],
    ["replay"],
    ["keys"],
    ["keys", "rotate"],
    ["completion"],
]


@pytest.mark.parametrize("words", [[], *COMMANDS], ids=" ".join)
def test_every_help_page_has_examples(words: list[str]) -> None:
    shown = CliRunner().invoke(main, [*words, "--help"], prog_name="typegate")
    assert shown.exit_code == 0
    output = shown.output
    assert "Examples:" in output
    assert f"  typegate {' '.join(words)}".rstrip() in output.partition("Examples:")[2].replace('eval "$(', "  ")


async def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    """`--help` and completion answer at once: no web framework, no crypto, no scorer."""
    code, _, imported = await command("serve", "--help", folder=tmp_path, PYTHONPROFILEIMPORTTIME="1")
    assert code == 0
    modules = {line.rpartition("|")[2].strip() for line in imported.splitlines()}
    assert "click" in modules
    assert not modules & {"fastapi", "pydantic", "regex", "rich", "uvicorn", "cryptography", "structlog", "sqlite3"}


async def test_the_version(tmp_path: Path) -> None:
    code, output, _ = await command("--version", folder=tmp_path)
    assert (code, output[:18]) == (0, "typegate, version ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_completion_scripts_complete_typegate(tmp_path: Path, shell: str) -> None:
    code, output, _ = await command("completion", shell, folder=tmp_path)
    assert code == 0
    assert "_TYPEGATE_COMPLETE" in output
    typed = "se" if shell == "fish" else "1"
    variables = {"_TYPEGATE_COMPLETE": f"{shell}_complete", "COMP_WORDS": "typegate se", "COMP_CWORD": typed}
    _, offered, _ = await command(folder=tmp_path, **variables)
    assert "serve" in offered


@pytest.mark.parametrize("words", [["srve"], ["serve", "--prot", "1"], ["serve", "--port", "many"], ["tests", "x"]])
async def test_misspelt_words_end_with_2(tmp_path: Path, words: list[str]) -> None:
    code, _, errors = await command(*words, folder=tmp_path)
    assert code == 2
    assert "Traceback" not in errors
    assert "Error:" in errors


# --- serve that cannot start ---


async def refused(folder: Path, *flags: str, **variables: str) -> str:
    """The sentence with which `serve` refuses to start."""
    code, output, errors = await command("serve", "--log-format", "json", *flags, folder=folder, **variables)
    assert code == 2, errors
    assert output == ""
    assert "Traceback" not in errors
    return errors


async def test_all_faults_of_the_settings_are_told_at_once(tmp_path: Path) -> None:
    errors = await refused(
        tmp_path, "--port", "99999", "--tls-cert", "a", TYPEGATE_LOG_LEVEL="loud", TYPEGATE_SERVER_PROT="1"
    )
    assert "4 faults" in errors
    for part in ("flag --port", "flag --tls-cert", "environment TYPEGATE_LOG_LEVEL", "Did you mean port?"):
        assert part in errors


async def test_a_port_in_use_is_told_with_the_flag_that_helps(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port} on 127.0.0.1 is in use" in await refused(tmp_path, "--port", port, "--admin-port", "0")
        errors = await refused(tmp_path, "--port", "0", "--admin-port", port)
        assert "--admin-port" in errors


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--host", "203.0.113.1"], "no address of this machine"),
        (["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
        (["--data", "file"], "not a folder"),
        (["--config", "none.toml"], "No such file"),
        (["--tls-cert", "none", "--tls-key", "none"], "TLS certificate none cannot be read"),
        (["--tls-cert", "file", "--tls-key", "file"], "not a pair of PEM files"),
    ],
)
async def test_whatever_keeps_it_from_starting_is_one_sentence(tmp_path: Path, flags: list[str], told: str) -> None:
    (tmp_path / "file").write_text("nothing")
    assert told in await refused(tmp_path, "--port", "0", "--admin-port", "0", *flags)


async def test_a_data_folder_that_is_in_use_is_told_with_who_has_it(tmp_path: Path) -> None:
    async with program(tmp_path / "data") as first:
        errors = await refused(tmp_path, "--port", "0", "--admin-port", "0")
        assert "in use" in errors
        assert str(first.process.pid) in errors


async def test_damaged_keys_are_never_made_anew(tmp_path: Path) -> None:
    """With a new ring every running test's ticket and every guest's token would be lost."""
    (tmp_path / "data").mkdir(mode=0o700)
    keys = tmp_path / "data" / "keys.json"
    keys.write_text('{"version": 1, "keys": [')
    keys.chmod(0o600)
    assert "keys.json" in await refused(tmp_path, "--port", "0", "--admin-port", "0")
    assert keys.read_text() == '{"version": 1, "keys": ['


# --- check ---


async def test_check_is_green_where_all_works_and_changes_nothing(tmp_path: Path) -> None:
    flags = {"TYPEGATE_SERVER_PORT": "0", "TYPEGATE_ADMIN_PORT": "0"}
    code, output, _ = await command("check", folder=tmp_path, **flags)
    assert code == 0, output
    assert "All parts work." in output
    assert "fault" not in output
    assert os.listdir(tmp_path) == []


async def test_check_tries_every_part_and_tells_every_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("nothing")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (tmp_path / "typegate.toml").write_text(
            f"""
            [server]
            port = {taken.getsockname()[1]}
            [admin]
            host = "203.0.113.1"
            [node]
            data = "file"
            [tls]
            cert = "file"
            key = "file"
            [auth]
            algorithm = "RS256"
            issuer = "i"
            audience = "a"
            jwks_url = "http://127.0.0.1:9/keys"
            subjects_file = "none"
            admin_token_file = "file"
            """
        )
        code, output, errors = await command("check", folder=tmp_path)
    assert code == 1
    lines = [line for line in output.splitlines() if "fault" in line]
    for part in ("data folder", "key files", "issuer's keys", "subjects", "TLS", "port", "admin port"):
        assert any(part in line for line in lines), part
    assert f"{len(lines)} parts would not work" in errors


async def test_check_beside_a_running_server_says_so(tmp_path: Path) -> None:
    async with program(tmp_path / "data") as server:
        flags = {"TYPEGATE_SERVER_PORT": "0", "TYPEGATE_ADMIN_PORT": "0"}
        code, output, _ = await command("check", folder=tmp_path, **flags)
    assert code == 0, output
    assert f"process {server.process.pid}" in output or str(server.process.pid) in output
    assert "passages" in output


async def test_check_shows_where_settings_came_from(tmp_path: Path) -> None:
    (tmp_path / "typegate.toml").write_text("[stop]\ngrace_s = 3\n")
    variables = {"TYPEGATE_SERVER_PORT": "0", "TYPEGATE_ADMIN_PORT": "0"}
    _, output, _ = await command("check", "--settings", "--data", "here", folder=tmp_path, **variables)
    lines = output.splitlines()
    assert any("stop.grace_s" in line and "file typegate.toml" in line for line in lines)
    assert any("node.data" in line and "flag --data" in line for line in lines)
    assert any("server.port" in line and "environment TYPEGATE_SERVER_PORT" in line for line in lines)


async def test_check_with_faulty_settings_ends_with_2(tmp_path: Path) -> None:
    code, _, errors = await command("check", folder=tmp_path, TYPEGATE_STOP_GRACE_S="never")
    assert code == 2
    assert "stop.grace_s" in errors


# --- tests ---


@pytest.mark.parametrize("words", [["list"], ["show", "1000000001"]], ids=["list", "show"])
async def test_looking_at_what_is_built_in_makes_no_folder(tmp_path: Path, words: list[str]) -> None:
    code, shown, errors = await command("tests", *words, folder=tmp_path)
    assert code == 0, errors
    assert "After the rain" in shown
    assert os.listdir(tmp_path) == []


async def test_imported_tests_are_listed_and_shown(tmp_path: Path) -> None:
    rows = [
        {"title": "Of foxes", "text": "The quick brown fox jumps over the lazy dog.", "category": "zoo"},
        {"title": "Of [dogs]", "text": "A lazy dog lies in the sun and dreams of bones.", "category": "zoo"},
    ]
    for row in rows:
        row |= {"difficulty": "easy", "language": "en"}
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    code, output, errors = await command("tests", "import", "rows.json", folder=tmp_path)
    assert code == 0, errors
    assert "2 new" in output
    _, listed, _ = await command("tests", "list", "--category", "zoo", folder=tmp_path)
    assert "Of foxes" in listed
    assert "Of [dogs]" in listed
    number = next(word for word in listed.split() if word.isdigit())
    code, shown, _ = await command("tests", "show", number, folder=tmp_path)
    assert code == 0
    assert "The quick brown fox" in shown
    again = await command("tests", "import", "rows.json", folder=tmp_path)
    assert "2 as before" in again[1]


async def test_bad_rows_keep_the_file_out_unless_partial(tmp_path: Path) -> None:
    """They are counted once each, however much is wrong with one."""
    good = {"title": "T", "text": "One two three four five.", "category": "c", "difficulty": "easy", "language": "en"}
    rows = [good, {**good, "text": "", "title": 5}, {**good, "difficulty": "huge"}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    code, _, errors = await command("tests", "import", "rows.json", folder=tmp_path)
    assert code == 1
    assert "2 of 3 rows are bad; nothing was imported" in errors
    assert "difficulty" in errors
    assert "--partial" in errors
    code, output, _ = await command("tests", "import", "rows.json", "--partial", folder=tmp_path)
    assert code == 0
    assert "1 new" in output
    assert "2 bad rows left out" in output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tests", "import", "none.json"], "none.json"),
        (["tests", "show", "5"], "`typegate tests list`"),
        (["replay", "nothing"], "neither a session's id nor a file"),
        (["replay", "019e0000-0000-7000-8000-000000000000"], "There is no store"),
        (["replay", "some.txt"], "no exported result"),
        (["tests", "list", "--data", "some.txt"], "not a folder"),
        (["keys", "rotate"], "There are no keys"),
    ],
)
async def test_what_cannot_be_done_is_told_with_what_to_do(tmp_path: Path, words: list[str], told: str) -> None:
    (tmp_path / "some.txt").write_text("text")
    code, _, errors = await command(*words, folder=tmp_path)
    assert code == 1
    assert told in errors
    assert "Traceback" not in errors


async def test_an_empty_listing_says_what_there_is(tmp_path: Path) -> None:
    code, output, _ = await command("tests", "list", "--category", "none", folder=tmp_path)
    assert code == 0
    assert "Categories are:" in output


async def test_check_asks_redis(tmp_path: Path, redis_single: RedisOptions) -> None:
    flags = {"TYPEGATE_SERVER_PORT": "0", "TYPEGATE_ADMIN_PORT": "0", "TYPEGATE_REDIS_CALL_MS": str(PATIENT_MS)}
    _, output, _ = await command("check", folder=tmp_path, TYPEGATE_REDIS_URL=redis_single.url, **flags)
    assert f"{redis_single.url} answers in" in output
    code, output, _ = await command("check", folder=tmp_path, TYPEGATE_REDIS_URL="redis://127.0.0.1:1", **flags)
    assert code == 1
    assert "Redis at 127.0.0.1:1 cannot be used: connection refused" in output
