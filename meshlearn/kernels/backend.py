"""Who computes the kernels: torch, or Triton on a GPU.

The choice is automatic: Triton for tensors on a CUDA device where it is installed, else torch. It
is overridden, for a block of code, by `use_backend("torch")` or, for a process, by the environment
variable `MESHLEARN_KERNELS`. Triton takes tensors on the CPU only with its interpreter
(`TRITON_INTERPRET=1` set before Triton is imported): exact and slow, made for tests.

Sums never depend on the order in which threads arrive, as long as the kernel has its plan (CSR
segments, a `Scatter`, a `Sparsity`). Without a plan a GPU adds atomically, unless
`torch.use_deterministic_algorithms(True)` asks otherwise: then the plan is made first.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

BACKENDS = ("auto", "torch", "triton")
VARIABLE = "MESHLEARN_KERNELS"
"""Environment variable that overrides the automatic choice."""

_chosen: ContextVar[str | None] = ContextVar("meshlearn_kernels", default=None)


class KernelError(RuntimeError):
    """A backend that does not exist or cannot be used here."""


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Compute kernels with "torch", "triton" or the automatic choice ("auto") inside the block.

    Raises:
        KernelError: there is no such backend.
    """
    token = _chosen.set(_checked(name, "backend"))
    try:
        yield
    finally:
        _chosen.reset(token)


def backend_for(values: Tensor) -> str:
    """The backend that serves a tensor, "torch" or "triton".

    Raises:
        KernelError: Triton is asked for and cannot take the tensor.
    """
    if torch.compiler.is_compiling():
        return "torch"  # the compiler writes its own kernels, and fuses these
    return _pick(wanted(), values.device.type)


def wanted() -> str:
    """What the block or the environment asks for, "auto" where neither does."""
    inside = _chosen.get()
    return inside or _checked(os.environ.get(VARIABLE) or "auto", f"value of {VARIABLE}")


def has_triton() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None


def is_interpreted() -> bool:
    """Whether Triton runs in its interpreter, on the CPU."""
    return os.environ.get("TRITON_INTERPRET", "0") not in ("", "0")


def needs_plan(values: Tensor) -> bool:
    """Whether an unordered sum of this tensor must be planned to be the same every time."""
    return values.is_cuda and torch.are_deterministic_algorithms_enabled()


def report() -> dict[str, Any]:
    """Backends and the choice on each kind of device, for people and programs."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    chosen = {device: _found(wanted(), device) for device in devices}
    triton = None
    if has_triton():
        import importlib.metadata

        triton = importlib.metadata.version("triton")
    return {
        "wanted": wanted(),
        "chosen": chosen,
        "torch": torch.__version__,
        "triton": triton,
        "interpreter": is_interpreted(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def _found(name: str, device: str) -> str:
    try:
        return _pick(name, device)
    except KernelError as error:
        return f"none: {error}"


def _pick(name: str, device: str) -> str:
    if name == "torch":
        return "torch"
    if name == "auto":
        return "triton" if device == "cuda" and has_triton() and not is_interpreted() else "torch"
    if not has_triton():
        raise KernelError("Triton is not installed: pip install 'meshlearn[triton]', or use torch")
    if device != "cuda" and not is_interpreted():
        raise KernelError(
            f"Triton cannot take tensors on {device}: move them to a CUDA device, or set "
            "TRITON_INTERPRET=1 before the program starts"
        )
    return "triton"


def _checked(name: str, what: str) -> str:
    if name not in BACKENDS:
        raise KernelError(f"{what} must be one of {', '.join(BACKENDS)}, got {name!r}")
    return name
