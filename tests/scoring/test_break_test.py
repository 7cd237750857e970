"""The cluster boundaries are Unicode's, by Unicode's own test of the version that we name."""

import importlib.metadata
import re

import pytest

from scoring import SCORING_VERSION
from scoring.text import NORMALISATION_VERSION, UNICODE_VERSION, clusters
from tests.scoring.break_test import Unavailable, break_test


@pytest.fixture(scope="module")
def cases() -> str:
    try:
        return break_test()
    except Unavailable as why:
        pytest.skip(str(why))


def test_every_case_of_the_break_test_passes(cases: str) -> None:
    found = 0
    for line in cases.splitlines():
        case = line.partition("#")[0].strip()
        if case:
            pieces = [piece.split("×") for piece in case.split("÷") if piece.strip()]
            wanted = ["".join(chr(int(point, 16)) for point in piece) for piece in pieces]
            assert clusters("".join(wanted)) == wanted, line
            found += 1
    assert found > 500


def test_the_break_test_is_of_our_unicode_version(cases: str) -> None:
    assert cases.startswith(f"# GraphemeBreakTest-{UNICODE_VERSION}.0.txt\n")


def test_the_unicode_version_is_what_regex_says_of_itself() -> None:
    told = re.search(r"supports Unicode (\d+\.\d+)", str(importlib.metadata.metadata("regex").json["description"]))
    assert told is not None
    assert told[1] == UNICODE_VERSION
    assert SCORING_VERSION.split("/")[1:] == [UNICODE_VERSION, NORMALISATION_VERSION]
