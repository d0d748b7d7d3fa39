"""How well near copies of pictures are found, and what the search costs.

    python benchmarks/near_copies.py
    python benchmarks/near_copies.py --images FOLDER --limit 500
    python benchmarks/near_copies.py --scale 200000

The first two make one copy of every picture by each change and look for pairs among all pictures and these copies:

  proposed    copies whose pair with their original the fingerprints propose
  confirmed   of all copies, those that the comparison of pixels confirms as well
  false       confirmed pairs of which the two do not come from one picture
  candidates  proposed pairs for each picture, each of them to be confirmed

Pictures without any structure have no fingerprint and are counted as not found. The third takes noise with the spectrum
of photographs for pictures (amplitudes fall with 1/f) and hides changed copies of 1 % among them, every change in turn.
"""

import argparse
import io
import os
import resource
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from harness.config.dataset_sections import CleanConfig
from harness.config.preparation import Preparation
from harness.dataset.build import process_pool
from harness.dataset.curation.fingerprints import fingerprint
from harness.dataset.curation.near_duplicates import are_near_duplicates
from harness.dataset.curation.similarity_search import propose_pairs
from harness.dataset.images import quality
from harness.dataset.images.rejection import Rejected
from harness.dataset.images.resizing import resize
from harness.dataset.images.sources import read_all
from harness.dataset.listing.walk import walk_files
from harness.dataset.records.encoding import encode_jpeg

ROOT = Path(__file__).resolve().parent.parent
SIZE = 256
NOISE_SIDE = 64


def main() -> None:
    """Measures what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=ROOT / "data" / "sample", help="any folder of pictures")
    parser.add_argument("--limit", type=int, default=100, help="pictures to use of them")
    parser.add_argument("--scale", type=int, help="search among so many pictures made of noise instead")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.scale:
        measure_search(arguments.scale)
    else:
        pictures = load_pictures(arguments.images, arguments.limit)
        measure_costs(pictures)
        measure_changes(pictures)


def load_pictures(folder: Path, limit: int) -> list[np.ndarray]:
    """Returns the stored pixels of the first usable pictures, a regular choice of all."""
    paths = [
        path
        for path in map(Path, map(str, walk_files(folder)))
        if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp")
    ]
    chosen = paths[:: max(1, len(paths) // limit)][:limit]
    return [
        pixels for _, pixels in read_all(chosen, CleanConfig(), Preparation(SIZE)) if not isinstance(pixels, Rejected)
    ]


def encode_again(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Returns the pixels after JPEG."""
    return np.asarray(Image.open(io.BytesIO(encode_jpeg(pixels, quality))))


def shrink(pixels: np.ndarray, width_share: float, height_share: float) -> np.ndarray:
    """Returns the pixels at a share of their size."""
    return cv2.resize(pixels, None, fx=width_share, fy=height_share, interpolation=cv2.INTER_AREA)


def brighten(pixels: np.ndarray, gain: float, offset: float = 0) -> np.ndarray:
    """Returns the pixels with a gain and an offset, clipped to 8 bits."""
    return np.clip(np.rint(pixels.astype(np.float32) * gain + offset), 0, 255).astype(np.uint8)


def crop(pixels: np.ndarray, left: float, right: float, top: float, bottom: float) -> np.ndarray:
    """Returns the pixels without these shares of the sides."""
    height, width = pixels.shape[:2]
    rows = slice(round(top * height), height - round(bottom * height))
    return pixels[rows, round(left * width) : width - round(right * width)]


def turn(pixels: np.ndarray, degrees: float, fill: int | None) -> np.ndarray:
    """Returns the pixels turned about their middle, the corners filled or, without `fill`, cropped away."""
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    turned = cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(fill or 0,) * 3)
    if fill is not None:
        return turned
    sine = abs(np.sin(np.radians(degrees)))
    return crop(turned, *(sine / (1 + sine) / 2 + 0.005,) * 4)


def change_all(pixels: np.ndarray) -> np.ndarray:
    """Returns a mirrored, cropped, darker and again encoded picture."""
    return encode_again(brighten(crop(pixels[:, ::-1], 0.03, 0.02, 0.0, 0.04), 0.85, 10), 70)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "JPEG of quality 50": lambda pixels: encode_again(pixels, 50),
    "resized to 40 %": lambda pixels: shrink(pixels, 0.4, 0.4),
    "resized to 70 % by 60 %": lambda pixels: shrink(pixels, 0.7, 0.6),
    "mirrored": lambda pixels: np.ascontiguousarray(pixels[:, ::-1]),
    "brightness x 1.2": lambda pixels: brighten(pixels, 1.2),
    "brightness x 1.3": lambda pixels: brighten(pixels, 1.3),
    "brightness x 0.7": lambda pixels: brighten(pixels, 0.7),
    "brightness + 40": lambda pixels: brighten(pixels, 1, 40),
    "contrast x 1.3": lambda pixels: brighten(pixels, 1.3, -0.3 * 128),
    "contrast x 0.7": lambda pixels: brighten(pixels, 0.7, 0.3 * 128),
    "cropped by 4 % on each side": lambda pixels: crop(pixels, 0.04, 0.04, 0.04, 0.04),
    "cropped by 8 % at one corner": lambda pixels: crop(pixels, 0.08, 0, 0, 0.08),
    "cropped by 8 % on one side": lambda pixels: crop(pixels, 0, 0.08, 0, 0),
    "cropped by 8 % on each side": lambda pixels: crop(pixels, 0.08, 0.08, 0.08, 0.08),
    "turned by 3 degrees, cropped": lambda pixels: turn(pixels, 3, None),
    "turned by 5 degrees, cropped": lambda pixels: turn(pixels, -5, None),
    "turned by 5 degrees, white corners": lambda pixels: turn(pixels, 5, 255),
    "turned by 5 degrees, black corners": lambda pixels: turn(pixels, -5, 0),
    "mirrored, cropped, darker, JPEG": change_all,
}


