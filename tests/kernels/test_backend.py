"""The choice of a backend, and what is said where it cannot be had."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch

from meshlearn.kernels import KernelError, backend, use_backend
from meshlearn.kernels.backend import VARIABLE, backend_for, report

CPU = torch.zeros(1)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


class OnGpu:
    """Stands for a tensor on a device that is not here."""

    device = torch.device("cuda")
    is_cuda = True


def test_torch_serves_the_cpu_and_triton_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu: Any = OnGpu()
    assert backend_for(CPU) == "torch"
    monkeypatch.setattr(backend, "has_triton", lambda: True)
    assert backend_for(gpu) == "triton"
    monkeypatch.setattr(backend, "has_triton", lambda: False)
    assert backend_for(gpu) == "torch"


def test_blocks_and_environment_override(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu: Any = OnGpu()
    monkeypatch.setattr(backend, "has_triton", lambda: True)
    monkeypatch.setenv(VARIABLE, "torch")
    assert backend_for(gpu) == "torch"
    with use_backend("triton"):
        assert backend_for(gpu) == "triton"
        with use_backend("auto"):
            assert backend_for(CPU) == "torch"
    assert backend_for(gpu) == "torch"


def test_triton_on_the_cpu_needs_its_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "has_triton", lambda: True)
    with use_backend("triton"):
        with pytest.raises(KernelError, match="cannot take tensors on cpu"):
            backend_for(CPU)
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        assert backend_for(CPU) == "triton"


def test_missing_triton_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with use_backend("triton"), pytest.raises(KernelError, match=r"pip install 'meshlearn\[triton"):
        backend_for(CPU)
    assert report()["triton"] is None


def test_unknown_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(KernelError, match="one of auto, torch, triton, got 'cupy'"),
        use_backend("cupy"),
    ):
        pass
    monkeypatch.setenv(VARIABLE, "numba")
    with pytest.raises(KernelError, match=f"value of {VARIABLE} must be one of"):
        backend_for(CPU)


def test_a_plan_is_made_where_torch_must_be_deterministic() -> None:
    gpu: Any = OnGpu()
    assert not backend.needs_plan(gpu)
    torch.use_deterministic_algorithms(True)
    try:
        assert backend.needs_plan(gpu)
        assert not backend.needs_plan(CPU)  # sums on the CPU are ordered as they are
        assert report()["deterministic"]
    finally:
        torch.use_deterministic_algorithms(False)
