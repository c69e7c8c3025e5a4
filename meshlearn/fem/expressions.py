"""Weak forms by tracing: the objects that a form's `u` and `v` are while it is read.

A form is a Python function, `lambda u, v, w: dot(grad(u), grad(v))`, called once with symbolic
arguments. A `Linear` is a tensor whose entries are linear in one argument: for each entry a
dictionary from *primitives* (a component of the argument, or one of its derivatives) to
coefficients. Multiplying a linear expression in u by one in v gives a `Bilinear`, coefficients of
pairs of primitives. Coefficients are numbers or one value per quadrature point `[m]`, so that all
quadrature points, cells and basis functions are treated in one contraction afterwards.

Gradients follow (grad u)_ij = d u_i / d x_j.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .values import FormError, Traced, Values

Coefficient = float | Tensor


class Primitive(NamedTuple):
    """A component of an argument or one of its derivatives.

    Attributes:
        block: which element of a mixed space.
        component: of a vector-valued element (0 for scalars).
        derivative: -1 for the value, j for d/dx_j; for H(div) and H(curl) elements d is the
            divergence and d + k the k-th component of the curl.
        side: 0, or at inner facets 0 and 1 for the two cells (-1 before jump or avg choose).
    """

    block: int
    component: int
    derivative: int
    side: int = 0


Entry = dict[Primitive, Coefficient]


@dataclass(frozen=True, eq=False)
class Linear(Traced):
    """A tensor linear in an argument.

    Attributes:
        role: "trial" or "test".
        entries: array of dictionaries, the shape of the tensor.
        derivatives: gradient of the same expression, for plain arguments only.
    """

    role: str
    entries: Any  # numpy object array
    derivatives: Linear | None = None
    special: dict[str, Linear] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Tensor shape."""
        return self.entries.shape

    @property
    def T(self) -> Linear:  # noqa: N802
        """Transpose of a matrix."""
        return Linear(self.role, self.entries.T)

    def __getitem__(self, index: Any) -> Linear:
        entries = self.entries[index]
        if isinstance(entries, dict):
            entries = _scalar(entries)
        slope = None if self.derivatives is None else self.derivatives[index]
        return Linear(self.role, entries, slope)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __add__(self, other: Any) -> Linear:
        if isinstance(other, int | float) and other == 0:
            return self
        if not isinstance(other, Linear) or other.role != self.role:
            raise FormError("every term of a form must be linear in each of its arguments")
        if other.shape != self.shape:
            raise FormError(f"cannot add expressions of shapes {self.shape} and {other.shape}")
        out = empty(self.shape)
        for k in np.ndindex(self.shape):
            out[k] = _added(self.entries[k], other.entries[k])
        return Linear(self.role, out)

    __radd__ = __add__

    def __neg__(self) -> Linear:
        return self * -1.0

    def __sub__(self, other: Any) -> Linear:
        return self + other * -1.0

    def __rsub__(self, other: Any) -> Linear:
        return other + self * -1.0

    def __truediv__(self, other: Any) -> Linear:
        return self * (1 / other)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Values):
            other = other.value
        if isinstance(other, Linear):
            if self.shape != () and other.shape != ():
                raise FormError("use dot or inner for products of vectors and matrices")
            if self.shape != () or other.shape != ():
                raise FormError("the product of two arguments in a form must be a scalar")
            return _pairs(self, other)
        if isinstance(other, Bilinear):
            raise FormError("a form must not be quadratic in an argument")
        return self._times(other)

    __rmul__ = __mul__

    def _times(self, factor: Any) -> Linear:
        """Product with a number or a field; of a scalar expression also with a vector field."""
        tensor = factor if isinstance(factor, Tensor) else None
        if self.shape == () and tensor is not None and tensor.dim() > 1:
            out = empty(tuple(tensor.shape[1:]))
            for k in np.ndindex(out.shape):
                out[k] = _scaled(self.entries[()], tensor[(slice(None), *k)])
            return Linear(self.role, out)
        if tensor is not None and tensor.dim() > 1:
            raise FormError("use dot or inner for products of vectors and matrices")
        out = empty(self.shape)
        for k in np.ndindex(self.shape):
            out[k] = _scaled(self.entries[k], factor)
        return Linear(self.role, out)


