"""Activations as the three pieces that a hand-written backward pass needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_aten = torch.ops.aten


@dataclass(frozen=True)
class Activation:
    """One activation function.

    Attributes:
        apply: `(input) -> output`; may overwrite the input, if `restore` takes the output.
        restore: output from what `apply` has left in the place of its input.
        backward: `(gradient, what is left in the place of the input) -> gradient`, overwriting it.
    """

    apply: Callable[[Tensor], Tensor]
    restore: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor], Tensor]


def _relu(grad: Tensor, output: Tensor) -> Tensor:
    out: Tensor = _aten.threshold_backward.grad_input(grad, output, 0, grad_input=grad)
    return out


def _tanh(grad: Tensor, output: Tensor) -> Tensor:
    out: Tensor = _aten.tanh_backward.grad_input(grad, output, grad_input=grad)
    return out


def _elu(grad: Tensor, output: Tensor) -> Tensor:
    out: Tensor = _aten.elu_backward.grad_input(grad, 1, 1, 1, True, output, grad_input=grad)
    return out


def _silu(grad: Tensor, given: Tensor) -> Tensor:
    out: Tensor = _aten.silu_backward.grad_input(grad, given, grad_input=grad)
    return out


def _gelu(grad: Tensor, given: Tensor) -> Tensor:
    out: Tensor = _aten.gelu_backward.grad_input(grad, given, grad_input=grad)
    return out


def _same(output: Tensor) -> Tensor:
    return output


PIECES = {
    "relu": Activation(torch.relu_, _same, _relu),
    "tanh": Activation(torch.tanh_, _same, _tanh),
    "elu": Activation(torch.nn.functional.elu_, _same, _elu),
    "silu": Activation(torch.nn.functional.silu, torch.nn.functional.silu, _silu),
    "gelu": Activation(torch.nn.functional.gelu, torch.nn.functional.gelu, _gelu),
}
"""By the names of `mlp.ACTIVATIONS`."""
