"""What a plug-in did, and where the mesh has been meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .arrays import FloatArray

_GAIN = 0.99
"""A move is better when the estimated error falls at least by this factor."""
_PATIENCE = 2
"""The loop stops after so many moves that are not: the first one into a layer may look bad."""


@dataclass(frozen=True)
class Report:
    """What `adapt` did.

    Attributes:
        code: name of the code.
        kept: how many moves led to the mesh that was kept; 0 is the mesh at the start, which is
            kept where no move lowers the estimated error.
        reason: why there were no more moves.
        moves: report of each move (see `meshlearn.movers.MoveReport`).
        estimates: estimated L2 error of linear interpolation at the start and after each move,
            where a field led them; each is measured with the newest field at hand.
        before, positions: of the vertices, at the start and of the mesh that was kept `[n, d]`.
        seconds: wall time.
        undo: puts the coordinates, and functions that were transferred, back bit for bit.
    """

    code: str
    kept: int
    reason: str
    moves: tuple[dict[str, Any], ...]
    estimates: tuple[float, ...]
    before: FloatArray = field(repr=False, compare=False)
    positions: FloatArray = field(repr=False, compare=False)
    seconds: float
    undo: Callable[[], None] = field(repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        names = ("code", "kept", "reason", "estimates", "seconds")
        return {**{name: getattr(self, name) for name in names}, "moves": list(self.moves)}


@dataclass
class Walk:
    """Where the mesh has been, on every rank."""

    visited: list[FloatArray]
    moves: list[dict[str, Any]] = field(default_factory=list)
    estimates: list[float] = field(default_factory=list)
    best: int = 0
    failures: int = 0

    def judge(self, own: float, of_best: float) -> None:
        """Enter the newest estimate beside that of the best mesh so far, by the same field."""
        if not self.estimates:
            self.estimates.append(of_best)
        ratio = own / of_best if of_best > 0 else 1.0
        self.estimates.append(self.estimates[self.best] * ratio)
        better = ratio < _GAIN
        self.failures = 0 if better else self.failures + 1
        if ratio < 1:
            self.best = len(self.visited) - 1

    @property
    def tired(self) -> bool:
        """Whether there is no point in going on."""
        return self.failures >= _PATIENCE

    def reason(self, iterations: int) -> str:
        """Why there were no more moves."""
        if self.tired:
            return "the estimated error no longer falls"
        if self.best == 0:
            return "no move lowered the estimated error: the mesh is as it was"
        return f"{len(self.moves)} of {iterations} moves done"