@dataclass(frozen=True, eq=False)
class Bilinear(Traced):
    """A scalar that is linear in the trial and in the test function."""

    terms: dict[tuple[Primitive, Primitive], Coefficient]

    def __add__(self, other: Any) -> Bilinear:
        if isinstance(other, int | float) and other == 0:
            return self
        if not isinstance(other, Bilinear):
            raise FormError("every term of a bilinear form must contain both u and v")
        return Bilinear(_added(self.terms, other.terms))

    __radd__ = __add__

    def __neg__(self) -> Bilinear:
        return self * -1.0

    def __sub__(self, other: Any) -> Bilinear:
        return self + other * -1.0

    def __mul__(self, factor: Any) -> Bilinear:
        factor = factor.value if isinstance(factor, Values) else factor
        if isinstance(factor, Linear | Bilinear):
            raise FormError("a form must not be quadratic in an argument")
        return Bilinear(_scaled(self.terms, factor))

    __rmul__ = __mul__

    def __truediv__(self, factor: Any) -> Bilinear:
        return self * (1 / factor)


def argument(role: str, block: int, components: int, dim: int, side: int = 0) -> Linear:
    """A scalar (components = 0) or vector trial or test function with its gradient."""
    shape = (components,) if components else ()
    value, slope = empty(shape), empty((*shape, dim))
    for k in np.ndindex(shape):
        component = k[0] if k else 0
        value[k] = {Primitive(block, component, -1, side): 1.0}
        for j in range(dim):
            slope[(*k, j)] = {Primitive(block, component, j, side): 1.0}
    return Linear(role, value, Linear(role, slope))


def vector_element(role: str, block: int, dim: int, kind: str, side: int = 0) -> Linear:
    """An argument of an H(div) ("hdiv") or H(curl) ("hcurl") element."""
    value = empty((dim,))
    for i in range(dim):
        value[i] = {Primitive(block, i, -1, side): 1.0}
    if kind == "hdiv":
        div_of = Linear(role, _scalar({Primitive(block, 0, dim, side): 1.0}))
        return Linear(role, value, None, {"div": div_of})
    count = 1 if dim == 2 else 3
    parts = [_scalar({Primitive(block, 0, dim + k, side): 1.0}) for k in range(count)]
    curl_of = Linear(role, parts[0]) if dim == 2 else stacked([Linear(role, p) for p in parts])
    return Linear(role, value, None, {"curl": curl_of})


def empty(shape: tuple[int, ...]) -> Any:
    return np.empty(shape, dtype=object)


def _scalar(entry: Entry) -> Any:
    out = empty(())
    out[()] = entry
    return out


def _added(first: dict[Any, Coefficient], second: dict[Any, Coefficient]) -> dict[Any, Coefficient]:
    out = dict(first)
    for key, value in second.items():
        out[key] = out[key] + value if key in out else value
    return out


def _scaled(entry: dict[Any, Coefficient], factor: Any) -> dict[Any, Any]:
    if isinstance(factor, Tensor) and factor.dim() == 0 and not factor.requires_grad:
        factor = float(factor)
    if not isinstance(factor, int | float | Tensor):
        raise FormError(f"cannot multiply by {type(factor).__name__} in a form")
    # Equal numbers share their product: fewer operations, and symmetry stays visible.
    products: dict[float, Any] = {1.0: factor}
    out = {}
    for key, value in entry.items():
        if isinstance(value, Tensor):
            out[key] = value * factor
        else:
            if value not in products:
                products[value] = value * factor
            out[key] = products[value]
    return out


def _pairs(first: Linear, second: Linear) -> Bilinear:
    if first.role == second.role:
        raise FormError("a form must not be quadratic in an argument")
    u, v = (first, second) if first.role == "trial" else (second, first)
    return Bilinear(
        {
            (a, b): x * y
            for (a, x), (b, y) in itertools.product(u.entries[()].items(), v.entries[()].items())
        }
    )


def plain(a: Any) -> Any:
    """Values of a field; lists of numbers become constant arrays."""
    if isinstance(a, list | tuple):
        return np.asarray(a, dtype=float)
    return a.value if isinstance(a, Values) else a


def tensor_shape(a: Any) -> tuple[int, ...]:
    """Tensor shape; the first axis of a field is that of the quadrature points."""
    return tuple(a.shape) if isinstance(a, Linear | np.ndarray) else tuple(a.shape[1:])


def entry(a: Any, *index: int) -> Any:
    if isinstance(a, np.ndarray):
        return a[index]
    return a[index] if isinstance(a, Linear) else a[(slice(None), *index)]


def stacked(parts: list[Any]) -> Any:
    return from_parts({(k,): part for k, part in enumerate(parts)}, (len(parts),))


def from_parts(parts: dict[tuple[int, ...], Any], shape: tuple[int, ...]) -> Any:
    first = next(iter(parts.values()))
    if isinstance(first, Tensor):
        flat = torch.stack([parts[k] for k in np.ndindex(shape)], dim=-1)
        return flat.reshape(*first.shape, *shape)
    if not isinstance(first, Linear):
        raise FormError("a form must be a scalar")
    out = empty(shape)
    for k in np.ndindex(shape):
        out[k] = parts[k].entries[()]
    return Linear(first.role, out)
