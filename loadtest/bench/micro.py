"""(f) In this process, without sockets: what a keystroke costs the scorer, and a frame the session, codec and wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random
from time import process_time
from typing import Any

from config.edge import WireOptions
from gateway.codec import JSON, MSGPACK
from gateway.deadlines import Deadlines
from gateway.limits import Door
from gateway.wire import Peer, WebSocketWire, Wires
from loadtest.bench.rounds import Bench, Part
from loadtest.crowd import Crowd
from loadtest.line import BINARY, client_frame
from persistence.catalogue.builtin import built_in_word_lists
from scoring.scorer import Scorer
from scoring.slices import at_once
from session.machine import TypingSession
from session.options import SessionLimits, TestOptions
from session.passages import Material, Vocabulary, generating
from session.receipt import KeyRing

__all__ = ["micro"]

SESSIONS = 200
SECONDS = 60
_RING = KeyRing([(1, bytes(range(32)))])
_LIMITS = SessionLimits()
_OPTIONS = TestOptions(mode="time", seconds=SECONDS, language="en")


def _material(vocabulary: Vocabulary, seed: int) -> Material:
    return at_once(generating(vocabulary, _OPTIONS, seed=seed))


def _session(material: Material, number: int) -> TypingSession:
    return TypingSession.begin(
        _OPTIONS,
        material,
        session=number.to_bytes(16, "big"),
        user=-1 - number,
        seed=number,
        ref=1,
        ring=_RING,
        limits=_LIMITS,
        now_ms=0.0,
        epoch_ms=1_800_000_000_000,
    )


def _best(work: Callable[[], int], rounds: int) -> float:
    """CPU µs for each of the things that `work` does (it says how many), the least of the rounds."""
    least = float("inf")
    for _ in range(rounds):
        begun = process_time()
        count = work()
        least = min(least, (process_time() - begun) / count)
    return 1e6 * least


class _Take(Peer):
    """Takes frames, and nothing else."""

    def frame(self, payload: bytes, binary: bool) -> None:
        """One more."""


def _wire_us(frames: list[bytes], rounds: int) -> float:
    loop = asyncio.new_event_loop()
    try:
        wires = Wires(
            WireOptions(),
            loop=loop,
            deadlines=Deadlines(period_s=1, now_s=0),
            door=Door(limit=1),
            gone=lambda: None,
        )
        wire = WebSocketWire(wires, _Take(), subprotocol=None, peer_address="127.0.0.1", door_key=None)

        def feed() -> int:
            take = wire.data_received
            for frame in frames:
                take(frame)
            return len(frames)

        return _best(feed, rounds)
    finally:
        loop.close()


def micro(bench: Bench) -> Part:
    """Least CPU time of several rounds, over logs of the typist model."""
    rounds = 3 if bench.quick else 9
    english = next(words for words in built_in_word_lists() if words.language == "en")
    vocabulary = Vocabulary(english.words, language="en", version=english.version, direction="ltr")
    crowd = Crowd(1, SESSIONS)
    materials = [_material(vocabulary, number) for number in range(SESSIONS)]
    logs = [
        crowd.person(number).type(materials[number].words, chance=Random(number), limit_ms=SECONDS * 1000)
        for number in range(SESSIONS)
    ]
    # as the page sends them: pairs of keys, the holds of the pair before
    messages: list[list[dict[str, Any]]] = [
        [
            {"t": "keys", "n": n, "e": log.events(n, n + 2), "h": log.held(max(0, n - 2), n)}
            for n in range(0, len(log) - 1, 2)
        ]
        for log in logs
    ]
    payloads = [MSGPACK.encode(message) for log in messages for message in log]
    texts = [JSON.encode(message) for log in messages for message in log]
    bench.progress(0.2, "in process")

    def score() -> int:
        for material, log in zip(materials, messages, strict=True):
            scorer = Scorer(material.words, limit_ms=SECONDS * 1000, cyclic=True)
            feed = scorer.feed
            for message in log:
                feed(message["e"])
        return 2 * len(payloads)

    def decode(codec: Any, frames: list[bytes]) -> int:
        for frame in frames:
            codec.decode(frame)
        return len(frames)

    def keep() -> int:
        for number, (material, log) in enumerate(zip(materials, messages, strict=True)):
            keys = _session(material, number).keys
            now_ms = 500.0
            for message in log:
                now_ms += 300
                keys(message["n"], message["e"], message["h"], now_ms=now_ms)
        return len(payloads)

    def tick(sessions: list[TypingSession]) -> int:
        for session, log in zip(sessions, messages, strict=True):
            message = log[0]
            session.keys(message["n"], message["e"], None, now_ms=500.0)
            if (made := session.tick(now_ms=600.0)) is not None:
                MSGPACK.encode(made)
        return len(sessions)

    def begin() -> int:
        for number in range(SESSIONS):
            _session(_material(vocabulary, number), number)
        return SESSIONS

    def settle() -> int:
        for number, (material, log) in enumerate(zip(materials, messages, strict=True)):
            session = _session(material, number)
            for message in log:
                session.keys(message["n"], message["e"], message["h"], now_ms=message["n"] * 200.0)
            session.finish(session.n, now_ms=1e6)
            ended.append(session)
        return SESSIONS

    ended: list[TypingSession] = []
    settle()

    def result() -> int:
        for session in ended:
            session.settle(node="bench").pack()
        return len(ended)

    figures = [
        ("scorer, a keystroke", "ns", 1000 * _best(score, rounds)),
        ("wire, a frame", "µs", _wire_us([client_frame(BINARY, payload) for payload in payloads], rounds)),
        ("msgpack, a frame decoded", "µs", _best(partial(decode, MSGPACK, payloads), rounds)),
        ("JSON, a frame decoded", "µs", _best(partial(decode, JSON, texts), rounds)),
        ("session.keys, a frame of two keys with holds", "µs", _best(keep, rounds)),
        (
            "first keys and a tick with its receipt, encoded",
            "µs",
            min(_best(partial(tick, [_session(m, n) for n, m in enumerate(materials)]), 1) for _ in range(rounds)),
        ),
        (f"a start: a text of {SECONDS} s made, session and ticket", "µs", _best(begin, rounds)),
        (f"a result: {SECONDS} s settled, judged and packed", "µs", _best(result, rounds)),
    ]
    return Part(
        f"(f) In process: CPU time, least of {rounds} rounds over {SESSIONS} typists' logs",
        ("what", "unit", "time"),
        [[what, unit, round(value, 2)] for what, unit, value in figures],
        {what: {"unit": unit, "time": value} for what, unit, value in figures},
    )
