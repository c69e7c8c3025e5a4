"""Riemannian metrics as nodal fields of SPD matrices: build, limit, normalise, combine, grade.

A metric M prescribes unit edges: sqrt(e^T M e) = 1, so a size h in a direction is an eigenvalue
h^-2 there. All functions take and return matrices `[n, d, d]`; wrap them in `Field` to move a mesh.

Alauzet & Loseille, "A decade of progress on anisotropic mesh adaptation", Comput. Aided Des. 72
(2016); Loseille & Alauzet, SIAM J. Numer. Anal. 49 (2011) for the L^p normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..fem.p1 import simplex_volumes, simplices
from ..fem.recovery import quadrature, recover
from ..mesh import Mesh, MeshError


def hessian_metric(mesh: Mesh, u: Tensor) -> Tensor:
    """|H| of a nodal field: its recovered Hessian with absolute eigenvalues `[n, d, d]`."""
    return absolute(recover(mesh, u).hessian)


def absolute(matrix: Tensor) -> Tensor:
    """Symmetric matrices with absolute eigenvalues `[n, d, d]`."""
    values, vectors = torch.linalg.eigh(matrix)
    return _composed(values.abs(), vectors)


def limit(
    metric: Tensor,
    h_min: float | None = None,
    h_max: float | None = None,
    max_anisotropy: float | None = None,
) -> Tensor:
    """Sizes within [h_min, h_max] and ratios of sizes up to `max_anisotropy` (finer side kept).

    Args:
        metric: symmetric, positive semi-definite where `h_max` or `max_anisotropy` makes it
            definite.
        h_min, h_max: smallest and largest size, in the mesh's units.
        max_anisotropy: largest ratio of two sizes at a node, at least 1.
    """
    if h_min is not None and h_max is not None and not 0 < h_min <= h_max:
        raise MeshError(f"0 < h_min <= h_max is needed, got {h_min} and {h_max}")
    if max_anisotropy is not None and max_anisotropy < 1:
        raise MeshError(f"max_anisotropy must be at least 1, got {max_anisotropy}")
    values, vectors = torch.linalg.eigh(metric)
    low = None if h_max is None else h_max**-2
    high = None if h_min is None else h_min**-2
    if low is not None or high is not None:
        values = values.clamp(low, high)
    if max_anisotropy is not None:
        values = torch.maximum(values, values.amax(dim=1, keepdim=True) / max_anisotropy**2)
    return _composed(values, vectors)


def complexity(mesh: Mesh, metric: Tensor) -> float:
    """C = integral of sqrt(det M): how many unit cells (up to a constant) the metric asks for."""
    return float(_integral(mesh, metric, 0.5))


def normalise(mesh: Mesh, metric: Tensor, target: float, p: float = 2.0) -> Tensor:
    """The metric of complexity `target` that minimises the interpolation error in L^p.

    M <- (C_T / int det^(p / (2 p + d)))^(2 / d) det^(-1 / (2 p + d)) M.

    Args:
        mesh: mesh of the metric.
        metric: usually `hessian_metric`, positive definite.
        target: complexity C_T.
        p: norm, at least 1; infinity leaves the metric's own shape.
    """
    d = mesh.dim
    if p < 1 or target <= 0:
        raise MeshError(f"p >= 1 and a positive complexity are needed, got {p} and {target}")
    exponent = 0.5 if p == float("inf") else p / (2 * p + d)
    factor = (target / _integral(mesh, metric, exponent)) ** (2 / d)
    local = (
        1.0 if p == float("inf") else torch.linalg.det(metric)[:, None, None] ** (-1 / (2 * p + d))
    )
    return factor * local * metric


def intersect(first: Tensor, second: Tensor) -> Tensor:
    """The coarsest metric at least as fine as both, in every direction `[n, d, d]`."""
    root, inverse_root = _roots(first)
    values, vectors = torch.linalg.eigh(inverse_root @ second @ inverse_root)
    frame = root @ vectors
    return (frame * values.clamp(min=1.0)[:, None, :]) @ frame.transpose(1, 2)


def average(metrics: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
    """Log-Euclidean mean of several metrics `[n, d, d]`.

    Args:
        metrics: at least one.
        weights: one a metric, with positive sum; equal by default.
    """
    given = [1.0] * len(metrics) if weights is None else list(weights)
    shares = torch.tensor(given, dtype=torch.float64)
    if len(shares) != len(metrics) or not float(shares.sum()) > 0:
        raise MeshError(f"{len(metrics)} metrics need as many weights with a positive sum")
    shares = (shares / shares.sum()).to(metrics[0])
    logs = []
    for metric in metrics:
        values, vectors = torch.linalg.eigh(metric)
        logs.append(_composed(values.log(), vectors))
    mean = torch.einsum("k,knij->nij", shares, torch.stack(logs))
    values, vectors = torch.linalg.eigh(mean)
    return _composed(values.exp(), vectors)


def grade(mesh: Mesh, metric: Tensor, gradation: float = 1.3, max_sweeps: int = 50) -> Tensor:
    """Bound how fast sizes may grow from node to node.

    Every node's metric spreads along edges, coarsened by (1 + length ln(gradation))^-2 with the
    length measured in it, and is intersected with the neighbour's (Alauzet, Finite Elem. Anal.
    Des. 46 (2010)), until nothing changes.

    Args:
        mesh: mesh of the metric.
        metric: `[n, d, d]`, positive definite.
        gradation: growth of the size over one unit cell, above 1.
        max_sweeps: sweeps over all edges.
    """
    if gradation <= 1:
        raise MeshError(f"gradation must be above 1, got {gradation}")
    sender, receiver = mesh.edge_index
    slot = torch.arange(len(sender), device=sender.device) - mesh.rowptr[receiver]
    edge = mesh.pos[receiver] - mesh.pos[sender]
    rate = torch.log(torch.tensor(gradation, dtype=torch.float64))
    out = metric.clone()
    for _ in range(max_sweeps):
        before = out.clone()
        for k in range(int(slot.max()) + 1):  # the k-th neighbour of every node at once
            now = slot == k
            source = out[sender[now]]
            length = torch.einsum("ei,eij,ej->e", edge[now], source, edge[now]).sqrt()
            spread = source / ((1 + length * rate) ** 2)[:, None, None]
            target = receiver[now]
            out = out.index_copy(0, target, intersect(out[target], spread))
        if float((out - before).abs().max()) <= 1e-10 * float(out.abs().max()):
            break
    return out


def _integral(mesh: Mesh, metric: Tensor, exponent: float) -> Tensor:
    """Integral of det(M)^exponent with M interpolated linearly."""
    nodes = simplices(mesh)
    barycentric, weights = quadrature(mesh.dim)
    at = torch.einsum("qi,sijk->sqjk", barycentric.to(metric), metric[nodes])
    local = torch.linalg.det(at).clamp(min=0) ** exponent @ weights.to(metric)
    return (simplex_volumes(mesh.pos, nodes) * local).sum()


def _roots(metric: Tensor) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh(metric)
    root = values.sqrt()
    return _composed(root, vectors), _composed(1 / root, vectors)


def _composed(values: Tensor, vectors: Tensor) -> Tensor:
    return (vectors * values[:, None, :]) @ vectors.transpose(1, 2)
