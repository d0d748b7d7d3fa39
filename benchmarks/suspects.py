"""How many wrong labels cross-validation finds, of those that were made wrong.

    python benchmarks/suspects.py --out runs/suspects.jsonl --jobs 2
    python benchmarks/suspects.py --out runs/suspects.jsonl --table
    python benchmarks/suspects.py --sets shapes --rates 0.1 --seeds 1 --epochs 10
    python benchmarks/suspects.py --scores                    which score finds most, on made probabilities

A share of the labels is given to other classes in a table beside the pictures, records are built with it, and all is
done by the project's own commands. Of N wrong labels

  cross-validation   are so many among the first N pictures, the least probable label first (precision and recall alike)
  one split          are so many among the first N of the validation split of one training, which can find no others
  random             would be so many among N pictures drawn at random
  suspects           are these of suspects.csv: how many of its pictures are wrong, and how many of N it has

`sample` are the drawings of the project, two classes; `shapes` are six shapes, 60 pictures each, four of each object.
A finished measurement is one line in --out and is not repeated, so the script can be stopped at any moment.
"""

import argparse
import csv
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import cv2
import measurements
import numpy as np
from generalization import ROOT, SAMPLE, run

from harness.base import csv_files
from harness.cross_validation.labels import suspects
from harness.results import predictions

SHAPES = ("bar", "circle", "cross", "ring", "square", "triangle")
NUM_OBJECTS, NUM_VIEWS, SIDE = 15, 4, 64
COLUMNS = ("cross-validation", "one split", "random", "suspects right", "suspects found")


@dataclass(frozen=True)
class Picture:
    """A picture of a set: its path below the folder, its class, and the object it shows."""

    path: str
    label: str
    group: str


@dataclass(frozen=True)
class Measurement:
    """One measurement: of which set, with which share of wrong labels, which of them, and how it is trained."""

    name: str
    rate: float
    seed: int
    image_size: int
    epochs: int


def main() -> None:
    """Runs what is missing, or prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "suspects.jsonl", help="of finished measurements")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--rates", nargs="*", type=float, default=[0.05, 0.1])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--jobs", type=int, default=1, help="measurements at a time, one thread each")
    parser.add_argument("--table", action="store_true", help="only print the table of what is in --out")
    parser.add_argument("--scores", action="store_true", help="compare scores on made probabilities instead")
    arguments = parser.parse_args()
    if arguments.scores:
        return compare_scores(arguments.seeds)
    done = measurements.read(arguments.out, Measurement)
    if not arguments.table:
        planned = (
            Measurement(name, rate, seed, arguments.image_size, arguments.epochs)
            for seed in range(arguments.seeds)
            for name in arguments.sets
            for rate in arguments.rates
        )
        measurements.finish(arguments.out, planned, measure, done=done, jobs=arguments.jobs)
    return print_table(done)


def measure(item: Measurement) -> dict[str, float]:
    """Makes labels wrong, builds, cross-validates and trains; returns what each way found."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        records, wrong = build(item, work)
        how = (f"--records={records}", f"--seed={item.seed}", "--gpus=none", "--train.precision=float32")
        how += (f"--train.epochs={item.epochs}",)
        run("cross_validate", f"--run={work / 'validated'}", "--folds=5", "--json", *how)
        run("train", f"--run={work / 'run'}", *how)
        return judge(work / "validated", work / "run", wrong)


def build(item: Measurement, work: Path) -> tuple[Path, set[str]]:
    """Builds records with some labels wrong; returns their folder, and the paths of the wrong ones."""
    images, pictures = SETS[item.name](work)
    given = flip(pictures, item.rate, np.random.default_rng(item.seed))
    table = work / "labels.csv"
    with table.open("w", newline="") as file:
        rows = ((picture.path, given[picture.path], picture.group) for picture in pictures)
        csv_files.write_rows(file, [("path", "label", "group"), *rows])
    flags = (f"--data.labels={table}", f"--split.group_by={table}:group", f"--split.seed={item.seed}")
    flags += (f"--records.image_size={item.image_size}", "--runtime.workers=1")
    run("build_records", f"--images={images}", f"--records={work / 'records'}", *flags)
    return work / "records", {picture.path for picture in pictures if given[picture.path] != picture.label}


