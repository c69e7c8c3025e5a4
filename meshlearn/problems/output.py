"""From finite-element functions to nodal values and files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..fem import Field
from ..fem.elements import vertices
from ..fem.space import geometry_nodes
from ..mesh import Mesh, MeshError
from ..mesh.files.replacing import replacing


def nodal_values(field: Field, block: int = 0) -> Tensor:
    """Values at the nodes `[n]`, or `[n, k]` of a vector; of discontinuous elements the mean.

    Args:
        field: the function.
        block: which element of a mixed space.

    Raises:
        MeshError: an element of H(div) or H(curl).
    """
    element, mesh = field.space.blocks[block], field.space.mesh
    if element.kind != "scalar":
        raise MeshError(f"element {element.name!r} has no values at nodes; project it first")
    count = max(element.components, 1)
    reference = next(iter(element.elements.values()))
    if len(reference.entities[0].nodes) == 1:
        begin = element.offset
        out = field.dofs[begin : begin + mesh.num_nodes * count].reshape(-1, count)
        return out if element.components else out[:, 0]
    total = field.dofs.new_zeros(mesh.num_nodes, count)
    times = field.dofs.new_zeros(mesh.num_nodes)
    for cell, nodes in mesh.cells.items():
        table, _ = element.elements[cell].tabulate(vertices(cell))
        places = element.dofs[cell][:, :, None] * count + torch.arange(count, device=nodes.device)
        corner = torch.einsum("nk,ckj->cnj", table.to(total), field.dofs[element.offset + places])
        owner = geometry_nodes(cell, nodes).reshape(-1)
        total = total.index_add(0, owner, corner.reshape(-1, count))
        times = times.index_add(0, owner, torch.ones_like(owner, dtype=times.dtype))
    out = total / times[:, None]
    return out if element.components else out[:, 0]


def write_fields(
    mesh: Mesh,
    path: str | Path,
    node: Mapping[str, Tensor],
    cell: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a mesh with node and cell fields; the format goes by the suffix.

    Returns:
        The path.
    """
    out = mesh.moved(mesh.pos.detach())
    for kind, fields in (("node", node), ("cell", cell or {})):
        for name, values in fields.items():
            out.set_field(name, values.detach(), kind)
    out.write(path)
    return Path(path)


def plot_fields(mesh: Mesh, path: str | Path, values: Mapping[str, Tensor], label: str) -> Path:
    """Draw node or cell fields of one kind into a PNG, a panel each, with one colour scale.

    Args:
        mesh: the mesh of all fields.
        path: ends in .png.
        values: by the title of their panel, `[n]` or `[n_cells]`; of vectors `[n, k]` the length.
        label: of the colour bar.

    Raises:
        MeshError: another suffix, or a folder that cannot be written.
    """
    from ..mesh.drawing import Panel, save  # pyvista takes a second to import

    panels = [Panel(mesh, title, _length(field), label) for title, field in values.items()]
    return save(panels, path)


def plot_series(
    mesh: Mesh,
    path: str | Path,
    times: Tensor,
    values: Callable[[int], Tensor],
    label: str,
    panels: int,
) -> Path:
    """Draw some of the states, from the first to the last, into a PNG.

    Args:
        mesh: the mesh of all states.
        path: ends in .png.
        times: `[k]`.
        values: gives the field of a state, see `plot_fields`.
        label: of the colour bar.
        panels: how many states.
    """
    fields = {f"t = {float(times[k]):.4g}": values(k) for k in spread(len(times), panels)}
    return plot_fields(mesh, path, fields, label)


def animate_series(
    mesh: Mesh,
    path: str | Path,
    times: Tensor,
    values: Callable[[int], Tensor],
    label: str,
    frames: int,
) -> Path:
    """Draw some of the states into a GIF.

    Args:
        mesh, times, values, label: see `plot_series`.
        path: ends in .gif.
        frames: how many states.
    """
    from ..mesh.animation import animate
    from ..mesh.drawing import Panel

    panels = [
        Panel(mesh, f"t = {float(times[k]):.4g}", _length(values(k)), label)
        for k in spread(len(times), frames)
    ]
    return animate(panels, path)


def check_pvd(path: Path) -> None:
    """Raise `MeshError` unless a path ends in .pvd."""
    if path.suffix.lower() != ".pvd":
        raise MeshError(f"a series is a .pvd file, got {path.name!r}; end the name in .pvd")


def _length(field: Tensor) -> Tensor:
    """Scalars as they are, of vectors the length."""
    return field.norm(dim=1) if field.dim() > 1 else field


def chosen(name: str, fields: Mapping[str, Tensor]) -> Tensor:
    """The field that is asked for.

    Raises:
        MeshError: there is none of that name.
    """
    if name not in fields:
        raise MeshError(f"there is no field {name!r} to plot; there are {', '.join(fields)}")
    return fields[name]


def spread(count: int, panels: int) -> list[int]:
    """Some of `count` states, from the first to the last."""
    panels = max(1, min(panels, count))
    if panels == 1:
        return [count - 1]
    return [round(k * (count - 1) / (panels - 1)) for k in range(panels)]


def write_series(
    mesh: Mesh, path: str | Path, times: Tensor, states: Sequence[Mapping[str, Tensor]]
) -> Path:
    """Write one VTU file a time beside a .pvd file that lists them (ParaView opens it).

    Args:
        mesh: the mesh of all states.
        path: ends in .pvd.
        times: `[k]`.
        states: node fields at each time.

    Raises:
        MeshError: another suffix, or a folder that cannot be written.
    """
    target = Path(path)
    check_pvd(target)
    entries = []
    with replacing(target) as listing:
        for k, (time, fields) in enumerate(zip(times.tolist(), states, strict=True)):
            name = f"{target.stem}_{k:05d}.vtu"
            write_fields(mesh, listing.parent / name, fields)
            entries.append(f'    <DataSet timestep="{time!r}" part="0" file="{name}"/>')
        lines = [
            '<?xml version="1.0"?>',
            '<VTKFile type="Collection" version="0.1">',
            "  <Collection>",
            *entries,
            "  </Collection>",
            "</VTKFile>",
        ]
        listing.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target
