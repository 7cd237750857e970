"""A test cut into frames: what the page would send, when it would, and every key and hold of it once."""

from array import array
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.frames import Frames, cut
from loadtest.typist import Typed, Typist
from scoring.text import prepare

FLUSH_MS = 230.0


@pytest.mark.parametrize(
    ("times", "stops", "dues"),
    [
        ([], [], []),
        ([0], [1], [0]),
        ([0, 500], [1, 2], [0, 500]),
        ([0, 10, 229, 230, 231], [1, 4, 5], [0, 230, 460]),
        ([0, 0, 0], [3], [0]),
        ([0, 100, 700, 800, 900, 1000], [1, 2, 3, 5, 6], [0, 230, 700, 930, 1160]),
    ],
    ids=["none", "one", "slow", "quick", "at once", "pause"],
)
def test_the_first_key_goes_at_once_and_others_when_the_wait_is_over(
    times: list[int], stops: list[int], dues: list[float]
) -> None:
    assert cut(times, FLUSH_MS) == (stops, dues)


@given(st.lists(st.integers(0, 900), max_size=60).map(sorted))
def test_no_key_waits_longer_than_the_flush_and_no_frame_is_empty(times: list[int]) -> None:
    stops, dues = cut(times, FLUSH_MS)
    starts = [0, *stops[:-1]] if stops else []
    assert stops == sorted(set(stops))
    assert (stops[-1] if stops else 0) == len(times)
    for start, stop, due in zip(starts, stops, dues, strict=True):
        assert start < stop
        assert all(due - FLUSH_MS <= at <= due for at in times[start:stop])
    assert all(late - early >= FLUSH_MS for early, late in pairwise(dues))


@pytest.mark.parametrize("seed", range(20))
def test_frames_join_to_the_log_and_tell_each_hold_once(seed: int) -> None:
    typed = Typist(seed).type(prepare("to and fro and here and there", timed=False).words)
    frames = Frames(typed, FLUSH_MS)
    messages = [frames.message(number, holds=True) for number in range(len(frames))]
    assert list(chain.from_iterable(message["e"] for message in messages)) == typed.events()
    assert [message["n"] for message in messages] == [0, *frames.stops[:-1]]
    assert list(chain.from_iterable(message.get("h", []) for message in messages)) == typed.held()
    for message in messages:  # a key is let go after it was sent, but for the last ones
        last = message["n"] + len(message["e"]) // 2 == len(typed)
        assert last or all(event < message["n"] for event in message.get("h", [])[::2])
    assert "h" not in frames.message(0, holds=False)


def test_times_begin_with_the_first_key() -> None:
    frames = Frames(Typed(array("I", [700, 120, 0, 300]), "abcd", array("H", [1, 2, 3, 4])), FLUSH_MS)
    assert list(frames.times) == [0, 120, 120, 420]
    assert (list(frames.stops), list(frames.dues)) == ([1, 3, 4], [0, 230, 460])
    assert len(Frames(Typed(array("I"), "", array("H")), FLUSH_MS)) == 0
