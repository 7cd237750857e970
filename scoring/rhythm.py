"""What the rhythm of a log is like: plain numbers about its gaps and holds, without an opinion.

Two kinds of number tell people from chance:

- the *law* that gaps are drawn from. People's gaps have a long tail to the right (the hand pauses more often than it
  hurries): their L-skewness is near 0.35, that of a normal law is 0;
- their *order*. A person's gap depends on which keys it lies between, on its place in the word (the first letter after
  a space comes late, a letter typed twice comes early, a correction takes thought) and on the pace of the moment. In
  gaps drawn one by one from any law, known or not, nothing of this can be seen. `order` asks how well each gap is
  foretold by the *other* gaps of this log, on ranks, so that the law itself does not matter. It knows no layout, no
  language and no typist but this one: someone who types with one finger, or a stick, has an order too.

L-moments: J. R. M. Hosking, "L-moments: analysis and estimation of distributions using linear combinations of order
statistics", Journal of the Royal Statistical Society B 52 (1990). They stay sound where one long pause would rule a
standard deviation.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import accumulate
from math import inf, sqrt
from operator import mul, sub
from typing import TypeVar

__all__ = ["Places", "fastest_ms", "l_moments", "mid_ranks", "order"]

PACE_REACH = 6
"""The pace of the moment is taken from this many gaps on either side."""

_DELETES = frozenset("\b\x17")

_G = TypeVar("_G", bound=Hashable)


def l_moments(ordered: Sequence[float]) -> tuple[float, float, float]:
    """Return mean, L-variation (0 for constants, 0.5 for an exponential law) and L-skewness of rising values.

    Unbiased sample L-moments (Hosking 1990, §3). Needs at least three values; those of constants are 0 but the mean.
    """
    n = len(ordered)
    mean = sum(ordered) / n
    first = sum(map(mul, ordered, range(n))) / (n * (n - 1))
    second = sum(map(mul, ordered, map(mul, range(n), range(-1, n - 1)))) / (n * (n - 1) * (n - 2))
    scale = 2 * first - mean
    if scale <= 1e-9 * mean or mean <= 0:
        return mean, 0.0, 0.0
    return mean, scale / mean, (6 * second - 6 * first + mean) / scale


def mid_ranks(values: Sequence[float]) -> list[float]:
    """Return each value's rank between -0.5 and 0.5; equal values share the middle of their places."""
    counts = Counter(values)
    n = len(values)
    rank: dict[float, float] = {}
    below = 0
    for value in sorted(counts):
        count = counts[value]
        rank[value] = (below + count / 2) / n - 0.5
        below += count
    return list(map(rank.__getitem__, values))


class Places:
    """The gaps of a log with the place of each, column by column; gaps that a held key makes by itself are left out.

    A key that repeats because it is held down, or a delete after a delete, has the keyboard's pace, not the hand's.
    """

    __slots__ = ("after", "before", "gaps", "kinds", "numbers")

    def __init__(self) -> None:
        self.gaps: list[float] = []
        """ms."""
        self.before: list[str] = []
        """The key before each gap."""
        self.after: list[str] = []
        """The key after each gap."""
        self.kinds: list[str] = []
        """What kind of place the gap is in: `c` before a correction, `a` after one, `w` before a word's first letter,
        `s` before a space, `d` before the same key again, `u` before a capital, `p` before what is neither letter nor
        space, `l` before any other letter."""
        self.numbers: list[int] = []
        """The number of the event after each gap."""

    @classmethod
    def of(cls, gaps: Sequence[float], keys: Sequence[str], start: int, stop: int) -> "Places":
        """Take the gaps before the events from start (1 or more) to before stop."""
        self = cls()
        add_gap, add_before, add_after = self.gaps.append, self.before.append, self.after.append
        add_kind, add_number = self.kinds.append, self.numbers.append
        before = keys[start - 1]
        run = 0
        for number in range(start, stop):
            key = keys[number]
            if key == before:
                run += 1
                if run > 1 or key in _DELETES:
                    continue
                kind = "d"
            else:
                run = 0
                if key in _DELETES:
                    kind = "c"
                elif before in _DELETES:
                    kind = "a"
                elif before == " ":
                    kind = "w"
                elif key == " ":
                    kind = "s"
                elif key.islower():
                    kind = "l"
                elif key.isupper():
                    kind = "u"
                else:
                    kind = "l" if key.isalpha() else "p"
            add_gap(gaps[number])
            add_before(before)
            add_after(key)
            add_kind(kind)
            add_number(number)
            before = key
        return self


def order(values: Sequence[float], before: Sequence[str], after: Sequence[str], kinds: Sequence[str]) -> float:
    """Return how well each value is foretold by the others, from -1 to 1; about 0 where they are drawn one by one.

    Of n values drawn one by one from any law, nine in ten lie within 1.7 / sqrt(n) of 0. It is the correlation of each
    value's rank with a forecast made without it: the shrunken means of the other ranks between the same two keys,
    before the same key, after the same key, in the same kind of place (twice), and of those around it.
    """
    ranks = mid_ranks(values)
    by_pair = _means(ranks, list(zip(before, after, strict=True)), 1.0, 1.0)
    by_before = _means(ranks, before, 2.0, 1.0)
    by_after = _means(ranks, after, 2.0, 1.0)
    by_kind = _means(ranks, kinds, 2.0, 2.0)
    totals = [0.0] * PACE_REACH + list(accumulate(ranks, initial=0.0))
    totals += totals[-1:] * PACE_REACH
    around = map(sub, totals[2 * PACE_REACH + 1 :], totals)
    weight = 1.0 / (2 * PACE_REACH + 4)
    product = square = spread = 0.0
    for rank, near, left, right, kind in zip(ranks, around, before, after, kinds, strict=True):
        both = by_pair[left, right] + by_before[left] + by_after[right] + by_kind[kind]
        forecast = both.real + near * weight - rank * (both.imag + weight)
        product += forecast * rank
        square += forecast * forecast
        spread += rank * rank
    return product / sqrt(square * spread) if square * spread > 0 else 0.0


def _means(ranks: Sequence[float], groups: Sequence[_G], shrink: float, weight: float) -> dict[_G, complex]:
    """Return for each group what makes the weighted, shrunken mean of all its ranks but one.

    The mean without a rank x is `real - x * imag`: two figures in one number, because adding one costs half of two.
    """
    sums = dict.fromkeys(groups, 0.0)
    for group, rank in zip(groups, ranks, strict=True):
        sums[group] += rank
    counts = Counter(groups)
    return {
        group: complex(total * (share := weight / (counts[group] - 1 + shrink)), share) for group, total in sums.items()
    }


def fastest_ms(gaps: Sequence[float], count: int) -> float:
    """Return the least time that `count` gaps in a row took, infinite where there are fewer."""
    totals = list(accumulate(gaps, initial=0.0))
    return min(map(sub, totals[count:], totals), default=inf)
