"""MLPs: shapes of the layers and the named activations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from meshlearn.nn import LayerNorm, activation, mlp
from meshlearn.nn._activations import PIECES
from meshlearn.nn.mlp import ACTIVATIONS


def test_layers_in_order() -> None:
    kinds = [type(layer) for layer in mlp([3, 8, 8, 2], between="silu")]
    assert kinds == [nn.Linear, nn.SiLU, nn.Linear, nn.SiLU, nn.Linear, LayerNorm]
    assert len(mlp([3, 2], norm=False)) == 1


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_pieces_are_the_activation(name: str) -> None:
    x = torch.linspace(-3, 3, 41, dtype=torch.float64)
    given = x.clone().requires_grad_(True)
    wanted = activation(name)(given)
    wanted.backward(torch.full_like(x, 2.0))
    left = x.clone()
    found = PIECES[name].apply(left)
    assert torch.allclose(found, wanted.detach())
    assert torch.allclose(PIECES[name].restore(left), wanted.detach())
    assert torch.allclose(PIECES[name].backward(torch.full_like(x, 2.0), left), given.grad)


def test_an_unknown_activation_is_named() -> None:
    with pytest.raises(ValueError, match="unknown activation 'step'"):
        activation("step")
