"""The result that a request names: its owner's, or one that its owner has made public.

Somebody else's that is not public is as good as none: nobody is told that there is one.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.api.heavy import Heavy
from gateway.api.problems import Problem, unavailable
from gateway.api.who import Caller, unauthorised
from persistence.cache import AccountGuests, PublicResults
from persistence.errors import StoreError
from persistence.results import ResultStore, why_not_public
from session.identity import IdentityError, session_from_text
from session.result import Result
from session.settling import Finished

__all__ = ["Finding", "Found"]


@dataclass(frozen=True, slots=True)
class Found:
    """A result, and as what it was found."""

    result: Result
    stored: bool
    """Whether it is in the store, and not only durable on this node."""
    own: bool
    """Whether all of it may be told: to its owner, and to the admin."""
    public: bool


class Finding:
    """Finds results for those who may see them. `underway(session)`: one that is durable here and not stored yet."""

    def __init__(
        self,
        store: ResultStore,
        guests: AccountGuests,
        public: PublicResults,
        underway: Callable[[bytes], Finished | None],
        heavy: Heavy,
    ) -> None:
        self._store = store
        self._guests = guests
        self._public = public
        self._underway = underway
        self._heavy = heavy

    async def find(self, name: str, known: Caller | None) -> Found:
        """The result of this name for who asks; None: somebody who does not say who it is. Raises Problem."""
        try:
            session = session_from_text(name.lower())
        except IdentityError as fault:
            raise (Problem(422, f"{fault}") if known else unauthorised()) from None
        finished = pending = self._underway(session)
        own = public = False
        try:
            if pending is None:
                finished = await self._store.by_id(session)
            if finished is not None:
                own = known is not None and (
                    known.may_read(finished.user) or finished.user in await self._guests.of(known.user)
                )
                public = pending is None and await self._public.holds(session)
        except StoreError as fault:
            raise unavailable(fault) from None
        if finished is not None and (own or public):
            # judged now, if the stream has not come to it: what is shown here is never provisional
            result = finished if isinstance(finished, Result) else await self._heavy.run(finished.judging())
            public = public and why_not_public(result) is None
            if own or public:
                return Found(result, stored=pending is None, own=own, public=public)
        if known is None:
            raise unauthorised("; without it only what its owner has made public is shown")
        raise Problem(404, f"there is no result {name} of yours; one that was given up or never finished has none")
