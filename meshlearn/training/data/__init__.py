"""Data sets for operators: seeded, made when asked for, kept on disk."""

from __future__ import annotations

from .beam import Beam, BeamSettings, make_beam
from .boundary_value import BoundaryValue, BoundaryValueSettings, make_potential
from .covariance import Covariance, CovarianceSettings
from .darcy import DOMAINS, Darcy, DarcySettings, make_darcy
from .diffusion import Diffusion, DiffusionSettings, make_diffusion
from .elastic import Elastic, ElasticSettings, make_elastic
from .generation import CaseSettings, check, generate
from .kinds import DATASETS, AnyData
from .pool import Case, DataSettings, Pool
from .random_fields import COVARIANCES, gaussian_field
from .steady_flow import CavitySettings, CylinderSettings, SteadyFlow, make_flow

__all__ = [
    "AnyData",
    "Beam",
    "BeamSettings",
    "BoundaryValue",
    "BoundaryValueSettings",
    "COVARIANCES",
    "Case",
    "CaseSettings",
    "CavitySettings",
    "Covariance",
    "CovarianceSettings",
    "CylinderSettings",
    "DATASETS",
    "DOMAINS",
    "Darcy",
    "DarcySettings",
    "DataSettings",
    "Diffusion",
    "DiffusionSettings",
    "Elastic",
    "ElasticSettings",
    "Pool",
    "SteadyFlow",
    "check",
    "gaussian_field",
    "generate",
    "make_beam",
    "make_darcy",
    "make_diffusion",
    "make_elastic",
    "make_flow",
    "make_potential",
]
