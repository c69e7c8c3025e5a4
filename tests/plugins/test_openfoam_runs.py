"""Moved meshes in OpenFOAM itself: checkMesh passes, solvers run, its figures are ours."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import foam
import numpy as np
import pytest

from meshlearn.monitors import Function
from meshlearn.plugins import openfoam
from meshlearn.plugins.openfoam.fields import read_field

pytestmark = pytest.mark.openfoam

SPOT = Function(lambda x: 1 + 6 * (-20 * ((x - 0.3) ** 2).sum(dim=1)).exp())


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The cavity tutorial in all four kinds of files."""
    folder = tmp_path_factory.mktemp("cavity")
    return {
        f"{'binary' if binary else 'text'}{' compressed' * compressed}": foam.cavity(
            folder / f"{binary}{compressed}", binary=binary, compressed=compressed
        )
        for binary in (False, True)
        for compressed in (False, True)
    }


def figures_agree(case: Path, *options: str) -> None:
    """`check` says what checkMesh says."""
    said, check = foam.run(case, "checkMesh", *options), openfoam.check(case)
    assert "Mesh OK." in said
    assert foam.figure(said, "Min volume =") == pytest.approx(check["min_volume"], rel=1e-5)
    angle = foam.figure(said, "non-orthogonality Max:")
    assert angle == pytest.approx(check["max_non_orthogonality"], rel=1e-5, abs=1e-4)
    skew = foam.figure(said, "Max skewness =")
    assert skew == pytest.approx(check["max_skewness"], rel=1e-4, abs=1e-9)


