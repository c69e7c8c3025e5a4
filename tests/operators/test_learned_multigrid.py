"""LearnedMultigrid: classical when untrained, linear, the equation's own solution in the limit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from meshlearn.fem import Dirichlet, FunctionSpace
from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.operators import OPERATORS, LearnedMultigrid, load_operator
from meshlearn.training.data.darcy import solve_darcy
from meshlearn.training.operators import OperatorSettings
from meshlearn.training.settings import read_settings

INPUTS = [("log_k", "P0", 0), "f"]


def model(**options: Any) -> LearnedMultigrid:
    torch.manual_seed(0)
    return LearnedMultigrid(INPUTS, ["u"], **{"levels": 3, **options}).eval()


def stirred(made: LearnedMultigrid) -> LearnedMultigrid:
    """With heads that are not 0."""
    assert made.net is not None
    for head in (made.net.nodes, made.net.edges):
        last = [m for m in head.modules() if isinstance(m, nn.Linear)][-1]
        nn.init.normal_(last.weight, std=0.05)
    return made


def problem(mesh: Mesh, scale: float = 1.0) -> tuple[Any, ...]:
    x = mesh.pos
    log_k = (5 * mesh.centroids()).sin().sum(dim=1)
    return solve_darcy(mesh, log_k, scale * x.sin().sum(dim=1), scale * x.prod(dim=1))


def error(made: LearnedMultigrid, mesh: Mesh) -> float:
    _, fields, exact, held = problem(mesh)
    with torch.no_grad():
        gap = made(mesh, fields, held)["u"] - exact["u"]
    return float(gap.norm() / exact["u"].norm())


def test_untrained_is_classical_and_cycles_converge_to_the_solution() -> None:
    mesh = generate.rectangle(12, 10, diagonal="crossed")
    assert error(model(cycles=2), mesh) == pytest.approx(
        error(model(smoother="jacobi", cycles=2), mesh), rel=1e-6
    )
    errors = [error(model(smoother="jacobi", cycles=c), mesh) for c in (1, 3, 40)]
    assert errors[1] < 0.4 * errors[0]
    assert errors[2] < 1e-9


def test_any_weights_keep_the_solution_as_fixed_point() -> None:
    mesh = generate.rectangle(8, 8)
    assert error(stirred(model(cycles=40)), mesh) < 1e-7


def test_linear_in_load_and_boundary_values_which_are_exact() -> None:
    mesh = generate.rectangle(8, 6)
    made = stirred(model())
    found: list[Tensor] = []
    with torch.no_grad():
        for scale in (1.0, -3e4):
            _, fields, _, held = problem(mesh, scale)
            found.append(made(mesh, fields, held)["u"])
            (bc,) = held["u"]
            assert torch.allclose(found[-1][bc.dofs], bc.values, rtol=0, atol=0)
    assert torch.allclose(found[1], -3e4 * found[0], rtol=1e-9, atol=1e-6)


def test_a_batch_is_a_loop_and_files_give_the_same_model(tmp_path: Any) -> None:
    meshes = [generate.rectangle(6, 5), generate.rectangle(4, 7, diagonal="crossed")]
    made = stirred(model())
    batch = Batch.from_data_list(meshes)
    with torch.no_grad():
        alone = [made(m, problem(m)[1], problem(m)[3])["u"] for m in meshes]
        _, fields, _, held = problem(batch)
        assert torch.allclose(made(batch, fields, held)["u"], torch.cat(alone), atol=1e-5)
        again = load_operator(made.save(tmp_path / "weights"))
        assert torch.equal(again(batch, fields, held)["u"], made(batch, fields, held)["u"])
    assert OPERATORS["learned-multigrid"] is LearnedMultigrid


def test_cycles_contract_alike_on_finer_meshes() -> None:
    made = model(smoother="jacobi", levels=0, cycles=3)
    coarse, fine = (error(made, generate.rectangle(n, n)) for n in (40, 80))
    assert fine < 1.5 * coarse
    fixed = model(smoother="jacobi", levels=2, cycles=3)
    assert error(fixed, generate.rectangle(40, 40)) > 3 * coarse


def test_weights_have_gradients_and_a_few_steps_lower_the_error() -> None:
    mesh = generate.rectangle(9, 9)
    made = model(cycles=1)
    _, fields, exact, held = problem(mesh)
    optimiser = torch.optim.Adam(made.parameters(), lr=3e-3)
    before = error(made, mesh)
    for _ in range(20):
        optimiser.zero_grad()
        (made(mesh, fields, held)["u"] - exact["u"]).norm().backward()
        optimiser.step()
    assert error(made, mesh) < 0.8 * before


def test_the_settings_in_the_examples_are_valid() -> None:
    config = Path(__file__).parents[2] / "examples" / "configs" / "operator_darcy_equation.yaml"
    assert read_settings(config, OperatorSettings).model == "learned-multigrid"


def test_errors() -> None:
    with pytest.raises(MeshError, match="boundary must be 'exact'"):
        model(boundary="soft")
    with pytest.raises(MeshError, match="form must be 'diffusion', got 'elasticity'"):
        model(form="elasticity")
    with pytest.raises(MeshError, match="smoother must be one of"):
        model(smoother="ilu")
    with pytest.raises(MeshError, match="blocks must be at least 1, levels at least 0"):
        model(cycles=0)
    with pytest.raises(MeshError, match="needs a scalar input 'k' in P0"):
        model(coefficient="k")
    with pytest.raises(MeshError, match="one scalar output in P1"):
        LearnedMultigrid(INPUTS, [("u", "P2", 0)])
    mesh = generate.rectangle(4, 4)
    _, fields, _, held = problem(mesh)
    with pytest.raises(MeshError, match="needs Dirichlet conditions of 'u'"):
        model()(mesh, fields)
    with pytest.raises(MeshError, match="the input 'f' is missing"):
        model()(mesh, {"log_k": fields["log_k"]}, held)
    none = Dirichlet(FunctionSpace(mesh, "P1"), torch.zeros(0, dtype=torch.int64), 0.0)
    with pytest.raises(MeshError, match="needs Dirichlet conditions of 'u'"):
        model()(mesh, fields, {"u": [none]})
