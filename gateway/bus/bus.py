"""The bus: one process says something on a channel, all that subscribe to it hear it.

What is said goes through two bounded queues: until it is sent (one for all channels), and until a subscriber has heard
it (one for each). Sending rests a few milliseconds after each round, in which what is said gathers: all of a channel's
messages are one frame, packed once, and all frames of a round go together. A message that comes after the rest is over
goes at once. Subscribers are served in turn, in slices, so that no burst holds the event loop.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import structlog

from config.bus import BusOptions
from gateway.bus import frames
from gateway.bus.facts import BusFacts
from gateway.bus.port import Carrier
from persistence.errors import StoreError

__all__ = ["Bus", "Subscription"]

_FRAME_BYTES = 65_536
"""A round's messages of one channel go in several frames where they come to more: a frame is unpacked in one piece."""
_ROUND_FRAMES = 1_000
_KEPT_CHANNELS = 100_000
"""Channels whose numbers are remembered; the longest unused is forgotten, which costs its subscribers a resync."""
_KEPT_RUNS = 1_000
"""Senders whose numbers are remembered for a channel; a process that starts anew is another sender."""
_OWED_S = 1.0
"""Time between two tries to tell subscribers of what was given up, while nothing is heard of a return."""
_SLICE_S = 0.002
_SAID_EVERY_S = 60.0
_CLOSE_S = 1.0

log = structlog.get_logger(__name__)


