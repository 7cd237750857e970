"""(a) Closed loop: each connection sends the next 40-byte message when the last one's echo is back."""

from __future__ import annotations

import zlib
from statistics import median
from time import monotonic

from loadtest.bench.builds import Absent
from loadtest.bench.contenders import CONTENDERS, OURS, Contender
from loadtest.bench.rounds import Bench, Part, undisturbed
from loadtest.engine import Engine
from loadtest.line import BINARY, Address, Line, client_frame
from loadtest.served import Child

__all__ = ["EchoLine", "closed_loop", "frame_for"]

CONNECTIONS = 64
PAYLOAD = b"forty bytes, as a frame of two keys has."

_OPEN_S = 20.0
_DEFLATED = 0xC2  # RFC 7692: binary, RSV1


class EchoLine(Line):
    """One connection of the closed loop. Without a handshake where the server speaks raw TCP."""

    __slots__ = ("_frame", "_raw", "echoes", "failed")

    def __init__(self, engine: Engine, number: int, frame: bytes, *, raw: bool) -> None:
        super().__init__(engine, number)
        self._frame = frame
        self._raw = raw
        self.echoes = 0
        self.failed: str | None = None

    def begin(self, address: Address, *, deflate: bool) -> None:
        """Connect and begin to send."""
        offer = "permessage-deflate; client_no_context_takeover" if deflate else ""
        if self._raw:
            self.dial(address)
            self.send_frames(self._frame)
        else:
            self.connect(address, None, extensions=offer)

    def readable(self) -> None:
        """Count whatever comes over raw TCP as one echo."""
        if not self._raw:
            super().readable()
        elif self.receive():
            self.echoes += 1
            self.send_frames(self._frame)

    def opened(self) -> None:
        """Send the first message."""
        self.send_frames(self._frame)

    def message(self, payload: memoryview | bytes, binary: bool) -> None:
        """Send the next one."""
        self.echoes += 1
        self.send_frames(self._frame)

    def lost(self, code: int, reason: str) -> None:
        """Nobody should hang up on an echo client."""
        self.failed = f"{code} {reason}"


def frame_for(contender: Contender) -> bytes:
    """The 40 bytes as this server takes them."""
    match contender.speaks:
        case "raw":
            return b"\x00" * 6 + PAYLOAD  # as many bytes as with a head and a mask
        case "deflate":
            packer = zlib.compressobj(wbits=-12)
            packed = (packer.compress(PAYLOAD) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]  # RFC 7692 7.2.1
            return client_frame(_DEFLATED, packed)
        case _:
            return client_frame(BINARY, PAYLOAD)


def measure(server: Child, contender: Contender, *, warm_s: float, window_s: float) -> tuple[float, float]:
    """Server CPU µs an echo, and echoes a second. Raises RuntimeError where it does not echo."""
    engine = Engine()
    frame = frame_for(contender)
    lines = [EchoLine(engine, number, frame, raw=contender.speaks == "raw") for number in range(CONNECTIONS)]
    try:
        for line in lines:
            line.begin(server.address, deflate=contender.speaks == "deflate")
        there = engine.run(lambda: all(line.echoes or line.failed for line in lines), limit_s=_OPEN_S)
        failed = [line.failed for line in lines if line.failed]
        if failed or not there:
            raise RuntimeError(f"no echo: {failed[:1]}")
        with undisturbed():
            engine.run(lambda: False, limit_s=warm_s)
            before, cpu, begun = sum(line.echoes for line in lines), server.cpu_s(), monotonic()
            engine.run(lambda: False, limit_s=window_s)
            echoes, used = sum(line.echoes for line in lines) - before, server.cpu_s() - cpu
            return 1e6 * used / max(1, echoes), echoes / (monotonic() - begun)
    finally:
        for line in lines:
            line.hang_up()
        engine.close()


def closed_loop(bench: Bench) -> Part:
    """Measure every contender in interleaved rounds."""
    rounds = 3 if bench.quick else 5
    window_s = 0.7 if bench.quick else 2.0
    taken: dict[str, list[tuple[float, float]]] = {contender.name: [] for contender in CONTENDERS}
    absent: dict[str, str] = {}
    for turn in range(rounds):
        for at, contender in enumerate(CONTENDERS):
            bench.progress((turn * len(CONTENDERS) + at) / (rounds * len(CONTENDERS)), contender.name)
            if contender.name in absent:
                continue
            try:
                with contender.child("echo", core=bench.server_core) as child:
                    taken[contender.name].append(measure(child, contender, warm_s=0.4, window_s=window_s))
            except (Absent, RuntimeError) as fault:
                absent[contender.name] = str(fault)
    ours = [cost for cost, _ in taken[OURS]]
    own = median(ours) if ours else None
    rows: list[list[object]] = []
    multiples: list[str] = []
    for contender in CONTENDERS:
        costs = [cost for cost, _ in taken[contender.name]]
        if not costs:
            rows.append([contender.name, contender.what, absent.get(contender.name, "–"), None, None])
            continue
        cost = median(costs)
        if own is not None and contender.name != OURS:
            multiples.append(f"{contender.name} {own / cost:.2f}")
        rate = median(rate for _, rate in taken[contender.name])
        rows.append([contender.name, contender.what, round(cost, 2), own and f"{cost / own:.2f}", round(rate)])
    return Part(
        f"(a) Closed loop: echo of 40 bytes, {CONNECTIONS} connections, median of {rounds} rounds",
        ("server", "what", "CPU µs a frame", "ratio", "frames/s"),
        rows,
        {"taken": taken, "absent": absent},
        notes=(f"{OURS} over theirs: {', '.join(multiples)}.",),
    )
