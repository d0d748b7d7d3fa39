"""Imports point down, in the order of the folders; what worker processes import needs no TensorFlow."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, command_environment

# Low to high; the commands stand above all.
ORDER = (
    "base.machine",
    "base",
    "locks",
    "config.hints",
    "config",
    "dataset.structure",
    "dataset.images",
    "dataset.listing",
    "dataset.corrections",
    "dataset.records",
    "dataset.curation",
    "dataset.report",
    "dataset.build",
    "distribute",
    "input",
    "models",
    "runs",
    "results.statistics",
    "results.export.conversion",
    "results.export",
    "results",
    "results.report",
    "comparison",
    "prediction",
    "training",
    "search.space",
    "search.trials",
    "search.report",
    "search",
    "cross_validation.labels",
    "cross_validation",
    "diagnostics.checks",
    "diagnostics",
)
FILES = {
    "harness." + ".".join(path.relative_to(ROOT / "harness").with_suffix("").parts): path
    for path in (ROOT / "harness").rglob("*.py")
    if path.name != "__init__.py"
}
WITHOUT_TENSORFLOW = [module for module in FILES if module.split(".")[1] in ("base", "locks", "config", "dataset")]


def imports_of(path: Path) -> Iterator[str]:
    """The harness modules that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "harness":
            named = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in FILES else node.module for name in named if node.module != "harness")
            yield from (name for name in named if node.module == "harness" and name in FILES)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "harness")


def floor_of(module: str) -> int:
    folder = module.removeprefix("harness.").rpartition(".")[0]
    return ORDER.index(folder) if folder else len(ORDER)


GRAPH = {module: set(imports_of(path)) for module, path in FILES.items()}


def test_imports_point_down():
    assert {target for targets in GRAPH.values() for target in targets} <= set(FILES)
    assert [(m, t) for m, targets in GRAPH.items() for t in targets if floor_of(t) > floor_of(m)] == []
    graphlib.TopologicalSorter(GRAPH).prepare()  # names the circle if there is one


def test_nobody_imports_a_command():
    assert [(m, t) for m, targets in GRAPH.items() for t in targets if floor_of(t) == len(ORDER)] == []


def test_what_workers_import_needs_no_tensorflow():
    program = f"import {', '.join(WITHOUT_TENSORFLOW)}, sys; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], env=command_environment(), check=False).returncode == 0


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES.values()}), ids=lambda path: path.name)
def test_a_folder_is_taken_in_at_a_glance(folder):
    names = [
        path for path in folder.iterdir() if path.suffix == ".py" or (path.is_dir() and path.name != "__pycache__")
    ]
    if folder.name != "harness":
        assert len([path for path in names if path.name != "__init__.py"]) <= 12
        assert (folder / "__init__.py").read_bytes() == b""


@pytest.mark.parametrize("command", ["train", "tune", "bench", "verify_resume", "doctor"])
def test_a_command_that_reads_no_picture_answers_before_it_loads_what_does(command):
    program = f"import harness.{command}, sys; sys.exit(bool({{'cv2', 'PIL'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], env=command_environment(), check=False).returncode == 0
