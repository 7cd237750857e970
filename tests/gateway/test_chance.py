import pytest

from gateway.chance import BLOCK_NUMBERS, Chance


@pytest.mark.parametrize("bits", [1, 7, 8, 10, 53, 62, 64])
def test_every_number_has_so_many_bits(bits: int) -> None:
    """Over many blocks each bit is set about half of the time, and none beyond."""
    chance = Chance()
    count = 40 * BLOCK_NUMBERS
    ones = [0] * bits
    for _ in range(count):
        number = chance(bits)
        assert number >> bits == 0
        for bit in range(bits):
            ones[bit] += number >> bit & 1
    for set_count in ones:
        assert abs(set_count / count - 0.5) < 8 * 0.5 / count**0.5  # eight sigma


def test_no_bits_are_used_twice() -> None:
    chance = Chance()
    numbers = [chance(64) for _ in range(3 * BLOCK_NUMBERS)]
    assert len(set(numbers)) == len(numbers)
