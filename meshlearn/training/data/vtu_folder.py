"""Cases from a folder of mesh files with fields, such as AirfRANS: one file, one case.

AirfRANS (Bonnet et al., NeurIPS 2022) has a folder for each simulation with `NAME_internal.vtu`;
`pattern: "*/*_internal.vtu"` finds them, `inputs: [implicit_distance]` and, for example,
`outputs: [[U, P1, 2], p]` name the fields.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field as Setting
from pydantic import field_validator
from torch import Tensor

from ...mesh import Mesh, MeshError
from ...mesh.files import read
from ...operators import Variable
from ..settings import TrainingError
from .pool import Case, DataSettings, Pool

Named = str | tuple[str, str, int]


class FolderSettings(DataSettings):
    """Which files, and what is in them.

    Attributes:
        path: of the folder.
        pattern: of the files in it, as in a shell.
        inputs, outputs: fields by name, or (name, element, components) with P0 for cell fields.
        every: one of so many files, in the order of their names, is held out.
        part: "train" or "held_out".
    """

    title: ClassVar[str] = "files of a folder (meshlearn.training.data.vtu_folder)"
    kind: Literal["folder"] = "folder"
    path: str
    pattern: str = "**/*.vtu"
    inputs: tuple[Named, ...] = ()
    outputs: tuple[Named, ...] = Setting(min_length=1)
    every: int = Setting(5, ge=2)
    part: Literal["train", "held_out"] = "train"

    @field_validator("inputs", "outputs")
    @classmethod
    def _known(cls, given: tuple[Named, ...]) -> tuple[Named, ...]:
        for variable in given:
            if Variable.of(variable).element == "P2":
                raise ValueError("files hold values of nodes (P1) and of cells (P0)")
        return given

    def files(self) -> list[Path]:
        """The files of the part, in the order of their names.

        Raises:
            TrainingError: no such folder, or no file that fits.
        """
        folder = Path(self.path)
        if not folder.is_dir():
            raise TrainingError(f"there is no folder {folder}")
        found = sorted(folder.glob(self.pattern))
        held = [file for k, file in enumerate(found) if k % self.every == self.every - 1]
        own = held if self.part == "held_out" else [file for file in found if file not in held]
        if not own:
            raise TrainingError(
                f"{folder} has {len(found)} files {self.pattern!r}: none is left for {self.part}"
            )
        return own

    def others(self) -> Self:
        """The files held out."""
        return self.model_copy(update={"part": "held_out"})

    def pool(self, count: int, folder: str | Path) -> Folder:
        """See `DataSettings`; as many as there are, if these are fewer."""
        return Folder(self, min(count, len(self.files())), folder)


class Folder(Pool):
    """Cases of a folder; see `Pool`."""

    settings: FolderSettings

    def __init__(self, settings: FolderSettings, count: int, folder: str | Path) -> None:
        super().__init__(settings, count, folder)
        self.inputs = tuple(Variable.of(v) for v in settings.inputs)
        self.outputs = tuple(Variable.of(v) for v in settings.outputs)

    def maker(self) -> Callable[[int], Case]:
        """See `Pool`."""
        return partial(read_case, self.settings)


def read_case(settings: FolderSettings, number: int) -> Case:
    """The case in file `number`.

    Raises:
        MeshError: the file is damaged, or a field is missing or does not fit.
    """
    file = settings.files()[number]
    mesh = read(file)
    inputs, outputs = (
        dict(_field(mesh, Variable.of(v), file) for v in given)
        for given in (settings.inputs, settings.outputs)
    )
    plain = Mesh.from_cells(mesh.pos, dict(mesh.cells), facet_tags=dict(mesh.facet_tags))
    return Case("file", plain, inputs, outputs, {})


def _field(mesh: Mesh, variable: Variable, file: Path) -> tuple[str, Tensor]:
    cells = variable.element == "P0"
    there: dict[str, Any] = dict(mesh.cell_fields if cells else mesh.node_fields)
    if variable.name not in there:
        kind, known = "cell" if cells else "node", ", ".join(there) or "none"
        raise MeshError(f"{file} has no {kind} field {variable.name!r}; it has {known}")
    values = there[variable.name].to(torch.float64)
    if variable.components and values.dim() == 2:
        values = values[:, : variable.components]  # formats add a third column to plane vectors
    return variable.name, variable.shaped(variable.columns(mesh, values))
