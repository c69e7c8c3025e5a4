r"""Graph neural diffusion (GRAND).

    dX/dt = L X,   L = A(X) - I,   A = mean over heads of softmax_j(q_i . k_j / sqrt(d))

over the edges j -> i of the mesh. "linear" takes A of the encoded features once, "nonlinear" at the
beginning of each step. A step is X + dt L X ("explicit") or solves (I - dt L) X' = X ("implicit").
With L = -M_L^-1 K (`heat_generator`) a step is one of finite elements for the heat equation with
lumped mass. Chamberlain et al., "GRAND: graph neural diffusion", ICML 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..fem import FunctionSpace, assemble, dot, grad, solve
from ..fem.p1 import lumped_mass
from ..fem.sparse import csr_matrix, csr_values, rows_of
from ..kernels import gather, row_pointers, segment_softmax, sparse_dense
from ..mesh import Mesh, MeshError
from ..nn import mlp, segments
from .base import Operator
from .variables import Variable

KINDS = ("linear", "nonlinear")
SCHEMES = ("explicit", "implicit")


@dataclass(frozen=True)
class Generator:
    """A sparse matrix L on the graph of a mesh.

    Attributes:
        edge: its entry at each edge, row receiver, column sender `[m]`.
        node: its diagonal `[n]`.
    """

    edge: Tensor
    node: Tensor


def heat_generator(mesh: Mesh, conductivity: Tensor | None = None) -> Generator:
    """-M_L^-1 K of P1 elements, float64.

    Args:
        mesh: triangles, tetrahedra or lines: K then lives on the edges.
        conductivity: of each cell `[n_cells]`; 1 by default.

    Raises:
        MeshError: another cell type.
    """
    if not set(mesh.cells) <= {"line", "triangle", "tetra"}:
        raise MeshError(f"heat_generator needs simplices, got {', '.join(mesh.cells)}")
    space = FunctionSpace(mesh, "P1")
    k = torch.ones(mesh.num_cells).to(mesh.pos) if conductivity is None else conductivity
    matrix = assemble(lambda u, v, w: w.k * dot(grad(u), grad(v)), space, k=k)
    row, values = rows_of(matrix), csr_values(matrix)
    own = row == matrix.col_indices()
    mass = lumped_mass(mesh)
    # rows and columns are sorted, as the mesh's edges are
    return Generator(-values[~own] / mass[row[~own]], -values[own] / mass)


def step(mesh: Mesh, values: Tensor, generator: Generator, dt: float, scheme: str) -> Tensor:
    """One step of dX/dt = L X.

    Args:
        mesh: the graph.
        values: X `[n, k]`.
        generator: L.
        dt: time step.
        scheme: "explicit" or "implicit"; the latter solves in float64.

    Returns:
        `[n, k]`, in the precision of the values.

    Raises:
        MeshError: an unknown scheme.
    """
    if scheme not in SCHEMES:
        raise MeshError(f"scheme must be one of {SCHEMES}, got {scheme!r}")
    if scheme == "explicit":
        moved = sparse_dense(generator.edge.to(values), values, segments(mesh).sparsity)
        change = moved + generator.node.to(values)[:, None] * values
        return values + dt * change
    order, rowptr, columns = _with_diagonal(mesh)
    entries = torch.cat([-dt * generator.edge.double(), 1 - dt * generator.node.double()])[order]
    matrix = csr_matrix(rowptr, columns, entries, (mesh.num_nodes, mesh.num_nodes))
    return solve(matrix, values.double(), method="direct").to(values)


class GraphDiffusion(Operator):
    """Features diffuse along the edges of the mesh.

    Args:
        inputs, outputs, boundary: see `Operator`; P0 and P1 fields.
        kind: "linear" or "nonlinear".
        scheme: "explicit" (stable for dt <= 1) or "implicit" (for any).
        width: of the features, a multiple of `heads`.
        heads: of the attention.
        time: how long.
        steps: in how many steps.
    """

    def __init__(
        self,
        inputs: Sequence[Variable | str | Sequence[Any]],
        outputs: Sequence[Variable | str | Sequence[Any]],
        boundary: str = "exact",
        *,
        kind: str = "linear",
        scheme: str = "explicit",
        width: int = 32,
        heads: int = 4,
        time: float = 8.0,
        steps: int = 16,
    ) -> None:
        super().__init__(inputs, outputs, boundary)
        self._check_nodal()
        for name, value, known in (("kind", kind, KINDS), ("scheme", scheme, SCHEMES)):
            if value not in known:
                raise MeshError(f"{name} must be one of {known}, got {value!r}")
        if heads < 1 or width % heads or steps < 1 or not time > 0:
            raise MeshError(
                f"width must be a multiple of heads, steps and time positive, got {width}, {heads},"
                f" {steps}, {time}"
            )
        options = {"kind": kind, "scheme": scheme, "width": width, "heads": heads}
        self.config |= {**options, "time": time, "steps": steps}
        self.encode = mlp([self.columns_in, width, width], norm=False)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.decode = mlp([width, width, self.columns_out], norm=False)

    def attention(self, mesh: Mesh, values: Tensor) -> Generator:
        """A(X) - I of features `[n, width]`."""
        by_receiver, sender = segments(mesh), mesh.topology.edge_index[0]
        query = gather(self.query(values), by_receiver.receiver)
        key = gather(self.key(values), sender)
        heads = self.config["heads"]
        parts = (query * key).view(len(sender), heads, -1)
        score = parts.sum(dim=2) / parts.shape[2] ** 0.5
        weight = segment_softmax(score.float(), by_receiver).mean(dim=1)
        return Generator(weight, -torch.ones_like(values[:, 0]))

    def evolve(self, mesh: Mesh, values: Tensor, generator: Generator | None = None) -> Tensor:
        """Features `[n, k]` after `time`.

        Args:
            mesh: the graph.
            values: at the beginning.
            generator: takes the place of the attention.
        """
        steps, scheme = self.config["steps"], self.config["scheme"]
        dt, renewed = self.config["time"] / steps, self.config["kind"] == "nonlinear"
        now = self.attention(mesh, values) if generator is None else generator
        for k in range(steps):
            if k and renewed and generator is None:
                now = self.attention(mesh, values)
            values = step(mesh, values, now, dt, scheme)
        return values

    def process(self, mesh: Mesh, nodes: Tensor, prepared: Any) -> Tensor:
        """See `Operator`."""
        return self.decode(self.evolve(mesh, self.encode(nodes)))


def _with_diagonal(mesh: Mesh) -> tuple[Tensor, Tensor, Tensor]:
    """Order of edges and diagonal in CSR, row pointers and columns; kept with the topology."""

    def build() -> tuple[Tensor, Tensor, Tensor]:
        own = torch.arange(mesh.num_nodes, device=mesh.pos.device)
        sender, receiver = mesh.topology.edge_index
        row, column = torch.cat([receiver, own]), torch.cat([sender, own])
        order = (row * mesh.num_nodes + column).argsort()
        counts = torch.bincount(row, minlength=mesh.num_nodes)
        return order, row_pointers(counts), column[order]

    found = mesh.topology.remember("edges_with_diagonal", build)
    return cast("tuple[Tensor, Tensor, Tensor]", found)
