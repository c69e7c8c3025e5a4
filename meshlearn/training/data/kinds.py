"""All data sets by their kind: what `data:` of a settings file can be."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Discriminator

from .beam import BeamSettings
from .boundary_value import BoundaryValueSettings
from .covariance import CovarianceSettings
from .darcy import DarcySettings
from .diffusion import DiffusionSettings
from .elastic import ElasticSettings
from .steady_flow import CavitySettings, CylinderSettings
from .vtu_folder import FolderSettings


def _with_kind(given: Any) -> Any:
    """Settings without a kind are those of Darcy flow."""
    return {"kind": "darcy", **given} if isinstance(given, dict) else given


Member = (
    DarcySettings
    | DiffusionSettings
    | BoundaryValueSettings
    | ElasticSettings
    | BeamSettings
    | CavitySettings
    | CylinderSettings
    | CovarianceSettings
    | FolderSettings
)
"""A new data set is one more of these."""
AnyData = Annotated[Annotated[Member, Discriminator("kind")], BeforeValidator(_with_kind)]
"""Settings of any data set, told apart by `kind`."""
DATASETS: tuple[str, ...] = tuple(k.model_fields["kind"].default for k in get_args(Member))
"""The kinds there are."""
