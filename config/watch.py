"""The options of looking on: how many may, at how many tests."""

from dataclasses import dataclass

from config.gateway import between

__all__ = ["WatchOptions"]


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """Spectators of tests: how many a node takes, and what they may cost."""

    watchers: int = 10_000
    """Connections of a node that may look on at tests; who comes beyond them is told `watch_full`."""
    watchers_each: int = 2_000
    """Connections of a node that may look on at one typist, likewise."""
    watchers_own: int = 50
    """Connections of one user, of a node, that may look on, likewise."""
    typists: int = 500
    """Typists at whom a node's connections may look on, likewise."""
    shown: int = 500
    """Typists of a node whose tests are shown; who asks for another is told `watch_full`."""
    per_s: float = 1.0
    """How often a user may begin to look on, at a test or a race, per second in the long run; beyond it: `busy`."""
    burst: int = 30
    """How often at once."""
    answer_ms: int = 1_500
    """Who asks for a test is told `unwatchable` after so long, whyever it is."""
    silent_ms: int = 5_000
    """A typist of whom nothing is heard for so long is shown as away, and all nodes are asked who has the test now."""
    gone_s: int = 180
    """A typist who is away for so long is gone; keep it above the time for which a session is held."""

    def __post_init__(self) -> None:
        for name in ("watchers", "watchers_each", "watchers_own", "typists", "shown"):
            between(name, getattr(self, name), 0, 1_000_000)
        between("per_s", self.per_s, 0.001, 10_000)
        between("burst", self.burst, 1, 100_000)
        between("answer_ms", self.answer_ms, 100, 60_000)
        between("silent_ms", self.silent_ms, 2_500, 600_000)
        between("gone_s", self.gone_s, 5, 86_400)
