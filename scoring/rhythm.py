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

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import accumulate, compress
from math import dist, hypot, inf
from operator import add, sub
from struct import unpack_from

__all__ = ["Places", "fastest_ms", "l_moments", "mid_ranks", "order", "same_share"]

PACE_REACH = 6
"""The pace of the moment is taken from this many gaps on either side."""

_DELETES = frozenset("\b\x17")
_REPEATED = "x"
"""The kind of a delete after a delete: not the hand's, never judged."""
_HELD = re.compile(f"{_REPEATED}|(?<=d)d")
"""Kinds of presses that a held key makes by itself, from the third of a letter on."""


def l_moments(rising: Sequence[float], capped: int = 0) -> tuple[float, float, float, float]:
    """Return mean, L-variation (0 for constants, 0.5 for an exponential law), L-skewness of rising values, and the
    L-skewness where so many of the greatest (`capped`) count only as the greatest of the others.

    Unbiased sample L-moments (Hosking 1990, §3); those of constants are 0 but for the mean. Needs at least three
    values.
    """
    n = len(rising)
    # sums of running sums weigh each value by its place from the top, and by the square of that: no product is made
    once = list(accumulate(rising))
    twice = list(accumulate(once))
    zeroth = once[-1]
    first = n * zeroth - twice[-1]
    second = n * (n - 1) * zeroth - 2 * n * twice[-1] + 2 * sum(twice)
    mean, variation, skew = _ratios(n, zeroth, first, second)
    if not capped:
        return mean, variation, skew, skew
    cap = rising[n - 1 - capped]
    for at in range(n - capped, n):
        over = rising[at] - cap
        zeroth -= over
        first -= over * at
        second -= over * at * (at - 1)
    return mean, variation, skew, _ratios(n, zeroth, first, second)[2]


def _ratios(n: int, zeroth: float, first: float, second: float) -> tuple[float, float, float]:
    """Return mean, L-variation and L-skewness from the sums of x, i·x and i·(i - 1)·x over rising x."""
    mean = zeroth / n
    first /= n * (n - 1)
    scale = 2 * first - mean
    if scale <= 1e-9 * mean:
        return mean, 0.0, 0.0
    return mean, scale / mean, (6 * second / (n * (n - 1) * (n - 2)) - 6 * first + mean) / scale


def mid_ranks(values: Sequence[float], rising: Sequence[float]) -> list[int]:
    """Return for each value how many are less minus how many are more, given them rising too; these sum up to 0."""
    n = len(rising)
    last = dict(zip(rising, range(1, n + 1), strict=True))
    ends = list(last.values())
    # no more than this value, and fewer than it, less all: what ends before a value is how many are less
    ranks = dict(zip(last, map(add, ends, [-n, *map(sub, ends, [n] * len(ends))]), strict=False))
    return list(map(ranks.__getitem__, values))


def same_share(rising: Sequence[float], within_ms: float) -> float:
    """Return the greatest share of values that lie within so many ms of one another."""
    first = 0  # the window only ever grows: it slides on where it holds no more values than the best so far
    for value in rising:
        if value - rising[first] > within_ms:
            first += 1
    return (len(rising) - first) / len(rising)


class _Kinds(dict[int, str]):
    """The kind of place of each pair of keys, as one number: the first key's code, and 65,536 times the second's."""

    def __init__(self, names: Sequence[str] | None = None) -> None:
        """`names`: what key a code stands for, where it is not the code point itself."""
        super().__init__()
        self._names = names

    def __missing__(self, pair: int) -> str:
        before, key = pair & 0xFFFF, pair >> 16
        names = self._names
        kind = _kind(names[before], names[key]) if names else _kind(chr(before), chr(key))
        if len(self) >= _MAX_KINDS:
            self.clear()
        self[pair] = kind
        return kind


def _kind(before: str, key: str) -> str:
    """Say what kind of place is between two keys: see `Places.kinds`."""
    if key == before:
        return _REPEATED if key in _DELETES else "d"
    if key in _DELETES:
        return "c"
    if before in _DELETES:
        return "a"
    if before == " ":
        return "w"
    if key == " ":
        return "s"
    if key.isupper():
        return "u"
    return "l" if key.isalpha() or key.islower() else "p"


_MAX_KINDS = 8192
_KINDS = _Kinds()
"""Kinds that were met before: a few hundred pairs are nearly all that people type."""


