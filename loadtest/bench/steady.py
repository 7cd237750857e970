"""Typists at exactly four frames a second, whoever the server is: what the scored rows of the paced load are made of.

A frame is a `keys` message of `typegate.v1.msgpack` as the page sends it: its keys, and the holds of the frame before.
The keys are a typist's on common words, with errors and corrections; how many a frame has is the *rhythm*:

- *two keys*: always two, which is 8 keys/s, or 82 words a minute for a typist of the model;
- *the model's mix*: as many as the page sends of a typist of the model's mean speed, 5.0 keys/s: a frame at the first
  key, the next one 230 ms later at the earliest. That is 3.9 frames a second, of 1.27 keys; here they come evenly;
- *one key*: always one.

A server is asked in one of two ways. *The protocol*: `auth`, `start`, `started` with the text; Typegate and the
comparison on `websockets` speak it. *Plain frames*: the first message is the text, all others are frames of keys; so
the servers in other languages are spared all but the typing itself: decode, score each key, keep the history and the
holds, and tick once a second with the figures and as many bytes as a receipt has. They neither sign nor limit nor count
nor judge: what they take is the least that a gateway in their language would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from math import exp
from random import Random
from typing import Any

import msgpack

from loadtest.checking import words_of
from loadtest.crowd import Person
from loadtest.engine import Engine
from loadtest.frames import cut
from loadtest.line import BINARY, Address, Line, client_frame
from loadtest.typist import WPM_MU, WPM_SIGMA, Typed, Typist
from persistence.catalogue.builtin import built_in_word_lists
from scoring.text import Word

__all__ = ["ONE_KEY", "PERIOD_MS", "TWO_KEYS", "Beat", "ProtocolTypist", "Rhythm", "SteadyTypist", "model_mix"]

PERIOD_MS = 250.0
MEAN_WPM = exp(WPM_MU + WPM_SIGMA**2 / 2)
"""The model's mean speed across people."""

PEOPLE = 200
"""Different rhythms of holds, and texts of the plain frames."""

_PAGE_FLUSH_MS = 230
_TEST_S = 120
_TYPED_MS = 120_000  # at the mean typist's pace; at eight keys a second it lasts for over a minute
_pack = msgpack.Packer(autoreset=True).pack


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How many keys the frames have, and when within their 250 ms."""

    name: str
    frames: Sequence[tuple[int, ...]]
    """For each frame the gaps before its keys, which sum up to 250 ms."""

    @property
    def keys_a_frame(self) -> float:
        """The mean."""
        return sum(map(len, self.frames)) / len(self.frames)


@cache
def _person(number: int) -> Person:
    """Somebody with the model's mean speed."""
    typist = Typist(number)
    typist.wpm = MEAN_WPM
    return Person(typist)


def _model_frames() -> list[tuple[int, ...]]:
    """Frames as the page makes them of such typists."""
    frames: list[tuple[int, ...]] = []
    for number in range(50):
        typed = _person(number).type(_english(), chance=Random(number), limit_ms=60_000)
        times = list(accumulate(typed.gaps))
        start = sent = 0
        for stop in cut(times, _PAGE_FLUSH_MS)[0]:
            frames.append(_stretched(times[start:stop], sent))
            start, sent = stop, times[stop - 1]
    return frames


def _stretched(times: Sequence[int], since: int) -> tuple[int, ...]:
    """Gaps in the same proportions that sum up to a period."""
    scale = PERIOD_MS / max(1, times[-1] - since)
    placed = [round((at - since) * scale) for at in times[:-1]]
    return tuple(late - early for early, late in zip([0, *placed], [*placed, int(PERIOD_MS)], strict=True))


@cache
def _english() -> tuple[str, ...]:
    words = next(words.words for words in built_in_word_lists() if words.language == "en")
    return tuple(f"{word} " for word in Random("text").choices(words, k=800))


TWO_KEYS = Rhythm("two keys a frame", [(125, 125)])
ONE_KEY = Rhythm("one key a frame", [(250,)])


@cache
def model_mix() -> Rhythm:
    """The rhythm of the model's mean typist."""
    return Rhythm("the model's mix of keys", _model_frames())


@dataclass(slots=True)
class Beat:
    """What all typists of a run share: the present rhythm, and what they did."""

    rhythm: Rhythm = TWO_KEYS
    playing: bool = False
    """Whether they type: not before all are there, or the first would be at their text's end where many come slowly."""
    begun: int = 0
    """Typists whose test is under way, or who came to nothing."""
    frames: int = 0
    keys: int = 0
    ticks: int = 0


