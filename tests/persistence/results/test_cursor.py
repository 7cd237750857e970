import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.errors import CursorError
from persistence.results.cursor import MAX_PAGE, check_limit, cursor_after, read_cursor
from tests.persistence.samples import sample


def test_a_cursor_is_read_back() -> None:
    session = sample(3).session
    assert read_cursor(cursor_after(session)) == session


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "A" * 22,  # no UUIDv7
        "é" * 22,
        "!" * 22,
        cursor_after(sample().session) + "=",
        cursor_after(sample().session)[:-1],
        cursor_after(sample().session) * 1000,
    ],
    ids=["empty", "short", "other id", "not ascii", "not base64", "padded", "cut off", "huge"],
)
def test_what_was_never_given_out_is_refused(cursor: str) -> None:
    with pytest.raises(CursorError):
        read_cursor(cursor)


@given(st.text(alphabet="ABCDEFabcdef0123456789-_", min_size=22, max_size=22))
def test_a_cursor_has_one_spelling(cursor: str) -> None:
    try:
        session = read_cursor(cursor)
    except CursorError:
        return
    assert cursor_after(session) == cursor


@pytest.mark.parametrize("limit", [0, -1, MAX_PAGE + 1])
def test_page_sizes_have_a_limit(limit: int) -> None:
    with pytest.raises(ValueError, match="allowed is 1 to"):
        check_limit(limit)
