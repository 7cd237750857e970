"""What a wire tells its peer, what it sends, and how it ends; on real connections where the system has a part in it."""

import asyncio
import gc
import weakref
from itertools import count

import pytest
from websockets.protocol import Protocol

from gateway.wire import Peer, WebSocketWire
from tests.gateway.edges import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Client,
    MemoryTransport,
    Recorder,
    client_frame,
    close_payload,
    memory_wire,
    on_both_loops,
    served,
    server_frames,
    upgrade_request,
)


def frames_of(transport: MemoryTransport) -> list[tuple[int, bytes]]:
    return server_frames(bytes(transport.written))


# Messages.


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536])
async def test_lengths_there_and_back(length: int) -> None:
    peer = Recorder(echo=True)
    wire, transport, _ = memory_wire(peer, asyncio.get_running_loop())
    payload = bytes(range(256)) * 256 + b"x"
    wire.data_received(client_frame(BINARY, payload[:length]))
    assert peer.frames == [(payload[:length], True)]
    assert frames_of(transport) == [(BINARY, payload[:length])]


async def test_a_read_of_many_frames_is_answered_in_one_write() -> None:
    peer = Recorder(echo=True)
    wire, transport, _ = memory_wire(peer, asyncio.get_running_loop())
    wire.data_received(b"".join(client_frame(TEXT, b"%d" % number) for number in range(50)))
    assert frames_of(transport) == [(TEXT, b"%d" % number) for number in range(50)]
    assert transport.writes == 1


async def test_what_is_sent_outside_of_a_read_is_written_once_a_turn() -> None:
    wire, transport, _ = memory_wire(Recorder(), asyncio.get_running_loop())
    for number in range(10):
        wire.send(b"%d" % number, True)
    assert transport.writes == 0
    assert wire.pending_bytes == 30
    await asyncio.sleep(0)
    assert transport.writes == 1
    assert wire.pending_bytes == 0
    assert len(frames_of(transport)) == 10


async def test_a_turn_with_much_to_send_does_not_gather_it_all() -> None:
    """Joining frames is cheap only while they are few bytes: 5 MB in one turn cost no more than their writes."""
    wire, transport, _ = memory_wire(Recorder(), asyncio.get_running_loop())
    for _ in range(5_000):
        wire.send(bytes(1000), True)
        assert wire.pending_bytes < 18_000
    await asyncio.sleep(0)
    assert len(frames_of(transport)) == 5_000


async def test_ping_and_its_pong() -> None:
    peer = Recorder()
    wire, transport, _ = memory_wire(peer, asyncio.get_running_loop())
    wire.ping(b"now")
    await asyncio.sleep(0)
    assert frames_of(transport) == [(PING, b"now")]
    wire.data_received(client_frame(PONG, b"now"))
    assert peer.pongs == [b"now"]
    with pytest.raises(ValueError, match="125"):
        wire.ping(bytes(126))


async def test_every_whole_frame_is_heard_and_half_a_frame_is_not() -> None:
    wire, _, _ = memory_wire(Recorder(), asyncio.get_running_loop())
    for frame in (
        client_frame(BINARY, b"x"),
        client_frame(PING),
        client_frame(PONG),
        client_frame(0x1, b"", fin=False),
    ):
        wire.heard = False
        wire.data_received(frame[:-1])
        assert not wire.heard
        wire.data_received(frame[-1:])
        assert wire.heard


@pytest.mark.parametrize("cut", range(1, 140, 7))
async def test_control_frames_amidst_a_message_are_no_part_of_it(cut: int) -> None:
    """Where the message is as long as it may be, too; and also they are never handed over in part."""
    peer = Recorder()
    wire, transport, _ = memory_wire(peer, asyncio.get_running_loop(), message_bytes=1000)
    wire.data_received(client_frame(TEXT, b"x" * 1000, fin=False))
    ping, close = client_frame(PING, bytes(125)), client_frame(CLOSE, close_payload(1000, "r" * 123))
    wire.data_received(ping[:cut])
    wire.data_received(ping[cut:] + client_frame(PONG, b"!") + client_frame(0, b"", fin=False))
    wire.data_received(close[:cut])
    wire.data_received(close[cut:])
    assert peer.pongs == [b"!"]
    assert peer.closes == [(1000, "r" * 123)]
    assert frames_of(transport) == [(PONG, bytes(125)), (CLOSE, close_payload(1000, "r" * 123))]


