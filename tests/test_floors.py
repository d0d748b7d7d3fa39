"""Imports point down only; files of one floor do not know one another."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "harness"
FLOORS = tuple(
    set(names.split())
    for names in (
        "backbones errors quiet verdict",
        "alignment cluster containers files fingerprints gpus measures memory meter order pace page remote resizing "
        "shortcuts tables tally watchdog",
        "look_alikes near_copies records rendezvous",
        "config findings grouping manifest split workdir",
        "data_facts in_force settings",
        "augment_device augment_host build_folder checkpoint cli data_gallery data_plots distribute "
        "duplicates forward gradients images metrics models optim rejects run_folder spool stored streams "
        "tfds_metadata tracking transforms workers",
        "data_report export history plots precision reader report sources steps",
        "cleaner pictures shards thumbnails",
        "input_pipeline",
        "divergence plan results showing",
        "run throughput",
        "loop",
        "outcome survey",
        "builder",
        "bench build_records evaluate predict train tune verify_resume",
    )
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def imported_modules(path: Path) -> list[tuple[int, str]]:
    """The harness modules a file imports, wherever in the file, with the line."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "harness":
            found += [(node.lineno, alias.name) for alias in node.names if not alias.name.startswith("__")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("harness."):
            found.append((node.lineno, node.module.split(".")[1]))
        elif isinstance(node, ast.Import):
            found += [
                (node.lineno, alias.name.split(".")[1]) for alias in node.names if alias.name.startswith("harness.")
            ]
    return found


def test_every_file_has_a_floor():
    assert {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"} == set(FLOOR_OF)


def test_imports_point_down():
    wrong = [
        f"{path.name}:{line} imports {name}"
        for path in PACKAGE.glob("*.py")
        if path.stem in FLOOR_OF
        for line, name in imported_modules(path)
        if FLOOR_OF[name] >= FLOOR_OF[path.stem]
    ]
    assert wrong == []
