"""Partners of two sides."""

from __future__ import annotations

import pytest
import torch

from meshlearn.mesh import MeshError
from meshlearn.mesh.matching import image_of, partners

FIRST = torch.tensor([[0.0, 0.0], [0.0, 0.4], [0.0, 1.0]], dtype=torch.float64)
SECOND = torch.tensor([[2.0, 1.0], [2.0, 0.0], [2.0, 0.4]], dtype=torch.float64)
NAMES = (torch.tensor([10, 11, 12]), torch.tensor([20, 21, 22]))


@pytest.mark.parametrize("image", [None, [2.0, 0.0], lambda x: x + torch.tensor([2.0, 0.0])])
def test_partners_are_found_by_translation_or_map(image: object) -> None:
    move = image_of(image, FIRST, SECOND)
    assert partners(move(FIRST), SECOND, 1.0, NAMES, ("a", "b"), "node").tolist() == [1, 2, 0]


def test_a_node_without_partner_is_named() -> None:
    with pytest.raises(MeshError, match=r"node 11 of 'a' has no partner on 'b', looked for at"):
        partners(FIRST + torch.tensor([2.0, 0.0]), SECOND[:2], 1.0, NAMES, ("a", "b"), "node")
