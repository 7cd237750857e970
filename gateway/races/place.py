"""A connection's place at a race: on a lane, or looking on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from session.machine import Claim, TypingSession

if TYPE_CHECKING:
    from gateway.connection import Connection
    from gateway.races.room import Room

__all__ = ["Place"]


class Place:
    """What a connection has while it is in a room; the connection tells it what becomes of itself and of its test."""

    __slots__ = ("claim", "connection", "found", "lane", "n", "room", "session")

    def __init__(self, room: Room, connection: Connection, lane: int | None) -> None:
        self.room = room
        self.connection = connection
        self.lane = lane
        """None for who looks on."""
        self.found = False
        """Whether the race was opened for who looked for one and found none."""
        self.claim: Claim | None = None
        """By which the test was taken from another node, to be begun anew."""
        self.session: bytes | None = None
        """The test of this race that runs on the connection, or ran."""
        self.n = 0
        """Events of it when its progress was last looked at."""

    @property
    def racing(self) -> bool:
        """Whether the connection's own test is the race's, and is not over."""
        session = self.connection.session
        return session is not None and session.id == self.session

    def leave(self) -> None:
        """The connection leaves, of its own will."""
        self.room.leave(self)

    def supersede(self) -> None:
        """Another connection of the same user has the lane."""
        self.room.rise(self)
        self.connection.supersede()

    def closed(self) -> None:
        """The connection is lost."""
        self.room.lost(self)

    def ended(self, session: TypingSession) -> None:
        """The connection's test has ended, and its result is on its way."""
        if session.id == self.session:
            self.room.ended(self, session)

    def gave_up(self, session: TypingSession) -> None:
        """The connection's test is over without a result."""
        if session.id == self.session:
            self.room.gave_up(self)
