"""Function spaces: numbering of degrees of freedom, interpolation, evaluation, traces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..mesh import CELL_TYPES, Locator, Mesh, MeshError
from .elements import ReferenceElement, corner_weights, reference_element

if TYPE_CHECKING:
    from .places import Outside
    from .traces import Trace

Spec = str | tuple[str, int]


@dataclass(frozen=True)
class Block:
    """One element of a space.

    Attributes:
        name: element name.
        components: 0 for a scalar, else the number of components of a vector of scalars.
        offset: of its degrees of freedom in the space.
        size: how many degrees of freedom it has.
        elements: reference element by cell type.
        dofs: scalar degrees of freedom of each cell `[n_cells of the type, k]` by cell type, before
            offset and components.
    """

    name: str
    components: int
    offset: int
    size: int
    elements: dict[str, ReferenceElement]
    dofs: dict[str, Tensor]

    @property
    def kind(self) -> str:
        """ "scalar", "hdiv" or "hcurl"."""
        return next(iter(self.elements.values())).kind


class FunctionSpace:
    """A finite-element space on a mesh.

    Degrees of freedom are numbered element by element of a mixed space; within one: nodes in the
    mesh's order, then edges (order of `topology.edges`), faces, cells; the components of a vector
    element follow each other at each place. A moved mesh has the same numbering: it depends on
    connectivity only and is kept with the topology.

    Args:
        mesh: cells that fill space; several cell types only with elements that all of them have.
        element: a name of `elements.NAMES`; (name, components) for a vector of them; a list of
            these for a mixed space (`[("P2", 2), "P1"]` is Taylor-Hood).

    Attributes:
        num_dofs: number of degrees of freedom.

    Raises:
        MeshError: unknown element, or none on these cells.
    """

    def __init__(self, mesh: Mesh, element: Spec | Sequence[Spec]) -> None:
        if mesh.dim != mesh.cell_dim:
            raise MeshError(f"no function spaces on {mesh.cell_dim}D cells in {mesh.dim}D space")
        self.mesh = mesh
        self.mixed = isinstance(element, list)
        specs = list(element) if isinstance(element, list) else [element]
        self.specs: tuple[Spec, ...] = tuple(specs)  # type: ignore[arg-type]
        blocks, offset = [], 0
        for spec in self.specs:
            name, components = spec if isinstance(spec, tuple) else (spec, 0)
            elements = {cell: reference_element(name, cell) for cell in mesh.cells}
            if components and next(iter(elements.values())).kind != "scalar":
                raise MeshError(f"element {name!r} is vector-valued already")
            dofs, count = mesh.topology.remember(("dofs", name), partial(_number, mesh, elements))
            size = count * max(components, 1)
            blocks.append(Block(name, components, offset, size, elements, dofs))
            offset += size
        self.blocks, self.num_dofs = tuple(blocks), offset

    @property
    def degree(self) -> int:
        """Largest polynomial degree of the elements."""
        return max(e.degree for block in self.blocks for e in block.elements.values())

    def on(self, mesh: Mesh) -> FunctionSpace:
        """The same space on a moved copy of the mesh."""
        specs = list(self.specs)
        return FunctionSpace(mesh, specs if self.mixed else specs[0])

    def cell_dofs(self, cell: str) -> Tensor:
        """Degrees of freedom of each cell `[n_cells of the type, k]`, block by block."""
        key = ("cell_dofs", self.specs, cell)
        return self.mesh.topology.remember(key, lambda: self._cell_dofs(cell))

    def _cell_dofs(self, cell: str) -> Tensor:
        parts = []
        for block in self.blocks:
            count = max(block.components, 1)
            spread = block.dofs[cell][:, :, None] * count + torch.arange(
                count, device=self.mesh.pos.device
            )
            parts.append(block.offset + spread.flatten(1))
        return torch.cat(parts, dim=1).contiguous()

    def sub(self, index: int) -> Tensor:
        """Degrees of freedom of one element of a mixed space `[k]`."""
        block = self.blocks[index]
        return torch.arange(block.offset, block.offset + block.size, device=self.mesh.pos.device)

    @cached_property
    def dof_points(self) -> Tensor:
        """Where each degree of freedom sits `[num_dofs, d]`; differentiable in the positions."""
        everywhere = []
        for cell, nodes in self.mesh.cells.items():
            corners = self.mesh.pos[geometry_nodes(cell, nodes)]
            parts = []
            for block in self.blocks:
                weights = corner_weights(cell, block.elements[cell].points).to(corners)
                at = torch.einsum("kn,cnd->ckd", weights, corners)
                parts.append(at.repeat_interleave(max(block.components, 1), dim=1))
            everywhere.append(torch.cat(parts, dim=1).flatten(0, 1))
        return torch.cat(everywhere)[self._owner]

    def from_cells(self, values: dict[str, Tensor]) -> Tensor:
        """Coefficients `[num_dofs]` from those of each cell, `[n_cells of the type, k]` by type.

        Columns are those of `cell_dofs`; where cells differ, one of them decides.
        """
        return torch.cat([values[cell].reshape(-1) for cell in self.mesh.cells])[self._owner]

    @property
    def _owner(self) -> Tensor:
        """One place (cell by cell, function by function) of each degree of freedom."""
        key = ("dof_owner", self.specs)
        return self.mesh.topology.remember(key, self._owners)

    def _owners(self) -> Tensor:
        dofs = torch.cat([self.cell_dofs(cell).reshape(-1) for cell in self.mesh.cells])
        owner = torch.zeros(self.num_dofs, dtype=torch.int64, device=dofs.device)
        return owner.scatter(0, dofs, torch.arange(len(dofs), device=dofs.device))

    def interpolate(self, function: Callable[[Tensor], Tensor] | float) -> Tensor:
        """Coefficients of the interpolant `[num_dofs]` of a function `[m, d] -> [m]` or `[m, k]`.

        For elements whose coefficients are point values (not MINI, RT, N: use `project`).

        Raises:
            MeshError: a mixed space, or coefficients that are not point values.
        """
        if self.mixed or not all(e.nodal for b in self.blocks for e in b.elements.values()):
            raise MeshError("interpolate needs one element with point values; use project")
        (block,) = self.blocks
        count = max(block.components, 1)
        points = self.dof_points[::count]
        if not callable(function):
            return torch.full((self.num_dofs,), float(function), dtype=torch.float64).to(points)
        values = function(points)
        expected = (len(points), count) if block.components else (len(points),)
        if values.shape != expected:
            raise MeshError(f"the function must return {list(expected)}, got {list(values.shape)}")
        return values.reshape(-1).to(torch.float64)

    def facet_dofs(self, facets: Tensor, block: int = 0) -> Tensor:
        """Degrees of freedom of one element on the closure of facets, sorted `[k]`.

        Args:
            facets: indices of `topology.facets`.
            block: which element of a mixed space.
        """
        chosen = torch.zeros(self.mesh.topology.num_facets, dtype=torch.bool)
        chosen[facets.cpu()] = True
        out = []
        element = self.blocks[block]
        for cell, of_cell in self.mesh.topology.cell_facets.items():
            reference = element.elements[cell]
            sorted_to = _local_order(cell, self.mesh.cells[cell])
            for local, facet in enumerate(CELL_TYPES[cell].facets):
                hit = chosen.to(of_cell.device)[of_cell[:, local]]
                rows = torch.nonzero(hit).squeeze(1)
                if not len(rows):
                    continue
                on_facet = _dofs_within(reference, sorted_to[rows], facet)
                out.append(element.dofs[cell][rows][on_facet])
        scalar = torch.unique(torch.cat(out)) if out else facets.new_empty(0)
        count = max(element.components, 1)
        spread = scalar[:, None] * count + torch.arange(count, device=scalar.device)
        return element.offset + spread.reshape(-1)

    def component(self, dofs: Tensor, block: int = 0) -> Tensor:
        """Component of each degree of freedom of a vector element `[k]`."""
        element = self.blocks[block]
        return (dofs - element.offset) % max(element.components, 1)

    @cached_property
    def locator(self) -> Locator:
        """Point location in the mesh, built when first used."""
        return Locator(self.mesh)

    def evaluate(self, dofs: Tensor, points: Tensor, outside: Outside = "raise") -> Any:
        """Values `[m]` (`[m, k]`; a tuple for mixed spaces) at points `[m, d]`; see `evaluate`."""
        from .evaluate import evaluate  # it builds on spaces

        return evaluate(self, dofs, points, outside)

    def project(self, function: Any, degree: int | None = None) -> Tensor:
        """Coefficients of the L2 projection of a function; see `evaluate.project`."""
        from .evaluate import project

        return project(self, function, degree)

    def restrict(self, tag: str, block: int | None = None) -> Tensor:
        """Degrees of freedom of the cells of a tag, sorted `[k]`; see `evaluate.restrict`."""
        from .evaluate import restrict

        return restrict(self, tag, block)

    def trace(
        self, dofs: Tensor, on: str | Tensor = "boundary", degree: int | None = None, side: int = 0
    ) -> Trace:
        """Values, gradients and normals on facets; see `traces.trace`."""
        from .traces import trace

        return trace(self, dofs, on, degree, side)

    def __repr__(self) -> str:
        return f"FunctionSpace({', '.join(map(str, self.specs))}; {self.num_dofs} dofs)"


def geometry_nodes(cell: str, nodes: Tensor) -> Tensor:
    """Nodes in the order that maps the reference cell: simplices sorted, others as they are."""
    return nodes.sort(dim=1).values if CELL_TYPES[cell].is_simplex else nodes


def _local_order(cell: str, nodes: Tensor) -> Tensor:
    """Position of each local node in the sorted cell `[n_cells, nodes]`."""
    if CELL_TYPES[cell].is_simplex:
        return nodes.argsort(dim=1).argsort(dim=1)
    return torch.arange(nodes.shape[1], device=nodes.device).expand(nodes.shape)


def _dofs_within(element: ReferenceElement, order: Tensor, facet: tuple[int, ...]) -> Tensor:
    """Mask `[n_cells, k]` of the functions that sit on a facet given by unsorted local nodes."""
    at = order[:, list(facet)]
    inside = torch.zeros(order.shape, dtype=torch.bool, device=order.device).scatter(1, at, True)
    columns = [inside[:, list(entity.nodes)].all(dim=1) for entity in element.entities]
    return torch.stack(columns, dim=1)


def _number(mesh: Mesh, elements: dict[str, ReferenceElement]) -> tuple[dict[str, Tensor], int]:
    """Scalar degrees of freedom of each cell by type, and their number."""
    topology, device = mesh.topology, mesh.pos.device
    per = {1: 0, "edge": 0, "face": 0, "cell": 0}
    keys = {cell: [_place(cell, e) for e in element.entities] for cell, element in elements.items()}
    for cell, element in elements.items():
        for place, entity in zip(keys[cell], element.entities, strict=True):
            per[place] = max(per[place], entity.number + 1)
    start_edge = per[1] * mesh.num_nodes
    n_edges = len(topology.edges) if per["edge"] else 0
    start_face = start_edge + per["edge"] * n_edges
    start_cell = start_face + per["face"] * (topology.num_facets if per["face"] else 0)
    # Cell types differ in how many functions sit inside (Q2 has one, P2 none).
    inside = torch.zeros(mesh.num_cells + 1, dtype=torch.int64, device=device)
    for cell, places in keys.items():
        inside[1 + mesh.cell_ids[cell]] = places.count("cell")
    first_inside = inside.cumsum(0)
    dofs = {}
    for cell, nodes in mesh.cells.items():
        mapped = geometry_nodes(cell, nodes)
        columns = []
        for place, entity in zip(keys[cell], elements[cell].entities, strict=True):
            local = mapped[:, list(entity.nodes)]
            if place == 1:
                columns.append(local[:, 0])
            elif place == "edge":
                columns.append(start_edge + _edge_ids(mesh, local) * per["edge"] + entity.number)
            elif place == "face":
                columns.append(
                    start_face + topology.find_facets(local) * per["face"] + entity.number
                )
            else:
                columns.append(start_cell + first_inside[mesh.cell_ids[cell]] + entity.number)
        dofs[cell] = torch.stack(columns, dim=1)
    return dofs, start_cell + int(first_inside[-1])


def _place(cell: str, entity: Any) -> Any:
    shape, count = CELL_TYPES[cell], len(entity.nodes)
    if count == 1:
        return 1
    if count == shape.num_nodes:
        return "cell"
    return "edge" if count == 2 else "face"


def _edge_ids(mesh: Mesh, pairs: Tensor) -> Tensor:
    """Index in `topology.edges` of node pairs `[k, 2]` (edges are in lexicographic order)."""
    n = mesh.num_nodes
    edges = mesh.topology.edges
    low, high = pairs.amin(dim=1), pairs.amax(dim=1)
    return torch.searchsorted(edges[:, 0] * n + edges[:, 1], low * n + high)
