"""Which interpreter `make` builds the environment with (`config/python`)."""

import os
import subprocess
from pathlib import Path

CHOOSE = Path(__file__).parents[2] / "config" / "python"


def test_an_optimised_python_of_the_path_is_taken(tmp_path: Path) -> None:
    _interpreter(tmp_path / "python3", optimised=True, complete=True)
    system = _interpreter(tmp_path / "system", optimised=True, complete=True)
    assert _chosen(tmp_path, system) == "python3"


def test_the_systems_python_stands_in_for_one_without_optimisation(tmp_path: Path) -> None:
    _interpreter(tmp_path / "python3", optimised=False, complete=True)
    system = _interpreter(tmp_path / "system", optimised=True, complete=True)
    assert _chosen(tmp_path, system) == str(system)


def test_a_systems_python_that_is_too_old_or_cannot_make_environments_is_left_alone(tmp_path: Path) -> None:
    _interpreter(tmp_path / "python3", optimised=False, complete=True)
    system = _interpreter(tmp_path / "system", optimised=True, complete=False)
    assert _chosen(tmp_path, system) == "python3"
    assert _chosen(tmp_path, tmp_path / "none") == "python3"


def _interpreter(path: Path, *, optimised: bool, complete: bool) -> Path:
    """A program that answers the two questions of `config/python` as an interpreter so built would."""
    about_optimisation, about_the_rest = f"exit {int(not optimised)}", f"exit {int(not complete)}"
    cases = f"*enable-optimizations*) {about_optimisation};; *ensurepip*) {about_the_rest};;"
    path.write_text(f"#!/bin/sh\ncase $2 in {cases} esac\nexit 2\n")
    path.chmod(0o755)
    return path


def _chosen(folder: Path, system: Path) -> str:
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run([CHOOSE, system], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()