class Bus:
    """One for a process. Everything is called on the event loop.

    Guarantees: a message is heard at most once by a subscriber, and messages of one sender on one channel in the order
    in which they were said. It may be missed: by who was not connected, or too slow, or where what carries it is away.
    Whoever may have missed something on a channel is told so (`resync`), after what came before and before what comes
    next; it is told first of all when its subscription begins to hear. So: subscribe, and read what there is to know
    whenever told to. What is said is heard by the sender's own process too. It arrives as msgpack gives it back: tuples
    as lists, and nothing shared with the sender.
    """

    def __init__(self, carrier: Carrier, options: BusOptions | None = None, *, marks: Sequence[bytes] = ()) -> None:
        self.marks = marks
        """Marks of this cluster, by which another one's frames are told from ours; the first is put into what is said.
        Without any all are taken for ours, as are frames without one."""
        self._carrier = carrier
        self._options = options or BusOptions()
        self._facts = BusFacts()
        self._run = os.urandom(frames.RUN_BYTES)
        self._channels: dict[str, _Channel] = {}
        self._senders: OrderedDict[str, _Sender] = OrderedDict()
        self._saying: dict[str, list[_Saying]] = {}
        self._saying_messages = self._saying_bytes = 0
        self._send = asyncio.Event()
        self._sent = asyncio.Event()
        self._owing = False
        self._owed_rests = False  # what is owed was tried in vain a moment ago
        self._under_way: list[_Saying] = []
        self._ready: deque[Subscription] = deque()
        self._deliver = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._fault: str | None = None
        self._said_at: dict[str, float] = {}
        self._open = False

    async def __aenter__(self) -> Self:
        """Raises `StoreError` where what carries it can never work; one that is away is waited for."""
        await self._carrier.open(self)
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._sending(), name="bus sends"),
            loop.create_task(self._delivering(), name="bus delivers"),
        ]
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        try:
            async with asyncio.timeout(_CLOSE_S):
                while self._saying or self._under_way:
                    self._sent.clear()
                    await self._sent.wait()
        except TimeoutError:
            pass
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for said in (self._under_way, *self._saying.values()):
            for one in said:
                one.became(StoreError("the bus was closed before this was sent", retriable=True))
        await self._carrier.close()

    # -- saying --------------------------------------------------------------------------------------------------

    def post(self, channel: str, message: Any) -> bool:
        """Say something and go on. False, where it is given up at once since too much waits to be sent.

        Raises ValueError or TypeError for a message that msgpack has no form of, or that is too long.
        """
        return self._say(channel, _Saying(self._packed(message), None))

    async def publish(self, channel: str, message: Any) -> None:
        """Say something, and return when it is under way. Raises as `post` does.

        Raises `StoreError` (retriable) where it is not under way, as far as we know: said again it may be heard twice.
        """
        under_way = asyncio.get_running_loop().create_future()
        if not self._say(channel, _Saying(self._packed(message), under_way)):
            raise StoreError(f"{self._saying_messages} messages wait to be sent to other processes", retriable=True)
        await under_way

    def _packed(self, message: Any) -> bytes:
        assert self._open, "the bus is not open"
        packed = frames.pack(message)
        if len(packed) > self._options.message_bytes:
            raise ValueError(f"the message has {len(packed)} bytes; {self._options.message_bytes} is the longest")
        return packed

    def _say(self, channel: str, saying: _Saying) -> bool:
        options = self._options
        if (
            self._saying_messages >= options.sending_messages
            or self._saying_bytes + len(saying.packed) > options.sending_bytes
        ):
            self._give_up(channel, [saying])
            return False
        self._saying.setdefault(channel, []).append(saying)
        self._saying_messages += 1
        self._saying_bytes += len(saying.packed)
        self._send.set()
        return True

    async def _sending(self) -> None:
        """Send what is said, a round at a time."""
        loop = asyncio.get_running_loop()
        while True:
            await self._send.wait()
            self._send.clear()
            said, self._saying = self._saying, {}
            self._saying_messages = self._saying_bytes = 0
            self._under_way = [one for all_ in said.values() for one in all_]
            owed: list[str] = []
            if self._owing and not self._owed_rests:
                owed = [channel for channel, sender in self._senders.items() if sender.owing]
                self._owing = False
            batch = [(channel, some) for channel, all_ in said.items() for some in _parts(all_)]
            batch += [(channel, []) for channel in owed if channel not in said]
            for start in range(0, len(batch), _ROUND_FRAMES):
                await self._round(batch[start : start + _ROUND_FRAMES])
            self._under_way = []
            self._sent.set()
            if self._owing and self._fault is not None and not self._owed_rests:
                self._owed_rests = True
                loop.call_later(_OWED_S, self.returned)
            await asyncio.sleep(self._options.gather_ms / 1000)

    async def _round(self, batch: Sequence[tuple[str, list[_Saying]]]) -> None:
        composed = [(channel, self._composed(channel, said)) for channel, said in batch]
        try:
            answers = await self._carrier.carry(composed)
        except Exception as error:  # a fault of ours; the next round is another one
            log.exception("what is said to other processes could not be sent")
            answers = [StoreError(f"{type(error).__name__}: {error}", retriable=True)] * len(batch)
        fault = None
        for (channel, said), (_, frame), answer in zip(batch, composed, answers, strict=True):
            if answer is not None:
                fault = answer
                self._give_up(channel, said)
            else:
                self._facts.frames_sent += 1
                self._facts.bytes_sent += len(frame)
                self._facts.messages_sent += len(said)
            for one in said:
                one.became(answer)
        if fault is None:
            if self._fault is not None:
                log.warning("other processes hear us again", after=self._fault)
            self._fault = None
        elif self._fault is None:
            self._fault = str(fault)
            log.error("other processes do not hear us", why=self._fault)
        else:
            self._fault = str(fault)

    def _composed(self, channel: str, said: Sequence[_Saying]) -> bytes:
        sender = self._sender(channel)
        sender.number += 1
        lost, sender.owing = sender.owing, False
        packed = [one.packed for one in said]
        return frames.compose(self._run, sender.number, packed, lost=lost, mark=self.marks[0] if self.marks else b"")

    def _sender(self, channel: str) -> _Sender:
        sender = self._senders.get(channel)
        if sender is None:
            # Above all numbers that this run can have given the channel before: there are fewer than microseconds.
            sender = self._senders[channel] = _Sender(time.monotonic_ns() // 1_000)
            if len(self._senders) > _KEPT_CHANNELS:
                self._senders.popitem(last=False)
        else:
            self._senders.move_to_end(channel)
        return sender

    def _give_up(self, channel: str, said: Sequence[_Saying]) -> None:
        """These are not heard: the channel's subscribers are to be told, as soon as anything can be sent."""
        self._facts.unsent += len(said)
        self._sender(channel).owing = True
        self._owing = True

    # -- hearing -------------------------------------------------------------------------------------------------

    def subscribe(
        self, channel: str, heard: Callable[[Any], None], *, resync: Callable[[], None] = lambda: None
    ) -> Subscription:
        """Hear a channel until the subscription is closed. Both are called on the event loop and are to be quick.

        `resync()`: something may have been missed; what is heard from here on comes after. What they raise is logged.
        """
        assert self._open, "the bus is not open"
        subscription = Subscription(self, channel, heard, resync)
        known = self._channels.get(channel)
        if known is None:
            self._channels[channel] = _Channel([subscription])
            self._carrier.listen(channel)
        else:
            known.subscriptions.append(subscription)
            if known.listening:
                subscription._missed()
        self._facts.subscriptions += 1
        self._facts.channels = len(self._channels)
        return subscription

    def _unsubscribe(self, subscription: Subscription) -> None:
        known = self._channels[subscription.channel]
        known.subscriptions.remove(subscription)
        if not known.subscriptions:
            del self._channels[subscription.channel]
            self._carrier.ignore(subscription.channel)
        self._facts.subscriptions -= 1
        self._facts.channels = len(self._channels)

    def heard(self, channel: str, frame: bytes) -> None:
        """A frame came (the carrier's call)."""
        facts, known = self._facts, self._channels.get(channel)
        if known is None:
            return
        facts.frames_heard += 1
        facts.bytes_heard += len(frame)
        try:
            run, number, lost, messages, mark = frames.read(frame)
        except frames.Newer as newer:
            facts.newer += 1
            self._rarely("a newer Typegate says what this one does not understand", channel=channel, why=str(newer))
            return
        except ValueError as error:
            facts.malformed += 1
            self._rarely("somebody else says something on our channels", channel=channel, why=str(error))
            return
        if mark and self.marks and mark not in self.marks:
            facts.foreign += 1
            self._rarely("another cluster, with keys of its own, is on our channels: give each its redis.prefix")
            return
        last = known.numbers.get(run)
        if last is not None and number <= last:
            facts.repeated += 1
            return
        if lost or (last is not None and number > last + 1):
            self._gap(known)
        if last is None and len(known.numbers) >= _KEPT_RUNS:
            known.numbers.clear()
        known.numbers[run] = number
        if not messages:
            return
        facts.messages_heard += len(messages)
        size = len(frame) // len(messages)
        for subscription in known.subscriptions:
            subscription._take(messages, size)

    def listening(self, channel: str) -> None:
        """A channel is heard from now on (the carrier's call)."""
        known = self._channels.get(channel)
        if known is not None:
            known.listening = True
            known.numbers.clear()
            self._gap(known)

    def returned(self) -> None:
        """What could not be sent may be sent again (the carrier's call)."""
        self._owed_rests = False
        if self._owing:
            self._send.set()

    def _gap(self, known: _Channel) -> None:
        self._facts.gaps += 1
        for subscription in known.subscriptions:
            subscription._missed()

    async def _delivering(self) -> None:
        """Bring messages to subscribers in turn, one each, in slices."""
        ready = self._ready
        while True:
            await self._deliver.wait()
            self._deliver.clear()
            until = time.perf_counter() + _SLICE_S
            while ready:
                subscription = ready.popleft()
                if subscription._bring():
                    ready.append(subscription)
                if time.perf_counter() > until:
                    await asyncio.sleep(0)
                    until = time.perf_counter() + _SLICE_S

    # -- how it is -----------------------------------------------------------------------------------------------

    def facts(self) -> BusFacts:
        """Facts for metrics; cheap, and always the same object."""
        return self._facts

    async def ping(self) -> None:
        """Raise `StoreError` where others do not hear us, or we them."""
        await self._carrier.ping()
        if self._fault is not None:
            raise StoreError(self._fault, retriable=True)

    def _rarely(self, event: str, **facts: Any) -> None:
        """Log something that others could make us say all the time."""
        now = time.monotonic()
        if now - self._said_at.get(event, -_SAID_EVERY_S) >= _SAID_EVERY_S:
            self._said_at[event] = now
            log.error(event, **facts)


class Subscription:
    """Hears a channel until it is closed; made by `Bus.subscribe`.

    Who cannot take more just now pauses it: what comes meanwhile waits, up to the limits, beyond which the oldest is
    lost and `resync` is called in its place.
    """

    __slots__ = ("_bus", "_bytes", "_heard", "_queue", "_queued", "_resync", "channel", "closed", "paused")

    def __init__(self, bus: Bus, channel: str, heard: Callable[[Any], None], resync: Callable[[], None]) -> None:
        self._bus = bus
        self.channel = channel
        self._heard = heard
        self._resync = resync
        self._queue: deque[tuple[Any, int]] = deque()
        self._bytes = 0
        self._queued = False
        self.paused = False
        self.closed = False

    def close(self) -> None:
        """Hear nothing more, from this moment. Doing it twice does nothing."""
        if not self.closed:
            self.closed = True
            self._queue.clear()
            self._bus._unsubscribe(self)

    def pause(self) -> None:
        """Bring nothing until `resume`."""
        self.paused = True

    def resume(self) -> None:
        """Bring what waits, and what comes."""
        self.paused = False
        self._offer()

    def _take(self, messages: Sequence[Any], size: int) -> None:
        """These have come, of so many bytes each."""
        options = self._bus._options
        self._queue.extend([(message, size) for message in messages])
        self._bytes += len(messages) * size
        over = False
        while len(self._queue) > options.waiting_messages or self._bytes > options.waiting_bytes:
            message, oldest_size = self._queue.popleft()
            self._bytes -= oldest_size
            self._bus._facts.dropped += message is not _GAP
            over = True
        if over:  # if it was but a gap that made room, it is still to be told
            self._queue.appendleft((_GAP, 0))
        self._offer()

    def _missed(self) -> None:
        """Something may have been missed here."""
        if not self._queue or self._queue[-1][0] is not _GAP:
            self._queue.append((_GAP, 0))
        self._offer()

    def _offer(self) -> None:
        if self._queue and not (self._queued or self.paused):
            self._queued = True
            self._bus._ready.append(self)
            self._bus._deliver.set()

    def _bring(self) -> bool:
        """Bring one; whether more waits."""
        if self._queue and not self.paused:
            message, size = self._queue.popleft()
            self._bytes -= size
            try:
                if message is _GAP:
                    self._resync()
                else:
                    self._heard(message)
            except Exception:  # one subscriber's fault is nobody else's
                self._bus._facts.failures += 1
                log.exception("a subscriber could not take what it heard", channel=self.channel)
        self._queued = bool(self._queue) and not self.paused
        return self._queued


_GAP = object()
"""Stands in a subscriber's queue where something may be missing."""


class _Channel:
    """A channel that has subscribers here."""

    __slots__ = ("listening", "numbers", "subscriptions")

    def __init__(self, subscriptions: list[Subscription]) -> None:
        self.subscriptions = subscriptions
        self.listening = False
        self.numbers: dict[bytes, int] = {}
        """The last number heard, by the sender's run."""


class _Sender:
    """A channel on which something was said from here."""

    __slots__ = ("number", "owing")

    def __init__(self, number: int) -> None:
        self.number = number
        self.owing = False
        """Whether its subscribers are still to be told that messages were given up."""


class _Saying:
    """A message that waits to be sent."""

    __slots__ = ("packed", "under_way")

    def __init__(self, packed: bytes, under_way: asyncio.Future[None] | None) -> None:
        self.packed = packed
        self.under_way = under_way

    def became(self, fault: StoreError | None) -> None:
        """Tell who waits for it."""
        if self.under_way is None or self.under_way.done():
            return
        if fault is None:
            self.under_way.set_result(None)
        else:
            self.under_way.set_exception(fault)


def _parts(said: Sequence[_Saying]) -> Iterator[list[_Saying]]:
    """A channel's messages in the frames that they go in."""
    part: list[_Saying] = []
    size = 0
    for one in said:
        if part and size + len(one.packed) > _FRAME_BYTES:
            yield part
            part, size = [], 0
        part.append(one)
        size += len(one.packed)
    if part:
        yield part
