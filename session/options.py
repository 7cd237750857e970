"""What a typist may choose at `start`, and the limits of a session."""

from collections.abc import Sequence
from dataclasses import dataclass
from re import compile as pattern
from typing import Final, Literal, cast, get_args

__all__ = [
    "DIFFICULTIES",
    "INPUTS",
    "MODES",
    "Difficulty",
    "Input",
    "Mode",
    "OptionFaults",
    "SessionLimits",
    "TestOptions",
    "choose",
]

Mode = Literal["words", "time", "quote", "text", "zen"]
"""`words`: a number of words; `time`: as many as one can in a number of seconds; `quote`: a passage of the catalogue;
`text`: one's own text, on the clock or not; `zen`: no text at all."""
Input = Literal["keyboard", "touch", "ime", "assistive"]
"""How the keys are made; plausibility judges each kind by its own table."""
Difficulty = Literal["easy", "medium", "hard"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
INPUTS: Final[tuple[Input, ...]] = get_args(Input)
DIFFICULTIES: Final[tuple[Difficulty, ...]] = get_args(Difficulty)

_LANGUAGE = pattern(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,7}")
_CATEGORY = pattern(r"[a-z0-9][a-z0-9_-]{0,39}")
_TAG = pattern(r"[A-Za-z0-9_.:=-]{1,32}")


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How large, long and fast one test may be, and how long what was promised holds."""

    timed_seconds: int = 600
    """Longest timed test."""
    untimed_ms: int = 3_600_000
    """Longest test without a clock, in client time and in server time."""
    words: int = 2_000
    """Most words in mode `words`."""
    text_graphemes: int = 20_000
    """Longest text in grapheme clusters."""
    text_bytes: int = 48 * 1024
    """Longest text in bytes of UTF-8."""
    events: int = 30_000
    """Most events in a log; with that many a test ends as at its limit."""
    replay_bytes: int = 60 * 1024
    """A longer replay drops its holds; one that is too long without them is cut there, as at the limit."""
    history_bytes: int = 128 * 1024
    """Canonical history that a live session may keep; with that much a test ends as at its limit."""
    rate_window_ms: int = 5_000
    """Claimed client time over which keys are counted for the two limits below."""
    review_keys_per_s: int = 50
    """More keys per second over any window: at least `review`."""
    close_keys_per_s: int = 500
    """More keys per second over any window: closed as `limits`."""
    ticket_ms: int = 7 * 24 * 3_600_000
    """How long after `started` a test may be resumed."""
    detached_ms: int = 120_000
    """How long a session without a connection is held."""
    grace_ms: int = 2_000
    """How long after its limit a timed test waits for `finish` before it asks for a ping."""
    tags: int = 8
    """Most tags of a test."""

    def __post_init__(self) -> None:
        for name, most in (
            ("timed_seconds", 3_600),
            ("untimed_ms", 24 * 3_600_000),
            ("words", 10_000),
            ("text_graphemes", 100_000),
            ("text_bytes", 64 * 1024),  # a result must fit into its row
            ("events", 30_000),  # the replay codec's own limit
            ("replay_bytes", 60 * 1024),  # a result must fit into its row
            ("history_bytes", 1 << 20),
            ("rate_window_ms", 60_000),
            ("review_keys_per_s", 1_000),
            ("close_keys_per_s", 10_000),
            ("ticket_ms", 30 * 24 * 3_600_000),
            ("detached_ms", 3_600_000),
            ("grace_ms", 60_000),
            ("tags", 255),
        ):
            value = getattr(self, name)
            if not 1 <= value <= most:
                raise ValueError(f"{name} is {value}; allowed is 1 to {most}")
        if self.close_keys_per_s < self.review_keys_per_s:
            raise ValueError(
                f"close_keys_per_s is {self.close_keys_per_s}, below review_keys_per_s ({self.review_keys_per_s})"
            )


@dataclass(frozen=True, slots=True)
class TestOptions:
    """What was chosen for one test; made by `choose`, or read from a ticket."""

    __test__ = False  # no class of tests, whatever pytest thinks of its name

    mode: Mode
    count: int | None = None
    """Words in mode `words`."""
    seconds: int | None = None
    """Length of mode `time`, and of a `text` on the clock."""
    test: int | None = None
    """Id of a passage of the catalogue, in mode `quote`."""
    language: str | None = None
    """A BCP 47 tag; None leaves it to the server."""
    category: str | None = None
    """Narrows the choice of a `quote`."""
    difficulty: Difficulty | None = None
    """Narrows the choice of a `quote`."""
    punctuation: bool = False
    """Whether generated words come as sentences with marks."""
    numbers: bool = False
    """Whether numbers come among generated words."""
    tags: tuple[str, ...] = ()
    """Experiment variants, for analysis only."""
    input: Input = "keyboard"
    text: str | None = None
    """The own text in mode `text`."""
    watch: bool = False
    """Whether whoever has the session's id may look on."""

    @property
    def limit_ms(self) -> int | None:
        """The test's length where it is timed."""
        return None if self.seconds is None else self.seconds * 1000


class OptionFaults(ValueError):
    """What was chosen is not allowed; `faults` has a sentence for everything that is wrong with it."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


def choose(
    *,
    limits: SessionLimits,
    mode: str,
    count: int | None = None,
    seconds: int | None = None,
    test: int | None = None,
    language: str | None = None,
    category: str | None = None,
    difficulty: str | None = None,
    punctuation: bool = False,
    numbers: bool = False,
    tags: Sequence[str] = (),
    input: str = "keyboard",  # noqa: A002  # the protocol's own name for it
    text: str | None = None,
    watch: bool = False,
) -> TestOptions:
    """Check a choice of the right types. Raises `OptionFaults` with all that is not allowed at once.

    The content of `text`, and whether test and language exist, are for those who have them.
    """
    faults: list[str] = []

    def between(name: str, value: int | None, most: int) -> None:
        if value is None:
            faults.append(f"{name} is missing: mode {mode} takes 1 to {most}")
        elif not 1 <= value <= most:
            faults.append(f"{name} is {value}; allowed is 1 to {most}")

    def only(name: str, given: bool, *modes: str) -> None:
        if given and mode in MODES and mode not in modes:
            faults.append(f"{name} belongs to mode {' or '.join(modes)}, not to {mode}")

    if mode not in MODES:
        faults.append(f"mode is {mode[:40]!r}; allowed are {', '.join(MODES)}")
    if mode == "words":
        between("count", count, limits.words)
    if mode == "time" or (mode == "text" and seconds is not None):
        between("seconds", seconds, limits.timed_seconds)
    if mode == "text":
        if text is None:
            faults.append("text is missing: mode text is typed from it")
        elif len(text) > limits.text_bytes or len(text.encode("utf-8", "replace")) > limits.text_bytes:
            faults.append(f"text is over {limits.text_bytes} bytes of UTF-8")
    if mode not in ("words", "time"):
        # no fault of a page that sends its switches always: they say nothing here
        punctuation = numbers = False
    only("count", count is not None, "words")
    only("seconds", seconds is not None, "time", "text")
    only("text", text is not None, "text")
    if watch and mode == "text":
        faults.append("watch is not for mode text: nobody looks on at an own text")
    only("test", test is not None, "quote")
    only("category", category is not None, "quote")
    only("difficulty", difficulty is not None, "quote")
    if test is not None and (category is not None or difficulty is not None):
        faults.append("test names one passage; category and difficulty would choose among many")
    if language is not None and not _LANGUAGE.fullmatch(language):
        faults.append("language is a BCP 47 tag such as en or zh-Hant")
    if category is not None and not _CATEGORY.fullmatch(category):
        faults.append("category is a lower-case word of at most 40 characters")
    if difficulty is not None and difficulty not in DIFFICULTIES:
        faults.append(f"difficulty is {difficulty[:40]!r}; allowed are {', '.join(DIFFICULTIES)}")
    if len(tags) > limits.tags:
        faults.append(f"{len(tags)} tags; at most {limits.tags} are allowed")
    elif not all(map(_TAG.fullmatch, tags)):
        faults.append("a tag is 1 to 32 letters, digits and the marks _ . : = -")
    if input not in INPUTS:
        faults.append(f"input is {input[:40]!r}; allowed are {', '.join(INPUTS)}")
    if faults:
        raise OptionFaults(faults)
    return TestOptions(
        mode=cast(Mode, mode),
        count=count,
        seconds=seconds,
        test=test,
        language=language,
        category=category,
        difficulty=cast("Difficulty | None", difficulty),
        punctuation=punctuation,
        numbers=numbers,
        tags=tuple(tags),
        input=cast(Input, input),
        text=text,
        watch=watch,
    )
