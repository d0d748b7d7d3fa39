"""Imports point down only; files of one floor do not know one another."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "harness"
FLOORS = tuple(
    set(names.split())
    for names in (
        "networks errors tf_import rates",
        "alignment cluster formats files fingerprints gpus quality memory meter sampler steps_per_loop html storage "
        "resizing shortcuts text step_metrics watchdog",
        "similarity_search near_duplicates tfrecord rendezvous",
        "config findings groups manifest splits workdir",
        "facts effective_settings settings",
        "augment_device augment_host build_folder checkpoint app gallery data_charts strategy "
        "duplicates cpu_forward gradients decoder metrics network optimizer quarantine identity "
        "build_cache encoding record_reader tfds_metadata tensorboard augmentation process_pool",
        "data_page export history charts precision decoding report sources steps",
        "cleaner loaded_split shards thumbnails",
        "pipeline",
        "divergence plan artifacts preview",
        "loop throughput",
        "trainer",
        "summary survey",
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