@pytest.mark.parametrize("opcode", [BINARY, TEXT])
async def test_a_message_longer_than_allowed(opcode: int) -> None:
    """Where it is short enough to come in one read, too."""
    peer = Recorder()
    wire, transport, _ = memory_wire(peer, asyncio.get_running_loop(), message_bytes=1000)
    wire.data_received(client_frame(opcode, b"x" * 1000) + client_frame(opcode, b"x" * 1001))
    assert peer.frames == [(b"x" * 1000, opcode == BINARY)]
    assert peer.closes[0][0] == 1009
    [(opcode, payload)] = frames_of(transport)
    assert (opcode, payload[:2]) == (CLOSE, (1009).to_bytes(2, "big"))


# Errors of the client's.


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (client_frame(BINARY, b"x", mask=None), 1002),
        (client_frame(BINARY, b"x", rsv=4), 1002),
        (client_frame(3, b"x"), 1002),
        (client_frame(0, b"x"), 1002),
        (client_frame(TEXT, b"a", fin=False) + client_frame(TEXT, b"b"), 1002),
        (client_frame(PING, b"x", fin=False), 1002),
        (client_frame(PING, bytes(126)), 1002),
        (client_frame(CLOSE, b"\x03"), 1002),
        (client_frame(CLOSE, close_payload(1005)), 1002),
        (client_frame(CLOSE, close_payload(1000) + b"\xff"), 1007),
        (client_frame(TEXT, b"\xff"), 1007),
        (client_frame(TEXT, b"\xc3", fin=False) + client_frame(0, b"\xc3"), 1007),
        (client_frame(TEXT, b"\xc3", fin=False) + client_frame(0, b""), 1007),
        (client_frame(BINARY, bytes(65_537)), 1009),
        (client_frame(BINARY, bytes(65_536), fin=False) + client_frame(0, b"x"), 1009),
        (bytes((0x82, 0xFF)) + b"\xff" * 8, 1009),
    ],
    ids=[
        "unmasked",
        "reserved bit",
        "opcode",
        "continuation of nothing",
        "message in a message",
        "ping in fragments",
        "long ping",
        "close of one byte",
        "close code not for the wire",
        "close reason not UTF-8",
        "text not UTF-8",
        "fragments not UTF-8",
        "text that ends within a character",
        "too long",
        "fragments too long",
        "giant",
    ],
)
async def test_an_error_is_answered_by_its_close_code(stream: bytes, code: int) -> None:
    """The close frame is sent, the stream ended, the peer told once; nothing that follows is looked at."""
    peer = Recorder()
    wire, transport, _ = memory_wire(peer, asyncio.get_running_loop())
    wire.data_received(stream + client_frame(TEXT, b"more"))
    wire.data_received(client_frame(TEXT, b"and more"))
    wire.send(b"too late", True)
    wire.ping(b"too late")
    wire.close(1000, "too late")
    await asyncio.sleep(0)
    [(opcode, payload)] = frames_of(transport)
    assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, code)
    assert transport.eof_written
    assert [closed_code for closed_code, _ in peer.closes] == [code]
    assert peer.frames == []
    assert not wire.is_open


async def test_a_client_that_stays_after_an_error_is_cut() -> None:
    wire, transport, deadlines = memory_wire(Recorder(), asyncio.get_running_loop(), close_limit_s=5)
    wire.data_received(client_frame(3))
    deadlines.sweep(now_s=5)
    assert not transport.aborted
    deadlines.sweep(now_s=7)
    assert transport.aborted


# Closing.


async def test_the_clients_close_is_answered_and_told() -> None:
    peer = Recorder()
    wire, transport, _ = memory_wire(peer, asyncio.get_running_loop())
    wire.data_received(client_frame(BINARY, b"last") + client_frame(CLOSE, close_payload(3001, "bye")))
    assert peer.frames == [(b"last", True)]
    assert peer.closes == [(3001, "bye")]
    assert frames_of(transport) == [(CLOSE, close_payload(3001, "bye"))]
    assert transport.eof_written


