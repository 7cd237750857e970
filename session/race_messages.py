"""What is said of races and to spectators: these messages of both vocabularies; `session.messages` puts all together.

Racers are named by their *lane* within the race, 0 to 99; nobody is told another's user id. Instants are epoch ms on
the race's clock, the `s` of `hb`.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from session.kinds import (
    BOOLEAN,
    ID,
    INTEGER,
    LIST,
    MAP,
    NUMBER,
    SESSION,
    SESSIONS,
    STRING,
    STRINGS,
    Message,
    ToClient,
    Wire,
)

__all__ = [
    "RaceAgain",
    "RaceCreate",
    "RaceGhost",
    "RaceJoin",
    "RaceLeave",
    "RaceProgress",
    "RaceReady",
    "RaceStart",
    "RaceStateMessage",
    "Unwatch",
    "Watch",
    "WatchEnd",
    "WatchKeys",
    "WatchState",
    "Watched",
]


# --- from the client ---


@dataclass(frozen=True, slots=True)
class RaceCreate(Message):
    """Open a race and join it as its host. The answer is `race.state`."""

    T: ClassVar[str] = "race.create"
    mode: Annotated[str, Wire(STRING, "words, time or quote")]
    count: Annotated[int | None, Wire(INTEGER, "words to type, in mode words")] = None
    seconds: Annotated[int | None, Wire(INTEGER, "length in mode time")] = None
    test: Annotated[int | None, Wire(ID, "a passage of the catalogue, in mode quote")] = None
    language: Annotated[str | None, Wire(STRING, "BCP 47 tag")] = None
    category: Annotated[str | None, Wire(STRING, "choose the quote among this category")] = None
    difficulty: Annotated[str | None, Wire(STRING, "choose the quote among easy, medium or hard ones")] = None
    punctuation: Annotated[bool, Wire(BOOLEAN, "words as sentences with marks, in modes words and time")] = False
    numbers: Annotated[bool, Wire(BOOLEAN, "numbers among the words, in modes words and time")] = False
    public: Annotated[bool, Wire(BOOLEAN, "whether strangers may join and watch; else whoever has the id")] = False
    racers: Annotated[int | None, Wire(INTEGER, "most racers: 2 to 100, 1 too with ghosts; 5 if left out")] = None
    name: Annotated[str | None, Wire(STRING, "your name in it; if left out your account's, or a default one")] = None
    input: Annotated[str | None, Wire(STRING, "keyboard (default), touch, ime or assistive")] = None
    ghosts: Annotated[
        tuple[bytes, ...] | None,
        Wire(SESSIONS, "results to race against, at most 4, your own or public ones; the text is the first one's"),
    ] = None


@dataclass(frozen=True, slots=True)
class RaceJoin(Message):
    """Join a race, or come back to one's lane in it, in the lobby also by another name.

    Without `race` one that fits is found, or made.
    """

    T: ClassVar[str] = "race.join"
    race: Annotated[str | None, Wire(STRING, "which one; left out: a public one of the language and your speed")] = None
    name: Annotated[str | None, Wire(STRING, "your name in it; if left out your account's, or a default one")] = None
    input: Annotated[str | None, Wire(STRING, "keyboard (default), touch, ime or assistive")] = None
    language: Annotated[str | None, Wire(STRING, "BCP 47 tag, where `race` is left out")] = None


@dataclass(frozen=True, slots=True)
class RaceReady(Message):
    """Say that you are ready to begin, or not any more."""

    T: ClassVar[str] = "race.ready"
    ready: Annotated[bool, Wire(BOOLEAN, "true if left out")] = True


@dataclass(frozen=True, slots=True)
class RaceLeave(Message):
    """Leave the race: before the countdown the lane is free again, later you did not finish."""

    T: ClassVar[str] = "race.leave"


@dataclass(frozen=True, slots=True)
class RaceStart(Message):
    """The host begins without waiting for those who are not ready."""

    T: ClassVar[str] = "race.start"


@dataclass(frozen=True, slots=True)
class RaceAgain(Message):
    """After the end: another race with the same settings, and those who ask for it."""

    T: ClassVar[str] = "race.again"


@dataclass(frozen=True, slots=True)
class Watch(Message):
    """Look on: at a race that is public or whose id you have, or at a test whose typist lets others, or is you.

    Of a test's typist you see one test after the other, until you look away; a second `watch` takes the first one's
    place.
    """

    T: ClassVar[str] = "watch"
    race: Annotated[str | None, Wire(STRING, "a race's id")] = None
    session: Annotated[bytes | None, Wire(SESSION, "a test's session")] = None


@dataclass(frozen=True, slots=True)
class Unwatch(Message):
    """Look away."""

    T: ClassVar[str] = "unwatch"


# --- to the client ---


@dataclass(frozen=True, slots=True)
class RaceStateMessage(ToClient):
    """The whole state of the race that you are in, whenever it changed, at most ten times a second."""

    T: ClassVar[str] = "race.state"
    race: Annotated[str, Wire(STRING, "the race's id; its page is /race/{id}")]
    version: Annotated[int, Wire(INTEGER, "grows with each change")]
    phase: Annotated[str, Wire(STRING, "lobby, countdown, running, closing or settled")]
    public: Annotated[bool, Wire(BOOLEAN, "whether strangers may join")]
    most: Annotated[int, Wire(INTEGER, "room for so many racers")]
    mode: Annotated[str, Wire(STRING, "as chosen")]
    language: Annotated[str, Wire(STRING, "BCP 47 tag")]
    racers: Annotated[
        list[dict[str, Any]],
        Wire(
            LIST,
            "maps, by lane: `lane`, `name`, `state` (waiting, racing, detached, finished, dnf or ghost), `ready`; "
            "once finished `ms`, `wpm`, `acc`, `place`, `verdict`",
        ),
    ]
    host: Annotated[int | None, Wire(INTEGER, "the host's lane")] = None
    lane: Annotated[int | None, Wire(INTEGER, "yours; left out where you watch")] = None
    count: Annotated[int | None, Wire(INTEGER, "as chosen")] = None
    seconds: Annotated[int | None, Wire(INTEGER, "as chosen")] = None
    title: Annotated[str | None, Wire(STRING, "the passage's title, from the countdown on")] = None
    length: Annotated[
        int | None, Wire(INTEGER, "clusters of the text, from the countdown on; left out in mode time")
    ] = None
    start_ms: Annotated[int | None, Wire(INTEGER, "the start instant, from the countdown on")] = None
    until_ms: Annotated[int | None, Wire(INTEGER, "when the present phase ends, if nothing ends it before")] = None
    provisional: Annotated[bool | None, Wire(BOOLEAN, "whether places may still change; false only once final")] = None
    next: Annotated[str | None, Wire(STRING, "the race that those who asked for another are in")] = None


@dataclass(frozen=True, slots=True)
class RaceProgress(ToClient):
    """How far the racers are, ten times a second: those who got on."""

    T: ClassVar[str] = "race.progress"
    race: Annotated[str, Wire(STRING, "the race's id")]
    p: Annotated[
        list[list[Any]], Wire(LIST, "[[lane, clusters done, wpm, wrong inserts], ...]; done: where in the text")
    ]


@dataclass(frozen=True, slots=True)
class RaceGhost(ToClient):
    """A ghost's whole course, with the countdown: play it from the start instant."""

    T: ClassVar[str] = "race.ghost"
    race: Annotated[str, Wire(STRING, "the race's id")]
    lane: Annotated[int, Wire(INTEGER, "the ghost's")]
    step_ms: Annotated[int, Wire(INTEGER, "length of a step")]
    at: Annotated[list[int], Wire(LIST, "clusters done after each step")]


