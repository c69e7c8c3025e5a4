"""Neighbour graphs: both methods against all pairs, order, batches, degenerate input."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from meshlearn.nn import (
    nearest_graph,
    nearest_pairs,
    pair_segments,
    radius_graph,
    radius_pairs,
)

METHODS = ["tree", "grid"]


def points(n: int, d: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, d, generator=generator, dtype=torch.float64)


def graphs(n: int, count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, count, (n,), generator=generator).sort().values


def is_sorted(pairs: Tensor) -> bool:
    key = pairs[1] * (1 + pairs.max() if pairs.numel() else 1) + pairs[0]
    return bool((key.diff() > 0).all())


@pytest.mark.parametrize("method", METHODS)
@given(d=st.integers(1, 3), n=st.integers(1, 60), q=st.integers(1, 40), seed=st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_radius_pairs_are_those_of_all_pairs(
    method: str, d: int, n: int, q: int, seed: int
) -> None:
    at, asked = points(n, d, seed), points(q, d, seed + 1)
    own, other = graphs(n, 2, seed), graphs(q, 3, seed)
    near = torch.cdist(asked, at) <= 0.3
    for batches, allowed in (
        ({}, near),
        (
            {"points_batch": own, "queries_batch": other},
            near & (other[:, None] == own),
        ),
    ):
        found = radius_pairs(at, asked, 0.3, method=method, **batches)
        assert torch.equal(found, allowed.nonzero().T.flip(0))
        assert is_sorted(found)


@pytest.mark.parametrize("method", METHODS)
@given(d=st.integers(1, 3), n=st.integers(1, 60), k=st.integers(1, 9), seed=st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_nearest_pairs_are_those_of_all_pairs(
    method: str, d: int, n: int, k: int, seed: int
) -> None:
    at, asked = points(n, d, seed), points(20, d, seed + 1)
    own, other = graphs(n, 2, seed), graphs(20, 3, seed)
    found = nearest_pairs(at, asked, k, points_batch=own, queries_batch=other, method=method)
    distance = torch.cdist(asked, at)
    distance[other[:, None] != own] = torch.inf
    rank = distance.argsort(dim=1).argsort(dim=1)
    wanted = ((rank < k) & distance.isfinite()).nonzero().T.flip(0)
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("method", METHODS)
def test_graphs_have_no_loops_and_radius_graphs_both_directions(method: str) -> None:
    pos, batch = points(300, 2, 0), graphs(300, 4, 0)
    edges = radius_graph(pos, 0.1, batch, method=method)
    assert (edges[0] != edges[1]).all()
    assert (batch[edges[0]] == batch[edges[1]]).all()
    both = {tuple(e) for e in edges.T.tolist()}
    assert both == {(j, i) for i, j in both}
    nearest = nearest_graph(pos, 4, batch, method=method)
    assert (nearest[0] != nearest[1]).all()
    assert torch.equal(nearest[1].bincount(), torch.full((300,), 4))
    by_receiver = pair_segments(nearest, 300)
    assert torch.equal(by_receiver.counts, torch.full((300,), 4))


@pytest.mark.parametrize("method", METHODS)
def test_points_at_one_place(method: str) -> None:
    pos = torch.zeros(5, 2, dtype=torch.float64)
    edges = nearest_graph(pos, 2, method=method)
    assert (edges[0] != edges[1]).all()
    assert torch.equal(edges[1].bincount(), torch.full((5,), 2))
    assert radius_graph(pos, 0.1, method=method).shape == (2, 20)


@pytest.mark.parametrize("method", METHODS)
def test_clustered_points(method: str) -> None:
    # a ball that fits the mean density is far too small or too large
    pos = torch.cat([1e-4 * points(50, 3, 0), 1 + points(50, 3, 1)])
    found = nearest_graph(pos, 3, method=method)
    distance = torch.cdist(pos, pos).fill_diagonal_(torch.inf)
    wanted = distance.topk(3, largest=False).indices.sort(dim=1).values.reshape(-1)
    assert torch.equal(found[0], wanted)


def test_no_points() -> None:
    none = torch.empty(0, 2, dtype=torch.float64)
    assert radius_pairs(none, points(3, 2, 0), 1.0).shape == (2, 0)
    assert nearest_pairs(points(3, 2, 0), none, 1).shape == (2, 0)


def test_bad_input_is_named() -> None:
    at = points(4, 2, 0)
    with pytest.raises(ValueError, match="radius must be positive, got 0"):
        radius_pairs(at, at, 0.0)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        nearest_pairs(at, at, 0)
    with pytest.raises(ValueError, match="method must be one of"):
        radius_pairs(at, at, 1.0, method="hash")
    with pytest.raises(
        ValueError, match=r"must be \[n, d\] and \[q, d\], got \[4, 2\] and \[4, 3\]"
    ):
        radius_pairs(at, points(4, 3, 0), 1.0)
    with pytest.raises(ValueError, match="both, or neither"):
        radius_pairs(at, at, 1.0, points_batch=graphs(4, 2, 0))
    with pytest.raises(ValueError, match="radius 1e-12 is too small for the extent"):
        radius_pairs(at, at, 1e-12, method="grid")
