"""The wire against the library: the same bytes, cut anyhow, give the same messages, pongs and close codes.

The library's parser is the wire's own slow path, so this compares what is ours: the fast path, the buffering that
never hands over a partial frame, putting fragments together, and the ways in and out of the slow path.
"""

import asyncio
import codecs
import random
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from tests.gateway.edges import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Recorder,
    client_frame,
    close_payload,
    memory_wire,
    server_frames,
)

LIMIT = 2000  # bytes a message here: small, so that sizes around it come up often

Outcome = tuple[list[tuple[bytes, bool]], list[bytes], list[tuple[int, bytes]], int]
"""Messages delivered, pongs delivered, frames sent back (a close frame without its reason), the final code."""


class Reference(ServerProtocol):
    """The library, with what it leaves to its callers: messages of fragments, and UTF-8.

    One rule differs and is set right here: control frames amidst a fragmented message are no part of it (RFC 6455
    5.4); the library counts them in its size, and calls a close there an error.
    """

    def __init__(self) -> None:
        super().__init__(state=State.OPEN, max_size=LIMIT)
        self.messages: list[tuple[bytes, bool]] = []
        self.pongs: list[bytes] = []
        self._parts = b""
        self._decoder: codecs.IncrementalDecoder | None = None

    @property
    def max_message_size(self) -> int:
        # the library reads it before each frame, when the frame's first byte is there
        so_far = self.current_size or 0
        return LIMIT + (so_far if so_far and self.reader.buffer[0] & 8 else 0)

    @max_message_size.setter
    def max_message_size(self, size: int | None) -> None:
        pass

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)
        data = bytes(frame.data)
        if frame.opcode is Opcode.PONG:
            self.pongs.append(data)
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if frame.opcode is not Opcode.CONT:
                self._parts = b""
                self._decoder = codecs.getincrementaldecoder("utf-8")() if frame.opcode is Opcode.TEXT else None
            self._parts += data
            if self._decoder is not None:
                self._decoder.decode(data, frame.fin)
            if frame.fin:
                self.messages.append((self._parts, self._decoder is None))


def by_library(stream: bytes) -> Outcome:
    reference = Reference()
    reference.receive_data(stream)
    reference.receive_eof()
    sent = b"".join(reference.data_to_send())
    if reference.parser_exc is not None and not isinstance(reference.parser_exc, EOFError):
        assert reference.close_sent is not None
        code = int(reference.close_sent.code)
    else:
        code = int(reference.close_rcvd.code) if reference.close_rcvd is not None else 1006
    return reference.messages, reference.pongs, without_reasons(server_frames(sent)), code


def by_wire(pieces: list[bytes], loop: asyncio.AbstractEventLoop) -> Outcome:
    peer = Recorder()
    wire, transport, _ = memory_wire(peer, loop, message_bytes=LIMIT)
    times = count(step=0.0007)
    wire._wires.clock = lambda: float(next(times))  # so that what is long is put off, wherever the fuzz runs
    for piece in pieces:
        wire.data_received(piece)
        while wire._wires.put_off:
            loop.run_until_complete(asyncio.sleep(0))
    wire.eof_received()
    wire.connection_lost(None)
    assert len(peer.closes) == 1
    return peer.frames, peer.pongs, without_reasons(server_frames(bytes(transport.written))), peer.closes[0][0]