@dataclass(frozen=True, slots=True)
class Watched(ToClient):
    """The answer to `watch`: what is typed; `watch.keys` bring what has been typed of it so far, and what comes.

    It comes again whenever another test begins, or what was shown has to be shown anew.
    """

    T: ClassVar[str] = "watched"
    session: Annotated[bytes, Wire(SESSION, "the test's session")]
    mode: Annotated[str, Wire(STRING, "as `started` has it, like all of these")]
    text: Annotated[str, Wire(STRING, "what is to be typed; empty in zen")]
    language: Annotated[str, Wire(STRING, "BCP 47 tag")]
    direction: Annotated[str, Wire(STRING, "ltr or rtl")]
    cyclic: Annotated[bool, Wire(BOOLEAN, "whether the text starts again after its last word")]
    punctuation: Annotated[bool, Wire(BOOLEAN, "as the typist chose")]
    numbers: Annotated[bool, Wire(BOOLEAN, "as the typist chose")]
    own: Annotated[bool, Wire(BOOLEAN, "whether it is your own test")]
    name: Annotated[
        str | None, Wire(STRING, "what the typist is called: an account's name, or Guest or Typist and a number")
    ] = None
    title: Annotated[str | None, Wire(STRING, "the passage's title")] = None
    count: Annotated[int | None, Wire(INTEGER, "words to type, in mode words")] = None
    seconds: Annotated[int | None, Wire(INTEGER, "length in mode time")] = None
    breaks: Annotated[list[int] | None, Wire(LIST, "code points of each grapheme cluster, as in `started`")] = None
    word_lengths: Annotated[list[int] | None, Wire(LIST, "clusters of each word, as in `started`")] = None