async def test_a_close_without_code_is_1005() -> None:
    peer = Recorder()
    wire, transport, _ = memory_wire(peer, asyncio.get_running_loop())
    wire.data_received(client_frame(CLOSE))
    assert peer.closes == [(1005, "")]
    assert frames_of(transport) == [(CLOSE, b"")]


async def test_our_close_waits_for_the_clients() -> None:
    """After our close frame nothing is delivered; `closed` says our code, whatever the client's answer."""
    peer = Recorder()
    wire, transport, _ = memory_wire(peer, asyncio.get_running_loop())
    wire.close(4502, "superseded")
    wire.close(4000, "again")
    wire.send(b"too late", True)
    wire.data_received(client_frame(BINARY, b"crossed ours") + client_frame(PING, b"?"))
    assert peer.closes == []
    wire.data_received(client_frame(CLOSE, close_payload(1000)))
    assert peer.frames == []
    assert peer.closes == [(4502, "superseded")]
    assert [frame for frame in frames_of(transport) if frame[0] == CLOSE] == [
        (CLOSE, close_payload(4502, "superseded"))
    ]
    assert transport.eof_written


async def test_our_close_amidst_a_message_of_fragments() -> None:
    peer = Recorder()
    wire, _, _ = memory_wire(peer, asyncio.get_running_loop())
    wire.data_received(client_frame(TEXT, b"one", fin=False))
    wire.close(4001, "draining")
    wire.data_received(client_frame(0, b"two") + client_frame(CLOSE, close_payload(4001)))
    assert peer.frames == []
    assert peer.closes == [(4001, "draining")]


async def test_a_client_that_never_answers_our_close_is_cut() -> None:
    peer = Recorder()
    wire, transport, deadlines = memory_wire(peer, asyncio.get_running_loop(), close_limit_s=5)
    wire.close(4003, "heartbeat lost")
    deadlines.sweep(now_s=7)
    assert transport.aborted
    wire.connection_lost(None)
    assert peer.closes == [(4003, "heartbeat lost")]


async def test_a_long_reason_is_cut_at_a_character() -> None:
    wire, transport, _ = memory_wire(Recorder(), asyncio.get_running_loop())
    wire.close(4000, "é" * 100)
    await asyncio.sleep(0)
    assert frames_of(transport) == [(CLOSE, close_payload(4000, "é" * 61))]


async def test_a_connection_that_just_ends_is_1006() -> None:
    peer = Recorder()
    wire, _, _ = memory_wire(peer, asyncio.get_running_loop())
    wire.data_received(client_frame(BINARY, b"half")[:-2])
    wire.eof_received()
    wire.connection_lost(ConnectionResetError())
    assert peer.frames == []
    assert peer.closes == [(1006, "")]
    wire.send(b"nobody hears", True)
    wire.ready()
    wire.hold()
    wire.release()
    assert wire.pending_bytes == 0


# A peer that fails.


