"""PROTOCOL.md says what the code does."""

import re
from pathlib import Path

import msgpack
import pytest

from gateway import protocol
from gateway.codec import JSON
from session.messages import CLIENT_MESSAGES, ERRORS, SERVER_MESSAGES, CloseCode

DOCUMENT = protocol.PROTOCOL.read_text(encoding="utf-8")


def test_the_document_is_what_the_code_prints() -> None:
    """Whoever changes a message, a code, a state or a limit prints the document anew."""
    assert protocol.render(DOCUMENT) == DOCUMENT, "run: python -m gateway.protocol"


def test_every_section_has_its_place() -> None:
    """Nothing that can be printed is left out, and nothing twice."""
    assert sorted(protocol.section_names(DOCUMENT)) == sorted(protocol.SECTIONS)


def test_check_sees_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that drifted fails the check; writing it anew mends it."""
    drifted = tmp_path / "PROTOCOL.md"
    drifted.write_text(DOCUMENT.replace("| 4504 |", "| 4999 |"), encoding="utf-8")
    monkeypatch.setattr(protocol, "PROTOCOL", drifted)
    assert protocol.main(["--check"]) == 1
    assert protocol.main([]) == 0
    assert protocol.main(["--check"]) == 0
    assert drifted.read_text(encoding="utf-8") == DOCUMENT


def test_the_prose_names_only_what_exists() -> None:
    """`error x` in the hand-written parts is an error code, `closed n` a close code, and each message is told of."""
    prose = re.sub(r"<!-- begin: .*? -->.*?<!-- end: .*? -->", "", DOCUMENT, flags=re.DOTALL)
    assert set(re.findall(r"`error ([a-z_]+)`", prose)) <= set(ERRORS)
    own = {int(code) for code in CloseCode}
    assert {int(code) for code in re.findall(r"closed (\d{4})", prose)} <= own | {1002, 1007, 1009}
    for message in (*CLIENT_MESSAGES, *SERVER_MESSAGES):
        assert f"### `{message.T}`" in DOCUMENT


def test_the_example_is_the_same_in_both_encodings() -> None:
    """Each frame's JSON and hex decode to the same message, bytes written as JSON writes them."""
    blocks = re.findall(r"```\n(\{.*?\})\n([0-9a-f\n]+)```", protocol.example())
    assert len(blocks) >= 9
    for as_json, as_hex in blocks:
        assert JSON.encode(msgpack.unpackb(bytes.fromhex(as_hex))) == as_json.encode()
