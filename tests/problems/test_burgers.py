"""Burgers' equations against Fletcher's exact travelling front."""

from __future__ import annotations

import pytest
import torch
from convergence import last_order

from meshlearn.fem.time import bdf2, crank_nicolson
from meshlearn.mesh import MeshError
from meshlearn.mesh.generate import rectangle
from meshlearn.problems import Burgers, travelling_front


@pytest.mark.parametrize(("degree", "sizes"), [(1, (12, 24)), (2, (8, 16))])
def test_orders_on_the_travelling_front(degree: int, sizes: tuple[int, int]) -> None:
    front = travelling_front(0.03)
    order = last_order(
        lambda n: front.solve(
            rectangle(n, n), 0.25, n * degree, degree=degree, scheme=crank_nicolson
        ).errors(),
        sizes,
    )
    assert order["l2"] == pytest.approx(degree + 1, abs=0.1)
    assert order["h1"] == pytest.approx(degree, abs=0.1)


def test_order_of_bdf2_in_time() -> None:
    front, mesh = travelling_front(0.05), rectangle(5, 5)
    truth = front.solve(mesh, 0.5, 160, scheme=crank_nicolson).states[-1]

    def error(steps: int) -> dict[str, float]:
        states = front.solve(mesh, 0.5, steps, scheme=bdf2).states
        return {"u": float((states[-1] - truth).norm())}

    assert last_order(error, (10, 20))["u"] == pytest.approx(2, abs=0.1)


def test_the_front_travels_along_the_diagonal() -> None:
    # u depends on 4 x - 4 y + t: the front moves by - t / 8 along x and t / 8 along y.
    front = travelling_front(0.02)
    assert front.exact is not None
    x = torch.rand(50, 2, dtype=torch.float64)
    there = x + torch.tensor([0.1, -0.1], dtype=torch.float64) / 8
    assert torch.allclose(front.exact(x, 0.3), front.exact(there, 0.2))


def test_viscosity_must_be_positive() -> None:
    with pytest.raises(MeshError, match="must be positive"):
        Burgers(0.0, torch.zeros_like, lambda x, t: x)
