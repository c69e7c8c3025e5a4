"""What every plug-in does in the end: a mesh and a field (or density) in, new positions out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, get_args

import torch
from torch import Tensor

from ..mesh import Mesh, MeshError
from ..monitors import Field, Monitor
from ..movers import Mover
from ..movers.base import Progress
from ..movers.constraints import Mode

if TYPE_CHECKING:
    from ..movers.constraints import Slide


@dataclass(frozen=True)
class Wish:
    """How a mesh is to be adapted; None is a default.

    Attributes:
        monitor: name of a monitor of a field (see `meshlearn adapt --help`).
        mover: a mover, or the name of one.
        fixed, slide: see `Mover.move`.
        iterations: most moves, each from where the last one ended.
        strength, smoothing: of the monitor.
        theta: of the variational mover.
    """

    monitor: str = "hessian"
    mover: Mover | str = "variational"
    fixed: Iterable[str] | Tensor = ()
    slide: str = "flat"
    iterations: int = 1
    strength: float | None = None
    smoothing: float | None = None
    theta: float | None = None


def field_monitor(mesh: Mesh, field: Tensor, wish: Wish) -> Monitor:
    """The monitor that a nodal field `[n]` or `[n, k]` on `mesh` makes.

    Raises:
        MeshError: wrong shape, a value that is not finite, or an unknown monitor.
    """
    from ..cli.choices import MONITORS, MonitorOptions, checked_name

    values = field.to(torch.float64)
    if values.dim() not in (1, 2) or len(values) != mesh.num_nodes:
        raise MeshError(
            f"the field must have a value for each of the {mesh.num_nodes} nodes, got shape "
            f"{list(field.shape)}"
        )
    bad = ~torch.isfinite(values.reshape(mesh.num_nodes, -1)).all(dim=1)
    if bool(bad.any()):
        raise MeshError(
            f"the field is not finite at {int(bad.sum())} nodes, first node "
            f"{int(bad.nonzero()[0])}; correct it"
        )
    build = MONITORS[checked_name("monitor", wish.monitor, MONITORS)].build
    return build(mesh, values, MonitorOptions(wish.strength, wish.smoothing))


def density_monitor(mesh: Mesh, density: Tensor) -> Monitor:
    """The monitor given by densities `[n]` or metrics `[n, d, d]` at the nodes of `mesh`."""
    return Field(mesh, density.to(torch.float64))


def relocate(
    mesh: Mesh,
    monitor: Monitor,
    wish: Wish,
    *,
    start: Mesh | None = None,
    pairs: Tensor | None = None,
    progress: Progress | None = None,
) -> tuple[Mesh, dict[str, Any]]:
    """Move a mesh by a monitor.

    Args:
        mesh: whose relative cell sizes count.
        monitor: where nodes should go.
        wish: how.
        start: a moved copy to start from.
        pairs: nodes `[k, 2]` of periodic sides that move alike.
        progress: called after each iteration of the mover.

    Returns:
        The moved mesh, and the report of the last move as plain values, with the number of
        "moves" and their "seconds" together.

    Raises:
        MeshError: unknown names, an invalid mesh, or a monitor that is not positive.
    """
    from ..cli.choices import checked_name, make_mover

    if wish.iterations < 1:
        raise MeshError(f"iterations must be at least 1, got {wish.iterations}")
    checked_name("value of slide", wish.slide, get_args(Mode))
    mover = make_mover(wish.mover, wish.theta) if isinstance(wish.mover, str) else wish.mover
    fixed = wish.fixed if isinstance(wish.fixed, Tensor) else tuple(wish.fixed)
    slide = cast("Slide", wish.slide)
    current, seconds, done = start, 0.0, 0
    report: dict[str, Any] = {}
    while done < wish.iterations:
        found = mover.move(
            mesh,
            monitor,
            fixed=fixed,
            slide=slide,
            periodic=() if pairs is None else pairs,
            start=current,
            progress=progress,
        )
        current, done = found.mesh, done + 1
        report = found.report.as_dict()
        seconds += found.report.seconds
        if found.report.converged:
            break
    assert current is not None
    return current, {**report, "moves": done, "seconds": seconds}
