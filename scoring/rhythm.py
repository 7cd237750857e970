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

from collections.abc import Hashable, Sequence
from itertools import accumulate
from math import inf, sqrt
from operator import add, mul, sub
from typing import TypeVar

__all__ = ["Places", "fastest_ms", "l_moments", "mid_ranks", "order", "same_share"]

PACE_REACH = 6
"""The pace of the moment is taken from this many gaps on either side."""

_DELETES = frozenset("\b\x17")

_G = TypeVar("_G", bound=Hashable)


def l_moments(rising: Sequence[float], capped: int = 0) -> tuple[float, float, float]:
    """Return mean, L-variation (0 for constants, 0.5 for an exponential law) and L-skewness of rising values.

    Unbiased sample L-moments (Hosking 1990, §3); those of constants are 0 but for the mean. Needs at least three
    values. With `capped`, so many of the greatest count only as the greatest of the others.
    """
    n = len(rising)
    zeroth = sum(rising)
    first = sum(map(mul, rising, range(n)))
    second = sum(map(mul, rising, map(mul, range(n), range(-1, n - 1))))
    cap = rising[n - 1 - capped]
    for at in range(n - capped, n):
        over = rising[at] - cap
        zeroth -= over
        first -= over * at
        second -= over * at * (at - 1)
    mean = zeroth / n
    first /= n * (n - 1)
    scale = 2 * first - mean
    if scale <= 1e-9 * mean:
        return mean, 0.0, 0.0
    return mean, scale / mean, (6 * second / (n * (n - 1) * (n - 2)) - 6 * first + mean) / scale


def mid_ranks(values: Sequence[float], rising: Sequence[float]) -> list[int]:
    """Return for each value how many are less minus how many are more, given them rising too; these sum up to 0."""
    n = len(rising)
    last = dict(zip(rising, range(n), strict=True))
    first = dict(zip(reversed(rising), range(n - 1, -1, -1), strict=True))
    least = n - 1
    return [
        low + high - least
        for low, high in zip(map(first.__getitem__, values), map(last.__getitem__, values), strict=True)
    ]


def same_share(rising: Sequence[float], within_ms: float) -> float:
    """Return the greatest share of values that lie within so many ms of one another."""
    first = 0  # the window only ever grows: it slides on where it holds no more values than the best so far
    for value in rising:
        if value - rising[first] > within_ms:
            first += 1
    return (len(rising) - first) / len(rising)


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
    def of(
        cls, gaps: Sequence[float], keys: Sequence[str], start: int, stop: int, *, with_held: bool = False
    ) -> "Places":
        """Take the gaps before the events from start (1 or more) to before stop.

        Of a part that is mostly one key held down, or one key pressed again and again, all presses are taken
        (`with_held`): else nothing would be left to judge.
        """
        self = cls()
        held = 0
        add_gap, add_before, add_after = self.gaps.append, self.before.append, self.after.append
        add_kind, add_number = self.kinds.append, self.numbers.append
        before = keys[start - 1]
        run = 0
        for number in range(start, stop):
            key = keys[number]
            if key == before:
                if key in _DELETES:
                    continue
                run += 1
                if run > 1 and not with_held:
                    held += 1
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
        return self if held <= len(self.gaps) else cls.of(gaps, keys, start, stop, with_held=True)


def order(ranks: Sequence[int], groups: Sequence[Hashable], kinds: Sequence[str]) -> float:
    """Return how well each rank is foretold by the others, from -1 to 1; about 0 where they are drawn one by one.

    Of n values drawn one by one from any law, nineteen in twenty lie below 1.9 / sqrt(n). It is the correlation of each
    rank (`mid_ranks`) with a forecast made without it: the shrunken mean of the other ranks in its group (the same two
    keys, say), that of those in the same kind of place (twice), and that of the few before and after it.
    """
    by_group = _means(ranks, groups, 1.0, 1.0)
    by_kind = _means(ranks, kinds, 2.0, 2.0)
    totals = [0] * PACE_REACH + list(accumulate(ranks, initial=0))
    totals += totals[-1:] * PACE_REACH
    around = map(sub, totals[2 * PACE_REACH + 1 :], totals)
    weight = 1.0 / (2 * PACE_REACH + 4)
    means = map(add, map(by_group.__getitem__, groups), map(by_kind.__getitem__, kinds))
    forecasts = [
        both.real - rank * both.imag + (near - rank) * weight
        for rank, near, both in zip(ranks, around, means, strict=True)
    ]
    square = sum(map(mul, forecasts, forecasts)) * sum(map(mul, ranks, ranks))
    return sum(map(mul, forecasts, ranks)) / sqrt(square) if square > 0 else 0.0


def _means(ranks: Sequence[int], groups: Sequence[_G], shrink: float, weight: float) -> dict[_G, complex]:
    """Return for each group what makes the weighted, shrunken mean of all its ranks but one.

    The mean without a rank x is `real - x * imag`: two figures in one number, because adding one costs half of two.
    """
    sums: dict[_G, complex] = dict.fromkeys(groups, 0j)
    for group, rank in zip(groups, ranks, strict=True):
        sums[group] += rank + 1j
    for group, both in sums.items():
        share = weight / (both.imag - 1.0 + shrink)
        sums[group] = complex(both.real * share, share)
    return sums


def fastest_ms(gaps: Sequence[float], count: int) -> float:
    """Return the least time that `count` gaps in a row took, infinite where there are fewer."""
    totals = list(accumulate(gaps, initial=0.0))
    return min(map(sub, totals[count:], totals), default=inf)
