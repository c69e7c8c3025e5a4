"""What all operators keep: numbering, batches, files, exact boundary values, and clear errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from strategies import renumbered
from torch import Tensor
from torch_geometric.data import Batch

from meshlearn.fem import Dirichlet, FunctionSpace
from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.operators import (
    GINO,
    OPERATORS,
    SPON,
    BoundaryValueGNN,
    GeometryAwareTransformer,
    GraphDiffusion,
    GraphKernelNetwork,
    Guided,
    LowRankNO,
    MeshGraphNet,
    MultipoleGNO,
    Operator,
    Variable,
    basis_integrals,
    joined,
    load_operator,
)

INPUTS = [("k", "P0", 0), ("f", "P1", 0), ("b", "P1", 2)]
OUTPUTS = [("u", "P1", 0), ("q", "P1", 2), ("c", "P0", 0)]
BUILD: dict[str, Callable[..., Operator]] = {
    "flat": lambda **o: SPON(INPUTS, OUTPUTS, processor="flat", width=8, blocks=2, **o),
    "multigrid": lambda **o: SPON(INPUTS, OUTPUTS, width=8, blocks=5, levels=3, **o),
    "elliptic": lambda **o: SPON(INPUTS, OUTPUTS, processor="elliptic", width=8, blocks=2, **o),
    "gno": lambda **o: GraphKernelNetwork(INPUTS, OUTPUTS, width=8, blocks=2, radius=0.4, **o),
    "low_rank": lambda **o: LowRankNO(INPUTS, OUTPUTS, width=8, blocks=2, rank=3, **o),
    "gino": lambda **o: GINO(INPUTS, OUTPUTS, width=8, blocks=2, grid=6, modes=3, radius=0.3, **o),
    "multipole": lambda **o: MultipoleGNO(INPUTS, OUTPUTS, width=8, levels=2, radius=0.3, **o),
    "gaot": lambda **o: GeometryAwareTransformer(
        INPUTS, OUTPUTS, width=8, heads=2, blocks=2, tokens=4, radius=0.3, **o
    ),
    "mgn, differences": lambda **o: MeshGraphNet(
        INPUTS, OUTPUTS, width=8, blocks=2, differences=True, **o
    ),
    "mgn": lambda **o: MeshGraphNet(INPUTS, OUTPUTS, width=8, blocks=2, world_radius=0.4, **o),
    "chebyshev": lambda **o: BoundaryValueGNN(INPUTS, OUTPUTS, width=8, blocks=2, order=3, **o),
    "linear": lambda **o: GraphDiffusion(INPUTS, OUTPUTS, width=8, heads=2, steps=3, **o),
    "nonlinear": lambda **o: GraphDiffusion(
        INPUTS, OUTPUTS, kind="nonlinear", scheme="implicit", width=8, heads=2, steps=2, **o
    ),
}
for base in ("mesh-graph-net", "boundary-value", "gno"):
    BUILD[f"guided {base}"] = lambda base=base, **o: Guided(
        [*INPUTS, ("nu", "P0", 0)],
        OUTPUTS,
        parameters=["nu"],
        base=base,
        options={"width": 8, "blocks": 2},
        channels=6,
        **o,
    )
MODELS = sorted(BUILD)


def made(name: str, **options: Any) -> Operator:
    torch.manual_seed(0)
    return BUILD[name](**options).eval()


def wave(x: Tensor) -> Tensor:
    return (2 * x[:, 0]).sin() + x[:, 1] ** 2


def given(mesh: Mesh) -> dict[str, Tensor]:
    x = mesh.pos
    k = wave(mesh.centroids())
    b = torch.stack([x[:, 0] ** 2, x.prod(dim=1)], dim=1)
    return {"k": k, "f": wave(x), "b": b, "nu": torch.full_like(k, 0.3)}


def held(mesh: Mesh) -> dict[str, list[Dirichlet]]:
    q = FunctionSpace(mesh, ("P1", 2))
    scalar = Dirichlet(FunctionSpace(mesh, "P1"), "boundary", wave)
    second = Dirichlet(q, "boundary", lambda x: x[:, 1] - 3, components=[1])
    return {"u": [scalar], "q": [second]}


def call(model: Operator, mesh: Mesh) -> dict[str, Tensor]:
    with torch.no_grad():
        return model(mesh, given(mesh), held(mesh))


@pytest.mark.parametrize("name", MODELS)
def test_boundary_values_are_exact_and_soft_ones_are_not(name: str) -> None:
    mesh = generate.rectangle(6, 5)
    edge = mesh.boundary_nodes
    found = call(made(name), mesh)
    assert found["u"].dtype == found["q"].dtype == torch.float64
    assert float((found["u"] - wave(mesh.pos))[edge].abs().max()) <= 1e-12
    assert float((found["q"][:, 1] - mesh.pos[:, 1] + 3)[edge].abs().max()) <= 1e-12
    assert float((found["q"][:, 0] - mesh.pos[:, 1] + 3)[edge].abs().min()) > 1e-6
    soft = call(made(name, boundary="soft"), mesh)
    inner = torch.ones(mesh.num_nodes, dtype=torch.bool)
    inner[edge] = False
    assert torch.equal(soft["u"][inner], found["u"][inner])
    miss = float((soft["u"] - wave(mesh.pos))[edge].abs().max())
    # elliptic rounds add fields that are 0 where values are held: they miss by round-off
    assert miss < 1e-6 if name == "elliptic" else miss > 1e-2


@pytest.mark.parametrize("name", [m for m in MODELS if m not in ("multigrid", "multipole")])
def test_renumbering_renumbers_the_result(name: str) -> None:
    mesh = generate.rectangle(6, 5, diagonal="crossed")
    other, node, cell = renumbered(mesh, seed=3)
    model = made(name)
    one, two = call(model, mesh), call(model, other)
    for field in ("u", "q"):
        assert torch.allclose(one[field], two[field][node], atol=1e-5)
    assert torch.allclose(one["c"][cell], two["c"], atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_is_a_loop(name: str) -> None:
    meshes = [generate.rectangle(6, 5), generate.rectangle(4, 7, diagonal="crossed")]
    model = made(name)
    alone = [call(model, mesh) for mesh in meshes]
    together = call(model, Batch.from_data_list(meshes))
    for variable in model.outputs:
        expected = joined(variable, meshes, [found[variable.name] for found in alone])
        assert torch.allclose(together[variable.name], expected, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_saved_and_loaded_it_is_the_same(name: str, tmp_path: Path) -> None:
    mesh = generate.rectangle(5, 5)
    model = made(name)
    model.fit_scales([(mesh, given(mesh), call(model, mesh))])
    path = model.save(tmp_path / "weights", {"seed": 0})
    assert json.loads(path.with_suffix(".json").read_text())["seed"] == 0
    for again in (type(model).from_pretrained(path), load_operator(path)):
        assert again.config == model.config
        first, second = call(model, mesh), call(again, mesh)
        assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_is_trained(name: str) -> None:
    mesh = generate.rectangle(6, 5)
    model = made(name).train()
    found = model(mesh, given(mesh), held(mesh))
    sum(values.square().sum() for values in found.values()).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # a shift of all keys does not change a softmax; last edge updates reach nodes all the same
    assert [n for n in without if n != "key.bias"] == []


def test_scales_are_those_of_the_data() -> None:
    meshes = [generate.rectangle(4, 4), generate.rectangle(4, 4, upper=(2.0, 2.0))]
    model = made("flat")
    torch.manual_seed(1)
    fields = [5 + 2 * torch.randn(mesh.num_nodes).double() for mesh in meshes]
    data = []
    for mesh, u in zip(meshes, fields, strict=True):
        outputs = {"u": u, "q": torch.zeros(mesh.num_nodes, 2), "c": torch.full((32,), 7.0)}
        data.append((mesh, given(mesh), outputs))
    model.fit_scales(data)
    u = torch.cat(fields)
    assert float(model.output_mean[0]) == pytest.approx(float(u.mean()), rel=1e-5)
    assert float(model.output_scale[0]) == pytest.approx(float(u.std(correction=0)), rel=1e-3)
    assert model.output_scale[1:].tolist() == [1, 1, 1]  # constants keep their units
    assert model.output_mean[3] == 7


def test_prescribed_integrals_are_met_on_each_mesh_of_a_batch() -> None:
    meshes = [generate.rectangle(4, 5), generate.rectangle(6, 3, upper=(2.0, 1.0))]
    batch = Batch.from_data_list(meshes)
    model = made("flat")
    targets = {"u": torch.tensor([0.25, -3.0]), "c": torch.tensor([1.0, 2.0])}
    with torch.no_grad():
        found = model(batch, given(batch), held(batch), integrals=targets)
    for name, element in (("u", "P1"), ("c", "P0")):
        share = basis_integrals(batch, element) * found[name]
        split = meshes[0].num_nodes if element == "P1" else meshes[0].num_cells
        got = torch.stack([share[:split].sum(), share[split:].sum()])
        assert torch.allclose(got, targets[name].double(), atol=1e-12)
    assert torch.equal(found["u"][batch.boundary_nodes], wave(batch.pos)[batch.boundary_nodes])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fields": {}}, "needs a field 'k'; there are none"),
        ({"f": torch.zeros(3)}, r"field 'f' \(P1\) must be \[30\] on this mesh, got \[3\]"),
        ({"f": torch.full((30,), float("nan"))}, "field 'f' has values that are not finite"),
        ({"bcs": {"w": []}}, "conditions for 'w', but the outputs are u, q, c"),
        ({"bcs": "P2"}, "conditions of 'u' must be in its space"),
        ({"integrals": {"u": torch.zeros(2)}}, r"integral of 'u' must be \[1, 1\], got \[2\]"),
    ],
)
def test_bad_calls(change: dict[str, Any], message: str) -> None:
    mesh = generate.rectangle(5, 4)
    fields = change.get("fields", {**given(mesh), **{k: v for k, v in change.items() if k == "f"}})
    bcs = change.get("bcs")
    if bcs == "P2":
        bcs = {"u": [Dirichlet(FunctionSpace(mesh, "P2"), "boundary", 0.0)]}
    with pytest.raises(MeshError, match=message):
        made("flat")(mesh, fields, bcs, integrals=change.get("integrals"))


def test_nothing_free_cannot_meet_an_integral() -> None:
    mesh = generate.rectangle(1, 1)
    with pytest.raises(MeshError, match="no free value of 'u' is left"):
        made("flat")(mesh, given(mesh), held(mesh), integrals={"u": torch.tensor(1.0)})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Variable("u", "P7"), "field 'u' must be of P0, P1, P2, got 'P7'"),
        (lambda: Variable("u", "P1", -1), "cannot have -1 components"),
        (lambda: SPON(["f"], ["u"], "hard"), "boundary must be one of"),
        (lambda: SPON(["f"], []), "at least one output"),
        (lambda: SPON(["f", "f"], ["u"]), "no name twice"),
        (lambda: made("flat").fit_scales([]), "at least one sample"),
    ],
)
def test_bad_definitions(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(MeshError, match=message):
        build()


def test_files_of_something_else(tmp_path: Path) -> None:
    path = made("flat").save(tmp_path / "weights")
    with pytest.raises(MeshError, match="holds a SPON, not a MeshGraphNet"):
        MeshGraphNet.from_pretrained(path)
    card = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**card, "config": {"depth": 3}}))
    with pytest.raises(MeshError, match="does not fit SPON"):
        SPON.from_pretrained(path)
    path.with_suffix(".json").write_text(json.dumps({**card, "model": "MoverNet"}))
    with pytest.raises(MeshError, match="holds a MoverNet, which is no operator"):
        load_operator(path)


def test_names_of_settings_are_those_of_classes() -> None:
    assert OPERATORS["gno"] is GraphKernelNetwork
    assert len(set(OPERATORS.values())) == len(OPERATORS)
