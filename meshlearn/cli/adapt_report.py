"""The report of `adapt`: a table and one line for people, a JSON document for programs."""

from __future__ import annotations

import platform
from typing import Any

import torch
from rich.table import Table

from .. import __version__
from .adapting import Run, State
from .facts import sizes
from .output import grid

SCHEMA = "meshlearn/adapt/1"


def report(run: Run, file: str, options: dict[str, Any], seconds: float) -> dict[str, Any]:
    """All there is to know about a run, as plain values.

    Args:
        run: the run.
        file: name of the input.
        options: as they took effect.
        seconds: wall time.
    """
    return {
        "schema": SCHEMA,
        "software": {
            "meshlearn": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
        "input": {"file": file, **sizes(run.states[0].mesh)},
        "adapted_to": run.what,
        "options": options,
        "steps": [_step(k, state) for k, state in enumerate(run.states)],
        "best_step": run.best,
        "reason": run.reason,
        "reduction": reduction(run),
        "seconds": round(seconds, 3),
    }


def _step(number: int, state: State) -> dict[str, Any]:
    move = state.report
    return {
        "step": number,
        "errors": state.errors,
        "interpolation_errors": state.interpolation_errors,
        "estimate": state.estimate,
        "min_quality": float(state.mesh.quality("mean_ratio").min()),
        "inverted_cells": len(state.mesh.inverted_cells()),
        "move": move and move.as_dict(),
    }


def reduction(run: Run) -> dict[str, float]:
    """Errors at the start over those of the best state."""
    first, best = run.states[0], run.states[run.best]
    pairs = {"estimate": (first.estimate, best.estimate)}
    for key, before, after in (
        ("", first.errors, best.errors),
        ("interpolation_", first.interpolation_errors, best.interpolation_errors),
    ):
        if before and after:
            pairs |= {f"{key}{norm}": (before[norm], after[norm]) for norm in before}
    return {name: a / b if b > 0 else float("nan") for name, (a, b) in pairs.items()}


def table(found: dict[str, Any]) -> Table:
    """The steps of a report, one row each."""
    known = found["steps"][0]["errors"] is not None
    errors = ("L2 error", "H1 error", "max error", "interp. L2") if known else ()
    out = grid("step", *errors, "estimate", "quality", "inverted", "iterations", "converged")
    for step in found["steps"]:
        move = step["move"] or {}
        row = [str(step["step"]) + (" (best)" if step["step"] == found["best_step"] else "")]
        if known:
            row += [f"{step['errors'][norm]:.2e}" for norm in ("l2", "h1", "max")]
            row += [f"{step['interpolation_errors']['l2']:.2e}"]
        row += [f"{step['estimate']:.2e}", f"{step['min_quality']:.3f}"]
        row += [str(step["inverted_cells"]), str(move.get("iterations", "-"))]
        row += ["-" if not move else "yes" if move["converged"] else "no"]
        out.add_row(*row)
    return out


def conclusion(found: dict[str, Any]) -> str:
    """One line: what the moves were good for."""
    steps, best = found["steps"], found["best_step"]
    known = steps[0]["errors"] is not None
    if best == 0:
        line = "No move lowered the estimated error: the original positions are kept (step 0)"
        lowest = min(steps, key=lambda step: step["errors"]["l2"] if known else 0)
        if lowest["step"]:
            line += f", although the L2 error was lowest at step {lowest['step']}"
        return f"{line}.{_other_mover(steps)}"
    before, after = (
        step["errors"]["l2"] if known else step["estimate"] for step in (steps[0], steps[best])
    )
    name = "L2 error" if known else "estimated L2 error"
    factor = found["reduction"]["l2" if known else "estimate"]
    change = f"{factor:.2f} times smaller" if factor >= 1 else f"{1 / factor:.2f} times larger"
    end = f"(step {best}; {found['reason']}).{_other_mover(steps)}"
    return f"{name} {before:.3e} -> {after:.3e}: {change} {end}"


def _other_mover(steps: list[dict[str, Any]]) -> str:
    """A sentence where the mover that was asked for left moves to another one."""
    names = {step["move"]["mover"] for step in steps if step["move"]}
    return "".join(f" Moved by {name}." for name in sorted(names) if "fell back" in name)
