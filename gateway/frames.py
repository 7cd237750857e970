"""Frames of RFC 6455 that are not common, read by the library's Sans-I/O parser; and the heads of our own.

The library's parser is made when such a frame comes and kept only while a message of fragments is under way. It never
gets a part of a frame, except for a head that is an error by itself and ends the connection: what it would do with the
rest could not be told from outside, and its caller would be out of step with it.
"""

from __future__ import annotations

import codecs
import logging
import struct
from dataclasses import dataclass

from websockets.frames import Close, Frame, Opcode
from websockets.protocol import Protocol, Side, State

__all__ = [
    "BINARY_HEADS",
    "TEXT_HEADS",
    "Outcome",
    "RareFrames",
    "close_frame",
    "data_frame",
    "head_16",
    "head_64",
    "is_utf8",
]

INVALID_DATA = 1007
"""Close code: text that is not UTF-8 (RFC 6455 7.4.1)."""

NOT_UTF8 = "text is not UTF-8"

BINARY_HEADS = [bytes((0x82, length)) for length in range(126)]
TEXT_HEADS = [bytes((0x81, length)) for length in range(126)]
"""Heads of our whole messages, by their length."""

head_16 = struct.Struct("!BBH").pack
"""(first byte, 126, length): the head of a message of 126 to 65,535 bytes."""

head_64 = struct.Struct("!BBQ").pack
"""(first byte, 127, length): the head of a longer one."""

_OPCODES = frozenset(Opcode)
_CONTROL = 0x08  # set in the opcodes of control frames (RFC 6455 5.5)
_Utf8Decoder = codecs.getincrementaldecoder("utf-8")

_log = logging.getLogger(__name__)
_log.setLevel(logging.WARNING)  # below, the library logs every frame: what people type is not for logs


@dataclass(slots=True)
class Outcome:
    """What one frame leads to."""

    message: tuple[bytes, bool] | None = None
    """A whole message, and whether it is binary."""
    pong: bytes | None = None
    """The payload of a pong."""
    reply: bytes = b""
    """A frame to send: a pong, or where the connection ends our close frame, if that is still to be sent."""
    end: tuple[int, str] | None = None
    """The connection ends: code and reason of the client's close frame, or of ours where the client broke a rule."""


class RareFrames:
    """Takes frames of any kind, each whole, and puts fragments together."""

    __slots__ = ("_decoder", "_message", "_message_bytes", "_parser")

    def __init__(self, *, message_bytes: int) -> None:
        self._message_bytes = message_bytes
        self._parser: Protocol | None = None  # which knows of the message under way
        self._message = bytearray()  # its payloads so far
        self._decoder: codecs.IncrementalDecoder | None = None  # its own where it is text

    @property
    def amid_message(self) -> bool:
        """Whether a message of fragments is under way."""
        return self._parser is not None

    @property
    def waiting_bytes(self) -> int:
        """Payload of that message so far."""
        return len(self._message)

    def length_at(self, data: bytes, position: int) -> int:
        """How many bytes from `position` on are to be there before `take` may have them; at least 2.

        The frame's length, or that of its head where this alone is an error; or how much of the head has to be there
        to tell.
        """
        available = len(data) - position
        if available < 2:
            return 2
        first, second = data[position], data[position + 1]
        if not second & 0x80 or first & 0x0F not in _OPCODES:
            return 2  # not masked, or no opcode
        head = 2
        length = second & 0x7F
        if length > 125:
            head = 4 if length == 126 else 10
            if available < head:
                return head
            length = int.from_bytes(data[position + 2 : position + head], "big")
        so_far = 0 if first & _CONTROL else len(self._message)
        if so_far + length > self._message_bytes:
            return head  # too long
        return head + 4 + length

    def take(self, frame: bytes, *, close_sent: tuple[int, str] | None) -> Outcome:
        """Read one frame of the length that `length_at` told; `close_sent`: our close frame, where one was sent.

        Control frames may come amidst a message of fragments (RFC 6455 5.4) and are no part of it. The library counts
        them in its size, and calls a close there an error: so the parser that knows of the message never sees them.
        """
        control = frame[0] & _CONTROL
        parser = None if control else self._parser
        if parser is None:
            parser = Protocol(Side.SERVER, max_size=self._message_bytes, logger=_log)
        if close_sent is not None and parser.close_sent is None:
            parser.state = State.CLOSING
            parser.close_sent = Close(*close_sent)
        parser.receive_data(frame)
        outcome = Outcome(reply=b"".join(parser.data_to_send()))
        if parser.eof_sent:
            # a close frame of the client's, answered; or an error, with our close frame if none was sent before
            close = parser.close_sent if parser.parser_exc is not None else parser.close_rcvd
            assert close is not None
            outcome.end = (close.code, close.reason)
        else:
            for event in parser.events_received():
                assert isinstance(event, Frame)
                if event.opcode is Opcode.PONG:
                    outcome.pong = bytes(event.data)
                elif event.opcode is not Opcode.PING:
                    self._take_data(event, outcome, closing=close_sent is not None)
        if control or outcome.end is not None or parser.current_size is None:
            _dismiss(parser)
        if not control:
            self._parser = parser if parser.current_size is not None and outcome.end is None else None
        return outcome

    def dismiss(self) -> None:
        """The connection is over."""
        if self._parser is not None:
            _dismiss(self._parser)
            self._parser = None

    def _take_data(self, frame: Frame, outcome: Outcome, *, closing: bool) -> None:
        if frame.opcode is not Opcode.CONT:
            self._decoder = _Utf8Decoder() if frame.opcode is Opcode.TEXT else None
        if self._decoder is not None:
            try:
                self._decoder.decode(bytes(frame.data), frame.fin)
            except UnicodeDecodeError:
                outcome.end = (INVALID_DATA, NOT_UTF8)
                outcome.reply = b"" if closing else close_frame(*outcome.end)[0]
                return
        self._message += frame.data
        if frame.fin:
            outcome.message = (bytes(self._message), self._decoder is None)
            self._message.clear()


def data_frame(payload: bytes, binary: bool) -> bytes:
    """One whole data message of ours."""
    length = len(payload)
    if length < 126:
        return (BINARY_HEADS if binary else TEXT_HEADS)[length] + payload
    if length < 65_536:
        return head_16(0x82 if binary else 0x81, 126, length) + payload
    return head_64(0x82 if binary else 0x81, 127, length) + payload


def close_frame(code: int, reason: str) -> tuple[bytes, str]:
    """A close frame, and as much of the reason as fits in it (123 bytes)."""
    reason = reason.encode()[:123].decode(errors="ignore")
    payload = Close(code, reason).serialize()
    return bytes((0x88, len(payload))) + payload, reason


def is_utf8(payload: bytes) -> bool:
    """Whether `payload` is valid UTF-8."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _dismiss(parser: Protocol) -> None:
    """Let go of a parser at once: it, its generator and an error's traceback refer to each other.

    Left to the garbage collector, which the server has come seldom, they would pile up.
    """
    parser.parser.close()
    parser.parser_exc = None
