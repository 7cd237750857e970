"""A program that is told to end leaves nothing running."""

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import contextlib, signal
from loadtest.ending import leave_on_sigterm

@contextlib.contextmanager
def started():
    try:
        yield
    finally:
        print("stopped", flush=True)

leave_on_sigterm()
with started():
    print("started", flush=True)
    signal.pause()
"""


def test_sigterm_leaves_every_context() -> None:
    own = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", PROGRAM], env=own, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "started\n"
        program.send_signal(signal.SIGTERM)
        said, _ = program.communicate(timeout=60)
    assert (said, program.returncode) == ("stopped\n", 128 + signal.SIGTERM)