@pytest.mark.parametrize("where", ["opened", "frame", "pong", "paused", "closed"])
async def test_a_peer_that_fails_costs_its_own_connection(where: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, the client gets 4000, and the loop never sees the exception."""

    class Faulty(Recorder):
        def fail(self, *arguments: object) -> None:
            raise ZeroDivisionError("a bug")

    peer = Faulty()
    setattr(peer, where, peer.fail)
    wire, transport, _ = memory_wire(peer, asyncio.get_running_loop())
    wire.data_received(client_frame(BINARY, b"x") + client_frame(PONG))
    wire.pause_writing()
    wire.data_received(client_frame(CLOSE, close_payload(1000)))
    assert "a bug" in caplog.text
    assert "192.0.2.1" in caplog.text
    [(opcode, payload)] = frames_of(transport)
    assert opcode == CLOSE
    assert int.from_bytes(payload[:2], "big") == (1000 if where == "closed" else 4000)


# Hold and release.


async def test_frames_wait_while_held_and_come_in_order() -> None:
    peer = Recorder(on_frame=lambda peer, payload: peer.wire.hold() if payload == b"2" else None)
    wire, transport, _ = memory_wire(peer, asyncio.get_running_loop())
    stream = b"".join(client_frame(BINARY, b"%d" % number) for number in range(6))
    wire.data_received(stream[:-3])
    assert [payload for payload, _ in peer.frames] == [b"0", b"1", b"2"]
    assert not transport.reading
    wire.data_received(stream[-3:])  # was on its way already
    assert len(peer.frames) == 3
    wire.release()
    assert len(peer.frames) == 3
    await asyncio.sleep(0)
    assert [payload for payload, _ in peer.frames] == [b"%d" % number for number in range(6)]
    assert transport.reading


async def test_held_for_each_frame() -> None:
    peer = Recorder(on_frame=lambda peer, payload: peer.wire.hold())
    wire, transport, _ = memory_wire(peer, asyncio.get_running_loop())
    wire.data_received(b"".join(client_frame(TEXT, b"%d" % number) for number in range(4)))
    for number in range(1, 5):
        assert len(peer.frames) == number
        assert not transport.reading
        wire.release()
        await asyncio.sleep(0)
    assert transport.reading


async def test_held_and_released_within_one_frame_goes_on_by_itself() -> None:
    def hold_briefly(peer: Recorder, payload: bytes) -> None:
        peer.wire.hold()
        peer.wire.release()

    peer = Recorder(on_frame=hold_briefly)
    wire, transport, _ = memory_wire(peer, asyncio.get_running_loop())
    wire.data_received(client_frame(TEXT, b"a") + client_frame(TEXT, b"b"))
    await asyncio.sleep(0)
    assert len(peer.frames) == 2
    assert transport.reading


async def test_closing_ends_a_hold() -> None:
    """The client's close frame must be read, or our close would always end in the time limit."""
    peer = Recorder()
    wire, transport, _ = memory_wire(peer, asyncio.get_running_loop())
    wire.hold()
    wire.data_received(client_frame(BINARY, b"never delivered") + client_frame(CLOSE, close_payload(1000)))
    wire.close(4001, "draining")
    await asyncio.sleep(0)
    assert peer.frames == []
    assert peer.closes == [(4001, "draining")]
    assert transport.reading


async def test_after_a_hold_amidst_fragments_they_are_still_under_way() -> None:
    """A new message between the fragments of another is an error, held meanwhile or not (RFC 6455 5.4)."""
    peer = Recorder()
    wire, _, _ = memory_wire(peer, asyncio.get_running_loop())
    wire.data_received(client_frame(TEXT, b"half", fin=False))
    wire.hold()
    wire.release()
    wire.data_received(client_frame(TEXT, b"another"))
    assert peer.frames == []
    assert peer.closes[0][0] == 1002


async def test_a_hold_amidst_fragments() -> None:
    peer = Recorder()
    wire, _, _ = memory_wire(peer, asyncio.get_running_loop())
    wire.data_received(client_frame(TEXT, b"one ", fin=False))
    wire.hold()
    wire.data_received(client_frame(0, b"two") + client_frame(TEXT, b"three"))
    assert peer.frames == []
    wire.release()
    await asyncio.sleep(0)
    assert peer.frames == [(b"one two", False), (b"three", False)]


# Slow readers, on real connections.


class Flood(Recorder):
    """Sends without end, as a peer that heeds neither `paused` nor how much is pending."""

    most_pending = 0

    def opened(self, wire: WebSocketWire) -> None:
        super().opened(wire)
        self._send_on()

    def _send_on(self) -> None:
        for _ in range(50):
            self.wire.send(bytes(1000), True)
            self.most_pending = max(self.most_pending, self.wire.pending_bytes)
        if self.wire.is_open:
            asyncio.get_running_loop().call_soon(self._send_on)


@on_both_loops
async def test_a_reader_that_never_reads_is_slow_and_then_gone() -> None:
    """Memory is bounded by `hard_bytes`, and the connection is cut although its buffer never empties."""
    wire = {"soft_bytes": 20_000, "hard_bytes": 100_000, "close_limit_s": 0.2}
    async with served(peer=Flood, wire_options=wire) as (edge, peers), Client.connected(edge) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads, too
        client.send(upgrade_request())
        peer = await peers.get()
        assert await peer.until_closed() == (4002, "slow")
        assert peer.flow == ["paused"]
        assert isinstance(peer, Flood)
        assert 100_000 < peer.most_pending < 120_000
        assert await edge.emptied(60)


@on_both_loops
async def test_a_reader_that_stays_stalled_is_slow() -> None:
    """Below `hard_bytes` too, where it lasts."""

    class OneFlood(Recorder):
        def opened(self, wire: WebSocketWire) -> None:
            super().opened(wire)
            while wire.writable:  # the system's own buffers take the first megabytes
                wire.send(bytes(10_000), True)

    wire = {"soft_bytes": 20_000, "hard_bytes": 64 << 20, "close_limit_s": 0.2, "stall_limit_s": 0.3}
    async with served(peer=OneFlood, wire_options=wire) as (edge, peers), Client.connected(edge) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # as above
        client.send(upgrade_request())
        peer = await peers.get()
        assert await peer.until_closed() == (4002, "slow")
        assert await edge.emptied(60)


@on_both_loops
async def test_a_reader_that_reads_again_is_told_of() -> None:
    class Bulk(Recorder):
        def frame(self, payload: bytes, binary: bool) -> None:
            while self.wire.writable:
                self.wire.send(bytes(10_000), True)
            self.wire.send(b"end", True)
            super().frame(payload, binary)

    async with served(peer=Bulk) as (edge, peers), Client.websocket(edge) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # as above
        client.send(client_frame(TEXT, b"go"))
        peer = await peers.get()
        await peer.until(lambda peer: peer.flow == ["paused"])
        assert not peer.wire.writable
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
        while await client.frame() != (BINARY, b"end"):
            pass
        await peer.until(lambda peer: peer.flow == ["paused", "resumed"])
        assert peer.wire.is_open


@on_both_loops
async def test_pongs_to_a_reader_that_never_reads_are_bounded() -> None:
    """A client may send pings without end and read no pong: while it is slow they are left out."""
    async with served(wire_options={"soft_bytes": 20_000}) as (edge, peers), Client.websocket(edge) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # as above
        pings = client_frame(PING, bytes(125)) * 100
        peer = await peers.get()
        while peer.flow != ["paused"]:
            client.send(pings)
            await client.writer.drain()
        for _ in range(50):
            client.send(pings)
        client.send(client_frame(TEXT, b"after all"))
        await peer.until(lambda peer: bool(peer.frames))
        assert peer.wire.pending_bytes < 60_000


# What a connection leaves behind.


@on_both_loops
async def test_a_closed_connection_leaves_no_cycle() -> None:
    """Peer and wire are freed by their last reference: 10,000 leaving clients give the collector nothing to do."""
    async with served() as (edge, peers):
        gc.disable()
        try:
            for farewell in (client_frame(CLOSE, close_payload(1000)), client_frame(3), b""):
                async with Client.websocket(edge) as client:
                    peer = await peers.get()
                    client.send(client_frame(BINARY, b"x") + client_frame(TEXT, b"part", fin=False) + farewell)
                    client.writer.write_eof()
                    await client.end()
                    await peer.until_closed()
                    assert await edge.emptied(60)
                wire = peer.wire
                del peer.wire  # the peer's reference to the wire stays until it goes; the wire's must be gone now
                gone = weakref.ref(peer)
                del peer
                await asyncio.sleep(0)
                assert gone() is None
                assert not wire.is_open
        finally:
            gc.enable()


async def test_rare_frames_leave_no_cycle() -> None:
    """The library's parser refers to itself; a flood of pings must not pile parsers up until the collector comes."""
    streams = (
        client_frame(PING, b"?") * 3,
        client_frame(TEXT, b"a", fin=False) + client_frame(PING) + client_frame(0, b"b"),
        client_frame(TEXT, b"a", fin=False) + client_frame(TEXT, b"b"),
        client_frame(TEXT, b"a", fin=False) + client_frame(CLOSE, close_payload(1000)),
        client_frame(TEXT, b"\xff", fin=False),
        client_frame(BINARY, bytes(70_000)),
        client_frame(3),
    )
    gc.collect()
    gc.disable()
    try:
        for stream in streams:
            wire, _, _ = memory_wire(Recorder(), asyncio.get_running_loop())
            wire.data_received(stream)
            wire.connection_lost(None)
            assert [thing for thing in gc.get_objects() if isinstance(thing, Protocol)] == [], stream
    finally:
        gc.enable()


def test_a_wire_has_no_dictionary() -> None:
    """1.5 KiB an idle connection leaves no room for one."""
    assert not hasattr(WebSocketWire.__new__(WebSocketWire), "__dict__")


async def test_a_bare_peer_does_nothing() -> None:
    """`Peer` may be inherited from for the methods that one does not need."""

    class Quiet(Peer):
        __slots__ = ()

    wire, transport, _ = memory_wire(Quiet(), asyncio.get_running_loop())
    wire.data_received(client_frame(BINARY, b"x") + client_frame(PONG))
    wire.pause_writing()
    wire.resume_writing()
    wire.data_received(client_frame(CLOSE))
    assert frames_of(transport) == [(CLOSE, b"")]


# Floods.


def ticking(wire: WebSocketWire, step_s: float) -> None:
    """Have the wire's clock go on by so much each time it is looked at."""
    times = count(step=step_s)
    wire._wires.clock = lambda: float(next(times))


async def test_a_flood_is_taken_apart_in_turns() -> None:
    """A read of many frames holds a turn of the loop for a millisecond only; all come, in order, and none is read
    meanwhile."""
    peer = Recorder()
    wire, transport, _ = memory_wire(peer, asyncio.get_running_loop())
    ticking(wire, 0.0004)
    stream = b"".join(client_frame(BINARY, b"%d" % number) + client_frame(PING) for number in range(1000))
    wire.data_received(stream[:-100])
    wire.data_received(stream[-100:])  # was on its way already
    most = turns = 0
    while not transport.reading:
        before = len(peer.frames)
        assert before or not turns
        await asyncio.sleep(0)
        most = max(most, len(peer.frames) - before)
        turns += 1
    assert [payload for payload, _ in peer.frames] == [b"%d" % number for number in range(1000)]
    assert most < 100
    assert turns >= 10
    assert server_frames(bytes(transport.written)) == [(PONG, b"")] * 1000


async def test_floods_share_a_turn() -> None:
    """However many there are, they have a millisecond of the loop's turn together."""
    loop = asyncio.get_running_loop()
    first = Recorder()
    wire, _, _ = memory_wire(first, loop)
    ticking(wire, 0.001)
    floods = [first]
    for _ in range(4):
        floods.append(Recorder())
        WebSocketWire(wire._wires, floods[-1], subprotocol=None, peer_address="", door_key=None).begin(
            MemoryTransport(), b"", b""
        )
    for each in floods:
        each.wire.data_received(client_frame(BINARY, b"x") * 1000)
    while wire._wires.put_off:
        before = [len(each.frames) for each in floods]
        await asyncio.sleep(0)
        after = [len(each.frames) for each in floods]
        assert sum(one != other for one, other in zip(before, after, strict=True)) <= 1
    assert [len(each.frames) for each in floods] == [1000] * 5


async def test_a_flood_may_be_held_closed_and_cut() -> None:
    """What the peer or the client does in the middle of a flood holds as ever."""
    loop = asyncio.get_running_loop()
    for end in ("hold", "close", "cut"):
        peer = Recorder()
        wire, transport, _ = memory_wire(peer, loop)
        ticking(wire, 0.001)
        wire.data_received(client_frame(BINARY, b"x") * 1000 + client_frame(CLOSE, close_payload(1000)))
        seen = len(peer.frames)
        assert 0 < seen < 1000
        if end == "hold":
            wire.hold()
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(peer.frames) == seen
            wire.release()
            assert await peer.until_closed() == (1000, "")
            assert len(peer.frames) == 1000
        elif end == "close":
            wire.close(4004, "enough")
            assert await peer.until_closed() == (4004, "enough")
            assert len(peer.frames) == seen
            assert transport.reading
        else:
            wire.connection_lost(None)
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(peer.frames) == seen
            assert not wire._wires.put_off
