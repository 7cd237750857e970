"""The incremental scorer: one typing test, key by key, O(1) each.

The rules (a page that marks keys by itself follows the same ones). There is one active word; each word has its target
(clusters, closing space included) and its input (clusters as typed). *Right* means input = target.

Time
  T1. The first event is at 0; its own dt is reaction time. Every other event is at the sum of the dt up to its own. In
      a race (`from_start`) all began at one instant, which is 0: the first event is at its own dt.
  T2. An event at or after the limit (or `longest_ms`) is not scored, nor is any after the test's end. They are counted
      in `n` and `elapsed_ms` alone.

A press is any key but a delete; it is NFC, and any white space is a space.
  P1. A space on an empty input is ignored.
  P2. A space elsewhere ends the word. It is an insert, correct if the target has its space at this position. In the
      last word it ends the test; if that does not make the word right it is a wrong insert, but no character.
  P3. A key that by UAX 29 continues the last cluster of the input makes one cluster with it (NFC of both); with over 64
      bytes of UTF-8 it is ignored. The insert is correct if this position's target cluster begins with the new cluster.
  P4. Any other key is a cluster of its own. Where the target has no closing space, is not the last, and has as many
      clusters typed as it is long, the word ends and the key begins the next. Where the input is 20 or more longer than
      the target the key is ignored. Else it is an insert, correct if this position's target cluster begins with it.
  P5. A press that makes the last word right ends the test.
  P6. In zen each insert is correct, no key is ignored but by P1 and P3, and only a space ends a word.
Only what is *equal* to the target's cluster is a right character. A mere beginning of it is *pending* while it is the
active word's last cluster (it counts as nothing typed there yet) and a wrong character once anything follows it.

A delete
  D1. takes the last cluster of the active input away;
  D2. on an empty input goes back into the word before, if that is not right, and takes its last cluster away (its
      closing space, where it has one);
  D3. with no such word, and in zen on any empty input, does nothing and counts nowhere.
  D4. Delete word empties the input, after D2 that of the word before.

Cyclic tests begin again with the first word after the last; in them no word is the last.

Characters are counted by `formulas.count_chars`, with `credit_partial` for the active word of a timed test or one given
up, and for that of every figure on the way (`figures`, `Series`). A word that was left counts without.

How it stays O(1): while the active input is the target's beginning (nearly always) its length is all that is kept, and
`_next` is the one key that goes on so. Any other key takes the long way (`_press`, `_delete`), which keeps the input as
a list and the number of its clusters that are equal to the target's. Of the words before, the totals are kept, and the
inputs of the unbroken row of wrong ones just before the active word: no delete can reach farther. What the series need
is written down as each second of client time ends.
"""

from array import array
from collections.abc import Sequence
from itertools import chain
from operator import sub
from typing import Any, Final
from unicodedata import normalize

from scoring.formulas import (
    accuracy,
    count_chars,
    evenness,
    evenness_of_whole,
    round2,
    sd_of_sums,
    speed,
    speed2,
    speeds,
)
from scoring.summary import CharCounts, InsertCounts, Series, Summary
from scoring.text import CLUSTER_BYTES, DELETE, DELETE_WORD, Word, continues, typed

__all__ = ["EXTRA_CLUSTERS", "IDLE_END_MS", "LONGEST_MS", "RULES_VERSION", "Scorer"]

RULES_VERSION: Final = 1
"""Counted up whenever equal logs would give other figures than before."""

LONGEST_MS: Final = 3_600_000
"""No test is longer: an event at or after this client time ends it, unscored. Bounds the series."""

EXTRA_CLUSTERS: Final = 20
"""Clusters beyond a target (closing space included) after which more are ignored."""

IDLE_END_MS: Final = 7_000
"""In zen and after giving up a shorter idle time after the last press is not part of the test."""

_DELETES: Final = (DELETE, DELETE_WORD)

