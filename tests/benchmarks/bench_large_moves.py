"""One move of a mesh of a million nodes in 2D and half a million in 3D: time and peak memory.

Each move runs in a process of its own; the peak is that of the whole process, the mesh's generation
and all imports included.

    pytest tests/benchmarks/bench_large_moves.py -s
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LIMIT = 16.0
"""GiB."""

_MOVE = """
import json, resource, sys
import torch
import meshlearn as ml

def blob(x):
    return 1 + 20 * torch.exp(-((x - 0.5) ** 2).sum(dim=1) / 0.02)

dim, n = map(int, sys.argv[1:])
if dim == 2:
    mesh, monitor = ml.generate.rectangle(n, n), ml.monitors.ring((0.5, 0.5), 0.25, 10.0, 100.0)
else:
    mesh, monitor = ml.generate.box(n, n, n), ml.monitors.Function(blob)
report = ml.movers.Variational().move(mesh, monitor).report
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps([mesh.num_nodes, peak, report.as_dict()]))
"""


@pytest.mark.parametrize(("dim", "n"), [(2, 99), (2, 315), (2, 999), (3, 29), (3, 79)])
def test_one_move(dim: int, n: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _MOVE, str(dim), str(n)], capture_output=True, text=True, check=True
    )
    nodes, peak, report = json.loads(done.stdout)
    print(
        f"\n{dim}D, {nodes} nodes: {report['seconds']:.1f} s, {report['iterations']} iterations, "
        f"{peak:.1f} GiB, spread {report['equidistribution_before']:.2f} -> "
        f"{report['equidistribution_after']:.2f}"
    )
    assert report["converged"]
    assert report["inverted_cells"] == 0
    assert peak < LIMIT
