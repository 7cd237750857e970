"""Work in slices, done at once."""

from collections.abc import Generator

import pytest

from scoring.slices import at_once


def counting(done: list[int], *, most: int, fails: bool = False) -> Generator[None, None, int]:
    for i in range(most):
        done.append(i)
        yield
    if fails:
        raise ValueError("the work cannot be done")
    return sum(done)


@pytest.mark.parametrize(("most", "comes_to"), [(0, 0), (1, 0), (4, 6)])
def test_work_is_done_to_its_end_and_comes_to_what_it_returns(most: int, comes_to: int) -> None:
    done: list[int] = []
    assert at_once(counting(done, most=most)) == comes_to
    assert done == list(range(most))


def test_what_the_work_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="the work cannot be done"):
        at_once(counting([], most=2, fails=True))
