"""Structured, mapped and gmsh meshes: exact measures, complete tags, valid cells, clear errors."""

from __future__ import annotations

import importlib
import math
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meshlearn.mesh import Mesh, MeshError, generate

SQUARE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
HOLE = [[0.2, 0.2], [0.4, 0.2], [0.3, 0.5]]


def check_sound(mesh: Mesh, holes: int = 0) -> None:
    """All cells positive, no orphan, tags cover the boundary once, facets meet (Euler number)."""
    assert mesh.volumes().min() > 0
    assert mesh.inverted_cells().numel() == 0
    assert torch.unique(torch.cat([c.flatten() for c in mesh.cells.values()])).numel() == len(
        mesh.pos
    )
    topology = mesh.topology
    tagged = torch.cat([topology.find_facets(nodes) for nodes in mesh.facet_tags.values()])
    assert torch.equal(tagged.sort().values, topology.boundary_facets.sort().values)
    lower = len(mesh.pos) - len(topology.edges)
    facets = {2: 0, 3: len(topology.facets)}[mesh.dim]
    sign = {2: 1, 3: -1}[mesh.dim]
    assert lower + facets + sign * mesh.num_cells == 1 - holes


def distances(points: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    return (points[:, None] - others).norm(dim=2)  # cdist loses half the digits


def edge_set(mesh: Mesh) -> set[tuple[int, int]]:
    return {(min(a, b), max(a, b)) for a, b in mesh.topology.edges.tolist()}


def check_side(mesh: Mesh, tag: str, axis: int, value: float) -> None:
    """The facets of a tag lie on a coordinate plane and face out of the domain."""
    points = mesh.pos[mesh.facet_tags[tag]]
    assert torch.equal(points[..., axis], torch.full_like(points[..., axis], value))
    sides = points[:, 1:] - points[:, :1]
    if mesh.dim == 2:
        normal = torch.stack([sides[:, 0, 1], -sides[:, 0, 0]], dim=1)
    else:
        normal = torch.linalg.cross(sides[:, 0], sides[:, 1])
    outward = 1.0 if value > mesh.pos[:, axis].mean() else -1.0
    assert (normal[:, axis] * outward > 0).all()


# structured


def test_interval_is_ordered_and_tagged() -> None:
    mesh = generate.interval(4, -1.0, 3.0)
    assert mesh.pos.flatten().tolist() == [-1.0, 0.0, 1.0, 2.0, 3.0]
    assert mesh.cells["line"].tolist() == [[0, 1], [1, 2], [2, 3], [3, 4]]
    assert mesh.facet_tags["left"].tolist() == [[0]]
    assert mesh.facet_tags["right"].tolist() == [[4]]
    assert abs(float(mesh.volumes().sum()) - 4.0) < 1e-12


@pytest.mark.parametrize(
    ("options", "nodes", "cells"),
    [
        ({"diagonal": "left"}, 20, 24),
        ({"diagonal": "right"}, 20, 24),
        ({"diagonal": "crossed"}, 32, 48),
        ({"cell": "quad"}, 20, 12),
    ],
)
def test_rectangle(options: dict[str, str], nodes: int, cells: int) -> None:
    mesh = generate.rectangle(4, 3, lower=(-1.0, 2.0), upper=(1.0, 5.0), **options)
    assert (len(mesh.pos), mesh.num_cells) == (nodes, cells)
    assert mesh.pos.dtype == torch.float64
    assert abs(float(mesh.volumes().sum()) - 6.0) < 1e-12
    check_sound(mesh)
    for tag, axis, value in (("left", 0, -1), ("right", 0, 1), ("bottom", 1, 2), ("top", 1, 5)):
        check_side(mesh, tag, axis, float(value))


def test_diagonals_run_as_named() -> None:
    left, right, crossed = (
        edge_set(generate.rectangle(1, 1, diagonal=diagonal))
        for diagonal in ("left", "right", "crossed")
    )
    sides = {(0, 1), (1, 3), (2, 3), (0, 2)}  # nodes: 0 and 1 at the bottom, 2 and 3 at the top
    assert left == sides | {(1, 2)}  # top left to bottom right
    assert right == sides | {(0, 3)}
    assert crossed == sides | {(0, 4), (1, 4), (2, 4), (3, 4)}
    assert generate.rectangle(1, 1, diagonal="crossed").pos[4].tolist() == [0.5, 0.5]


def test_all_diagonals_are_parallel() -> None:
    for diagonal, slope in (("left", -1.0), ("right", 1.0)):
        mesh = generate.rectangle(3, 3, lower=(0, 0), upper=(3, 3), diagonal=diagonal)
        step = mesh.pos[mesh.topology.edges[:, 1]] - mesh.pos[mesh.topology.edges[:, 0]]
        slanted = step[(step != 0).all(dim=1)]
        assert len(slanted) == 9
        assert (slanted[:, 1] / slanted[:, 0] == slope).all()


@pytest.mark.parametrize(("cell", "cells"), [("tetra", 144), ("hexahedron", 24), ("wedge", 48)])
def test_box(cell: str, cells: int) -> None:
    mesh = generate.box(2, 3, 4, lower=(0, -1, 2), upper=(2, 1, 5), cell=cell)
    assert (len(mesh.pos), mesh.num_cells) == (60, cells)
    assert abs(float(mesh.volumes().sum()) - 12.0) < 1e-12
    assert (mesh.volumes() - 12.0 / cells).abs().max() < 1e-12
    check_sound(mesh)
    places = {"left": (0, 0), "right": (0, 2), "front": (1, -1), "back": (1, 1)}
    for tag, (axis, value) in (places | {"bottom": (2, 2), "top": (2, 5)}).items():
        check_side(mesh, tag, axis, float(value))


def test_tetrahedra_of_a_box_share_its_main_diagonal() -> None:
    mesh = generate.box(1, 1, 1)
    assert mesh.cells["tetra"].shape == (6, 4)
    assert all({0, 7} <= set(cell) for cell in mesh.cells["tetra"].tolist())


@given(nx=st.integers(1, 5), ny=st.integers(1, 5), diagonal=st.sampled_from(["left", "right"]))
@settings(max_examples=15)
def test_counts_are_symmetric_in_the_axes(nx: int, ny: int, diagonal: str) -> None:
    mesh, turned = (generate.rectangle(*n, diagonal=diagonal) for n in ((nx, ny), (ny, nx)))
    assert (len(mesh.pos), mesh.num_cells) == (len(turned.pos), turned.num_cells)
    assert len(mesh.topology.edges) == len(turned.topology.edges)
    assert len(mesh.facet_tags["left"]) == len(turned.facet_tags["bottom"]) == ny


# mapped shapes


def convergence_order(make: Callable[[int], Mesh], exact: float, coarse: int) -> float:
    errors = [abs(float(make(n).volumes().sum()) - exact) for n in (coarse, 2 * coarse)]
    return math.log2(errors[0] / errors[1])


def test_disk() -> None:
    mesh = generate.disk(6, radius=2.0, center=(1.0, -1.0))
    assert (len(mesh.pos), mesh.num_cells) == (127, 216)
    check_sound(mesh)
    rim = mesh.pos[mesh.facet_tags["boundary"].flatten()] - torch.tensor(
        [1.0, -1.0], dtype=torch.float64
    )
    assert (rim.norm(dim=1) - 2.0).abs().max() < 1e-14
    assert mesh.quality("mean_ratio").min() > 0.85
    assert convergence_order(generate.disk, math.pi, 6) == pytest.approx(2.0, abs=0.05)


def test_disk_is_symmetric_under_a_turn() -> None:
    mesh = generate.disk(3)
    turn = torch.tensor([[0.5, -math.sqrt(0.75)], [math.sqrt(0.75), 0.5]], dtype=torch.float64)
    distance = distances(mesh.pos @ turn.T, mesh.pos)
    assert distance.min(dim=1).values.max() < 1e-14
    turned = distance.argmin(dim=1)[mesh.cells["triangle"]].sort(dim=1).values
    assert {tuple(c) for c in turned.tolist()} == {
        tuple(sorted(c)) for c in mesh.cells["triangle"].tolist()
    }


@pytest.mark.parametrize(("n", "inner"), [(1, 0.5), (4, 0.5), (5, 0.05), (2, 0.95), (1, 1e-3)])
def test_annulus(n: int, inner: float) -> None:
    mesh = generate.annulus(n, inner=inner, outer=1.0)
    check_sound(mesh, holes=1)
    for tag, radius in (("inner", inner), ("outer", 1.0)):
        rim = mesh.pos[mesh.facet_tags[tag]].norm(dim=2)
        assert (rim - radius).abs().max() < 1e-14


def test_annulus_converges_and_is_well_shaped() -> None:
    assert generate.annulus(6).quality("mean_ratio").min() > 0.95
    order = convergence_order(generate.annulus, math.pi * 0.75, 6)
    assert order == pytest.approx(2.0, abs=0.2)  # the count around is rounded


@pytest.mark.parametrize("removed", ["lower_right", "lower_left", "upper_right", "upper_left"])
@pytest.mark.parametrize("options", [{}, {"diagonal": "crossed"}, {"cell": "quad"}])
def test_l_shape(removed: str, options: dict[str, str]) -> None:
    mesh = generate.l_shape(3, removed=removed, **options)
    check_sound(mesh)
    assert abs(float(mesh.volumes().sum()) - 3.0) < 1e-12
    assert len(mesh.facet_tags["boundary"]) == 24
    x, y = mesh.centroids().T
    vertical, horizontal = removed.split("_")
    gone = ((y > 0) == (vertical == "upper")) & ((x > 0) == (horizontal == "right"))
    assert not gone.any()
    # the corner of the L is a mirror: the mesh maps to itself
    mirror = torch.tensor([[0.0, -1.0], [-1.0, 0.0]], dtype=torch.float64)
    if removed in ("lower_left", "upper_right"):
        mirror = -mirror
    distance = distances(mesh.centroids() @ mirror, mesh.centroids())
    assert distance.min(dim=1).values.max() < 1e-14


def test_ball() -> None:
    mesh = generate.ball(3, radius=2.0, center=(1.0, 2.0, 3.0))
    assert (len(mesh.pos), mesh.num_cells) == (147, 540)
    check_sound(mesh)
    center = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    rim = (mesh.pos[mesh.facet_tags["boundary"]] - center).norm(dim=2)
    assert (rim - 2.0).abs().max() < 1e-14
    corners = mesh.pos[mesh.facet_tags["boundary"]] - center
    assert (torch.linalg.det(corners) > 0).all()  # facets face outward
    assert generate.ball(5).quality("mean_ratio").min() > 0.6
    assert convergence_order(generate.ball, 4 / 3 * math.pi, 4) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: generate.interval(0), "n must be at least 1, got 0"),
        (lambda: generate.interval(3, 1.0, 1.0), "lower must be below upper along axis 0"),
        (lambda: generate.rectangle(2.5, 1), "nx must be a whole number, got 2.5"),
        (lambda: generate.rectangle(2, -1), "ny must be at least 1, got -1"),
        (lambda: generate.rectangle(1, 1, upper=(1, -1)), "along axis 1, got 0 and -1"),
        (lambda: generate.rectangle(1, 1, lower=(0, 0, 0)), "lower must be 2 finite numbers"),
        (lambda: generate.rectangle(1, 1, lower="no"), "lower must be 2 numbers"),
        (lambda: generate.rectangle(1, 1, diagonal="up"), "one of left, right, crossed, got 'up'"),
        (lambda: generate.rectangle(1, 1, cell="tetra"), "cell must be one of triangle, quad"),
        (lambda: generate.box(1, 1, 0), "nz must be at least 1"),
        (lambda: generate.box(1, 1, 1, cell="quad"), "one of tetra, hexahedron, wedge"),
        (lambda: generate.disk(2, radius=0.0), "radius must be a positive finite number, got 0"),
        (lambda: generate.disk(2, radius="r"), "radius must be a positive number, got 'r'"),
        (lambda: generate.annulus(2, 1.0, 0.5), "inner must be below outer, got 1 and 0.5"),
        (lambda: generate.l_shape(2, removed="left"), "removed must be one of lower_right"),
        (lambda: generate.ball(2, center=(0, 0, math.nan)), "center must be 3 finite numbers"),
        (lambda: generate.polygon(SQUARE, h=-1), "h must be a positive finite number, got -1"),
        (lambda: generate.polygon(SQUARE, seed=-1), "seed must be at least 0"),
        (lambda: generate.random_polygon(2), "n_vertices must be at least 3, got 2"),
        (lambda: generate.naca("12"), "digits must be four digits"),
        (lambda: generate.naca("0000"), "digits must be four digits with a thickness"),
        (lambda: generate.naca("2012"), "both camber and its place, or neither"),
        (lambda: generate.naca(far_field=1.0), "far_field must be at least 2 chords, got 1"),
        (lambda: generate.channel_with_cylinder(h=1.0), "h must be at most 0.2 here, got 1"),
        (lambda: generate.pipe_bend(bend_radius=0.4), "bend_radius must be above radius"),
    ],
)
def test_bad_arguments_are_named(make: Callable[[], Mesh], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# polygons


def shoelace(ring: np.ndarray) -> float:
    following = np.roll(ring, -1, axis=0)
    return float((ring[:, 0] * following[:, 1] - ring[:, 1] * following[:, 0]).sum() / 2)


def test_polygon_with_holes() -> None:
    other = [[0.7, 0.7], [0.8, 0.8], [0.8, 0.7]]  # clockwise on purpose
    mesh = generate.polygon([*SQUARE, SQUARE[0]], h=0.1, holes=[HOLE, other])
    check_sound(mesh, holes=2)
    assert set(mesh.facet_tags) == {"outer", "hole_0", "hole_1"}
    assert abs(float(mesh.volumes().sum()) - (1.0 - 0.03 - 0.005)) < 1e-12
    for tag, ring in (("hole_0", HOLE), ("hole_1", other)):
        points = mesh.pos[mesh.facet_tags[tag].flatten()]
        low, high = np.min(ring, axis=0), np.max(ring, axis=0)
        assert (points.numpy() >= low - 1e-12).all()
        assert (points.numpy() <= high + 1e-12).all()
    assert 0.05 < float(mesh.volumes().mean()) ** 0.5 < 0.1


def test_polygon_repeats_with_its_seed() -> None:
    ring = generate.random_polygon(9, seed=1)
    first, again, other = (generate.polygon(ring, h=0.15, seed=s) for s in (4, 4, 5))
    assert torch.equal(first.pos, again.pos)
    assert torch.equal(first.cells["triangle"], again.cells["triangle"])
    assert first.pos.shape != other.pos.shape or not torch.equal(first.pos, other.pos)


@given(n=st.integers(3, 60), seed=st.integers(0, 10**6))
@settings(max_examples=25)
def test_random_polygon_is_star_shaped_and_blunt(n: int, seed: int) -> None:
    ring = generate.random_polygon(n, seed, radius=2.0, center=(3.0, 1.0))
    assert ring.shape == (n, 2)
    assert ring.dtype == torch.float64
    assert torch.equal(ring, generate.random_polygon(n, seed, radius=2.0, center=(3.0, 1.0)))
    seen = ring.numpy() - [3.0, 1.0]
    assert np.hypot(*seen.T).max() == pytest.approx(2.0)
    following = np.roll(seen, -1, axis=0)
    assert (seen[:, 0] * following[:, 1] - seen[:, 1] * following[:, 0] > 0).all()
    ahead, back = following - seen, np.roll(seen, 1, axis=0) - seen
    cosine = (ahead * back).sum(1) / np.hypot(*ahead.T) / np.hypot(*back.T)
    assert np.degrees(np.arccos(cosine)).min() > 30 - 1e-9


@given(n=st.integers(3, 25), seed=st.integers(0, 10**6), h=st.floats(0.1, 0.5))
@settings(max_examples=15)
def test_any_random_polygon_is_meshed(n: int, seed: int, h: float) -> None:
    ring = generate.random_polygon(n, seed)
    mesh = generate.polygon(ring, h=h, seed=seed)
    check_sound(mesh)
    assert abs(float(mesh.volumes().sum()) - shoelace(ring.numpy())) < 1e-12
    corners = distances(ring, mesh.pos).min(dim=1).values
    assert corners.max() < 1e-12


@pytest.mark.parametrize(
    ("vertices", "holes", "message"),
    [
        ([[0, 0], [1, 1], [1, 0], [0, 1]], [], "the polygon intersects itself: the side from"),
        ([[0, 0], [2, 0], [1, 0], [1, 1]], [], "intersects itself: the side from vertex 0"),
        ([[0, 0], [1, 0], [1, 1], [1, 0], [0, 1]], [], "repeats vertex 1 as vertex 3"),
        ([[0, 0], [1, 0], [0, 0]], [], "needs at least 3 different vertices, got 2"),
        ([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [], r"corners \[k, 2\], got an array of shape"),
        ("polygon", [], r"corners \[k, 2\], got str"),
        ([[0, 0], [1, math.inf], [0, 1]], [], "not finite at vertex 1"),
        (SQUARE, [[[2, 2], [3, 2], [2, 3]]], "hole 0 is not strictly inside the polygon"),
        (SQUARE, [HOLE, [[0.5, 0.5], [2, 0.5], [0.5, 0.6]]], "hole 1 is not strictly inside"),
        (SQUARE, [[[0, 0.2], [0.2, 0.2], [0.2, 0.4]]], "hole 0 is not strictly inside"),
        (SQUARE, [HOLE, [[0.28, 0.3], [0.32, 0.3], [0.3, 0.4]]], "holes 0 and 1 overlap"),
        (SQUARE, [HOLE, [[0.3, 0.3], [0.9, 0.3], [0.9, 0.4]]], "holes 0 and 1 overlap"),
        (SQUARE, [[[0.2, 0.2], [0.4, 0.4], [0.4, 0.2], [0.2, 0.4]]], "hole 0 intersects itself"),
    ],
)
def test_bad_polygons_are_explained(vertices: object, holes: list, message: str) -> None:
    with pytest.raises(MeshError, match=message):
        generate.polygon(vertices, h=0.2, holes=holes)


# benchmark geometries


@pytest.mark.parametrize(
    ("make", "measure", "tags", "holes"),
    [
        (
            lambda: generate.channel_with_cylinder(h=0.05),
            2.2 * 0.41 - math.pi * 0.05**2,
            {"inlet", "outlet", "walls", "cylinder"},
            1,
        ),
        (lambda: generate.naca(h=0.05), 313.3, {"aerofoil", "far_field"}, 1),
        (lambda: generate.naca("4412", h=0.05, far_field=5), 77.7, {"aerofoil", "far_field"}, 1),
        (lambda: generate.backward_facing_step(h=0.3), 32.0, {"inlet", "outlet", "walls"}, 0),
        (
            lambda: generate.channel_with_cylinder_3d(h=0.2),
            (2.5 * 0.41 - math.pi * 0.05**2) * 0.41,
            {"inlet", "outlet", "walls", "cylinder"},
            1,
        ),
        (
            lambda: generate.pipe_bend(h=0.2),
            math.pi * 0.25 * (2.0 + math.pi / 2 * 1.5),
            {"inlet", "outlet", "walls"},
            0,
        ),
    ],
    ids=["channel", "naca0012", "naca4412", "step", "channel_3d", "pipe_bend"],
)
def test_benchmark(make: Callable[[], Mesh], measure: float, tags: set[str], holes: int) -> None:
    mesh = make()
    check_sound(mesh, holes=holes)
    assert set(mesh.facet_tags) == tags
    assert len(mesh.cell_tags["fluid"]) == mesh.num_cells
    assert float(mesh.volumes().sum()) == pytest.approx(measure, rel=0.03)
    again = make()
    assert torch.equal(mesh.pos, again.pos)


def test_channel_is_finer_at_the_cylinder() -> None:
    mesh = generate.channel_with_cylinder(h=0.04)
    length = {
        name: float((mesh.pos[ends[:, 1]] - mesh.pos[ends[:, 0]]).norm(dim=1).mean())
        for name, ends in mesh.facet_tags.items()
    }
    assert length["cylinder"] == pytest.approx(0.01, rel=0.1)
    assert length["inlet"] == pytest.approx(0.04, rel=0.1)
    rim = mesh.pos[mesh.facet_tags["cylinder"]] - torch.tensor([0.2, 0.2], dtype=torch.float64)
    assert (rim.norm(dim=2) - 0.05).abs().max() < 1e-9


def test_aerofoil_is_closed_and_as_thick_as_named() -> None:
    mesh = generate.naca("0012", h=0.01)
    ends = mesh.facet_tags["aerofoil"]
    assert (torch.bincount(ends.flatten())[ends] == 2).all()  # one closed loop
    section = mesh.pos[ends.flatten()]
    assert section[:, 0].min() == pytest.approx(0.0, abs=1e-6)
    assert section[:, 0].max() == 1.0
    assert float(section[:, 1].max() - section[:, 1].min()) == pytest.approx(0.12, abs=1e-3)


def test_pipe_ends_lie_on_their_planes() -> None:
    mesh = generate.pipe_bend(h=0.25, radius=0.4, bend_radius=1.0, leg=0.5)
    assert (mesh.pos[mesh.facet_tags["inlet"]][..., 1] + 0.5).abs().max() < 1e-12
    assert (mesh.pos[mesh.facet_tags["outlet"]][..., 0] - 1.5).abs().max() < 1e-12


# gmsh leaves no trace


@pytest.fixture
def running_gmsh() -> Iterator[ModuleType]:
    gmsh = importlib.import_module("gmsh")
    gmsh.initialize(readConfigFiles=False, interruptible=False)
    yield gmsh
    gmsh.finalize()


def test_gmsh_is_finalised_even_after_a_failure(capfd: pytest.CaptureFixture[str]) -> None:
    gmsh = importlib.import_module("gmsh")
    generate.polygon(SQUARE, h=0.5)
    assert not gmsh.isInitialized()
    session = importlib.import_module("meshlearn.mesh.generate._gmsh").session
    with pytest.raises(KeyError), session():
        raise KeyError
    assert not gmsh.isInitialized()
    assert capfd.readouterr().out == ""


def test_a_running_gmsh_keeps_its_models_and_options(running_gmsh: ModuleType) -> None:
    plain = generate.polygon(SQUARE, h=0.3)
    running_gmsh.model.add("mine")
    running_gmsh.option.setNumber("Mesh.Algorithm", 5)
    running_gmsh.option.setNumber("Mesh.MeshSizeFactor", 0.25)
    models = running_gmsh.model.list()
    mesh = generate.polygon(SQUARE, h=0.3)
    assert torch.equal(mesh.pos, plain.pos)  # the caller's options do not leak in
    assert running_gmsh.isInitialized()
    assert running_gmsh.model.list() == models
    assert running_gmsh.model.getCurrent() == "mine"
    assert running_gmsh.option.getNumber("Mesh.Algorithm") == 5
    assert running_gmsh.option.getNumber("Mesh.MeshSizeFactor") == 0.25


def test_signals_stay_as_they_were() -> None:
    """A handler of SIGTERM still works, and writing to a closed pipe is an error, not the end."""
    script = """
        import os, signal, threading
        import meshlearn

        told = []
        signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
        square = [[0, 0], [1, 0], [1, 1], [0, 1]]
        thread = threading.Thread(target=meshlearn.generate.polygon, args=(square, 0.5))
        thread.start()
        thread.join()
        os.kill(os.getpid(), signal.SIGTERM)
        assert told == [signal.SIGTERM]
        read, write = os.pipe()
        os.close(read)
        try:
            os.write(write, b"x")
        except BrokenPipeError:
            print("as before")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "as before\n", (done.returncode, done.stderr)


def test_a_model_without_usable_cells_is_refused() -> None:
    wrapper = importlib.import_module("meshlearn.mesh.generate._gmsh")
    with wrapper.session() as gmsh, pytest.raises(MeshError, match="made no cells of dimension 2"):
        wrapper.to_mesh(gmsh, 2)
    with wrapper.session() as gmsh:
        gmsh.model.occ.addRectangle(0, 0, 0, 1, 1)
        gmsh.model.occ.synchronize()
        gmsh.model.mesh.generate(2)
        gmsh.model.mesh.setOrder(2)
        with pytest.raises(MeshError, match="type Triangle 6; ask it for first-order elements"):
            wrapper.to_mesh(gmsh, 2)


def test_mixed_facets_and_unnamed_groups_are_taken_over() -> None:
    wrapper = importlib.import_module("meshlearn.mesh.generate._gmsh")
    with wrapper.session() as gmsh:
        base = gmsh.model.occ.addRectangle(0, 0, 0, 1, 1)
        swept = gmsh.model.occ.extrude([(2, base)], 0, 0, 1, numElements=[2], recombine=True)
        gmsh.model.occ.synchronize()
        gmsh.model.addPhysicalGroup(2, [base, *(tag for dim, tag in swept if dim == 2)], 7)
        gmsh.option.setNumber("Mesh.MeshSizeMax", 0.4)
        gmsh.model.mesh.generate(3)
        mesh = wrapper.to_mesh(gmsh, 3)
    check_sound(mesh)
    assert list(mesh.cells) == ["wedge"]
    assert list(mesh.facet_tags) == ["7"]
    assert mesh.facet_tags["7"].shape[1] == 4
    assert abs(float(mesh.volumes().sum()) - 1.0) < 1e-12


def test_missing_gmsh_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gmsh", None)
    with pytest.raises(MeshError, match=r"pip install 'meshlearn\[gmsh\]'"):
        generate.polygon(SQUARE)
    assert generate.rectangle(1, 1).num_cells == 2


def test_a_missing_system_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> ModuleType:
        raise OSError("libGLU.so.1: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(MeshError, match=r"system library .*libGLU\.so\.1"):
        generate.naca()
