"""Runs `interpreted_triton.py` where Triton's interpreter can be had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from meshlearn.kernels.backend import has_triton


@pytest.mark.slow
def test_programs_in_the_interpreter() -> None:
    if not has_triton():  # there are wheels for Linux only; the extra `test` has it there
        assert not sys.platform.startswith("linux")
        return
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "interpreted_triton.py"],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": paths},
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