_BOUNDS: Final = tuple(range(0, LONGEST_MS + 1, 1000))
"""The end of each second: numbers shared by all scorers, since each key looks at one, and what others use is near."""

_COLUMNS: Final = 5
"""Of a row of the series, all from the start to the row's time: characters right, characters, inserts, wrong inserts,
acts (presses and deletes that did something)."""


class _OfEachKey:
    """What each key looks at, side by side: a base's slots come first, and ten thousand scorers fit no cache."""

    __slots__ = (
        "_edge",
        "_gap",
        "_input",
        "_next",
        "_pos",
        "_press_ms",
        "_size",
        "_squares",
        "_target",
        "elapsed_ms",
        "ended",
        "n",
    )


class _OfEachWord(_OfEachKey):
    """What a word's end and a tick look at as well, next to it."""

    __slots__ = (
        "_apart",
        "_last_word",
        "_rest",
        "_right",
        "_rows",
        "_word",
        "_words",
        "_wrong",
        "_wrong_words",
    )


class Scorer(_OfEachWord):
    """One test being typed. Feed it events, ask it for figures at any time, and for the summary at the end.

    `words` are targets as in `Passage.words` (none in zen). `limit_ms`: a timed test's length. `cyclic`: the words
    repeat. `exact_duration`: speeds are made with the duration as it is, not rounded to two digits of a second (mode
    `text`). `longest_ms`: how long any other test may last. `from_start`: it is a race's (T1).
    """

    __slots__ = (
        "_closed",
        "_deletes",
        "_end_ms",
        "_equal",
        "_exact",
        "_extra",
        "_first_press",
        "_from_start",
        "_ignored",
        "_incorrect",
        "_limit",
        "_longest",
        "_missed",
        "_scored",
        "_still",
        "_still_ms",
        "_zen",
    )

    def __init__(
        self,
        words: Sequence[Word],
        *,
        limit_ms: float | None = None,
        zen: bool = False,
        cyclic: bool = False,
        exact_duration: bool = False,
        longest_ms: float = LONGEST_MS,
        from_start: bool = False,
    ) -> None:
        if bool(words) == zen:
            raise ValueError("zen has no words, and every other test needs some")
        if not (longest_ms if limit_ms is None else limit_ms) > 0:
            raise ValueError("a test's limit is above 0 ms")
        self.n = 0
        """Events fed."""
        self.elapsed_ms: float = 0
        """Client time of the last event fed, scored or not."""
        self.ended = False
        """The last word is done or the time is up: nothing more is scored."""
        self._scored: int | None = None  # events scored, once at the end
        self._words = words
        self._limit = limit_ms
        self._longest = longest_ms if limit_ms is None else limit_ms
        self._zen = zen
        self._exact = exact_duration
        self._from_start = from_start
        self._end_ms: float = 0  # client time of the end, once there

        self._last_word = -1 if zen or cyclic else len(words) - 1
        self._word = 0
        self._target: Word = "" if zen else words[0]
        self._size = len(self._target)
        self._pos = 0  # clusters typed in the active word
        self._input: list[str] | None = []  # those clusters; None where they are the target's beginning
        self._equal = 0  # of them equal to the target's; kept only beside a list
        self._next: str | None = None  # the key that goes on along the target; None where the long way is needed
        self._closed = False  # a space that was no character ended the last word
        self._wrong_words: list[Word] = []  # inputs of the wrong words just before the active one

        self._right = 0  # clusters of the right words before the active one
        self._rest = 0  # clusters typed in the wrong ones
        self._incorrect = self._extra = self._missed = 0  # of the wrong ones

        self._apart = 0  # inserts less the clusters that stand in the active word: `_pos` alone counts along the target
        self._wrong = 0  # wrong inserts
        self._ignored = 0  # presses that were no inserts
        self._deletes = 0  # that did something
        self._first_press: float | None = None
        self._press_ms: float = 0
        self._gap: float = 0  # between the last two presses
        self._squares: float = 0  # sum of the squares of all gaps

        self._edge: float = 0  # the next client time at which more than a key happens
        self._rows = array("I")
        self._still: tuple[int, ...] = ()  # the row before the first delete after the last press
        self._still_ms: float = -1  # that press

    # ------------------------------------------------------------------------------------------------ keys

    def feed(self, events: Sequence[Any], start: int = 0) -> None:
        """Score the flat events `[dt, key, dt, key, ...]` from index `start` (even) on.

        dt is ms since the event before, finite and not negative; key is one that `is_key` takes. Both are the caller's
        to check: this is the hot path. (An index beats iterators here for the one or two keys of a frame, and so do
        attributes against locals that would have to be put back.)
        """
        i = start
        end = len(events)
        self.n += (end - i) >> 1
        t = self.elapsed_ms
        while i < end:
            t += events[i]
            key = events[i + 1]
            i += 2
            if t >= self._edge:
                t = self._at_edge(t)
                if self.ended:
                    if self._scored is None:
                        self._scored = self.n - ((end - i) >> 1) - 1
                    break
            if key == self._next:
                self._gap = gap = t - self._press_ms
                self._squares += gap * gap
                self._press_ms = t
                self._pos = pos = self._pos + 1
                if pos != self._size:
                    self._next = self._target[pos]
                    continue
                self._whole(t)
            elif key in _DELETES:
                self._delete(t, key)
                continue
            else:
                self._press(t, key)
            if self.ended:
                self._scored = self.n - ((end - i) >> 1)
                break
        if i < end:
            t += sum(events[i:end:2])  # T2
        self.elapsed_ms = t

    def _at_edge(self, t: float) -> float:
        """Take the first event's time, write down each second that ended before t, or end the test; returns t."""
        if self.ended:
            return t
        if not self._edge:
            self._edge = min(1000, self._longest)
            if not self._from_start:
                return 0  # T1
            if t < self._edge:
                return t
        longest = self._longest
        until = t if t < longest else longest
        bound = self._edge
        if bound < until:
            row = self._row()
            rows = self._rows
            rows.extend(row)
            second = len(rows) // _COLUMNS + 1
            while second * 1000 < until:
                rows.extend(row)
                second += 1
            bound = second * 1000
            self._edge = longest if bound >= longest else _BOUNDS[second] if second < len(_BOUNDS) else bound
        if t >= longest:
            self._end(longest)
        return t

    def _end(self, t: float) -> None:
        self.ended = True
        self._end_ms = t
        self._next = None
        self._edge = 0

    def _whole(self, t: float) -> None:
        """Go on after a key that made the active input equal to its target."""
        target = self._target
        word = self._word
        if word == self._last_word:  # P5
            self._input = None
            self._end(t)
        elif target[-1] == " ":
            self._apart += self._size
            self._right += self._size
            self._wrong_words.clear()
            self._word = word = word + 1
            words = self._words
            self._target = target = words[word % len(words)]
            self._size = len(target)
            self._pos = 0
            self._input = None
            self._next = target[0]
        else:  # the next word begins when it is typed, and a mark may still come
            self._input = list(target)
            self._equal = self._size
            self._next = None

    def _begin(self, word: int) -> None:
        """Make this word the active one, with nothing typed."""
        words = self._words
        self._word = word
        self._target = words[word % len(words)]
        self._size = len(self._target)
        self._clear()

    def _clear(self) -> None:
        """Empty the active input."""
        self._apart += self._pos
        self._pos = self._equal = 0
        if self._zen:
            self._input = []
        else:
            self._input = None
            self._next = self._target[0]

    def _settle(self) -> None:
        """Take the short way again where the input is the target's beginning."""
        if self._equal == self._pos < self._size:
            self._input = None
            self._next = self._target[self._pos]

    def _listed(self) -> list[str]:
        """The active input as a list that may be changed; what goes on along the target takes the long way now."""
        listed = self._input
        if listed is None:
            listed = self._input = list(self._target[: self._pos])
            self._equal = self._pos
            self._next = None
        return listed

    def _press(self, t: float, key: str) -> None:
        """Score a press that does not simply go on along the target."""
        if self._first_press is None:
            self._first_press = t
        else:
            self._gap = gap = t - self._press_ms
            self._squares += gap * gap
        self._press_ms = t
        if not key.isascii() or key < " ":
            key = typed(key)
        if key == " ":
            self._space(t)
            return
        given = self._input
        if given is None:
            given = self._listed()
        last = given[-1] if given else ""
        if last and not (key.isascii() and last.isascii()) and continues(last, key):
            key = normalize("NFC", last + key)
            if len(key.encode()) > CLUSTER_BYTES:  # P3
                self._ignored += 1
                return
            given[-1] = key
            self._apart += 1
            if not self._zen and self._pos <= self._size and self._target[self._pos - 1] == last:
                self._equal -= 1
        else:
            if self._pos >= self._size and not self._zen:
                if self._target[-1] != " " and self._word != self._last_word:  # P4
                    self._leave(given)
                    given = self._listed()
                elif self._pos - self._size >= EXTRA_CLUSTERS:
                    self._ignored += 1
                    return
            given.append(key)
            self._pos += 1
        if self._zen:
            return
        if self._pos > self._size:
            self._wrong += 1
            return
        want = self._target[self._pos - 1]
        if key == want:
            self._equal += 1
            if self._equal == self._size:
                self._whole(t)
            else:
                self._settle()
        elif not want.startswith(key):
            self._wrong += 1

    def _space(self, t: float) -> None:
        """Score a space that does not simply go on along the target."""
        pos = self._pos
        if not pos:  # P1
            self._ignored += 1
            return
        if self._zen:
            self._right += pos + 1
            self._apart += 1
            self._word += 1
            self._clear()
            return
        given = self._listed()
        in_place = pos < self._size and self._target[pos] == " "
        if in_place and self._equal == pos:
            self._pos = self._size
            self._whole(t)
            return
        self._apart += 1
        if self._word == self._last_word:  # P2
            self._wrong += 1
            self._closed = True
            self._end(t)
            return
        if not in_place:
            self._wrong += 1
        given.append(" ")
        self._leave(given)

    def _leave(self, given: list[str]) -> None:
        """End the active word with this input (its space, if one was typed, at the end) and begin the next."""
        if self._equal == self._size == len(given):  # right, with no closing space due: `_whole` has all others
            self._right += self._size
            self._wrong_words.clear()
        else:
            self._count_wrong_word(given, +1)
            joined = "".join(given)
            self._wrong_words.append(joined if len(joined) == len(given) else tuple(given))
        self._begin(self._word + 1)

    def _count_wrong_word(self, given: list[str], sign: int) -> int:
        """Add a wrong word that was left to the totals, or take it off again; returns its correct characters."""
        counts = count_chars(given, self._target)
        self._incorrect += sign * counts.incorrect
        self._extra += sign * counts.extra
        self._missed += sign * counts.missed
        self._rest += sign * len(given)
        return counts.all_correct

    def _delete(self, t: float, key: str) -> None:
        """Score a delete (D1 to D4)."""
        if not self._pos:
            if not self._wrong_words:  # D3
                return
            self._note_still(t)
            self._step_back()  # D2
        else:
            self._note_still(t)
        self._deletes += 1
        if key == DELETE_WORD:
            self._clear()
            return
        self._apart += 1
        self._pos = pos = self._pos - 1
        given = self._input
        if given is None:
            self._next = self._target[pos]
            return
        gone = given.pop()
        if not self._zen:
            if pos < self._size and gone == self._target[pos] and gone != " ":
                self._equal -= 1
            self._settle()

    def _note_still(self, t: float) -> None:
        """Keep the figures as the last press left them, before the first delete after it; a timed test needs none."""
        if self._limit is None and t > self._press_ms > self._still_ms:
            self._still = self._row()
            self._still_ms = self._press_ms

    def _step_back(self) -> None:
        """Make the wrong word before the active one again, with the input that was left there."""
        given = list(self._wrong_words.pop())
        self._begin(self._word - 1)
        self._equal = self._count_wrong_word(given, -1)
        self._input = given
        self._pos = len(given)
        self._apart -= self._pos
        self._next = None

    # --------------------------------------------------------------------------------------------- figures

    @property
    def pos(self) -> tuple[int, int]:
        """The active word, counted on through repeats, and the clusters typed in it."""
        return self._word, self._pos

    @property
    def active_input(self) -> tuple[str, ...]:
        """What stands in the active word."""
        return tuple(self._target[: self._pos] if self._input is None else self._input)

    @property
    def target(self) -> Word:
        """The active word's target; empty in zen."""
        return self._target

    @property
    def due(self) -> str | None:
        """The cluster that would go on along the target; a space beyond it; None in zen."""
        if self._pos < self._size:
            return self._target[self._pos]
        if self._zen:
            return None
        if self._target[-1] == " " or self._word == self._last_word:
            return " "
        return self._words[(self._word + 1) % len(self._words)][0]

    @property
    def scored(self) -> int:
        """How many events were scored: all that were fed, or those up to the end."""
        return self.n if self._scored is None else self._scored

    @property
    def inserts(self) -> int:
        """Presses that put something in, right or wrong; deletes take nothing off."""
        return self._apart + self._pos

    @property
    def wrong(self) -> int:
        """Inserts that were wrong."""
        return self._wrong

    def _pending(self) -> bool:
        """Whether the active word's last cluster is a mere beginning of the target's, still to be gone on with."""
        given = self._input
        if not given or self._closed or self._zen or self._pos > self._size:
            return False
        want = self._target[self._pos - 1]
        return want != given[-1] and want.startswith(given[-1])

    def _standing(self) -> tuple[int, int]:
        """Characters that are right, the active word's as far as it is right, and all characters, as they stand."""
        n = self._pos
        right = self._right
        if self._input is None or self._zen:
            return right + n, right + self._rest + n
        if self._pending():
            n -= 1
        return right + (n if self._equal == n else 0), right + self._rest + n

    def _row(self) -> tuple[int, ...]:
        inserts = self._apart + self._pos
        acts = inserts + self._ignored + self._deletes
        if self._input is None:
            right = self._right + self._pos
            return right, right + self._rest, inserts, self._wrong, acts
        right, all_chars = self._standing()
        return right, all_chars, inserts, self._wrong, acts

    def figures(self) -> tuple[float, float, float, int, int, int]:
        """(wpm, raw, acc, word, cluster, err) up to the last event: what a tick shows.

        The speeds are over client time so far, the active word counted as far as it is right; `acc` is 100 without
        inserts; `word` and `cluster` are `pos`; `err` counts the wrong inserts.
        """
        pos = self._pos
        if self._input is None:
            right = self._right + pos
            all_chars = right + self._rest
        else:
            right, all_chars = self._standing()
        seconds = (self._end_ms if self.ended else self.elapsed_ms) / 1000
        inserts = self._apart + pos
        wrong = self._wrong
        acc = round2(100 * (inserts - wrong) / inserts) if wrong else 100.0
        wpm = speed2(right, seconds)
        raw = wpm if all_chars == right else speed2(all_chars, seconds)
        return wpm, raw, acc, self._word, pos, wrong

    # --------------------------------------------------------------------------------------------- summary

    def summary(self, stop_ms: float | None = None, *, gave_up: bool = False) -> Summary:
        """Say how the test went; changes nothing.

        `stop_ms` is the client time at which it stopped; left out, that is the limit of a timed test, the key that
        ended any other, and the last event of one in zen, given up, or not at its end. `gave_up`: the typist stopped
        before the end. In zen and after giving up, an idle time under 7 s after the last press is not counted.
        Raises ValueError for a stop before the last scored event.
        """
        timed = self._limit is not None
        wrong = self._wrong
        correct = self._apart + self._pos - wrong
        last = self._end_ms if self.ended else self.elapsed_ms
        if stop_ms is None:
            stop_ms = self._limit if self._limit is not None and not gave_up else last
        elif stop_ms < last:
            raise ValueError(f"a test cannot stop at {stop_ms} ms, before its last event at {last} ms")
        if (self._zen or gave_up) and self._first_press is not None and stop_ms - self._press_ms < IDLE_END_MS:
            stop_ms = self._press_ms
        seconds = stop_ms / 1000 if self._exact else round2(stop_ms / 1000)
        chars, total_chars = self._chars(credit_partial=timed or gave_up)
        series, idle = self._series(stop_ms, rest=not timed)
        return Summary(
            wpm=round2(speed(chars.correct, seconds)),
            raw=round2(speed(total_chars, seconds)),
            acc=accuracy(correct, wrong),
            consistency=evenness_of_whole(series.burst),
            key_consistency=self._key_consistency(),
            wpm_consistency=evenness_of_whole(series.wpm),
            chars=chars,
            total_chars=total_chars,
            inserts=InsertCounts(correct=correct, wrong=wrong),
            duration_ms=stop_ms,
            seconds=seconds,
            afk_ms=idle * 1000,
            series=series,
        )

    def _chars(self, *, credit_partial: bool) -> tuple[CharCounts, int]:
        """Characters as they stand, and how many there are in all; the active word by C1 to C3."""
        if self._zen:
            typed_chars = self._right + self._pos
            return CharCounts(correct=typed_chars, incorrect=0, extra=0, missed=0), typed_chars
        given = self.active_input[: self._pos - self._pending()]
        active = count_chars(given, self._target, credit_partial=credit_partial)
        return CharCounts(
            correct=self._right + active.correct_word,
            incorrect=self._incorrect + active.incorrect,
            extra=self._extra + active.extra,
            missed=self._missed + active.missed,
        ), self._right + self._rest + len(given)

    def _key_consistency(self) -> float:
        """Evenness of the gaps between presses, without the last one."""
        gaps = self._apart + self._pos + self._ignored - 2  # of all presses but the last
        if gaps < 1 or self._first_press is None:
            return 0.0
        total = self._press_ms - self._gap - self._first_press
        squares = self._squares - self._gap * self._gap
        return evenness(total / gaps, sd_of_sums(gaps, total, squares))

    def _series(self, stop_ms: float, *, rest: bool) -> tuple[Series, int]:
        """The series up to the stop, and how many of its entries saw no key.

        `rest`: a shorter last second counts, if it is half a second (rounded to two digits) or more.
        """
        now = self._row()
        seconds = int(stop_ms // 1000)
        kept = self._rows[: seconds * _COLUMNS]
        kept += array("I", now) * (seconds - len(kept) // _COLUMNS)
        minutes = [second / 60 for second in range(1, seconds + 1)]
        lengths = [1 / 60] * seconds
        if rest and round2(stop_ms / 1000) % 1 >= 0.5:
            # deletes after the last press lie beyond a stop that was taken back to it
            kept.extend(self._still if self._still_ms == stop_ms else now)
            minutes.append(stop_ms / 1000 / 60)
            lengths.append((stop_ms - 1000 * seconds) / 1000 / 60)
        right, all_chars, inserts, wrong, acts = (kept[column::_COLUMNS] for column in range(_COLUMNS))
        return Series(
            wpm=speeds(right, minutes),
            raw=speeds(all_chars, minutes),
            burst=speeds(_steps(inserts), lengths),
            err=_steps(wrong),
        ), _steps(acts).count(0)


def _steps(totals: Sequence[int]) -> list[int]:
    """What was added from each entry to the next, the first counted from 0."""
    return list(map(sub, totals, chain((0,), totals)))
