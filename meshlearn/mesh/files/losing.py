"""What a mesh has that a format does not hold, by name."""

from __future__ import annotations

from ..convert.losses import quoted
from ..mesh import Mesh


def losing(
    mesh: Mesh,
    lost: list[str],
    *,
    facet_tags: bool = False,
    cell_tags: bool = False,
    point_tags: bool = False,
    fields: bool = False,
) -> None:
    """Add to `lost` the names of what `mesh` has of the kinds that are True."""
    kinds = (
        ("facet tags", mesh.facet_tags if facet_tags else {}),
        ("cell tags", mesh.cell_tags if cell_tags else {}),
        ("point tags", mesh.point_tags if point_tags else {}),
        ("node fields", mesh.node_fields if fields else {}),
        ("cell fields", mesh.cell_fields if fields else {}),
        ("facet fields", mesh.facet_fields if fields else {}),
    )
    lost += [f"{kind} {quoted(names)}" for kind, names in kinds if names]
