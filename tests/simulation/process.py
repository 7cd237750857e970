"""One process: an event loop on the world's time, that can hang, and be killed between any two of its turns.

What asyncio promises holds: what is called soon is called in its order, and nothing before its time. What it does not
promise is drawn by lot: how long a turn waits for the processor, and the order of timers that fall due together.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.simulation.world import Broken, Timer, World, cancel

T = TypeVar("T")

_BUSY = 0.01  # share of the turns that wait long for the processor
_BUSY_S = 0.05


class _Call:
    """What a loop is to call (an asyncio handle, as far as anybody looks at one)."""

    __slots__ = ("_when", "args", "callback", "timer")

    def __init__(self, callback: Callable[..., object], args: tuple[object, ...], when: float = 0.0) -> None:
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.timer: Timer | None = None
        self._when = when

    def cancel(self) -> None:
        self.callback = None
        cancel(self.timer)

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        return self._when


class _Task(asyncio.Task[T]):
    """A task whose place in a set is the same in every run."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class Process:
    """An event loop, and the fate of the process that it is.

    `clock_s`: what its monotonic clock shows at the world's beginning.
    """

    def __init__(self, world: World, name: str, *, chance: random.Random, clock_s: float) -> None:
        self.name = name
        self.alive = True
        self.hangs = False
        self._world = world
        self._clock_s = clock_s
        self._ready: deque[_Call] = deque()
        self._turning = False
        self._random = chance.random
        self._tasks: list[_Task[Any]] = []
        self._held: list[Callable[[], None]] = []
        self._after: list[Callable[[], None]] = []

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Itself, as the type that the server's classes ask for."""
        loop: Any = self
        return loop  # type: ignore[no-any-return]  # it implements what they use and no more

    # -- its fate -----------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """It is gone: nothing of it runs any more."""
        self.alive = False
        self._ready.clear()
        self._held.clear()
        asyncio._set_running_loop(self.loop)
        try:
            for task in self._tasks:
                if not task.done():
                    quiet: Any = task
                    quiet._log_destroy_pending = False  # asyncio's own way to say that this is meant
                    _close(quiet.get_coro())
        finally:
            asyncio._set_running_loop(None)
        self._tasks.clear()

    def hang(self) -> None:
        """It gets no time (SIGSTOP)."""
        self.hangs = True

    def go_on(self) -> None:
        """It gets time again, and takes up whatever waits."""
        self.hangs = False
        held, self._held = self._held, []
        for call in held:
            call()
        self._turn_soon()

    def thread(self, call: Callable[[], None]) -> None:
        """Run a thread's next piece of work: now, or when the process gets time again."""
        if self.alive:
            if self.hangs:
                self._held.append(call)
            else:
                call()

    def after_turn(self, call: Callable[[], None]) -> None:
        """Call when the present turn is over: in it nobody must be killed."""
        self._after.append(call)
        self._turn_soon()

    # -- what asyncio and the server use of a loop --------------------------------------------------------------------

    def time(self) -> float:
        return self._world.now + self._clock_s

    def call_soon(self, callback: Callable[..., object], *args: object, context: object = None) -> _Call:
        call = _Call(callback, args)
        if self.alive:
            self._ready.append(call)
            self._turn_soon()
        return call

    call_soon_threadsafe = call_soon

    def call_at(self, when: float, callback: Callable[..., object], *args: object, context: object = None) -> _Call:
        call = _Call(callback, args, when)
        if self.alive:
            call.timer = self._world.at(when - self._clock_s, self._is_due, call)
        return call

    def call_later(self, delay: float, callback: Callable[..., object], *args: object, context: object = None) -> _Call:
        return self.call_at(self.time() + delay, callback, *args)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self.loop)

    def create_task(
        self, work: Coroutine[Any, Any, T], *, name: str | None = None, context: object = None
    ) -> asyncio.Task[T]:
        task = _Task(work, loop=self.loop, name=name)
        task.number = len(self._tasks)
        self._tasks.append(task)
        return task

    def run_in_executor(self, executor: None, work: Callable[[], T]) -> asyncio.Future[T]:
        """Work in a thread, done at once: what takes long in one is a disk's, and that is in `disk`."""
        done = self.create_future()
        done.set_result(work())
        return done

    def get_debug(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return not self.alive

    def is_running(self) -> bool:
        return self.alive

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self.alive:
            raise Broken("nothing fails unseen", f"{self.name}: {context.get('message')}: {context.get('exception')!r}")

    # -- turns --------------------------------------------------------------------------------------------------------

    def _turn_soon(self) -> None:
        if not self._turning:
            self._turning = True
            lot = self._random()
            self._world.after(lot * _BUSY_S / _BUSY if lot < _BUSY else lot * 0.0003, self._turn)

    def _is_due(self, call: _Call) -> None:
        if self.alive:
            self._ready.append(call)
            self._turn_soon()

    def _runs(self) -> bool:
        return self.alive and not self.hangs

    def _turn(self) -> None:
        self._turning = False
        if not self._runs():
            return
        ready = self._ready
        asyncio._set_running_loop(self.loop)
        try:
            for _ in range(len(ready)):
                call = ready.popleft()
                callback = call.callback
                if callback is not None:
                    callback(*call.args)
                    if not self._runs():  # it was stopped in the midst of the turn
                        break
        finally:
            asyncio._set_running_loop(None)
        if ready:
            self._turn_soon()
        if self._after:
            after, self._after = self._after, []
            for each in after:
                each()


def _close(work: Coroutine[Any, Any, Any]) -> None:
    """Have a coroutine over that nobody will ever go on with; one that waits while it closes is closed again."""
    for _ in range(20):
        try:
            work.close()
        except RuntimeError:
            continue
        break
