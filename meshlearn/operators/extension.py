r"""Dirichlet data as continuous fields, for operators that integrate over the domain.

Values held at the nodes of a boundary are nothing to an integral over the domain: their share of
the volume goes to 0 with the width of a cell, and with it all that a network learnt from them. In
the place of the pair (chi_D, g) of an output stand

    (-lap + 1 / L^2) e   = 0,          e = g    at the held nodes
    (-lap + 1 / L^2) phi = c / L^2,    phi = 0  at the held nodes, cut at 1

in P1, with L the diagonal of the bounding box of each mesh: e carries the values into the domain,
phi (0 at the held nodes, about the distance to them nearby) tells where they are. Both converge
when the mesh is refined. Where nothing is held, e = 0 and phi = 1. The network then gives what is
to be added to e:

    u = e + N(mesh, [E f, phi, e])
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..fem import Dirichlet, FunctionSpace, assemble, dot, grad
from ..fem.solve import LinearSolver
from ..mesh import Mesh, MeshError
from .base import Operator
from .sites import site_graph
from .variables import Variable, columns_of

CONDITIONS = ("extended", "nodal")
WEIGHTS = ("volume", "average", "mean", "none")
_SCALE = 64.0
"""c: phi is about 1 in the middle of a square with a hole."""
_KEPT = 8
"""Factorisations of one mesh that are kept, one for each set of held degrees of freedom."""


@dataclass(frozen=True)
class Extension:
    """The equation of one mesh or batch.

    Attributes:
        space: P1, or P2 for sites of P2.
        matrix: of -lap + 1 / L^2.
        load: of c / L^2 `[n]`.
    """

    space: FunctionSpace
    matrix: Tensor
    load: Tensor
    _solvers: dict[bytes, LinearSolver] = field(default_factory=dict, repr=False, compare=False)

    def solver(self, dofs: Tensor) -> LinearSolver:
        """With 0 at held degrees of freedom `[k]`; the last ones asked for are kept."""
        key = dofs.cpu().numpy().tobytes()
        if key not in self._solvers:
            if len(self._solvers) >= _KEPT:
                self._solvers.clear()
            with torch.inference_mode(False):  # autograd must be able to use it later
                nothing = torch.zeros(len(dofs)).to(self.matrix)
                held = Dirichlet(self.space, dofs.clone(), nothing)
                self._solvers[key] = LinearSolver(self.matrix, [held], space=self.space)
        return self._solvers[key]


def check_conditions(conditions: str) -> None:
    """That a setting is one of `CONDITIONS`.

    Raises:
        MeshError: it is not.
    """
    if conditions not in CONDITIONS:
        raise MeshError(f"conditions must be one of {CONDITIONS}, got {conditions!r}")


def boxes(mesh: Mesh) -> tuple[Tensor, Tensor, Tensor]:
    """Bounding boxes: graph of each node `[n]`, lower corners and sides `[graphs, d]`."""
    graph, pos = site_graph(mesh, "P1"), mesh.pos.detach()
    count = int(graph.max()) + 1
    index = graph[:, None].expand_as(pos)
    empty = pos.new_zeros(count, mesh.dim)
    lower = empty.scatter_reduce(0, index, pos, "amin", include_self=False)
    upper = empty.scatter_reduce(0, index, pos, "amax", include_self=False)
    return graph, lower, upper - lower


def extension(mesh: Mesh, element: str = "P1") -> Extension:
    """The equation of `extended` at the sites of an element; made once for many calls."""
    graph, _, sides = boxes(mesh)
    screen = torch.empty(mesh.num_cells).to(mesh.pos)
    for name, nodes in mesh.cells.items():
        screen[mesh.cell_ids[name]] = 1 / sides[graph[nodes[:, 0]]].square().sum(dim=1)
    space = FunctionSpace(mesh, element)
    with torch.no_grad():
        matrix = assemble(lambda u, v, w: dot(grad(u), grad(v)) + w.k * u * v, space, k=screen)
        mass = assemble(lambda u, v, w: w.k * u * v, space, k=_SCALE * screen)
        load = mass @ torch.ones(space.num_dofs).to(mesh.pos)
    return Extension(space, matrix, load)


def extended(
    nodes: Tensor, outputs: Sequence[Variable], equation: Extension
) -> tuple[Tensor, Tensor]:
    """Node features of `Operator`, with phi and e for chi_D and g.

    Args:
        nodes: `[n, columns_in]`; the last columns are chi_D and g of each output.
        outputs: of the operator.
        equation: of the mesh.

    Returns:
        As many columns, differentiable in g, and e of each output `[n, columns_out]`.
    """
    columns = list(nodes.unbind(dim=1))
    marks, values = condition_columns(nodes, outputs)
    for mark, value in zip(marks, values, strict=True):
        pair = _solved(columns[mark], columns[value].double(), equation)
        columns[mark], columns[value] = (found.to(nodes.dtype) for found in pair)
    found = torch.stack(columns, dim=1)
    return found, found[:, values]


def condition_columns(nodes: Tensor, outputs: Sequence[Variable]) -> tuple[list[int], list[int]]:
    """Where chi_D (phi) and g (e) of each column of the outputs are in the features of nodes."""
    given = nodes.shape[1] - 2 * sum(variable.width for variable in outputs)
    marks: list[int] = []
    values: list[int] = []
    for variable, own in columns_of(outputs):
        first = given + 2 * own.start
        marks += range(first, first + variable.width)
        values += range(first + variable.width, first + 2 * variable.width)
    return marks, values


def _solved(mark: Tensor, value: Tensor, equation: Extension) -> tuple[Tensor, Tensor]:
    """phi and e `[n]`."""
    dofs = torch.nonzero(mark > 0.5)[:, 0]
    if not len(dofs):
        return torch.ones_like(value), torch.zeros_like(value)
    held = Dirichlet(equation.space, dofs, value[dofs])
    right = torch.stack([equation.load, torch.zeros_like(equation.load)], dim=1)
    # both columns take g at the held nodes: their difference takes 0
    both, e = equation.solver(dofs).with_values([held])(right).unbind(dim=1)
    return (both - e).clamp(max=1.0), e


def zero_where_held(
    nodes: Tensor, outputs: Sequence[Variable], equation: Extension
) -> Callable[[Tensor], Tensor]:
    """(-lap + 1 / L^2)^-1 with 0 at the held sites of each output.

    Args:
        nodes: of `Operator`, `[n, columns_in]`, with chi_D.
        outputs: of the operator.
        equation: of the mesh.

    Returns:
        A function from loads `[n, columns_out, k]` to fields of the same shape and precision.
    """
    groups: dict[bytes, tuple[Tensor, list[int]]] = {}
    for column, mark in enumerate(condition_columns(nodes, outputs)[0]):
        dofs = torch.nonzero(nodes[:, mark] > 0.5)[:, 0]
        groups.setdefault(dofs.cpu().numpy().tobytes(), (dofs, []))[1].append(column)

    def solve(loads: Tensor) -> Tensor:
        fields = torch.zeros_like(loads)
        for dofs, columns in groups.values():
            right = loads[:, columns].flatten(1).double()
            found = equation.solver(dofs).change(right).to(loads.dtype)
            fields[:, columns] = found.reshape(len(loads), len(columns), -1)
        return fields

    return solve


class IntegralOperator(Operator):
    """Base of the operators that integrate over the domain; P0 and P1 fields.

    Args:
        inputs, outputs, boundary: see `Operator`.
        conditions: "extended" shows phi and e to the network and adds e to its result; "nodal"
            shows chi_D and g, and the result changes with the width of the cells at the boundary.
        weights: of the nodes in the integrals, see `gno.balls`.
        dim: dimension of space.
    """

    def __init__(
        self,
        inputs: Sequence[Variable | str | Sequence[Any]],
        outputs: Sequence[Variable | str | Sequence[Any]],
        boundary: str,
        *,
        dim: int,
        conditions: str,
        weights: str,
    ) -> None:
        super().__init__(inputs, outputs, boundary)
        self._check_nodal()
        check_conditions(conditions)
        if weights not in WEIGHTS:
            raise MeshError(f"weights must be one of {WEIGHTS}, got {weights!r}")
        self.config |= {"dim": dim, "conditions": conditions, "weights": weights}

    @abstractmethod
    def geometry(self, mesh: Mesh) -> Any:
        """What the network needs of a mesh."""

    @abstractmethod
    def network(self, mesh: Mesh, nodes: Tensor, geometry: Any) -> Tensor:
        """Features `[n, columns_in]` to `[n, columns_out]`, float32."""

    def prepare(self, mesh: Mesh) -> tuple[Extension | None, Any]:
        """The equation of the extension, and the geometry of the integrals."""
        self._check_dim(mesh)
        known = extension(mesh) if self.config["conditions"] == "extended" else None
        return known, self.geometry(mesh)

    def process(self, mesh: Mesh, nodes: Tensor, prepared: tuple[Extension | None, Any]) -> Tensor:
        """See `Operator`."""
        equation, geometry = prepared
        if equation is None:
            return self.network(mesh, nodes, geometry)
        nodes, carried = extended(nodes, self.outputs, equation)
        return carried + self.network(mesh, nodes, geometry)
