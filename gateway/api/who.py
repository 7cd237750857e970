"""Who asks: the bearer of the request's token, and whether what they ask for is theirs."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request

from gateway.api.problems import Problem
from gateway.auth import Authenticator, Unauthorised
from gateway.limits import Credits
from gateway.metrics import Metrics
from persistence.bans import Ban
from session.identity import IdentityError, user_from_text

__all__ = ["Caller", "Callers", "unauthorised", "user_named"]

CHALLENGE = {"www-authenticate": 'Bearer realm="typegate"'}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    user: int
    """0 for the admin token."""
    admin: bool

    def may_read(self, owner: int) -> bool:
        """Keystroke timing identifies people, so results are their owner's alone."""
        return self.admin or self.user == owner


class Callers:
    """Identifies requests, and limits each user's."""

    def __init__(
        self,
        authenticator: Authenticator,
        credits_: Credits,
        metrics: Metrics,
        ban_of: Callable[[int], Ban | None],
    ) -> None:
        self._authenticator = authenticator
        self._ban_of = ban_of
        self._credits = credits_
        self._metrics = metrics

    async def who(self, request: Request) -> Caller | None:
        """As `of`; None where the request has no token at all."""
        return await self.of(request) if "authorization" in request.headers else None

    async def of(self, request: Request) -> Caller:
        """The bearer of the token. Raises Problem 401 or 403 with the reason, or 429."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise unauthorised()
        if self._authenticator.is_admin(token):
            return Caller(0, admin=True)
        now_ms = time.time_ns() // 1_000_000
        kind = "jwt" if "." in token else "guest"
        try:
            identity = self._authenticator.identify(token, now_ms=now_ms)
            if identity is None:
                identity = await self._authenticator.identify_later(token, now_ms=now_ms)
        except Unauthorised as fault:
            self._metrics.auth(kind, fault.code)
            raise Problem(401, fault.message, headers=CHALLENGE) from None
        if (ban := self._ban_of(identity.user)) is not None:
            self._metrics.auth(kind, "banned")
            raise Problem(403, f"you are banned {ban.told}")
        self._metrics.auth(kind, "ok")
        wait_ms = self._credits.take(identity.user, now_ms=time.monotonic() * 1000)
        if wait_ms:
            seconds = -(-wait_ms // 1000)
            raise Problem(429, f"too many requests; wait {seconds} s", headers={"retry-after": str(seconds)})
        return Caller(identity.user, admin=False)


def unauthorised(more: str = "") -> Problem:
    """The answer to who bears no token and needs one."""
    return Problem(401, f"this needs `Authorization: Bearer` with a JWT or a guest's token{more}", headers=CHALLENGE)


def user_named(name: str, caller: Caller) -> int:
    """The user whom a path names; `me` is the caller. Raises Problem 422 or 404."""
    if name == "me":
        if caller.admin:
            raise Problem(422, "the admin token is nobody; name the user by id")
        return caller.user
    try:
        return user_from_text(name)
    except IdentityError as fault:
        raise Problem(422, f"{fault}; or `me`") from None