KINDS = ["text", "text compressed", "binary", "binary compressed"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_cavity(solved: dict[str, Path], kind: str, tmp_path: Path) -> None:
    case = shutil.copytree(solved[kind], tmp_path / "case")
    names = sorted(path.name for path in (case / "constant/polyMesh").iterdir())
    report = openfoam.adapt(case, "U", output="constant")
    assert report.estimates[1] < report.estimates[0]
    assert sorted(path.name for path in (case / "constant/polyMesh").iterdir()) == names
    figures_agree(case, "-constant")
    said = foam.run(case, "icoFoam")
    assert "End" in said
    assert foam.mesh_is_ok(case)
    velocity = read_field(case, "0.5", "U", openfoam.read_case(case).mesh).values
    # Ghia, Ghia & Shin (J. Comput. Phys. 48, 1982) have a least u of -0.21 at Re 100; this is Re 10
    assert velocity[:, 0].min() < -0.15
    assert np.abs(velocity).max() < 1


def test_the_moved_points_are_used(solved: dict[str, Path], tmp_path: Path) -> None:
    """A solution on the moved mesh differs, and still is that of the cavity."""
    case = shutil.copytree(solved["text"], tmp_path / "case")
    before = openfoam.read_case(case)
    old = read_field(case, "0.5", "U", before.mesh).values
    openfoam.adapt(case, "U", output="constant")
    foam.run(case, "icoFoam")
    after = openfoam.read_case(case)
    new = read_field(case, "0.5", "U", after.mesh).values
    assert np.abs(new - old).max() > 0.02
    energy = [
        float((values**2).sum(axis=1) @ found.mesh.cell_geometry[1])
        for values, found in ((old, before), (new, after))
    ]
    assert energy[1] == pytest.approx(energy[0], rel=0.1)


@pytest.mark.parametrize("kind", ["text", "binary compressed"])
def test_a_time_of_its_own_with_its_fields(
    solved: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    """Points and conservatively carried fields at the last time, from which icoFoam goes on."""
    case = shutil.copytree(solved[kind], tmp_path / "case")
    old = openfoam.read_case(case)
    field = read_field(case, "0.5", "U", old.mesh)
    mass = field.values.T @ old.mesh.cell_geometry[1]
    openfoam.adapt(case, "U", output="0.5", transfer=["U", "p"])
    new = openfoam.read_case(case)
    carried = read_field(case, "0.5", "U", new.mesh)
    np.testing.assert_allclose(carried.values.T @ new.mesh.cell_geometry[1], mass, atol=1e-16)
    figures_agree(case, "-time", "0.5")
    for path in (case / "0.5").glob("phi*"):
        path.unlink()
    control = case / "system/controlDict"
    text = control.read_text().replace("startFrom       startTime", "startFrom latestTime")
    control.write_text(text.replace("endTime         0.5", "endTime 0.6"))
    assert "End" in foam.run(case, "icoFoam")
    last = openfoam.read_case(case)
    assert last.time == "0.6"
    assert (last.mesh.points == new.mesh.points).all()
    gone_on = read_field(case, "0.6", "U", last.mesh).values
    assert np.abs(gone_on - carried.values).max() < 0.1


def test_the_cylinder(tmp_path: Path) -> None:
    """The mesh of the tutorial, solved, moved by the velocity, checked and solved again."""
    case = foam.cylinder(tmp_path / "case")
    foam.run(case, "icoFoam")
    before = openfoam.read_case(case)
    round_ = before.nodes_of(next(p for p in before.mesh.patches if p.name == "cylinder"))
    report = openfoam.adapt(case, "U", output="constant")
    assert report.estimates[1] < 0.7 * report.estimates[0]
    assert (report.positions[round_] == report.before[round_]).all()
    figures_agree(case, "-constant")
    assert "End" in foam.run(case, "icoFoam")
    assert foam.mesh_is_ok(case)


BOX = """scale 1;
vertices ((0 0 0) (1 0 0) (1 1 0) (0 1 0) (0 0 1) (1 0 1) (1 1 1) (0 1 1));
blocks (hex (0 1 2 3 4 5 6 7) (6 6 6) simpleGrading (2 1 1));
edges ();
boundary (
    left { type cyclic; neighbourPatch right; faces ((0 4 7 3)); }
    right { type cyclic; neighbourPatch left; faces ((1 2 6 5)); }
    rest { type patch; faces ((0 1 5 4) (3 7 6 2) (0 3 2 1) (4 5 6 7)); }
);
"""


def test_cyclic_patches(tmp_path: Path) -> None:
    """checkMesh compares the two sides point by point."""
    case = foam.block_case(tmp_path / "case", BOX)
    before = openfoam.read_case(case)
    openfoam.adapt(case, SPOT)
    after = openfoam.read_case(case)
    left = before.mesh.patch_nodes(before.mesh.patches[0])
    assert np.abs(after.mesh.points - before.mesh.points)[left].max() > 1e-3
    said = foam.run(case, "checkMesh")
    assert "Mesh OK." in said
    assert "Coupled point location match" in said


def test_polyhedra(tmp_path: Path) -> None:
    """The dual of a mesh of hexahedra, some with many faces."""
    blocks = BOX.replace("cyclic; neighbourPatch right", "patch").replace(
        "cyclic; neighbourPatch left", "wall"
    )
    case = foam.block_case(tmp_path / "case", blocks)
    foam.run(case, "polyDualMesh", "45", "-overwrite")
    assert foam.mesh_is_ok(case)
    before = openfoam.read_case(case)
    assert set(before.moving.cells) == {"tetra"}
    report = openfoam.adapt(case, SPOT)
    assert np.abs(openfoam.read_case(case).mesh.points - before.mesh.points).max() > 0.01
    assert report.moves[-1]["check"]["min_pyramid"] > 0
    assert "Face pyramids OK." in foam.run(case, "checkMesh")
    figures_agree(case)


def test_an_axisymmetric_case(tmp_path: Path) -> None:
    """A wedge with an axis: both sides turn into each other, the axis stays the axis."""
    y, z = 0.5 * math.cos(math.radians(2.5)), 0.5 * math.sin(math.radians(2.5))
    blocks = f"""scale 1;
    vertices ((0 0 0) (1 0 0) (1 {y} {-z}) (0 {y} {-z}) (1 {y} {z}) (0 {y} {z}));
    blocks (hex (0 1 2 3 0 1 4 5) (10 8 1) simpleGrading (1 1 1));
    edges ();
    boundary (
        back {{ type wedge; faces ((0 3 2 1)); }}
        front {{ type wedge; faces ((0 1 4 5)); }}
        wall {{ type wall; faces ((3 5 4 2)); }}
        ends {{ type patch; faces ((0 0 5 3) (1 2 4 1)); }}
        axis {{ type empty; faces ((0 1 1 0)); }}
    );
    """
    case = foam.block_case(tmp_path / "case", blocks)
    assert foam.mesh_is_ok(case)
    before = openfoam.read_case(case).mesh.points
    openfoam.adapt(case, SPOT)
    after = openfoam.read_case(case).mesh.points
    assert np.abs(after - before).max() > 0.01
    radius = np.linalg.norm(after[:, 1:], axis=1)
    tangent = math.tan(math.radians(2.5))
    np.testing.assert_allclose(np.abs(after[:, 2]), tangent * after[:, 1], atol=1e-12)
    on_axis = np.linalg.norm(before[:, 1:], axis=1) < 1e-12
    assert (radius[on_axis] < 1e-12).all()
    assert (after[:, 0] != before[:, 0])[on_axis].any()
    assert foam.mesh_is_ok(case)
