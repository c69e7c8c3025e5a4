"""Files of other codes are understood, and other codes understand ours."""

from __future__ import annotations

from pathlib import Path

import meshio
import numpy as np
import pytest
import pyvista
import torch

from meshlearn.mesh import LossWarning, MeshError
from meshlearn.mesh.files import read, write

from .file_samples import SAMPLES, same_geometry, sample, tag_sets
from .test_files import VARIANTS


@pytest.mark.parametrize(("form", "suffix", "binary"), VARIANTS[:8] + VARIANTS[10:12])
def test_other_readers_see_the_same_cells(
    form: str, suffix: str, binary: bool | None, tmp_path: Path
) -> None:
    mesh = sample(
        "hexahedron, wedge and pyramid", cell_tags=False, fields=False, facet_fields=False
    )
    path = tmp_path / f"mesh{suffix}"
    write(mesh, path, format=form, binary=binary)
    seen = pyvista.read(path) if form in ("vtu", "vtk") else meshio.read(path)
    points = np.asarray(seen.points)
    assert np.allclose(points, mesh.pos, rtol=1e-13)
    for name, nodes in mesh.cells.items():
        assert np.array_equal(
            seen.cells_dict[_vtk(name) if form in ("vtu", "vtk") else name], nodes
        )


def _vtk(name: str) -> int:
    return {"hexahedron": 12, "wedge": 13, "pyramid": 14}[name]


def test_vtu_without_our_encoding_is_a_plain_mesh(tmp_path: Path) -> None:
    grid = pyvista.ImageData(dimensions=(3, 3, 1)).cast_to_unstructured_grid()
    grid.point_data["tag:mine"] = np.arange(9.0)
    for suffix, binary in ((".vtu", True), (".vtu", False), (".vtk", True), (".vtk", False)):
        grid.save(tmp_path / f"grid{suffix}", binary=binary)
        mesh = read(tmp_path / f"grid{suffix}")
        assert (mesh.dim, mesh.num_cells, list(mesh.node_fields)) == (2, 4, ["tag:mine"])
        assert (mesh.volumes() > 0).all()


@pytest.mark.parametrize(
    "options", [{"compression": c} for c in (None, "zlib", "lzma")] + [{"binary": False}]
)
def test_vtu_of_meshio_in_all_its_ways(options: dict[str, object], tmp_path: Path) -> None:
    mesh = sample("tetra", facet_tags=False, cell_tags=False, point_tags=False, facet_fields=False)
    source = meshio.Mesh(
        mesh.pos.numpy(), [("tetra", mesh.cells["tetra"].numpy())], {"u": mesh["u"].numpy()}
    )
    meshio.vtu.write(tmp_path / "mesh.vtu", source, **options)
    back = read(tmp_path / "mesh.vtu")
    assert same_geometry(back.moved(mesh.pos), mesh)
    assert torch.allclose(back.pos, mesh.pos, rtol=1e-10)  # meshio's text has 11 digits
    assert torch.allclose(back["u"], mesh["u"], rtol=1e-10)


@pytest.mark.parametrize("code", [24, 25, 26, 27, 29, 32])
def test_curved_vtk_cells_of_all_kinds(code: int, tmp_path: Path) -> None:
    name, size = {
        24: ("tetra", 10),
        25: ("hexahedron", 20),
        26: ("wedge", 15),
        27: ("pyramid", 13),
        29: ("hexahedron", 27),
        32: ("wedge", 18),
    }[code]
    pos, cells, _, _ = SAMPLES[name]
    corners = cells[0][1][0]
    points = np.concatenate([pos[corners], np.full((size - len(corners), 3), 0.5)])
    grid = pyvista.UnstructuredGrid([size, *range(size)], [code], points)
    for suffix in (".vtu", ".vtk"):
        grid.save(tmp_path / f"curved{suffix}")
        with pytest.warns(LossWarning, match=f"not corners of the {name}{size} cells"):
            mesh = read(tmp_path / f"curved{suffix}")
        assert torch.equal(mesh.pos, torch.as_tensor(pos[corners]))


