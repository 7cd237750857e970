"""A race as it is shown: to those in it, to those who look on, and over HTTP."""

from __future__ import annotations

from typing import Any

from session.race import Race, Racer
from session.race_messages import RaceStateMessage
from session.state import Phase

__all__ = ["state_of"]

_TOLD = frozenset({Phase.COUNTDOWN, Phase.RUNNING, Phase.CLOSING, Phase.SETTLED})
"""From when on it is told what is typed."""


def state_of(race: Race, *, title: str | None = None) -> dict[str, Any]:
    """The `race.state` message as a map, as everybody may see it: without a lane of one's own."""
    test = race.options.test
    told = race.start_ms is not None and race.phase in _TOLD
    return RaceStateMessage(
        race=race.id,
        version=race.version,
        phase=race.phase.value,
        host=race.host,
        public=race.options.public,
        most=race.options.most,
        mode=test.mode,
        count=test.count,
        seconds=test.seconds,
        language=race.text.language,
        title=title if told else None,
        length=race.text.clusters if told and test.seconds is None else None,
        start_ms=race.start_ms,
        until_ms=race.until_ms,
        provisional=None if race.phase is not Phase.SETTLED else not race.final,
        next=race.next,
        racers=[_shown(racer) for racer in race.racers],
    ).to_wire()


def _shown(racer: Racer) -> dict[str, Any]:
    """One lane. Whose it is is not told: users are named by their lane."""
    row: dict[str, Any] = {
        "lane": racer.lane,
        "name": racer.name,
        "state": racer.shown,
        "ready": racer.ready,
        "place": racer.place,
        "ms": racer.ms,
        "wpm": racer.wpm,
        "acc": racer.acc,
        "verdict": racer.verdict,
    }
    return {name: value for name, value in row.items() if value is not None}
