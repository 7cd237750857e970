"""Who is before whom in a race.

In a timed race the greater speed is before the lesser one, in any other the lesser time before the greater; who is no
more than a tie's width behind the first of a place shares it. It takes one key and a space to be through with a word:
so the time of who left words wrong is that which the whole text would have taken at that speed (with nine tenths of it
right, a ninth more), and who got too little of it right comes after all who did not. Void results have no place.
"""

from dataclasses import replace

from session.race import Race, Racer
from session.race_options import RaceRules
from session.state import Phase, RacerState

__all__ = ["counts", "placed"]


def counts(race: Race, racer: Racer, rules: RaceRules) -> bool:
    """Whether the racer has finished as one does who typed the text: the others then have a while left, and no longer.

    Else whoever skips through a text, or makes a program type it, would cut everybody's race short.
    """
    return racer.state is RacerState.FINISHED and racer.verdict != "void" and not _measure(race, racer, rules)[0]


def placed(race: Race, rules: RaceRules) -> tuple[Racer, ...]:
    """The racers with their places; ghosts have theirs once the race is over."""
    order = sorted(
        (_measure(race, racer, rules), racer.lane)
        for racer in race.racers
        if racer.state in (RacerState.FINISHED, RacerState.GHOST) and racer.verdict != "void"
    )
    width = 0.0 if race.options.test.limit_ms is not None else rules.tie_ms
    places: dict[int, int] = {}
    first = (False, float("-inf"))
    place = 0
    for number, ((sloppy, measure), lane) in enumerate(order, 1):
        if (sloppy, measure) > (first[0], first[1] + width) or not place:
            place, first = number, (sloppy, measure)
        places[lane] = place
    if race.phase is not Phase.SETTLED:
        for racer in race.racers:
            if racer.ghost:
                places.pop(racer.lane, None)
    return tuple(
        racer if racer.place == places.get(racer.lane) else replace(racer, place=places.get(racer.lane))
        for racer in race.racers
    )


def _measure(race: Race, racer: Racer, rules: RaceRules) -> tuple[bool, float]:
    """What racers are ordered by: whether too little is right, then time for all of it; or speed from the highest."""
    wpm, ms = racer.wpm or 0.0, racer.ms or 0.0
    if race.options.test.limit_ms is not None:
        return False, -wpm
    length = race.text.clusters
    right = round(wpm * ms / 12_000)
    return right < rules.least_right * length, ms * length / min(max(right, 1), length)
