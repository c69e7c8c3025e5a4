"""Who does the numerics: meshlearn in this process, or at the other end of a client.

Needs numpy only, until a local engine is asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .arrays import Arrays, FieldValues, FloatArray, oriented
from .isolation import import_torch

if TYPE_CHECKING:
    from .client import Client


class Engine(Protocol):
    """Moves, estimates and transfers; see `numerics.Local`."""

    def move(self, current: FloatArray, guide: Any) -> tuple[FloatArray, dict[str, Any]]:
        """Positions and report of a move from `current` by nodal values there or a monitor."""

    def estimate(
        self, candidates: Sequence[FloatArray], background: FloatArray, values: FloatArray
    ) -> list[float] | None:
        """Estimated errors on candidates by values on a background; None: this cannot be known."""

    def transfer(
        self, field: FieldValues, old: FloatArray, new: FloatArray, method: str
    ) -> FloatArray:
        """Values of a function on the mesh at `new` that lived on it at `old`."""

    def close(self) -> None:
        """End what it has started."""


def local_engine(arrays: Arrays, settings: Mapping[str, Any], _: None) -> Engine:
    """meshlearn in this process."""
    torch = import_torch()
    from .numerics import Local
    from .relocate import Wish

    given = dict(settings)
    if isinstance(given["fixed"], np.ndarray):
        given["fixed"] = torch.from_numpy(given["fixed"])
    return Local(arrays, Wish(**given))


def remote_engine(arrays: Arrays, settings: Mapping[str, Any], remote: Any) -> Engine:
    """meshlearn at the other end of a client, or where `remote` says (see `client.as_client`)."""
    return Remote(arrays, settings, remote)


class Remote:
    """Asks a server; see `numerics.Local` for the methods.

    Args:
        arrays: the mesh at the start.
        settings: as `Client.adapt` takes them.
        remote: see `client.as_client`.
    """

    def __init__(self, arrays: Arrays, settings: Mapping[str, Any], remote: Any) -> None:
        from .client import as_client

        self._arrays, self._settings = arrays, dict(settings)
        self._stack = contextlib.ExitStack()
        self._client: Client = self._stack.enter_context(as_client(remote))
        self._cells = oriented(arrays.cells, arrays.points)

    def move(self, current: FloatArray, guide: Any) -> tuple[FloatArray, dict[str, Any]]:
        """See `Engine.move`."""
        arrays = self._arrays
        tags = {"facet": arrays.facet_tags, "cell": arrays.cell_tags, "point": arrays.point_tags}
        return self._client.adapt(
            arrays.points,
            self._cells,
            tags,
            guide,
            start=current,
            pairs=arrays.pairs,
            **self._settings,
        )

    def estimate(
        self, candidates: Sequence[FloatArray], background: FloatArray, values: FloatArray
    ) -> list[float] | None:
        """See `Engine.estimate`."""
        return self._client.estimate(self._cells, candidates, background, values)

    def transfer(
        self, field: FieldValues, old: FloatArray, new: FloatArray, method: str
    ) -> FloatArray:
        """See `Engine.transfer`."""
        return self._client.transfer(
            self._cells, old, new, field.element, field.points, field.values, method
        )

    def close(self) -> None:
        """End the client, where it was started here."""
        self._stack.close()
