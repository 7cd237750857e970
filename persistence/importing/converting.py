"""Fields of an old row to a result, or to what is wrong with it. Pure.

An old result has no keystrokes, so nobody can score it again: it has an empty log, nothing of it was seen live, its
node is `import:SOURCE` and its scoring version `imported`. Its verdict is `review`, `void` where the old installation
held it invalid; with `trust` its word is taken for the others, too (`ok`), and those that qualify have their board.

The id is made of the source's name, the old id, the user and the instant: the same row always becomes the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from re import compile as pattern
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from persistence.catalogue.entries import GIVEN_IDS
from persistence.catalogue.languages import TAG_RULE, language_tag, tag_of_site_name
from persistence.importing.values import Bad, instant_ms, number, shown, switch, whole
from persistence.results.bests import DAY_MS, KINDS, Board
from scoring.formulas import round2
from scoring.plausibility import Reason
from scoring.summary import CharCounts, InsertCounts, Series, Summary
from session.identity import MAX_USER, RANDOM_BITS, mint_session
from session.options import Mode
from session.result import Result, core_hash_of

__all__ = ["EARLIEST_MS", "SCORING_VERSION", "Conversion", "Converted", "ImportRules"]

SCORING_VERSION: Final = "imported"
EARLIEST_MS: Final = 788_918_400_000
"""1995-01-01: nobody typed in a browser before."""

_READING: Final = 1
"""Changes when the same row would become another result: what was imported is then imported anew."""
_SOURCE: Final = pattern(r"[a-z0-9][a-z0-9_-]{0,39}")
_MOST_WPM: Final = 1_000
_MOST_MS: Final = DAY_MS
_MOST_EXTENT: Final = 65_535
_MOST_COUNT: Final = 10_000_000
_MOST_ERRORS: Final = 2**24 - 1
_RANKED_WPM: Final = 300
"""Nobody's record is over it; what is said to be faster has no board."""
_LEAST_OF_A_WORD: Final = 2
"""Characters of any word, its space included."""
_MODES: Final[Mapping[str, Mode]] = {
    **dict.fromkeys(("time", "timed", "timer", "countdown"), "time"),
    **dict.fromkeys(("words", "word", "wordcount", "word_count"), "words"),
    **dict.fromkeys(("quote", "quotes", "passage", "paragraph", "test", "standard", "race"), "quote"),
    **dict.fromkeys(("text", "custom", "own", "practice"), "text"),
    **dict.fromkeys(("zen", "free"), "zen"),
}
_MODE_AND_EXTENT: Final = pattern(r"(time|timed|words?)[ _:-]?([0-9]{1,5})s?")
_MODES_ALLOWED: Final = "time, words, quote, text, zen, and their usual other names"
_FINE: Final = frozenset(
    {"ok", "valid", "approved", "verified", "accepted", "normal", "passed", "completed", "finished"}
)
_VOID: Final = frozenset({"void", "invalid", "rejected", "cheated", "cheat", "banned", "bot", "disqualified", "failed"})
_NO_SERIES: Final = Series([], [], [], [])
_EMPTY_LOG: Final = blake2b(digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class ImportRules:
    """How an old installation's rows are to be read."""

    source: str = "old"
    """The installation's name: its ids are told apart by it from those of another one."""
    language: str = "en"
    """Of rows that name none: a BCP 47 tag."""
    accuracy: str = "percent"
    """`percent` or `fraction`: what 0.97 means."""
    duration: str = "seconds"
    """`seconds` or `ms`: the unit of durations whose name does not tell."""
    zone: str = "UTC"
    """Time zone of dates that name none."""
    trust: bool = False
    """Whether results that the old installation did not hold invalid are `ok`, and may have a board."""

    def __post_init__(self) -> None:
        if not _SOURCE.fullmatch(self.source):
            raise ValueError(f"the name is {self.source[:60]!r}; allowed are 1 to 40 of a-z 0-9 - _")
        if language_tag(self.language) != self.language:
            raise ValueError(f"the language is {self.language[:60]!r}; allowed is {TAG_RULE}")
        for name, allowed in (("accuracy", ("percent", "fraction")), ("duration", ("seconds", "ms"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed are {' and '.join(allowed)}")
        self.zone_info()

    def zone_info(self) -> ZoneInfo:
        """The time zone."""
        try:
            return ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"the time zone is {self.zone[:60]!r}; allowed is a name such as UTC or Europe/Berlin"
            ) from None

    def __str__(self) -> str:
        trusted = "trusted" if self.trust else "not trusted"
        return f"{self.language}, {self.accuracy}, {self.duration}, {self.zone}, {trusted} ({_READING})"


class Converted(NamedTuple):
    """A result, and the board that it counts for."""

    result: Result
    board: Board | None


class Conversion:
    """Makes results of rows. `version_of(test)` is a test's version in the catalogue, None for one that it lacks."""

    def __init__(self, rules: ImportRules, *, now_ms: int, version_of: Callable[[int], int | None]) -> None:
        self._rules = rules
        self._zone = rules.zone_info()
        self._latest_ms = now_ms + DAY_MS
        self._version_of = version_of
        self._node = f"import:{rules.source}"
        self._languages: dict[str, str] = {}

    def result(self, old_id: int, fields: Mapping[str, object]) -> Converted:
        """The result that a row is. Raises `Bad`."""
        if not fields:
            raise Bad("the row", "has no field that is known")
        if "deleted" in fields and not _is(fields, "deleted", False):
            raise Bad("the result", "was deleted at the old place")
        user = whole("user", fields.get("user"), 1, MAX_USER)
        created = instant_ms("date", fields.get("created"), self._zone)
        if not EARLIEST_MS <= created <= self._latest_ms:
            raise Bad("date", f"is {shown(fields['created'])}", "from 1995-01-01 to tomorrow")
        mode, seconds, count, test, test_version = self._test(fields)
        summary = self._summary(fields, seconds if mode == "time" else None)
        language = self._language(fields.get("language"))
        # who has no keystrokes to show has shown nothing
        unseen_ms = int(summary.duration_ms)
        verdict, why = self._verdict(fields)
        # a user whose id is changed gets another result: it belongs in another place
        told = f"{self._rules.source} {old_id} {user} {created}".encode()
        digest = blake2b(told, digest_size=24, person=b"typegate import").digest()
        session = mint_session(
            user, epoch_ms=created, random_bits=int.from_bytes(digest[:8], "big") & ((1 << RANDOM_BITS) - 1)
        )
        ticket_hash = digest[8:]
        result = Result(
            session=session,
            user=user,
            ticket_hash=ticket_hash,
            replay=b"",
            log_digest=_EMPTY_LOG,
            summary=summary,
            mode=mode,
            count=count,
            seconds=seconds,
            test=test,
            test_version=test_version,
            language=language,
            list_version=0,
            generator=0,
            punctuation=_is(fields, "punctuation", True),
            numbers=_is(fields, "numbers", True),
            tags=("imported",),
            input="keyboard",
            seed=0,
            text_hash=bytes(16),
            scoring_version=SCORING_VERSION,
            gave_up=False,
            core_hash=core_hash_of(
                session=session,
                user=user,
                ticket_hash=ticket_hash,
                log_digest=_EMPTY_LOG,
                summary=summary,
                gave_up=False,
                scoring_version=SCORING_VERSION,
            ),
            node=self._node,
            epoch=0,
            seen_live=0,
            unseen_ms=unseen_ms,
            slack_ms=0,
            lag_ms=0.0,
            drift_ms=0.0,
            verdict=verdict,
            features={"drift_ms": 0.0, "lag_ms": 0.0},
            reasons=why,
        )
        return Converted(result, _board(result))

    def _test(self, fields: Mapping[str, object]) -> tuple[Mode, int | None, int | None, int | None, int]:
        """Mode, seconds, words, test and its version."""
        test, version = self._passage(fields.get("test"))
        said = fields.get("mode")
        extent = fields.get("extent")
        mode: Mode
        if said is None:
            if test is not None:
                mode = "quote"
            elif "seconds" in fields:
                mode = "time"
            else:
                mode = "text"  # of which nothing is known
        else:
            word = said.strip().lower() if isinstance(said, str) else ""
            both = _MODE_AND_EXTENT.fullmatch(word)
            if both is not None:
                word, extent = both[1], int(both[2])
            known = _MODES.get(word)
            if known is None:
                raise Bad("mode", f"is {shown(said)}", _MODES_ALLOWED)
            mode = known
        if mode == "time":
            seconds = _extent("seconds", fields.get("seconds", extent))
            return mode, seconds, None, None, 0
        if mode == "words":
            return mode, None, _extent("words", fields.get("count", extent)), None, 0
        if mode == "quote":
            return mode, None, None, test, version
        return mode, None, None, None, 0

    def _passage(self, value: object) -> tuple[int | None, int]:
        if value is None or isinstance(value, dict):
            return None, 0
        test = whole("test", value, 1, 2**63 - 1)
        if test not in GIVEN_IDS:  # the catalogue has other tests under such ids
            return None, 0
        version = self._version_of(test)
        return test, 0 if version is None else version

    def _summary(self, fields: Mapping[str, object], limit_s: int | None) -> Summary:
        wpm = round2(number("wpm", fields.get("wpm"), 0, _MOST_WPM))
        raw = round2(number("raw speed", fields.get("raw", wpm), 0, _MOST_WPM))
        fraction = self._rules.accuracy == "fraction"
        acc = number("accuracy", fields.get("acc"), 0, 1 if fraction else 100)
        acc = round2(acc * 100 if fraction else acc)
        duration_ms = self._duration_ms(fields, limit_s)
        # what stood there at the end, as far as the speeds say it
        standing = round(wpm * 5 * duration_ms / 60_000)
        total = max(standing, round(raw * 5 * duration_ms / 60_000))
        chars = _chars(fields.get("chars")) or CharCounts(standing, total - standing, 0, 0)
        errors = fields.get("errors")
        if errors is None:
            wrong = round(total * (1 - acc / 100))
        else:
            wrong = whole("errors", len(errors) if isinstance(errors, list) else errors, 0, _MOST_ERRORS)
        return Summary(
            wpm=float(wpm),
            raw=float(raw),
            acc=float(acc),
            consistency=_share(fields.get("consistency")),
            key_consistency=_share(fields.get("key_consistency")),
            wpm_consistency=0.0,
            chars=chars,
            total_chars=total,
            inserts=InsertCounts(max(0, total - wrong), wrong),
            duration_ms=duration_ms,
            seconds=duration_ms / 1000,
            afk_ms=0,
            series=_NO_SERIES,
        )

    def _duration_ms(self, fields: Mapping[str, object], limit_s: int | None) -> int:
        if "duration_ms" in fields:
            return round(number("duration in ms", fields["duration_ms"], 1, _MOST_MS))
        if "duration" in fields:
            in_seconds = self._rules.duration == "seconds"
            scale = 1000 if in_seconds else 1
            unit = "seconds" if in_seconds else "ms"
            return round(scale * number(f"duration in {unit}", fields["duration"], 1 / scale, _MOST_MS / scale))
        if limit_s is not None:
            return limit_s * 1000
        raise Bad("duration", "is missing", "seconds, or milliseconds under a name like duration_ms")

    def _language(self, value: object) -> str:
        if value is None:
            return self._rules.language
        if not isinstance(value, str) or len(value) > 60:
            raise Bad("language", f"is {shown(value)}", f"{TAG_RULE}, or a name like 'german'")
        known = self._languages.get(value)
        if known is None:
            known = language_tag(value.strip()) or tag_of_site_name(value)
            if known is None:
                raise Bad("language", f"is {shown(value)}", f"{TAG_RULE}, or a name like 'german'")
            if len(self._languages) < 1_000:
                self._languages[value] = known
        return known

    def _verdict(self, fields: Mapping[str, object]) -> tuple[str, tuple[Reason, ...]]:
        """What holds of a result that nobody can look at again, and why."""
        said = fields.get("verdict")
        word = said.strip().lower() if isinstance(said, str) else ""
        if word in _VOID or _is(fields, "valid", False):
            return "void", (Reason("held_invalid", 1.0, 0.0),)
        if _is(fields, "invalid", True) or (said is not None and word not in _FINE):
            return "review", (Reason("held_doubtful", 1.0, 0.0),)
        return ("ok", ()) if self._rules.trust else ("review", (Reason("imported", 1.0, 0.0),))


def _board(result: Result) -> Board | None:
    """The board that a trusted result counts for: what it says of itself must go together."""
    extent = result.seconds if result.mode == "time" else result.count
    summary = result.summary
    if result.verdict != "ok" or extent is None or (result.mode, extent) not in KINDS:
        return None
    if not 0 < summary.wpm <= min(_RANKED_WPM, summary.raw):
        return None
    if result.mode == "time" and abs(summary.duration_ms - extent * 1000) > 1_000:
        return None
    if result.mode == "words" and summary.total_chars < _LEAST_OF_A_WORD * extent:
        return None
    return Board(result.mode, extent, result.language)


def _is(fields: Mapping[str, object], name: str, yes: bool) -> bool:
    """Whether a row says so."""
    return name in fields and switch(fields[name]) is yes


def _extent(what: str, value: object) -> int | None:
    return None if value is None else whole(what, value, 1, _MOST_EXTENT)


def _share(value: object) -> float:
    return 0.0 if value is None else float(round2(number("consistency", value, 0, 100)))


def _chars(value: object) -> CharCounts | None:
    """[correct, incorrect, extra, missed]; None where it is not told like that."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    return CharCounts(*(whole("characters", one, 0, _MOST_COUNT) for one in value))
