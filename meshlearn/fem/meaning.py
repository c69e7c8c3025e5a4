"""Which solver suits a system, and what iterative ones have to know of its unknowns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import scipy.sparse as sp
from torch import Tensor

from ..mesh import MeshError
from .elimination import Reduction
from .linear import (
    DIRECT_2D,
    DIRECT_3D,
    OSEEN_2D,
    OSEEN_3D,
    SADDLE_2D,
    SADDLE_3D,
    VECTOR_2D,
    VECTOR_3D,
    amg,
)
from .multigrid import Multigrid, multigrid, near_of
from .saddle import Saddle
from .space import FunctionSpace
from .structure import is_saddle, saddle_of, to_scipy


@dataclass(frozen=True)
class Meaning:
    """Where a linear system comes from.

    Attributes:
        space: of the unknowns, where known.
        matrix: of all degrees of freedom, sparse CSR.
        reduced: the conditions.
    """

    space: FunctionSpace | None
    matrix: Tensor
    reduced: Reduction

    def choice(
        self, size: int, *, symmetric: bool, definite: bool
    ) -> Literal["direct", "amg", "block"]:
        """The method that is fastest on the CPU for so many unknowns."""
        solid = self.space is not None and self.space.mesh.dim == 3
        if definite:
            vector = self.space is not None and max(b.components for b in self.space.blocks) > 1
            limits = (VECTOR_2D, VECTOR_3D) if vector else (DIRECT_2D, DIRECT_3D)
            return "amg" if size > limits[solid] else "direct"
        limits = (SADDLE_2D, SADDLE_3D) if symmetric else (OSEEN_2D, OSEEN_3D)
        return "block" if size > limits[solid] and self._solvable(symmetric) else "direct"

    def saddle(self, *, symmetric: bool) -> Saddle:
        """Velocities and pressures.

        Raises:
            MeshError: none, or with terms that the block solver does not know.
        """
        found = self._solvable(symmetric)
        if found is None:
            raise MeshError(
                "method='block' is for velocities of d components and one pressure, the matrix of "
                "a form without products of two pressures, and with convection for continuous "
                "linear pressures; pass space=... where no condition tells it"
            )
        return found

    def _solvable(self, symmetric: bool) -> Saddle | None:
        found = self._saddle
        return found if found is None or symmetric or found.carried is not None else None

    @cached_property
    def _saddle(self) -> Saddle | None:
        """Costly: it assembles several matrices."""
        if self.space is None or not is_saddle(self.space):
            return None
        return saddle_of(self.space, to_scipy(self.matrix), self.reduced)

    def hierarchy(self, matrix: sp.csr_array) -> Multigrid:
        """Multigrid for the matrix of the free unknowns."""
        free = self.reduced.free.cpu().numpy()
        space = self.space
        if space is None or space.mixed or space.blocks[0].kind != "scalar":
            return Multigrid(amg(matrix), np.arange(len(free)))
        return multigrid(matrix, near_of(space, space.blocks[0], rigid=True), free)
