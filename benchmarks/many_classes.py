"""What a thousand classes cost from the build to the report: peak memory and time of each command.

    python benchmarks/many_classes.py                  10, 100 and 1000 classes of 6 pictures
    python benchmarks/many_classes.py --classes 5000

The network and the pictures are tiny, so that what is measured is what grows with the number of classes.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from build_records import ROOT, measure

_NUM_EACH = 6


def main() -> None:
    """Parses the flags, and runs the commands at each number of classes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100, 1000], metavar="N")
    arguments = parser.parse_args()
    print(f"{'classes':>8}  {'command':<14}{'peak MB':>8}{'seconds':>9}")
    for num_classes in arguments.classes:
        with tempfile.TemporaryDirectory() as folder:
            make_pictures(Path(folder) / "images", num_classes)
            for name, command in list_commands(Path(folder)).items():
                wall_s, _, peak = measure(command)
                print(f"{num_classes:>8}  {name:<14}{peak:>8.0f}{wall_s:>9.1f}", flush=True)


def make_pictures(folder: Path, num_classes: int) -> None:
    """Writes coloured clouds of 48 pixels, all different."""
    random = np.random.default_rng(0)
    for index in range(num_classes):
        (folder / f"class {index:05d}").mkdir(parents=True)
        for number in range(_NUM_EACH):
            colours = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            pixels = cv2.resize(colours, (48, 48), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / f"class {index:05d}" / f"{number}.png"), pixels)


def list_commands(folder: Path) -> dict[str, Sequence[object]]:
    """Returns the commands of the whole way, by name."""
    config, records, run = ROOT / "configs" / "smoke.yaml", folder / "records", folder / "run"
    python = (sys.executable, "-m")
    from_records = ("--config", config, "--records", records)
    return {
        "build_records": [*python, "harness.build_records", *from_records, "--images", folder / "images"],
        "train": [*python, "harness.train", *from_records, "--run", run, "--epochs", "1"],
        "evaluate": [*python, "harness.evaluate", run],
    }


if __name__ == "__main__":
    main()
