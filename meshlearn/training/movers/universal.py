"""Training of the universal mover: label-free, on random domains, meshes and solutions.

A sample is moved by a few steps of the network with a random monitor of its P1 solution. The loss
is the logarithm of the true L2 error of the solve on the moved mesh, by our own differentiable
solve, plus the variational energy of the move (with more weight for scalar monitors, whose energy
is a good guide, than for metrics, where it can lead to meshes that are worse).
"""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from ... import __version__
from ...mesh import Mesh
from ...monitors import Hessian, Monitor
from ...movers.constraints import freedom
from ...movers.learned import MoverNet
from ...movers.learned.state import Problem
from ...movers.learned.step import advance
from ..settings import Settings, TrainerSettings
from ..trainer import Task
from .losses import energy, solution_error
from .samples import Sample, SamplePool

Rng = np.random.Generator
_HELD_OUT = 1_000_003
"""Added to the seed: held-out samples are never training samples."""


class MoverSettings(Settings):
    """A training run of the universal mover.

    Attributes:
        dim: of space.
        width, layers: of the network.
        nodes: smallest and largest number of nodes of a mesh.
        samples: how many different samples; they are kept on disk.
        held_out: samples of the evaluation.
        steps: fewest and most network steps of a rollout.
        energy_scalar, energy_metric: weights of the energy for scalar monitors and for metrics.
        harm: added weight of the error where the move made it worse.
        metric_share: share of anisotropic metrics among the monitors.
        cache: folder of the samples.
        workers: processes that make the samples.
        trainer: see `TrainerSettings`.
    """

    dim: int = Field(2, ge=2, le=3)
    width: int = Field(32, ge=4)
    layers: int = Field(3, ge=1)
    nodes: tuple[int, int] = (300, 1200)
    samples: int = Field(1200, ge=1)
    held_out: int = Field(40, ge=1)
    steps: tuple[int, int] = (2, 4)
    energy_scalar: float = Field(0.5, ge=0)
    energy_metric: float = Field(0.05, ge=0)
    harm: float = Field(2.0, ge=0)
    metric_share: float = Field(0.6, ge=0, le=1)
    cache: str = "out/mover_samples"
    workers: int = Field(1, ge=1)
    trainer: TrainerSettings = TrainerSettings(steps=5000, learning_rate=3e-3, evaluate_every=500)


class UniversalTask(Task):
    """Loss and held-out score of the universal mover.

    Args:
        settings: of the run.
    """

    def __init__(self, settings: MoverSettings) -> None:
        self.settings = settings
        seed = settings.trainer.seed
        self.pool = SamplePool(settings.cache, seed, settings.samples, settings.dim, settings.nodes)
        self.held_out = SamplePool(
            settings.cache, seed + _HELD_OUT, settings.held_out, settings.dim, settings.nodes
        )

    def loss(self, model: nn.Module, rng: Rng) -> tuple[Tensor, dict[str, float]]:
        """One rollout with a random monitor."""
        settings = self.settings
        sample = self.pool[int(rng.integers(len(self.pool)))]
        monitor, metric = random_monitor(sample, rng, settings.metric_share)
        steps = int(rng.integers(settings.steps[0], settings.steps[1] + 1))
        weight = settings.energy_metric if metric else settings.energy_scalar
        end = rollout(model, sample.mesh, monitor, steps)
        error = solution_error(sample.mesh, end.pos, sample.problem, sample.error)
        harm = settings.harm * torch.relu(error)
        total = error + harm + weight * (0.3 * sum(end.energies[:-1]) + end.energies[-1])
        figures = {
            "error": float(error.detach()),
            "energy": float(end.energies[-1].detach() - end.start),
        }
        return total, figures

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Error reduction ER = 1 - e / e_0 on the held-out samples, by metric and by density."""
        figures: dict[str, float] = {}
        logs = []
        for kind, strength in (("metric", 5.0), ("l2", 3.0)):
            found = []
            for sample in self.held_out:
                monitor = Hessian(sample.mesh, sample.u, kind, strength)  # type: ignore[arg-type]
                pos = rollout(model, sample.mesh, monitor, self.settings.steps[1]).pos
                change = solution_error(sample.mesh, pos, sample.problem, sample.error)
                found.append(float(change))
            gain = 1 - np.exp(found)
            figures |= {
                f"{kind}_reduction": float(gain.mean()),
                f"{kind}_worst": float(gain.min()),
                f"{kind}_positive": float((gain > 0).mean()),
            }
            logs += found
        harm = self.settings.harm
        figures["score"] = float(np.mean([x + harm * max(x, 0.0) for x in logs]))
        return figures


@dataclass(frozen=True)
class Rollout:
    """What some steps of a network led to.

    Attributes:
        pos: the last positions `[n, d]`.
        start: log of the energy before.
        energies: log of the energy after each step, differentiable.
    """

    pos: Tensor
    start: Tensor
    energies: Sequence[Tensor]


def rollout(model: nn.Module, mesh: Mesh, monitor: Monitor, steps: int) -> Rollout:
    """Move a mesh by some steps of a network.

    What the network sees counts as constant: the gradient goes through the displacements only.
    """
    problem = Problem(mesh, monitor, freedom(mesh), 1.0)
    pos, energies = mesh.pos, []
    state = problem.look(pos, None)
    start = state.energy.sum().log()
    for _ in range(steps):
        pos = advance(problem, pos, model(problem, state))
        state = problem.look(pos.detach(), state.sample.hint)
        energies.append(energy(pos, state))
    return Rollout(pos, start, energies)


def random_monitor(sample: Sample, rng: Rng, metric_share: float) -> tuple[Monitor, bool]:
    """A monitor of the sample's solution of random kind and strength; whether it is a metric."""
    mesh, u = sample.mesh, sample.u
    if rng.random() < metric_share:
        return Hessian(mesh, u, "metric", float(rng.uniform(2, 8))), True
    if rng.random() < 0.5:
        return Hessian(mesh, u, "l2", float(rng.uniform(1, 6))), False
    return Hessian(mesh, u, "frobenius", float(rng.uniform(2, 10))), False


def _commit() -> str | None:
    """The commit of the source, where it is a checkout."""
    git = shutil.which("git")
    if git is None:
        return None
    here = Path(__file__).parent
    found = subprocess.run(
        [git, "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None


def fresh_network(settings: MoverSettings) -> MoverNet:
    """The network before training, from the seed."""
    torch.manual_seed(settings.trainer.seed)
    return MoverNet(settings.width, settings.layers)


def card(settings: MoverSettings, figures: dict[str, float], seconds: float) -> dict[str, Any]:
    """What the weights' card says of the run."""
    return {
        "version": __version__,
        "commit": _commit(),
        "data": "random domains, meshes and solutions (meshlearn.training.movers)",
        "seed": settings.trainer.seed,
        "settings": settings.model_dump(exclude={"cache", "workers"}),
        "held_out": {k: v for k, v in figures.items() if math.isfinite(v)},
        "seconds": round(seconds),
    }
