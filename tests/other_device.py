"""A second device in software: tensors on the CPU that say they are elsewhere.

What a GPU refuses is refused here too: an operation on tensors of both devices (but for single
numbers), and numpy arrays of tensors that are away. So code that forgets a `device=` fails on any
machine. To be imported in a process of its own: torch learns of the device for good.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("away")
AWAY = torch.device("away:0")
_MOVES = ("aten._to_copy", "aten.copy_", "aten.index_put", "aten.lift_fresh", "aten.set_")
_SPARSE = ("values", "crow_indices", "col_indices", "coalesce", "to_sparse_csr")


class Away(Tensor):
    """A tensor that is elsewhere; `data_` is what it holds."""

    data_: Tensor

    @staticmethod
    def __new__(cls, data: Tensor) -> Away:
        sparse = data.layout != torch.strided  # a wrapper cannot be: it looks dense to torch
        stride = (data.shape[1], 1) if sparse else data.stride()
        return Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            data.size(),
            strides=stride,
            storage_offset=0 if sparse else data.storage_offset(),
            dtype=data.dtype,
            device=AWAY,
        )

    def __init__(self, data: Tensor) -> None:
        self.data_ = data

    def __repr__(self) -> str:  # type: ignore[override]
        return f"away {self.data_}"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        first = args[0] if args else None
        if isinstance(first, Away):
            if func is Tensor.tolist:
                return first.data_.tolist()
            if func in (Tensor.__getitem__, Tensor.__setitem__):
                args = (first, _indices(args[1]), *args[2:])
            if first.data_.layout != torch.strided:
                if getattr(func, "__name__", "") in _SPARSE:
                    return Away(func(first.data_))
                if func == Tensor.layout.__get__:  # type: ignore[attr-defined]
                    return first.data_.layout
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    leaves, name = tree_leaves((args, kwargs)), str(func)
    away = [t for t in leaves if isinstance(t, Away)]
    here = [t for t in leaves if isinstance(t, Tensor) and not isinstance(t, Away) and t.dim() > 0]
    if away and here and not name.startswith(_MOVES):
        raise RuntimeError(f"{name}: all tensors must be on one device, some are away")
    args = tree_map(_here, args)
    if name.startswith("aten.index.") and args[0].layout != torch.strided:
        args = (args[0].to_dense(), *args[1:])  # it looked dense
    out = func(*args, **tree_map(_here, kwargs))
    device = kwargs.get("device")
    if (device is None and not away) or (device is not None and torch.device(device) != AWAY):
        return out
    return tree_map(lambda t: Away(t) if type(t) is Tensor else t, out)


def _here(value: Any) -> Any:
    if isinstance(value, Away):
        return value.data_
    return torch.device("cpu") if isinstance(value, torch.device) and value == AWAY else value


class _Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """What does not reach the dispatcher: tensors from lists, and sparse ones."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        if func is torch.sparse_csr_tensor and isinstance(args[0], Away):
            return Away(func(*map(_here, args), **{k: _here(v) for k, v in kwargs.items()}))
        return func(*args, **kwargs)


def _indices(index: Any) -> Any:
    """Lists become tensors, as inside torch."""
    if isinstance(index, tuple):
        return tuple(_indices(part) for part in index)
    return torch.tensor(index).to(AWAY) if isinstance(index, list) else index


class SecondDevice:
    """Context in which `.to("away")` works."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> None:
        # Derivatives too are taken in this thread, where the modes are.
        self._stack.enter_context(torch.autograd.set_multithreading_enabled(False))
        self._stack.enter_context(_Dispatch())
        self._stack.enter_context(_Functions())

    def __exit__(self, *error: Any) -> None:
        self._stack.close()
