"""Training of the data-free mover: the Monge-Ampere residual at collocation points, no labels.

    loss = mean (m(f) det(I + H) / mean m - 1)^2 + w_b mean (n . grad psi)^2
         + w_c mean (relu(-det(I + H))^2 + relu(-tr(I + H))^2)

Points are drawn by the density of the monitor. After the optimiser of the common loop, L-BFGS
refines the last layer of the trunk (the last of the branch, larger, fits its samples too well).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from pydantic import Field as Setting
from torch import Tensor, nn

from ...fem.p1 import simplices
from ...mesh import Mesh
from ...mesh.geometry import facet_normals
from ...monitors import Field
from ...monitors.solution import mean_value
from ...movers.learned import DataFreeNet
from ...movers.learned.data_free import picture
from ...movers.learned.frame import Frame
from ...movers.learned.one_pass import inverted_share
from ..settings import TrainerSettings, TrainingError
from ..trainer import Task, Trained
from .labelled import HELD_OUT, SquareSettings, reduction
from .labels import SquarePool, unmoved
from .published import dmm_monitor

Rng = np.random.Generator


class DataFreeSettings(SquareSettings):
    """A training run of the data-free mover, for one family of solutions on the unit square.

    Attributes:
        resolution, channels, trunk: of the network, see `DataFreeNet`.
        share: of the monitor, see `published.dmm_monitor`; 0.01 in the paper.
        points: collocation points of a sample, inside and on the boundary.
        boundary, convexity: weights of these terms.
        finish: iterations of L-BFGS; 0 leaves it out.
        finish_samples: samples that L-BFGS sees.
    """

    model: Literal["data-free"] = "data-free"
    resolution: int = Setting(32, ge=8, multiple_of=8)
    channels: int = Setting(16, ge=1)
    trunk: tuple[int, ...] = Setting((32, 512), min_length=1)
    share: float = Setting(1.0, gt=0)
    points: tuple[int, int] = (1000, 200)
    boundary: float = Setting(1000.0, ge=0)
    convexity: float = Setting(1.0, ge=0)
    finish: int = Setting(20, ge=0)
    finish_samples: int = Setting(100, ge=1)
    trainer: TrainerSettings = TrainerSettings(
        steps=18_000, learning_rate=2e-4, accumulate=5, evaluate_every=1_000
    )

    def network(self) -> DataFreeNet:
        """The network before training, from the seed."""
        torch.manual_seed(self.trainer.seed)
        return DataFreeNet(self.resolution, self.channels, self.trunk)


@dataclass(frozen=True)
class Scene:
    """What the equation needs of one sample.

    Attributes:
        mesh, monitor: with the solution's density.
        frame: of the mesh.
        picture: what the branch sees.
        mean: of the monitor over the domain.
    """

    mesh: Mesh
    monitor: Field
    frame: Frame
    picture: Tensor
    mean: float


def scene(mesh: Mesh, monitor: Field, resolution: int) -> Scene:
    """Prepare a mesh and the field of its monitor."""
    frame = Frame.of(mesh)
    mean = float(mean_value(mesh, monitor(mesh)))
    return Scene(mesh, monitor, frame, picture(frame, monitor, resolution), mean)


@dataclass(frozen=True)
class Collocation:
    """Points of the unit box.

    Attributes:
        inside: `[q, 2]`, drawn by the density of the monitor.
        border: `[k, 2]`, evenly over the boundary.
        normal: unit normals there `[k, 2]`.
    """

    inside: Tensor
    border: Tensor
    normal: Tensor


def collocation(at: Scene, rng: Rng, count: tuple[int, int]) -> Collocation:
    """Random points of a scene, inside and on the boundary."""
    mesh, nodes = at.mesh, simplices(at.mesh)
    load = (mesh.volumes() * at.monitor(mesh)[nodes].mean(dim=1)).numpy()
    chosen = rng.choice(len(load), count[0], p=load / load.sum())
    weight = torch.from_numpy(rng.dirichlet(np.ones(3), count[0]))
    inside = (at.frame.pos[nodes[chosen]] * weight[:, :, None]).sum(dim=1)
    facets = mesh.topology.boundary_facets
    normal = facet_normals(mesh, facets)
    length = normal.norm(dim=1).numpy()
    sides = torch.from_numpy(rng.choice(len(length), count[1], p=length / length.sum()))
    ends = at.frame.pos[mesh.topology.facets[facets[sides]]]
    where = torch.from_numpy(rng.random((count[1], 1)))
    border = (1 - where) * ends[:, 0] + where * ends[:, 1]
    normal = normal[sides]
    return Collocation(inside, border, normal / normal.norm(dim=1, keepdim=True))


@dataclass(frozen=True)
class Equation:
    """The terms of the loss and what is positive where the map is convex.

    Attributes:
        residual, border, convexity: mean squares, without weights.
        determinant, trace: of I + H at the inner points `[q]`.
    """

    residual: Tensor
    border: Tensor
    convexity: Tensor
    determinant: Tensor
    trace: Tensor


def equation(network: DataFreeNet, at: Scene, points: Collocation) -> Equation:
    """The Monge-Ampere equation at some points; differentiable in the weights."""
    slope, hessian = network.derivatives(at.picture, points.inside)
    jacobian = hessian.double() + torch.eye(2, dtype=torch.float64)
    # Written out: the gradient of a general determinant divides by it.
    (a, b), (c, d) = (row.unbind(dim=1) for row in jacobian.unbind(dim=1))
    determinant, trace = a * d - b * c, a + d
    x = points.inside + slope.double()
    scale = at.frame.scale[0]
    found = at.monitor.sample(at.frame.low[0] + scale * x.detach())
    # First order in the motion: exact, since the monitor is linear in each cell.
    density = found.value + (scale * found.gradient * (x - x.detach())).sum(dim=1)
    residual = density * determinant / at.mean - 1
    outward = (network.derivatives(at.picture, points.border)[0] * points.normal).sum(dim=1)
    bent = torch.relu(-determinant) ** 2 + torch.relu(-trace) ** 2
    return Equation((residual**2).mean(), (outward**2).mean(), bent.mean(), determinant, trace)


class DataFreeTask(Task):
    """Loss and held-out score of the data-free mover.

    Args:
        settings: of the run.
    """

    def __init__(self, settings: DataFreeSettings) -> None:
        self.settings = settings
        seed, h = settings.trainer.seed, settings.h
        self.pool = SquarePool(settings.cache, seed, settings.samples, h, unmoved)
        self.held_out = SquarePool(settings.cache, seed + HELD_OUT, settings.held_out, h, unmoved)
        self._known: dict[tuple[int, int], Scene] = {}

    def scene(self, pool: SquarePool, number: int) -> Scene:
        """A sample with its monitor; kept."""
        key = (pool.seed, number)
        if key not in self._known:
            sample = pool[number]
            monitor = dmm_monitor(sample.mesh, sample.u, self.settings.share)
            self._known[key] = scene(sample.mesh, monitor, self.settings.resolution)
        return self._known[key]

    def total(self, found: Equation) -> Tensor:
        """The weighted sum."""
        settings = self.settings
        border, bent = settings.boundary * found.border, settings.convexity * found.convexity
        return found.residual + border + bent

    def loss(self, model: nn.Module, rng: Rng) -> tuple[Tensor, dict[str, float]]:
        """Of one random sample at random points."""
        assert isinstance(model, DataFreeNet)
        at = self.scene(self.pool, int(rng.integers(len(self.pool))))
        found = equation(model, at, collocation(at, rng, self.settings.points))
        return self.total(found), {
            "residual": float(found.residual.detach()),
            "border": float(found.border.detach()),
        }

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Loss at fixed points, where the map is convex, and what the moves are worth."""
        assert isinstance(model, DataFreeNet)
        rows = []
        for number, sample in enumerate(self.held_out):
            at = self.scene(self.held_out, number)
            rng = np.random.default_rng([number])
            found = equation(model, at, collocation(at, rng, self.settings.points))
            pos = (
                sample.mesh.pos
                + at.frame.scale * model.derivatives(at.picture, at.frame.pos)[0].double()
            )
            convex = (found.determinant > 0) & (found.trace > 0)
            rows.append(
                {
                    "score": float(self.total(found)),
                    "residual": float(found.residual),
                    "convex": float(convex.double().mean()),
                    "inverted": inverted_share(sample.mesh, pos),
                    "reduction": reduction(sample, pos),
                }
            )
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def refine(task: DataFreeTask, trained: Trained) -> Trained:
    """L-BFGS on the last layer, at points that do not change; kept where the score is better.

    Raises:
        TrainingError: the loss is not finite.
    """
    settings, model = task.settings, trained.model
    assert isinstance(model, DataFreeNet)
    if settings.finish == 0:
        return trained
    before = {name: value.clone() for name, value in model.state_dict().items()}
    chosen = range(min(settings.finish_samples, len(task.pool)))
    scenes = [task.scene(task.pool, number) for number in chosen]
    rng = np.random.default_rng([settings.trainer.seed, 1])
    points = [collocation(at, rng, settings.points) for at in scenes]
    _minimise(task, model, scenes, points)
    with torch.no_grad():
        figures = task.evaluate(model)
    if figures["score"] < trained.figures["score"]:
        return replace(trained, figures=figures, reason=f"{trained.reason}, then L-BFGS")
    model.load_state_dict(before)
    return trained


def _minimise(
    task: DataFreeTask,
    model: DataFreeNet,
    scenes: Sequence[Scene],
    points: Sequence[Collocation],
) -> None:
    weights = model.last_layer
    optimiser = torch.optim.LBFGS(
        weights, max_iter=task.settings.finish, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        total = torch.zeros((), dtype=torch.float64)
        for at, where in zip(scenes, points, strict=True):
            loss = task.total(equation(model, at, where)) / len(scenes)
            loss.backward(inputs=weights)  # type: ignore[no-untyped-call]
            total += loss.detach()
        if not bool(torch.isfinite(total)):
            raise TrainingError("the loss of L-BFGS is not finite: set finish to 0")
        return total

    optimiser.step(closure)  # type: ignore[no-untyped-call]
