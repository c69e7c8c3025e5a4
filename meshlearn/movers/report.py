"""What a move returns: the mesh and an honest report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..mesh import Mesh


@dataclass(frozen=True)
class MoveReport:
    """How a move went.

    Attributes:
        mover: name of the mover.
        converged: whether the residual fell below the tolerance.
        reason: why it stopped, one sentence.
        iterations: of the mover.
        seconds: wall time, monitor evaluation included.
        residual: the last value of what `converged` compares (the mover's docstring says what).
        equidistribution_before, equidistribution_after: std/mean of (int_K m dx) / |K_0| over the
            cells, volume-weighted; 0 is perfect.
        max_min_before, max_min_after: largest over smallest of the same ratio; 1 is perfect.
        min_volume_ratio: smallest |K| / |K_0| over the cells.
        min_quality_before, min_quality: smallest mean-ratio quality of a cell.
        inverted_cells: always 0.
        boundary_error: largest distance of a constrained node from its side, over the diameter.
        volume_error: relative change of the measure of the domain and of each tagged part.
        shortened_nodes: nodes whose step the guard shortened because it would tangle the mesh.
        max_displacement: largest distance a node moved.
    """

    mover: str
    converged: bool
    reason: str
    iterations: int
    seconds: float
    residual: float
    equidistribution_before: float
    equidistribution_after: float
    max_min_before: float
    max_min_after: float
    min_volume_ratio: float
    min_quality_before: float
    min_quality: float
    inverted_cells: int
    boundary_error: float
    volume_error: float
    shortened_nodes: int
    max_displacement: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class MoveResult:
    """A moved mesh and the report on the move."""

    mesh: Mesh
    report: MoveReport
