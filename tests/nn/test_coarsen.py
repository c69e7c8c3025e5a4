"""Coarsening of graphs: independence, maximality, weights that add up."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from meshlearn.nn import coarsen


def random_graph(n: int, seed: int) -> sp.csr_array:
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, n, (2, 2 * n))
    return coarsen.adjacency(np.r_[pairs[0], pairs[1]], np.r_[pairs[1], pairs[0]], n)


@given(n=st.integers(1, 80), seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_independent_sets_are_independent_and_maximal(n: int, seed: int) -> None:
    graph = random_graph(n, seed)
    rank = np.random.default_rng(seed).permutation(n)
    member = coarsen.independent_set(graph, rank)
    neighbours = graph @ member
    assert (neighbours[member] == 0).all()
    assert (neighbours[~member] > 0).all()
    assert member[rank.argmax()]
    label = coarsen.nearest_members(graph, member, rank)
    chosen = np.flatnonzero(member)[label]
    assert (chosen[member] == np.flatnonzero(member)).all()
    assert all(graph[i, chosen[i]] for i in np.flatnonzero(~member))


@given(n=st.integers(1, 80), seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_aggregates_are_connected_and_numbered_in_order(n: int, seed: int) -> None:
    graph = random_graph(n, seed)
    label = coarsen.aggregates(graph)
    count = label.max() + 1
    assert (np.unique(label) == np.arange(count)).all()
    assert (np.diff(np.unique(label, return_index=True)[1]) > 0).all()
    for k in range(count):
        own = np.flatnonzero(label == k)
        inside = graph[own][:, own]
        assert sp.csgraph.connected_components(inside)[0] == 1
    coarse = coarsen.coarse_graph(graph, label)
    assert coarse.shape == (count, count)
    assert abs(coarse - coarse.T).max() == 0
    assert coarse.diagonal().max() == 0


@given(n=st.integers(1, 80), seed=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_rows_of_weights_add_up_to_one(n: int, seed: int) -> None:
    graph = random_graph(n, seed)
    member = coarsen.independent_set(graph, np.random.default_rng(seed).permutation(n))
    for weights in (
        coarsen.member_weights(graph, member),
        coarsen.smoothed_weights(graph, coarsen.aggregates(graph)),
    ):
        assert np.allclose(weights.sum(axis=1), 1, atol=1e-14)
        assert weights.data.min() > 0


@pytest.mark.parametrize("d", [1, 2, 3])
def test_linear_weights_reproduce_linear_functions(d: int) -> None:
    rng = np.random.default_rng(0)
    fine, coarse = rng.random((50, d)), rng.random((12, d)) * 1.5 - 0.25
    everything = sp.csr_array(np.ones((50, 12)))
    weights = coarsen.linear_weights(everything, everything, fine, coarse)
    assert np.abs(weights @ coarse - fine).max() < 1e-10
    assert np.allclose(weights.sum(axis=1), 1)


def test_linear_weights_on_a_line_in_the_plane_and_far_outside() -> None:
    coarse = np.array([[0.0, 0], [1, 0], [2, 0]])
    plain = sp.csr_array(np.ones((3, 3)) / 3)
    fine = np.array([[0.5, 0.0], [1.2, 0.3], [40.0, 0.0]])
    weights = coarsen.linear_weights(sp.csr_array(np.ones((3, 3))), plain, fine, coarse)
    assert np.allclose((weights @ coarse)[:2, 0], [0.5, 1.2], atol=1e-6)
    # far outside they would amplify: the plain ones are taken
    assert np.allclose(weights.toarray()[2], 1 / 3)


def test_scrambled_numbers_are_distinct_and_fixed() -> None:
    found = coarsen.scrambled(np.arange(10_000))
    assert len(np.unique(found)) == 10_000
    assert int(found[0]) == 0xE220A8397B1DCDAF  # splitmix64 of seed 0, as published
