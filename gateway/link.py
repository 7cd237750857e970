"""The link to one client: what goes over it, how much may come, and how it ends. It knows no test.

What takes long (a long text, a look into the store) runs in slices or in a task of the hub's, and the wire is held
meanwhile: a client's messages are taken one at a time, in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from gateway.codec import Codec
from gateway.costs import RARE_COST
from gateway.said import Said
from gateway.wire import Peer, WebSocketWire
from session.messages import CloseCode, Error, ServerMessage

if TYPE_CHECKING:
    from gateway.hub import Hub

__all__ = ["ALIVE", "Link"]

ALIVE: Final = b"alive"
"""What pings say that only ask whether the client is there."""

_REASON_BYTES: Final = 123  # RFC 6455 §5.5: a control frame's payload is 125 bytes at most, the code takes two

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class _OfEachFrame(Peer):
    """What each frame looks at, side by side: see `session.typed`. Some of it is the connection's, built on this."""

    __slots__ = (
        "_allowance",
        "_codec",
        "_counts",
        "_hub",
        "_keys_of",
        "_session",
    )


class Link(_OfEachFrame):
    """The application's end of one WebSocket, as far as it is the same whatever is said over it."""

    __slots__ = ("_ping_ms", "_pinged_ms", "_silent_s", "_wire", "_working")

    def __init__(self, hub: Hub, codec: Codec) -> None:
        self._hub = hub
        self._counts = hub.counts
        self._codec = codec
        self._wire: WebSocketWire | None = None
        """None before `opened` and after `closed`."""
        self._working = 0
        """Jobs and tasks of this connection under way: one, or a task and the job that it began. The wire is held."""
        self._allowance: float = hub.options.burst_bytes
        self._silent_s = 0
        self._pinged_ms: float | None = None
        self._ping_ms = 0.0

    @property
    def address(self) -> str:
        """The client's, behind trusted proxies the one they tell; empty once it is gone."""
        return "" if self._wire is None else self._wire.peer_address

    @property
    def alive(self) -> bool:
        """Whether the client is still there."""
        return self._wire is not None

    @property
    def ping_ms(self) -> float:
        """The latest ping time; 0 before the first."""
        return self._ping_ms

    # --- what comes ---

    def rare(self) -> None:
        """Pings and fragments count too."""
        self.spend(RARE_COST)

    def spend(self, cost: int) -> bool:
        """Take from the allowance; who is beyond it is closed (then False), and comes back more slowly."""
        self._allowance -= cost
        if self._allowance < 0:
            self.close(CloseCode.RATE, "more bytes than one client may send; slow down")
            return False
        return True

    def doubt(self) -> None:
        """Ask whether the client is there; where it says nothing for 2 to 3 seconds now, it is not."""
        enough_s = int(2 * self._hub.options.heartbeat_s) - 2
        if self._wire is not None and not self._working and self._silent_s < enough_s:  # else it is not read, or asked
            self._silent_s = enough_s
            self._wire.heard = False
            self._pinged_ms = self._hub.clock() * 1000
            self._wire.ping(ALIVE)

    # --- what goes ---

    def say(self, message: ServerMessage) -> None:
        """Send an answer."""
        self._send(message.to_wire())

    def refuse(self, error: Error) -> None:
        """Tell the client, perhaps later than it asked, that it does not get what it asked for."""
        self._hub.metrics.error(error.code)
        self._send(error.to_wire())

    def hear(self, said: Said, more: dict[str, Any] | None = None) -> bool:
        """Send what many are told, and `more` that only this one is; False where the client does not read just now."""
        wire = self._wire
        if wire is None or not wire.writable:
            return False
        if more is not None:
            self._send_payload(said.extended(self._codec, more))
            return True
        frame, size = said.frame(self._codec)
        counts = self._counts
        counts.frames_out += 1
        counts.bytes_out += size
        wire.send_frame(frame)
        return True

    def notify(self, event: dict[str, Any]) -> None:
        """Send a message that nobody waits for, where the client reads what it is sent."""
        if self._wire is not None and self._wire.writable:
            self._send(event)

    def _send(self, message: dict[str, Any]) -> None:
        self._send_payload(self._codec.encode(message))

    def _send_payload(self, payload: bytes) -> None:
        if self._wire is not None:
            counts = self._counts
            counts.frames_out += 1
            counts.bytes_out += len(payload)
            self._wire.send(payload, self._codec.binary)

    # --- the end ---

    def crowd_out(self, why: str) -> None:
        """There are too many connections like this one: close; the client comes back more slowly."""
        self.close(CloseCode.RATE, why)

    def ban(self, told: str) -> None:
        """Who is here may not be: say until when and why, and close."""
        self.close(CloseCode.BANNED, told)

    def close(self, code: CloseCode, detail: str) -> None:
        """Close, and say why."""
        if self._wire is not None:
            reason = f"{code.reason}: {detail}".encode()[:_REASON_BYTES].decode(errors="ignore")
            self._wire.close(code, reason)
            self._parting()

    # --- work that takes long ---

    def work(self, job: Generator[None, None, T], done: Callable[[T], None]) -> None:
        """Run a job in slices; the wire is held until it is done."""
        self._working += 1
        if not self._hub.slices.run(job, partial(self._worked, done), self._broken) and self._wire is not None:
            self._wire.hold()

    def _worked(self, done: Callable[[T], None], value: T) -> None:
        self._working -= 1
        if self._wire is None:
            return
        try:
            done(value)
        except Exception as exc:  # else the wire would be held for ever
            self._failed(exc)
        self._release_wire()

    def _broken(self, exc: Exception) -> None:
        self._working -= 1
        self._failed(exc)

    def wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine as a task of the hub's; the wire is held until it, and a job that it begins, has ended."""
        self._working += 1
        if self._wire is not None:
            self._wire.hold()
        self._hub.spawn(self._waited(work))

    async def _waited(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as exc:  # the edge of a task: what it raises is logged once, and this client comes back
            self._failed(exc)
        self._working -= 1
        self._release_wire()

    def _failed(self, exc: Exception) -> None:
        _log.error("a connection's work failed", session=self._typing(), exc_info=exc)
        self.close(CloseCode.INTERNAL, "a fault of ours")

    def _release_wire(self) -> None:
        if self._wire is not None and not self._working:
            self._wire.release()

    # --- what is built on it ---

    def _parting(self) -> None:
        """It is being closed from here."""

    def _typing(self) -> str | None:
        """What its log lines name: the id of the test that is typed."""
        return None
