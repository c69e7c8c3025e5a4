"""The parts of the plug-ins that a Python without torch imports."""

from __future__ import annotations

from pathlib import Path

from fronts import run_script

SCRIPT = """
import sys
for name in ("torch", "torch_geometric", "scipy.sparse", "pyvista", "meshio"):
    sys.modules[name] = None  # importing it fails
import numpy as np
import meshlearn
from meshlearn.plugins import client, common, curved, engines, parallel, periodic
assert sys.modules["torch"] is None
pos = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])


class Host(common.Host):
    code = "one triangle"
    x = pos.copy()

    def arrays(self):
        cells = {"triangle": np.arange(3)[None]}
        return common.Arrays(self.x.copy(), cells, np.arange(3))

    def write(self, coordinates):
        self.x[:] = coordinates

    def snapshot(self):
        return self.x.copy()

    def restore(self, state):
        self.x[:] = state

    def nodal(self, function):
        return function

    values = set_values = coefficients = None


host = Host()
common.set_positions(host, 2 * pos)
assert np.array_equal(host.x, 2 * pos)
for attempt in (lambda: common.to_mesh(host), lambda: common.adapt(host, np.zeros(3))):
    try:
        attempt()
    except ImportError as error:
        print(error)
assert np.array_equal(host.x, 2 * pos)
"""


def test_arrays_and_positions_need_numpy_only(tmp_path: Path) -> None:
    script = tmp_path / "without.py"
    script.write_text(SCRIPT)
    assert run_script(script).count("torch") == 2