def test_xdmf_of_meshio(tmp_path: Path) -> None:
    mesh = sample("triangle and quad")
    meshio.write(
        tmp_path / "mesh.xdmf",
        meshio.Mesh(np.c_[mesh.pos, np.zeros(7)], mesh.to_meshio().cells[:3]),
    )
    assert same_geometry(read(tmp_path / "mesh.xdmf"), mesh)


def test_abaqus_surfaces_sets_and_generate(tmp_path: Path) -> None:
    (tmp_path / "mesh.inp").write_text(
        "*HEADING\n*Node, nset=all nodes\n1, 0, 0\n2, 1., 0\n3, 1, 1\n5, 0, 1\n"
        "*ELEMENT, TYPE=CPS3, ELSET=Left\n10, 1, 2, 3\n*ELEMENT, TYPE=CPE3\n11, 1, 3, 5\n"
        "*NSET, NSET=some, GENERATE\n1, 3, 2\n*ELSET, ELSET=both\nleft, 11\n"
        "*SURFACE, NAME=wall\nLEFT, S1\n11, S3\n*MATERIAL, NAME=steel\n*ELASTIC\n1, 2\n"
    )
    mesh = read(tmp_path / "mesh.inp")
    assert tag_sets(mesh) == {
        "facet": {"wall": {(0, 1), (0, 3)}},
        "cell": {"Left": {(0,)}, "both": {(0,), (1,)}},
        "point": {"all nodes": {(0,), (1,), (2,), (3,)}, "some": {(0,), (2,)}},
    }


def test_su2_medit_and_nastran_of_other_codes(tmp_path: Path) -> None:
    (tmp_path / "a.su2").write_text(
        "% comment\nNDIME=2\nNELEM=1\n5 0 1 2 0\nNPOIN=3 3\n0 0 0\n1 0 1\n0 1 2\n"
        "NMARK=1\nMARKER_TAG=wall\nMARKER_ELEMS=1\n3 0 1\n"
    )
    (tmp_path / "a.mesh").write_text(
        "MeshVersionFormatted 2\nDimension\n2\n# a comment\nVertices 3\n0 0 0\n1 0 4\n0 1 0\n"
        "Edges\n1\n1 2 3\nTriangles\n1\n1 2 3 9\nCorners\n1\n1\nRidges\n1\n1\nEnd\n"
    )
    (tmp_path / "a.bdf").write_text(
        "SOL 101\nCEND\nBEGIN BULK\nGRID,7,,0.,0.,0.\nGRID           8             1.0"
        "     0.      0.\nGRID*                  9                 "
        "             0.            1.+0\n*       0.\n"
        '$HMNAME COMP                   3"plate"\n'
        "CTRIA3         1       3       7       8       9\n"
        "CROD    2       4       7       8\nENDDATA\n"
    )
    assert tag_sets(read(tmp_path / "a.su2"))["facet"] == {"wall": {(0, 1)}}
    with pytest.warns(LossWarning, match="the section Ridges"):
        medit = read(tmp_path / "a.mesh")
    assert tag_sets(medit) == {
        "facet": {"3": {(0, 1)}},
        "cell": {"9": {(0,)}},
        "point": {"4": {(1,)}, "Corners": {(0,)}},
    }
    nastran = tag_sets(read(tmp_path / "a.bdf"))
    assert (nastran["cell"], nastran["facet"]) == ({"plate": {(0,)}}, {"4": {(0, 1)}})


def test_formats_of_meshio_are_read_and_written(tmp_path: Path) -> None:
    mesh = sample("tetra", fields=False, facet_fields=False)
    mesh.set_field("u", torch.rand(mesh.num_nodes), "node")
    with pytest.warns(LossWarning, match=r"facet tags 'in flow'.*point tags 'corner', '5'$"):
        mesh.write(tmp_path / "mesh.med")
    assert same_geometry(read(tmp_path / "mesh.med"), mesh)
    with pytest.warns(LossWarning, match="node field 'u'$"):
        mesh.write(tmp_path / "mesh.vol")
    with pytest.raises(MeshError, match=r"meshio cannot|does not hold"):
        sample("wedge").write(tmp_path / "mesh.wkt")
