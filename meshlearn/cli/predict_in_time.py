"""The part of `meshlearn predict` for operators that carry states forward in time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .staging import output_folder

if TYPE_CHECKING:
    from torch import Tensor

    from ..fem import Dirichlet
    from ..mesh import Mesh
    from ..operators import Operator
    from ..training.evolution import EvolutionSettings


def predict_in_time(
    operator: Operator,
    settings: EvolutionSettings,
    mesh: Mesh,
    fields: dict[str, Tensor],
    held: dict[str, list[Dirichlet]],
    output: Path,
    *,
    steps: int,
    dt: float | None,
    animate: bool,
) -> dict[str, Any]:
    """Carry a state forward and write all states.

    Args:
        operator: the model.
        settings: of its training.
        mesh: where the state lives.
        fields: inputs, the state among them.
        held: Dirichlet conditions, which do not change.
        output: a .pvd file; the VTU files, and the GIF, lie beside it.
        steps: how many.
        dt: time step; that of the training data by default.
        animate: whether to draw the first output into a GIF.

    Returns:
        What the report says of it.

    Raises:
        MeshError: another file type, another step than that of a model of states or changes, or
            states that are no longer finite.
    """
    import torch

    from ..mesh import MeshError
    from ..problems.output import animate_series, check_pvd, write_series
    from ..training.rollout import Rollout

    trained = settings.data.step
    if dt is not None and dt != trained and settings.strategy != "derivative":
        raise MeshError(
            f"--dt: the model was trained with strategy {settings.strategy!r} for steps of "
            f"{trained:g}; only one of the derivative can take others"
        )
    check_pvd(output)
    size = trained if dt is None else dt
    names = [variable.name for variable in operator.outputs]
    given = {name: values for name, values in fields.items() if name not in names}
    times = size * torch.arange(steps + 1, dtype=torch.float64)
    files = [output.name]
    with output_folder(output.parent) as staged:
        rollout = Rollout(operator, mesh, given, held, settings.stepper)
        states = [rollout.set({name: fields[name] for name in names}, 0.0)]
        with torch.no_grad():
            for k, state in enumerate(rollout.run(states[0], size, steps), 1):
                if not all(bool(values.isfinite().all()) for values in state.values()):
                    raise MeshError(f"the prediction is not finite in step {k}: take smaller steps")
                states.append(state)
        write_series(mesh, staged.folder / output.name, times, states)
        if animate:
            files.append(output.with_suffix(".gif").name)
            path = staged.folder / files[-1]
            animate_series(mesh, path, times, lambda k: states[k][names[0]], names[0], 20)
    last = {name: [float(u.min()), float(u.max())] for name, u in states[-1].items()}
    return {"steps": steps, "dt": size, "range": last, "files": files}
