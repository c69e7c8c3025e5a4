"""Everything about a mesh that depends on connectivity only.

A `Topology` is immutable, computed lazily, and shared by every moved copy of a mesh: moving the
nodes never recomputes it. Sorting and pairing run in numpy/scipy on the CPU (linear or n log n);
the results are int64 tensors on the device of the mesh.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from .cells import CELL_TYPES, NAMES
from .errors import MeshError

IntArray = NDArray[np.int64]
_SHOWN = 3


class Topology:
    """Connectivity of a mesh: cells, edges, facets, adjacency, boundary, vertex patches.

    Args:
        cell_index: nodes of all cells, one after the other `[sum of nodes per cell]`.
        cell_type: code of each cell (position in `cells.NAMES`) `[n_cells]`.
        num_nodes: number of nodes.
    """

    def __init__(self, cell_index: Tensor, cell_type: Tensor, num_nodes: int) -> None:
        self.num_nodes = num_nodes
        self.num_cells = int(cell_type.numel())
        self.device = cell_index.device
        self.cells, self.cell_ids = _blocks(cell_index, cell_type)
        self._elsewhere: dict[torch.device, Topology] = {self.device: self}
        self._remembered: dict[Any, Any] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Topology:
        return self  # immutable: copies of a mesh share it

    def to(self, device: torch.device) -> Topology:
        """The same topology on another device (computed parts are copied, and kept for reuse)."""
        if device not in self._elsewhere:
            other = object.__new__(Topology)
            other.__dict__.update({k: _to(v, device) for k, v in self.__dict__.items()})
            other.device, other._remembered = device, {}
            self._elsewhere[device] = other
        return self._elsewhere[device]

    def remember(self, key: Any, build: Callable[[], Any]) -> Any:
        """What another room derives from connectivity (`build()`), computed once and shared."""
        if key not in self._remembered:
            with torch.inference_mode(False):  # autograd must be able to use it later
                self._remembered[key] = build()
        return self._remembered[key]

    @property
    def cell_dim(self) -> int:
        """Topological dimension of the cells."""
        return max(CELL_TYPES[name].dim for name in self.cells)

    # -- the graph -----------------------------------------------------------------------------

    @cached_property
    def _adjacency(self) -> sp.csr_array:
        """Symmetric node-node pattern with sorted columns `[n, n]`."""
        pairs = [
            cell[:, [edge[k] for edge in CELL_TYPES[name].edges]].reshape(-1)
            for name, cell in self._numpy_cells().items()
            for k in (0, 1)
        ]
        first, second = np.concatenate(pairs[0::2]), np.concatenate(pairs[1::2])
        pattern = sp.coo_array(
            (np.ones(2 * len(first), np.int8), (np.r_[first, second], np.r_[second, first])),
            shape=(self.num_nodes, self.num_nodes),
        ).tocsr()
        pattern.sum_duplicates()
        return pattern

    @cached_property
    def rowptr(self) -> Tensor:
        """Where each receiver's edges begin in `edge_index` `[n + 1]`."""
        return self._tensor(self._adjacency.indptr)

    @cached_property
    def edge_index(self) -> Tensor:
        """Senders and receivers, both directions, sorted by receiver `[2, n_edges]`."""
        pattern = self._adjacency
        receiver = np.repeat(np.arange(self.num_nodes), np.diff(pattern.indptr))
        return self._tensor(np.stack([pattern.indices.astype(np.int64), receiver]))

    @cached_property
    def edges(self) -> Tensor:
        """Undirected edges, lower node first, in lexicographic order `[n_edges / 2, 2]`."""
        sender, receiver = self.edge_index
        keep = receiver < sender
        return torch.stack([receiver[keep], sender[keep]], dim=1)

    # -- vertex patches ------------------------------------------------------------------------

    @cached_property
    def _patches(self) -> tuple[Tensor, Tensor]:
        node = np.concatenate([cell.reshape(-1) for cell in self._numpy_cells().values()])
        owner = np.concatenate(
            [
                np.repeat(_np(self.cell_ids[name]), cell.shape[1])
                for name, cell in self.cells.items()
            ]
        )
        order = np.lexsort((owner, node))
        counts = np.bincount(node, minlength=self.num_nodes)
        return self._tensor(np.r_[0, np.cumsum(counts)]), self._tensor(owner[order])

    @property
    def node_cells_ptr(self) -> Tensor:
        """Where each node's patch begins in `node_cells` `[n + 1]`."""
        return self._patches[0]

    @property
    def node_cells(self) -> Tensor:
        """Cells around each node, node after node (CSR with `node_cells_ptr`)."""
        return self._patches[1]

    # -- facets --------------------------------------------------------------------------------

    @cached_property
    def _facets(self) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        nodes, owner = self._half_facets()
        order, new, facet_of = _group(_sorted_nodes(nodes), self.num_nodes)
        counts = np.diff(np.r_[np.flatnonzero(new), len(order)])
        if (counts > 2).any():
            first = order[np.flatnonzero(new)[counts > 2][0]]
            where = [int(c) for c in np.sort(owner[facet_of == facet_of[first]])[:_SHOWN]]
            raise MeshError(
                f"non-manifold mesh: {int((counts > 2).sum())} facets belong to more than two "
                f"cells, first {sorted(set(nodes[first].tolist()))} shared by cells {where}; "
                "remove the duplicate or overlapping cells"
            )
        starts = order[new]
        facet_cells = np.full((len(starts), 2), -1)
        facet_cells[:, 0] = owner[starts]
        second = order[np.flatnonzero(new)[counts == 2] + 1]
        facet_cells[counts == 2, 1] = owner[second]
        cell_facets, begin = {}, 0
        for name, cell in self.cells.items():
            n_local = len(CELL_TYPES[name].facets)
            size = len(cell) * n_local
            block = facet_of[begin : begin + size].reshape(n_local, len(cell)).T
            cell_facets[name] = self._tensor(np.ascontiguousarray(block))
            begin += size
        return self._tensor(nodes[starts]), self._tensor(facet_cells), cell_facets

    @property
    def facets(self) -> Tensor:
        """Nodes of each facet, outward from its first cell `[n_facets, nodes per facet]`.

        Where triangles and quads mix, a triangle repeats its last node.
        """
        return self._facets[0]

    @property
    def facet_cells(self) -> Tensor:
        """The two cells of each facet, -1 outside the domain `[n_facets, 2]`."""
        return self._facets[1]

    @property
    def cell_facets(self) -> dict[str, Tensor]:
        """Facets of each cell, per type, in the local order of `CellType.facets`."""
        return self._facets[2]

    @property
    def num_facets(self) -> int:
        """Number of facets, inner ones counted once."""
        return len(self.facets)

    @cached_property
    def boundary_facets(self) -> Tensor:
        """Facets with one cell, sorted `[n_boundary_facets]`."""
        return torch.nonzero(self.facet_cells[:, 1] < 0).squeeze(1)

    @cached_property
    def boundary_nodes(self) -> Tensor:
        """Nodes of the boundary facets, sorted `[n_boundary_nodes]`."""
        return torch.unique(self.facets[self.boundary_facets])

    @cached_property
    def cell_neighbours(self) -> dict[str, Tensor]:
        """Cell across each facet of each cell, -1 outside, per type `[k, facets per cell]`."""
        out = {}
        for name, facets in self.cell_facets.items():
            pair = self.facet_cells[facets]
            own = self.cell_ids[name][:, None]
            out[name] = torch.where(pair[..., 0] == own, pair[..., 1], pair[..., 0])
        return out

    def find_facets(self, nodes: Tensor) -> Tensor:
        """Indices of facets given by their nodes in any order.

        Args:
            nodes: `[k, w]`; a triangle among quads repeats a node.

        Returns:
            Facet indices `[k]`.

        Raises:
            MeshError: a row is not a facet of the mesh.
        """
        width = self.facets.shape[1]
        wanted = _as_wide(_sorted_nodes(_np(nodes)), width)
        wanted[((wanted < 0) | (wanted >= self.num_nodes)).any(axis=1)] = -1  # a node of no facet
        known = _sorted_nodes(_np(self.facets))
        order, new, group = _group(np.concatenate([known, wanted]), self.num_nodes)
        first = order[new]  # stable: a known facet comes first in its group
        found = first[group[len(known) :]]
        if (found >= len(known)).any():
            bad = np.flatnonzero(found >= len(known))
            shown = [nodes[int(i)].tolist() for i in bad[:_SHOWN]]
            raise MeshError(f"{len(bad)} of the given facets are not facets of any cell: {shown}")
        return self._tensor(found)

    # -- helpers -------------------------------------------------------------------------------

    def _numpy_cells(self) -> dict[str, IntArray]:
        return {name: _np(cell) for name, cell in self.cells.items()}

    def _half_facets(self) -> tuple[IntArray, IntArray]:
        """Facets seen from each cell: nodes (widened) and owner; by type, local index first."""
        width = max(len(f) for name in self.cells for f in CELL_TYPES[name].facets)
        nodes, owner = [], []
        for name, cell in self._numpy_cells().items():
            for facet in CELL_TYPES[name].facets:
                nodes.append(_widen(cell[:, list(facet)], width))
                owner.append(_np(self.cell_ids[name]))
        return np.concatenate(nodes), np.concatenate(owner)

    def _tensor(self, array: NDArray[np.integer]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64)).to(self.device)


