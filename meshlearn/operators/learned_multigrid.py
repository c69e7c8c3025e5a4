r"""Learned multigrid for -div(k grad u) = f: an operator that is told its equation.

    K = stiffness matrix of the given coefficient,   b = M f,   A_0 = K,   A_{l+1} = P^T A_l P
    u <- u + C (b - K u)        cycles times, with one C

C is a V-cycle with the smoother and the weight of the coarse correction

    S r = D^{-1/2} (diag(w) + B) D^{-1/2} r,       e <- e + diag(t) P e_coarse,     D = diag(A_l)

where a message-passing network on the graph of A_l, the same at every level, gives w, t at the
nodes and B at the edges from the scaled entries D^{-1/2} A_l D^{-1/2}. It starts at w = 2/3, B = 0,
t = 1: untrained it is classical multigrid with damped Jacobi smoothing, and `smoother="jacobi"`
stays that. The result is linear in (f, g) and does not depend on the units. Related: Luz et al.,
"Learning algebraic multigrid using graph neural networks" (2020), which learns P.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from ..fem import Dirichlet, FunctionSpace, assemble, dot, grad
from ..fem.structure import to_scipy
from ..kernels import Sparsity, entry_rows, sparse_dense, sparse_transposed_dense
from ..mesh import Mesh, MeshError
from ..nn import Hierarchy, coarsened_hierarchy, mlp
from .base import Conditions, Fields, Operator
from .variables import Variable

SMOOTHERS = ("learned", "jacobi")
_DAMPING = 2 / 3
_COARSEST = 7


@dataclass(frozen=True)
class LevelMatrix:
    """A_l, scaled.

    Attributes:
        pattern: of the entries, those of the diagonal among them.
        rows: of each entry `[m]`.
        scaled: D^{-1/2} A D^{-1/2} `[m]`, float64.
        root: D^{-1/2} `[n]`.
        down: P of the step to the next coarser level, its pattern and weights; None at the last.
    """

    pattern: Sparsity
    rows: Tensor
    scaled: Tensor
    root: Tensor
    down: tuple[Sparsity, Tensor] | None


@dataclass(frozen=True)
class System:
    """The equation of one call: levels, the right side and the start of the iteration `[n]`."""

    levels: list[LevelMatrix]
    right: Tensor
    start: Tensor


@dataclass(frozen=True)
class Smoother:
    """w `[n]`, B `[m]` on the pattern of the matrix (0 on its diagonal; None: B = 0), t `[n]`."""

    damping: Tensor
    entries: Tensor | None
    gain: Tensor


class SmootherNet(nn.Module):
    """From the scaled entries of a symmetric matrix to a symmetric smoother.

    Args:
        width: of the features.
        blocks: rounds of messages.
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.encode = mlp([3, width, width])
        self.message = nn.ModuleList(mlp([1 + 2 * width, width, width]) for _ in range(blocks))
        self.update = nn.ModuleList(mlp([2 * width, width, width]) for _ in range(blocks))
        self.nodes = mlp([width, width, 2], norm=False)
        self.edges = mlp([1 + 2 * width, width, 1], norm=False)
        for head in (self.nodes, self.edges):  # the start is damped Jacobi
            last = [m for m in head.modules() if isinstance(m, nn.Linear)][-1]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, level: LevelMatrix) -> Smoother:
        """See `LevelMatrix`."""
        rows, columns = level.rows, level.pattern.columns.long()
        off = rows != columns
        i, j, a = rows[off], columns[off], level.scaled[off].float()[:, None]
        zero = a.new_zeros(len(level.root), 1)
        sums = [zero.index_add(0, i, x) for x in (a, a.abs(), a.square())]
        h = self.encode(torch.cat(sums, dim=1))
        for message, update in zip(self.message, self.update, strict=True):
            sent = a.abs() * message(_symmetric(a, h, i, j))
            h = h + update(torch.cat([h, torch.zeros_like(h).index_add(0, i, sent)], dim=1))
        damping, gain = self.nodes(h).double().exp().unbind(dim=1)
        entries = torch.zeros_like(level.scaled)
        edge = self.edges(_symmetric(a, h, i, j))[:, 0].double()
        entries = entries.masked_scatter(off, edge * level.scaled[off])
        return Smoother(_DAMPING * damping, entries, gain)


