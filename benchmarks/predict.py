"""What `predict` costs: CPU time a picture and memory, beside a bare loop of decoding and model on the same pictures.

    python benchmarks/predict.py                               400 and 1,600 made photographs of 300 to 900 pixels
    python benchmarks/predict.py --run runs/flowers            the exported model of a run
    python benchmarks/predict.py --sizes 1000 4000 --repeats 7

Each way runs as a command of its own, in turn, all in one run on one machine; compare ratios, not machines. One picture
more costs the difference of two sizes, whatever a start costs. The bare loops have all files decoded by a thread for
each core, without a bound on what waits, and give batches of 32 to the same exported model as a compiled function; they
print nothing. One uses the decoder of harness, the other libjpeg-turbo and OpenCV without a check of any kind.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import build_records
import numpy as np

from harness.config.dataset_sections import CleanConfig
from harness.config.preparation import Preparation
from harness.dataset.images import fitting, sources
from harness.runs.workdir import Workdir

SIZE, BATCH = 256, 32


def main() -> None:
    """Parses the flags, and runs all ways or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, metavar="DIR", help="a run on 256 pixels; default: one is made")
    parser.add_argument("--sizes", type=int, nargs=2, default=[400, 1600], metavar="N", help="how many photographs")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way and size, whose median is shown")
    parser.add_argument("--way", choices=[*BARE], help=argparse.SUPPRESS)
    parser.add_argument("--images", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        run_bare(arguments.run, build_records.list_files(arguments.images), BARE[arguments.way])
    else:
        with tempfile.TemporaryDirectory() as folder:
            run = arguments.run or make_run(Path(folder))
            few, many = sorted(arguments.sizes)
            compare(run.resolve(), few, many, arguments.repeats, Path(folder))


def compare(run: Path, few: int, many: int, repeats: int, folder: Path) -> None:
    """Runs every way in turn at both sizes, several times, and prints the medians."""
    images = {num: build_records.make_photographs(folder / f"{num} photographs", num) for num in (few, many)}
    ways = {
        "harness.predict": [sys.executable, "-m", "harness.predict", run, "--json"],
        **{name: [sys.executable, __file__, "--way", name, "--run", run, "--images"] for name in BARE},
    }
    found: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    for _ in range(repeats):
        for num, pictures in images.items():
            for name, command in ways.items():
                found.setdefault((name, num), []).append(build_records.measure([*command, pictures]))
    middle = {key: [statistics.median(values) for values in zip(*runs)] for key, runs in found.items()}
    print(f"one picture more, from {few} and {many}, medians of {repeats} runs, {len(os.sched_getaffinity(0))} cores")
    print(f"{'way':<36}{'CPU ms':>8}{'wall ms':>9}{f'MB at {few}':>12}{f'MB at {many}':>12}")
    costs = {}
    for name in ways:
        wall_ms, cpu_ms, _ = (
            1000 * (more - less) / (many - few) for more, less in zip(middle[name, many], middle[name, few])
        )
        costs[name] = cpu_ms
        print(f"{name:<36}{cpu_ms:>8.2f}{wall_ms:>9.2f}{middle[name, few][2]:>12.0f}{middle[name, many][2]:>12.0f}")
    for name in BARE:
        print(f"harness.predict takes {costs['harness.predict'] / costs[name]:.2f} times the CPU time of {name}")


def make_run(folder: Path) -> Path:
    """Trains the default network for an epoch: what it says does not matter, only what it costs."""
    images = build_records.make_photographs(folder / "photographs", 60)
    records, run = folder / "records", folder / "run"
    build = [sys.executable, "-m", "harness.build_records", "--images", images, "--records", records]
    train = [sys.executable, "-m", "harness.train", "--records", records, "--run", run, "--epochs", "1"]
    for command in (build, [*train, "--train.precision", "float32"]):
        build_records.measure(command)
    return run


def run_bare(run: Path, files: Sequence[Path], decode: Callable[[Path], np.ndarray]) -> None:
    """Decodes all files in threads, and gives them to the model in batches."""
    import cv2
    import tensorflow as tf

    from harness.results.export import loader

    cv2.setNumThreads(1)
    model, _, _ = loader.load_model(Workdir(run))
    pixels = tf.TensorSpec([None, SIZE, SIZE, 3], tf.uint8)
    predict = tf.function(lambda x: model(tf.cast(x, tf.float32), training=False), input_signature=[pixels])
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        decoded = pool.map(decode, files)
        for start in range(0, len(files), BATCH):
            predict(np.stack([next(decoded) for _ in files[start : start + BATCH]])).numpy()


def decode_as_harness(path: Path) -> np.ndarray:
    """The pixels of a file by the decoder of the build."""
    return fitting.prepare(sources.read(path, CleanConfig(), least_side=SIZE).pixels, Preparation(SIZE))


def decode_unchecked(path: Path) -> np.ndarray:
    """The pixels of a JPEG, decoded at a fraction of its size where that leaves enough; nothing is checked."""
    import cv2
    import simplejpeg

    content = path.read_bytes()
    height, width, *_ = simplejpeg.decode_jpeg_header(content)
    factor = next((factor for factor in (8, 4, 2) if min(height, width) >= factor * SIZE), 1)
    least = {"min_height": -(-height // factor), "min_width": -(-width // factor), "min_factor": factor}
    pixels = simplejpeg.decode_jpeg(content, "RGB", **least)
    return cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


BARE: dict[str, Callable[[Path], np.ndarray]] = {
    "bare loop": decode_as_harness,
    "bare loop, nothing checked": decode_unchecked,
}

if __name__ == "__main__":
    main()
