"""Known fields at the quadrature points, and what symbolic and known expressions share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


class FormError(TypeError):
    """A form is not what it should be (not linear in its arguments, shapes that do not fit)."""


class Traced:
    """tensor * u and the like reach Python through the tensor's own operators: they come here."""

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(function, "__name__", "")
        if name in ("mul", "__mul__", "__rmul__", "multiply") and len(args) == 2:
            first, second = args
            return first * second if isinstance(first, Traced) else second * first
        if name in ("add", "__add__", "__radd__", "sub", "__sub__", "__rsub__"):
            raise FormError("every term of a form must be linear in each of its arguments")
        raise FormError(f"a form must be linear in its arguments; {name} is not")


@dataclass(frozen=True, eq=False)
class Values:
    """A known field at the quadrature points: acts as its values, knows its gradient.

    Attributes:
        value: `[m]` or `[m, k]`.
        gradient: `[m, d]` or `[m, k, d]`, None where it is not known.
        special: "div" or "curl" of H(div) and H(curl) elements, `[m]` (curl in 3D: `[m, 3]`).
    """

    value: Tensor
    gradient: Tensor | None = None
    special: dict[str, Tensor] | None = None

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


class Sides(NamedTuple):
    """A known field at inner facets, seen from the two cells: for `jump`, `avg` and `grad`."""

    first: Any
    second: Any


def _delegate(name: str) -> Callable[[Values, Any], Any]:
    def method(self: Values, *others: Any) -> Any:
        if any(isinstance(o, Traced) for o in others):
            return NotImplemented
        plain = [o.value if isinstance(o, Values) else o for o in others]
        return getattr(self.value, name)(*plain)

    return method


for _name in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "pow"):
    setattr(Values, f"__{_name}__", _delegate(f"__{_name}__"))
setattr(Values, "__neg__", _delegate("__neg__"))  # noqa: B010  (made like those above)
