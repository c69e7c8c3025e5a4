"""A progress bar for moves, on standard error; silent where that is not a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@contextmanager
def move_progress(
    subject: str, moves: int, iterations: int
) -> Iterator[Callable[[int, float], None]]:
    """Give a function to call with iteration (from 1 in each move) and residual.

    Args:
        subject: what the mesh is adapted to.
        moves: largest number of moves.
        iterations: largest number of iterations of one move.
    """
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("iteration {task.completed:.0f}/{task.total:.0f}"),
        TextColumn("residual {task.fields[residual]}"),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(f"{subject}:", total=iterations, residual="-")
        move = 0

        def show(iteration: int, residual: float) -> None:
            nonlocal move
            move += iteration == 1
            bar.update(
                task,
                completed=iteration,
                description=f"{subject}: move {move}/{moves}",
                residual=f"{residual:.1e}",
            )

        yield show
