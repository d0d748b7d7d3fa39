"""What the default settings learn that carries over: accuracy on pictures of a kind that training never saw.

    python benchmarks/generalization.py --out runs/generalization.jsonl --jobs 2
    python benchmarks/generalization.py --out runs/generalization.jsonl --table

Each row of the table is a way to train, each column a way to measure, all through the project's own commands:

  random split    every drawing by itself; the other styles' drawings of the same emoji are in training
  unseen emoji    all drawings of an emoji on one side, which is the default
  unseen style    trained on four of the five styles, measured on every drawing of the fifth; the mean of the five

A finished measurement is one line in --out and is not repeated, so the script can be stopped at any moment.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "data" / "sample"
STYLES = ("fluent3d", "fluentflat", "noto", "notoblob", "twemoji")
WAYS: dict[str, Sequence[str]] = {
    "tutorial: no augmentation, random kernels": (
        "--augment.enabled=false",
        "--model.first_kernels=random",
        "--train.min_epochs=1",
    ),
    "emotion_cnn.yaml without augmentation": ("--augment.enabled=false",),
    "emotion_cnn.yaml": (),
    "best.yaml": ("--config=configs/best.yaml",),
}


@dataclass(frozen=True)
class Measurement:
    """One training: how, on what, with which seed. `style` is the style left out, or None."""

    way: str
    column: str
    seed: int
    style: str | None = None


def main() -> None:
    """Runs what is missing, or prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="file of finished measurements, one JSON object a line")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, one thread each")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--table", action="store_true", help="only print the table of what is in --out")
    arguments = parser.parse_args()
    done = read_done(arguments.out)
    if not arguments.table:
        left = [item for item in plan(arguments.ways, arguments.seeds) if item not in done]
        with ThreadPoolExecutor(arguments.jobs) as pool:
            for item, accuracy in zip(left, pool.map(measure, left)):
                done[item] = accuracy
                with arguments.out.open("a") as file:
                    file.write(json.dumps({**vars(item), "accuracy": accuracy}) + "\n")
                print(f"{accuracy:.3f}  {item}", flush=True)
    print_table(done)


def read_done(path: Path) -> dict[Measurement, float]:
    """Returns the finished measurements."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text().splitlines() if path.exists() else []
    done = {}
    for values in map(json.loads, lines):
        accuracy = values.pop("accuracy")
        done[Measurement(**values)] = accuracy
    return done


def plan(ways: Sequence[str], num_seeds: int) -> Iterator[Measurement]:
    """Yields every measurement, the seeds outermost, so that a table of one seed is there first."""
    for seed in range(num_seeds):
        for way in ways:
            yield Measurement(way, "random split", seed)
            yield Measurement(way, "unseen emoji", seed)
            for style in STYLES:
                yield Measurement(way, "unseen style", seed, style)


def measure(item: Measurement) -> float:
    """Trains and returns the accuracy on what was left out."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        images = copy_drawings(work / "seen", lambda style: style != item.style)
        group_by = "none" if item.column == "random split" else "_([0-9a-f]+)[.]"
        build = (f"--images={images}", f"--records={work / 'records'}", f"--split.group_by={group_by}")
        run("build_records", *build, f"--split.seed={item.seed}", "--runtime.workers=1")
        flags = (f"--records={work / 'records'}", f"--run={work / 'run'}", f"--seed={item.seed}", "--gpus=none")
        run("train", *WAYS[item.way], *flags)
        unseen = ()
        if item.style is not None:
            unseen = ("--images", str(copy_drawings(work / "unseen", lambda style: style == item.style)))
        return json.loads(run("evaluate", str(work / "run"), *unseen, "--json"))["accuracy"]


def copy_drawings(target: Path, is_wanted) -> Path:
    """Copies the drawings of the wanted styles to class folders below `target`."""
    for source in SAMPLE.glob("*/*.png"):
        if is_wanted(source.name.split("_")[0]):
            (target / source.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target / source.parent.name)
    return target


def run(module: str, *arguments: str) -> str:
    """Runs a command of the project on one thread; returns what it printed."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    command = [sys.executable, "-m", f"harness.{module}", "--quiet", *arguments]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **threads}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def print_table(done: dict[Measurement, float]) -> None:
    """Prints mean and range over seeds in Markdown; a seed's unseen style is the mean over the five styles."""
    columns = ("random split", "unseen emoji", "unseen style")
    cells: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for item, accuracy in done.items():
        cells[item.way, item.column][item.seed].append(accuracy)
    print(f"\n| training | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for way in WAYS:
        row = []
        for column in columns:
            expected = len(STYLES) if column == "unseen style" else 1
            seeds = [mean(values) for values in cells[way, column].values() if len(values) == expected]
            row.append(f"{mean(seeds):.3f} ({min(seeds):.3f} to {max(seeds):.3f})" if seeds else "-")
        print(f"| {way} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