def flip(pictures: Sequence[Picture], rate: float, random: np.random.Generator) -> dict[str, str]:
    """Returns the label of each path, of which a share is another class, any of the others."""
    names = sorted({picture.label for picture in pictures})
    given = {picture.path: picture.label for picture in pictures}
    for place in random.permutation(len(pictures))[: round(rate * len(pictures))]:
        picture = pictures[place]
        others = [name for name in names if name != picture.label]
        given[picture.path] = others[random.integers(len(others))]
    return given


def list_sample(work: Path) -> tuple[Path, list[Picture]]:
    """Returns the folder and the pictures of the sample; pictures of one emoji are a group."""
    paths = sorted(path.relative_to(SAMPLE) for path in SAMPLE.glob("*/*.png"))
    return SAMPLE, [Picture(path.as_posix(), path.parent.name, path.stem.split("_")[1]) for path in paths]


def draw_shapes(work: Path) -> tuple[Path, list[Picture]]:
    """Draws six shapes, always the same; returns their folder and the pictures. Views of one object are a group."""
    random = np.random.default_rng(0)
    folder, pictures = work / "shapes", []
    folder.mkdir()
    for name in SHAPES:
        for number in range(NUM_OBJECTS):
            colors, size = draw_colors(random), random.uniform(0.25, 0.38)
            for view in range(NUM_VIEWS):
                path = f"{name}_{number:02d}_{view}.png"
                cv2.imwrite(str(folder / path), draw(name, colors, size * random.uniform(0.85, 1.15), random))
                pictures.append(Picture(path, name, f"{name} {number}"))
    return folder, pictures


def draw_colors(random: np.random.Generator) -> np.ndarray:
    """Returns two colours that an eye can part: int64 [2, 3]."""
    while True:
        colors = random.integers(0, 256, (2, 3))
        if abs(int(colors[0].sum()) - int(colors[1].sum())) > 240:
            return colors


def draw(name: str, colors: np.ndarray, size: float, random: np.random.Generator) -> np.ndarray:
    """Returns a shape, turned and moved at random, under noise: uint8 [SIDE, SIDE, 3]."""
    background, color = ([int(value) for value in row] for row in colors)
    pixels = np.full((SIDE, SIDE, 3), background, np.uint8)
    angle, radius = np.pi / 4 + random.uniform(-0.4, 0.4), size * SIDE
    middle = SIDE / 2 + random.uniform(-0.1, 0.1, 2) * SIDE
    centre = (round(middle[0]), round(middle[1]))
    if name in ("circle", "ring"):
        cv2.circle(pixels, centre, round(radius), color, -1 if name == "circle" else 4, cv2.LINE_AA)
    elif name in ("bar", "cross"):
        for turned in (angle, angle + np.pi / 2)[: 1 if name == "bar" else 2]:
            end = np.array([np.cos(turned), np.sin(turned)]) * radius
            one, other = (np.rint(middle + sign * end).astype(int).tolist() for sign in (-1, 1))
            cv2.line(pixels, one, other, color, 7, cv2.LINE_AA)
    else:
        angles = angle + 2 * np.pi * np.arange(num := {"triangle": 3, "square": 4}[name]) / num
        corners = middle + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        cv2.fillPoly(pixels, [np.rint(corners).astype(np.int32)], color, cv2.LINE_AA)
    return np.clip(pixels + random.normal(0, 12, pixels.shape), 0, 255).astype(np.uint8)


SETS: Mapping[str, Callable[[Path], tuple[Path, list[Picture]]]] = {"sample": list_sample, "shapes": draw_shapes}


def judge(validated: Path, trained: Path, wrong: set[str]) -> dict[str, float]:
    """Returns the shares of wrong labels that each way found.

    Args:
      validated: folder of a cross-validation.
      trained: folder of a run.
      wrong: the paths of all wrong labels; those that the build left out are not counted.
    """
    ranked = rank_out_of_fold(validated / "out_of_fold.csv")
    wrong &= set(ranked)
    rows = sorted(predictions.read(trained / "predictions.csv"), key=lambda row: row.label_probability)
    with (validated / "suspects.csv").open(newline="") as file:
        suspected = [row["path"] for row in csv.DictReader(file)]
    num_found = len(wrong.intersection(suspected))
    return {
        "num_wrong": len(wrong),
        "num_suspects": len(suspected),
        "cross-validation": len(wrong.intersection(ranked[: len(wrong)])) / len(wrong),
        "one split": len(wrong & {row.path for row in rows[: len(wrong)]}) / len(wrong),
        "random": len(wrong) / len(ranked),
        "suspects right": num_found / max(len(suspected), 1),
        "suspects found": num_found / len(wrong),
    }


