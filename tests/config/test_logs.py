"""Lines for people or for machines, without personal data."""

import io
import json
import logging

import pytest
import structlog

from config.gateway import LogOptions
from config.logs import set_up


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_away_from_a_terminal_each_line_is_an_object() -> None:
    stream = io.StringIO()
    set_up(LogOptions(), stream)
    structlog.get_logger("a").info("serving", port=3)
    logging.getLogger("b").warning("odd %s", "thing")
    ours, library = map(json.loads, stream.getvalue().splitlines())
    assert ours["event"] == "serving"
    assert (ours["port"], ours["level"]) == (3, "info")
    assert library["event"] == "odd thing"
    assert library["logger"] == "b"


def test_on_a_terminal_lines_are_for_people() -> None:
    stream = Terminal()
    set_up(LogOptions(), stream)
    structlog.get_logger("a").info("serving", port=3)
    assert "serving" in stream.getvalue()
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(stream.getvalue())


def test_an_exception_is_logged_with_its_traceback() -> None:
    stream = io.StringIO()
    set_up(LogOptions(format="json"), stream)
    try:
        raise RuntimeError("lost")
    except RuntimeError:
        structlog.get_logger("a").exception("a fault")
    assert json.loads(stream.getvalue())["exception"][0]["exc_value"] == "lost"


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["json", "human"])
def test_a_traceback_shows_no_variables(stream: io.StringIO) -> None:
    """Frames hold keystrokes and tokens."""
    set_up(LogOptions(), stream)
    typed = "s3cret"
    try:
        raise RuntimeError(len(typed))
    except RuntimeError:
        structlog.get_logger("a").exception("a fault")
        logging.getLogger("b").exception("another")
    assert "RuntimeError" in stream.getvalue()
    assert "test_a_traceback_shows_no_variables" in stream.getvalue()
    assert "s3cret" not in stream.getvalue().replace('typed = "s3cret"', "")


def test_a_level_hides_what_is_below_it() -> None:
    stream = io.StringIO()
    set_up(LogOptions(level="error"), stream)
    structlog.get_logger("a").warning("quiet")
    logging.getLogger("b").warning("quiet")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("name", ["token", "authorization", "text", "keys", "address", "client"])
def test_private_values_never_reach_a_line(name: str) -> None:
    stream = io.StringIO()
    set_up(LogOptions(format="json"), stream)
    structlog.get_logger("a").info("refused", **{name: "s3cret"})
    assert "s3cret" not in stream.getvalue()


def test_requests_with_their_addresses_are_not_logged() -> None:
    stream = io.StringIO()
    set_up(LogOptions(level="debug"), stream)
    logging.getLogger("uvicorn.access").info("203.0.113.9 GET /")
    assert stream.getvalue() == ""
