"""What can go wrong with a mesh: one sentence that says what, where, and what to do."""

from __future__ import annotations


class MeshError(ValueError):
    """A mesh, a mesh file or a field on it is not usable; the message names the first offenders."""


class LossWarning(UserWarning):
    """A file format or a conversion could not hold something; the message names what was lost."""
