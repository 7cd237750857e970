"""`auth`: who is there, and whether they may come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.auth import Identity, Unauthorised
from session.messages import CloseCode

if TYPE_CHECKING:
    from gateway.connection import Connection
    from gateway.hub import Hub

__all__ = ["Admitting"]


class Admitting:
    """One a process: what its connections' tokens come to."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def hear(self, connection: Connection, token: str | None) -> None:
        """Take a token, or none: mostly at once, else when its issuer's keys have been asked for."""
        try:
            identity = self._hub.authenticator.identify(token, now_ms=self._hub.epoch_ms())
        except Unauthorised as exc:
            self._unauthorised(connection, exc, token)
            return
        if identity is not None:
            self._admit(connection, identity)
        else:
            assert token is not None  # a guest without one is never sent to the issuer
            connection.wait_for(self._identify(connection, token))

    async def _identify(self, connection: Connection, token: str) -> None:
        """Ask the issuer for its keys first."""
        try:
            identity = await self._hub.authenticator.identify_later(token, now_ms=self._hub.epoch_ms())
        except Unauthorised as exc:
            self._unauthorised(connection, exc, token)
        else:
            self._admit(connection, identity)

    def _unauthorised(self, connection: Connection, exc: Unauthorised, token: str | None) -> None:
        self._hub.metrics.auth("jwt" if token and "." in token else "guest", exc.code)
        connection.close(CloseCode.UNAUTHORISED, exc.message)

    def _admit(self, connection: Connection, identity: Identity) -> None:
        if not connection.alive:
            return
        if not identity.user:
            connection.close(CloseCode.UNAUTHORISED, "this token reads results; it types none")
            return
        ban = self._hub.ban_of(identity.user)
        self._hub.metrics.auth("guest" if identity.guest else "jwt", "ok" if ban is None else "banned")
        if ban is not None:
            connection.ban(ban.told)
        else:
            connection.come_in(identity)
