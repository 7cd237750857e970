"""Unicode's own GraphemeBreakTest.txt, of the version that `regex` implements, brought by a package registry.

The crate `icu_segmenter` ships the file among its tests; cargo downloads and verifies it. It is kept in the virtual
environment, never in the tree: it is Unicode's text. `python -m tests.scoring.break_test` fetches it ahead of a run.
When `regex` moves to another Unicode version, name here the crate's version that ships that one's file, and its digest.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CRATE, VERSION = "icu_segmenter", "2.4.0"
FILE = "tests/testdata/GraphemeBreakTest.txt"
SHA256 = "b0cf047ee94485bbdc846de2b902f5f8a815f6b674f9d04223cddadd91c9df31"
KEPT = Path(sys.prefix) / "share" / "typegate-tests" / f"GraphemeBreakTest-{SHA256[:12]}.txt"


class Unavailable(Exception):
    """The file is not here and cannot be fetched; says why."""


def break_test() -> str:
    """The file's text, fetched if it is not here yet. Raises Unavailable."""
    if not KEPT.exists():
        _fetch()
    content = KEPT.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise Unavailable(f"{KEPT} is not the file that was pinned: delete it")
    return content.decode()


def _fetch() -> None:
    cargo = shutil.which("cargo")
    if cargo is None:
        raise Unavailable("cargo, which fetches GraphemeBreakTest.txt, is not installed")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "Cargo.toml").write_text(
            '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[lib]\npath = "lib.rs"\n'
            f'[dependencies]\n{CRATE} = {{ version = "={VERSION}", default-features = false }}\n'
        )
        (root / "lib.rs").touch()
        run = subprocess.run(
            [cargo, "vendor", "--quiet", "vendor"], cwd=root, capture_output=True, text=True, timeout=300, check=False
        )
        if run.returncode:
            raise Unavailable(f"cargo could not fetch {CRATE} {VERSION}: {run.stderr.strip()[-500:]}")
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        arriving = KEPT.with_suffix(f".{root.name}")  # several test processes may fetch at once: each puts a whole file
        shutil.copyfile(root / "vendor" / CRATE / FILE, arriving)
        arriving.replace(KEPT)


if __name__ == "__main__":
    break_test()