class SteadyTypist(Line):
    """One connection that types plain frames."""

    __slots__ = (
        "_beat",
        "_frame",
        "_last_keys",
        "_next_ms",
        "_ready",
        "_typed",
        "acknowledged",
        "fault",
        "n",
    )

    def __init__(self, engine: Engine, number: int, beat: Beat) -> None:
        super().__init__(engine, number)
        self._beat = beat
        self._frame = number * 7919
        self._next_ms = 0.0
        self._typed: Typed | None = None
        self._last_keys = 0
        self._ready: list[tuple[bytes, int]] = []  # the next frames with their numbers of keys, the last one first
        self.n = 0
        """Keys sent."""
        self.acknowledged = 0
        """Keys that the last tick told of."""
        self.fault: str | None = None
        """Why it does not type."""

    @property
    def typing(self) -> bool:
        """Whether its test is under way."""
        return self._typed is not None and self.connected

    def begin(self, address: Address) -> None:
        """Connect, and type."""
        self.connect(address, None)

    def start(self) -> None:
        """Begin to type, at a phase of its own."""
        self._next_ms = self._engine.now_ms + 100 + self._number * 7.919 % PERIOD_MS
        self.wake_at(self._next_ms)

    def wake(self, now_ms: float) -> None:
        """Send the next frame; what was missed is left out, so that each keeps its place in the second."""
        if self._beat.playing:
            self._send_keys()
            self._next_ms += PERIOD_MS
            while self._next_ms < now_ms:
                self._next_ms += PERIOD_MS
            self.wake_at(self._next_ms)

    def opened(self) -> None:
        """Send the text, and begin."""
        text = _english()
        self.send(BINARY, "".join(text).encode())
        self._type(text)

    def message(self, payload: memoryview | bytes, binary: bool) -> None:
        """A tick."""
        try:
            self._heed(msgpack.unpackb(payload))
        except ValueError:
            self.fault = f"{bytes(payload)!r:.80} is no message"

    def lost(self, code: int, reason: str) -> None:
        """Nobody should hang up on a typist."""
        self.fault = " ".join(f"closed {code} {reason}".split())
        if self._typed is None:
            self._beat.begun += 1

    def _heed(self, message: dict[str, Any]) -> None:
        if message["t"] == "tick":
            self._beat.ticks += 1
            self.acknowledged = message["n"]
        else:
            self.fault = repr(message)[:200]

    def _type(self, words: Sequence[Word]) -> None:
        """Have something to type."""
        self._typed = _person(self._number % PEOPLE).type(words, chance=Random(self._number), limit_ms=_TYPED_MS)
        self._beat.begun += 1

    def prepare(self, frames: int) -> None:
        """Make the next so many frames now, by the present rhythm: sending one is all that is left to do then."""
        typed = self._typed
        assert typed is not None, "it has no text"
        n, told = self.n, self._last_keys
        rhythm = self._beat.rhythm.frames
        ready: list[tuple[bytes, int]] = []
        for number in range(self._frame, self._frame + frames):
            gaps = rhythm[number % len(rhythm)]
            events: list[int | str] = []
            for gap, key in zip(gaps, typed.keys[n : n + len(gaps)], strict=False):
                events.append(gap)
                events.append(key)
            if len(events) < 2 * len(gaps):
                break  # the end of the text
            message: dict[str, Any] = {"t": "keys", "n": n, "e": events}
            if n:
                message["h"] = typed.held(n - told, n)
            ready.append((client_frame(BINARY, _pack(message), n), len(gaps)))
            told = len(gaps)
            n += told
        ready.reverse()
        self._ready = ready

    def _send_keys(self) -> None:
        if not self._ready:
            self.prepare(8)
            if not self._ready:
                self.fault = "its text is typed to the end"
                return
        frame, keys = self._ready.pop()
        self._write(frame)
        self._frame += 1
        self._last_keys = keys
        self.n += keys
        beat = self._beat
        beat.frames += 1
        beat.keys += keys


class ProtocolTypist(SteadyTypist):
    """One connection that speaks `typegate.v1.msgpack`."""

    __slots__ = ()

    def opened(self) -> None:
        """Say who this is."""
        self.send(BINARY, _pack({"t": "auth"}))

    def begin(self, address: Address) -> None:
        """Connect, and start a test."""
        self.connect(address, "typegate.v1.msgpack")

    def _heed(self, message: dict[str, Any]) -> None:
        match message["t"]:
            case "ready":
                self.send(BINARY, _pack({"t": "start", "ref": 1, "mode": "time", "seconds": _TEST_S}))
            case "started":
                self._type(words_of(message))
            case "hello" | "hb":
                pass
            case _:
                super()._heed(message)