class LearnedMultigrid(Operator):
    """Darcy flow by a few cycles of multigrid with learned smoothers; needs Dirichlet conditions.

    The result is differentiable in the weights, not in the coefficient.

    Args:
        inputs: with `coefficient` (P0) and `load` (P1) among them; no others are read.
        outputs: one, scalar, P1.
        boundary: "exact" only: the conditions are part of the equation.
        coefficient: name of the input log k.
        load: name of the input f.
        form: "diffusion", -div(k grad u) = f.
        smoother: "learned", or "jacobi" for classical multigrid without weights.
        cycles: how often the residual goes through the V-cycle.
        levels: of the V-cycle; 0 takes more the larger the meshes are, down to about 7 nodes of
            each, so that the cycles contract on fine meshes as they do on coarse ones.
        bottom: sweeps of the smoother at the coarsest level.
        width, blocks: of the network.
    """

    def __init__(
        self,
        inputs: Sequence[Variable | str | Sequence[Any]],
        outputs: Sequence[Variable | str | Sequence[Any]],
        boundary: str = "exact",
        *,
        coefficient: str = "log_k",
        load: str = "f",
        form: str = "diffusion",
        smoother: str = "learned",
        cycles: int = 2,
        levels: int = 0,
        bottom: int = 4,
        width: int = 16,
        blocks: int = 2,
    ) -> None:
        super().__init__(inputs, outputs, boundary)
        if boundary != "exact":
            raise MeshError("conditions are part of the equation here: boundary must be 'exact'")
        if form != "diffusion":
            raise MeshError(f"form must be 'diffusion', got {form!r}")
        if smoother not in SMOOTHERS:
            raise MeshError(f"smoother must be one of {SMOOTHERS}, got {smoother!r}")
        if min(cycles, bottom, blocks) < 1 or levels < 0:
            raise MeshError("cycles, bottom and blocks must be at least 1, levels at least 0")
        known = {v.name: v for v in self.inputs}
        for name, element in ((coefficient, "P0"), (load, "P1")):
            if name not in known or known[name].element != element or known[name].components:
                raise MeshError(f"the equation needs a scalar input {name!r} in {element}")
        if len(self.outputs) != 1 or self.outputs[0] != Variable(self.outputs[0].name, "P1"):
            raise MeshError("the equation has one scalar output in P1")
        self.config |= {"coefficient": coefficient, "load": load, "form": form}
        self.config |= {"smoother": smoother, "cycles": cycles, "levels": levels}
        self.config |= {"bottom": bottom, "width": width, "blocks": blocks}
        self.net = SmootherNet(width, blocks) if smoother == "learned" else None

    def prepare(self, mesh: Mesh) -> Hierarchy:
        """The levels, without the matrices: those depend on the coefficient."""
        each = mesh.num_nodes / (len(mesh["ptr"]) - 1 if "ptr" in mesh else 1)
        # a level has about a quarter of the nodes of the one above
        depth = self.config["levels"] or max(1, 1 + round(math.log(each / _COARSEST, 4)))
        return coarsened_hierarchy(mesh, depth, weights="linear")

    def forward(
        self,
        mesh: Mesh,
        fields: Fields,
        bcs: Conditions | None = None,
        *,
        integrals: Fields | None = None,
        prepared: Any = None,
    ) -> dict[str, Tensor]:
        """See `Operator`.

        Raises:
            MeshError: no Dirichlet conditions, or a field that is missing.
        """
        (output,) = self.outputs
        held = (bcs or {}).get(output.name, ())
        if not held or not any(len(bc.dofs) for bc in held):
            raise MeshError(f"diffusion needs Dirichlet conditions of {output.name!r} somewhere")
        for name in (self.config["coefficient"], self.config["load"]):
            if name not in fields:
                raise MeshError(f"the input {name!r} is missing")
        ready = self.prepare(mesh) if prepared is None else prepared
        k, f = (fields[self.config[name]].detach().double() for name in ("coefficient", "load"))
        system = diffusion_system(mesh, k.exp(), f, held, ready)
        return super().forward(mesh, fields, bcs, integrals=integrals, prepared=system)

    def process(self, mesh: Mesh, nodes: Tensor, prepared: System) -> Tensor:
        """See `Operator`; float64."""
        smoothers = [self._smoother(level) for level in prepared.levels]
        u = prepared.start
        for _ in range(self.config["cycles"]):
            residual = prepared.right - _times(prepared.levels[0], u)
            u = u + self._cycle(prepared.levels, smoothers, residual)
        return (u[:, None] - self.output_mean) / self.output_scale

    def _smoother(self, level: LevelMatrix) -> Smoother:
        if self.net is not None:
            found: Smoother = self.net(level)
            return found
        one = torch.ones_like(level.root)
        return Smoother(_DAMPING * one, None, one)

    def _cycle(self, levels: list[LevelMatrix], smoothers: list[Smoother], r: Tensor) -> Tensor:
        level, smoother = levels[0], smoothers[0]
        e = _smoothed(level, smoother, r)
        if level.down is None:
            for _ in range(self.config["bottom"] - 1):
                e = e + _smoothed(level, smoother, r - _times(level, e))
            return e
        pattern, weight = level.down
        left = (r - _times(level, e))[:, None]
        coarse = sparse_transposed_dense(weight, left, pattern)[:, 0]
        below = self._cycle(levels[1:], smoothers[1:], coarse)
        e = e + smoother.gain * sparse_dense(weight, below[:, None], pattern)[:, 0]
        return e + _smoothed(level, smoother, r - _times(level, e))


