"""Checks of a mesh: each defect is found and named, and no valid mesh is refused."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import any_meshes, random_mesh, tetra_meshes, triangle_meshes
from torch_geometric.data import Batch

from meshlearn.mesh import CELL_TYPES, Mesh, MeshError, generate
from meshlearn.mesh.validate import CHECKS, duplicate_nodes, hanging_nodes, orphan_nodes, validate

GRID = generate.rectangle(2, 2)  # nodes 0 1 2 / 3 4 5 / 6 7 8
seeds = st.integers(0, 2**32 - 1)
MIRRORED = {
    "triangle": [0, 2, 1],
    "quad": [3, 2, 1, 0],
    "tetra": [1, 0, 2, 3],
    "wedge": [3, 4, 5, 0, 1, 2],
    "pyramid": [3, 2, 1, 0, 4],
    "hexahedron": [4, 5, 6, 7, 0, 1, 2, 3],
}


def built(mesh: Mesh, pos: Any = None, cells: Any = None, **options: Any) -> Mesh:
    """The mesh with other positions or cells, validated."""
    given_cells = mesh.cells if cells is None else cells
    return Mesh.from_cells(mesh.pos if pos is None else pos, given_cells, **options)


def refused(mesh: Mesh, pos: Any = None, cells: Any = None, allow: Collection[str] = ()) -> str:
    with pytest.raises(MeshError) as error:
        built(mesh, pos, cells, allow=allow)
    message = str(error.value)
    assert "\n" not in message
    return message


# -- each check --------------------------------------------------------------------------------


def test_not_finite() -> None:
    pos = GRID.pos.clone()
    pos[3, 1], pos[7] = torch.nan, torch.inf
    assert refused(GRID, pos) == (
        "2 of 9 coordinates are not finite: node 3 (0, nan), 7 (inf, inf); "
        "correct the file or the positions"
    )


def test_orphan_nodes() -> None:
    pos = torch.cat([GRID.pos, torch.tensor([[0.3, 0.4], [5.0, 5.0]])])
    assert refused(GRID, pos) == (
        "2 of 11 nodes belong to no cell: node 9 (0.3, 0.4), 10 (5, 5); "
        'drop them with repair=["orphan"]'
    )
    assert built(GRID, pos, allow=["orphan"]).num_nodes == 11


def test_duplicate_nodes() -> None:
    """A slit along the middle of the square: node 4 twice."""
    pos, cells = slit_square()
    assert refused(GRID, pos, cells) == (
        "1 nodes lie exactly on an earlier node (nodes 4 and 9); merge them with "
        'repair=["duplicate"] or keep them with allow=["duplicate"]'
    )


def test_inverted_cells() -> None:
    cells = GRID.cells["triangle"].clone()
    cells[5] = cells[5].flip(0)
    nodes = cells[5].tolist()
    assert refused(GRID, cells={"triangle": cells}) == (
        f"1 of 8 cells are inverted (smallest corner Jacobian negative): cell 5 (nodes {nodes}, "
        '-0.25); turn cells round with repair=["inverted"]'
    )


def test_partly_inverted_cells() -> None:
    """A quad that is not convex has positive volume and one negative corner."""
    pos = torch.tensor([[0.0, 0], [1, 0], [0.3, 0.3], [0, 1]])
    mesh = Mesh.from_cells(pos, {"quad": [[0, 1, 2, 3]]}, allow=["inverted"])
    assert mesh.volumes().item() > 0
    assert mesh.inverted_cells().tolist() == [0]
    with pytest.raises(MeshError, match="1 of 1 cells are inverted"):
        mesh.validate()


@pytest.mark.parametrize("height", [0.0, 1e-16])
def test_degenerate_cells(height: float) -> None:
    pos = torch.tensor([[0.0, 0], [1, 0], [0.5, 1], [0.5, -height]], dtype=torch.float64)
    cells = {"triangle": [[0, 1, 2], [0, 3, 1]]}
    message = refused(GRID, pos, cells)
    assert message.startswith("1 of 2 cells are degenerate (zero volume): cell 1 (nodes [0, 3, 1])")
    assert built(GRID, pos, cells, allow=["degenerate", "hanging"]).num_cells == 2


def test_degenerate_cells_of_a_surface() -> None:
    pos = [[0.0, 0, 0], [1, 0, 0], [0, 0, 1], [2, 0, 0]]
    with pytest.raises(MeshError, match=r"1 of 2 cells are degenerate .* cell 1 \(nodes \[0, 1,"):
        Mesh.from_cells(pos, {"triangle": [[0, 1, 2], [0, 1, 3]]})


def test_a_node_twice_in_a_cell_is_degenerate() -> None:
    message = refused(GRID, GRID.pos[:4], {"quad": [[0, 1, 3, 3]]}, allow=["orphan"])
    assert "1 of 1 cells are degenerate" in message


def test_facets_of_three_cells() -> None:
    pos = [[0.0, 0], [1, 0], [0.5, 1], [0.5, -1], [0.5, 2]]
    cells = {"triangle": [[0, 1, 2], [1, 0, 3], [0, 1, 4]]}
    assert refused(GRID, pos, cells) == (
        "non-manifold mesh: 1 facets belong to more than two cells, first [0, 1] shared by cells "
        "[0, 1, 2]; remove the duplicate or overlapping cells"
    )
    assert built(GRID, pos, cells, allow=["nonmanifold"]).num_cells == 3


def test_a_junction_of_surfaces_is_allowed_on_request() -> None:
    pos = [[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 0]]
    cells = {"triangle": [[0, 1, 2], [0, 1, 3], [0, 1, 4]]}
    assert "non-manifold mesh: 1 facets" in refused(GRID, pos, cells)
    assert built(GRID, pos, cells, allow=["nonmanifold"]).num_cells == 3


def test_overlapping_neighbours() -> None:
    twice = torch.cat([GRID.cells["triangle"], GRID.cells["triangle"][:1]])
    assert "belong to more than two" in refused(GRID, cells={"triangle": twice})
    pair = {"triangle": [[0, 1, 3], [1, 3, 0]]}
    message = refused(GRID, GRID.pos[:4], pair, allow=["orphan"])
    assert message.startswith("3 pairs of neighbouring cells overlap")
    assert message.count("0 and 1") + message.count("1 and 0") == 3
    folded = [[0.0, 0], [1, 0], [0.4, 1], [0.5, 2]]
    message = refused(GRID, folded, {"triangle": [[0, 1, 2], [0, 1, 3]]})
    assert message.startswith("1 pairs of neighbouring cells overlap")


def test_hanging_nodes_in_2d() -> None:
    """One large triangle beside two small ones."""
    pos = [[0.0, 0], [2, 0], [1, 1], [0, 2], [2, 2]]
    cells = {"triangle": [[0, 1, 3], [1, 4, 2], [4, 3, 2]]}
    assert refused(GRID, pos, cells) == (
        "1 hanging nodes: node 2 on the facet of nodes [1, 3]; make the mesh conforming or keep "
        'the two sides apart with allow=["hanging"]'
    )
    assert built(GRID, pos, cells, allow=["hanging"]).num_cells == 3


def test_hanging_nodes_in_3d() -> None:
    """A box of 1 hexahedron on a box of 2 x 2: four edge middles and the centre of the face."""
    low = generate.box(2, 2, 1, cell="hexahedron")
    high = generate.box(1, 1, 1, lower=(0, 0, 1), upper=(1, 1, 2), cell="hexahedron")
    message = hang(low, high)
    assert message.startswith("5 hanging nodes: node 1")
    wedges = generate.box(2, 2, 1, cell="wedge")
    assert hang(wedges, high).startswith("5 hanging nodes")
    one = generate.box(1, 1, 1, lower=(0, 0, 1), upper=(1, 1, 2), cell="wedge")
    assert hang(wedges, one).startswith("5 hanging nodes")


def hang(low: Mesh, high: Mesh) -> str:
    """Message for two boxes put together at the corners of z = 1."""
    above = [(name, nodes + low.num_nodes) for name, nodes in high.cells.items()]
    with pytest.raises(MeshError) as error:
        Mesh.from_cells(
            torch.cat([low.pos, high.pos]), [*low.cells.items(), *above], repair=["duplicate"]
        )
    return str(error.value)


def test_only_the_first_three_offenders_are_shown() -> None:
    pos = torch.cat([GRID.pos, torch.rand(100, 2)])
    message = refused(GRID, pos)
    assert message.startswith("100 of 109 nodes belong to no cell: node 9 (")
    assert ", 11 (" in message
    assert ", 12 (" not in message


def test_mixed_meshes_name_cells_by_canonical_index() -> None:
    pos = [[0.0, 0], [1, 0], [1, 1], [0, 1], [2, 0], [2, 1]]
    blocks = [("triangle", [[0, 1, 2]]), ("quad", [[1, 2, 5, 4]]), ("triangle", [[0, 2, 3]])]
    assert "cell 1 (nodes [1, 2, 5, 4]" in refused(GRID, pos, blocks)


# -- options -----------------------------------------------------------------------------------


def test_checks_are_named_and_run_in_order() -> None:
    assert list(CHECKS) == [
        "nonfinite",
        "orphan",
        "duplicate",
        "inverted",
        "degenerate",
        "nonmanifold",
        "hanging",
    ]
    with pytest.raises(MeshError, match="there is no check 'hangin'; checks are nonfinite, orph"):
        GRID.validate(allow=["hangin"])
    with pytest.raises(MeshError, match="there is no check 'overlap'"):
        built(GRID, allow=["overlap"])


def test_allowing_everything_allows_everything() -> None:
    pos = GRID.pos.clone()
    pos[0], pos[1], pos[2] = torch.nan, pos[4], pos[5]
    cells = torch.cat([GRID.cells["triangle"], GRID.cells["triangle"][2:3].flip(1)])
    mesh = built(GRID, torch.cat([pos, pos]), {"triangle": cells}, allow=list(CHECKS))
    assert mesh.num_cells == 9
    mesh.validate(allow=list(CHECKS))
    with pytest.raises(MeshError, match="not finite"):
        mesh.validate()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_not_finite_can_be_allowed_alone(value: float) -> None:
    for mesh in (GRID, generate.box(2, 2, 2)):
        pos = mesh.pos.clone()
        pos[0, 1] = value
        moved = mesh.moved(pos)
        moved.validate(allow=["nonfinite"])
        assert len(moved.inverted_cells()) > 0


def test_a_mesh_with_gradients_validates_without_a_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    GRID.moved(GRID.pos.clone().requires_grad_()).validate()
    flipped = GRID.moved(GRID.pos.flip(1).requires_grad_())
    with pytest.raises(MeshError, match="8 of 8 cells are inverted"):
        flipped.validate()
    assert not [w for w in recwarn if "requires_grad" in str(w.message)]


# -- slits -------------------------------------------------------------------------------------


def slit_square() -> tuple[torch.Tensor, dict[str, Any]]:
    """The grid, cut open from the left side to the middle (nodes 3 and 4 twice) or inside."""
    pos = torch.cat([GRID.pos, GRID.pos[4:5]])
    cells = GRID.cells["triangle"].clone()
    upper = GRID.centroids()[:, 1] > 0.5
    cells[upper] = torch.where(cells[upper] == 4, 9, cells[upper])
    return pos, {"triangle": cells}


def test_a_slit_needs_duplicates_to_be_allowed_and_no_more() -> None:
    pos, cells = slit_square()
    mesh = built(GRID, pos, cells, allow=["duplicate"])
    assert len(mesh.topology.boundary_facets) == 8 + 4
    with pytest.raises(MeshError, match="lie exactly on"):
        mesh.validate()


def test_a_slit_with_sides_that_do_not_match_has_hanging_nodes() -> None:
    """The upper side has its middle node elsewhere."""
    pos, cells = slit_square()
    pos[9, 0] += 0.1
    assert "2 hanging nodes" in refused(GRID, pos, cells)
    assert built(GRID, pos, cells, allow=["hanging"]).num_nodes == 10


@pytest.mark.parametrize("cell", ["tetra", "hexahedron"])
def test_a_crack_in_a_solid(cell: str) -> None:
    mesh = generate.box(2, 2, 2, cell=cell)  # type: ignore[arg-type]
    pos = torch.cat([mesh.pos, mesh.pos[13:14]])  # the middle, cut open along z = 1/2
    cells = mesh.cells[cell].clone()
    upper = mesh.centroids()[:, 2] > 0.5
    cells[upper] = torch.where(cells[upper] == 13, 27, cells[upper])
    cracked = built(mesh, pos, {cell: cells}, allow=["duplicate"])
    assert cracked.volumes().sum().item() == pytest.approx(1)


# -- valid meshes pass -------------------------------------------------------------------------


@given(any_meshes(jitter=0.45, stretch=30))
def test_random_valid_meshes_pass(mesh: Mesh) -> None:
    mesh.validate()
    assert len(orphan_nodes(mesh)) == 0
    assert len(duplicate_nodes(mesh)[0]) == 0
    assert len(hanging_nodes(mesh)[0]) == 0
    assert len(mesh.inverted_cells()) == 0


@given(any_meshes(), st.sampled_from([1e-30, 1e-9, 1e-3, 1e9, 1e30]))
def test_scale_does_not_matter(mesh: Mesh, scale: float) -> None:
    mesh.moved(mesh.pos * scale).validate()


@given(any_meshes(stretch=1), st.floats(-6, 6))
def test_place_does_not_matter(mesh: Mesh, exponent: float) -> None:
    mesh.moved(mesh.pos + 10**exponent).validate()


@pytest.mark.parametrize("cell", ["triangle", "quad", "tetra", "hexahedron", "wedge", "pyramid"])
@pytest.mark.parametrize("aspect", [1e3, 1e6])
def test_boundary_layers_pass(cell: str, aspect: float) -> None:
    """Cells `aspect` times as long as high at two walls, graded geometrically between them."""
    d = CELL_TYPES[cell].dim
    mesh = random_mesh(cell, [3, 3, 12][-d:], 0, jitter=0.1, shuffle=False)
    height = mesh.pos[:, -1]
    low = torch.minimum(height, 1 - height)
    graded = (torch.expm1(2 * low * np.log(aspect)) / np.expm1(np.log(aspect))) / 2
    pos = mesh.pos.clone()
    pos[:, -1] = torch.where(height < 0.5, graded, 1 - graded)
    layers = mesh.moved(pos)
    layers.validate()
    assert layers.volumes().max() / layers.volumes().min() > aspect / 10
    # The same beside a wall at an angle.
    q = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64)).Q
    q[0] *= torch.linalg.det(q)
    mesh.moved(pos @ q.T).validate()


def test_strong_grading_passes() -> None:
    """Facets from 1 down to 1e-10 side by side on one straight side."""
    x = np.r_[0, np.cumsum(10.0 ** -np.arange(0, 10))]
    pos = np.array([[a, b] for b in (0.0, 1.0) for a in x])
    n = len(x)
    quads = [[i, i + 1, n + i + 1, n + i] for i in range(n - 1)]
    assert Mesh.from_cells(pos, {"quad": quads}).num_cells == n - 1


@pytest.mark.parametrize("thickness", [1e-3, 1e-7])
def test_thin_domains_pass(thickness: float) -> None:
    """Nodes near a facet of the other side do not lie on it."""
    generate.rectangle(5, 1, upper=(1.0, thickness)).validate()
    generate.box(3, 3, 1, upper=(1.0, 1.0, thickness), cell="hexahedron").validate()
    narrow_gap = random_mesh("triangle", [6, 6], 0, shuffle=False, jitter=0)
    below = narrow_gap.pos[:, 1] < 0.5
    keep = narrow_gap.moved(narrow_gap.pos).centroids()[:, 1] < 0.5
    cells = torch.cat([narrow_gap.cells["triangle"][keep], narrow_gap.cells["triangle"][keep] + 49])
    pos = torch.cat([narrow_gap.pos, narrow_gap.pos + torch.tensor([0.0, 0.5 + thickness])])
    assert below.any()
    Mesh.from_cells(pos, {"triangle": cells}, repair=["orphan"]).validate()


def test_surfaces_and_curves_pass() -> None:
    ball = generate.ball(2)
    sphere = ball.topology.facets[ball.topology.boundary_facets]
    surface = Mesh.from_cells(ball.pos, {"triangle": sphere}, repair=["orphan"])
    assert surface.cell_dim == 2
    angle = torch.linspace(0, 2 * torch.pi, 9, dtype=torch.float64)[:-1]
    lines = torch.stack([torch.arange(8), (torch.arange(8) + 1) % 8], dim=1)
    for columns in ([angle.cos(), angle.sin()], [angle.cos(), angle.sin(), angle]):
        Mesh.from_cells(torch.stack(columns, dim=1), {"line": lines}).validate()


def test_cells_that_meet_in_one_node_pass() -> None:
    pos = [[0.0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]]
    assert Mesh.from_cells(pos, {"triangle": [[0, 1, 2], [0, 3, 4]]}).num_cells == 2


@given(st.lists(triangle_meshes(max_cells=2), min_size=2, max_size=3))
def test_meshes_of_a_batch_may_lie_on_each_other(meshes: list[Mesh]) -> None:
    batch = Batch.from_data_list([*meshes, meshes[0]])
    batch.validate()
    shifted = batch.pos.clone()
    shifted[batch.ptr[1] :] *= 0.5  # nodes of one mesh on facets of another
    batch.moved(shifted).validate()


# -- corrupted meshes fail, with the right check -----------------------------------------------


@given(any_meshes(), seeds)
def test_a_bad_coordinate_is_found(mesh: Mesh, seed: int) -> None:
    rng = np.random.default_rng(seed)
    node = int(rng.integers(mesh.num_nodes))
    pos = mesh.pos.clone()
    pos[node, rng.integers(mesh.dim)] = rng.choice([np.nan, np.inf, -np.inf])
    message = refused(mesh, pos)
    assert message.startswith(f"1 of {mesh.num_nodes} coordinates are not finite: node {node} (")


@given(any_meshes(), seeds)
def test_an_orphan_is_found(mesh: Mesh, seed: int) -> None:
    """Put in anywhere, the nodes after it numbered on."""
    node = int(np.random.default_rng(seed).integers(mesh.num_nodes + 1))
    pos = torch.cat([mesh.pos[:node], mesh.pos.mean(dim=0, keepdim=True), mesh.pos[node:]])
    cells = {name: nodes + (nodes >= node) for name, nodes in mesh.cells.items()}
    message = refused(mesh, pos, cells)
    assert message.startswith(f"1 of {mesh.num_nodes + 1} nodes belong to no cell: node {node} (")


@given(any_meshes(min_cells=2), seeds)
def test_a_duplicate_is_found(mesh: Mesh, seed: int) -> None:
    """Two nodes without a common cell are put at one place (or a cell collapses)."""
    rng = np.random.default_rng(seed)
    first, second = sorted(rng.choice(mesh.num_nodes, 2, replace=False).tolist())
    pos = mesh.pos.clone()
    pos[second] = pos[first]
    message = refused(mesh, pos)
    assert message.startswith(f"1 nodes lie exactly on an earlier node (nodes {first} and {second}")


def test_signed_zeros_are_one_place() -> None:
    pos = [[0.0, 0], [1, 0], [0, 1], [-0.0, -0.0], [-1, 0], [0, -1]]
    message = refused(GRID, pos, {"triangle": [[0, 1, 2], [3, 4, 5]]})
    assert "nodes 0 and 3" in message


@given(any_meshes(), seeds)
def test_a_cell_turned_round_is_found(mesh: Mesh, seed: int) -> None:
    rng = np.random.default_rng(seed)
    name = str(rng.choice(list(mesh.cells)))
    row = int(rng.integers(len(mesh.cells[name])))
    cells = {kind: nodes.clone() for kind, nodes in mesh.cells.items()}
    cells[name][row] = cells[name][row][MIRRORED[name]]
    message = refused(mesh, cells=cells)
    first = sum(len(nodes) for kind, nodes in list(cells.items())[: list(cells).index(name)])
    assert f"1 of {mesh.num_cells} cells are inverted" in message
    assert f"cell {first + row} (nodes {cells[name][row].tolist()}" in message


@given(any_meshes(), seeds)
def test_a_node_pushed_through_a_cell_is_found(mesh: Mesh, seed: int) -> None:
    """Mirrored at the mean of the other nodes, far outside its patch."""
    node = int(np.random.default_rng(seed).integers(mesh.num_nodes))
    pos = mesh.pos.clone()
    pos[node] = 20 * pos.mean(dim=0) - 19 * pos[node]
    moved = mesh.moved(pos)
    assume(len(moved.inverted_cells()))
    with pytest.raises(MeshError, match=r"\d+ of \d+ cells are (inverted|degenerate)") as error:
        moved.validate()
    named = int(re.findall(r"cell (\d+) \(nodes", str(error.value))[0])
    assert named in moved.inverted_cells().tolist()


@given(st.one_of(triangle_meshes(), tetra_meshes()), seeds)
def test_a_flattened_cell_is_found(mesh: Mesh, seed: int) -> None:
    """A simplex of its own is put beside the mesh, flat."""
    rng = np.random.default_rng(seed)
    (name,) = mesh.cells
    corners = rng.random((mesh.dim + 1, mesh.dim))
    corners[-1] = rng.dirichlet(np.ones(mesh.dim)) @ corners[:-1]
    pos = torch.cat([mesh.pos, mesh.pos.amax(dim=0) + 1 + torch.from_numpy(corners)])
    extra = torch.arange(mesh.num_nodes, len(pos))[None]
    message = refused(mesh, pos, {name: torch.cat([mesh.cells[name], extra])})
    assert f"1 of {mesh.num_cells + 1} cells are degenerate" in message
    assert f"cell {mesh.num_cells} (nodes {extra[0].tolist()})" in message


@given(any_meshes(), seeds)
def test_a_cell_given_twice_is_found(mesh: Mesh, seed: int) -> None:
    rng = np.random.default_rng(seed)
    name = str(rng.choice(list(mesh.cells)))
    row = mesh.cells[name][rng.integers(len(mesh.cells[name]))][None]
    message = refused(mesh, cells=[*mesh.cells.items(), (name, row)])
    assert "belong to more than two cells" in message or "overlap" in message


@given(triangle_meshes(min_cells=2), seeds)
def test_an_edge_split_on_one_side_is_found(mesh: Mesh, seed: int) -> None:
    """An inner edge gets a middle node that only one of its two triangles knows of."""
    rng = np.random.default_rng(seed)
    inner = torch.nonzero(mesh.topology.facet_cells[:, 1] >= 0).squeeze(1).numpy()
    facet = int(rng.choice(inner))
    a, b = mesh.topology.facets[facet].tolist()
    owner = int(mesh.topology.facet_cells[facet, 0])
    cells = mesh.cells["triangle"]
    c = (set(cells[owner].tolist()) - {a, b}).pop()
    share = rng.uniform(0.1, 0.9)
    middle = share * mesh.pos[a] + (1 - share) * mesh.pos[b]
    m = mesh.num_nodes
    halves = torch.tensor([[a, m, c], [m, b, c]])
    keep = torch.arange(len(cells)) != owner
    message = refused(
        mesh, torch.cat([mesh.pos, middle[None]]), {"triangle": torch.cat([cells[keep], halves])}
    )
    assert message.startswith(f"1 hanging nodes: node {m} on the facet of nodes [")


@given(any_meshes(), st.sampled_from(list(CHECKS)))
def test_allowing_a_check_never_refuses_a_valid_mesh(mesh: Mesh, name: str) -> None:
    validate(mesh, allow=[name])
