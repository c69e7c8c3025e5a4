"""Training of UM2N and M2N: towards Monge-Ampere meshes of the unit square."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from ...monitors import Monitor
from ...movers.constraints import Freedom, freedom
from ...movers.guard import guard
from ...movers.learned import M2NNet, UM2NNet, WithSolution
from ...movers.learned.one_pass import Network, inverted_share
from ..settings import Settings, TrainerSettings
from ..trainer import Task
from .labels import Labelled, SquarePool, monge_ampere
from .losses import chamfer, coordinates, solution_error, volumes
from .published import um2n_monitor

Rng = np.random.Generator
HELD_OUT = 1_000_003
"""Added to the seed: held-out samples are never training samples."""


class SquareSettings(Settings):
    """What the runs of all baselines have in common; defaults as in UM2N.

    Attributes:
        h: shortest and longest edge length of a mesh.
        samples: how many different samples; they are kept on disk.
        held_out: samples of the evaluation.
        cache: folder of the samples.
        workers: processes that make the samples.
        trainer: see `TrainerSettings`.
    """

    h: tuple[float, float] = (0.05, 0.055)
    samples: int = Field(600, ge=1)
    held_out: int = Field(40, ge=1)
    cache: str = "out/mover_samples"
    workers: int = Field(1, ge=1)
    trainer: TrainerSettings = TrainerSettings(
        steps=120_000,
        learning_rate=5e-5,
        schedule="constant",
        accumulate=5,
        ema=0.0,
        evaluate_every=2_000,
    )


class DeformerSettings(SquareSettings):
    """Sizes of the graph-attention deformer.

    Attributes:
        first, widths, heads, sliding: see `movers.learned.deform`.
    """

    first: int = Field(254, ge=1)
    widths: tuple[int, ...] = Field((508, 250, 120, 20), min_length=1)
    heads: int = Field(6, ge=1)
    sliding: bool = True


class UM2NSettings(DeformerSettings):
    """A training run of UM2N.

    Attributes:
        width, attention_heads, hidden: of the transformer block.
        chamfer: weight of the Chamfer distance beside the volume loss.
    """

    model: Literal["um2n"] = "um2n"
    width: int = Field(64, ge=1)
    attention_heads: int = Field(4, ge=1)
    hidden: int = Field(256, ge=1)
    chamfer: float = Field(1.0, ge=0)

    def network(self) -> UM2NNet:
        """The network before training, from the seed."""
        torch.manual_seed(self.trainer.seed)
        return UM2NNet(
            self.width,
            self.attention_heads,
            self.hidden,
            first=self.first,
            widths=self.widths,
            heads=self.heads,
            sliding=self.sliding,
        )


class M2NSettings(DeformerSettings):
    """A training run of M2N.

    Attributes:
        resolution: points of the sampled grid along each axis.
    """

    model: Literal["m2n"] = "m2n"
    resolution: int = Field(20, ge=4)

    def network(self) -> M2NNet:
        """The network before training, from the seed."""
        torch.manual_seed(self.trainer.seed)
        return M2NNet(
            self.resolution,
            first=self.first,
            widths=self.widths,
            heads=self.heads,
            sliding=self.sliding,
        )


class LabelledTask(Task):
    """Loss and held-out score against labels; subclasses give the loss of a proposal.

    Args:
        settings: of the run.
    """

    def __init__(self, settings: DeformerSettings) -> None:
        seed = settings.trainer.seed
        self.pool = SquarePool(settings.cache, seed, settings.samples, settings.h, monge_ampere)
        self.held_out = SquarePool(
            settings.cache, seed + HELD_OUT, settings.held_out, settings.h, monge_ampere
        )
        self._known: dict[tuple[int, int], tuple[Monitor, Freedom]] = {}

    @abstractmethod
    def compare(self, sample: Labelled, pos: Tensor) -> Tensor:
        """Loss of proposed positions `[n, 2]`."""

    def loss(self, model: nn.Module, rng: Rng) -> tuple[Tensor, dict[str, float]]:
        """Of one random sample."""
        number = int(rng.integers(len(self.pool)))
        pos = self.proposal(model, self.pool, number)
        return self.compare(self.pool[number], pos), {}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Loss, share of cells inverted before the guard, and error reduction after it."""
        found, inverted, gain = [], [], []
        for number, sample in enumerate(self.held_out):
            pos = self.proposal(model, self.held_out, number)
            found.append(float(self.compare(sample, pos)))
            inverted.append(inverted_share(sample.mesh, pos))
            gain.append(reduction(sample, pos))
        return {
            "score": float(np.mean(found)),
            "inverted": float(np.mean(inverted)),
            "reduction": float(np.mean(gain)),
        }

    def proposal(self, model: nn.Module, pool: SquarePool, number: int) -> Tensor:
        """Where the network wants the nodes, before any guard `[n, 2]`."""
        assert isinstance(model, Network)
        sample, key = pool[number], (pool.seed, number)
        if key not in self._known:
            monitor = um2n_monitor(sample.mesh, sample.u)
            self._known[key] = (
                WithSolution(monitor, sample.mesh, sample.u),
                freedom(sample.mesh),
            )
        return sample.mesh.pos + model.displacement(sample.mesh, *self._known[key])


class UM2NTask(LabelledTask):
    """Volume loss and Chamfer distance."""

    def __init__(self, settings: UM2NSettings) -> None:
        super().__init__(settings)
        self.weight = settings.chamfer

    def compare(self, sample: Labelled, pos: Tensor) -> Tensor:
        """Signed volumes: an inverted cell counts with all that it is off."""
        return volumes(sample.mesh, pos, sample.target) + self.weight * chamfer(pos, sample.target)


class M2NTask(LabelledTask):
    """L1 distance of the coordinates."""

    def compare(self, sample: Labelled, pos: Tensor) -> Tensor:
        """In mean edge lengths of the labels' meshes: near 1 is one cell off."""
        return coordinates(sample.mesh, pos, sample.target)


def reduction(sample: Labelled, pos: Tensor) -> float:
    """ER = 1 - e / e_0 of a solve on the mesh moved to `pos`, made valid by the guard."""
    mesh = sample.mesh
    safe = guard(mesh, pos, freedom(mesh))
    return 1 - float(solution_error(mesh, safe, sample.problem, sample.error).exp())