def _blocks(cell_index: Tensor, cell_type: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split the flat connectivity by cell type (views where there is one type)."""
    present = torch.unique(cell_type).tolist()
    types = {NAMES[code]: CELL_TYPES[NAMES[code]] for code in present}
    if len(types) == 1:
        (name, cell), ids = next(iter(types.items())), torch.arange(len(cell_type))
        return {name: cell_index.view(-1, cell.num_nodes)}, {name: ids.to(cell_index.device)}
    sizes = torch.tensor([CELL_TYPES[name].num_nodes for name in NAMES], device=cell_type.device)
    count = sizes[cell_type.long()]
    start = torch.cumsum(count, 0) - count
    first_seen = sorted(types, key=lambda name: int((cell_type == NAMES.index(name)).nonzero()[0]))
    cells, ids_of = {}, {}
    for name in first_seen:
        ids = torch.nonzero(cell_type == NAMES.index(name)).squeeze(1)
        offsets = torch.arange(types[name].num_nodes, device=cell_index.device)
        cells[name], ids_of[name] = cell_index[start[ids][:, None] + offsets], ids
    return cells, ids_of


def _group(rows: IntArray, num_nodes: int) -> tuple[IntArray, NDArray[np.bool_], IntArray]:
    """Group equal rows of node indices: stable order, group starts in it, group of each row."""
    keys = _keys(rows, num_nodes)
    order = np.lexsort(keys[::-1]) if len(keys) > 1 else np.argsort(keys[0], kind="stable")
    new = np.ones(len(order), bool)
    new[1:] = np.any([key[order][1:] != key[order][:-1] for key in keys], axis=0)
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(new) - 1
    return order, new, group


def _keys(rows: IntArray, num_nodes: int) -> list[IntArray]:
    """Pack node tuples two to an int64 (safe below 3e9 nodes), in lexicographic order."""
    columns = list(rows.T)
    return [
        columns[i] * num_nodes + columns[i + 1] if i + 1 < len(columns) else columns[i]
        for i in range(0, len(columns), 2)
    ]


def _widen(nodes: IntArray, width: int) -> IntArray:
    """Repeat the last node up to `width` columns."""
    missing = width - nodes.shape[1]
    return np.concatenate([nodes, np.repeat(nodes[:, -1:], missing, axis=1)], axis=1)


def _sorted_nodes(nodes: IntArray) -> IntArray:
    """Sort each row; the repeated node of a triangle among quads goes to the end."""
    out = np.sort(nodes, axis=1)
    if out.shape[1] == 4:
        for i in (1, 0):
            twice = out[:, i] == out[:, i + 1]
            out[twice, i + 1 : 3] = out[twice, i + 2 :]
    return out


def _as_wide(rows: IntArray, width: int) -> IntArray:
    """Sorted facet nodes with `width` columns; what does not fit becomes -1, no facet."""
    if rows.shape[1] <= width:
        return _widen(rows, width)
    fits = (rows[:, width - 1 :] == rows[:, width - 1 : width]).all(axis=1)
    return np.where(fits[:, None], rows[:, :width], -1)


def _np(tensor: Tensor) -> IntArray:
    array: IntArray = tensor.cpu().numpy()
    return array


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _to(item, device) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_to(item, device) for item in value)
    return value
