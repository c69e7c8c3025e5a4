"""What forms are written with: grad, div, curl, dot, inner, jump and so on.

Each takes trial and test functions (`Linear`), known fields (`Values`) and tensors of values at the
quadrature points `[m, ...]`; numpy arrays and, in `dot`, one-dimensional tensors are constants.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .expressions import Linear, empty, entry, from_parts, plain, stacked, tensor_shape
from .values import FormError, Sides, Values


def grad(u: Any) -> Any:
    """Gradient: of a scalar a vector, of a vector the matrix d u_i / d x_j."""
    if isinstance(u, Sides):
        return Sides(grad(u.first), grad(u.second))
    if isinstance(u, Values):
        if u.gradient is None:
            raise FormError("the gradient of this field is not known")
        return u.gradient
    if isinstance(u, Linear) and u.special is not None:
        raise FormError(f"this element has no full gradient; there is {', '.join(u.special)}")
    if not isinstance(u, Linear) or u.derivatives is None:
        raise FormError("grad takes a trial or test function or a field, not an expression of it")
    return u.derivatives


def div(u: Any) -> Any:
    """Divergence of a vector, row-wise of nothing else."""
    if isinstance(u, Linear | Values) and u.special is not None and "div" in u.special:
        return u.special["div"]
    if isinstance(u, Sides):
        return Sides(div(u.first), div(u.second))
    return trace(grad(u))


def curl(u: Any) -> Any:
    """Curl of a vector in 3D (a vector) or in 2D (a scalar)."""
    if isinstance(u, Linear | Values) and u.special is not None and "curl" in u.special:
        return u.special["curl"]
    if isinstance(u, Sides):
        return Sides(curl(u.first), curl(u.second))
    g = grad(u)
    if tensor_shape(g) == (2, 2):
        return entry(g, 1, 0) - entry(g, 0, 1)
    return stacked(
        [
            entry(g, 2, 1) - entry(g, 1, 2),
            entry(g, 0, 2) - entry(g, 2, 0),
            entry(g, 1, 0) - entry(g, 0, 1),
        ]
    )


def sym(a: Any) -> Any:
    """Symmetric part of a matrix."""
    return (a + transpose(a)) * 0.5


def transpose(a: Any) -> Any:
    """Transpose of a matrix."""
    if isinstance(a, Linear):
        return a.T
    return plain(a).transpose(-1, -2)


def trace(a: Any) -> Any:
    """Trace of a matrix."""
    if isinstance(a, Linear):
        return sum((a[i, i] for i in range(1, a.shape[0])), a[0, 0])
    return torch.diagonal(plain(a), dim1=-2, dim2=-1).sum(-1)


def dot(a: Any, b: Any) -> Any:
    """Contraction of the last index of a with the first of b."""
    a, b = _constant(plain(a)), _constant(plain(b))
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a.dim() == 3 and b.dim() == 2:
            return torch.einsum("mij,mj->mi", a, b)
        if a.dim() == 2 and b.dim() == 3:
            return torch.einsum("mi,mij->mj", a, b)
        return torch.einsum("mij,mjk->mik", a, b) if a.dim() == 3 else (a * b).sum(-1)
    rows, inner, columns = tensor_shape(a)[:-1], tensor_shape(a)[-1], tensor_shape(b)[1:]
    if inner != tensor_shape(b)[0]:
        raise FormError(f"dot of shapes {tensor_shape(a)} and {tensor_shape(b)}")
    parts: dict[tuple[int, ...], Any] = {}
    for r in np.ndindex(rows):
        for c in np.ndindex(columns):
            terms = [entry(a, *r, k) * entry(b, k, *c) for k in range(inner)]
            parts[(*r, *c)] = sum(terms[1:], terms[0])
    shape = rows + columns
    return parts[()] if shape == () else from_parts(parts, shape)


def inner(a: Any, b: Any) -> Any:
    """Sum of the products of all entries (a : b)."""
    a, b = plain(a), plain(b)
    if tensor_shape(a) != tensor_shape(b):
        raise FormError(f"inner of shapes {tensor_shape(a)} and {tensor_shape(b)}")
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return (a * b).flatten(1).sum(-1) if a.dim() > 1 else a * b
    terms = [entry(a, *k) * entry(b, *k) for k in np.ndindex(tensor_shape(a))]
    return sum(terms[1:], terms[0])


def jump(u: Any) -> Any:
    """u on the first side of an inner facet minus u on the second."""
    return side(u, 0) - side(u, 1)


def avg(u: Any) -> Any:
    """Mean of the two sides of an inner facet."""
    return (side(u, 0) + side(u, 1)) * 0.5


def side(u: Any, which: int) -> Any:
    """u on the first (0: where `w.n` points away from) or second (1) side of an inner facet."""
    if isinstance(u, Sides):
        return plain(u[which])
    if not isinstance(u, Linear):
        raise FormError("jump, avg and side take trial and test functions and fields")
    out = empty(u.shape)
    for k in np.ndindex(u.shape):
        if any(primitive.side >= 0 for primitive in u.entries[k]):
            raise FormError("jump, avg and side act on inner facets, and once on each function")
        out[k] = {primitive._replace(side=which): c for primitive, c in u.entries[k].items()}
    return Linear(u.role, out)


def _constant(a: Any) -> Any:
    """A one-dimensional tensor in `dot` is a constant vector: its entries, autograd kept."""
    if isinstance(a, Tensor) and a.dim() == 1:
        out = np.empty(len(a), dtype=object)
        for k, component in enumerate(a.unbind()):
            out[k] = component
        return out
    return a
