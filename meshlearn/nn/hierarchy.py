"""Coarser and coarser graphs of a mesh, and the interpolation between them.

A level is a graph; between two levels stands the *prolongation* P, sparse, with rows that add up to
1 (a constant stays a constant). `prolong` is P, `restrict` is P^T with its rows divided by their
sums, which is a weighted mean.

- `coarsened_hierarchy`: from any mesh, by a maximal independent set (boundary nodes first) or by
  the aggregates of algebraic multigrid. With weights that depend on connectivity only it is kept
  with the topology, and moving the nodes costs nothing.
- `nested_hierarchy`: from meshes of the same domain, by P1 interpolation: exact on nested ones.

Both work on a batch, which is one disjoint mesh, and give there what they give mesh by mesh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from ..kernels import Segments, Sparsity, sparse_dense, sparse_transposed_dense
from ..mesh import Locator, Mesh, MeshError
from . import coarsen
from .features import segments

METHODS = ("independent", "aggregation")
WEIGHTS = ("uniform", "linear")


@dataclass(frozen=True)
class Level:
    """A graph: `edge_index [2, m]` sorted by receiver, and its edges by receiver."""

    edge_index: Tensor
    segments: Segments

    @property
    def num_nodes(self) -> int:
        """Number of nodes."""
        return self.segments.size


@dataclass(frozen=True)
class Prolongation:
    """Sparse interpolation from a coarse level to the finer one before it.

    Attributes:
        pattern: where the entries are, a row for each fine node, a column for each coarse one.
        weight: `[k]`, float64; the entries of a row add up to 1.
        picked: the fine node at the place of each coarse one `[n_coarse]`, None if they differ.
    """

    pattern: Sparsity
    weight: Tensor
    picked: Tensor | None

    def prolong(self, values: Tensor) -> Tensor:
        """P x `[n_coarse, ...] -> [n_fine, ...]`."""
        return sparse_dense(self.weight.to(values.dtype), values, self.pattern)

    def transpose(self, values: Tensor) -> Tensor:
        """P^T x `[n_fine, ...] -> [n_coarse, ...]`: for loads and residuals."""
        return sparse_transposed_dense(self.weight.to(values.dtype), values, self.pattern)

    def restrict(self, values: Tensor) -> Tensor:
        """Weighted mean P^T x / P^T 1 `[n_fine, ...] -> [n_coarse, ...]`: for fields."""
        total = self._total.to(values.dtype).reshape(-1, *(1 for _ in values.shape[1:]))
        return self.transpose(values) / total

    def place(self, pos: Tensor) -> Tensor:
        """Positions of the coarse nodes `[n_coarse, d]` from those of the fine ones."""
        return self.restrict(pos) if self.picked is None else pos[self.picked]

    @cached_property
    def _total(self) -> Tensor:
        """P^T 1 `[n_coarse]`."""
        with torch.inference_mode(False):  # autograd must be able to use it later
            return self.transpose(self.weight.new_ones(self.pattern.height))


@dataclass(frozen=True)
class Hierarchy:
    """Levels from the finest (the mesh itself) to the coarsest, and what lies between.

    Attributes:
        levels: graphs `[depth]`.
        prolongations: from level l + 1 to level l `[depth - 1]`.
    """

    levels: tuple[Level, ...]
    prolongations: tuple[Prolongation, ...]

    def __len__(self) -> int:
        return len(self.levels)

    def positions(self, pos: Tensor) -> list[Tensor]:
        """Positions of the nodes of every level, from those of the mesh `[n, d]`."""
        found = [pos]
        for prolongation in self.prolongations:
            found.append(prolongation.place(found[-1]))
        return found

    def __repr__(self) -> str:
        sizes = " > ".join(f"{level.num_nodes:,}" for level in self.levels)
        return f"Hierarchy({sizes} nodes)"


def coarsened_hierarchy(
    mesh: Mesh, levels: int = 3, *, method: str = "independent", weights: str = "uniform"
) -> Hierarchy:
    """Coarse graphs of any mesh or batch.

    Args:
        mesh: the finest level.
        levels: number of levels, the mesh included.
        method: "independent" (coarse nodes are a maximal independent set of the fine ones, boundary
            nodes first) or "aggregation" (coarse nodes are groups of fine ones).
        weights: "uniform" depends on connectivity only; "linear" reproduces linear functions of
            the positions inside the domain (moving least squares).

    Returns:
        The hierarchy; with "uniform" weights it is kept with the topology.
    """
    _check(levels >= 1, f"a hierarchy has at least 1 level, got {levels}")
    _check(method in METHODS, f"method must be one of {METHODS}, got {method!r}")
    _check(weights in WEIGHTS, f"weights must be one of {WEIGHTS}, got {weights!r}")
    if weights == "linear":
        return _coarsened(mesh, levels, method, mesh.pos.detach().cpu().numpy())
    found: Hierarchy = mesh.topology.remember(
        ("hierarchy", levels, method), lambda: _coarsened(mesh, levels, method, None)
    )
    return found


def nested_hierarchy(meshes: Sequence[Mesh], parents: Sequence[Tensor] | None = None) -> Hierarchy:
    """Levels from meshes of one domain, the finest first.

    Args:
        meshes: any cell types; each may be a batch of as many meshes as the others.
        parents: for each mesh but the last, the nodes of the next coarser one whose mean each of
            its nodes is `[n_fine, k]`, -1 where there are fewer (what refinement knows: one parent
            for an old node, two for the middle of an edge). Without it the fine nodes are located
            in the coarse cells and take the P1 interpolation.
    """
    _check(len(meshes) > 0, "a hierarchy needs at least one mesh")
    if parents is not None and len(parents) != len(meshes) - 1:
        raise MeshError(f"{len(meshes)} meshes need {len(meshes) - 1} tables, got {len(parents)}")
    steps = []
    for k, (fine, coarse) in enumerate(pairwise(meshes)):
        matrix = _located(fine, coarse) if parents is None else _averaged(parents[k], coarse)
        steps.append(_prolongation(matrix, _same_place(matrix), fine.pos.device))
    graphs = tuple(Level(mesh.topology.edge_index, segments(mesh)) for mesh in meshes)
    return Hierarchy(graphs, tuple(steps))


def _coarsened(mesh: Mesh, levels: int, method: str, pos: coarsen.Floats | None) -> Hierarchy:
    device = mesh.pos.device
    senders, receivers = mesh.topology.edge_index.cpu().numpy()
    graph = coarsen.adjacency(senders, receivers, mesh.num_nodes)
    border = np.zeros(mesh.num_nodes, bool)
    border[mesh.boundary_nodes.cpu().numpy()] = True
    key = coarsen.scrambled(_own_index(mesh))
    found, steps = [Level(mesh.topology.edge_index, segments(mesh))], []
    for _ in range(levels - 1):
        rank = np.empty(len(key), np.int64)
        rank[np.lexsort((np.arange(len(key)), key, border))] = np.arange(len(key))
        if method == "independent":
            member = coarsen.independent_set(graph, rank)
            label, picked = coarsen.nearest_members(graph, member, rank), np.flatnonzero(member)
            matrix = coarsen.member_weights(graph, member)
            key, border = key[picked], border[picked]
        else:
            label, picked = coarsen.aggregates(graph), None
            matrix = coarsen.smoothed_weights(graph, label)
            key = key[np.unique(label, return_index=True)[1]]
            border = np.bincount(label, border) > 0
        if pos is not None:
            place = pos[picked] if picked is not None else _means(pos, label)
            matrix = _linear(graph, matrix, pos, place, picked)
            pos = place
        steps.append(_prolongation(matrix, picked, device))
        graph = coarsen.coarse_graph(graph, label)
        found.append(_level(graph, device))
    return Hierarchy(tuple(found), tuple(steps))


def _linear(
    graph: sp.csr_array,
    matrix: sp.csr_array,
    fine: coarsen.Floats,
    coarse: coarsen.Floats,
    picked: coarsen.Ints | None,
) -> sp.csr_array:
    """Linearly exact weights on the pattern of `matrix` and of the rows two neighbours away."""
    near = sp.csr_array(matrix + graph @ matrix)
    pattern = sp.csr_array(near + graph @ near)
    if picked is not None:  # a coarse node keeps its own value
        others = np.ones(len(fine))
        others[picked] = 0
        kept = sp.diags_array(1 - others) @ matrix
        pattern = sp.csr_array(sp.diags_array(others) @ pattern + kept)
        pattern.eliminate_zeros()
    pattern.sort_indices()
    return coarsen.linear_weights(pattern, matrix, fine, coarse)


def _located(fine: Mesh, coarse: Mesh) -> sp.csr_array:
    """P1 interpolation of a coarse mesh at fine nodes; those outside take the nearest point."""
    whole, own = _component(coarse), _component(fine)
    locator = Locator(coarse, whole)
    location = locator.find(fine.pos.detach(), component=own)
    columns = locator.simplices[location.simplex].cpu().numpy()
    weight = location.barycentric.cpu().numpy()
    weight = np.where(weight < 1e-12, 0, weight)
    rows = np.repeat(np.arange(len(columns)), columns.shape[1])
    shape = (fine.num_nodes, coarse.num_nodes)
    matrix = sp.csr_array((weight.ravel(), (rows, columns.ravel())), shape)
    matrix.eliminate_zeros()
    return matrix


def _averaged(parents: Tensor, coarse: Mesh) -> sp.csr_array:
    """Mean of the parents of each fine node."""
    table = parents.cpu().numpy()
    if table.ndim != 2 or table.max() >= coarse.num_nodes or (table >= 0).sum(axis=1).min() < 1:
        raise MeshError(
            f"parents must be [n_fine, k] with one to k nodes of the {coarse.num_nodes} coarse "
            f"ones in each row and -1 after them, got {list(parents.shape)}"
        )
    rows, places = np.nonzero(table >= 0)
    weight = 1 / (table >= 0).sum(axis=1)[rows]
    return sp.csr_array((weight, (rows, table[rows, places])), (len(table), coarse.num_nodes))


def _same_place(matrix: sp.csr_array) -> coarsen.Ints | None:
    """The fine node that is each coarse node, None unless all have one."""
    single = np.flatnonzero((np.diff(matrix.indptr) == 1) & (matrix.sum(axis=1) > 1 - 1e-9))
    picked = np.full(matrix.shape[1], -1)
    picked[matrix.indices[matrix.indptr[single]]] = single
    return None if (picked < 0).any() else picked


def _means(pos: coarsen.Floats, label: coarsen.Ints) -> coarsen.Floats:
    count = np.bincount(label)
    return np.stack([np.bincount(label, column) / count for column in pos.T], axis=1)


def _component(mesh: Mesh) -> Tensor | None:
    """Graph of each node of a batch `[n]`, None of a single mesh."""
    return mesh["batch"] if "batch" in mesh else None  # noqa: SIM401  # a Mesh is no dict


def _own_index(mesh: Mesh) -> coarsen.Ints:
    """Index of each node in its own mesh of a batch `[n]`."""
    index = torch.arange(mesh.num_nodes, device=mesh.pos.device)
    if "ptr" in mesh and "batch" in mesh:
        index = index - mesh["ptr"][mesh["batch"]]
    own: coarsen.Ints = index.cpu().numpy()
    return own


def _level(graph: sp.csr_array, device: torch.device) -> Level:
    graph.sort_indices()
    by_receiver = Segments.from_rowptr(_tensor(graph.indptr, device))
    return Level(torch.stack([_tensor(graph.indices, device), by_receiver.receiver]), by_receiver)


def _prolongation(
    matrix: sp.csr_array, picked: coarsen.Ints | None, device: torch.device
) -> Prolongation:
    rowptr, columns = _tensor(matrix.indptr, device), _tensor(matrix.indices, device)
    return Prolongation(
        pattern=Sparsity(rowptr, columns, matrix.shape[1]),
        weight=torch.from_numpy(np.asarray(matrix.data)).to(device),
        picked=None if picked is None else _tensor(picked, device),
    )


def _tensor(array: np.typing.NDArray[np.integer], device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64)).to(device)


def _check(good: bool, message: str) -> None:
    if not good:
        raise MeshError(message)