class Places:
    """The gaps of a log with the place of each, column by column; gaps that a held key makes by itself are left out.

    A key that repeats because it is held down, or a delete after a delete, has the keyboard's pace, not the hand's.
    """

    __slots__ = ("after", "gaps", "kinds", "numbers", "pairs")

    def __init__(
        self, gaps: Sequence[float], pairs: Sequence[int], after: str, kinds: str, numbers: Sequence[int]
    ) -> None:
        self.gaps = gaps
        """ms."""
        self.pairs = pairs
        """The keys before and after each gap, as one number: equal for equal pairs."""
        self.after = after
        """The key after each gap, as one character: itself, or in a log with clusters of several one that stands for
        it."""
        self.kinds = kinds
        """What kind of place the gap is in: `c` before a correction, `a` after one, `w` before a word's first letter,
        `s` before a space, `d` before the same key again, `u` before a capital, `p` before what is neither letter nor
        space, `l` before any other letter."""
        self.numbers = numbers
        """The number of the event after each gap."""

    @classmethod
    def of(cls, gaps: Sequence[float], keys: Sequence[str], start: int, stop: int) -> "Places":
        """Take the gaps before the events from start (1 or more) to before stop.

        Of a part that is mostly one key held down, or one key pressed again and again, all presses are taken: else
        nothing would be left to judge.
        """
        n = stop - start
        text, kind_of = "".join(keys[start - 1 : stop]), _KINDS
        codes = text.encode("utf-16-le", "surrogatepass")
        if len(codes) != 2 * n + 2:  # some key is a cluster of several code points, or one beyond 16 bits
            own = dict.fromkeys(keys[start - 1 : stop])
            letters = {key: chr(code) for code, key in enumerate(own)}
            text, kind_of = "".join(map(letters.__getitem__, keys[start - 1 : stop])), _Kinds(list(own))
            codes = text.encode("utf-16-le")
        pairs = [0] * n
        pairs[::2] = unpack_from(f"<{(n + 1) // 2}I", codes)
        pairs[1::2] = unpack_from(f"<{n // 2}I", codes, 2)
        kinds = "".join(map(kind_of.__getitem__, pairs))
        gaps, after = gaps[start:stop], text[1:]
        held = [match.start() for match in _HELD.finditer(kinds)]
        if not held:
            return cls(gaps, pairs, after, kinds, range(start, stop))
        deletes = kinds.count(_REPEATED)
        if len(held) - deletes > n - len(held):
            held = [at for at in held if kinds[at] == _REPEATED]
        keep = bytearray(b"\1") * n
        for at in held:
            keep[at] = 0
        return cls(
            list(compress(gaps, keep)),
            list(compress(pairs, keep)),
            "".join(compress(after, keep)),
            "".join(compress(kinds, keep)),
            list(compress(range(start, stop), keep)),
        )


def order(ranks: Sequence[int], groups: Sequence[Hashable], kinds: str) -> float:
    """Return how well each rank is foretold by the others, from -1 to 1; about 0 where they are drawn one by one.

    Of n values drawn one by one from any law, nineteen in twenty lie below 1.9 / sqrt(n). It is the correlation of each
    rank (`mid_ranks`) with a forecast made without it: the shrunken mean of the other ranks in its group (the same two
    keys, say), that of those in the same kind of place (twice), and that of the few before and after it.
    """
    of_group: dict[Hashable, int] = dict.fromkeys(groups, 0)
    of_kind = dict.fromkeys(kinds, 0)
    for group, kind, rank in zip(groups, kinds, ranks, strict=True):
        of_group[group] += rank
        of_kind[kind] += rank
    # a mean without the rank itself is (sum - rank) / count: kept as sum / count and 1 / count. All is taken times
    # `whole`, so that the third mean, of the few around, is a sum of ranks
    whole = 2.0 * PACE_REACH + 4.0
    by_group = {
        group: (total * (whole / count), whole / count)
        for (group, total), count in zip(of_group.items(), Counter(groups).values(), strict=True)
    }
    by_kind = {}
    for kind, total in of_kind.items():
        share = 2.0 * whole / (kinds.count(kind) + 1)
        by_kind[kind] = (total * share, share + 1.0)
    totals = [0] * PACE_REACH + list(accumulate(ranks, initial=0))
    totals += totals[-1:] * PACE_REACH
    forecasts = [
        mean + other + around - rank * (share + own)
        for (mean, share), (other, own), rank, around in zip(
            map(by_group.__getitem__, groups),
            map(by_kind.__getitem__, kinds),
            ranks,
            map(sub, totals[2 * PACE_REACH + 1 :], totals),
            strict=True,
        )
    ]
    # lengths and distance give the product of both by the law of cosines, much cheaper than one by one
    length, size, apart = hypot(*forecasts), hypot(*ranks), dist(forecasts, ranks)
    return (length * length + size * size - apart * apart) / (2 * length * size) if length and size else 0.0


def fastest_ms(gaps: Sequence[float], count: int) -> float:
    """Return the least time that `count` gaps in a row took, infinite where there are fewer."""
    totals = list(accumulate(gaps, initial=0.0))
    return min(map(sub, totals[count:], totals), default=inf)
