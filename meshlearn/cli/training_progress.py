"""A progress bar for training runs, on standard error; silent where that is not a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Show:
    """What a run calls as it goes on.

    Args:
        bar: where it shows.
    """

    def __init__(self, bar: Progress) -> None:
        self.bar = bar
        self._making = bar.add_task("samples", total=None, visible=False, figures="")
        self._training = bar.add_task("training", total=None, visible=False, figures="")

    def samples(self, done: int, total: int) -> None:
        """After each sample made."""
        self.bar.update(self._making, completed=done, total=total, visible=done < total)

    def step(self, step: int, steps: int, figures: dict[str, float]) -> None:
        """After each optimiser step."""
        shown = " ".join(f"{name} {value:.3g}" for name, value in figures.items())
        self.bar.update(self._training, completed=step, total=steps, visible=True, figures=shown)


@contextmanager
def training_progress() -> Iterator[Show]:
    """Bars for the samples and for the steps."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        yield Show(bar)
