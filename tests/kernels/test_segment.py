"""Segment reductions against plain loops and PyG's scatter, gradients, and edge cases."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.utils import scatter, softmax

from meshlearn import kernels
from meshlearn.kernels import Segments
from meshlearn.mesh import generate


def segments_of(counts: list[int]) -> Segments:
    rowptr = torch.tensor([0, *torch.tensor(counts, dtype=torch.int64).cumsum(0).tolist()])
    return Segments.from_rowptr(rowptr)


COUNTS = st.lists(st.integers(0, 5), min_size=1, max_size=12)
REDUCTIONS: dict[str, Callable[[torch.Tensor, Segments], torch.Tensor]] = {
    "sum": kernels.segment_sum,
    "mean": kernels.segment_mean,
    "max": kernels.segment_max,
    "min": kernels.segment_min,
}


@given(COUNTS, st.sampled_from(sorted(REDUCTIONS)), st.integers(0, 99))
@settings(max_examples=80)
def test_each_reduction_is_that_of_a_loop(counts: list[int], name: str, seed: int) -> None:
    segments = segments_of(counts)
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(sum(counts), 3, generator=generator, dtype=torch.float64)
    found = REDUCTIONS[name](values, segments)
    reduce = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin}[name]
    for k, part in enumerate(values.split(counts)):
        wanted = reduce(part, dim=0) if len(part) else torch.zeros(3, dtype=torch.float64)
        assert torch.allclose(found[k], wanted, atol=1e-14)


@pytest.mark.parametrize("name", sorted(REDUCTIONS))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_each_reduction_is_pygs_scatter(name: str, dtype: torch.dtype) -> None:
    mesh = generate.rectangle(8, 8)
    segments = Segments.from_rowptr(mesh.rowptr)
    values = torch.randn(mesh.num_edges, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    wide = values.float() if dtype == torch.bfloat16 else values
    wanted = scatter(wide, mesh.edge_index[1], 0, mesh.num_nodes, reduce=name)
    found = REDUCTIONS[name](values, segments)
    assert found.dtype == dtype
    tolerance = {torch.float64: 1e-13, torch.float32: 1e-6, torch.bfloat16: 2e-2}[dtype]
    assert torch.allclose(found.to(wide.dtype), wanted, atol=tolerance, rtol=tolerance)


@given(COUNTS, st.integers(0, 99))
@settings(max_examples=30)
def test_softmax_sums_to_one_and_is_pygs(counts: list[int], seed: int) -> None:
    segments = segments_of(counts)
    values = 300 * torch.randn(sum(counts), 2, generator=torch.Generator().manual_seed(seed))
    found = kernels.segment_softmax(values.double(), segments)
    wanted = softmax(values.double(), ptr=segments.rowptr)
    assert torch.allclose(found, wanted, atol=1e-12)
    total = kernels.segment_sum(found, segments)
    assert torch.allclose(total[segments.counts > 0], torch.ones(1, dtype=torch.float64))


@pytest.mark.parametrize("name", ["sum", "mean", "max", "softmax"])
def test_first_and_second_derivatives(name: str) -> None:
    segments = segments_of([3, 0, 1, 4])
    function = {**REDUCTIONS, "softmax": kernels.segment_softmax}[name]
    values = torch.randn(8, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: function(v, segments), (values,))
    assert torch.autograd.gradgradcheck(lambda v: function(v, segments), (values,))


@pytest.mark.parametrize("with_edges", [True, False])
def test_gather_combine_is_the_first_layer_on_concatenated_features(with_edges: bool) -> None:
    mesh = generate.rectangle(5, 5)
    segments = Segments.from_rowptr(mesh.rowptr)
    sender, receiver = mesh.edge_index
    h = torch.randn(mesh.num_nodes, 6, dtype=torch.float64)
    e = torch.randn(mesh.num_edges, 3, dtype=torch.float64)
    width = 15 if with_edges else 12
    weight = torch.randn(7, width, dtype=torch.float64)
    parts = [h[receiver], h[sender], *([e] if with_edges else [])]
    wanted = torch.cat(parts, dim=1) @ weight.T
    found = kernels.gather_combine(
        h @ weight[:, :6].T,
        h @ weight[:, 6:12].T,
        e @ weight[:, 12:].T if with_edges else None,
        sender,
        segments,
    )
    assert torch.allclose(found, wanted, atol=1e-12)


def test_gather_combine_derivatives() -> None:
    segments = segments_of([2, 0, 3, 1])
    senders = torch.tensor([1, 2, 0, 3, 1, 2])
    inputs = [torch.randn(k, 2, dtype=torch.float64, requires_grad=True) for k in (4, 4, 6)]

    def call(r: torch.Tensor, s: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
        return kernels.gather_combine(r, s, e, senders, segments).tanh()

    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)


def test_bfloat16_sums_of_many_edges_keep_their_digits() -> None:
    segments = segments_of([5000])
    ones = torch.ones(5000, 1, dtype=torch.bfloat16)
    assert float(kernels.segment_sum(ones, segments)) == pytest.approx(5000, rel=4e-3)


def test_results_are_the_same_from_run_to_run() -> None:
    mesh = generate.rectangle(30, 30)
    segments = Segments.from_rowptr(mesh.rowptr)
    values = torch.randn(mesh.num_edges, 8)
    first = kernels.segment_sum(values, segments)
    assert all(torch.equal(first, kernels.segment_sum(values, segments)) for _ in range(3))
