"""What the default settings learn that carries over: accuracy on pictures of a kind that training never saw.

    python benchmarks/generalization.py --out runs/generalization.jsonl --jobs 2
    python benchmarks/generalization.py --out runs/generalization.jsonl --table

Each row of the table is a way to train, each column a way to measure, all through the project's own commands:

  random split    every drawing by itself; the other styles' drawings of the same emoji are in training
  unseen emoji    five-fold cross-validation, all drawings of an emoji in one fold: all 191 are measured
  unseen style    trained on four of the five styles, measured on every drawing of the fifth; all five in turn
  ... and size    the same, with the drawings of the fifth style at 70 % of their size: vendors frame them differently

A finished measurement is one line in --out and is not repeated, so the script can be stopped at any moment. On two CPU
cores a seed of one row takes about five minutes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import measurements
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "data" / "sample"
STYLES = ("fluent3d", "fluentflat", "noto", "notoblob", "twemoji")
WAYS: dict[str, Sequence[str]] = {
    "tutorial: no augmentation, random kernels, constant rate": (
        "--augment.enabled=false",
        "--model.first_kernels=random",
        "--optim.schedule=constant",
        "--optim.warmup_epochs=0",
        "--optim.label_smoothing=0",
    ),
    "emotion_cnn.yaml": (),
    "residual_cnn.yaml": ("--config=configs/residual_cnn.yaml",),
}
COLUMNS = ("random split", "unseen emoji", "unseen style", "... and size")
FIGURES = {"accuracy": "accuracy", "loss": "log loss", "ece": "calibration error"}  # of --json -> as they are titled
Found = dict[str, dict[str, float]]  # column -> figure -> value


@dataclass(frozen=True)
class Training:
    """What is trained and measured at once: one training, or the five of a cross-validation.

    Attributes:
      way: the row of the table.
      column: the first column of the table that it gives a figure for.
      seed: of the split and of the training.
      style: the style left out, or None.
    """

    way: str
    column: str
    seed: int
    style: str | None = None


def main() -> None:
    """Runs what is missing, or prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="file of finished measurements, one JSON object a line")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, one thread each")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--table", action="store_true", help="only print the table of what is in --out")
    arguments = parser.parse_args()
    done = measurements.read(arguments.out, Training)
    if not arguments.table:
        planned = plan(arguments.ways, arguments.seeds)
        measurements.finish(arguments.out, planned, measure, done=done, jobs=arguments.jobs)
    print_table(done)


def plan(ways: Sequence[str], num_seeds: int) -> Iterator[Training]:
    """Yields every training, the seeds outermost, so that a table of one seed is there first."""
    for seed in range(num_seeds):
        for way in ways:
            yield Training(way, "random split", seed)
            yield Training(way, "unseen emoji", seed)
            for style in STYLES:
                yield Training(way, "unseen style", seed, style)


def measure(item: Training) -> Found:
    """Trains and returns the figures on what was left out, by column."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        images = copy_drawings(work / "seen", lambda style: style != item.style)
        group_by = "none" if item.column == "random split" else "_([0-9a-f]+)[.]"
        build = (f"--images={images}", f"--records={work / 'records'}", f"--split.group_by={group_by}")
        run("build_records", *build, f"--split.seed={item.seed}", "--runtime.workers=1")
        flags = (f"--records={work / 'records'}", f"--run={work / 'run'}", f"--seed={item.seed}", "--gpus=none")
        flags += ("--train.precision=float32", "--runtime.exports=[]")  # or the table would depend on the CPU
        if item.column == "unseen emoji":
            found = json.loads(run("cross_validate", *WAYS[item.way], *flags, "--json"))
            return {item.column: {name: found[name] for name in FIGURES}}
        run("train", *WAYS[item.way], *flags)
        if item.style is None:
            return {item.column: evaluate(work / "run")}
        unseen = copy_drawings(work / "unseen", lambda style: style == item.style)
        smaller = copy_drawings(work / "smaller", lambda style: style == item.style, scale=0.7)
        return {
            "unseen style": evaluate(work / "run", "--images", str(unseen)),
            "... and size": evaluate(work / "run", "--images", str(smaller)),
        }


def evaluate(folder: Path, *flags: str) -> dict[str, float]:
    """Returns the figures of a run."""
    found = json.loads(run("evaluate", str(folder), *flags, "--json"))
    return {name: found[name] for name in FIGURES}


def copy_drawings(target: Path, is_wanted: Callable[[str], bool], *, scale: float = 1.0) -> Path:
    """Copies the drawings of the wanted styles to class folders below `target`, shrunk on white if `scale` says so."""
    for source in SAMPLE.glob("*/*.png"):
        if is_wanted(source.name.split("_")[0]):
            (target / source.parent.name).mkdir(parents=True, exist_ok=True)
            drawing = Image.open(source)
            small = drawing.resize([round(side * scale) for side in drawing.size], Image.Resampling.LANCZOS)
            framed = Image.new("RGB", drawing.size, "white")
            framed.paste(small, ((drawing.width - small.width) // 2, (drawing.height - small.height) // 2))
            framed.save(target / source.parent.name / source.name)
    return target


def run(module: str, *arguments: str) -> str:
    """Runs a command of the project on one thread; returns what it printed."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    command = [sys.executable, "-m", f"harness.{module}", "--quiet", *arguments]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **threads}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def print_table(done: dict[Training, Found]) -> None:
    """Prints mean and range over seeds in Markdown; for an unseen style a seed's figure is the mean of the styles."""
    cells: dict[tuple[str, str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for item, found in done.items():
        for column, figures in found.items():
            for name, value in figures.items():
                cells[name, item.way, column][item.seed].append(value)
    for name, title in FIGURES.items():
        print(f"\n| {title} | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
        for way in WAYS:
            row = [describe(cells[name, way, column], num=1 if column in COLUMNS[:2] else 5) for column in COLUMNS]
            print(f"| {way} | {' | '.join(row)} |")


def describe(of_seed: dict[int, list[float]], *, num: int) -> str:
    """Returns mean and range over the seeds that have all their figures."""
    seeds = [mean(values) for values in of_seed.values() if len(values) == num]
    return f"{mean(seeds):.3f} ({min(seeds):.3f} to {max(seeds):.3f})" if seeds else "-"


if __name__ == "__main__":
    main()
