"""The fast way of reading a result is the slow one, or no way at all."""

from collections.abc import AsyncIterator
from dataclasses import fields, replace
from math import inf, nan
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadtest.finished import Typists
from persistence.catalogue import EmbeddedCatalogue
from persistence.catalogue.texts import Texts
from persistence.workers import typed
from persistence.workers.checking import Implausible, check
from session.options import SessionLimits
from session.result import Damaged, Result


@pytest.fixture(name="typists")
async def _typists() -> AsyncIterator[Typists]:
    async with EmbeddedCatalogue(None) as catalogue:
        yield Typists(Texts(catalogue, limits=SessionLimits()), mix="short")


@pytest.fixture(name="honest")
def _honest(typists: Typists) -> Result:
    return typists.finish(mode="words", count=5)


def slowly(packed: bytes) -> Result | None:
    """What the slow way lets through."""
    try:
        result = Result.unpack(packed)
        check(result)
    except (Damaged, Implausible):
        return None
    return result


def test_what_nodes_send_is_read_fast(typists: Typists) -> None:
    """In every mode, and whatever the verdict; to the byte, since a whole number and a float are stored otherwise."""
    for result in typists.results(40):
        packed = result.pack()
        read = typed.read(packed)
        assert read is not None
        assert read == result
        assert read.pack() == packed


def test_a_race_s_result_is_read_fast_too(honest: Result) -> None:
    """Its id is one, or the slow way says what is wrong with it."""
    of_race = replace(honest, race="0123456789abc")
    assert typed.read(of_race.pack()) == of_race
    for wrong in ("0123456789abi", "0123456789abcd", "0123456789abc\n", ""):
        assert typed.read(replace(honest, race=wrong).pack()) is None


def test_a_result_that_was_taken_over_is_read_fast_too(honest: Result) -> None:
    taken = replace(honest, epoch=1_795_717_084_452)
    assert typed.read(taken.pack()) == taken
    assert typed.read(replace(honest, epoch=2**53).pack()) is None


def test_fields_that_a_newer_build_appended_are_passed_over(honest: Result) -> None:
    of_race = replace(honest, race="0123456789abc")
    assert typed.read(msgpack.packb([*msgpack.unpackb(of_race.pack()), "new", {"and": "more"}])) == of_race


def test_what_is_not_as_this_build_packs_it_is_left_to_the_slow_way(honest: Result) -> None:
    values = msgpack.unpackb(honest.pack())
    others: list[object] = [[2, *values[1:]], values[:-1], values[:5], {}, 5, [], [values]]
    for other in others:
        packed = msgpack.packb(other)
        found = typed.read(packed)
        assert found is None or found == slowly(packed), other
    assert typed.read(b"\xc1") is None
    assert typed.read(b"\x91" * 100_000) is None


@pytest.mark.parametrize("number", [nan, inf, -inf, 1e300])
@pytest.mark.parametrize("place", ["wpm", "duration_ms", "lag_ms", "features", "reasons"])
def test_no_number_that_is_none_passes(honest: Result, place: str, number: float) -> None:
    values = msgpack.unpackb(honest.pack())
    names = ["version", *(field.name for field in fields(Result))]
    if place in ("wpm", "duration_ms"):
        summary = values[names.index("summary")]
        summary[0 if place == "wpm" else 9] = number
    elif place == "lag_ms":
        values[names.index(place)] = number
    else:
        values[names.index(place)] = {"x": number} if place == "features" else [["x", number, 1.0]]
    packed = msgpack.packb(values)
    found = typed.read(packed)
    assert found == slowly(packed) if number == 1e300 and place in ("features", "reasons") else found is None


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9)
    | st.binary(max_size=17),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(at=st.integers(1, len(fields(Result)) - 1), inner=st.none() | st.integers(0, 12), value=ANYTHING)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_fast_way_reads_nothing_that_the_slow_one_does_not(
    honest: Result, at: int, inner: int | None, value: Any
) -> None:
    """Whatever stands in a field, or in a field of the summary."""
    values = msgpack.unpackb(honest.pack())
    if inner is None:
        values[at] = value
    else:
        values[6][inner] = value
    packed = msgpack.packb(values)
    found = typed.read(packed)
    assert found is None or found == slowly(packed)


@pytest.mark.parametrize("changes", [{"core_hash": bytes(16)}, {"user": 5}, {"log_digest": bytes(16)}])
def test_the_core_is_checked(honest: Result, changes: dict[str, Any]) -> None:
    assert typed.read(replace(honest, **changes).pack()) is None
