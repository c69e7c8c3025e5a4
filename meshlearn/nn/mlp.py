"""Multilayer perceptrons of the width that graph networks use, with the output normalised."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..kernels import widened

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
}
"""Activations by name. ReLU is the fastest; the others have continuous derivatives."""


class LayerNorm(nn.LayerNorm):
    """Layer normalisation in float32, whatever the input.

    On the CPU, torch's bfloat16 layer normalisation accumulates the gradients of weight and bias in
    bfloat16, where they saturate: off by 25 % and more.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the last axis."""
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(widened(input)).to(input.dtype)


def activation(name: str) -> nn.Module:
    """A new activation layer of `ACTIVATIONS`.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; known are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def mlp(widths: list[int], *, norm: bool = True, between: str = "relu") -> nn.Sequential:
    """Linear layers of the given widths, an activation between them, `LayerNorm` at the end.

    Args:
        widths: input, hidden and output widths.
        norm: whether the output is normalised.
        between: activation of `ACTIVATIONS`.
    """
    layers: list[nn.Module] = []
    for k, (first, second) in enumerate(pairwise(widths)):
        layers += [activation(between)] if k else []
        layers.append(nn.Linear(first, second))
    return nn.Sequential(*layers, *([LayerNorm(widths[-1])] if norm else []))
