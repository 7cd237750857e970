"""Prints into PROTOCOL.md what the code knows: messages, codes, states, limits, layouts and a worked example.

python -m gateway.protocol          # write the file anew
python -m gateway.protocol --check  # exit with 1 where it differs from the code
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from config.edge import EdgeOptions
from config.gateway import ConnectionOptions
from config.watch import WatchOptions
from gateway.codec import JSON, MSGPACK
from gateway.costs import FRAME_COST, RARE_COST, RESUME_COST, WATCH_COST
from scoring.slices import at_once
from session import receipt
from session.identity import session_to_text
from session.machine import TypingSession
from session.messages import (
    CLIENT_MESSAGES,
    ERRORS,
    SERVER_MESSAGES,
    Auth,
    ClientMessage,
    CloseCode,
    Finish,
    Hello,
    Keys,
    Ready,
    ServerMessage,
    Start,
    Stored,
)
from session.options import SessionLimits
from session.passages import practising
from session.race_messages import Watch, Watched, WatchEnd, WatchKeys, WatchState
from session.receipt import KeyRing
from session.state import diagram, race_diagram, racer_diagram

PROTOCOL = Path(__file__).with_name("PROTOCOL.md")

_SECTION: Final = re.compile(r"(<!-- begin: (?P<name>[a-z ]+) -->\n)(?P<body>.*?)(<!-- end: (?P=name) -->)", re.DOTALL)


def render(document: str) -> str:
    """The document with every section between its marks printed anew. Raises `KeyError` for one that is unknown."""
    return _SECTION.sub(lambda found: f"{found[1]}{SECTIONS[found['name']]()}{found[4]}", document)


def section_names(document: str) -> list[str]:
    """The names of the sections that the document has room for, in order."""
    return [found["name"] for found in _SECTION.finditer(document)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


def _messages(messages: Sequence[type[ClientMessage] | type[ServerMessage]]) -> str:
    parts = []
    for message in messages:
        summary = (message.__doc__ or "").strip()
        rows = [
            (f"`{name}`{'?' if optional else ''}", wire.kind.name, wire.meaning)
            for name, (wire, optional) in message.wire_fields().items()
        ]
        parts.append(f"### `{message.T}`\n\n{summary}\n\n{_table(('field', 'kind', 'meaning'), rows) if rows else ''}")
    return "\nA field with `?` may be left out.\n\n" + "\n".join(parts).rstrip() + "\n\n"


def client_messages() -> str:
    """A table a message from the client."""
    return _messages(CLIENT_MESSAGES)


def server_messages() -> str:
    """A table a message to the client."""
    return _messages(SERVER_MESSAGES)


def errors() -> str:
    """The error codes."""
    return (
        "\n" + _table(("`error` code", "meaning"), [(f"`{code}`", meaning) for code, meaning in ERRORS.items()]) + "\n"
    )


def close_codes() -> str:
    """The close codes, and whether a client may resume after them."""
    rows = [
        (str(int(code)), code.reason, "yes" if code.resumable else "no", code.meaning)
        for code in sorted(CloseCode, key=int)
    ]
    return "\n" + _table(("code", "reason", "may the client resume?", "meaning"), rows) + "\n"


def states() -> str:
    """The states of a session, as a diagram."""
    return f"\n```mermaid\n{diagram()}```\n\n"


def races() -> str:
    """The phases of a race and the states of a racer, as diagrams."""
    return f"\n```mermaid\n{race_diagram()}```\n\n```mermaid\n{racer_diagram()}```\n\n"


def limits() -> str:
    """The limits with their defaults; each is a setting."""
    session, connection, edge, watch = SessionLimits(), ConnectionOptions(), EdgeOptions(), WatchOptions()
    rows = [
        ("message", f"{edge.wire.message_bytes:,} bytes"),
        ("timed test", f"{session.timed_seconds:,} s"),
        ("other tests", f"{session.untimed_ms // 1000:,} s"),
        ("words in mode `words`", f"{session.words:,}"),
        ("own text", f"{session.text_graphemes:,} grapheme clusters, {session.text_bytes:,} bytes of UTF-8"),
        ("events of a test", f"{session.events:,}; with that many it ends as at its limit"),
        (
            "replay of a test",
            f"{session.replay_bytes:,} bytes; a longer one drops its holds, then it ends as at its limit",
        ),
        (
            "keys over any 5 s of client time",
            f"{session.review_keys_per_s}/s; {session.close_keys_per_s}/s to be closed",
        ),
        ("tags of a test", f"{session.tags}"),
        ("starts of a user", f"{connection.starts_per_s:g}/s, {connection.starts_burst} at once"),
        (
            "starts of an address",
            f"{connection.address_starts_per_s:g}/s, {connection.address_starts_burst:,} at once"
            if connection.address_starts_per_s
            else "not limited unless set",
        ),
        (
            "bytes of a client",
            f"{connection.bytes_per_s:,}/s, {connection.burst_bytes:,} at once; "
            f"each frame counts as {FRAME_COST} more, a ping or fragment as {RARE_COST}, "
            f"a `resume` as {RESUME_COST:,}, a `watch` as {WATCH_COST:,}",
        ),
        ("until `auth`", f"{connection.auth_deadline_s:g} s"),
        ("silence, and a timed test's last ping without its pong", f"{2 * connection.heartbeat_s:g} s"),
        ("a session without its connection", f"{session.detached_ms // 1000} s"),
        ("a ticket", f"{session.ticket_ms // 86_400_000} days"),
        ("connections of an address that are not `ready` yet", f"{edge.pending_per_address:,} (IPv6: of a /64)"),
        (
            "connections of a node that look on at tests",
            f"{watch.watchers:,} in all, {watch.watchers_each:,} at one typist; "
            f"{watch.typists:,} typists looked at, {watch.shown:,} shown",
        ),
        ("a `watch` that leads to nothing", f"{watch.answer_ms / 1000:g} s until the answer"),
        (
            "a watched typist of whom nothing is heard",
            f"away after {watch.silent_ms / 1000:g} s, gone after {watch.gone_s} s",
        ),
        (
            "unsent bytes of a client that does not read",
            f"{edge.wire.soft_bytes:,}, then ticks are left out; {edge.wire.hard_bytes:,}, then closed",
        ),
    ]
    return "\n" + _table(("limit", "default"), rows) + "\n"


def layouts() -> str:
    """What the bytes are, for who builds a server; clients need none of it."""
    return "\n" + (receipt.__doc__ or "").strip() + "\n\n"


def example() -> str:
    """A test of two words, both ways, in both encodings."""
    parts = ["\n"]
    for to_server, message in _conversation():
        parts.append(f"{'To the server' if to_server else 'To the client'}: `{message['t']}`\n\n```\n")
        parts.append(JSON.encode(message).decode() + "\n")
        parts.append("\n".join(_hex_lines(MSGPACK.encode(message))) + "\n```\n\n")
    return "".join(parts)


def watch_example() -> str:
    """What one is told who looks on, in JSON."""
    session = bytes.fromhex("019b76da900071238000000000000001")
    watched = Watched(
        session=session,
        mode="words",
        text="to be",
        language="en",
        direction="ltr",
        cyclic=False,
        punctuation=False,
        numbers=False,
        own=False,
        name="Guest 1042",
        count=2,
    )
    said = (
        (True, {"t": Watch.T, "session": session_to_text(session)}),
        (False, watched.to_wire()),
        (False, WatchKeys(0, ["t", "p"], 140, 85.71, 171.43, 50.0, 1).to_wire()),
        (False, WatchKeys(2, ["\b", "o", " "], 740, 48.65, 48.65, 75.0, 1).to_wire()),
        (False, WatchEnd(session, "aborted").to_wire()),
        (False, WatchState(session, "waiting").to_wire()),
    )
    lines = [f"{'>' if to_server else '<'} {JSON.encode(message).decode()}\n" for to_server, message in said]
    return f"\nTo the server (`>`) and to the client (`<`):\n\n```\n{''.join(lines)}```\n\n"


def _hex_lines(data: bytes, width: int = 48) -> Iterator[str]:
    for at in range(0, len(data), width):
        yield data[at : at + width].hex()


def _conversation() -> list[tuple[bool, dict[str, object]]]:
    """Whether it goes to the server, and the message: a real session, with time and chance written out."""
    ring = KeyRing([(0, bytes(32))])
    limits = SessionLimits()
    epoch_ms = 1_767_225_600_000
    said: list[tuple[bool, dict[str, object]]] = []
    hello = Hello(v=1, node="node-1", hb_ms=10_000, limits={"frame_bytes": 65_536, "keys_ms": 250})
    said.append((False, hello.to_wire()))
    said.append((True, {"t": Auth.T}))
    said.append((False, Ready(user=-42, guest=True, token="an opaque string").to_wire()))
    start = Start(mode="text", ref=1, text="to be")
    said.append((True, {"t": Start.T, "ref": 1, "mode": "text", "text": "to be"}))
    options = start.choose(limits)
    assert not hasattr(options, "code")
    material = at_once(practising("to be", timed=False, language="en", direction="ltr", limits=limits))
    session = TypingSession.begin(
        options,
        material,
        session=bytes.fromhex("019b76da900071238000000000000001"),
        user=-42,
        seed=7,
        ref=1,
        ring=ring,
        limits=limits,
        now_ms=0,
        epoch_ms=epoch_ms,
    )
    said.append((False, session.started(material).to_wire()))
    for n, events, holds, now_ms in (
        (0, [812, "t", 140, "o"], None, 1_000.0),
        (2, [131, " ", 188, "n", 240, "\b"], [0, 81, 1, 77], 1_600.0),
    ):
        said.append((True, {"t": Keys.T, "n": n, "e": events} | ({"h": holds} if holds else {})))
        assert session.keys(n, events, holds, now_ms=now_ms) is None
    tick = session.tick(now_ms=1_700.0)
    assert tick is not None
    said.append((False, tick))
    said.append((True, {"t": Keys.T, "n": 5, "e": [205, "b", 122, "e"]}))
    assert session.keys(5, [205, "b", 122, "e"], None, now_ms=2_100.0) is None
    said.append((True, {"t": Finish.T, "n": 7}))
    result = session.settle(node="node-1")
    said.append((False, result.to_wire(ref=1)))
    said.append((False, Stored(session=result.session, verdict=result.verdict).to_wire()))
    return said


SECTIONS = {
    "client messages": client_messages,
    "server messages": server_messages,
    "errors": errors,
    "close codes": close_codes,
    "states": states,
    "races": races,
    "limits": limits,
    "layouts": layouts,
    "watch example": watch_example,
    "example": example,
}


def main(arguments: Sequence[str]) -> int:
    """Write or check the file; the exit status."""
    written = PROTOCOL.read_text(encoding="utf-8")
    printed = render(written)
    if arguments == ["--check"]:
        return int(written != printed)
    PROTOCOL.write_text(printed, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
