"""The sample meshes: they read with their tags, are sound, and come from their scripts."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import meshlearn as ml

FOLDER = Path(__file__).parents[2] / "meshes"
SAMPLES = sorted(FOLDER.glob("*.msh"))

MEASURES = {
    "backward_facing_step": 32.0,
    "box": 1.0,
    "channel_cylinder": 2.2 * 0.41 - math.pi * 0.05**2,
    "channel_cylinder_3d": (2.5 * 0.41 - math.pi * 0.05**2) * 0.41,
    "cylinder_hex": math.pi * 0.5**2 * 2.0,
    "l_shape": 3.0,
    "naca0012": math.pi * 10.0**2 - 0.0822,  # 0.685 times the thickness is the section
    "pipe_bend": math.pi * 0.5**2 * (2.0 + math.pi / 2 * 1.5),
    "plate_hole_quad": 16.0 - math.pi / 4,
    "unit_square": 1.0,
}
KINDS = {
    "triangles": "triangle",
    "quads": "quad",
    "tetrahedra": "tetra",
    "hexahedra": "hexahedron",
}
FLAT = ("backward_facing_step", "box", "l_shape", "unit_square")  # sides without curvature


def table() -> dict[str, tuple[str, int, int, list[str], str]]:
    """Rows of the README: cell type, cells, nodes, tags and format of each mesh."""
    pattern = r"\| `(\w+)\.msh` \| (\d+) (\w+) \| (\d+) \| (.*) \| (msh .*) \|"
    rows = re.findall(pattern, (FOLDER / "README.md").read_text(encoding="utf-8"))
    return {
        name: (KINDS[kind], int(cells), int(nodes), re.findall("`(.*?)`", tags), form)
        for name, cells, kind, nodes, tags, form in rows
    }


def test_every_mesh_has_its_script_and_its_row() -> None:
    names = [path.stem for path in SAMPLES]
    assert names == sorted(path.stem for path in FOLDER.glob("*.geo")) == sorted(table())
    assert names == sorted(MEASURES)
    assert len(names) >= 8
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 3_000_000


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_sample_reads_and_is_sound(path: Path) -> None:
    mesh = ml.read(path)
    kind, cells, nodes, tags, _ = table()[path.stem]
    assert {name: len(rows) for name, rows in mesh.cells.items()} == {kind: cells}
    assert mesh.pos.shape == (nodes, 3 if kind in ("tetra", "hexahedron") else 2)
    assert sorted(mesh.facet_tags) == sorted(tags)
    assert [len(rows) for rows in mesh.cell_tags.values()] == [cells]
    assert torch.unique(mesh.cells[kind]).numel() == nodes  # no orphans

    assert mesh.volumes().min() > 0
    assert mesh.inverted_cells().numel() == 0
    assert mesh.quality("mean_ratio").min() > 0.3
    close = 1e-9 if path.stem in FLAT else 0.02
    assert float(mesh.volumes().sum()) == pytest.approx(MEASURES[path.stem], rel=close)

    found = torch.cat([mesh.topology.find_facets(rows) for rows in mesh.facet_tags.values()])
    assert torch.equal(found.sort().values, mesh.topology.boundary_facets.sort().values)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_format_is_the_one_in_the_table(path: Path) -> None:
    header = path.read_bytes()[:40].split(b"\n")[1].split()
    version, binary = header[0].decode(), header[1] == b"1"
    version = version + ".0" if "." not in version else version
    assert f"msh {version}, {'binary' if binary else 'text'}" == table()[path.stem][4]


def test_scripts_make_the_meshes_again(tmp_path: Path) -> None:
    script = [sys.executable, str(FOLDER / "build.py"), "--output", str(tmp_path)]
    subprocess.run(script, check=True, capture_output=True)
    for path in SAMPLES:
        mesh, again = ml.read(path), ml.read(tmp_path / path.name)
        if path.stem in ("plate_hole_quad", "cylinder_hex"):  # structured: any gmsh makes the same
            assert torch.allclose(mesh.pos, again.pos, atol=1e-9)
            assert mesh.cells.keys() == again.cells.keys()
            assert all(torch.equal(mesh.cells[name], again.cells[name]) for name in mesh.cells)
        assert set(mesh.facet_tags) == set(again.facet_tags)
        assert again.num_nodes == pytest.approx(mesh.num_nodes, rel=0.05)


def test_build_names_an_unknown_mesh() -> None:
    script = [sys.executable, str(FOLDER / "build.py"), "nothing"]
    result = subprocess.run(script, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "no nothing.geo here; there are backward_facing_step, box" in result.stderr


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("channel_cylinder", lambda: ml.generate.channel_with_cylinder(h=0.02)),
        ("naca0012", lambda: ml.generate.naca("0012", h=0.02)),
        ("backward_facing_step", lambda: ml.generate.backward_facing_step(h=0.13)),
        (
            "channel_cylinder_3d",
            lambda: ml.generate.channel_with_cylinder_3d(h=0.08, h_cylinder=0.03),
        ),
        ("pipe_bend", lambda: ml.generate.pipe_bend(h=0.18)),
    ],
)
def test_scripts_and_generators_agree(name: str, make: Callable[[], ml.Mesh]) -> None:
    sample, made = ml.read(FOLDER / f"{name}.msh"), make()
    assert made.num_nodes == pytest.approx(sample.num_nodes, rel=0.05)
    assert set(made.facet_tags) == set(sample.facet_tags)
    for low_high in ("amin", "amax"):
        ends = getattr(sample.pos, low_high)(dim=0), getattr(made.pos, low_high)(dim=0)
        assert torch.allclose(*ends, atol=0.02)
