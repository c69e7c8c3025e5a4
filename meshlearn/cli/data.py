"""`meshlearn data`: make data sets ahead of training, and check their files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import Command, Json
from .output import console, grid, print_json
from .training_progress import training_progress

app = typer.Typer(
    help="Make data sets for operators, and check them.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command("generate", cls=Command)
def generate(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="YAML file with `data` (its `kind` is one of {datasets}), `samples` and "
            "`held_out`; the settings of a training run will do. Defaults without it.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="FOLDER",
            help="Folder of the cases: the `folder` of training runs.",
        ),
    ] = Path("out/data"),
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes; those of the settings by default."),
    ] = None,
    json: Json = False,
) -> None:
    """Make the cases that an operator is trained and judged on, with checksums.

    Interrupt it when you like: the same command makes what is missing.

    Example: `meshlearn data generate --config examples/configs/operator_darcy.yaml -o out/data`
    """
    from ..training.data import CaseSettings
    from ..training.data import generate as make
    from ..training.operators import OperatorSettings
    from ..training.settings import parse_settings, read_yaml

    content = read_yaml(config) if config else {}
    whole = not content.keys() <= CaseSettings.model_fields.keys()
    settings = parse_settings(content, OperatorSettings if whole else CaseSettings, str(config))
    settings = settings.model_copy(update={"folder": str(output)})
    report = {}
    for name, pool in zip(("train", "held_out"), settings.pools(), strict=True):
        with training_progress() as show:
            report[name] = make(pool, workers or settings.workers, show.samples)
    if json:
        print_json({"data": settings.data.title, **report})
        return
    typer.echo(settings.data.title)
    for name, row in report.items():
        size = f"{row['bytes'] / 1e6:.1f} MB"
        typer.echo(f"{name}: {row['cases']} cases, {row['made']} made now, {size}: {row['folder']}")


@app.command("check", cls=Command)
def check(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="Folder that `meshlearn data generate` wrote to.",
            show_default=False,
        ),
    ],
    json: Json = False,
) -> None:
    """Compare the files of data sets with their checksums; exit code 2 if one is not whole.

    Example: `meshlearn data check out/data`
    """
    from ..mesh import MeshError
    from ..training.data import check as compare

    found = compare(folder)
    if json:
        print_json(found)
    else:
        _show(found)
    bad = {f"{place}/{n}" for place, row in found.items() for n in row["missing"] + row["damaged"]}
    if bad:
        files = f"{len(bad)} files are" if len(bad) > 1 else "1 file is"
        raise MeshError(
            f"{files} missing or damaged ({min(bad)}); delete what is damaged and run "
            "`meshlearn data generate` again"
        )


def _show(found: dict[str, dict[str, Any]]) -> None:
    table = grid("data set", "cases", "missing", "damaged", "unlisted")
    for place, row in found.items():
        lost = [str(len(row[key])) for key in ("missing", "damaged", "unlisted")]
        table.add_row(Path(place).name, str(row["cases"]), *lost)
    console().print(table)
