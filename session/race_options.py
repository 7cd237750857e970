"""What may be chosen for a race, and the rules that races go by."""

from dataclasses import dataclass
from typing import Final

from session.messages import Error
from session.options import OptionFaults, SessionLimits, TestOptions, choose
from session.race_messages import RaceCreate

__all__ = ["LANES", "RACE_MODES", "RaceOptions", "RaceRules", "choose_race"]

LANES: Final = 100
"""Most lanes of a race, ghosts' included."""
RACE_MODES: Final = ("words", "time", "quote")


@dataclass(frozen=True, slots=True)
class RaceRules:
    """How large races may be, and how long each of their phases takes."""

    racers: int = 5
    """Most racers of a race whose host did not say."""
    most_racers: int = LANES
    """Most racers that a host may choose."""
    ghosts: int = 4
    """Most ghosts in a race."""
    lobby_ms: int = 600_000
    """A lobby in which nothing happens is closed."""
    ready_ms: int = 3_000
    """From when all are ready to the countdown: somebody may think again."""
    public_ms: int = 15_000
    """A public race begins its countdown so long after the second racer came."""
    joined_ms: int = 5_000
    """But not sooner than this after another one came."""
    away_ms: int = 20_000
    """How long a lane in the lobby is kept for who lost the connection."""
    countdown_ms: int = 5_000
    """From the text's being shown to the start instant."""
    timed_grace_ms: int = 15_000
    """How long after its limit a timed race waits for results."""
    slowest_wpm: float = 4.0
    """Any other race lasts as long as its text takes at this speed."""
    shortest_ms: int = 60_000
    """But at least this."""
    longest_ms: int = 3_600_000
    """And at most this."""
    closing_ms: int = 15_000
    """The others have at least this after the first has finished."""
    closing_share: float = 0.5
    """Or this share of the first one's time, if that is longer."""
    closing_most_ms: int = 60_000
    """But at most this."""
    verdicts_ms: int = 10_000
    """How long places stay provisional for verdicts that are still out."""
    tie_ms: float = 10.0
    """Who is no more than this behind has the same place."""
    least_right: float = 0.75
    """Who got less than this share of the text right comes after all who got more, and hurries nobody."""

    def __post_init__(self) -> None:
        for name, least, most in (
            ("racers", 2, LANES),
            ("most_racers", 2, LANES),
            ("ghosts", 0, 10),
            ("lobby_ms", 1, 3_600_000),
            ("ready_ms", 0, 60_000),
            ("public_ms", 0, 600_000),
            ("joined_ms", 0, 60_000),
            ("away_ms", 0, 600_000),
            ("countdown_ms", 1, 60_000),
            ("timed_grace_ms", 0, 600_000),
            ("slowest_wpm", 0.1, 60),
            ("shortest_ms", 1, 3_600_000),
            ("longest_ms", 1, 3_600_000),
            ("closing_ms", 0, 600_000),
            ("closing_share", 0, 10),
            ("closing_most_ms", 0, 3_600_000),
            ("verdicts_ms", 0, 600_000),
            ("tie_ms", 0, 1_000),
            ("least_right", 0, 1),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}; allowed is {least} to {most}")
        if self.racers > self.most_racers:
            raise ValueError(f"racers is {self.racers}, above most_racers ({self.most_racers})")


@dataclass(frozen=True, slots=True)
class RaceOptions:
    """What a race was chosen to be; made by `choose_race`."""

    test: TestOptions
    """What everybody types; `input` is each racer's own."""
    public: bool = False
    """Whether strangers may join and watch."""
    most: int = 5
    """Most racers, ghosts not counted."""


def choose_race(create: RaceCreate, *, limits: SessionLimits, rules: RaceRules) -> RaceOptions | Error:
    """The options, or the error that says everything that is wrong with them.

    Whether test, language and ghosts exist is for those who have them; with ghosts what is typed is theirs.
    """
    faults: list[str] = []
    test = TestOptions("quote")
    try:
        test = choose(
            limits=limits,
            mode=create.mode,
            count=create.count,
            seconds=create.seconds,
            test=create.test,
            language=create.language,
            category=create.category,
            difficulty=create.difficulty,
            punctuation=create.punctuation,
            numbers=create.numbers,
        )
    except OptionFaults as exc:
        faults += exc.faults
    if create.mode in ("text", "zen"):
        faults = [f"mode is {create.mode!r}; a race has one of {', '.join(RACE_MODES)}"]
    ghosts = len(create.ghosts or ())
    if ghosts > rules.ghosts:
        faults.append(f"{ghosts} ghosts; at most {rules.ghosts} are allowed")
    most = rules.racers if create.racers is None else create.racers
    least, most_allowed = (1 if ghosts else 2), min(rules.most_racers, LANES - min(ghosts, rules.ghosts))
    if not least <= most <= most_allowed:
        faults.append(f"racers is {most}; allowed is {least} to {most_allowed}")
    if create.public and ghosts:
        faults.append("a race against ghosts is private")
    if faults:
        return Error("options", "; ".join(faults))
    return RaceOptions(test=test, public=create.public, most=most)