def fingerprints_of(pictures: Iterable[np.ndarray]) -> np.ndarray:
    """Returns the fingerprints, int8 [N, F]."""
    return np.stack([np.frombuffer(fingerprint(quality.shrink(pixels)), np.int8) for pixels in pictures])


def measure_costs(pictures: list[np.ndarray]) -> None:
    """Prints what a fingerprint and a comparison of two proposed pictures cost."""
    start = time.process_time()
    fingerprints = fingerprints_of(pictures)
    per_fingerprint = (time.process_time() - start) / len(pictures)
    pairs = propose_pairs(fingerprints)
    start = time.process_time()
    found = [(i, j) for i, j in pairs if are_near_duplicates(pictures[i], pictures[j])]
    per_pair = (time.process_time() - start) / max(len(pairs), 1)
    print(
        f"{len(pictures)} pictures: {1e3 * per_fingerprint:.3f} ms a fingerprint, {1e3 * per_pair:.1f} ms a comparison"
    )
    print(f"among themselves {len(pairs)} pairs are proposed and {len(found)} are confirmed\n")


def measure_changes(pictures: list[np.ndarray]) -> None:
    """Prints a row of the table for every change."""
    num = len(pictures)
    print("| change | proposed | confirmed | false | candidates |\n|---|---:|---:|---:|---:|")
    for name, change in CHANGES.items():
        mixed = [*pictures, *(resize(change(pixels), SIZE) for pixels in pictures)]
        pairs = propose_pairs(fingerprints_of(mixed))
        is_same = pairs[:, 1] - pairs[:, 0] == num
        # The originals among themselves are the same in every row and measured once, by measure_costs.
        is_new = pairs[:, 1] >= num
        is_found = np.array(
            [is_new[k] and are_near_duplicates(mixed[i], mixed[j]) for k, (i, j) in enumerate(pairs)], bool
        )
        proposed, confirmed = is_same.sum() / num, (is_found & is_same).sum() / num
        num_false = (is_found & ~is_same).sum()
        print(
            f"| {name} | {proposed:.3f} | {confirmed:.3f} | {num_false} | {len(pairs) / len(mixed):.1f} |", flush=True
        )


def make_noise(random: np.random.Generator, num: int) -> np.ndarray:
    """Returns grey noise with the spectrum of photographs: uint8 [num, NOISE_SIDE, NOISE_SIDE, 3].

    The amplitude falls with 1/f to 1/f^1.4, as from one photograph to another.
    """
    rows, columns = np.fft.fftfreq(NOISE_SIDE)[:, None], np.fft.rfftfreq(NOISE_SIDE)
    frequencies = np.maximum(np.hypot(rows, columns), 1 / NOISE_SIDE).astype(np.float32)
    amplitudes = frequencies ** -random.uniform(1, 1.4, (num, 1, 1)).astype(np.float32)
    noise = random.standard_normal((num, *frequencies.shape, 2), np.float32).view(np.complex64)[..., 0]
    grey = np.fft.irfft2(noise * amplitudes, axes=(1, 2))
    grey -= grey.mean(axis=(1, 2), keepdims=True)
    grey *= 45 / grey.std(axis=(1, 2), keepdims=True)
    return np.repeat(np.clip(grey + 120, 0, 255).astype(np.uint8)[..., None], 3, axis=3)


def measure_search(num: int) -> None:
    """Prints time, memory and hits of a search of `num` fingerprints, 2 % of them of changed copies and originals."""
    random = np.random.default_rng(0)
    changes = list(CHANGES.values())
    num_copies, made, copies = num // 100, [], []
    for start in range(0, num - num_copies, 500):
        pictures = make_noise(random, min(500, num - num_copies - start))
        made.append(fingerprints_of(pictures))
        for k in range(start, min(start + len(pictures), num_copies)):
            copies.append(resize(changes[k % len(changes)](pictures[k - start]), NOISE_SIDE))
    fingerprints = np.concatenate([*made, fingerprints_of(copies)])
    start, before = time.monotonic(), os.times()
    with process_pool.open_pool(0) as pool:

        def run(function: Callable, tasks: Sequence[tuple]) -> list:
            return process_pool.run_all(pool, function, tasks, sizes=[1] * len(tasks), title="searching", unit="parts")

        pairs = propose_pairs(fingerprints, run)
        wall_s = time.monotonic() - start
    cpu_s = sum(os.times()[:4]) - sum(before[:4])
    peaks_mb = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    is_same = pairs[:, 1] - pairs[:, 0] == num - num_copies
    print(f"{num} fingerprints: {cpu_s:.1f} s of CPU, {wall_s:.1f} s with {pool.num_workers} workers")
    print("{:.0f} MB at the peak, and {:.0f} MB in the largest worker".format(*peaks_mb))
    print(f"{is_same.sum() / num_copies:.4f} of {num_copies} changed copies are proposed with their originals,")
    print(f"and {(~is_same).sum() / num:.4f} other pairs for each picture")


if __name__ == "__main__":
    main()
