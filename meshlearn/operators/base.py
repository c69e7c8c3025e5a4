r"""The contract of all operators: fields of a mesh in, fields of the same mesh out.

    x = [ E f_1, ..., E f_p, chi_D, g ]          fields at the sites (encoder)
    y = N(mesh, x)                               the network, float32
    u = y on free degrees of freedom, g on those of Dirichlet conditions (decoder)

E interpolates to the sites, the degrees of freedom of one space (P1, or P2 where a field is), and
brings them to mean 0 and deviation 1 of the training data. What goes in and out is float64; so are
the boundary values, which do not pass through the network: they are exact.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from ..fem import Dirichlet
from ..fem.dirichlet import gathered
from ..mesh import Mesh, MeshError
from ..nn import local_size
from ..nn.storage import load_weights, read_config, save_model
from .conserve import with_integral
from .sites import resampled
from .variables import Variable, checked_fields, columns_of

Fields = Mapping[str, Tensor]
Conditions = Mapping[str, Sequence[Dirichlet]]
BOUNDARIES = ("exact", "soft")


class Operator(nn.Module, ABC):
    """Base of all operators.

    Args:
        inputs: what is read: `Variable`s, names, or (name, element, components).
        outputs: what is returned, likewise.
        boundary: "exact" sets the degrees of freedom of Dirichlet conditions; "soft" shows their
            values to the network only.

    Attributes:
        element: of the sites: "P2" where a field is P2, else "P1".
        every: steps of a rollout from one call of `follow` to the next; 0 for none.
        config: arguments that build the operator again, for JSON.
    """

    input_mean: Tensor
    input_scale: Tensor
    output_mean: Tensor
    output_scale: Tensor
    typical_size: Tensor
    every: int = 0

    def __init__(
        self,
        inputs: Sequence[Variable | str | Sequence[Any]],
        outputs: Sequence[Variable | str | Sequence[Any]],
        boundary: str = "exact",
    ) -> None:
        super().__init__()
        if boundary not in BOUNDARIES:
            raise MeshError(f"boundary must be one of {BOUNDARIES}, got {boundary!r}")
        self.inputs = tuple(Variable.of(v) for v in inputs)
        self.outputs = tuple(Variable.of(v) for v in outputs)
        names = [v.name for v in self.inputs], [v.name for v in self.outputs]
        if not names[1] or any(len(set(n)) != len(n) for n in names):
            raise MeshError("an operator has at least one output, and no name twice on one side")
        self.boundary = boundary
        every = (*self.inputs, *self.outputs)
        self.element = "P2" if any(v.element == "P2" for v in every) else "P1"
        self.config: dict[str, Any] = {
            "inputs": [[v.name, v.element, v.components] for v in self.inputs],
            "outputs": [[v.name, v.element, v.components] for v in self.outputs],
            "boundary": boundary,
        }
        read, given = sum(v.width for v in self.inputs), self.columns_out
        for name, size, value in (
            ("input_mean", read, 0.0),
            ("input_scale", read, 1.0),
            ("output_mean", given, 0.0),
            ("output_scale", given, 1.0),
            ("typical_size", 1, 1.0),
        ):
            self.register_buffer(name, torch.full((size,), value))

    @property
    def columns_in(self) -> int:
        """Columns of the network's node features: the inputs, and chi_D and g of each output."""
        return sum(v.width for v in self.inputs) + 2 * self.columns_out

    @property
    def columns_out(self) -> int:
        """Columns of the network's result."""
        return sum(v.width for v in self.outputs)

    @abstractmethod
    def process(self, mesh: Mesh, nodes: Tensor, prepared: Any) -> Tensor:
        """The network: features of the sites `[n, columns_in]` to `[n, columns_out]`, float32."""

    def prepare(self, mesh: Mesh) -> Any:
        """What the network needs of a mesh besides its graph; make it once for many calls."""
        return None

    def follow(self, mesh: Mesh, fields: Fields, prepared: Any) -> Any:
        """What is prepared, for the steps of a rollout that begin with a state.

        Args:
            mesh: where the fields live.
            fields: inputs by name, the state among them.
            prepared: of `prepare(mesh)` or of an earlier state.
        """
        return prepared

    def forward(
        self,
        mesh: Mesh,
        fields: Fields,
        bcs: Conditions | None = None,
        *,
        integrals: Fields | None = None,
        prepared: Any = None,
    ) -> dict[str, Tensor]:
        """Fields of a mesh or batch.

        Args:
            mesh: where the fields live.
            fields: inputs by name, `[n]` or `[n, k]`: coefficients in the variable's space.
            bcs: Dirichlet conditions by name of the output they hold.
            integrals: prescribed integrals by name of the output, `[graphs]` or `[graphs, k]`; met
                by a constant on the free degrees of freedom (see `conserve`).
            prepared: of `prepare(mesh)`, for this mesh.

        Returns:
            The outputs by name, float64.

        Raises:
            MeshError: a field or condition is missing or does not fit.
        """
        given = checked_fields(mesh, self.inputs, fields)
        held = [self._held(mesh, variable, bcs or {}) for variable in self.outputs]
        unknown = {*(bcs or {}), *(integrals or {})} - {v.name for v in self.outputs}
        if unknown:
            known = ", ".join(v.name for v in self.outputs)
            raise MeshError(f"conditions for {min(unknown)!r}, but the outputs are {known}")
        nodes = self._features(mesh, given, held)
        ready = self.prepare(mesh) if prepared is None else prepared
        result = self.process(mesh, nodes, ready).double()
        result = result * self.output_scale.double() + self.output_mean.double()
        return self._decoded(mesh, result, held, integrals or {})

    def fit_scales(self, samples: Iterable[tuple[Mesh, Fields, Fields]]) -> None:
        """Take mean and deviation of inputs and outputs from data; kept with the weights.

        Args:
            samples: meshes with their inputs and outputs.
        """
        read: list[Tensor] = []
        given: list[Tensor] = []
        size: list[Tensor] = []
        for mesh, inputs, outputs in samples:
            read.append(_moments(checked_fields(mesh, self.inputs, inputs)))
            given.append(_moments(checked_fields(mesh, self.outputs, outputs)))
            size.append(local_size(mesh).log().mean())
        if not size:
            raise MeshError("the scales need at least one sample")
        for name, moments in (("input", read), ("output", given)):
            mean, square = torch.stack(moments).mean(dim=0)
            deviation = (square - mean**2).clamp(min=0).sqrt()
            flat = deviation <= 1e-12 * mean.abs().clamp(min=1e-300)
            getattr(self, f"{name}_mean").copy_(mean)
            getattr(self, f"{name}_scale").copy_(torch.where(flat, 1.0, deviation))
        self.typical_size.fill_(float(torch.stack(size).mean().exp()))

    def perturbed(self, fields: Fields, rng: np.random.Generator) -> dict[str, Tensor]:
        """Inputs as they are shown in training: as they are, where the class says nothing else.

        Args:
            fields: inputs by name.
            rng: what is random comes from here.
        """
        return dict(fields)

    def with_noise(
        self, fields: Fields, deviation: float, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """Some of the inputs with Gaussian noise added.

        Args:
            fields: inputs by name.
            deviation: of the noise, in units of that of each input.
            rng: the noise comes from here.
        """
        out = {}
        for variable, own in columns_of(self.inputs):
            if variable.name not in fields:
                continue
            values = fields[variable.name]
            scale = self.input_scale[own].double().cpu().numpy()
            drawn = rng.normal(size=(values.numel() // variable.width, variable.width)) * scale
            noise = torch.from_numpy(deviation * drawn).to(values)
            out[variable.name] = values + noise.reshape(values.shape)
        return out

    def save(self, path: str | Path, card: Mapping[str, Any] | None = None) -> Path:
        """Write weights and card (`PATH.safetensors`, `PATH.json`); see `nn.storage`."""
        return save_model(path, self, self.config, card or {})

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """An operator of this class from a file that `save` wrote.

        Raises:
            MeshError: no such weights, or those of another class; see also `load_operator`.
        """
        config = read_config(path, cls)
        try:
            model = cls(**config)
        except TypeError as error:
            raise MeshError(f"the card of {path} does not fit {cls.__name__}: {error}") from error
        load_weights(path, model)
        return model.eval()

    def _check_nodal(self) -> None:
        """That the sites are the nodes, for networks that know no others."""
        if self.element == "P2":
            raise MeshError(f"a {type(self).__name__} has its sites at the nodes: no P2 fields")

    def _check_dim(self, mesh: Mesh) -> None:
        """That a mesh has the dimension of the configuration, for networks made for one."""
        dim = self.config["dim"]
        if mesh.dim != dim:
            raise MeshError(f"the operator is for {dim}D, the mesh is {mesh.dim}D")

    def _held(
        self, mesh: Mesh, variable: Variable, bcs: Conditions
    ) -> tuple[Tensor, Tensor] | None:
        """Mask and values `[n, width]` of the Dirichlet conditions of an output."""
        conditions = bcs.get(variable.name, ())
        if not conditions:
            return None
        space = variable.space(mesh)
        for condition in conditions:
            if condition.space.specs != space.specs or condition.space.num_dofs != space.num_dofs:
                raise MeshError(
                    f"the conditions of {variable.name!r} must be in its space, {space}, got "
                    f"{condition.space}"
                )
        fixed, values = gathered(conditions, space.num_dofs, mesh.pos.device)
        return fixed.reshape(-1, variable.width), values.reshape(-1, variable.width)

    def _features(
        self, mesh: Mesh, given: list[Tensor], held: list[tuple[Tensor, Tensor] | None]
    ) -> Tensor:
        count = Variable("sites", self.element).sites(mesh)
        columns = [mesh.pos.new_zeros(count, 0)]
        for variable, values in zip(self.inputs, given, strict=True):
            columns.append(resampled(mesh, variable.element, self.element, values.double()))
        fields = (torch.cat(columns, dim=1) - self.input_mean) / self.input_scale
        parts = [fields]
        for (variable, own), pair in zip(columns_of(self.outputs), held, strict=True):
            if pair is None:
                parts.append(mesh.pos.new_zeros(count, 2 * variable.width))
                continue
            fixed, values = pair
            scaled = (values - self.output_mean[own]) / self.output_scale[own] * fixed
            both = torch.cat([fixed.double(), scaled], dim=1)
            parts.append(resampled(mesh, variable.element, self.element, both))
        # the border: geometry and data are float64, networks float32
        return torch.cat(parts, dim=1).float()

    def _decoded(
        self,
        mesh: Mesh,
        result: Tensor,
        held: list[tuple[Tensor, Tensor] | None],
        integrals: Fields,
    ) -> dict[str, Tensor]:
        out = {}
        for (variable, own), pair in zip(columns_of(self.outputs), held, strict=True):
            columns = resampled(mesh, self.element, variable.element, result[:, own])
            free = torch.ones_like(columns, dtype=torch.bool)
            if pair is not None and self.boundary == "exact":
                free = ~pair[0]
                columns = torch.where(free, columns, pair[1])
            if variable.name in integrals:
                columns = with_integral(mesh, variable, columns, integrals[variable.name], free)
            out[variable.name] = variable.shaped(columns)
        return out


def _moments(columns: list[Tensor]) -> Tensor:
    """Mean and mean square of each column `[2, width]`."""
    pairs = [torch.stack([c.mean(dim=0), c.square().mean(dim=0)]) for c in columns]
    return torch.cat(pairs, dim=1).double() if pairs else torch.zeros(2, 0, dtype=torch.float64)
