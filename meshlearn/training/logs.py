"""Logs of a run: CSV always, TensorBoard where it is installed and asked for."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from .settings import TrainingError


class Log:
    """Appends rows of numbers to `FOLDER/log.csv`, one file for each set of names.

    Args:
        folder: of the run.
        tensorboard: whether to write event files to the same folder too.

    Raises:
        TrainingError: TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path, *, tensorboard: bool = False) -> None:
        self.folder = folder
        self._events: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise TrainingError(
                    "TensorBoard logs need `pip install meshlearn[train]`"
                ) from error
            self._events = SummaryWriter(str(folder))

    def write(self, name: str, step: int, values: dict[str, float]) -> None:
        """One row of `FOLDER/NAME.csv`; a row with other columns than the file is an error."""
        path = self.folder / f"{name}.csv"
        columns = ["step", *sorted(values)]
        fresh = not path.exists()
        if not fresh:
            with path.open(newline="") as file:
                known = next(csv.reader(file), [])
            if known != columns:
                raise TrainingError(f"{path} has the columns {known}, not {columns}")
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(columns)
            writer.writerow([step, *(repr(values[key]) for key in columns[1:])])
        if self._events is not None:
            for key, value in values.items():
                self._events.add_scalar(f"{name}/{key}", value, step)

    def truncate(self, step: int) -> None:
        """Drop the rows after `step`: a resumed run writes them again."""
        for path in self.folder.glob("*.csv"):
            with path.open(newline="") as file:
                rows = list(csv.reader(file))
            kept = [row for k, row in enumerate(rows) if k == 0 or int(row[0]) <= step]
            with path.open("w", newline="") as file:
                csv.writer(file).writerows(kept)

    def close(self) -> None:
        """Flush the event files."""
        if self._events is not None:
            self._events.close()