def rank_out_of_fold(path: Path) -> list[str]:
    """Returns all paths, that of the least probable label first; of several repeats the mean counts."""
    found = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            found[row["path"]].append(float(row[f"p:{row['label']}"]))
    own = np.array([mean(values) for values in found.values()])
    order = suspects.rank(np.zeros(len(own), int), own[:, None])
    return [list(found)[place] for place in order]


def print_table(done: Mapping[Measurement, Mapping[str, float]]) -> None:
    """Prints means over seeds in Markdown, and the range of what cross-validation finds."""
    cells = defaultdict(list)
    for item, found in done.items():
        cells[item.name, item.rate].append(found)
    print(f"| set | rate | wrong labels | seeds | {' | '.join(COLUMNS)} |\n|---|{'---:|' * (3 + len(COLUMNS))}")
    for (name, rate), rows in sorted(cells.items()):
        shares = [f"{mean(row[column] for row in rows):.2f}" for column in COLUMNS]
        own = [row[COLUMNS[0]] for row in rows]
        shares[0] += f" ({min(own):.2f} to {max(own):.2f})"
        number = f"{mean(row['num_wrong'] for row in rows):.0f}"
        print(f"| {name} | {rate:.0%} | {number} | {len(rows)} | {' | '.join(shares)} |")


def compare_scores(num_seeds: int) -> None:
    """Prints how many of the first N pictures are among N wrong labels, by score and number of classes.

    Points of Gaussian clouds are judged by logistic regression in five folds, whose logits are then taken as they are,
    or some three times as large, by a factor of the fold, as networks have them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cleanlab.rank import get_label_quality_scores

    ways = {
        (score, is_adjusted): lambda labels, chances, score=score, is_adjusted=is_adjusted: get_label_quality_scores(
            labels, chances, method=score, adjust_pred_probs=is_adjusted
        )
        for score in ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
        for is_adjusted in (False, True)
        if not (is_adjusted and score == "confidence_weighted_entropy")  # cleanlab has no such score
    }
    sizes = {2: 200, 6: 360, 20: 2000}
    found: dict[tuple[str, bool], dict[int, list[float]]] = {way: {num: [] for num in sizes} for way in ways}
    for num_classes, num in sizes.items():
        for labels, true, chances in make_problems(num_classes, num, num_seeds):
            is_wrong = labels != true
            for way, score in ways.items():
                first = np.argsort(score(labels, chances), kind="stable")[: np.count_nonzero(is_wrong)]
                found[way][num_classes].append(float(is_wrong[first].mean()))
    print(f"| score | {' | '.join(f'{num} classes' for num in sizes)} |\n|---|{'---:|' * len(sizes)}")
    for (called, is_adjusted), by_size in found.items():
        name = called.replace("_", " ") + (", adjusted" if is_adjusted else "")
        print(f"| {name} | {' | '.join(f'{mean(values):.2f}' for values in by_size.values())} |")


def make_problems(num_classes: int, num: int, num_seeds: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields given labels, true labels and out-of-fold probabilities, float64 [num, num_classes]."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    for seed in range(num_seeds):
        for rate in (0.05, 0.1):
            random = np.random.default_rng(seed)
            true = np.arange(num) % num_classes
            middles = random.normal(size=(num_classes, 12))
            points = middles[true] + random.normal(size=(num, 12))
            labels = true.copy()
            wrong = random.permutation(num)[: round(rate * num)]
            labels[wrong] = (labels[wrong] + random.integers(1, num_classes, len(wrong))) % num_classes
            logits = np.empty((num, num_classes))
            growth = np.empty((num, 1))
            for train, out in StratifiedKFold(5, shuffle=True, random_state=seed).split(points, labels):
                model = LogisticRegression(max_iter=300).fit(points[train], labels[train])
                logits[out] = model.predict_log_proba(points[out])
                growth[out] = 3 * random.uniform(0.6, 1.6)
            for factor in (1, growth):
                grown = np.exp(logits * factor - (logits * factor).max(axis=1, keepdims=True))
                yield labels, true, grown / grown.sum(axis=1, keepdims=True)


if __name__ == "__main__":
    main()
