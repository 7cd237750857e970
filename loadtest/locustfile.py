"""Typists as locust's users: a test after the other over real sockets, each result held against the user's own scoring.

    make load ARGS="--host ws://127.0.0.1:8080 --headless -u 200 -r 20 -t 2m --shape ramp"
    python -m locust -f loadtest/locustfile.py --host ws://127.0.0.1:8080     # its page, on port 8089

Beside locust's own options (which alone its --help shows) there are `--shape` (steady, ramp, spike or soak, up to
`--users` for `--run-time`), `--mix` (which tests they choose: see `mixes`), `--seed`, `--encoding` (msgpack or json)
and `--unchecked`. With `--stop-timeout 90` tests under way at the end are typed to theirs.

What locust shows as requests: `ready` (connect to ready), `start`, `key to tick` (from the oldest key that a tick
acknowledges for the first time), `finish to accepted`, `finish to stored`, `lost to resumed`. A result that differs
from the user's own scoring in any digit is a failure, and so are an answer that does not come and an error. Some 300
typists fit into one process; `--processes` has more, and `python -m loadtest.swarm` many more, without locust's pages.
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable
from itertools import count
from typing import Any

from locust import LoadTestShape, User, events, task
from locust.argument_parser import LocustArgumentParser
from locust.exception import StopUser

from loadtest.blocking import BlockingTypist, Unreachable
from loadtest.crowd import Crowd
from loadtest.line import loopback_url
from loadtest.mixes import MIXES, MixPlan
from loadtest.shapes import SHAPES

DEFAULT_RUN_S = 60.0
"""How long a shape lasts without `--run-time`."""

_numbers = count()


@events.init_command_line_parser.add_listener
def options(parser: LocustArgumentParser) -> None:
    """Add what is ours to locust's own options."""
    own = parser.add_argument_group("Typegate")
    own.add_argument("--seed", type=int, default=1, help="Equal seeds type equal keys. [1]")
    own.add_argument("--mix", choices=list(MIXES), default="mix", help="Which tests they choose. [mix]")
    own.add_argument("--encoding", choices=["msgpack", "json"], default="msgpack", help="[msgpack]")
    own.add_argument("--shape", choices=list(SHAPES), default="steady", help="How many type when. [steady]")
    own.add_argument("--unchecked", action="store_true", help="Hold no result against the user's own scoring.")


class Course(LoadTestShape):
    """The shape that `--shape` names, up to `--users`, for `--run-time`."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """How many are wanted now, and how many come a second; None at the end."""
        assert self.runner is not None
        chosen = self.runner.environment.parsed_options
        assert chosen is not None
        total_s = float(chosen.run_time or DEFAULT_RUN_S)
        at_s = self.get_run_time()
        if at_s >= total_s:
            return None
        wanted = SHAPES[chosen.shape](at_s, total_s, chosen.num_users or 1, chosen.spawn_rate or 1.0)
        return wanted.users, wanted.per_s


class TypistUser(User):
    """One person, drawn by seed and number, who types until the run is over."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        chosen: Namespace = environment.parsed_options
        try:
            address = loopback_url(self.host or "")
        except ValueError as fault:
            raise SystemExit(f"--host: {fault}") from None
        worker = max(0, getattr(environment.runner, "worker_index", 0))
        number = next(_numbers) + 100_000 * worker
        self._plan = MixPlan(_crowd(chosen.seed), number, mix=chosen.mix, seed=chosen.seed)
        self._typist = BlockingTypist(
            address,
            self._plan,
            record=self._record,
            binary=chosen.encoding == "msgpack",
            check=not chosen.unchecked,
            seed=number,
        )
        self._test = 0

    def on_start(self) -> None:
        """Connect."""
        try:
            self._typist.__enter__()
        except Unreachable as fault:
            self._record("ready", 0.0, fault)
            raise StopUser from fault

    def on_stop(self) -> None:
        """Hang up."""
        self._typist.__exit__(None, None, None)

    @task
    def type_test(self) -> None:
        """One test, and a rest."""
        try:
            self._typist.type_test(self._test)
        except Unreachable as fault:
            self._record("ready", 0.0, fault)
            raise StopUser from fault
        self._test += 1
        time.sleep(self._plan.pause_ms(self._test) / 1000)

    def _record(self, what: str, took_ms: float, wrong: Exception | None) -> None:
        fire: Callable[..., None] = self.environment.events.request.fire
        fire(
            request_type="WS",
            name=what,
            response_time=took_ms,
            response_length=0,
            exception=wrong,
            context={},
        )


_crowds: dict[int, Crowd] = {}


def _crowd(seed: int) -> Crowd:
    """The people of this seed, drawn once for all users."""
    return _crowds.setdefault(seed, Crowd(seed))
