"""What holds for every kernel: derivatives, dtypes, empty graphs, plans, the compiler."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meshlearn import kernels
from meshlearn.kernels import Scatter, Sparsity

from .graphs import KERNELS, random_graph, segments_of, sender_of, with_slopes

COUNTS = st.lists(st.integers(0, 5), min_size=1, max_size=12)
NAMES = sorted(KERNELS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [1, 3])
def test_first_and_second_derivatives(name: str, width: int) -> None:
    graph, kernel = random_graph([3, 0, 1, 4], 1), KERNELS[name]
    inputs = [x.requires_grad_() for x in kernel.make(graph, width, torch.float64)]
    assert torch.autograd.gradcheck(lambda *x: kernel.call(graph, *x), inputs)
    assert torch.autograd.gradgradcheck(lambda *x: kernel.call(graph, *x), inputs)


@given(COUNTS, st.integers(0, 99), st.sampled_from([1, 2, 8, 16, 50]), st.sampled_from(NAMES))
@settings(max_examples=150)
def test_float32_is_float64_rounded(counts: list[int], seed: int, width: int, name: str) -> None:
    graph, kernel = random_graph(counts, seed), KERNELS[name]
    inputs = kernel.make(graph, width, torch.float32, seed)
    wanted = with_slopes(kernel, graph, [x.double() for x in inputs])
    for a, b in zip(with_slopes(kernel, graph, inputs), wanted, strict=True):
        assert a.dtype == torch.float32
        scale = float(b.detach().abs().max()) + 1 if b.numel() else 1
        assert torch.allclose(a.double(), b, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [1, 16, 64])
def test_bfloat16_is_rounded_at_the_end_only(name: str, width: int) -> None:
    graph, kernel = random_graph([40, 0, 60, 25], 2), KERNELS[name]
    inputs = kernel.make(graph, width, torch.bfloat16)
    wanted = kernel.call(graph, *(x.double() for x in inputs))
    found = kernel.call(graph, *inputs)
    assert found.dtype == torch.bfloat16
    scale = float(wanted.abs().max())
    # One rounding of the result (2^-9), and of each part of it.
    assert float((found.double() - wanted).abs().max()) < 3 * 2**-8 * scale


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [1, 3, 16, 64])
def test_float32_is_kept_under_autocast(name: str, width: int) -> None:
    graph, kernel = random_graph([3, 0, 1, 4], 1), KERNELS[name]
    inputs = kernel.make(graph, width, torch.float32)
    wanted = with_slopes(kernel, graph, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = with_slopes(kernel, graph, inputs)
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == torch.float32
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("counts", [[0], [0, 0, 0], [5], [0, 7, 0]])
@pytest.mark.parametrize("width", [0, 1, 9])
def test_empty_segments_and_isolated_nodes(name: str, counts: list[int], width: int) -> None:
    graph, kernel = random_graph(counts, 0), KERNELS[name]
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        found = with_slopes(kernel, graph, kernel.make(graph, width, dtype))
        assert all(bool(x.isfinite().all()) for x in found)
        by_sender = ("scatter", "product, transposed", "transposed product")
        if len(found[0]) == len(counts) and name not in by_sender:
            empty = torch.tensor(counts) == 0
            assert bool((found[0][empty] == 0).all()) or name.startswith("gather")


@given(COUNTS, st.integers(0, 99))
@settings(max_examples=40)
def test_scatter_is_the_transpose_of_gather(counts: list[int], seed: int) -> None:
    graph = random_graph(counts, seed)
    v, h = (KERNELS[name].make(graph, 3, torch.float64, seed)[0] for name in ("scatter", "gather"))
    plan = graph.outgoing
    scattered = (kernels.scatter_add(v, plan) * h).sum()
    gathered = (v * kernels.gather(h, sender_of(graph), plan)).sum()
    assert torch.allclose(scattered, gathered, atol=1e-12)
    wanted = torch.zeros_like(h).index_add(0, sender_of(graph), v)
    assert torch.allclose(kernels.scatter_add(v, plan), wanted, atol=1e-13)


@given(COUNTS, st.integers(0, 99), st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=40)
def test_products_are_those_of_dense_matrices(
    counts: list[int], seed: int, dtype: torch.dtype
) -> None:
    graph = random_graph(counts, seed)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for width in (1, 4, 8, 20):
        a, h = KERNELS["product"].make(graph, width, dtype, seed)
        dense = torch.zeros(graph.size, graph.size, dtype=dtype)
        dense.index_put_((graph.receiver, sender_of(graph)), a, accumulate=True)
        found = kernels.sparse_dense(a, h, graph.sparsity)
        assert torch.allclose(found, dense @ h, atol=tolerance)
        found = kernels.sparse_transposed_dense(a, h, graph.sparsity)
        assert torch.allclose(found, dense.T @ h, atol=tolerance)
        dots = kernels.entry_dot(h, 2 * h, graph.sparsity)
        wanted = (2 * h @ h.T)[graph.receiver, sender_of(graph)]
        assert torch.allclose(dots, wanted, atol=10 * tolerance)


def test_product_with_a_vector_and_a_sparse_tensor() -> None:
    dense = torch.tensor([[1.0, 0, 2], [0, 0, 0], [0, 3, 0], [4, 0, 0]])
    matrix = dense.to_sparse_csr()
    x = torch.tensor([1.0, 2, 3])
    found = kernels.sparse_dense(matrix.values(), x, Sparsity.of(matrix))
    assert found.tolist() == [7, 0, 6, 4]


@pytest.mark.parametrize("name", NAMES)
def test_results_repeat_under_deterministic_algorithms(name: str) -> None:
    graph, kernel = random_graph([4, 0, 9, 2], 5), KERNELS[name]
    inputs = kernel.make(graph, 7, torch.float32)
    torch.use_deterministic_algorithms(True)
    try:
        first = with_slopes(kernel, graph, inputs)
        again = with_slopes(kernel, graph, inputs)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("name", [n for n in NAMES if "product" not in n and n != "entry_dot"])
def test_one_graph_for_the_compiler(name: str) -> None:
    if name.startswith(("neighbours", "scatter", "gather, planned")):
        return  # their plans are made outside compiled code
    graph, kernel = random_graph([3, 0, 2], 6), KERNELS[name]
    inputs = kernel.make(graph, 4, torch.float32)

    def loss(*x: torch.Tensor) -> torch.Tensor:
        return kernel.call(graph, *x).square().sum()

    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    leaves = [x.requires_grad_() for x in inputs]
    wanted = torch.autograd.grad(loss(*leaves), leaves)
    found = torch.autograd.grad(compiled(*leaves), leaves)
    for a, b in zip(found, wanted, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_extremes_with_nan_and_infinity() -> None:
    graph = segments_of([3, 2, 1])
    for width in (1, 16):
        column = torch.tensor([1.0, torch.nan, 3, -torch.inf, -2, -torch.inf])
        values = column[:, None].expand(6, width).contiguous()
        found = kernels.segment_max(values, graph)[:, 0]
        assert bool(found[0].isnan())
        assert found[1:].tolist() == [-2, -torch.inf]


@pytest.mark.parametrize("width", [1, 16])
def test_gradient_of_equal_largest_values_is_shared(width: int) -> None:
    values = torch.tensor([1.0, 1, 1, 0, 5, torch.nan, 2])[:, None].repeat(1, width)
    graph = segments_of([3, 0, 2, 1, 1])
    leaf = values.clone().requires_grad_()
    grad = torch.tensor([-3.0, 1, -2, 7, 4])[:, None].expand(5, width)  # negative as well
    (found,) = torch.autograd.grad(kernels.segment_max(leaf, graph), leaf, grad)
    assert torch.allclose(found[:, 0], torch.tensor([-1.0, -1, -1, 0, -2, 0, 4]))
    (found,) = torch.autograd.grad(kernels.segment_min(leaf, graph), leaf, grad)
    assert torch.allclose(found[:, 0], torch.tensor([-1.0, -1, -1, -2, 0, 0, 4]))


def test_the_gradient_of_a_gather_keeps_its_digits_in_bfloat16() -> None:
    h = torch.ones(1, 1, dtype=torch.bfloat16, requires_grad=True)
    kernels.gather(h, torch.zeros(5000, dtype=torch.int64)).sum().backward()
    assert h.grad is not None
    assert float(h.grad) == pytest.approx(5000, rel=4e-3)


def test_a_sum_of_many_tiles_is_that_of_one() -> None:
    # 150 receivers of a thousand edges: more than a tile of a quarter of a million numbers.
    graph = random_graph([1000] * 150, 7)
    r, s, e = KERNELS["fused silu"].make(graph, 8, torch.float64)
    found = kernels.gather_combine_reduce(r, s, e, sender_of(graph), graph, "silu")
    z = r[graph.receiver] + s[sender_of(graph)] + e
    wanted = torch.zeros_like(r).index_add(0, graph.receiver, torch.nn.functional.silu(z))
    assert torch.allclose(found, wanted, atol=1e-10)
    tiles = graph.tiles(32768)
    assert len(tiles) > 3
    assert [t[1] for t in tiles[:-1]] == [t[0] for t in tiles[1:]]
    assert tiles[-1][3] == len(graph.receiver)


def test_rows_beyond_two_to_the_31() -> None:
    # More rows than an int32 counts; memory that is not written costs nothing.
    rows = 2**31 + 4
    x = torch.empty(rows, 1, dtype=torch.bfloat16)
    far = torch.tensor([rows - 1, 0, rows - 3])
    x[far] = torch.tensor([[1.0], [2.0], [4.0]], dtype=torch.bfloat16)
    pattern = Sparsity(torch.tensor([0, 2, 3]), far, rows)
    assert pattern.rows.compact[1].dtype == torch.int64
    assert kernels.sparse_dense(None, x, pattern)[:, 0].tolist() == [3.0, 4.0]
    assert kernels.gather(x, far)[:, 0].tolist() == [1.0, 2.0, 4.0]


def test_add_at_adds_in_place_at_any_index() -> None:
    for index in (torch.tensor([2, 0, 2]), torch.tensor([2, 0, 2], dtype=torch.int32)):
        total = torch.tensor([1.0, 1, 1])
        kernels.add_at(total, index, torch.tensor([1.0, 2, 3]))
        assert total.tolist() == [3, 1, 5]
        table = torch.zeros(3, 2)
        kernels.add_at(table, index, torch.ones(3, 2))
        assert table[:, 0].tolist() == [1, 0, 2]


def test_add_at_is_differentiable() -> None:
    values = torch.randn(4, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([1, 0, 1, 2])

    def call(v: torch.Tensor) -> torch.Tensor:
        return kernels.add_at(v.new_zeros(3), index, v).square()

    assert torch.autograd.gradcheck(call, (values,))
    assert torch.autograd.gradgradcheck(call, (values,))


def test_errors_name_what_is_wrong() -> None:
    graph = segments_of([2, 1])
    with pytest.raises(ValueError, match="do not know the senders"):
        _ = graph.outgoing
    with pytest.raises(ValueError, match="a scatter to 2 targets names target 5"):
        kernels.scatter_add(torch.ones(2), Scatter(torch.tensor([0, 5]), 2))
    with pytest.raises(ValueError, match=r"must be integers \[m\], got torch.float32 \[3\]"):
        Scatter(torch.ones(3), 2)
    known = random_graph([2, 1], 0)
    with pytest.raises(ValueError, match="2 columns cannot multiply 3 rows"):
        kernels.sparse_dense(None, torch.ones(3, 1), known.sparsity)
    with pytest.raises(ValueError, match=r"values must be \[3\], one an entry, got \[2\]"):
        kernels.sparse_dense(torch.ones(2), torch.ones(2, 1), known.sparsity)
    h = torch.ones(2, 1)
    with pytest.raises(ValueError, match="activation must be one of identity, relu, silu"):
        kernels.gather_combine_reduce(h, h, None, sender_of(known), known, "tanh")
