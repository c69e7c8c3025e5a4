"""Coarsening of graphs by connectivity: independent sets, aggregates, and the coarse graph.

All functions take a symmetric adjacency in CSR without a diagonal, run in numpy and scipy in linear
time, and treat disjoint graphs as they would treat each alone.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pyamg.amg_core import standard_aggregation

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_FLAT = 1e-8  # square of the relative width below which coarse points count as lying in a plane
_AMPLIFICATION = 3.0


def adjacency(senders: Ints, receivers: Ints, size: int) -> sp.csr_array:
    """Pattern of ones `[size, size]`, rows are receivers; repeated edges and loops are dropped."""
    keep = senders != receivers
    ones = np.ones(int(keep.sum()))
    pattern = sp.coo_array((ones, (receivers[keep], senders[keep])), shape=(size, size)).tocsr()
    pattern.sum_duplicates()
    pattern.data[:] = 1
    return pattern


def scrambled(index: Ints) -> NDArray[np.uint64]:
    """A well mixed number for each index, the same on every machine (splitmix64)."""
    with np.errstate(over="ignore"):
        x = (index.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def independent_set(graph: sp.csr_array, rank: Ints) -> Bools:
    """A maximal independent set: no two members are neighbours, every other node has one.

    Luby's algorithm (SIAM J. Comput. 15, 1986): of the nodes left, those of higher rank than all
    their neighbours join, and the neighbours leave.

    Args:
        graph: adjacency `[n, n]`.
        rank: distinct numbers, not negative; the nodes to prefer have the higher ones `[n]`.
    """
    member = np.zeros(len(rank), bool)
    left = rank.copy()
    while (left >= 0).any():
        joins = (left >= 0) & (left > _row_max(graph, left))
        member |= joins
        left[joins | (graph @ joins > 0)] = -1
    return member


def nearest_members(graph: sp.csr_array, member: Bools, rank: Ints) -> Ints:
    """Number of the member that each node belongs to: itself, or its neighbour of highest rank."""
    number = np.cumsum(member) - 1
    best = _row_max(graph, np.where(member, rank, -1))
    node_of_rank = np.full(int(rank.max()) + 1, -1)
    node_of_rank[rank] = np.arange(len(rank))
    return np.where(member, number, number[node_of_rank[best]])


def aggregates(graph: sp.csr_array) -> Ints:
    """Aggregate of each node by the algorithm of smoothed aggregation `[n]`.

    Vanek, Mandel & Brezina, Computing 56 (1996); isolated nodes are aggregates of their own.
    """
    n = graph.shape[0]
    label, roots = np.empty(n, np.int32), np.empty(n, np.int32)
    indptr, indices = graph.indptr.astype(np.int32), graph.indices.astype(np.int32)
    count = int(standard_aggregation(n, indptr, indices, label, roots)) if n else 0
    # isolated nodes are numbered below zero, others from 1 or 0 by version: number by first node
    alone = label < 0
    label[alone] = count + 1 + np.arange(int(alone.sum()))
    _, first, group = np.unique(label, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[group.ravel()]


def coarse_graph(graph: sp.csr_array, label: Ints) -> sp.csr_array:
    """Graph of the groups that `label [n]` names: neighbours where any of their nodes are."""
    receivers = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    size = int(label.max()) + 1 if len(label) else 0
    return adjacency(label[graph.indices], label[receivers], size)


def member_weights(graph: sp.csr_array, member: Bools) -> sp.csr_array:
    """Interpolation from an independent set: members keep their value, others take the mean.

    Returns:
        `[n, members]`, rows add up to 1.
    """
    n = graph.shape[0]
    columns = np.flatnonzero(member)
    chosen = sp.csr_array(
        (np.ones(len(columns)), (columns, np.arange(len(columns)))), (n, len(columns))
    )
    others = sp.diags_array((~member).astype(float)) @ graph @ chosen
    return _normalised(sp.csr_array(chosen + others))


def smoothed_weights(graph: sp.csr_array, label: Ints) -> sp.csr_array:
    """Interpolation from aggregates: the share of a node and its neighbours in each one.

    Returns:
        `[n, aggregates]`, rows add up to 1.
    """
    n = len(label)
    plain = sp.csr_array((np.ones(n), (np.arange(n), label)), (n, int(label.max()) + 1))
    return _normalised(sp.csr_array(plain + graph @ plain))


def linear_weights(
    pattern: sp.csr_array, plain: sp.csr_array, fine: Floats, coarse: Floats
) -> sp.csr_array:
    """Interpolation on a pattern that reproduces linear functions where the pattern spans space.

    Moving least squares (Lancaster & Salkauskas, Math. Comp. 37, 1981): of all weights with
    sum_c w_c = 1 and sum_c w_c x_c = x, those nearest to a bump around x. Where the coarse points
    lie on a line or a point, only the functions that they can tell apart are reproduced.

    Args:
        pattern: coarse points to use at each fine point `[n, k]`.
        plain: weights to take where those found would amplify, sum_c |w_c| > 3.
        fine, coarse: positions `[n, d]` and `[k, d]`.
    """
    rows = np.repeat(np.arange(len(fine)), np.diff(pattern.indptr))
    offset = coarse[pattern.indices] - fine[rows]
    distance = np.linalg.norm(offset, axis=1)
    reach = np.maximum(_row_max(pattern, distance, per_entry=True), np.finfo(float).tiny)
    offset, distance = offset / reach[rows, None], distance / reach[rows]
    bump = 1 / (1e-4 + distance**2)
    basis = np.concatenate([np.ones((len(rows), 1)), offset], axis=1)
    add_up = sp.csr_array((np.ones(len(rows)), np.arange(len(rows)), pattern.indptr))
    outer = (bump[:, None, None] * basis[:, :, None] * basis[:, None, :]).reshape(len(rows), -1)
    gram = (add_up @ outer).reshape(len(fine), basis.shape[1], basis.shape[1])
    scale = np.einsum("nii->n", gram)
    inverse = np.linalg.pinv(gram / scale[:, None, None], rcond=_FLAT, hermitian=True)
    factor = inverse[:, :, 0] / scale[:, None]
    weight = bump * np.einsum("ek,ek->e", basis, factor[rows])
    found = sp.csr_array((weight, pattern.indices, pattern.indptr), pattern.shape)
    wild = abs(found).sum(axis=1) > _AMPLIFICATION
    kept = sp.diags_array((~wild).astype(float)) @ found
    found = sp.csr_array(kept + sp.diags_array(wild.astype(float)) @ plain)
    found.eliminate_zeros()
    return _normalised(found)


def _normalised(weights: sp.csr_array) -> sp.csr_array:
    """Rows divided by their sums."""
    return sp.csr_array(sp.diags_array(1 / weights.sum(axis=1)) @ weights)


def _row_max(graph: sp.csr_array, values: NDArray, *, per_entry: bool = False) -> NDArray:  # type: ignore[type-arg]
    """Largest value over each row's entries (nodes' values, or the entries' own); -1 if none."""
    picked = values if per_entry else values[graph.indices]
    padded = np.append(picked, -1).astype(values.dtype)
    found = np.maximum.reduceat(padded, graph.indptr[:-1]) if graph.shape[0] else padded[:0]
    return np.where(np.diff(graph.indptr) > 0, found, -1).astype(values.dtype)
