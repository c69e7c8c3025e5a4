r"""Parameter-guided channel attention: any operator, told the parameters of the equation by masks.

    z = gelu( W x )                                  x the columns the base reads, w channels
    m_1, m_2, m_3 = MLP( theta )                     theta the parameters, one mask each for
    v_1 = A z                                        the view of the point,
    v_2 = a * z + 10 b * mean over j of (z_j - z_i)  of the one-ring, depth-wise, j ~ i,
    v_3 = sum over k < K of c_k * T_k(L') z          and further, depth-wise (`nn.chebyshev`)
    y = W' gelu( R z + m_1 * v_1 + m_2 * v_2 + m_3 * v_3 )
    N(mesh, x) = base( mesh, [x, y] )

`*` is channel by channel: the parameters choose how much of which view of the fields goes on, as
they do in the equation, where they multiply derivatives. Takamoto, Alesiani & Niepert, "Learning
neural PDE solvers with parameter-guided channel attention" (CAPE), ICML 2023. There the views are
convolutions of a grid: 1x1, depth-wise with a 5-point kernel, and in Fourier space, where all modes
but the lowest are dropped. Here the ring has one weight for all neighbours, so that no direction is
preferred, and polynomials of the mesh's Laplacian stand for the Fourier modes: they reach K - 1
edges far. There y is an estimate of the next state with a loss of its own; here y are w features
without one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from ..kernels import gather, segment_mean
from ..mesh import Mesh, MeshError
from ..nn import chebyshev_series, edge_laplacian, mlp
from .base import Fields, Operator
from .bases import BASES
from .sites import site_graph, site_level, site_points
from .variables import Variable, columns_of

_STEEP = 10.0
"""A difference of neighbours is a tenth or so of the deviation."""
_SAME = 1e-3
"""How far apart values of a parameter on one mesh may be, in units of its deviation."""


class Guided(Operator):
    """An operator around another one, which does not see the parameters but what they single out.

    Args:
        inputs: with the parameters among them.
        outputs, boundary: see `Operator`.
        parameters: names of inputs that are one number on each mesh (of a batch).
        base: name in `BASES` of the operator inside.
        options: arguments of its class besides inputs, outputs and boundary.
        channels: w.
        order: K, see `nn.ChebyshevConv`.

    Attributes:
        base: the operator inside. Its inputs are those without the parameters, and y.

    Raises:
        MeshError: an unknown base, or a parameter that is no scalar input.
        TypeError: an option that the base does not have.
    """

    def __init__(
        self,
        inputs: Sequence[Variable | str | Sequence[Any]],
        outputs: Sequence[Variable | str | Sequence[Any]],
        boundary: str = "exact",
        *,
        parameters: Sequence[str],
        base: str = "mesh-graph-net",
        options: Mapping[str, Any] | None = None,
        channels: int = 16,
        order: int = 4,
    ) -> None:
        super().__init__(inputs, outputs, boundary)
        if base not in BASES:
            raise MeshError(f"base must be one of {', '.join(BASES)}, got {base!r}")
        if min(channels, order) < 1:
            raise MeshError(f"channels and order are at least 1, got {channels}, {order}")
        scalars = [v.name for v in self.inputs if not v.components]
        unknown = sorted(set(parameters) - set(scalars))
        if unknown or not parameters or len(set(parameters)) != len(parameters):
            raise MeshError(
                f"parameters must be one or more of the scalar inputs ({', '.join(scalars)}), "
                f"each once, got {', '.join(parameters) or 'none'}"
            )
        options = dict(options or {})
        self.config |= {"parameters": list(parameters), "base": base, "options": options}
        self.config |= {"channels": channels, "order": order}
        kept = [v for v in self.inputs if v.name not in parameters]
        views = Variable("views", self.element, channels)
        self.base: Operator = BASES[base]([*kept, views], self.outputs, boundary, **options)
        own = {v.name: list(range(s.start, s.stop)) for v, s in columns_of(self.inputs)}
        self._theta = [own[name][0] for name in parameters]
        self._kept = [k for v in kept for k in own[v.name]]
        given = len(self._kept) + 2 * self.columns_out
        self.lift = nn.Linear(given, channels)
        self.masks = mlp([len(self._theta), channels, 3 * channels], norm=False, between="gelu")
        self.point = nn.Linear(channels, channels)
        self.ring = nn.Parameter(torch.randn(2, channels))
        self.far = nn.Parameter(torch.randn(order, channels) / order**0.5)
        self.rest = nn.Linear(channels, channels)
        self.views = nn.Linear(channels, channels)

    def prepare(self, mesh: Mesh) -> Any:
        """What the base needs."""
        return self.base.prepare(mesh)

    def fit_scales(self, samples: Any) -> None:
        """See `Operator`; the base has the same scales."""
        super().fit_scales(samples)
        width = self.config["channels"]
        for side, columns in (("mean", torch.zeros(width)), ("scale", torch.ones(width))):
            read: Tensor = getattr(self, f"input_{side}")
            getattr(self.base, f"input_{side}").copy_(torch.cat([read[self._kept], columns]))
            getattr(self.base, f"output_{side}").copy_(getattr(self, f"output_{side}"))
        self.base.typical_size.copy_(self.typical_size)

    def perturbed(self, fields: Fields, rng: np.random.Generator) -> dict[str, Tensor]:
        """See `Operator`: noise as the base wants it, on what is not a parameter."""
        names = self.config["parameters"]
        given = {name: values for name, values in fields.items() if name not in names}
        return {**fields, **self.base.perturbed(given, rng)}

    def process(self, mesh: Mesh, nodes: Tensor, prepared: Any) -> Tensor:
        """See `Operator`.

        Raises:
            MeshError: a parameter has more than one value on a mesh.
        """
        read = self.input_mean.numel()
        fields, conditions = nodes[:, self._kept], nodes[:, read:]
        theta = self._constants(mesh, nodes[:, self._theta])
        views = self._views(mesh, torch.cat([fields, conditions], dim=1), theta)
        return self.base.process(mesh, torch.cat([fields, views, conditions], dim=1), prepared)

    def _constants(self, mesh: Mesh, values: Tensor) -> Tensor:
        """The parameters of each mesh, at its sites `[n, p]`.

        Means, in place of what is there, take the round-off of interpolation away.
        """
        number = site_graph(mesh, self.element)
        ones = torch.ones_like(values)
        total = values.new_zeros(int(number.max()) + 1, values.shape[1])
        mean = total.index_add(0, number, values) / total.index_add(0, number, ones)
        apart = (values - mean[number]).abs().amax(dim=0)
        for name, gap in zip(self.config["parameters"], apart.tolist(), strict=True):
            if gap > _SAME:
                raise MeshError(
                    f"the parameter {name!r} must be one number on each mesh; give fields that "
                    "vary as inputs that are no parameters"
                )
        return mean[number]

    def _views(self, mesh: Mesh, x: Tensor, theta: Tensor) -> Tensor:
        """y of the module `[n, channels]`."""
        level = site_level(mesh, self.element)
        sender, receiver = level.edge_index
        z = gelu(self.lift(x))
        step = segment_mean(gather(z, sender) - gather(z, receiver), level.segments)
        points = site_points(mesh, self.element)
        laplacian = edge_laplacian(points, level.edge_index, level.segments)
        terms = chebyshev_series(level.segments, laplacian, z, self.config["order"])
        far = torch.stack([c * term for c, term in zip(self.far, terms, strict=True)]).sum(dim=0)
        ring = self.ring[0] * z + self.ring[1] * _STEEP * step
        masks = self.masks(theta).chunk(3, dim=1)
        seen = sum(m * v for m, v in zip(masks, (self.point(z), ring, far), strict=True))
        return self.views(gelu(self.rest(z) + seen))
