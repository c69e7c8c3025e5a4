"""The movers that are compared, by name, and the folder of files that a comparison leaves."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from ... import movers
from ...mesh import Mesh, MeshError
from ...monitors import Monitor
from ...movers import UniversalMover, Variational
from ...movers.learned import WithSolution
from ...nn.storage import read_card
from .cases import Build, Trial
from .evaluation import Contestant, Result, as_rows, evaluate, hessian, judge, markdown, summary
from .models import BASELINES
from .published import dmm_monitor, um2n_monitor
from .suites import SUITES


def _monge_ampere() -> Contestant:
    return Contestant(movers.MongeAmpere(), hessian("l2", 3.0))


CONTESTANTS: dict[str, Callable[[], Contestant]] = {
    "universal": lambda: Contestant(UniversalMover.from_pretrained(), hessian("metric", 5.0)),
    "universal-l2": lambda: Contestant(UniversalMover.from_pretrained(), hessian("l2", 3.0)),
    "variational": lambda: Contestant(Variational(), hessian("l2", 3.0)),
    "variational-0.1": lambda: Contestant(Variational(theta=0.1), hessian("l2", 3.0)),
    "variational-metric": lambda: Contestant(Variational(), hessian("metric", 5.0)),
    "monge-ampere": _monge_ampere,
}
"""Each mover with the monitor that suits it."""


def _seen(mesh: Mesh, u: torch.Tensor) -> Monitor:
    return WithSolution(um2n_monitor(mesh, u), mesh, u)


def _dmm(path: str) -> Build:
    share = read_card(path).get("settings", {}).get("share", 1.0)
    return lambda mesh, u: dmm_monitor(mesh, u, share)


_TRAINED_ON: dict[str, Callable[[str], Build]] = {
    "um2n": lambda _: um2n_monitor,
    "m2n": lambda _: _seen,
    "data-free": _dmm,
}
"""The monitor that each published mover was trained with, from its weights."""


def contestant(text: str) -> tuple[str, Contestant]:
    """A contestant and its name: one of `CONTESTANTS`, or NAME=WEIGHTS for trained weights.

    Raises:
        MeshError: unknown mover, a published mover without weights, or weights of another.
    """
    name, _, path = text.partition("=")
    if name == "universal" and path:
        return name, Contestant(UniversalMover.from_pretrained(path), hessian("metric", 5.0))
    if name in BASELINES:
        if not path:
            raise MeshError(
                f"{name} ships without weights: train it with `meshlearn train mover` and name "
                f"them, {name}=WEIGHTS"
            )
        return name, Contestant(BASELINES[name].from_pretrained(path), _TRAINED_ON[name](path))
    if text not in CONTESTANTS:
        known = ", ".join([*CONTESTANTS, *(f"{name}=WEIGHTS" for name in BASELINES)])
        raise MeshError(f"unknown mover {text!r}; there are {known}")
    return text, CONTESTANTS[text]()


def compare(
    folder: str | Path,
    suites: Sequence[str],
    names: Sequence[str],
    count: int | None = None,
    progress: Callable[[str, Result], None] | None = None,
) -> dict[str, dict[str, dict[str, float]]]:
    """Judge movers on suites and write `results.json`, `report.md` and a picture per suite.

    Args:
        folder: made where it is missing.
        suites: of `SUITES`.
        names: of `CONTESTANTS`, or NAME=WEIGHTS; see `contestant`.
        count: cases of each suite; its own default if not given.
        progress: called with the suite after each result.

    Returns:
        Figures by suite and mover.

    Raises:
        MeshError: unknown suite or mover.
    """
    for name in suites:
        if name not in SUITES:
            raise MeshError(f"unknown suite {name!r}; there are {', '.join(SUITES)}")
    contestants = dict(contestant(name) for name in names)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _warm_up(contestants)
    figures, rows, text = {}, {}, [_HEAD]
    for suite in suites:
        cases, usual, title = SUITES[suite]
        each = partial(progress, suite) if progress else None
        results = evaluate(cases(count or usual), contestants, each)
        figures[suite], rows[suite] = summary(results), as_rows(results)
        text.append(markdown(title, figures[suite]))
        _draw(folder / f"{suite}.png", title, results)
    content = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "figures": figures,
        "results": rows,
    }
    _replace(folder / "results.json", json.dumps(_plain(content), indent=1))
    _replace(folder / "report.md", "\n".join(text))
    return figures


_HEAD = """Error reduction ER = (e0 - e1) / e0 of the L2 error of the P1 solve, over all cases; a
move that failed counts as -100 %. Times include building the monitor and the mover's own report.
"""


def _warm_up(contestants: dict[str, Contestant]) -> None:
    """Imports and first calls are not part of anyone's time."""
    case: Trial = next(SUITES["cosines"][0](1))
    for name, contestant in contestants.items():
        judge(case, name, contestant)


def _draw(path: Path, title: str, results: Sequence[Result]) -> None:
    """Reductions of each mover, sorted: how many cases gain how much."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(result.mover for result in results):
        found = sorted(100 * r.reduction for r in results if r.mover == name)
        share = [100 * (k + 0.5) / len(found) for k in range(len(found))]
        axes.plot(share, found, label=name, marker="." if len(found) < 50 else "")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(
        title=title, xlabel="cases, worst to best, %", ylabel="error reduction, %", ylim=(-105, 105)
    )
    axes.legend(fontsize=8)
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format="png", dpi=110)
    temporary.replace(path)


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text)
    temporary.replace(path)


def _plain(value: object) -> object:
    """JSON has no infinity: null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
