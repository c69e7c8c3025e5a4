"""The methods of a mesh that turn it into other libraries' objects and back."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import meshio
    import networkx
    import pyvista
    import skfem

    from .mesh import Mesh


class Interchange:
    """Thin delegations to `convert` and `files`, which import the other libraries when called."""

    def to_meshio(self) -> meshio.Mesh:
        """The mesh as meshio's, with tags as cell sets."""
        from . import convert

        return convert.to_meshio(cast("Mesh", self))

    @classmethod
    def from_meshio(cls, mesh: meshio.Mesh, **checks: Collection[str]) -> Mesh:
        """From meshio's mesh; `allow` and `repair` as in `from_cells`."""
        from . import convert

        return convert.from_meshio(mesh, **checks)

    def to_pyvista(self) -> pyvista.UnstructuredGrid:
        """The mesh as a VTK unstructured grid with its fields."""
        from . import convert

        return convert.to_pyvista(cast("Mesh", self))

    @classmethod
    def from_pyvista(cls, grid: pyvista.DataSet, **checks: Collection[str]) -> Mesh:
        """From a VTK grid; `allow` and `repair` as in `from_cells`."""
        from . import convert

        return convert.from_pyvista(grid, **checks)

    def to_skfem(self) -> skfem.Mesh:
        """The mesh as scikit-fem's (one cell type), node and cell numbering kept."""
        from . import convert

        return convert.to_skfem(cast("Mesh", self))

    @classmethod
    def from_skfem(cls, mesh: skfem.Mesh, **checks: Collection[str]) -> Mesh:
        """From scikit-fem's mesh; `allow` and `repair` as in `from_cells`."""
        from . import convert

        return convert.from_skfem(mesh, **checks)

    def to_networkx(self) -> networkx.Graph[int]:
        """The undirected graph of the edges, positions as node attribute `pos`."""
        from . import convert

        return convert.to_networkx(cast("Mesh", self))

    def write(self, path: str | Path, **options: Any) -> None:
        """Write to any format of `meshlearn.mesh.files` (by suffix), atomically."""
        from .files import write

        write(cast("Mesh", self), path, **options)
