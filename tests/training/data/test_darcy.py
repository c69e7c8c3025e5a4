"""Darcy cases: solved, seeded, kept on disk; the coefficient has the covariance it should."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from meshlearn.fem import FunctionSpace, assemble, dot, grad
from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.training.data import DOMAINS, Darcy, DarcySettings, make_darcy
from meshlearn.training.data.darcy import solve_darcy

SMALL = DarcySettings(nodes=80)


def test_cases_are_solved_on_domains_with_holes_and_held_at_all_boundaries() -> None:
    holes = {"square": 1, "l_shape": 1, "disk": 2}
    for number, kind in enumerate(DOMAINS):
        case = make_darcy(SMALL, number)
        mesh, u = case.mesh, case.outputs["u"]
        assert case.kind == kind
        # Euler's characteristic tells the number of holes
        assert mesh.num_nodes - len(mesh.topology.edges) + mesh.num_cells == 1 - holes[kind]
        (held,) = case.bcs["u"]
        assert torch.equal(held.dofs, mesh.boundary_nodes)
        assert float(held.values.abs().max()) > 0.1
        assert torch.equal(u[held.dofs], held.values)
        space, k = FunctionSpace(mesh, "P1"), case.inputs["log_k"].exp()
        A = assemble(lambda u, v, w: w.k * dot(grad(u), grad(v)), space, k=k)
        load = assemble(lambda u, v, w: u * v, space) @ case.inputs["f"]
        residual = A @ u - load
        residual[held.dofs] = 0
        assert float(residual.norm() / load.norm()) < 1e-10


def test_a_known_solution() -> None:
    mesh = generate.rectangle(8, 8)
    # u = x with k of each half: a constant flux needs constant k
    log_k = torch.full((mesh.num_cells,), 1.5, dtype=torch.float64)
    x = mesh.pos[:, 0]
    _, _, outputs, _ = solve_darcy(mesh, log_k, 0 * x, 3 * x - 1)
    assert torch.allclose(outputs["u"], 3 * x - 1, atol=1e-12)


def test_the_same_number_is_the_same_case_from_memory_or_disk(tmp_path: Path) -> None:
    made = make_darcy(SMALL, 1)
    for _ in range(2):  # the second time from disk
        case = Darcy(SMALL, 2, tmp_path)[1]
        assert case.mesh == made.mesh
        assert case.kind == made.kind
        for one, two in ((case.inputs, made.inputs), (case.outputs, made.outputs)):
            assert one.keys() == two.keys()
            assert all(torch.equal(one[name], two[name]) for name in one)
        assert torch.equal(case.bcs["u"][0].values, made.bcs["u"][0].values)
    other = make_darcy(SMALL.model_copy(update={"seed": 1}), 1)
    assert other.mesh != made.mesh
    rougher = make_darcy(SMALL.model_copy(update={"variance": 2.0}), 1)
    assert rougher.inputs["log_k"].std() == pytest.approx(2 * float(made.inputs["log_k"].std()))
    assert math.isclose(float(rougher.inputs["f"].sum()), float(made.inputs["f"].sum()))


def test_graded_meshes_fill_the_same_domains() -> None:
    for number in range(len(DOMAINS)):
        even, middle, sides = (
            make_darcy(SMALL.model_copy(update={"nodes": 300, "grading": grading}), number).mesh
            for grading in (0.0, 0.7, -0.7)
        )
        area = float(even.volumes().sum())
        for mesh in (middle, sides):
            assert float(mesh.volumes().sum()) == pytest.approx(area, rel=0.02)
            assert not len(mesh.inverted_cells())

        def gathered(mesh: Mesh) -> float:
            return float(((mesh.centroids() - 0.5).abs() < 0.25).all(dim=1).double().mean())

        assert gathered(middle) > 1.1 * gathered(even) > 1.3 * gathered(sides)


def test_prepared_by_two_processes_and_only_what_is_missing(tmp_path: Path) -> None:
    pool, calls = Darcy(SMALL, 3, tmp_path), []
    assert torch.equal(pool[0].outputs["u"], make_darcy(SMALL, 0).outputs["u"])
    pool.prepare(2, lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]
    assert sorted(p.name for p in pool.folder.iterdir()) == [f"00000{k}.pt" for k in range(3)]
    calls.clear()
    pool.prepare(1, lambda done, total: calls.append((done, total)))
    assert calls == []
    assert [case.kind for case in pool] == list(DOMAINS)


def test_the_baseline_is_the_solution_where_the_coefficient_is_constant(tmp_path: Path) -> None:
    constant = Darcy(SMALL.model_copy(update={"variance": 0.0}), 1, tmp_path)
    rough = Darcy(SMALL.model_copy(update={"variance": 2.0}), 1, tmp_path)
    exact, guess = constant[0].outputs["u"], constant.baseline(constant[0])["u"]
    assert torch.allclose(exact, guess, rtol=0, atol=1e-10)
    case = rough[0]
    miss = case.outputs["u"] - rough.baseline(case)["u"]
    assert float(miss[case.mesh.boundary_nodes].abs().max()) == 0
    assert float(miss.norm() / case.outputs["u"].norm()) > 0.01


def test_errors(tmp_path: Path) -> None:
    pool = Darcy(SMALL, 1, tmp_path)
    with pytest.raises(IndexError, match="there are 1 cases, no case 1"):
        pool[1]
    pool.prepare(1)
    file = pool.folder / "000000.pt"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(MeshError, match=r"000000\.pt is damaged; delete it"):
        pool[0]
