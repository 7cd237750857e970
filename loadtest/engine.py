"""The generator's loop: one epoll for every socket, one ring of time slots for every clock.

Twenty thousand typists leave no room for a task, a timer handle or a transport each. A member (anything with a
socket or a clock) is called when its socket has something, and when the instant that it asked for has come: the load
must never be what is slow.

    engine = Engine()
    member.due_ms = engine.now_ms + 100; engine.at(member)     # `member.wake(now_ms)` in 100 ms
    engine.watch(fd, member)                                    # `member.readable()`, `member.writable()`
    engine.run(until=lambda: done)
"""

from __future__ import annotations

import select
from collections.abc import Callable
from heapq import heappop, heappush
from math import inf
from time import monotonic
from typing import Protocol

from loadtest.meters import Times

__all__ = ["Engine", "Member"]

SLOT_MS = 2
"""Instants are rounded up to this: a key is sent 1 ms late on average."""

_SLOTS = 8192  # a ring of 16 s; what is due later waits in a heap
_EVENTS = 1024  # sockets served between two looks at the clock
_READABLE = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR


class Member(Protocol):
    """What the engine calls."""

    due_ms: float
    """When it wants to be woken, infinite for never; set it, then ask by `Engine.at`."""

    def wake(self, now_ms: float) -> None:
        """Its instant has come."""

    def readable(self) -> None:
        """Its socket has bytes, or has ended."""

    def writable(self) -> None:
        """Its socket takes bytes again (asked for by `Engine.watch_both`)."""


class Engine:
    """The loop. One per process; `run` may be called again and again."""

    __slots__ = ("_epoll", "_heap", "_members", "_serial", "_slot", "_slots", "lateness", "now_ms")

    def __init__(self) -> None:
        self.now_ms = monotonic() * 1000
        """Read once a turn."""
        self.lateness = Times()
        """How late slots were woken, a reading a turn: with a p99 of some 20 ms the generator itself is the limit."""
        self._epoll = select.epoll()
        self._members: dict[int, Member] = {}
        self._slots: list[list[Member]] = [[] for _ in range(_SLOTS)]
        self._slot = int(self.now_ms) // SLOT_MS
        self._heap: list[tuple[float, int, Member]] = []
        self._serial = 0

    def __len__(self) -> int:
        """Sockets watched."""
        return len(self._members)

    def close(self) -> None:
        """Watch nothing any more."""
        self._epoll.close()

    # --- sockets ---

    def watch(self, fd: int, member: Member) -> None:
        """Tell `member` of what arrives."""
        self._members[fd] = member
        self._epoll.register(fd, select.EPOLLIN)

    def watch_both(self, fd: int, both: bool) -> None:
        """Tell also when the socket takes bytes, or no more."""
        self._epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT if both else select.EPOLLIN)

    def forget(self, fd: int) -> None:
        """Watch this socket no more; it is about to be closed."""
        if self._members.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    # --- clocks ---

    def at(self, member: Member) -> None:
        """Wake `member` at its `due_ms`; an instant asked for earlier counts no more unless that has come too."""
        slot = int(member.due_ms) // SLOT_MS + 1
        ahead = slot - self._slot
        if ahead <= 0:
            self._slots[(self._slot + 1) % _SLOTS].append(member)
        elif ahead < _SLOTS:
            self._slots[slot % _SLOTS].append(member)
        else:
            self._serial += 1
            heappush(self._heap, (member.due_ms, self._serial, member))

    # --- turning ---

    def run(self, until: Callable[[], bool], *, limit_s: float) -> bool:
        """Turn until `until()` is true (asked each turn) or the time is over; whether it became true."""
        end_ms = monotonic() * 1000 + limit_s * 1000
        while not until():
            if self.now_ms >= end_ms:
                return False
            self.turn()
        return True

    def turn(self) -> None:
        """Serve the sockets that have something, then the slots that are due."""
        next_ms = (self._slot + 1) * SLOT_MS
        wait_s = max(0.0, next_ms / 1000 - monotonic())
        members = self._members
        for fd, events in self._epoll.poll(wait_s, _EVENTS):
            member = members.get(fd)  # one may have been forgotten by another of this round
            if member is not None:
                if events & _READABLE:
                    member.readable()
                if events & select.EPOLLOUT and members.get(fd) is member:
                    member.writable()
        self.now_ms = now_ms = monotonic() * 1000
        last = int(now_ms) // SLOT_MS
        if last - self._slot > _SLOTS:  # the machine slept: everything on the ring is due
            self._slot = last - _SLOTS
        heap = self._heap
        # what is near where the ring is, not to now: while the ring is behind the rest would come back to the heap
        while heap and heap[0][0] < (self._slot + _SLOTS // 2) * SLOT_MS:
            member = heappop(heap)[2]
            if member.due_ms < inf:  # else it has asked for no instant since
                self.at(member)
        if self._slot < last:
            self.lateness.add(now_ms - next_ms)
        while self._slot < last:
            self._slot += 1
            due = self._slots[self._slot % _SLOTS]
            if due:
                self._slots[self._slot % _SLOTS] = []
                for member in due:
                    if member.due_ms <= now_ms:  # else it has put its instant off since, and asked for that one
                        member.wake(now_ms)
