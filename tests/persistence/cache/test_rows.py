from hypothesis import given
from hypothesis import strategies as st

from persistence.cache.rows import Row, pack_rows, push_row, read_rows

PAIRS = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=300)), unique_by=lambda pair: pair[0])


@given(PAIRS)
def test_a_list_is_read_as_it_was_packed(pairs: list[tuple[bytes, bytes]]) -> None:
    assert list(read_rows(pack_rows(pairs))) == pairs


@given(PAIRS, st.binary(max_size=20), st.integers(1, 12))
def test_a_pushed_row_is_in_its_place(pairs: list[tuple[bytes, bytes]], id_: bytes, most: int) -> None:
    """Descending ids, no more than `most`; a list that has the id already is of no use any more."""
    pairs.sort(reverse=True)
    pushed = push_row(Row("k", id_, b"new"), pack_rows(pairs), most=most)
    if id_ in dict(pairs):
        assert pushed is None
    else:
        assert pushed == pack_rows(sorted([*pairs, (id_, b"new")], reverse=True)[:most])
