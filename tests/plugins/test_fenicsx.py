"""FEniCSx's own error falls: 0.11 in an environment without torch, and Debian's 0.5 beside torch.

`./run test` makes the two environments.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from fronts import ROOT, improvement, run_script

SCRIPT = Path(__file__).parent / "scripts" / "fenicsx_case.py"
WHEEL = ROOT / ".venv-fenicsx" / "bin"
DEBIAN = ROOT / ".venv-dolfinx05" / "bin" / "python"


def parsed(printed: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
    return found


def check(found: dict[str, Any], ranks: int) -> None:
    assert found["ranks"] == ranks
    assert found["ratio"] >= 2
    assert found["iterated"] >= 2
    assert found["kept"] == 1
    assert found["inverted"] == 0
    assert found["chosen"][0] == found["chosen"][1]
    assert found["numbering"] == [True] * ranks
    assert found["restored"] == [True] * ranks
    assert max(found["tags"]) < 1e-15
    assert max(map(abs, found["totals"])) < 1e-13
    assert found["smooth"] < 1e-13
    assert all("there is no tag 'nowhere'" in refusal for refusal in found["refusals"])
    assert "discontinuous" in found["loose"]
    assert "belongs to another mesh" in found["foreign"]
    assert max(found["cells"]) < 0.97


@pytest.mark.fenicsx
@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_wheel_without_torch(ranks: int) -> None:
    launch = (str(WHEEL / "mpiexec"), "-n", str(ranks)) if ranks > 1 else ()
    found = parsed(run_script(SCRIPT, sys.executable, python=WHEEL / "python", launch=launch))
    check(found, ranks)
    assert not found["torch"]
    if ranks == 1:
        assert found["curved"]["ratio"] < 0.7
        assert abs(found["curved"]["area"]) < 1e-13
        assert found["curved"]["rim"]
        assert found["curved"]["moved"] > 0.01
        assert found["curved"]["restored"]


@pytest.mark.fenicsx
@pytest.mark.slow
def test_the_example_runs() -> None:
    example = ROOT / "examples" / "plugins" / "front_fenicsx.py"
    printed = run_script(example, sys.executable, python=WHEEL / "python")
    assert improvement(printed) >= 2


@pytest.mark.dolfinx05
@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_debian_beside_torch(ranks: int) -> None:
    options = ("--allow-run-as-root", "--oversubscribe", "--mca", "mpi_yield_when_idle", "1")
    launch = ("mpiexec", *options, "-n", str(ranks)) if ranks > 1 else ()
    found = parsed(run_script(SCRIPT, python=DEBIAN, launch=launch))
    check(found, ranks)
    assert found["torch"]
    assert found["version"].startswith("0.5")
