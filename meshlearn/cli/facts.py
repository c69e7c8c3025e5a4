"""What `info` finds out about a mesh, as plain values; works on meshes with defects too."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from ..mesh import Mesh, MeshError
from ..mesh.boundary import corner_nodes
from ..mesh.geometry import edge_lengths
from ..mesh.quality import QUALITY_MEASURES
from ..mesh.validate import CHECKS

_BINS = 10


def describe(mesh: Mesh) -> dict[str, Any]:
    """Sizes, tags, fields, geometry and quality of a mesh."""
    return {
        **sizes(mesh),
        "edges": len(mesh.topology.edges),
        "fields": {
            "node": {name: _field(values) for name, values in mesh.node_fields.items()},
            "cell": {name: _field(values) for name, values in mesh.cell_fields.items()},
            "facet": {name: _field(values) for name, values in mesh.facet_fields.items()},
        },
        "bounding_box": {"lower": mesh.pos.amin(dim=0), "upper": mesh.pos.amax(dim=0)},
        "measure": float(mesh.volumes().sum()),
        "edge_length": summary(edge_lengths(mesh)),
        "quality": quality(mesh),
        "boundary": _boundary(mesh),
    }


def sizes(mesh: Mesh) -> dict[str, Any]:
    """Dimensions, counts and tags."""
    return {
        "dim": mesh.dim,
        "cell_dim": mesh.cell_dim,
        "nodes": mesh.num_nodes,
        "cells": {name: len(nodes) for name, nodes in mesh.cells.items()},
        "tags": {
            "facet": {name: len(nodes) for name, nodes in mesh.facet_tags.items()},
            "cell": {name: len(ids) for name, ids in mesh.cell_tags.items()},
            "point": {name: len(ids) for name, ids in mesh.point_tags.items()},
        },
    }


def quality(mesh: Mesh) -> dict[str, dict[str, Any]]:
    """Smallest, mean and largest value and a histogram of each measure that the cells have."""
    found = {}
    for name in QUALITY_MEASURES:
        try:
            values = mesh.quality(name)
        except MeshError:  # a line has no angles
            continue
        found[name] = {**summary(values), "histogram": histogram(values)}
    return found


def defects(mesh: Mesh, allow: Collection[str] = ()) -> list[dict[str, str]]:
    """All checks that fail: `{"check": name, "message": sentence}`.

    A check that means nothing where an earlier one failed is left out: distances to nodes that are
    not finite, and on which side of a facet an inverted cell lies.
    """
    found: list[dict[str, str]] = []
    for name, check in CHECKS.items():
        failed = [entry["check"] for entry in found]
        if name in allow or (name == "nonmanifold" and "inverted" in failed):
            continue
        try:
            check(mesh)
        except MeshError as error:
            if str(error) not in [entry["message"] for entry in found]:
                found.append({"check": name, "message": str(error)})
            if name == "nonfinite":
                break
    return found


def summary(values: Tensor) -> dict[str, float]:
    """Smallest, mean and largest of the finite values; NaN where there are none."""
    finite = _finite(values)
    if not len(finite):
        return dict.fromkeys(("min", "mean", "max"), float("nan"))
    return {
        "min": float(finite.min()),
        "mean": float(finite.mean()),
        "max": float(finite.max()),
    }


def histogram(values: Tensor) -> dict[str, list[float]]:
    """Counts of the finite values in equal bins, and the edges of these."""
    finite = _finite(values)
    if not len(finite):
        return {"edges": [], "counts": []}
    counts, edges = torch.histogram(finite.cpu(), bins=_BINS)
    return {"edges": edges.tolist(), "counts": [int(count) for count in counts]}


def _finite(values: Tensor) -> Tensor:
    flat = values.detach().reshape(-1).to(torch.float64)
    return flat[torch.isfinite(flat)]


def _field(values: Tensor) -> dict[str, Any]:
    out: dict[str, Any] = {
        "shape": list(values.shape[1:]),
        "type": str(values.dtype).removeprefix("torch."),
    }
    if not values.is_complex():
        out |= summary(values)
        out["not_finite"] = values.numel() - len(_finite(values))
    return out


def _boundary(mesh: Mesh) -> dict[str, int] | None:
    """Boundary nodes and corners; None where facets are not manifold or cells do not fill space."""
    if mesh.dim != mesh.cell_dim or not bool(torch.isfinite(mesh.pos).all()):
        return None
    try:
        return {"nodes": len(mesh.boundary_nodes), "corners": len(corner_nodes(mesh))}
    except MeshError:
        return None
