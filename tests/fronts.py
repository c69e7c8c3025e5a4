"""The problem of all plug-in tests: -lap u = f on the unit square, u steep on a circle."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
WIDTH, RADIUS, CENTRE = 0.04, 0.3, 0.5


def exact(x: Any) -> Any:
    """tanh((0.3 - r) / 0.04) for coordinates `[d, ...]`."""
    return np.tanh((RADIUS - np.hypot(x[0] - CENTRE, x[1] - CENTRE)) / WIDTH)


def source(x: Any) -> Any:
    """-lap of `exact`."""
    r = np.hypot(x[0] - CENTRE, x[1] - CENTRE) + 1e-12
    u = np.tanh((RADIUS - r) / WIDTH)
    return (1 - u**2) / WIDTH * (2 * u / WIDTH + 1 / r)


def run_script(
    script: Path, *arguments: str, python: str | Path = sys.executable, launch: tuple[str, ...] = ()
) -> str:
    """Standard output of a script that has to succeed."""
    done = subprocess.run(
        [*launch, str(python), str(script), *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    """One thread for each process; the tests' helpers can be imported."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "tests")}


def improvement(printed: str) -> float:
    """Error before over error after, as the example scripts print them."""
    words = printed.split()
    arrow = words.index("->")
    return float(words[arrow - 1]) / float(words[arrow + 1])
