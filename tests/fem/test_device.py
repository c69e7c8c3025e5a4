"""Assembly, solves and problems run where the tensors are (on a second device in software)."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from device_cases import CASES

SCRIPT = Path(__file__).parents[1] / "device_cases.py"


@cache
def results() -> dict[str, str]:
    command = [sys.executable, SCRIPT.name]
    done = subprocess.run(command, cwd=SCRIPT.parent, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", CASES)
def test_it_runs_elsewhere_with_the_same_result(name: str) -> None:
    assert results()[name] == "ok"


def test_a_forgotten_device_is_noticed() -> None:
    assert "all tensors must be on one device" in results()["forgotten device"]
