"""Weak forms by tracing: the objects that a form's `u` and `v` are while it is read.

A form is a Python function, `lambda u, v, w: dot(grad(u), grad(v))`. It is called once with symbolic
arguments. A `Linear` is a tensor whose entries are linear in one argument: for each entry a
dictionary from *primitives* (a component of the argument, or one of its derivatives) to
coefficients. Multiplying a linear expression in u by one in v gives a `Bilinear`, coefficients of
pairs of primitives. Coefficients are numbers or one value per quadrature point `[m]`, so that all
quadrature points, cells and basis functions are treated in one contraction afterwards.

Gradients follow (grad u)_ij = d u_i / d x_j.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

Coefficient = float | Tensor


class FormError(TypeError):
    """A form is not what it should be (not linear in its arguments, shapes that do not fit)."""


class Primitive(NamedTuple):
    """A component of an argument or one of its derivatives.

    Attributes:
        block: which element of a mixed space.
        component: of a vector-valued element (0 for scalars).
        derivative: -1 for the value, j for d/dx_j; for H(div) and H(curl) elements d is the
            divergence and d + k the k-th component of the curl.
        side: 0, or at inner facets 0 and 1 for the two cells.
    """

    block: int
    component: int
    derivative: int
    side: int = 0


Entry = dict[Primitive, Coefficient]


@dataclass(frozen=True, eq=False)
class Linear:
    """A tensor linear in an argument.

    Attributes:
        role: "trial" or "test".
        entries: array of dictionaries, the shape of the tensor.
        derivatives: gradient of the same expression, for plain arguments only.
    """

    role: str
    entries: np.ndarray
    derivatives: Linear | None = None
    special: dict[str, Linear] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Tensor shape."""
        return self.entries.shape

    @property
    def T(self) -> Linear:
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
        out = _empty(self.shape)
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
        """Product with a number, a field, or (a scalar expression with) a vector or matrix field."""
        tensor = factor if isinstance(factor, Tensor) else None
        if self.shape == () and tensor is not None and tensor.dim() > 1:
            out = _empty(tuple(tensor.shape[1:]))
            for k in np.ndindex(out.shape):
                out[k] = _scaled(self.entries[()], tensor[(slice(None), *k)])
            return Linear(self.role, out)
        if tensor is not None and tensor.dim() > 1:
            raise FormError("use dot or inner for products of vectors and matrices")
        out = _empty(self.shape)
        for k in np.ndindex(self.shape):
            out[k] = _scaled(self.entries[k], factor)
        return Linear(self.role, out)

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        # tensor * u and tensor + u reach Python through the tensor's own operators.
        name = getattr(function, "__name__", "")
        if name in ("mul", "__mul__", "__rmul__", "multiply") and len(args) == 2:
            first, second = args
            return first * second if isinstance(first, Linear) else second * first
        if name in ("add", "__add__", "__radd__", "sub", "__sub__", "__rsub__"):
            raise FormError("every term of a form must be linear in each of its arguments")
        raise FormError(f"a form must be linear in its arguments; {name} is not")


@dataclass(frozen=True, eq=False)
class Bilinear:
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

    __torch_function__ = classmethod(cast(Any, Linear.__torch_function__).__func__)


@dataclass(frozen=True, eq=False)
class Values:
    """A known field at the quadrature points: acts as its values, knows its gradient.

    Attributes:
        value: `[m]` or `[m, k]`.
        gradient: `[m, d]` or `[m, k, d]`, None where it is not known.
    """

    value: Tensor
    gradient: Tensor | None = None

    @property
    def shape(self) -> torch.Size:
        """Shape of the values."""
        return self.value.shape

    def __getitem__(self, index: Any) -> Tensor:
        """Component of a vector field, `u[0]`, at every point."""
        index = index if isinstance(index, tuple) else (index,)
        return self.value[(slice(None), *index)]

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        plain = [a.value if isinstance(a, Values) else a for a in args]
        return function(*plain, **(kwargs or {}))


