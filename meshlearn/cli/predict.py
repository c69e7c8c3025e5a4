"""`meshlearn predict`: the fields of a trained operator on a mesh, to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Allow, Json, MeshFile, Repair
from .output import print_json
from .staging import output_file

if TYPE_CHECKING:
    from torch import Tensor

    from ..fem import Dirichlet
    from ..mesh import Mesh
    from ..operators import Operator


def predict(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="Weights that `meshlearn train operator` or `train evolution` wrote.",
            show_default=False,
        ),
    ],
    path: MeshFile,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write the mesh with inputs and predicted fields here; with --steps a .pvd file "
            "with a VTU file for each time.",
            show_default="out/predicted.vtu or .pvd",
        ),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="An input that the mesh has not: the number everywhere. Repeatable.",
        ),
    ] = None,
    boundary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Dirichlet values of an output on the whole boundary: a number, or a node field "
            "of the mesh. Repeatable; without it the output is held nowhere.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of a model that carries states forward: how many, from the state in the mesh.",
            show_default=False,
        ),
    ] = None,
    dt: Annotated[
        float | None,
        typer.Option(help="Time step.", show_default="that of the training"),
    ] = None,
    animation: Annotated[
        bool, typer.Option("--animation", help="With --steps: draw a GIF beside the .pvd file.")
    ] = False,
    allow: Allow = None,
    repair: Repair = None,
    json: Json = False,
) -> None:
    """Predict fields with a trained operator.

    Its inputs are fields of the mesh file under the names that its card gives: node fields for P1,
    cell fields for P0 (or numbers, with --set). Quadratic outputs are written at the nodes.

    Examples:

    - `meshlearn predict out/train_operator/spon.safetensors plate.vtu --boundary u=0`
    - `meshlearn predict out/heat/mesh-graph-net.safetensors start.vtu --steps 40 --boundary u=0`
    """
    import torch

    from ..mesh import MeshError
    from ..mesh.files import read
    from ..nn.storage import read_card
    from ..operators import load_operator

    operator = load_operator(model)
    timed = "strategy" in read_card(model).get("settings", {})
    if timed != (steps is not None):
        raise MeshError(
            f"{model} carries states forward in time: give --steps"
            if timed
            else f"--steps is for models that `meshlearn train evolution` wrote; {model} is none"
        )
    output = output or Path("out/predicted.pvd" if timed else "out/predicted.vtu")
    if steps is not None:
        from ..training.evolution import evolution_settings
        from .predict_in_time import predict_in_time

        settings = evolution_settings(model)
        mesh = read(path, allow=allow or (), repair=repair or ())
        fields = _inputs(operator, mesh, pairs("--set", given or []))
        held = _conditions(operator, mesh, pairs("--boundary", boundary or []))
        found = predict_in_time(
            operator, settings, mesh, fields, held, output, steps=steps, dt=dt, animate=animation
        )
        if json:
            print_json({"model": type(operator).__name__, "input": path.name, **found})
            return
        for name, (low, high) in found["range"].items():
            typer.echo(f"{name} after {steps} steps of {found['dt']:g}: {low:.4g} to {high:.4g}")
        typer.echo(f"{output.parent}: {', '.join(found['files'])}")
        return
    if dt is not None or animation:
        raise MeshError("--dt and --animation go with --steps")
    with output_file(output) as staged:
        mesh = read(path, allow=allow or (), repair=repair or ())
        fields = _inputs(operator, mesh, pairs("--set", given or []))
        held = _conditions(operator, mesh, pairs("--boundary", boundary or []))
        with torch.no_grad():
            found = operator(mesh, fields, held)
        ranges = {}
        for variable in operator.inputs:
            if variable.element != "P2":
                kind = "cell" if variable.element == "P0" else "node"
                mesh.set_field(variable.name, fields[variable.name], kind)
        for variable in operator.outputs:
            values = found[variable.name]
            ranges[variable.name] = [float(values.min()), float(values.max())]
            if variable.element == "P0":
                mesh.set_field(variable.name, values, "cell")
            else:
                mesh.set_field(variable.name, values[: mesh.num_nodes], "node")
        staged.write(mesh, output.name)
    report: dict[str, Any] = {
        "model": type(operator).__name__,
        "input": path.name,
        "nodes": mesh.num_nodes,
        "boundary": boundary or [],
        "range": ranges,
        "output": output.name,
    }
    if json:
        print_json(report)
        return
    for name, (low, high) in ranges.items():
        typer.echo(f"{name}: {low:.4g} to {high:.4g}")
    typer.echo(f"fields {', '.join(ranges)}: {output}")


def pairs(option: str, given: list[str]) -> dict[str, str]:
    """NAME=VALUE arguments as a dictionary."""
    from ..mesh import MeshError

    found = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not (name and sign and value):
            raise MeshError(f"{option} takes NAME=VALUE, got {text!r}")
        found[name] = value
    return found


def _inputs(operator: Operator, mesh: Mesh, numbers: dict[str, str]) -> dict[str, Tensor]:
    """The operator's inputs from the mesh's fields and numbers.

    Raises:
        MeshError: an input is missing, or a number is given for what is none.
    """
    import torch

    from ..mesh import MeshError
    from ..operators import Variable, resampled

    names = [v.name for v in operator.inputs]
    unknown = set(numbers) - set(names)
    if unknown:
        raise MeshError(f"--set {min(unknown)}: the inputs are {', '.join(names)}")
    out = {}
    for variable in operator.inputs:
        if variable.name in numbers:
            value = _number("--set", variable.name, numbers[variable.name])
            size = (variable.sites(mesh), variable.width)
            columns = torch.full(size, value, dtype=torch.float64)
            out[variable.name] = variable.shaped(columns)
            continue
        there = mesh.cell_fields if variable.element == "P0" else mesh.node_fields
        kind = "cell" if variable.element == "P0" else "node"
        if variable.name not in there:
            known = ", ".join(there) or "none"
            raise MeshError(
                f"the operator reads the {kind} field {variable.name!r}; the mesh has {known} "
                f"(or give --set {variable.name}=VALUE)"
            )
        values = _columns(there[variable.name], variable.components)
        if variable.element == "P2":  # files hold values at the nodes
            at_nodes = Variable(variable.name, "P1", variable.components)
            columns = at_nodes.columns(mesh, values).double()
            values = variable.shaped(resampled(mesh, "P1", "P2", columns))
        out[variable.name] = values
    return out


def _conditions(
    operator: Operator, mesh: Mesh, given: dict[str, str]
) -> dict[str, list[Dirichlet]]:
    """Dirichlet conditions on the whole boundary.

    Raises:
        MeshError: neither a number nor a node field, or no output of that name.
    """
    from ..fem import Dirichlet
    from ..mesh import MeshError
    from ..operators import Variable, resampled

    outputs = {v.name: v for v in operator.outputs}
    out = {}
    for name, value in given.items():
        if name not in outputs or outputs[name].element == "P0":
            known = ", ".join(v.name for v in operator.outputs if v.element != "P0")
            raise MeshError(f"--boundary {name}: the outputs with boundary values are {known}")
        variable = outputs[name]
        space = variable.space(mesh)
        if value not in mesh.node_fields:
            number = _number("--boundary", name, value)
            out[name] = [Dirichlet(space, "boundary", number)]
            continue
        at_nodes = Variable(value, "P1", variable.components)
        columns = at_nodes.columns(mesh, _columns(mesh.node_fields[value], variable.components))
        values = resampled(mesh, "P1", variable.element, columns.double()).reshape(-1)
        dofs = Dirichlet(space, "boundary").dofs
        out[name] = [Dirichlet(space, "boundary", values[dofs])]
    return out


def _columns(values: Tensor, components: int) -> Tensor:
    """Vectors without the third column that file formats add to plane ones."""
    return values[:, :components] if components and values.dim() == 2 else values


def _number(option: str, name: str, text: str) -> float:
    from ..mesh import MeshError

    try:
        return float(text)
    except ValueError:
        what = "neither a number nor a node field" if option == "--boundary" else "no number"
        raise MeshError(f"{option} {name}: {text!r} is {what}") from None
