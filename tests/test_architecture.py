"""The shape of the code: imports point one way, files stay small, modules say what they are."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "meshlearn"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 350


def module_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_imports_point_one_way(capsys: pytest.CaptureFixture[str]) -> None:
    code = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    assert code == 0, capsys.readouterr().out


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_file_holds_one_concept(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{module_id(path)} has {lines} lines: split it by concept"


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if path.name == "__init__.py" or not path.name.startswith("_")],
    ids=module_id,
)
def test_public_module_has_docstring(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring, f"{module_id(path)} needs a docstring that says what it holds"


def test_package_is_marked_as_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
