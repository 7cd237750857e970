import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.mysql.shards import Move, Phase, Routes, ShardMap, buckets_text, read_shard
from session.identity import BUCKETS

HALVES = ShardMap.of([("a", "0-2047"), ("b", "2048-4095"), ("c", "-")])


def test_each_bucket_has_the_shard_that_the_settings_say() -> None:
    shards = ShardMap.of([("a", "1-4094"), ("b", "0,4095"), ("c", "-")])
    assert shards.names == ("a", "b", "c")
    assert [shards.owners[bucket] for bucket in (0, 1, 4094, 4095)] == ["b", "a", "a", "b"]


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([("a", "0-2047"), ("b", "2049-4095")], "buckets 2048 have no shard"),
        ([("a", "0-99,200-4095")], "buckets 100-199 have no shard"),
        ([("a", "0-2048"), ("b", "2048-4095")], "buckets 2048 are of a and b"),
        ([("a", "0-4095"), ("b", "7,9-10")], "buckets 7,9-10 are of a and b"),
        ([("a", "0-10,5"), ("b", "11-4095")], "'a' has bucket 5 twice"),
        ([("a", "0-4096")], "FIRST-LAST within 0 to 4095"),
        ([("a", "10-9")], "FIRST-LAST"),
        ([("a", "0-4095;")], "FIRST-LAST"),
        ([("a", "")], "FIRST-LAST"),
        ([("a", "0-4095"), ("a", "-")], "two shards are called 'a'"),
        ([("a", "-")], "buckets 0-4095 have no shard"),
    ],
)
def test_holes_and_overlaps_are_told_exactly(entries: list[tuple[str, str]], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ShardMap.of(entries)


def test_all_holes_and_overlaps_are_told_at_once() -> None:
    with pytest.raises(ValueError, match="buckets 5 have no shard; buckets 7 are of a and b; each of 0 to 4095"):
        ShardMap.of([("a", "0-4,6-7"), ("b", "7-4095")])


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("a 0-4095", "an entry of 2"),
        ("a 0-10, 11-4095 mysql://u:secret@h/d", "an entry of 4"),
        ("", "an entry of 0"),
        ("A 0-4095 mysql://u:secret@h/d", "a-z"),
        (f"{'a' * 41} 0-4095 mysql://u:secret@h/d", "40"),
    ],
)
def test_a_shards_entry_is_three_words(entry: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as raised:
        read_shard(entry)
    assert "secret" not in str(raised.value)


def test_the_fingerprint_is_that_of_buckets_and_shards_alone() -> None:
    assert HALVES.fingerprint == ShardMap.of([("b", "2048-4095"), ("a", "0-2047")]).fingerprint
    assert HALVES.fingerprint != ShardMap.of([("a", "0-2048"), ("b", "2049-4095")]).fingerprint
    assert HALVES.fingerprint != ShardMap.of([("b", "0-2047"), ("a", "2048-4095")]).fingerprint


@given(st.sets(st.integers(0, BUCKETS - 1), max_size=12))
def test_buckets_are_told_as_they_are_read(buckets: set[int]) -> None:
    rest = [bucket for bucket in range(BUCKETS) if bucket not in buckets]
    text = buckets_text(sorted(buckets))
    if "more" not in text:
        shards = ShardMap.of([("a", text), ("b", ",".join(map(str, rest)))])
        assert {bucket for bucket, owner in enumerate(shards.owners) if owner == "a"} == buckets


def test_a_bucket_that_does_not_move_has_one_shard() -> None:
    routes = Routes.of(HALVES, [])
    assert (routes.writers(7), routes.reader(7), routes.number) == (("a",), "a", 0)


@pytest.mark.parametrize(
    ("phase", "writers", "reader"),
    [
        (Phase.COPYING, ("a", "b"), "a"),
        (Phase.SWITCHED, ("b", "a"), "b"),
        (Phase.DONE, ("b",), "b"),
    ],
)
def test_a_bucket_that_moves_is_written_to_both_until_it_is_done(
    phase: Phase, writers: tuple[str, ...], reader: str
) -> None:
    routes = Routes.of(HALVES, [Move(7, "a", "b", phase, 1)])
    assert (routes.writers(7), routes.reader(7)) == (writers, reader)
    assert routes.writers(8) == ("a",)
    assert (7 in routes.buckets("b")) == (reader == "b")
    assert len(routes.buckets("a")) + len(routes.buckets("b")) == BUCKETS


def test_of_what_several_shards_tell_the_latest_counts() -> None:
    told = [Move(7, "a", "b", Phase.COPYING, 3), Move(7, "a", "b", Phase.SWITCHED, 4), Move(9, "b", "a", Phase.DONE, 2)]
    for order in (told, told[::-1]):
        routes = Routes.of(HALVES, order)
        assert (routes.reader(7), routes.reader(9), routes.number) == ("b", "a", 4)
