"""`typegate ban`: what is told to the operator."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main


class Commands:
    """Runs commands on one data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def __call__(self, *words: str) -> Result:
        return CliRunner(env={"COLUMNS": "200"}).invoke(main, ["ban", *words, "--data", self._folder])


@pytest.fixture(name="ban")
def _ban(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.chdir(tmp_path)
    return Commands(tmp_path / "data")


def test_bans_are_made_listed_shown_and_removed(ban: Commands) -> None:
    """Of users, guests and networks."""
    assert "0 bans." in ban("list").output
    for who, more in (("17", ["--for", "90m"]), ("-42", []), ("192.0.2.9/24", ["--until", "9000-01-01"])):
        made = ban("add", who, "--reason", "a [bot]", "--by", "ops", *more)
        assert made.exit_code == 0, made.output
    listed = ban("list").output
    for word in ("-42", "for good", "192.0.2.0/24", "9000-01-01 00:00", "ops", "a [bot]", "3 bans."):
        assert word in listed
    assert "192.0.2.0/24 has been banned since" in ban("show", "192.0.2.77").output
    assert "by ops, for good: a [bot]" in ban("show", "-42").output
    assert ban("remove", "-42").output == "-42 may come in again.\n"
    gone = ban("show", "-42")
    assert (gone.exit_code, gone.output) == (1, "Error: -42 is not banned.\n")
    assert "2 bans." in ban("list").output


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["add", "bob", "--reason", "x"], "'bob' is no user id, address or network; allowed are 17, -42"),
        (["add", "0.0.0.0/0", "--reason", "x"], "0.0.0.0/0 is too wide"),
        (["add", "17"], "Missing option '--reason'"),
        (["add", "17", "--reason", ""], "the reason must be 1 to 200 letters"),
        (["add", "17", "--reason", "x", "--for", "soon"], "--for is 'soon'; allowed is a number with"),
        (["add", "17", "--reason", "x", "--for", "0d"], "a ban ends after it has begun"),
        (["add", "17", "--reason", "x", "--until", "soon"], "--until is 'soon'; allowed is 2027-01-31"),
        (["add", "17", "--reason", "x", "--until", "2020-01-01"], "which is past"),
        (["add", "17", "--reason", "x", "--until", "9000-01-01", "--for", "1d"], "both given"),
        (["add", "17", "--raeson", "x"], "Missing option '--reason'"),
        (["remove", "17"], "17 is not banned; `typegate ban list` shows who is."),
    ],
)
def test_a_ban_that_cannot_be_says_why(ban: Commands, words: list[str], why: str) -> None:
    """And changes nothing."""
    refused = ban(*words)
    assert refused.exit_code in (1, 2)
    assert why in refused.output
    assert "0 bans." in ban("list").output


def test_of_several_servers_without_a_common_database_it_is_said_which_know_it(
    ban: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has bans of its own then; who believes that all have it lets somebody in."""
    alone = ban("add", "17", "--reason", "x")
    assert "content database" not in alone.output
    monkeypatch.setenv("TYPEGATE_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("TYPEGATE_REDIS_CALL_MS", "100")
    for words in (["add", "18", "--reason", "x"], ["remove", "18"]):
        said = ban(*words)
        assert said.exit_code == 0, said.output
        assert (
            f"Without a content database ([mysql]) it holds on servers with the data folder {tmp_path}" in said.output
        )


def test_check_reads_them(ban: Commands, tmp_path: Path) -> None:
    """A file that is none shows before the server is started."""
    ban("add", "17", "--reason", "x")

    def check() -> str:
        runner = CliRunner(env={"COLUMNS": "200", "TYPEGATE_SERVER_PORT": "0", "TYPEGATE_ADMIN_PORT": "0"})
        return runner.invoke(main, ["check", "--data", str(tmp_path / "data")]).output

    assert "1 of at most 50000" in check()
    (tmp_path / "data" / "bans.db").write_bytes(b"damaged" * 99)
    assert "the file of bans" in check()


def test_too_many_bans_are_refused(ban: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting says how many there may be."""
    monkeypatch.setenv("TYPEGATE_BANS_MOST", "1")
    assert ban("add", "17", "--reason", "x").exit_code == 0
    assert "there are 1 bans" in ban("add", "18", "--reason", "x").output