@dataclass(frozen=True, slots=True)
class WatchKeys(ToClient):
    """What was typed, ten times a second at most, and the figures after it. When exactly is the typist's own matter."""

    T: ClassVar[str] = "watch.keys"
    n: Annotated[int, Wire(INTEGER, "number of the first of these keys; those that you have already, pass over")]
    k: Annotated[list[str], Wire(STRINGS, 'keys in order: typed graphemes, "\\b" or "\\u0017"')]
    ms: Annotated[int, Wire(INTEGER, "the test's time so far")]
    wpm: Annotated[float, Wire(NUMBER, "as in `tick`")]
    raw: Annotated[float, Wire(NUMBER, "as in `tick`")]
    acc: Annotated[float, Wire(NUMBER, "as in `tick`")]
    err: Annotated[int, Wire(INTEGER, "as in `tick`")]


@dataclass(frozen=True, slots=True)
class WatchState(ToClient):
    """How it stands with the one who is watched, when that changes."""

    T: ClassVar[str] = "watch.state"
    session: Annotated[bytes, Wire(SESSION, "as you asked for it in `watch`")]
    state: Annotated[
        str,
        Wire(
            STRING,
            "typing; away: the connection is lost, the test may go on; waiting: no test that you may see just now, the "
            "next one shows by itself; gone: nothing more comes, and you look on no longer",
        ),
    ]


@dataclass(frozen=True, slots=True)
class WatchEnd(ToClient):
    """The test that is watched is over. It comes again where the verdict follows."""

    T: ClassVar[str] = "watch.end"
    session: Annotated[bytes, Wire(SESSION, "the test's session")]
    how: Annotated[str, Wire(STRING, "finished: the figures are there; aborted: no result")]
    wpm: Annotated[float | None, Wire(NUMBER, "as in `result`, like all of these")] = None
    raw: Annotated[float | None, Wire(NUMBER, "words a minute of all characters")] = None
    acc: Annotated[float | None, Wire(NUMBER, "correct inserts in per cent")] = None
    consistency: Annotated[float | None, Wire(NUMBER, "evenness of the speed, 0 to 100")] = None
    chars: Annotated[list[int] | None, Wire(LIST, "[correct, incorrect, extra, missed] characters")] = None
    duration_ms: Annotated[float | None, Wire(NUMBER, "length of the test")] = None
    series: Annotated[dict[str, list[int]] | None, Wire(MAP, "wpm, raw, burst and err by second")] = None
    verdict: Annotated[str | None, Wire(STRING, "the final one, once the result is stored")] = None
