"""Guided: parameters reach the result by masks only. What all operators keep is in `test_base`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch

from meshlearn.fem import FunctionSpace
from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.operators import BASES, OPERATORS, Guided, LearnedMultigrid, joined, load_operator
from meshlearn.training import TrainingError
from meshlearn.training.evolution import (
    EvolutionSettings,
    EvolutionTask,
    fresh_evolution,
    load_evolution,
    train_evolution,
)
from meshlearn.training.operators import OperatorSettings, train_operator

SMALL = {"width": 8, "blocks": 2}
INPUTS = [("nu", "P0"), ("f", "P1"), ("re", "P1")]


def made(**changes: Any) -> Guided:
    torch.manual_seed(0)
    options = {"parameters": ["nu", "re"], "options": SMALL, "channels": 6, **changes}
    return Guided(INPUTS, ["u"], **options).eval()


def fields(mesh: Mesh, nu: float, re: float = 1.0) -> dict[str, Tensor]:
    x = mesh.pos
    cells, nodes = torch.ones(mesh.num_cells).double(), torch.ones(mesh.num_nodes).double()
    return {"nu": nu * cells, "re": re * nodes, "f": (3 * x).sin().sum(dim=1)}


def answer(model: Guided, mesh: Mesh, given: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        return model(mesh, given)["u"]


def test_each_mesh_of_a_batch_has_its_own_parameters() -> None:
    meshes = [generate.rectangle(5, 4), generate.rectangle(3, 6, diagonal="crossed")]
    model = made()
    given = [fields(meshes[0], 0.3, -1.0), fields(meshes[1], -2.0, 0.5)]
    alone = [answer(model, mesh, values) for mesh, values in zip(meshes, given, strict=True)]
    both = {v.name: joined(v, meshes, [g[v.name] for g in given]) for v in model.inputs}
    together = answer(model, Batch.from_data_list(meshes), both)
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    swapped = both | {"nu": both["nu"].flip(0)}
    with pytest.raises(MeshError, match="the parameter 'nu' must be one number on each mesh"):
        answer(model, Batch.from_data_list(meshes), swapped)


@pytest.mark.parametrize("name", ["nu", "re"])
def test_parameters_act_through_the_masks_alone(name: str) -> None:
    mesh, model = generate.rectangle(5, 4), made()
    one, two = fields(mesh, 1.0), fields(mesh, 1.0)
    two[name] = 3 * two[name]
    assert float((answer(model, mesh, one) - answer(model, mesh, two)).abs().max()) > 1e-4
    last = model.masks[-1]
    assert isinstance(last, torch.nn.Linear)
    with torch.no_grad():
        last.weight.zero_()  # masks that do not depend on the parameters
    assert torch.equal(answer(model, mesh, one), answer(model, mesh, two))


def test_the_base_reads_everything_but_the_parameters() -> None:
    model = made(base="boundary-value")
    assert [v.name for v in model.base.inputs] == ["f", "views"]
    mesh = generate.rectangle(4, 4)
    data = (mesh, fields(mesh, 2.0), {"u": 7 + mesh.pos[:, 0]})
    model.fit_scales([data])
    assert float(model.base.input_mean[0]) == pytest.approx(float(data[1]["f"].mean()), rel=1e-5)
    assert model.base.input_mean[1:].tolist() == [0] * 6
    assert model.base.input_scale[1:].tolist() == [1] * 6
    assert torch.equal(model.base.output_mean, model.output_mean)
    assert torch.equal(model.base.output_scale, model.output_scale)
    assert torch.equal(model.base.typical_size, model.typical_size)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_views_reach_as_far_as_the_ring_and_the_order(order: int) -> None:
    mesh = generate.interval(12)
    model = made(base="boundary-value", options={"dim": 1, **SMALL, "order": 1}, order=order)
    given = fields(mesh, 1.0)
    other = {**given, "f": given["f"].clone()}
    other["f"][0] += 1
    change = (answer(model, mesh, given) - answer(model, mesh, other)).abs()
    reach = max(order - 1, 1)
    assert bool((change[: reach + 1] > 0).all())
    assert not bool(change[reach + 1 :].any())


def test_a_constant_has_no_ring() -> None:
    mesh = generate.rectangle(4, 4)
    model = made(order=1)
    with torch.no_grad():
        for part in (model.point, model.rest):
            part.weight.zero_()
        model.point.bias.zero_()
        model.far.zero_()
        model.ring[0] = 0
    ones = torch.ones(mesh.num_nodes, 3)
    ramp = mesh.pos[:, :1].float() * ones
    with torch.no_grad():
        views, ramp = (model._views(mesh, x, torch.ones(mesh.num_nodes, 2)) for x in (ones, ramp))
    assert torch.allclose(views, views[:1].expand_as(views), atol=1e-6)
    assert float((ramp - views).abs().max()) > 1e-3  # at the boundary it is one-sided


def test_quadratic_fields_and_batches_of_them() -> None:
    torch.manual_seed(0)
    options = {"processor": "flat", **SMALL}
    model = Guided(
        [("f", "P2"), "nu"], [("u", "P2")], parameters=["nu"], base="spon", options=options
    )
    meshes = [generate.rectangle(3, 3), generate.rectangle(2, 4)]
    alone, given = [], []
    for k, mesh in enumerate(meshes):
        points = FunctionSpace(mesh, "P2").dof_points
        given.append({"f": points.sin().sum(dim=1), "nu": torch.full((mesh.num_nodes,), 1.0 + k)})
        alone.append(answer(model, mesh, given[-1]))
    both = {v.name: joined(v, meshes, [g[v.name] for g in given]) for v in model.inputs}
    found = answer(model, Batch.from_data_list(meshes), both)
    assert torch.allclose(found, joined(model.outputs[0], meshes, alone), atol=1e-5)


def test_noise_is_that_of_the_base_and_spares_the_parameters() -> None:
    mesh = generate.rectangle(6, 6)
    given = fields(mesh, 0.5)
    quiet, noisy = made(), made(options={**SMALL, "noise": 0.1})
    seen = [m.perturbed(given, np.random.default_rng(0)) for m in (quiet, noisy)]
    assert all(torch.equal(s[name], given[name]) for s in seen for name in ("nu", "re"))
    assert torch.equal(seen[0]["f"], given["f"])
    assert not torch.equal(seen[1]["f"], given["f"])


def evolution(folder: Path, **changes: Any) -> EvolutionSettings:
    content = {
        "model": "guided",
        "options": {
            "parameters": ["log_k"],
            "options": {**SMALL, "differences": True},
            "channels": 8,
        },
        "data": {"nodes": 50, "steps": 8},
        "samples": 6,
        "held_out": 2,
        "strategy": "residual",
        "unroll": 3,
        "folder": str(folder / "data"),
        "trainer": {"steps": 60, "learning_rate": 0.01, "ema": 0.9, "evaluate_every": 60},
    }
    return EvolutionSettings.model_validate({**content, **changes})


def test_settings_train_it_from_teacher_forcing_to_free_running(tmp_path: Path) -> None:
    chosen = evolution(tmp_path)
    pools = chosen.pools()
    before = EvolutionTask(chosen, *pools).evaluate(fresh_evolution(chosen, pools[0]))
    path, trained = train_evolution(chosen, tmp_path / "run")
    assert path.name == "guided.safetensors"
    assert trained.figures["score"] < 0.8 * before["score"]
    model, known = load_evolution(path)
    assert isinstance(model, Guided)
    assert EvolutionTask(known, *pools).evaluate(model) == pytest.approx(trained.figures)
    # the first steps are single ones, the last ones are free runs over three
    task = EvolutionTask(chosen, *pools)
    lengths = []
    for share in (0.0, 0.3, 1.0):
        task.progress = share
        task.loss(model, np.random.default_rng(0))[0].backward()  # type: ignore[no-untyped-call]
        lengths.append(task.length)
    assert lengths == [1, 2, 3]


def test_settings_of_static_operators_take_it(tmp_path: Path) -> None:
    mesh = generate.rectangle(4, 4)
    (tmp_path / "files").mkdir()
    for k in range(5):
        given = fields(mesh, 0.5 + k)
        for name, values in (("nu", given["nu"]), ("f", given["f"]), ("u", k * given["f"])):
            mesh.set_field(name, values, "cell" if name == "nu" else "node")
        mesh.write(tmp_path / f"files/{k}.vtu")
    content = {
        "model": "guided",
        "options": {"parameters": ["nu"], "base": "boundary-value", "options": SMALL},
        "data": {
            "kind": "folder",
            "path": str(tmp_path / "files"),
            "inputs": [["nu", "P0", 0], "f"],
            "outputs": ["u"],
        },
        "folder": str(tmp_path / "data"),
        "trainer": {"steps": 5, "evaluate_every": 5},
    }
    path, _ = train_operator(OperatorSettings.model_validate(content), tmp_path / "run")
    assert isinstance(load_operator(path), Guided)


def test_errors(tmp_path: Path) -> None:
    assert OPERATORS["guided"] is Guided
    assert LearnedMultigrid not in BASES.values()
    with pytest.raises(MeshError, match=r"base must be one of spon, .*, got 'learned-multigrid'"):
        made(base="learned-multigrid")
    with pytest.raises(MeshError, match="at least 1, got 6, 0"):
        made(order=0)
    for wrong in ([], ["mu"], ["nu", "nu"]):
        with pytest.raises(MeshError, match=r"parameters must be .* scalar inputs \(nu, f, re\)"):
            made(parameters=wrong)
    mesh = generate.rectangle(3, 3)
    with pytest.raises(MeshError, match="the parameter 'f' must be one number on each mesh"):
        answer(made(parameters=["f"]), mesh, fields(mesh, 1.0))
    chosen = evolution(tmp_path, options={"parameters": ["log_k"], "options": {"depth": 3}})
    with pytest.raises(TrainingError, match=r"options of guided: .*depth"):
        fresh_evolution(chosen, chosen.pools()[0])
