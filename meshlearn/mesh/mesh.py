"""The mesh: a PyTorch Geometric graph that carries cells, tags and fields."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torch_geometric.data import Data

from . import geometry, tags
from .describe import comparable, describe, same
from .errors import MeshError
from .interchange import Interchange
from .layout import FIELD_KINDS, STRUCTURE, MeshStore, kind_pairs
from .reorder import Reordering
from .topology import Topology


class Mesh(Interchange, Reordering, Data):
    """An unstructured mesh that *is* a graph.

    Nodes are vertices, edges are the edges of the cells in both directions, sorted by receiver.
    Build one with `Mesh.from_cells` or `meshlearn.read`; batches (`Batch.from_data_list`,
    `DataLoader`) are disjoint meshes with the same interface. Connectivity is immutable: `moved`
    gives a copy with other node positions that shares the `topology`.

    Attributes:
        pos: node positions `[n, d]`, float64.
        cells: nodes of the cells by type, meshio's names and order `{name: [k, nodes]}`.
        edge_index: `[2, n_edges]`, senders and receivers, sorted by receiver; `rowptr [n + 1]`.
        facet_tags, cell_tags, point_tags: named sets.

    The *canonical order* of cells is the order they were given in; `cell_ids[name]` tells it for
    the rows of `cells[name]`. Cell fields and all functions that return a value per cell use it.
    """

    # -- construction --------------------------------------------------------------------------

    @classmethod
    def from_cells(
        cls,
        pos: Any,
        cells: Mapping[str, Any] | Sequence[tuple[str, Any]],
        *,
        facet_tags: Mapping[str, Any] | None = None,
        cell_tags: Mapping[str, Any] | None = None,
        point_tags: Mapping[str, Any] | None = None,
        node_fields: Mapping[str, Any] | None = None,
        cell_fields: Mapping[str, Any] | None = None,
        allow: Collection[str] = (),
        repair: Collection[str] = (),
    ) -> Mesh:
        """Build and validate a mesh.

        Args:
            pos: node positions `[n, d]`, d = 1, 2 or 3.
            cells: `{type: [k, nodes]}`, or blocks `(type, [k, nodes])` whose order is kept.
            facet_tags: `{name: [k, nodes per facet]}`, node indices (boundary or inner facets).
            cell_tags: `{name: [k]}`, cell indices in canonical order.
            point_tags: `{name: [k]}`, node indices.
            node_fields: `{name: [n, ...]}`.
            cell_fields: `{name: [n_cells, ...]}`.
            allow: names of checks (`validate.CHECKS`) that may fail.
            repair: defects to mend first, of "orphan" (nodes of no cell are dropped), "duplicate"
                (nodes at the same place are merged), "inverted" (cells are turned round).

        Raises:
            MeshError: the mesh is not valid; the message names the first offenders.
        """
        from .construct import assemble, set_tags
        from .repair import apply_repairs
        from .validate import validate

        mesh = assemble(cls, pos, cells)
        set_tags(mesh, facet_tags or {}, cell_tags or {}, point_tags or {})
        for kind, fields in (("node", node_fields), ("cell", cell_fields)):
            for name, values in (fields or {}).items():
                mesh.set_field(name, values, kind)
        mesh = apply_repairs(mesh, repair)
        validate(mesh, allow=allow)
        return mesh

    # -- PyTorch Geometric: batching is a declaration ------------------------------------------

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__dict__["_store"] = MeshStore(dict(self._store), _parent=self)

    def __cat_dim__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        if key != "edge_index" and (key in STRUCTURE or key in self.field_kinds):
            return 0
        return super().__cat_dim__(key, value, *args, **kwargs)

    def __inc__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        if key in ("cell_index", "tagged_facets", "tagged_points", "edge_index"):
            return self.num_nodes
        if key == "tagged_cells":
            return self.num_cells
        if key.endswith("_tag_number") and key in STRUCTURE:
            return len(tags.flatten_names(self._store[key.replace("number", "names")]))
        if key in STRUCTURE or key in self.field_kinds:
            return 0
        return super().__inc__(key, value, *args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_topology"}

    # -- sizes and connectivity ----------------------------------------------------------------

    @property
    def dim(self) -> int:
        """Dimension of the space, the columns of `pos`."""
        return int(self.pos.shape[1])

    @property
    def topology(self) -> Topology:
        """What depends on connectivity only; shared by moved copies and clones."""
        pending = self.__dict__.pop("_pending_checks", None)
        if pending is not None:  # a large file: checked when it is first used
            self._check_late(pending)
        topology: Topology | None = self.__dict__.get("_topology")
        if topology is None:
            topology = Topology(self._store["cell_index"], self._store["cell_type"], len(self.pos))
            self.__dict__["_topology"] = topology
        return topology if topology.device == self.pos.device else topology.to(self.pos.device)

    def _check_late(self, allow: Collection[str]) -> None:
        """The checks that reading has left; a mesh that fails fails at every use."""
        try:
            self.validate(allow=allow)
        except MeshError:
            self.__dict__["_pending_checks"] = allow
            raise

    @property
    def cell_dim(self) -> int:
        """Topological dimension of the cells."""
        return self.topology.cell_dim

    @property
    def num_cells(self) -> int:
        """Number of cells of all types."""
        return int(self._store["cell_type"].numel())

    @property
    def cells(self) -> dict[str, Tensor]:
        """Nodes of the cells by type `{name: [k, nodes]}`."""
        return self.topology.cells

    @property
    def cell_ids(self) -> dict[str, Tensor]:
        """Canonical index of each row of `cells` `{name: [k]}`."""
        return self.topology.cell_ids

    @property
    def edge_index(self) -> Tensor:
        """Senders and receivers, both directions, sorted by receiver `[2, n_edges]`.

        Assigning another graph (as PyG's transforms do) replaces it; `rowptr` stays the mesh's.
        """
        edges: Tensor = self._store["edge_index"]
        return edges

    @edge_index.setter
    def edge_index(self, value: Tensor | None) -> None:
        self._store["edge_index"] = value

    @property
    def num_edges(self) -> int:
        """Number of directed edges."""
        return int(self.edge_index.shape[1])

    @property
    def rowptr(self) -> Tensor:
        """Where each receiver's edges begin `[n + 1]`."""
        return self.topology.rowptr

    @property
    def face(self) -> Tensor | None:
        """Triangles in PyG's convention `[3, k]`, None where there are none."""
        triangles = self.cells.get("triangle")
        return None if triangles is None else triangles.t()

    @property
    def boundary_nodes(self) -> Tensor:
        """Nodes of facets with one cell, sorted `[k]`."""
        return self.topology.boundary_nodes

    def corner_nodes(self, angle: float = 30.0) -> Tensor:
        """Boundary nodes where the boundary turns by more than `angle` degrees or tags change."""
        from .boundary import corner_nodes

        return corner_nodes(self, angle)

    # -- tags ----------------------------------------------------------------------------------

    def _tags(self, kind: str) -> dict[str, Tensor]:
        store = self._store
        names = tags.flatten_names(store[f"{kind}_tag_names"])
        return tags.decode(store[f"tagged_{kind}s"], store[f"{kind}_tag_number"], names)

    @property
    def facet_tags(self) -> dict[str, Tensor]:
        """Nodes of tagged facets `{name: [k, nodes per facet]}`.

        A triangle among quads repeats its last node.
        """
        return {name: tags.trim_facets(nodes) for name, nodes in self._tags("facet").items()}

    @property
    def cell_tags(self) -> dict[str, Tensor]:
        """Canonical indices of tagged cells `{name: [k]}`."""
        return self._tags("cell")

    @property
    def point_tags(self) -> dict[str, Tensor]:
        """Tagged nodes `{name: [k]}`."""
        return self._tags("point")

    def tagged_nodes(self, name: str) -> Tensor:
        """Nodes of the facet, point or cell tag `name`, sorted `[k]`.

        "boundary" means the whole boundary unless the mesh has a tag of that name.

        Raises:
            MeshError: there is no such tag; the message lists those there are.
        """
        return tags.tagged_nodes(self, name)

    # -- fields --------------------------------------------------------------------------------

    @property
    def field_kinds(self) -> dict[str, str]:
        """Kind of each declared field, "node", "cell" or "facet"."""
        kinds: dict[str, str] = {}
        for name, kind in kind_pairs(self._store.get("field_kinds_", ())):
            if kinds.setdefault(name, kind) != kind:
                raise MeshError(
                    f"field {name!r} is a {kind} field in some meshes of the batch only"
                )
        return kinds

    def set_field(self, name: str, values: Any, kind: str) -> None:
        """Declare or replace a field; it is also the attribute `mesh.<name>` and `mesh[name]`.

        Args:
            name: a name that the mesh does not use itself.
            values: `[n, ...]` for "node", `[n_cells, ...]` for "cell", `[n_facets, ...]` for
                "facet".
            kind: "node", "cell" or "facet".
        """
        if kind not in FIELD_KINDS:
            raise MeshError(f"kind of field {name!r} must be one of {FIELD_KINDS}, got {kind!r}")
        if name in STRUCTURE:
            raise MeshError(f"a field cannot be called {name!r}: the mesh uses that name itself")
        tensor = tags.as_tensor(values, f"{kind} field {name!r}").to(self.pos.device)
        count = {"node": len(self.pos), "cell": self.num_cells}.get(kind)
        count = self.topology.num_facets if count is None else count
        if tensor.dim() < 1 or len(tensor) != count:
            raise MeshError(
                f"{kind} field {name!r} must have {count} rows, got shape {list(tensor.shape)}"
            )
        kinds = {**self.field_kinds, name: kind}
        self[name] = tensor
        self["field_kinds_"] = tuple(kinds.items())

    def _fields(self, kind: str) -> dict[str, Tensor]:
        return {
            name: self[name] for name, k in self.field_kinds.items() if k == kind and name in self
        }

    @property
    def node_fields(self) -> dict[str, Tensor]:
        """Node fields by name `{name: [n, ...]}`."""
        return self._fields("node")

    @property
    def cell_fields(self) -> dict[str, Tensor]:
        """Cell fields by name, canonical order `{name: [n_cells, ...]}`."""
        return self._fields("cell")

    @property
    def facet_fields(self) -> dict[str, Tensor]:
        """Facet fields by name, order of `topology.facets` `{name: [n_facets, ...]}`."""
        return self._fields("facet")

    # -- geometry ------------------------------------------------------------------------------

    def moved(self, pos: Any) -> Self:
        """A copy with other node positions; topology, tags and fields are shared, in O(n).

        Args:
            pos: `[n, d]`; converted to float64. Validity is not checked (see `validate`).
        """
        position = tags.as_tensor(pos, "moved positions").to(self.pos.device, torch.float64)
        if position.shape != self.pos.shape:
            raise MeshError(
                f"moved positions must be {list(self.pos.shape)}, got {list(position.shape)}"
            )
        _ = self.topology
        out = self.__copy__()
        out["pos"] = position
        return out

    def validate(self, allow: Collection[str] = ()) -> None:
        """Raise `MeshError` at the first check of `validate.CHECKS` that fails, but for `allow`."""
        from .validate import validate

        validate(self, allow=allow)

    def volumes(self) -> Tensor:
        """Signed cell volumes `[n_cells]`."""
        return geometry.volumes(self)

    def centroids(self) -> Tensor:
        """Mean of each cell's corners `[n_cells, d]`."""
        return geometry.centroids(self)

    def inverted_cells(self) -> Tensor:
        """Canonical indices of cells with a corner Jacobian that is not positive `[k]`."""
        if self.dim != self.cell_dim:
            return torch.empty(0, dtype=torch.int64, device=self.pos.device)
        return torch.nonzero(~(geometry.min_corner_jacobians(self) > 0)).squeeze(1)

    def quality(self, name: str = "mean_ratio") -> Tensor:
        """A quality measure of `quality.QUALITY_MEASURES` `[n_cells]`."""
        from .quality import quality

        return quality(self, name)

    # -- Python --------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        """Equal positions, cells, tags, fields and other attributes, exactly (NaN equals NaN)."""
        if not isinstance(other, Mesh):
            return NotImplemented
        return same(comparable(self), comparable(other))

    __hash__ = None  # type: ignore[assignment]  # mutable, compared by value

    def __repr__(self) -> str:
        return describe(self)
