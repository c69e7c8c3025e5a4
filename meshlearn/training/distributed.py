"""Data-parallel runs under `torchrun`: each process takes its own samples, gradients are averaged.

torchrun --nproc-per-node 2 -m meshlearn train mover --config FILE
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True)
class World:
    """This process among all.

    Attributes:
        rank: number of this process.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0


@contextmanager
def world() -> Iterator[World]:
    """Join the processes that `torchrun` started; alone, nothing happens."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield World(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()


def average_gradients(parameters: Iterable[nn.Parameter], world: World) -> None:
    """Mean of the gradients over all processes; a parameter without one counts as zero."""
    if world.size == 1:
        return
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad)
        parameter.grad /= world.size


def from_first(flag: bool, world: World) -> bool:
    """What the first process decided."""
    if world.size == 1:
        return flag
    tensor = torch.tensor(float(flag))
    if torch.cuda.is_available():
        tensor = tensor.cuda()
    dist.broadcast(tensor, 0)
    return bool(tensor)