def _delegate(name: str) -> Callable[[Values, Any], Any]:
    def method(self: Values, *others: Any) -> Any:
        if any(isinstance(o, Linear | Bilinear) for o in others):
            return NotImplemented
        plain = [o.value if isinstance(o, Values) else o for o in others]
        return getattr(self.value, name)(*plain)

    return method


for _name in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "pow"):
    setattr(Values, f"__{_name}__", _delegate(f"__{_name}__"))
Values.__neg__ = _delegate("__neg__")  # type: ignore[attr-defined]


# -- what forms are written with -----------------------------------------------------------------


def grad(u: Any) -> Any:
    """Gradient: of a scalar a vector, of a vector the matrix d u_i / d x_j."""
    if isinstance(u, Values):
        if u.gradient is None:
            raise FormError("the gradient of this field is not known")
        return u.gradient
    if not isinstance(u, Linear) or u.derivatives is None:
        raise FormError("grad takes a trial or test function or a field, not an expression of it")
    return u.derivatives


def div(u: Any) -> Any:
    """Divergence of a vector, row-wise of nothing else."""
    if isinstance(u, Linear) and u.special is not None and "div" in u.special:
        return u.special["div"]
    return trace(grad(u))


def curl(u: Any) -> Any:
    """Curl of a vector in 3D (a vector) or in 2D (a scalar)."""
    if isinstance(u, Linear) and u.special is not None and "curl" in u.special:
        return u.special["curl"]
    g = grad(u)
    if _shape(g) == (2, 2):
        return _at(g, 1, 0) - _at(g, 0, 1)
    return _stacked(
        [_at(g, 2, 1) - _at(g, 1, 2), _at(g, 0, 2) - _at(g, 2, 0), _at(g, 1, 0) - _at(g, 0, 1)]
    )


def sym(a: Any) -> Any:
    """Symmetric part of a matrix."""
    return (a + transpose(a)) * 0.5


def transpose(a: Any) -> Any:
    """Transpose of a matrix."""
    if isinstance(a, Linear):
        return a.T
    return _plain(a).transpose(-1, -2)


def trace(a: Any) -> Any:
    """Trace of a matrix."""
    if isinstance(a, Linear):
        return sum((a[i, i] for i in range(1, a.shape[0])), a[0, 0])
    return torch.diagonal(_plain(a), dim1=-2, dim2=-1).sum(-1)


def dot(a: Any, b: Any) -> Any:
    """Contraction of the last index of a with the first of b."""
    a, b = _plain(a), _plain(b)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a.dim() == 3 and b.dim() == 2:
            return torch.einsum("mij,mj->mi", a, b)
        if a.dim() == 2 and b.dim() == 3:
            return torch.einsum("mi,mij->mj", a, b)
        return torch.einsum("mij,mjk->mik", a, b) if a.dim() == 3 else (a * b).sum(-1)
    rows, inner, columns = _shape(a)[:-1], _shape(a)[-1], _shape(b)[1:]
    if inner != _shape(b)[0]:
        raise FormError(f"dot of shapes {_shape(a)} and {_shape(b)}")
    parts: dict[tuple[int, ...], Any] = {}
    for r in np.ndindex(rows):
        for c in np.ndindex(columns):
            terms = [_at(a, *r, k) * _at(b, k, *c) for k in range(inner)]
            parts[(*r, *c)] = sum(terms[1:], terms[0])
    shape = rows + columns
    return parts[()] if shape == () else _from_parts(parts, shape)


def inner(a: Any, b: Any) -> Any:
    """Sum of the products of all entries (a : b)."""
    a, b = _plain(a), _plain(b)
    if _shape(a) != _shape(b):
        raise FormError(f"inner of shapes {_shape(a)} and {_shape(b)}")
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return (a * b).flatten(1).sum(-1) if a.dim() > 1 else a * b
    terms = [_at(a, *k) * _at(b, *k) for k in np.ndindex(_shape(a))]
    return sum(terms[1:], terms[0])


