"""Memory that is used again: never while it is in use, and never more of it than there was."""

from __future__ import annotations

import pytest
import torch

from meshlearn.kernels import memory, release_memory
from meshlearn.kernels.memory import LARGE, Pool, new_empty, new_zeros

ROWS = LARGE // 400 + 1


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    """An empty pool in place of that of the process."""
    monkeypatch.setattr(memory, "POOL", Pool(limit=10 * LARGE))
    return memory.POOL


def made(rows: int = ROWS, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return new_empty(torch.empty(0), rows, 100, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
def test_arrays_are_like_any_other(pool: Pool, dtype: torch.dtype) -> None:
    found = new_zeros(torch.empty(0, dtype=dtype), 2 * ROWS, 100)
    assert (found.shape, found.dtype) == ((2 * ROWS, 100), dtype)
    assert found.is_contiguous()
    assert found.data_ptr() % 64 == 0
    assert not found.any()
    assert torch.equal(found + 1, torch.ones(2 * ROWS, 100, dtype=dtype))


def test_memory_comes_back_once_nobody_refers_to_it(pool: Pool) -> None:
    first = made()
    place, view = first.data_ptr(), first[3:, :2]
    del first
    assert pool.size == 0
    other = made()
    assert other.data_ptr() != place  # a view is a reference
    del view
    assert made().data_ptr() == place


def test_arrays_in_use_do_not_overlap(pool: Pool) -> None:
    arrays = []
    for k in range(40):
        arrays.append(made(ROWS + k).fill_(k))
        if k % 3 == 0:
            arrays.pop(len(arrays) // 2)
    for one in arrays:
        assert one.unique().numel() == 1
    assert len({int(one[0, 0]) for one in arrays}) == len(arrays)


def test_a_gradient_keeps_its_memory(pool: Pool) -> None:
    x = torch.ones(ROWS, 100, requires_grad=True)
    (x * made().fill_(2)).sum().backward()
    made().fill_(7)
    assert (x.grad == 2).all()


def test_what_does_not_fit_goes_back_before_new_memory_is_made(pool: Pool) -> None:
    small = [made() for _ in range(4)]
    held = sum(t.nbytes for t in small)
    del small
    assert held <= pool.size <= held + 4 * 64
    large = made(2 * ROWS)
    assert pool.size + large.nbytes <= held + 4 * 64
    del large
    made(8 * ROWS)
    assert pool.size <= 8 * ROWS * 400 + 64


def test_no_more_is_kept_than_the_limit(pool: Pool) -> None:
    arrays = [made() for _ in range(20)]
    arrays.clear()
    assert 0 < pool.size <= pool.limit
    release_memory()
    assert pool.size == 0


def test_small_arrays_are_left_to_torch(pool: Pool) -> None:
    made(10)
    assert pool.size == 0
