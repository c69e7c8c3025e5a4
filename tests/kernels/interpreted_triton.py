"""The Triton programs against torch, on the CPU with Triton's interpreter.

The interpreter must be asked for before Triton is imported: `test_triton.py` runs this file in a
process of its own with TRITON_INTERPRET=1.
"""

from __future__ import annotations

import pytest
import torch
from graphs import KERNELS, random_graph, with_slopes

from meshlearn import kernels
from meshlearn.kernels import Scatter, Sparsity, use_backend
from meshlearn.kernels.backend import backend_for, report

COUNTS = [3, 0, 1, 0, 6, 2, 0]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 4e-2}


@pytest.mark.parametrize("name", sorted(KERNELS))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [1, 5])
def test_as_torch(name: str, dtype: torch.dtype, width: int) -> None:
    graph, kernel = random_graph(COUNTS, 1), KERNELS[name]
    inputs = kernel.make(graph, width, dtype)
    found = {}
    for backend in ("triton", "torch"):
        with use_backend(backend):
            assert backend_for(inputs[0]) == backend
            found[backend] = with_slopes(kernel, graph, inputs)
    for a, b in zip(found["triton"], found["torch"], strict=True):
        assert a.dtype == b.dtype
        scale = max(1.0, float(b.detach().double().abs().max()))
        assert float((a - b).detach().double().abs().max()) <= TOLERANCE[dtype] * scale


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_derivatives(name: str) -> None:
    graph, kernel = random_graph([2, 0, 3, 1], 2), KERNELS[name]
    inputs = [x.requires_grad_() for x in kernel.make(graph, 2, torch.float64)]
    with use_backend("triton"):
        assert torch.autograd.gradcheck(lambda *x: kernel.call(graph, *x), inputs)


@pytest.mark.parametrize("name", ["sum", "product", "softmax", "max"])
def test_second_derivatives(name: str) -> None:
    graph, kernel = random_graph([2, 0, 2], 3), KERNELS[name]
    inputs = [x.requires_grad_() for x in kernel.make(graph, 2, torch.float64)]
    with use_backend("triton"):
        assert torch.autograd.gradgradcheck(lambda *x: kernel.call(graph, *x), inputs)


@pytest.mark.parametrize("width", [0, 3])
def test_nothing_to_add_up(width: int) -> None:
    graph = random_graph([0, 0, 0], 0)
    with use_backend("triton"):
        for name, kernel in KERNELS.items():
            inputs = kernel.make(graph, width, torch.float32)
            with use_backend("torch"):
                wanted = kernel.call(graph, *inputs)
            found = kernel.call(graph, *inputs)
            assert torch.equal(found, wanted), name


def test_many_rows_and_columns_take_several_tiles() -> None:
    graph = random_graph([1, 2, 3] * 9, 4)
    values = KERNELS["sum"].make(graph, 300, torch.float32)[0]
    with use_backend("triton"):
        found = kernels.segment_sum(values, graph)
    assert torch.allclose(found, kernels.segment_sum(values, graph), atol=1e-5)


def test_nan_wins_as_in_torch() -> None:
    graph = random_graph([3, 2], 0)
    values = torch.tensor([[1.0], [torch.nan], [3.0], [1.0], [2.0]])
    for reduce in (kernels.segment_max, kernels.segment_min):
        with use_backend("triton"):
            found = reduce(values, graph)
        assert bool(found[0].isnan())
        assert not bool(found[1].isnan())


def test_offsets_beyond_two_to_the_31() -> None:
    # The rows lie behind the 2^31st number; memory that is not written costs nothing.
    rows, width = 2**28 + 4, 8
    x = torch.empty(rows, width, dtype=torch.bfloat16)
    wanted = torch.tensor([[1.0], [2.0], [4.0]]).expand(3, width).bfloat16()
    far = torch.tensor([rows - 1, 0, rows - 3])
    x[far] = wanted
    pattern = Sparsity(torch.tensor([0, 2, 3]), far, rows)
    with use_backend("triton"):
        found = kernels.sparse_dense(None, x, pattern)
    assert found[:, 0].tolist() == [3.0, 4.0]


def test_sums_of_many_entries_keep_their_digits() -> None:
    plan = Scatter(torch.zeros(300, dtype=torch.int64), 1)
    with use_backend("triton"):
        found = kernels.scatter_add(torch.ones(300, 1, dtype=torch.bfloat16), plan)
    assert float(found) == 300


def test_the_report_names_the_interpreter() -> None:
    with use_backend("triton"):
        assert report()["chosen"]["cpu"] == "triton"
    assert report()["chosen"]["cpu"] == "torch"  # of its own accord nobody wants the interpreter
    assert report()["interpreter"]


def test_gradient_of_equal_extremes_is_shared() -> None:
    graph = random_graph([3, 0, 2], 0)
    grad = torch.tensor([[-3.0], [1], [-2]])
    leaf = torch.tensor([[1.0], [1], [1], [0], [5]], requires_grad=True)
    with use_backend("triton"):
        (found,) = torch.autograd.grad(kernels.segment_max(leaf, graph), leaf, grad)
    assert found[:, 0].tolist() == [-1, -1, -1, 0, -2]
