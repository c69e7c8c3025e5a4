"""The estimate of a force's error, and the benchmark that it is made for."""

from __future__ import annotations

import pytest
import torch

from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.monitors import Indicator
from meshlearn.movers import FromSolution, adapt
from meshlearn.problems import (
    FlowSolution,
    NavierStokes,
    cylinder_flow,
    drag_lift,
    force,
    force_estimate,
    lid_driven_cavity,
)
from meshlearn.problems.flow_cases import DIAMETER

DRAG = 5.57953523384
"""Of case 2D-1 (G. Nabh, 1998, by spectral elements)."""
SPEED = 0.2


def drag(flow: FlowSolution) -> float:
    return float(drag_lift(flow, "cylinder", SPEED, DIAMETER)[0])


def obstacle(n: int) -> Mesh:
    """A square body in the middle of a square channel."""
    square = generate.rectangle(3 * n, 3 * n)
    outside = ((square.centroids() - 0.5).abs() > 1 / 6).any(dim=1)
    used, local = torch.unique(square.cells["triangle"][outside], return_inverse=True)
    plain = Mesh.from_cells(square.pos[used], {"triangle": local})
    facets = plain.topology.facets[plain.topology.boundary_facets]
    middle = plain.pos[facets].mean(dim=1)
    sides = {
        "inlet": middle[:, 0] < 1e-9,
        "walls": (middle[:, 1] < 1e-9) | (middle[:, 1] > 1 - 1e-9),
        "body": ((middle - 0.5).abs() < 0.4).all(dim=1),
    }
    tags = {name: facets[here] for name, here in sides.items()}
    return Mesh.from_cells(plain.pos, plain.cells, facet_tags=tags)


def test_the_estimate_is_the_error_of_a_force() -> None:
    inlet = (lambda x: 4 * x[:, 1] * (1 - x[:, 1]), 0.0)
    flow = NavierStokes(0.05, {"inlet": inlet, "walls": 0.0, "body": 0.0})
    coarse, fine = (flow.solve(obstacle(n)) for n in (4, 14))
    for component, tolerance in ((0, 0.25), (1, 0.4)):
        estimate = force_estimate(flow, coarse, "body", component)
        error = float(force(fine, "body")[component] - force(coarse, "body")[component])
        assert float(estimate.cells.sum()) == pytest.approx(float(estimate.total))
        assert estimate.effectivity(error) == pytest.approx(1, abs=tolerance)
    drag, thrice = (force_estimate(flow, coarse, "body", scale=s).cells for s in (1.0, 3.0))
    assert torch.allclose(thrice, 3 * drag)
    # The error of a drag comes from the corners of the body.
    worst = coarse.mesh.centroids()[drag.abs().topk(8).indices]
    assert ((worst - 0.5).abs() < 0.3).all()


@pytest.mark.slow
def test_drag_of_the_dfg_cylinder_on_adapted_meshes() -> None:
    flow, mesh = cylinder_flow(), generate.channel_blocks(16, 6, 20)

    def shares(s: FlowSolution) -> torch.Tensor:
        scale = 2 / (SPEED**2 * DIAMETER)
        return force_estimate(flow, s, "cylinder", scale=scale).cells

    result = adapt(
        flow,
        mesh,
        monitor=FromSolution(lambda s: Indicator(s.mesh, shares(s), order=4, strength=1.0)),
        iterations=2,
        estimate=lambda s: shares(s).abs().sum(),
    )
    errors = [abs(drag(step.solution) - DRAG) for step in result.steps]  # type: ignore[arg-type]
    assert errors[result.best] <= errors[0] / 3
    assert max(errors[1:]) <= errors[0] / 3
    # A tenth of a percent of the drag is the error of the polygon that stands for the circle.
    first = result.steps[0].solution
    assert isinstance(first, FlowSolution)
    assert float(shares(first).sum()) == pytest.approx(DRAG - drag(first), rel=0.1)
    kept = mesh.tagged_nodes("cylinder")
    assert torch.equal(result.mesh.pos[kept], mesh.pos[kept])
    assert result.mesh.num_nodes == mesh.num_nodes == 788
    assert len(result.mesh.inverted_cells()) == 0


def test_messages() -> None:
    cavity = lid_driven_cavity(10)
    mesh = generate.rectangle(3, 3)
    with pytest.raises(MeshError, match="Taylor-Hood"):
        force_estimate(cavity, cavity.solve(mesh, "mini"), "top")
    heavy = NavierStokes(1.0, {"boundary": 0.0}, body=(0.0, -1.0))
    with pytest.raises(MeshError, match="without a body force"):
        force_estimate(heavy, heavy.solve(mesh), "top")
    with pytest.raises(MeshError, match="without an outlet"):
        force_estimate(cavity, cavity.solve(mesh), "top")