def without_reasons(frames: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    return [(opcode, payload[:2] if opcode == CLOSE else payload) for opcode, payload in frames]


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def cut(stream: bytes, chance: random.Random) -> list[bytes]:
    """`stream` in pieces: at random places, or byte by byte, or in one."""
    how = chance.random()
    if how < 0.15:
        return [bytes((byte,)) for byte in stream]
    if how < 0.3:
        return [stream]
    places = sorted(chance.randrange(len(stream) + 1) for _ in range(chance.randrange(1, 12)))
    return [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]


def any_payload(chance: random.Random) -> bytes:
    size = chance.choice((0, 1, 5, 40, 124, 125, 126, 127, 300, LIMIT - 1, LIMIT, LIMIT + 1, 70_000))
    if size > 300 and chance.random() < 0.8:
        size = chance.randrange(60)
    kind = chance.random()
    if kind < 0.4:
        return bytes(chance.choices(b"abc defg", k=size))
    if kind < 0.8:
        return ("aßは𝄞é" * (size // 12 + 1)).encode()[:size]  # often cut within a character
    return chance.randbytes(size)


def any_frame(chance: random.Random) -> bytes:
    """Mostly what a client sends, now and then what it must not."""
    kind = chance.random()
    payload = any_payload(chance)
    mask = chance.choice((b"\0\0\0\0", chance.randbytes(4)))
    if kind < 0.5:
        return client_frame(chance.choice((TEXT, BINARY)), payload, mask=mask)
    if kind < 0.72:  # a fragmented message, its fragments perhaps with control frames between
        cuts = sorted(chance.randrange(len(payload) + 1) for _ in range(chance.randrange(1, 5)))
        parts = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        frames = []
        for number, part in enumerate(parts):
            opcode = 0 if number else chance.choice((TEXT, BINARY))
            frames.append(client_frame(opcode, part, fin=number == len(parts) - 1, mask=mask))
            if chance.random() < 0.3:
                frames.append(client_frame(chance.choice((PING, PONG)), payload[:20], mask=mask))
            if chance.random() < 0.05:
                frames.append(client_frame(CLOSE, close_payload(1001), mask=mask))
        return b"".join(frames)
    if kind < 0.82:
        return client_frame(chance.choice((PING, PONG)), payload[: chance.choice((10, 125, 126))], mask=mask)
    if kind < 0.88:
        code = chance.choice((999, 1000, 1001, 1004, 1005, 1006, 1007, 1011, 1016, 2999, 3000, 4999, 5000))
        return client_frame(
            CLOSE, chance.choice((b"", b"\x03", close_payload(code), close_payload(code) + payload)), mask=mask
        )
    if kind < 0.9:
        return client_frame(chance.randrange(16), payload[:100], fin=chance.random() < 0.5, rsv=chance.randrange(8))
    if kind < 0.92:
        return client_frame(BINARY, payload, mask=None)
    if kind < 0.94:
        return client_frame(chance.choice((0, TEXT)), payload, fin=chance.random() < 0.5)
    if kind < 0.96:
        return bytes((0x82, 0xFF)) + chance.choice((b"\xff" * 8, b"\0" * 7 + b"\5")) + mask + b"hello"  # giant, wordy
    if kind < 0.98:
        return bytes((0x81, 0xFE, 0, 5)) + mask + chance.randbytes(5)  # more bytes of length than needed
    return chance.randbytes(chance.randrange(20))


@pytest.mark.parametrize("block", range(8))
def test_any_stream_cut_anyhow(loop: asyncio.AbstractEventLoop, block: int) -> None:
    """4,000 seeded streams of frames good and bad, some with a byte changed, some with their end cut off."""
    for seed in range(block * 500, block * 500 + 500):
        chance = random.Random(seed)
        stream = b"".join(any_frame(chance) for _ in range(chance.randrange(1, 9)))
        if chance.random() < 0.15 and stream:
            place = chance.randrange(len(stream))
            stream = stream[:place] + bytes((chance.randrange(256),)) + stream[place + 1 :]
        if chance.random() < 0.2:
            stream = stream[: chance.randrange(len(stream) + 1)]
        expected = by_library(stream)
        pieces = cut(stream, chance)
        assert by_wire(pieces, loop) == expected, f"seed {seed}: {[piece.hex() for piece in pieces]}"


frames = st.one_of(
    st.builds(
        client_frame,
        st.sampled_from((0, TEXT, BINARY, 3, CLOSE, PING, PONG, 15)),
        st.one_of(st.binary(max_size=130), st.text(max_size=60).map(str.encode)),
        fin=st.booleans(),
        mask=st.one_of(st.none(), st.binary(min_size=4, max_size=4)),
        rsv=st.sampled_from((0, 0, 0, 0, 1, 4)),
    ),
    st.binary(max_size=16),
)


@settings(max_examples=300, deadline=None)
@given(stream=st.lists(frames, max_size=8).map(b"".join), cuts=st.lists(st.integers(0, 1000), max_size=8))
def test_adversarial_streams(stream: bytes, cuts: list[int]) -> None:
    """As above, looked for by hypothesis, which shrinks what it finds."""
    loop = asyncio.new_event_loop()
    try:
        places = sorted(place % (len(stream) + 1) for place in cuts)
        pieces = [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]
        assert by_wire(pieces, loop) == by_library(stream)
    finally:
        loop.close()


def test_the_wire_never_waits_with_more_than_a_message(loop: asyncio.AbstractEventLoop) -> None:
    """Bytes kept for a frame to become whole are at most a message and a head, whatever is sent in whatever pieces."""
    for seed in range(300):
        chance = random.Random(seed)
        stream = b"".join(any_frame(chance) for _ in range(8))
        wire, _, _ = memory_wire(Recorder(), loop, message_bytes=LIMIT)
        for piece in (stream[start : start + 700] for start in range(0, len(stream), 700)):
            wire.data_received(piece)
            assert wire.waiting_bytes <= LIMIT + 14
        wire.connection_lost(None)
