"""What it costs to deliver a training picture: CPU time for 256x256 pixels, beside other ways on the same pictures.

    python benchmarks/input_pipeline.py                            1,000 made photographs
    python benchmarks/input_pipeline.py --images data/flowers      your own
    python benchmarks/input_pipeline.py --ways "memory" "none"     some of the ways

Each way runs in a process of its own, all in one run on one machine; compare ratios, not machines. The first epoch is
left out, except for the line that is called cold. Every way delivers shuffled batches of 64; "augmented" is flip,
rotation, zoom, shift, shear, brightness, contrast, saturation and hue. The bare lines are what nobody can do without:
to copy a picture into a batch, to decode it, to warp it and map its colours.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SIZE, BATCH = 256, 64


@dataclass(frozen=True)
class Sample:
    """The same pictures as records and as JPEG files in class folders, and how often to go through them."""

    records: Path
    files: Path
    epochs: int


def main() -> None:
    """Parses the flags, and runs all ways or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, metavar="DIR", help="class folders; default: made photographs")
    parser.add_argument("--num", type=int, default=1000, help="photographs to make")
    parser.add_argument("--epochs", type=int, default=3, help="measured epochs of each run")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way, whose median is shown")
    parser.add_argument("--ways", nargs="+", choices=[*WAYS], default=[*WAYS], metavar="WAY", help=", ".join(WAYS))
    parser.add_argument("--way", choices=[*WAYS], help=argparse.SUPPRESS)
    parser.add_argument("--sample", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        sample = Sample(arguments.sample / "records", arguments.sample / "files", arguments.epochs)
        print(json.dumps(measure(WAYS[arguments.way], sample, first=1 - ("cold" in arguments.way))))
        return
    with tempfile.TemporaryDirectory() as folder:
        num = make_sample(Path(folder), arguments.images, arguments.num)
        print(f"{num} pictures of {SIZE}x{SIZE}, batches of {BATCH}, {len(os.sched_getaffinity(0))} cores")
        compare(arguments.ways, Path(folder), arguments.epochs, arguments.repeats)


def make_sample(folder: Path, images: Path | None, num: int) -> int:
    """Builds records, and writes what they store as files; returns the number of training pictures."""
    import build_records
    import tensorflow as tf

    from harness.dataset.records import manifest
    from harness.input import decoding, loaded_split

    images = images or build_records.make_photographs(folder / "photographs", num)
    command = [sys.executable, "-m", "harness.build_records", "--images", images, "--records", folder / "records"]
    subprocess.run(
        [*command, "--clean.near_copies", "ignore", "--quiet"],
        check=True,
        cwd=ROOT,
        env=_environment(),
        stdout=subprocess.DEVNULL,
    )
    data = manifest.load(folder / "records")
    tf.config.set_visible_devices([], "GPU")
    split = loaded_split.open_split(data, folder / "records", "train", cache="none")
    num_train = split.num_examples
    found = decoding.read_jpegs(split.shards, split.expected, range(num_train))
    for index, (name, content) in found.items():
        path = folder / "files" / name.split("/")[0] / f"{index:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return num_train


def compare(names: Iterable[str], folder: Path, epochs: int, repeats: int) -> None:
    """Runs every way in turn, several times, and prints the medians."""
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(repeats):
        for name, found in runs.items():
            command = [sys.executable, __file__, "--way", name, "--sample", folder, "--epochs", epochs]
            done = subprocess.run(
                [str(part) for part in command], check=False, cwd=ROOT, env=_environment(), capture_output=True
            )
            if done.returncode:
                sys.exit(f"{name} failed:\n{done.stderr.decode()}")
            found.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{'way':<44}{'CPU ms each':>12}{'images/s':>10}")
    for name, found in runs.items():
        cpu_ms, rate = (statistics.median(values) for values in zip(*found))
        print(f"{name:<44}{cpu_ms:>12.3f}{rate:>10.0f}")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


def measure(way: Callable[[Sample], Iterator[int]], sample: Sample, *, first: int) -> tuple[float, float]:
    """Returns CPU ms a picture and pictures a second from epoch `first` on; a way yields the size of each epoch."""
    epochs = way(sample)
    for _ in range(first):
        next(epochs)
    start, started, num = time.perf_counter(), time.process_time(), 0
    for _ in range(sample.epochs if first else 1):
        num += next(epochs)
    return 1000 * (time.process_time() - started) / num, num / (time.perf_counter() - start)


def _count(batches: Iterable) -> int:
    """Goes through batches whose first element, or whose image, has a row for each picture."""
    num = 0
    for batch in batches:
        num += len(batch["image"] if isinstance(batch, dict) else batch[0])
    return num


def ours(
    cache: Literal["device", "memory", "none"], *, augmented: bool, engine: str = "host"
) -> Callable[[Sample], Iterator[int]]:
    """The project's own pipeline; with the device's engine, its operations are run as a step would run them."""

    def run(sample: Sample) -> Iterator[int]:
        import tensorflow as tf

        from harness.config.schema import Config
        from harness.config.training_sections import AugmentConfig, TrainConfig
        from harness.dataset.records import manifest
        from harness.input import augment_device, loaded_split, pipeline

        config = Config(train=TrainConfig(batch_size=BATCH), augment=AugmentConfig(enabled=augmented))
        data = manifest.load(sample.records)
        split = loaded_split.open_split(data, sample.records, "train", cache=cache)
        apply = tf.function(lambda batch: augment_device.augment_batch(batch["image"], batch))
        batches = iter(pipeline.train_batches(split, config, engine=engine, epoch=0))
        if augmented and engine == "device":
            batches = ({"image": apply(batch)} for batch in batches)
        for _ in range(sample.epochs + 1):
            _count(itertools.islice(batches, split.num_batches(BATCH)))
            yield split.num_examples

    return run


def keras_folder(*, augmented: bool, cached: bool) -> Callable[[Sample], Iterator[int]]:
    """Keras' image_dataset_from_directory, and its preprocessing layers."""

    def run(sample: Sample) -> Iterator[int]:
        import keras
        import tensorflow as tf

        dataset, layers = (
            keras.utils.image_dataset_from_directory(
                sample.files, image_size=(SIZE, SIZE), batch_size=BATCH, seed=0, verbose=False
            ),
            keras.layers,
        )
        dataset = dataset.cache() if cached else dataset
        if augmented:
            change = keras.Sequential(
                [
                    layers.RandomFlip("horizontal", seed=0),
                    layers.RandomRotation(10 / 360, seed=0),
                    layers.RandomZoom(0.4, seed=0),
                    layers.RandomTranslation(0.05, 0.05, seed=0),
                    layers.RandomShear(0.05, 0.05, seed=0),
                    layers.RandomBrightness(0.2, seed=0),
                    layers.RandomContrast(0.3, seed=0),
                    layers.RandomSaturation((0.3, 0.7), seed=0),
                    layers.RandomHue(0.25, seed=0),
                ]
            )
            dataset = dataset.map(lambda x, y: (change(x, training=True), y), num_parallel_calls=tf.data.AUTOTUNE)
        dataset = dataset.prefetch(tf.data.AUTOTUNE)
        for _ in range(sample.epochs + 1):
            yield _count(dataset)

    return run


def tfds_folder(*, augmented: bool) -> Callable[[Sample], Iterator[int]]:
    """TensorFlow Datasets on our own records, with tf.image's operations for each picture."""

    def run(sample: Sample) -> Iterator[int]:
        import tensorflow as tf
        import tensorflow_datasets as tfds

        def change(example: dict) -> dict:
            image = tf.image.random_flip_left_right(tf.cast(example["image/encoded"], tf.float32) / 255)
            angle = tf.random.uniform([], -0.17, 0.17)
            scale, cos, sin = tf.random.uniform([], 0.7, 1.4), tf.cos(angle), tf.sin(angle)
            shift = tf.random.uniform([2], -12.0, 12.0)
            warp = tf.stack([scale * cos, -scale * sin, shift[0], scale * sin, scale * cos, shift[1], 0.0, 0.0])
            image = tf.raw_ops.ImageProjectiveTransformV3(
                images=image[None], transforms=warp[None], output_shape=[SIZE, SIZE], fill_value=0.0,
                interpolation="BILINEAR", fill_mode="NEAREST",
            )[0]  # fmt: skip
            image = tf.image.random_brightness(image, 0.2)
            image = tf.image.random_contrast(image, 0.7, 1.3)
            image = tf.image.random_saturation(image, 0.2, 1.8)
            return {"image": tf.image.random_hue(image, 0.25)}

        builder = tfds.builder_from_directory(str(sample.records))
        dataset = builder.as_dataset(split="train", shuffle_files=True)
        if augmented:
            dataset = dataset.map(change, num_parallel_calls=tf.data.AUTOTUNE)
        else:
            dataset = dataset.map(lambda example: {"image": example["image/encoded"]})
        dataset = dataset.shuffle(1000).batch(BATCH).prefetch(tf.data.AUTOTUNE)
        for _ in range(sample.epochs + 1):
            yield _count(dataset)

    return run


def _load_files(sample: Sample) -> list[bytes]:
    return [path.read_bytes() for path in sorted(sample.files.rglob("*.jpg"))]


def bare_copy(sample: Sample) -> Iterator[int]:
    """Pictures copied from a decoded array into new batches, in a shuffled order."""
    yield from _bare(sample, lambda pictures, rows: np.take(pictures, rows, axis=0))


def bare_gather(sample: Sample) -> Iterator[int]:
    """The same by TensorFlow's gather in a tf.data pipeline."""
    import simplejpeg
    import tensorflow as tf

    pictures = tf.constant(np.stack([simplejpeg.decode_jpeg(content) for content in _load_files(sample)]))
    for epoch in range(sample.epochs + 1):
        rows = np.random.default_rng(epoch).permutation(len(pictures))
        dataset = tf.data.Dataset.from_tensor_slices(rows).batch(BATCH)
        dataset = dataset.map(lambda rows: (tf.gather(pictures, rows),), num_parallel_calls=tf.data.AUTOTUNE)
        yield _count(dataset.prefetch(tf.data.AUTOTUNE))


def bare_warp(sample: Sample) -> Iterator[int]:
    """One warp and one map of the colours by OpenCV."""
    import cv2

    warp = np.array([[1.1, 0.1, -12.0], [-0.1, 0.9, 9.0]], np.float32)
    colour = np.array([[0.9, 0.1, 0.0, 4.0], [0.0, 1.1, 0.0, -3.0], [0.0, 0.2, 0.8, 1.0]], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def change(pictures: np.ndarray, rows: np.ndarray) -> None:
        batch = np.empty((len(rows), SIZE, SIZE, 3), np.uint8)
        for picture, row in zip(batch, rows):
            cv2.warpAffine(pictures[row], warp, (SIZE, SIZE), dst=picture, flags=flags, borderMode=cv2.BORDER_REPLICATE)
            cv2.transform(picture, colour, dst=picture)

    yield from _bare(sample, change)


def _bare(sample: Sample, function: Callable[[np.ndarray, np.ndarray], object]) -> Iterator[int]:
    import cv2
    import simplejpeg

    cv2.setNumThreads(1)
    pictures = np.stack([simplejpeg.decode_jpeg(content) for content in _load_files(sample)])
    for epoch in range(sample.epochs + 1):
        shuffled = np.random.default_rng(epoch).permutation(len(pictures))
        for start in range(0, len(pictures), BATCH):
            function(pictures, shuffled[start : start + BATCH])
        yield len(pictures)


def bare_decode(sample: Sample) -> Iterator[int]:
    """Pictures decoded by libjpeg-turbo into new batches."""
    import simplejpeg

    contents = _load_files(sample)
    for _ in range(sample.epochs + 1):
        for start in range(0, len(contents), BATCH):
            batch = np.empty((BATCH, SIZE, SIZE, 3), np.uint8)
            for content, picture in zip(contents[start : start + BATCH], batch):
                simplejpeg.decode_jpeg(content, buffer=picture)
        yield len(contents)


def bare_tensorflow_decode(sample: Sample) -> Iterator[int]:
    """The same by TensorFlow's operation."""
    import tensorflow as tf

    contents = _load_files(sample)
    for _ in range(sample.epochs + 1):
        for content in contents:
            tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
        yield len(contents)


WAYS: dict[str, Callable[[Sample], Iterator[int]]] = {
    "bare copy": bare_copy,
    "bare gather, TensorFlow's": bare_gather,
    "memory": ours("memory", augmented=False),
    "bare decode": bare_decode,
    "bare decode, TensorFlow's": bare_tensorflow_decode,
    "none": ours("none", augmented=False),
    "Keras folder, cold": keras_folder(augmented=False, cached=False),
    "Keras folder": keras_folder(augmented=False, cached=False),
    "Keras folder, cached": keras_folder(augmented=False, cached=True),
    "TFDS": tfds_folder(augmented=False),
    "bare warp and colours": bare_warp,
    "memory, augmented": ours("memory", augmented=True),
    "none, augmented": ours("none", augmented=True),
    "memory, augmented by TensorFlow": ours("memory", augmented=True, engine="device"),
    "Keras folder, cached, augmented": keras_folder(augmented=True, cached=True),
    "TFDS, augmented": tfds_folder(augmented=True),
}

if __name__ == "__main__":
    main()