def jump(u: Any) -> Any:
    """u on the first side of an inner facet minus u on the second."""
    return _on_side(u, 0) - _on_side(u, 1)


def avg(u: Any) -> Any:
    """Mean of the two sides of an inner facet."""
    return (_on_side(u, 0) + _on_side(u, 1)) * 0.5


def _on_side(u: Any, side: int) -> Any:
    if isinstance(u, tuple):  # a field on inner facets is a pair of its sides
        return _plain(u[side])
    if not isinstance(u, Linear):
        raise FormError("jump and avg take trial and test functions and fields at inner facets")
    out = _empty(u.shape)
    for k in np.ndindex(u.shape):
        out[k] = {primitive._replace(side=side): c for primitive, c in u.entries[k].items()}
    return Linear(u.role, out)


# -- helpers -------------------------------------------------------------------------------------


def argument(role: str, block: int, components: int, dim: int) -> Linear:
    """A scalar (components = 0) or vector trial or test function with its gradient."""
    shape = (components,) if components else ()
    value, slope = _empty(shape), _empty((*shape, dim))
    for k in np.ndindex(shape):
        component = k[0] if k else 0
        value[k] = {Primitive(block, component, -1): 1.0}
        for j in range(dim):
            slope[(*k, j)] = {Primitive(block, component, j): 1.0}
    return Linear(role, value, Linear(role, slope))


def vector_element(role: str, block: int, dim: int, kind: str) -> Linear:
    """An argument of an H(div) ("hdiv") or H(curl) ("hcurl") element."""
    value = _empty((dim,))
    for i in range(dim):
        value[i] = {Primitive(block, i, -1): 1.0}
    if kind == "hdiv":
        return Linear(
            role, value, None, {"div": Linear(role, _scalar({Primitive(block, 0, dim): 1.0}))}
        )
    count = 1 if dim == 2 else 3
    parts = [_scalar({Primitive(block, 0, dim + k): 1.0}) for k in range(count)]
    curl_of = Linear(role, parts[0]) if dim == 2 else _stacked([Linear(role, p) for p in parts])
    return Linear(role, value, None, {"curl": curl_of})


def _empty(shape: tuple[int, ...]) -> np.ndarray:
    return np.empty(shape, dtype=object)


def _scalar(entry: Entry) -> np.ndarray:
    out = _empty(())
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
    if not isinstance(factor, int | float | Tensor | np.floating):
        raise FormError(f"cannot multiply by {type(factor).__name__} in a form")
    return {key: value * factor for key, value in entry.items()}


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


def _plain(a: Any) -> Any:
    return a.value if isinstance(a, Values) else a


def _shape(a: Any) -> tuple[int, ...]:
    """Tensor shape; the first axis of a field is that of the quadrature points."""
    return tuple(a.shape) if isinstance(a, Linear) else tuple(a.shape[1:])


def _at(a: Any, *index: int) -> Any:
    return a[index] if isinstance(a, Linear) else a[(slice(None), *index)]


def _stacked(parts: list[Any]) -> Any:
    return _from_parts({(k,): part for k, part in enumerate(parts)}, (len(parts),))


def _from_parts(parts: dict[tuple[int, ...], Any], shape: tuple[int, ...]) -> Any:
    first = next(iter(parts.values()))
    if isinstance(first, Tensor):
        flat = torch.stack([parts[k] for k in np.ndindex(shape)], dim=-1)
        return flat.reshape(*first.shape, *shape)
    if not isinstance(first, Linear):
        raise FormError("a form must be a scalar")
    out = _empty(shape)
    for k in np.ndindex(shape):
        out[k] = parts[k].entries[()]
    return Linear(first.role, out)
