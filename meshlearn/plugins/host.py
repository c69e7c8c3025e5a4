"""What the loop asks of another code's mesh."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from .arrays import Arrays, FieldValues, FloatArray


def called(thing: Any, *names: str) -> Any:
    """An attribute by its first name that there is; in some versions of a code it is a method."""
    found = next(getattr(thing, name) for name in names if hasattr(thing, name))
    return found() if callable(found) else found


class Host(ABC):
    """A mesh of another code, as the loop sees it.

    In a parallel run every method is called on all ranks; arrays are whole on rank 0 and None on
    the others.

    Attributes:
        code: name of the code.
        comm: mpi4py communicator of the mesh, None for a serial code.
    """

    code: str
    comm: Any = None

    @abstractmethod
    def arrays(self) -> Arrays | None:
        """The mesh as it is now."""

    @abstractmethod
    def write(self, coordinates: FloatArray) -> None:
        """Set the coordinates of all geometry nodes, in the order of `arrays` `[N, d]`.

        Whole on every rank.
        """

    @abstractmethod
    def snapshot(self) -> Any:
        """All coordinates that `write` can change, of this rank."""

    @abstractmethod
    def restore(self, state: Any) -> None:
        """Put back a snapshot, bit for bit."""

    @abstractmethod
    def nodal(self, function: Any) -> FloatArray | None:
        """Values of a function of the code at the vertices `[n]` or `[n, k]`."""

    @abstractmethod
    def values(self, function: Any) -> FieldValues | None:
        """Degrees of freedom of a function of the code."""

    @abstractmethod
    def set_values(self, function: Any, values: FloatArray) -> None:
        """Write degrees of freedom in the order of `values` `[m, components]`; on every rank."""

    @abstractmethod
    def coefficients(self, function: Any) -> Any:
        """The code's own vector of a function of this rank, not copied."""
