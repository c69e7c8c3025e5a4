"""Reading a mesh of 1 million nodes against meshio: time and peak memory, at most 1.5 times each.

Both sides run in fresh processes, one after the other, and are measured after all imports. "file"
is our reader alone (to blocks, sets and fields, what meshio gives); "mesh" is `read`, which checks
indices, coordinates and orphans and leaves the other checks of so large a mesh to its first use.

"large.vtu" is ours (appended, compressed), "large-meshio.vtu" is as meshio writes it.

    pytest tests/benchmarks/bench_files.py -s
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import meshio
import numpy as np
import pytest

from meshlearn.mesh import Mesh

SIDE = 1000  # nodes along a side
LIMIT = 1.5
REPEATS, SECONDS = 5, 60  # at most so many runs, and none begun later

_MEASURE = """
import json, sys, time
from pathlib import Path
import meshio
from meshlearn.mesh.files import find_format, read

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

def meshio_side(path):
    return meshio.read(path)

def file_side(path):
    return find_format(Path(path)).read(Path(path), [])

what, path = sys.argv[1:]
run = {"meshio": meshio_side, "file": file_side, "mesh": read}[what]
run(str(Path(path).with_name(Path(path).name.replace("large", "small"))))  # imports
open("/proc/self/clear_refs", "w").write("5")  # peak memory from here on
before, start = peak(), time.perf_counter()
kept = run(path)
print(json.dumps([time.perf_counter() - start, peak() - before]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of all formats, large and small."""
    place = tmp_path_factory.mktemp("large")
    for name, side in (("large", SIDE), ("small", 4)):
        mesh = _square(side)
        mesh.write(place / f"{name}.vtu")
        meshio.vtu.write(place / f"{name}-meshio.vtu", _plain(mesh))
        mesh.write(place / f"{name}-41.msh")
        mesh.write(place / f"{name}-22.msh", format="gmsh22")
    return place


def _square(side: int) -> Mesh:
    x, y = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side), indexing="ij")
    pos = np.stack([x.ravel(), y.ravel()], axis=1)
    n = np.arange(side * side).reshape(side, side)
    a, b, c, d = (q.ravel() for q in (n[:-1, :-1], n[1:, :-1], n[1:, 1:], n[:-1, 1:]))
    cells = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    bottom = np.stack([n[:-1, 0], n[1:, 0]], axis=1)
    return Mesh.from_cells(
        pos,
        {"triangle": cells},
        facet_tags={"bottom": bottom},
        cell_tags={"all": np.arange(len(cells))},
        node_fields={"u": pos[:, 0] * pos[:, 1]},
        allow=("nonmanifold", "hanging"),
    )


def _plain(mesh: Mesh) -> meshio.Mesh:
    cells = [("triangle", mesh.cells["triangle"].numpy())]
    return meshio.Mesh(mesh.to_meshio().points, cells, {"u": mesh["u"].numpy()})


def _measure(path: Path) -> dict[str, tuple[float, float]]:
    """Least seconds and mebibytes of each side; the sides take turns."""
    runs: dict[str, list[tuple[float, float]]] = {"meshio": [], "file": [], "mesh": []}
    end = time.monotonic() + SECONDS
    while not runs["mesh"] or (len(runs["mesh"]) < REPEATS and time.monotonic() < end):
        for what, results in runs.items():
            command = [sys.executable, "-c", _MEASURE, what, str(path)]
            output = subprocess.run(command, check=True, capture_output=True).stdout
            results.append(tuple(json.loads(output)))
    return {
        what: (min(seconds for seconds, _ in results), min(memory for _, memory in results))
        for what, results in runs.items()
    }


@pytest.mark.parametrize("name", ["large.vtu", "large-meshio.vtu", "large-41.msh", "large-22.msh"])
def test_reading_costs_about_what_meshio_costs(folder: Path, name: str) -> None:
    found = _measure(folder / name)
    peer, ours = found["meshio"], found["mesh"]
    for what, (seconds, memory) in found.items():
        print(
            f"{name:16s} {what:7s} {seconds:6.2f} s ({seconds / peer[0]:.2f})"
            f" {memory:7.0f} MiB ({memory / peer[1]:.2f})"
        )
    assert ours[0] < LIMIT * peer[0]
    assert ours[1] < LIMIT * peer[1]
