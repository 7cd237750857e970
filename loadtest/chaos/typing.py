"""The people of a run: typists in a thread of their own, until they are told to stop."""

from __future__ import annotations

import threading
from time import monotonic

from loadtest.client import TypingClient
from loadtest.line import Address
from loadtest.meters import Meters, Times
from loadtest.share import Share, SwarmOptions

__all__ = ["People"]

_TURN_MS = 200


class People:
    """Typists at one address, test after test.

    They keep what each of their results must be (`SwarmOptions.client.keep`).
    """

    def __init__(self, options: SwarmOptions, address: Address) -> None:
        self._share = Share(options, address)
        self._stopping = threading.Event()
        self._closing = threading.Event()
        self._settled = threading.Event()
        self._fault: BaseException | None = None
        self._within_s = 0.0
        self._thread = threading.Thread(target=self._run, name="people")

    @property
    def meters(self) -> Meters:
        """What they count together."""
        return self._share.meters

    @property
    def clients(self) -> list[TypingClient]:
        """Each of them."""
        return self._share.clients

    @property
    def lateness(self) -> Times:
        """How late their own process was: with much of it the figures are its, and not the cluster's."""
        return self._share.engine.lateness

    def begin(self) -> None:
        """Let them come, one after the other."""
        self._thread.start()

    def settle(self, within_s: float) -> None:
        """Let everybody finish the test under way, and hear that it is stored within this time after the last key that
        anybody types. Returns at once; see `settled`."""
        self._within_s = within_s
        self._stopping.set()

    @property
    def settled(self) -> bool:
        """Whether all have, or the time for it is over. Raises what the thread failed with."""
        if self._fault is not None:
            raise self._fault
        return self._settled.is_set()

    def close(self) -> None:
        """Hang up everywhere, whatever is under way."""
        self._closing.set()
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._share.close()

    def _run(self) -> None:
        try:
            share = self._share
            share.begin(monotonic() * 1000)
            while not self._stopping.is_set():
                share.turn(share.engine.now_ms + _TURN_MS)
            share.settle(self._within_s, typed=True, given_up=self._closing.is_set)
        except BaseException as fault:
            self._fault = fault
        finally:
            self._settled.set()