def diffusion_system(
    mesh: Mesh, k: Tensor, f: Tensor, held: Sequence[Dirichlet], hierarchy: Hierarchy
) -> System:
    """The equation for the free nodes, those that are held being kept as rows of the identity.

    Args:
        mesh: a mesh or batch.
        k: of each cell `[n_cells]`.
        f: at the nodes `[n]`.
        held: conditions.
        hierarchy: of the mesh.
    """
    space = FunctionSpace(mesh, "P1")
    with torch.no_grad():
        stiffness = assemble(lambda u, v, w: w.k * dot(grad(u), grad(v)), space, k=k)
        mass = assemble(lambda u, v, w: u * v, space)
        start, free = torch.zeros_like(f), torch.ones_like(f)
        for bc in held:
            start[bc.dofs], free[bc.dofs] = bc.values.detach().to(f), 0.0
        right = free * (mass @ f - stiffness @ start)
        mask = sp.diags_array(free.cpu().numpy())
        matrix = _filled(mask @ to_scipy(stiffness) @ mask)
        levels, row_mask = [], free
        for step in (*hierarchy.prolongations, None):
            down, coarse = None, None
            if step is not None:
                pattern = step.pattern
                weight = step.weight * row_mask[entry_rows(pattern.rowptr).long()]
                down = (pattern, weight)
                parts = (weight, pattern.columns, pattern.rowptr)
                shape = (pattern.height, pattern.width)
                p = sp.csr_array(tuple(x.cpu().numpy() for x in parts), shape)
                coarse = _filled(p.T @ matrix @ p)
                row_mask = torch.ones(pattern.width).to(f)
            levels.append(_level(matrix, down, f.device))
            matrix = matrix if coarse is None else coarse
    # held rows are those of the identity, and the first residual is that of the equation
    return System(levels, right + _times(levels[0], start), start)


def _filled(matrix: sp.csr_array) -> sp.csr_array:
    """With 1 where the diagonal is 0: rows that nothing free touches."""
    found = sp.csr_array(matrix)
    empty = found.diagonal() <= 0
    found = sp.csr_array(found + sp.diags_array(empty.astype(float)))
    found.eliminate_zeros()
    found.sort_indices()
    return found


def _level(
    matrix: sp.csr_array, down: tuple[Sparsity, Tensor] | None, device: torch.device
) -> LevelMatrix:
    root = 1 / np.sqrt(matrix.diagonal())
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    scaled = matrix.data * root[rows] * root[matrix.indices]
    whole = (matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), rows)
    rowptr, columns, row = (torch.from_numpy(x).to(device) for x in whole)
    values, diagonal = (torch.from_numpy(x).to(device) for x in (scaled, root))
    return LevelMatrix(Sparsity(rowptr, columns, matrix.shape[1]), row, values, diagonal, down)


def _times(level: LevelMatrix, x: Tensor) -> Tensor:
    """A x `[n]`."""
    return sparse_dense(level.scaled, (x / level.root)[:, None], level.pattern)[:, 0] / level.root


def _smoothed(level: LevelMatrix, smoother: Smoother, r: Tensor) -> Tensor:
    """S r `[n]`."""
    s = level.root * r
    out = smoother.damping * s
    if smoother.entries is not None:
        out = out + sparse_dense(smoother.entries, s[:, None], level.pattern)[:, 0]
    return level.root * out


def _symmetric(a: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """Features of edges that do not know their direction `[m, 1 + 2 width]`."""
    return torch.cat([a, h[i] + h[j], (h[i] - h[j]).abs()], dim=1)
