"""The evaluation is honest: failures count, unmoved meshes gain nothing, cases are held out."""

from __future__ import annotations

import json

import pytest

from meshlearn import MeshError
from meshlearn.movers import UniversalMover, Variational
from meshlearn.movers.base import Mover
from meshlearn.training.movers.cases import Case
from meshlearn.training.movers.contest import compare
from meshlearn.training.movers.evaluation import Contestant, evaluate, hessian, markdown, summary
from meshlearn.training.movers.suites import SUITES


class Idle(Mover):
    """Leaves every node where it is."""

    def _relocate(self, mesh, monitor, free, start, progress):
        from meshlearn.movers.base import Outcome

        return Outcome(start, True, "idle", 0, 0.0)


class Broken(Mover):
    """Fails on every mesh."""

    def _relocate(self, mesh, monitor, free, start, progress):
        raise MeshError("no mesh pleases me")


def cases(suite: str, count: int):
    return SUITES[suite][0](count)


def test_an_idle_mover_gains_nothing_and_a_failure_counts():
    movers = {
        "idle": Contestant(Idle(), hessian("l2", 3.0)),
        "broken": Contestant(Broken(), hessian("l2", 3.0)),
    }
    results = evaluate(cases("cosines", 2), movers)
    found = summary(results)
    assert found["idle"]["reduction_mean"] == 0
    assert found["idle"]["positive_share"] == 0
    assert found["broken"]["reduction_mean"] == -1
    assert found["broken"]["failed"] == 2
    assert "| broken | 2 | -100.0 % |" in markdown("title", found)


def test_a_mover_that_helps_is_seen_to_help():
    found = summary(
        evaluate(cases("helmholtz", 1), {"v": Contestant(Variational(), hessian("l2", 3.0))})
    )
    assert found["v"]["reduction_mean"] > 0
    assert found["v"]["inverted_cells"] == 0


@pytest.mark.parametrize("suite", SUITES)
def test_cases_are_valid_and_repeat(suite):
    first, again = list(cases(suite, 1)), list(cases(suite, 1))
    for one, other in zip(first, again, strict=True):
        assert one.mesh == other.mesh
        assert len(one.mesh.inverted_cells()) == 0
        if isinstance(one, Case):
            x = one.mesh.pos
            assert (one.problem.exact(x) == other.problem.exact(x)).all()


def contest(suite: str, mover: Mover):
    return evaluate(cases(suite, 1), {"m": Contestant(mover, hessian("l2", 3.0))})[0]


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["burgers", "drag"])
def test_cases_of_several_moves_are_judged_by_the_same_rules(suite):
    idle, broken = contest(suite, Idle()), contest(suite, Broken())
    assert idle.reduction == pytest.approx(0, abs=1e-12)
    assert (broken.reduction, broken.reason) == (-1, "failed: no mesh pleases me")
    found = contest(suite, UniversalMover.from_pretrained())
    assert found.reduction >= 0.4  # of the drag's error, of the error on the way
    assert found.inverted == 0
    assert found.seconds > 0


def test_compare_writes_its_files(tmp_path):
    figures = compare(tmp_path, ["helmholtz"], ["variational"], count=1)
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["figures"] == figures
    assert len(content["results"]["helmholtz"]) == 1
    assert "| variational | 1 |" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "helmholtz.png").stat().st_size > 5000
    assert {p.name for p in tmp_path.iterdir()} == {"results.json", "report.md", "helmholtz.png"}


def test_unknown_names(tmp_path):
    with pytest.raises(MeshError, match="unknown suite 'moon'; there are cosines"):
        compare(tmp_path, ["moon"], ["variational"])
    with pytest.raises(MeshError, match="unknown mover 'cart'; there are universal"):
        compare(tmp_path, ["cosines"], ["cart"])
