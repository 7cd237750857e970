"""A person's habits: how much sooner or later than on average they press a key, by the keys that it lies between.

Seen over all keys, a person's gaps follow one lognormal law; seen one by one, much of the law's width is habit. The
shares were measured on the sessions of the study that `typist` names, as variances of the logarithm of gaps within a
person (0.33 in all): 0.065 lies between kinds of place (a word's first letter comes late, a correction takes thought),
0.05 between pairs of keys, most of it the same for everybody, 0.01 in a pace that lasts for some keys, the rest is
chance. So it is here, scaled to the variance that the model gives to this person; which pairs are quick is drawn, since
a model of layouts is not needed for load. Holds have habits by key: 0.017 of 0.077.
"""

from collections.abc import Mapping
from hashlib import blake2b
from math import exp
from statistics import NormalDist

__all__ = ["PACE_KEEPS", "PACE_VARIANCE", "REST_VARIANCE", "GapHabits", "HoldHabits"]

PLACES: Mapping[str, float] = {
    "again": -0.15,  # the same key twice
    "erase": 0.6,  # a delete: something was wrong
    "erase on": -0.4,  # a delete after a delete
    "after": 0.3,  # the first key after deletes
    "word": 0.29,
    "space": -0.2,
    "mark": 0.45,  # neither letter nor space
    "letter": -0.1,
}
"""Logarithm of a gap, less the mean, by what kind of place it is in."""

GAP_VARIANCE = 0.3025
"""Of the logarithm of a person's gaps that the figures here are for; a person with another one has them in
proportion."""
PLACES_VARIANCE = 0.06
"""What `PLACES` makes in English with the model's errors and corrections."""
COMMON_VARIANCE, OWN_VARIANCE = 0.04, 0.015
"""Between pairs of keys: what they are to everybody, and what they are to this person beside."""
PACE_VARIANCE, PACE_KEEPS = 0.012, 0.85
"""Of the pace of the moment, and how much of it is left at the next key."""
REST_VARIANCE = GAP_VARIANCE - PLACES_VARIANCE - COMMON_VARIANCE - OWN_VARIANCE - PACE_VARIANCE

HOLD_COMMON_VARIANCE, HOLD_OWN_VARIANCE = 0.007, 0.01
"""Between keys, of the logarithm of holds."""
HOLD_HABITS_VARIANCE = HOLD_COMMON_VARIANCE + HOLD_OWN_VARIANCE

_NORMAL = [NormalDist().inv_cdf((at + 0.5) / 256) for at in range(256)]


class GapHabits(dict[str, float]):
    """By how much a gap is longer than the mean, by the two keys around it; drawn when first asked for."""

    def __init__(self, seed: int, gap_sigma: float) -> None:
        super().__init__()
        self._key = b"%d" % seed
        self.scale = gap_sigma / GAP_VARIANCE**0.5
        """This person's share of all figures here."""

    def __missing__(self, pair: str) -> float:
        before, key = pair.split("\0") if "\0" in pair else (pair[0], pair[1:])
        effect = (
            PLACES[_place(before, key)]
            + COMMON_VARIANCE**0.5 * _drawn(b"everybody", pair)
            + OWN_VARIANCE**0.5 * _drawn(self._key, pair)
        )
        factor = self[pair] = exp(self.scale * effect)
        return factor


class HoldHabits(dict[str, float]):
    """By how much a key is held longer than the mean; drawn when first asked for."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._key = b"%d" % seed

    def __missing__(self, key: str) -> float:
        effect = HOLD_COMMON_VARIANCE**0.5 * _drawn(b"everybody", key) + HOLD_OWN_VARIANCE**0.5 * _drawn(self._key, key)
        factor = self[key] = exp(effect - HOLD_HABITS_VARIANCE / 2)
        return factor


def _place(before: str, key: str) -> str:
    if key == "\b":
        return "erase on" if before == "\b" else "erase"
    if before == "\b":
        return "after"
    if before == " ":
        return "word"
    if key == " ":
        return "space"
    if key == before:
        return "again"
    return "letter" if key[0].isalpha() else "mark"


def _drawn(who: bytes, what: str) -> float:
    """A draw from a normal law, always the same one for the same arguments."""
    return _NORMAL[blake2b(what.encode(), digest_size=1, key=who).digest()[0]]
