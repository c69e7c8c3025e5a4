"""A batch of meshes in one call: a disjoint mesh whose parts move as they do alone."""

from __future__ import annotations

import pytest
from torch_geometric.data import Batch

from meshlearn.mesh import Mesh, generate
from meshlearn.monitors import Field, Monitor, ring
from meshlearn.movers import Laplacian, Mover, Variational, Winslow

MEMBERS = [
    generate.rectangle(12, 12),
    generate.rectangle(9, 10, diagonal="crossed"),
    generate.l_shape(6),
]


@pytest.mark.parametrize(
    ("mover", "kind", "tolerance"),
    [
        (Variational(tol=1e-10), "formula", 0.01),
        (Variational(tol=1e-10), "field", 0.05),
        (Winslow(tol=1e-10), "formula", 0.01),
        (Laplacian(tol=1e-9), "formula", 1e-6),
        (Laplacian(tol=1e-9), "field", 1e-6),
    ],
)
def test_members_of_a_batch_move_as_they_do_alone(
    mover: Mover, kind: str, tolerance: float
) -> None:
    # Kinks of a piecewise-linear monitor leave several minima close to each other.
    density = ring((0.5, 0.5), 0.25, 3.0, 8.0)
    batch = Batch.from_data_list(MEMBERS)

    def monitor(mesh: Mesh) -> Monitor:
        return density if kind == "formula" else Field(mesh, density(mesh))

    together = mover.move(batch, monitor(batch))
    assert together.report.inverted_cells == 0
    for k, member in enumerate(MEMBERS):
        alone = mover.move(member, monitor(member))
        mine = together.mesh.pos[batch.batch == k]
        moved = (alone.mesh.pos - member.pos).norm(dim=1).max()
        assert moved > 0.01
        assert (mine - alone.mesh.pos).norm(dim=1).max() < tolerance * moved
