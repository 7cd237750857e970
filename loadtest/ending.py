"""How a program that has started others ends."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn

__all__ = ["leave_on_sigterm"]


def leave_on_sigterm() -> None:
    """Let SIGTERM leave every context, as Ctrl-C does, so that nothing that was started stays. For the main thread."""
    signal.signal(signal.SIGTERM, _left)


def _left(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
