"""`meshlearn train`: train a mover (or an operator) from a settings file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Command, Json
from .output import print_json
from .training_progress import training_progress

if TYPE_CHECKING:
    from ..training import Trained

app = typer.Typer(
    help="Train models from a settings file.", no_args_is_help=True, rich_markup_mode="markdown"
)

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="YAML file of settings; the defaults of the shipped weights without it. "
        "Its `model` is one of {models}.",
        show_default=False,
    ),
]
OperatorConfig = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="YAML file of settings; defaults without it. Its `model` is one of {operators}.",
        show_default=False,
    ),
]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="Write TensorBoard event files too.")
]
Folder = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="FOLDER",
        help="Folder of checkpoint, logs and weights; a run found there is resumed.",
    ),
]


@app.command("mover", cls=Command)
def mover(
    config: Config = None,
    output: Folder = Path("out/train_mover"),
    tensorboard: TensorBoard = False,
    json: Json = False,
) -> None:
    """Train the universal mover (or a published one) and write its weights with their card.

    Interrupt it when you like: the same command goes on from the last checkpoint.

    Example: `meshlearn train mover --config examples/configs/mover_2d.yaml -o out/mover`
    """
    from ..training.movers.models import read_mover_settings, train
    from ..training.movers.universal import MoverSettings

    settings = read_mover_settings(config) if config else MoverSettings()
    command = "meshlearn train mover" + (f" --config {config.name}" if config else "")
    _run(partial(train, settings, output, command=command, tensorboard=tensorboard), json=json)


@app.command("operator", cls=Command)
def operator(
    config: OperatorConfig = None,
    output: Folder = Path("out/train_operator"),
    tensorboard: TensorBoard = False,
    json: Json = False,
) -> None:
    """Train an operator on a data set and write its weights with their card.

    Interrupt it when you like: the same command goes on from the last checkpoint.

    Example: `meshlearn train operator --config examples/configs/operator_darcy.yaml`
    """
    from ..training.operators import OperatorSettings, train_operator
    from ..training.settings import read_settings

    settings = read_settings(config, OperatorSettings) if config else OperatorSettings()
    command = "meshlearn train operator" + (f" --config {config.name}" if config else "")
    _run(
        partial(train_operator, settings, output, command=command, tensorboard=tensorboard),
        json=json,
    )


@app.command("evolution", cls=Command)
def evolution(
    config: OperatorConfig = None,
    output: Folder = Path("out/train_evolution"),
    tensorboard: TensorBoard = False,
    json: Json = False,
) -> None:
    """Train an operator to carry states forward in time, and write its weights with their card.

    Interrupt it when you like: the same command goes on from the last checkpoint.

    Example: `meshlearn train evolution --config examples/configs/evolution_heat.yaml`
    """
    from ..training.evolution import EvolutionSettings, train_evolution
    from ..training.settings import read_settings

    settings = read_settings(config, EvolutionSettings) if config else EvolutionSettings()
    command = "meshlearn train evolution" + (f" --config {config.name}" if config else "")
    _run(
        partial(train_evolution, settings, output, command=command, tensorboard=tensorboard),
        json=json,
    )


def _run(train: Callable[..., tuple[Path, Trained]], *, json: bool) -> None:
    """Train with a progress bar, and say what came of it."""
    with training_progress() as show:
        path, trained = train(prepared=show.samples, progress=show.step)
    report = {
        "weights": str(path),
        "reason": trained.reason,
        "best_step": trained.step,
        "held_out": trained.figures,
        "seconds": round(trained.seconds, 1),
    }
    if json:
        print_json(report)
        return
    typer.echo(f"{trained.reason}; best weights after step {trained.step}: {path}")
    for name, value in trained.figures.items():
        typer.echo(f"  {name:20s} {value:.4f}")
