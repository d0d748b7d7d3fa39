"""What a build costs: pictures a second, CPU time a picture and memory, beside other ways on the same pictures.

    python benchmarks/build_records.py                          800 made photographs of 300 to 900 pixels
    python benchmarks/build_records.py --images data/flowers    your own
    python benchmarks/build_records.py --marginal 1000 4000     one picture more, without what every start costs
    python benchmarks/build_records.py --memory 2000 50000      peak memory at two sizes of small pictures

Each way runs as a command of its own, imports included, all in one run on one machine; compare ratios, not machines.
The floor is what nobody can do without: read, decode, shrink to 256x256 and encode each picture once; the scaled floor
decodes large JPEGs at a fraction of their size. The peers need tensorflow-datasets, which the extra [test] brings.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SIZE, QUALITY = 256, 95


def main() -> None:
    """Parses the flags, and runs all ways or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, metavar="DIR", help="class folders; default: made photographs")
    parser.add_argument("--num", type=int, default=800, help="photographs to make")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way, whose median is shown")
    parser.add_argument("--marginal", type=int, nargs=2, metavar="N", help="compare with the floors from two sizes")
    parser.add_argument("--memory", type=int, nargs="+", metavar="N", help="measure peak memory at these sizes instead")
    parser.add_argument("--way", choices=[*PEERS], help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        PEERS[arguments.way](list_files(arguments.images), arguments.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        if arguments.memory:
            compare_memory(arguments.memory, Path(folder))
        elif arguments.marginal:
            few, many = sorted(arguments.marginal)
            compare_marginal(few, many, arguments.repeats, Path(folder))
        else:
            images = arguments.images or make_photographs(Path(folder) / "photographs", arguments.num)
            compare_ways(images, arguments.repeats, Path(folder))


def compare_ways(images: Path, repeats: int, folder: Path) -> None:
    """Runs every way in turn, several times, and prints the medians."""
    files = list_files(images)
    num_bytes = statistics.mean(path.stat().st_size for path in files)
    print(f"{len(files)} pictures of {num_bytes / 1000:.0f} kB on average, {len(os.sched_getaffinity(0))} cores")
    ways = list_ways(images)
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    for turn in range(repeats):
        for name, command in ways.items():
            runs[name].append(measure([*command, folder / f"{turn} {name}"]))
    print(f"{'way':<20}{'pictures/s':>12}{'CPU ms each':>13}{'of the floor':>14}{'peak MB':>9}")
    floor = statistics.median(run[1] for run in runs["floor"])
    for name, found in runs.items():
        wall_s, cpu_s, peak = (statistics.median(values) for values in zip(*found))
        figures = f"{len(files) / wall_s:>12.0f}{1000 * cpu_s / len(files):>13.2f}{cpu_s / floor:>14.2f}{peak:>9.0f}"
        print(f"{name:<20}{figures}")


def list_ways(images: Path) -> dict[str, list[object]]:
    """The command of each way, but for the folder it writes to, which comes last."""
    build = [sys.executable, "-m", "harness.build_records", "--images", images, "--quiet"]
    return {
        "harness": [*build, "--records"],
        "harness, 1 worker": [*build, "--runtime.workers", "1", "--records"],
        **{name: [sys.executable, __file__, "--way", name, "--images", images, "--out"] for name in PEERS},
    }


def compare_marginal(few: int, many: int, repeats: int, folder: Path) -> None:
    """Prints the CPU time of one photograph more: the difference of two sizes, whatever a start costs."""
    images = {num: make_photographs(folder / f"{num} photographs", num) for num in (few, many)}
    names = ["harness, 1 worker", "floor", "floor, scaled"]
    cpu_s: dict[tuple[str, int], list[float]] = {(name, num): [] for name in names for num in images}
    for turn in range(repeats):
        for (name, num), found in cpu_s.items():
            command = [*list_ways(images[num])[name], folder / f"{turn} {num} {name}"]
            found.append(measure(command)[1])
    middle = {key: statistics.median(values) for key, values in cpu_s.items()}
    each = {name: 1000 * (middle[name, many] - middle[name, few]) / (many - few) for name in names}
    print(f"one photograph more, from {few} and {many}, medians of {repeats} runs")
    print(f"{'way':<20}{'CPU ms':>8}{'of the floor':>14}{'of the scaled':>15}")
    for name, cost in each.items():
        print(f"{name:<20}{cost:>8.2f}{cost / each['floor']:>14.2f}{cost / each['floor, scaled']:>15.2f}")


def compare_memory(sizes: Sequence[int], folder: Path) -> None:
    """Builds from so many small pictures, and prints the peak memory of all processes together."""
    print(f"{'pictures':>10}{'peak MB':>10}{'pictures/s':>12}")
    for num in sizes:
        images = make_small_pictures(folder / str(num), num)
        wall_s, _, peak = measure(
            [
                *(sys.executable, "-m", "harness.build_records", "--images", images, "--quiet"),
                *("--records.image_size", "32", "--records", folder / f"{num} records"),
            ]
        )
        print(f"{num:>10}{peak:>10.0f}{num / wall_s:>12.0f}")


def measure(command: Sequence[object]) -> tuple[float, float, float]:
    """Returns wall seconds, CPU seconds and the peak memory in MB (PSS) of a command with all its processes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    start, before = time.monotonic(), os.times()
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    peak = [0.0]
    watcher = threading.Thread(target=_watch, args=(process, peak), daemon=True)
    watcher.start()
    _, stderr = process.communicate()
    watcher.join()
    if process.returncode:
        sys.exit(f"{command} failed:\n{stderr.decode()}")
    after = os.times()
    cpu_s = after.children_user - before.children_user + after.children_system - before.children_system
    return time.monotonic() - start, cpu_s, peak[0]


def _watch(process: subprocess.Popen, peak: list[float]) -> None:
    """Adds up the memory of the session's processes, shared pages by share, a few times a second."""
    while process.poll() is None:
        total = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                if int(stat.read_text().rpartition(")")[2].split()[3]) == process.pid:
                    lines = (stat.parent / "smaps_rollup").read_text().splitlines()
                    total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            except (OSError, StopIteration, IndexError):
                continue
        peak[0] = max(peak[0], total / 1000)
        time.sleep(0.2)


def list_files(images: Path) -> list[Path]:
    """Every file below the class folders."""
    return sorted(path for path in images.rglob("*") if path.is_file())


def make_photographs(folder: Path, num: int) -> Path:
    """Makes JPEGs of 300 to 900 pixels with the detail of photographs, about 70 kB each, none like another."""
    for index in range(num):
        random = np.random.default_rng(index)
        width, height = random.integers(300, 901, 2).tolist()
        pixels = np.zeros((height, width, 3), np.float32)
        for cells in (4, 16, 64):
            noise = random.normal(0, 40 * (4 / cells) ** 0.3, (cells, cells, 3)).astype(np.float32)
            pixels += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        pixels += random.normal(0, 4, (height, width, 1)) + 128
        path = folder / ("happy", "sad")[index % 2] / f"{index:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), pixels.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 85])
    return folder


def make_small_pictures(folder: Path, num: int) -> Path:
    """Makes PNGs of 64 by 64 pixels, none like another: the smallest that the search for copies looks at."""
    for index in range(num):
        colors = np.random.default_rng(index).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        path = folder / ("happy", "sad")[index % 2] / f"{index:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.resize(colors, (64, 64), interpolation=cv2.INTER_CUBIC))
    return folder


def run_floor(files: Sequence[Path], out: Path) -> None:
    """Reads, decodes in full, shrinks and encodes each picture, and throws the result away."""
    import simplejpeg

    cv2.setNumThreads(1)
    for path in files:
        pixels = simplejpeg.decode_jpeg(path.read_bytes(), "BGR")
        small = cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def run_scaled_floor(files: Sequence[Path], out: Path) -> None:
    """The same with JPEGs decoded at 1/2, 1/4 or 1/8 where that leaves enough."""
    import simplejpeg

    cv2.setNumThreads(1)
    for path in files:
        content = path.read_bytes()
        height, width, *_ = simplejpeg.decode_jpeg_header(content)
        factor = next((factor for factor in (8, 4, 2) if min(height, width) >= factor * SIZE), 1)
        least = {"min_height": -(-height // factor), "min_width": -(-width // factor), "min_factor": factor}
        pixels = simplejpeg.decode_jpeg(content, "BGR", **least)
        small = cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def run_plain_loop(files: Sequence[Path], out: Path) -> None:
    """The loop of tutorials: one process, OpenCV, TFRecordWriter; no split, no shards, no checks."""
    import tensorflow as tf

    cv2.setNumThreads(1)
    out.mkdir()
    with tf.io.TFRecordWriter(str(out / "train.tfrecord")) as writer:
        for path in files:
            pixels = cv2.imread(str(path))
            if pixels is None:
                continue
            small = cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
            stored = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
            features = {
                "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[stored])),
                "image/class/label": tf.train.Feature(
                    int64_list=tf.train.Int64List(value=[int(path.parent.name == "sad")])
                ),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def run_tfds(files: Sequence[Path], out: Path) -> None:
    """TensorFlow Datasets' own writer, with pictures shrunk by OpenCV."""
    import tensorflow_datasets as tfds

    cv2.setNumThreads(1)

    class Photographs(tfds.core.GeneratorBasedBuilder):
        """The pictures as TFDS users write them."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(SIZE, SIZE, 3), encoding_format="jpeg"),
                "label": tfds.features.ClassLabel(names=["happy", "sad"]),
            }
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for path in files:
                pixels = cv2.imread(str(path))
                assert pixels is not None, path
                pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
                small = cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
                yield path.name, {"image": small, "label": path.parent.name}

    Photographs(data_dir=str(out)).download_and_prepare()


PEERS: dict[str, Callable[[Sequence[Path], Path], None]] = {
    "floor": run_floor,
    "floor, scaled": run_scaled_floor,
    "plain loop": run_plain_loop,
    "TFDS": run_tfds,
}

if __name__ == "__main__":
    main()
