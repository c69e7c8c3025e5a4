"""What can be named on the command line: monitors and movers by name, and lists of all names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from torch import Tensor

from ..mesh import Mesh, MeshError
from ..mesh.files import FORMATS, known_suffixes
from ..mesh.quality import QUALITY_MEASURES
from ..mesh.repair import REPAIRS
from ..mesh.validate import CHECKS
from ..monitors import ArcLength, Field, Gradient, Hessian
from ..movers import Variational
from ..movers.named import MOVERS, NamedMover
from ..problems import PROBLEMS


@dataclass(frozen=True)
class MonitorOptions:
    """Settings of a monitor; None is the monitor's own default.

    Attributes:
        strength: how much denser the mesh gets where the monitor is large.
        smoothing: length of the filter, in the mesh's units.
    """

    strength: float | None = None
    smoothing: float | None = None


Build = Callable[[Mesh, Tensor, MonitorOptions], Field]


@dataclass(frozen=True)
class MonitorChoice:
    """A monitor of a nodal field.

    Attributes:
        description: what it does.
        build: makes it from a mesh and nodal values `[n]` or `[n, k]`.
    """

    description: str
    build: Build


def _hessian(kind: str) -> Build:
    def build(mesh: Mesh, u: Tensor, options: MonitorOptions) -> Field:
        given = {"strength": options.strength, "smoothing": options.smoothing}
        return Hessian(mesh, u, kind, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]

    return build


def _arc_length(mesh: Mesh, u: Tensor, options: MonitorOptions) -> Field:
    scale = 1.0 if options.strength is None else options.strength
    field = ArcLength(mesh, u).map(lambda m: (1 + scale**2 * (m**2 - 1)).sqrt())
    return field.smoothed(options.smoothing or 0.0)


def _gradient(mesh: Mesh, u: Tensor, options: MonitorOptions) -> Field:
    amplitude = 1.0 if options.strength is None else options.strength
    return Gradient(mesh, u, amplitude).smoothed(options.smoothing or 0.0)


MONITORS: dict[str, MonitorChoice] = {
    "hessian": MonitorChoice("for the least L2 error of linear interpolation", _hessian("l2")),
    "metric": MonitorChoice("the same, with stretched cells", _hessian("metric")),
    "frobenius": MonitorChoice("1 + strength |H| / max |H|", _hessian("frobenius")),
    "arc-length": MonitorChoice("even arc length of the graph of the field", _arc_length),
    "gradient": MonitorChoice("1 + strength |grad u|^2 / max |grad u|^2", _gradient),
}


def checked_name(what: str, name: str, known: Collection[str]) -> str:
    """`name`, if it is known.

    Raises:
        MeshError: it is not; the message lists those there are.
    """
    if name not in known:
        raise MeshError(f"unknown {what} {name!r}; there are {', '.join(known)}")
    return name


def _default(function: Callable[..., object], name: str) -> str:
    return f"{inspect.signature(function).parameters[name].default:.3g}"


def _suites() -> str:
    from ..training.movers.suites import SUITES

    return ", ".join(SUITES)


def _contestants() -> str:
    from ..training.movers.contest import CONTESTANTS

    return ", ".join(CONTESTANTS)


def _models() -> str:
    from ..training.movers.models import MODELS

    return ", ".join(MODELS)


def _operators() -> str:
    from ..operators import OPERATORS

    return ", ".join(OPERATORS)


def _datasets() -> str:
    from ..training.data import DATASETS

    return ", ".join(DATASETS)


_LISTS: dict[str, Callable[[], str]] = {
    "checks": lambda: ", ".join(CHECKS),
    "repairs": lambda: ", ".join(REPAIRS),
    "formats": lambda: ", ".join(FORMATS),
    "suffixes": lambda: " ".join(known_suffixes()),
    "measures": lambda: ", ".join(QUALITY_MEASURES),
    "problems": lambda: ", ".join(PROBLEMS),
    "monitors": lambda: ", ".join(MONITORS),
    "movers": lambda: ", ".join(MOVERS),
    "each_problem": lambda: "\n".join(f"- {k}: {v.description}" for k, v in PROBLEMS.items()),
    "each_monitor": lambda: "\n".join(f"- {k}: {v.description}" for k, v in MONITORS.items()),
    "suites": _suites,
    "contestants": _contestants,
    "models": _models,
    "operators": _operators,
    "datasets": _datasets,
    "theta": lambda: _default(Variational, "theta"),
    "strength": lambda: _default(Hessian, "strength"),
}


def fill(text: str) -> str:
    """Replace `{problems}` and the like in a help text."""
    return text and re.sub(r"\{(\w+)\}", lambda m: _LISTS[m[1]]() if m[1] in _LISTS else m[0], text)


def make_mover(name: str, theta: float | None) -> NamedMover:
    """A mover by name; `theta` None is its own default, and all that the others take.

    Raises:
        MeshError: unknown mover, or `theta` for one that has none.
    """
    kind = MOVERS[checked_name("mover", name, MOVERS)]
    if theta is None:
        return kind()
    if kind is not Variational:
        raise MeshError(f"--theta is an option of the variational mover, not of {name}")
    return Variational(theta=theta)
