"""How much the seed of the training alone moves the figures: the same division, other weights, order and augmentation.

    python benchmarks/spread.py --out runs/spread.jsonl --jobs 2
    python benchmarks/spread.py --out runs/spread.jsonl --table

The sample is divided five times, all drawings of an emoji on one side, and trained on with four seeds each. A row tells
of one way to train: the figures on the drawings held out, and their deviation over seeds, which is the root of the mean
variance within a division. Deviations of divisions from each other are not in it.

A finished measurement is one line in --out and is not repeated, so the script can be stopped at any moment. On two CPU
cores all of them take half an hour.
"""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, variance

import measurements
from generalization import FIGURES, SAMPLE, evaluate, run

WAYS = {
    "constant rate, no smoothing": (
        "--optim.schedule=constant",
        "--optim.warmup_epochs=0",
        "--optim.label_smoothing=0",
    ),
    "emotion_cnn.yaml": (),
}


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
      way: how it is trained.
      division: the seed of the split.
      seed: of the training.
    """

    way: str
    division: int
    seed: int


def main() -> None:
    """Runs what is missing, or prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="file of finished measurements, one JSON object a line")
    parser.add_argument("--divisions", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, one thread each")
    parser.add_argument("--table", action="store_true", help="only print the table of what is in --out")
    arguments = parser.parse_args()
    done: dict[Training, dict[str, float]] = measurements.read(arguments.out, Training)
    if not arguments.table:
        planned = plan(arguments.divisions, arguments.seeds)
        measurements.finish(arguments.out, planned, measure, done=done, jobs=arguments.jobs)
    print_table(done)


def plan(num_divisions: int, num_seeds: int) -> Iterator[Training]:
    """Yields every training, the seeds outermost."""
    for seed in range(num_seeds):
        for division in range(num_divisions):
            for way in WAYS:
                yield Training(way, division, seed)


def measure(item: Training) -> dict[str, float]:
    """Trains and returns the figures on the drawings that were held out."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        records = f"--records={work / 'records'}"
        division = ("--split.group_by=_([0-9a-f]+)[.]", f"--split.seed={item.division}")
        run("build_records", f"--images={SAMPLE}", records, *division, "--runtime.workers=1")
        flags = (records, f"--run={work / 'run'}", f"--seed={item.seed}", "--gpus=none")
        run("train", *WAYS[item.way], *flags, "--train.precision=float32", "--runtime.exports=[]")
        return evaluate(work / "run")


def print_table(done: dict[Training, dict[str, float]]) -> None:
    """Prints mean and deviation over seeds of every figure, and how many trainings they are of."""
    figures: dict[str, dict[int, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    for item, found in done.items():
        figures[item.way][item.division].append(found)
    print("| settings | trainings | " + " | ".join(f"{title} | over seeds" for title in FIGURES.values()) + " |")
    print("|---|---:|" + "---:|---:|" * len(FIGURES))
    for way, divisions in figures.items():
        cells = [str(sum(map(len, divisions.values())))]
        for name in FIGURES:
            values = [[found[name] for found in division] for division in divisions.values()]
            within = mean(variance(of_division) for of_division in values if len(of_division) > 1) ** 0.5
            cells += [f"{mean(map(mean, values)):.3f}", f"± {within:.3f}"]
        print(f"| {way} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
