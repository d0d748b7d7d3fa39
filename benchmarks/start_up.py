"""What a training does until its first steps are done, and how long that takes.

    python benchmarks/start_up.py --records tfrecords/sample --repeats 5
    python benchmarks/start_up.py --records tfrecords/sample --checkout ../before

Each start is a process of its own that runs harness.train and ends after the first call of the steps. The table has the
median of its seconds by the clock and of CPU, from the start of Python to the end of each stage. --checkout measures
the package of another folder by turns with this one, since machines are never quiet.
"""

import argparse
import functools
import json
import os
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("Python", "harness", "TensorFlow", "training code", "precision", "pictures", "network", "first steps")


def main() -> None:
    """Starts trainings by turns, and prints a table for each package."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, default=ROOT / "tfrecords" / "sample")
    parser.add_argument("--checkout", type=Path, help="folder of another harness")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--stamps", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stamps:
        start(arguments.records, arguments.stamps)
    packages = [ROOT, *([arguments.checkout.resolve()] if arguments.checkout else [])]
    found: dict[Path, list[dict[str, list[float]]]] = {package: [] for package in packages}
    for _ in range(arguments.repeats):
        for package in packages:
            found[package].append(measure(package, arguments.records.resolve()))
    for package, runs in found.items():
        print(f"{package}\n\n| until the end of | seconds | of CPU |\n|---|---:|---:|")
        for stage in STAGES:
            wall_s, cpu_s = (statistics.median(run[stage][kind] for run in runs) for kind in (0, 1))
            print(f"| {stage} | {wall_s:.2f} | {cpu_s:.2f} |")
        print()


def measure(package: Path, records: Path) -> dict[str, list[float]]:
    """Returns the seconds and CPU seconds at the end of each stage of one start."""
    with tempfile.TemporaryDirectory() as folder:
        stamps = Path(folder) / "stamps.json"
        environment = {**os.environ, "PYTHONPATH": str(package), "START": str(time.time())}
        command = [sys.executable, __file__, "--records", str(records), "--stamps", str(stamps)]
        subprocess.run(command, cwd=package, env=environment, check=True, stderr=subprocess.DEVNULL)
        return dict(json.loads(stamps.read_text()))


def start(records: Path, path: Path) -> NoReturn:
    """Trains until the first call of the steps is done, and writes the stamps."""
    stamps: dict[str, list[float]] = {}

    def stamp(stage: str) -> None:
        times = os.times()
        stamps[stage] = [time.time() - float(os.environ["START"]), times.user + times.system]

    stamp("Python")
    from harness.base import tf_import

    import_tensorflow = tf_import.import_tensorflow

    def follow(*extensions: str) -> None:
        """Imports TensorFlow, and puts a stamp behind each stage that comes after."""
        stamp("harness")
        import_tensorflow(*extensions)
        stamp("TensorFlow")
        from harness.training import loop, precision, trainer

        stamp("training code")
        stages = {
            "precision": (precision, "settle"),
            "pictures": (trainer, "_open_split"),
            "network": (trainer, "make_trainee"),
            "first steps": (loop.Loop, "_take_steps"),
        }
        for stage, (owner, name) in stages.items():
            setattr(owner, name, stamping(getattr(owner, name), stage))

    def stamping(function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def stamped(*values: object, **named: object) -> object:
            """Calls the function; after the last stage the process ends."""
            result = function(*values, **named)
            stamp(stage)
            if stage == STAGES[-1]:
                path.write_text(json.dumps(stamps))
                os._exit(0)
            return result

        return stamped

    tf_import.import_tensorflow = follow
    sys.argv = ["harness.train", "--records", str(records), "--run", str(path.parent / "run"), "--quiet"]
    runpy.run_module("harness.train", run_name="__main__", alter_sys=True)
    raise SystemExit("harness.train ended before its first steps")


if __name__ == "__main__":
    main()
