"""A typist on a blocking connection: what locust's users are made of, one green thread each.

It keeps to the protocol as `client` does, by the library's connection instead of our own: dear for a swarm, but it can
go wherever threads or green threads go, and what it measures has nothing of ours below it but the server. Whatever took
time is told to `record`, in ms; whatever was wrong with it is an exception there, and `type_test` goes on.

    with BlockingTypist(("127.0.0.1", 8080), plan, record=print) as typist:
        typist.type_test(0)
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from math import inf
from random import Random
from types import TracebackType
from typing import Any, Self

import msgpack
import orjson
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from loadtest.checking import differences, expected, words_of
from loadtest.client import NOT_RESUMABLE, Plan
from loadtest.frames import Frames
from loadtest.line import Address, loopback
from scoring.text import Word

__all__ = ["BlockingTypist", "Failed", "Record", "Unreachable"]

Record = Callable[[str, float, Exception | None], object]
"""Takes what it was (`ready`, `start`, `key to tick`, `finish to accepted`, ...), ms, and what was wrong with it."""

_FLUSH_MS = 230.0
_ANSWER_S = 30.0
"""How long an answer may take."""
_TRIES = 8
_BACK_OFF_S = (0.5, 20.0)
_MOST_LOSSES = 20  # of the connection, in one test
_RESEND_EVENTS = 2_000


class Failed(Exception):
    """An answer that is wrong, or does not come."""


class Unreachable(Exception):
    """The server is not there, or not any more."""


class _Gone(Exception):
    """The connection is lost, and the test can be resumed."""


@dataclass(slots=True)
class _Test:
    """The test under way."""

    started: dict[str, Any]
    words: tuple[Word, ...]
    frames: Frames
    first_s: float
    """When its first key is due."""
    end_s: float
    """When it ends by the clock, infinite where it ends with its text."""
    typed: int = 0
    """Frames that were due."""
    acknowledged: int = 0
    receipt: bytes | str | None = None
    finished_s: float | None = None
    result: dict[str, Any] | None = None
    stored: bool = False

    @property
    def n(self) -> int:
        """Events of the frames that were due."""
        return self.frames.stops[self.typed - 1] if self.typed else 0

    def due_s(self) -> float:
        """When the next frame goes, or the test ends; infinite once `finish` is sent."""
        if self.typed < len(self.frames):
            return self.first_s + self.frames.dues[self.typed] / 1000
        if self.finished_s is not None:
            return inf
        return self.end_s if self.end_s < inf else 0.0


class BlockingTypist:
    """One typist with one connection, opened on entering. Raises ValueError for an address beyond this machine."""

    def __init__(
        self, address: Address, plan: Plan, *, record: Record, binary: bool = True, check: bool = True, seed: int = 0
    ) -> None:
        if not loopback(address[0]):
            raise ValueError(f"{address[0]} is not in 127.0.0.0/8: load is only ever put on this machine")
        self.sessions: list[str] = []
        """Ids of the sessions that were `stored`."""
        self._url = f"ws://{address[0]}:{address[1]}/ws"
        self._plan = plan
        self._record = record
        self._binary = binary
        self._check = check
        self._chance = Random(f"blocking {seed}")
        self._token: str | None = None
        self._ref = 0
        self._stack = ExitStack()
        self._connection: ClientConnection | None = None

    def __enter__(self) -> Self:
        try:
            self._connect()
        except (OSError, InvalidHandshake, Failed, _Gone) as fault:
            self._stack.close()
            raise Unreachable(f"no connection: {fault}") from fault
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # --- a test ---

    def type_test(self, number: int) -> bool:
        """Type the plan's test of this number until it is stored; False where there is none.

        What goes wrong is recorded. Raises Unreachable where the server cannot be reached any more.
        """
        wanted = self._plan.choose(number)
        if wanted is None:
            return False
        test: _Test | None = None
        lost = False
        for _ in range(_MOST_LOSSES):
            try:
                if lost:
                    self._come_back(test)
                    lost = False
                if test is None:
                    test = self._start(number, wanted)
                self._type(test)
                return True
            except _Gone:
                lost = True
            except Failed as fault:
                self._record("test", 0.0, fault)
                self._reconnect()  # what is left of it is none of the next test's business
                return True
        self._record("test", 0.0, Failed(f"the connection was lost {_MOST_LOSSES} times"))
        self._reconnect()
        return True

    def _start(self, number: int, wanted: dict[str, Any]) -> _Test:
        while True:
            self._ref += 1
            asked = time.monotonic()
            self._say({"t": "start", "ref": self._ref, **wanted})
            message = self._answer("started", "error")
            if message["t"] == "started":
                break
            if message.get("retry") is None:
                raise Failed(f"start: {message['code']}: {message['message']}")
            time.sleep(message["retry"] / 1000)
        now = time.monotonic()
        self._record("start", 1000 * (now - asked), None)
        seconds = message.get("seconds")
        words = words_of(message) if message["text"] else ()
        typed = self._plan.type(words, test=number, limit_ms=None if seconds is None else seconds * 1000)
        if not len(typed):
            raise Failed("there is nothing to type")
        first_s = now + typed.gaps[0] / 1000
        return _Test(message, words, Frames(typed, _FLUSH_MS), first_s, inf if seconds is None else first_s + seconds)

    def _type(self, test: _Test) -> None:
        """Type until the test is stored."""
        frames = test.frames
        while not test.stored:
            due_s = test.due_s()
            if time.monotonic() < due_s:
                until = time.monotonic() + _ANSWER_S if due_s == inf else due_s
                if (message := self._receive(until)) is not None:
                    self._heed(test, message)
                elif due_s == inf:
                    raise Failed(f"no {'result' if test.result is None else 'stored'} within {_ANSWER_S:g} s")
            elif test.typed < len(frames):
                test.typed += 1
                self._say(frames.message(test.typed - 1, holds=True))
            else:
                test.finished_s = time.monotonic()
                self._say({"t": "finish", "n": test.n})

    def _heed(self, test: _Test, message: dict[str, Any]) -> None:
        now = time.monotonic()
        waited = 0.0 if test.finished_s is None else 1000 * (now - test.finished_s)
        session = test.started["session"]
        match message["t"]:
            case "tick":
                test.receipt = message["r"]
                if message["n"] > test.acknowledged:
                    typed_s = test.first_s + test.frames.times[test.acknowledged] / 1000
                    self._record("key to tick", 1000 * (now - typed_s), None)
                    test.acknowledged = message["n"]
            case "result" if message["session"] == session and test.result is None:
                test.result = message
                self._record("finish to accepted", waited, self._wrong(test, message) if self._check else None)
            case "stored" if message["session"] == session:
                test.stored = True
                self.sessions.append(session)
                self._record("finish to stored", waited, None if test.result else Failed("stored without a result"))
            case "error" if message.get("ref") in (None, self._ref):
                self._error(test, message)
            case "reconnect":
                raise _Gone
            case _:
                pass

    def _error(self, test: _Test, message: dict[str, Any]) -> None:
        if message["code"] == "gap":
            self._resend(test, message["expected"])
        elif message.get("retry") is not None and test.finished_s is not None:
            test.end_s = time.monotonic() + message["retry"] / 1000
            test.finished_s = None  # `finish` again then
        else:
            raise Failed(f"{message['code']}: {message['message']}")

    def _wrong(self, test: _Test, result: dict[str, Any]) -> Failed | None:
        """What this result says otherwise than the log does."""
        wrong = differences(result, expected(test.started, test.words, test.frames.typed.events(0, test.n)))
        return Failed("; ".join(wrong)) if wrong else None

    # --- coming back ---

    def _come_back(self, test: _Test | None) -> None:
        """Connect again; a test under way is resumed, and was typed on meanwhile."""
        lost = time.monotonic()
        self._reconnect()
        if test is None:
            return
        while test.typed < len(test.frames) and test.due_s() <= time.monotonic():
            test.typed += 1
        self._ref += 1
        wanted = {
            "t": "resume",
            "session": test.started["session"],
            "ticket": test.started["ticket"],
            "n": test.n,
            "ref": self._ref,
        }
        if test.receipt is not None:
            wanted["receipt"] = test.receipt
        if test.started["mode"] == "text":
            wanted["text"] = test.started["text"].rstrip(" ")
        self._say(wanted)
        message = self._answer("resumed", "result", "stored", "error")
        self._record("lost to resumed", 1000 * (time.monotonic() - lost), None)
        if message["t"] != "resumed":
            self._heed(test, message)
            return
        test.acknowledged = test.n  # how long these keys waited says nothing of the server
        self._resend(test, message["n"])
        if test.finished_s is not None and test.result is None:
            self._say({"t": "finish", "n": test.n})

    def _resend(self, test: _Test, n: int) -> None:
        """Send again what is typed, from event `n` on."""
        typed, stops = test.frames.typed, test.frames.stops
        before = bisect_left(stops, n)
        told = stops[before - 1] if before else 0
        tell = test.n if test.typed == len(stops) else stops[test.typed - 2] if test.typed > 1 else 0
        while n < test.n:
            until = min(test.n, n + _RESEND_EVENTS)
            message: dict[str, Any] = {"t": "keys", "n": n, "e": typed.events(n, until)}
            if told < min(until, tell):
                message["h"] = typed.held(told, min(until, tell))
                told = min(until, tell)
            n = until
            self._say(message)

    def _reconnect(self) -> None:
        """Raises Unreachable where that does not succeed after some tries."""
        first, most = _BACK_OFF_S
        fault: Exception | None = None
        for attempt in range(_TRIES):
            self._stack.close()
            time.sleep(self._chance.random() * min(most, first * 2**attempt))  # full jitter
            try:
                self._connect()
                return
            except (OSError, InvalidHandshake, Failed, _Gone) as failed:
                fault = failed
        raise Unreachable(f"not reached again: {fault}")

    def _connect(self) -> None:
        begun = time.monotonic()
        name = "typegate.v1.msgpack" if self._binary else "typegate.v1.json"
        self._connection = self._stack.enter_context(
            connect(self._url, subprotocols=[Subprotocol(name)], compression=None, ping_interval=None)
        )
        self._say({"t": "auth"} if self._token is None else {"t": "auth", "token": self._token})
        self._token = self._answer("ready").get("token", self._token)
        self._record("ready", 1000 * (time.monotonic() - begun), None)

    # --- the connection ---

    def _say(self, message: dict[str, Any]) -> None:
        assert self._connection is not None
        try:
            if self._binary:
                self._connection.send(msgpack.packb(message))
            else:
                self._connection.send(orjson.dumps(message).decode())
        except ConnectionClosed as closed:
            raise self._lost(closed) from None

    def _receive(self, until_s: float) -> dict[str, Any] | None:
        """The next message, or None where none comes until then."""
        assert self._connection is not None
        try:
            data = self._connection.recv(timeout=max(0.0, until_s - time.monotonic()))
        except TimeoutError:
            return None
        except ConnectionClosed as closed:
            raise self._lost(closed) from None
        message: dict[str, Any] = msgpack.unpackb(data) if isinstance(data, bytes) else orjson.loads(data)
        return message

    def _answer(self, *kinds: str) -> dict[str, Any]:
        """The next message of one of these kinds. Raises Failed where none comes."""
        until = time.monotonic() + _ANSWER_S
        while (message := self._receive(until)) is not None:
            if message["t"] in kinds and message.get("ref") in (None, self._ref):
                return message
            if message["t"] == "reconnect":
                raise _Gone
        raise Failed(f"no {' or '.join(kinds)} within {_ANSWER_S:g} s")

    def _lost(self, closed: ConnectionClosed) -> Exception:
        code = 1006 if closed.rcvd is None else closed.rcvd.code
        reason = "" if closed.rcvd is None else closed.rcvd.reason
        if code in NOT_RESUMABLE:
            return Failed(f"closed with {code} {reason}")
        return _Gone(f"{code} {reason}")
