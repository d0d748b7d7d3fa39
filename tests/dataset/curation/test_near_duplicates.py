"""Near duplicates: what is proposed, what the pixels confirm, and what neither may take for a copy."""

from itertools import combinations

import cv2
import numpy as np
import pytest
from conftest import ROOT, draw_face

from harness.dataset.build import process_pool
from harness.dataset.curation.fingerprints import FINGERPRINT_BYTES, fingerprint
from harness.dataset.curation.near_duplicates import are_near_duplicates
from harness.dataset.curation.similarity_search import propose_pairs
from harness.dataset.images.resizing import resize

SIZE = 128


def draw_photo(seed: int, size: int = 240) -> np.ndarray:
    """A textured picture: coloured noise of all sizes, and a few things with edges: uint8 [size, size, 3]."""
    random = np.random.default_rng(seed)
    picture = np.full((size, size, 3), 128, np.float32)
    for side in (4, 8, 16, 32):
        noise = random.normal(0, 90 / np.sqrt(side), (side, side, 3)).astype(np.float32)
        picture += cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
    for _ in range(6):
        centre, radius = random.integers(0, size, 2).tolist(), int(random.integers(size // 16, size // 6))
        cv2.circle(picture, centre, radius, random.integers(0, 256, 3).tolist(), -1, cv2.LINE_AA)
    return np.clip(picture, 0, 255).astype(np.uint8)


def encode_again(pixels: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_COLOR)


def brighten(pixels: np.ndarray, gain: float, offset: float) -> np.ndarray:
    return np.clip(pixels.astype(np.float32) * gain + offset, 0, 255).astype(np.uint8)


def crop(pixels: np.ndarray, left: float, right: float, top: float, bottom: float) -> np.ndarray:
    side = len(pixels)
    return pixels[round(top * side) : round((1 - bottom) * side), round(left * side) : round((1 - right) * side)]


def turn(pixels: np.ndarray, degrees: float, fill: int) -> np.ndarray:
    side = len(pixels)
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), degrees, 1)
    return cv2.warpAffine(pixels, matrix, (side, side), borderValue=(fill,) * 3)


CHANGES = {
    "jpeg": encode_again,
    "resized": lambda pixels: cv2.resize(pixels, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA),
    "aspect": lambda pixels: cv2.resize(pixels, None, fx=0.7, fy=0.6, interpolation=cv2.INTER_AREA),
    "mirrored": lambda pixels: pixels[:, ::-1],
    "darker": lambda pixels: brighten(pixels, 0.75, 0),
    "brighter": lambda pixels: brighten(pixels, 1.2, 0),
    "flatter": lambda pixels: brighten(pixels, 0.7, 38),
    "cropped_evenly": lambda pixels: crop(pixels, 0.04, 0.04, 0.04, 0.04),
    "cropped_at_a_corner": lambda pixels: crop(pixels, 0.08, 0, 0, 0.08),
    "turned_on_white": lambda pixels: turn(pixels, 5, 255),
    "turned_and_cropped": lambda pixels: crop(turn(pixels, -4, 0), 0.04, 0.04, 0.04, 0.04),
    "mirrored_cropped_jpeg": lambda pixels: encode_again(crop(pixels[:, ::-1], 0.03, 0, 0, 0.04)),
}


def store(pixels: np.ndarray) -> np.ndarray:
    return resize(np.ascontiguousarray(pixels), SIZE)


def fingerprints_of(pictures: list[np.ndarray]) -> np.ndarray:
    return np.stack([np.frombuffer(fingerprint(pixels), np.int8) for pixels in pictures])


def as_set(pairs: np.ndarray) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for i, j in pairs}


def make_fingerprints(num: int, seed: int = 0) -> np.ndarray:
    """Fingerprints whose low frequencies are a little larger, as those of pictures are."""
    rows, columns = np.divmod(np.arange(FINGERPRINT_BYTES), 10)
    made = np.random.default_rng(seed).normal(size=(num, FINGERPRINT_BYTES)) / (1 + rows + columns) ** 0.4
    made[:, 0] = 0
    return np.rint(made * (127 / np.linalg.norm(made, axis=1, keepdims=True))).astype(np.int8)


def change_a_little(fingerprints: np.ndarray) -> np.ndarray:
    changed = fingerprints + np.random.default_rng(2).normal(0, 2, fingerprints.shape)
    changed[:, 0] = 0
    return np.rint(changed * (127 / np.linalg.norm(changed, axis=1, keepdims=True))).astype(np.int8)


@pytest.fixture(scope="module")
def originals() -> list[np.ndarray]:
    return [draw_photo(seed) for seed in range(12)] + [draw_face(seed, happy=True, size=240) for seed in (1, 2, 3, 4)]


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_proposed_and_confirmed(originals, name):
    num = len(originals)
    pictures = [store(pixels) for pixels in originals] + [store(CHANGES[name](pixels)) for pixels in originals]
    proposed = as_set(propose_pairs(fingerprints_of(pictures)))
    assert [i for i in range(num) if (i, i + num) not in proposed] == []
    assert [i for i in range(num) if not are_near_duplicates(pictures[i], pictures[i + num])] == []


def test_different_photos_are_not_near_duplicates():
    photos = [store(draw_photo(seed)) for seed in range(12)]
    assert [pair for pair in combinations(range(12), 2) if are_near_duplicates(photos[pair[0]], photos[pair[1]])] == []


def test_faces_that_differ_only_in_the_mouth_are_not_near_duplicates():
    for seed in range(5):
        happy, sad = (draw_face(seed, happy=is_happy, size=240) for is_happy in (True, False))
        assert (happy[:100] == sad[:100]).all()
        assert not are_near_duplicates(store(happy), store(sad))


def test_a_picture_with_another_thing_in_it_is_not_a_near_duplicate():
    before = draw_photo(3)
    after = before.copy()
    cv2.circle(after, (150, 90), 24, (250, 20, 20), -1)
    assert not are_near_duplicates(store(before), store(after))


def test_another_colour_is_not_a_near_duplicate():
    photo = store(draw_photo(5))
    assert not are_near_duplicates(photo, np.ascontiguousarray(photo[:, :, ::-1]))


def test_the_order_of_the_two_does_not_matter():
    photo = draw_photo(6)
    pictures = [store(photo), store(turn(photo, 5, 0)), store(photo[:, ::-1]), store(draw_photo(7))]
    for one, other in combinations(pictures, 2):
        assert are_near_duplicates(one, other) is are_near_duplicates(other, one)


@pytest.mark.parametrize("size", [32, 100, 256, 512])
def test_any_stored_size_works(size):
    photo = draw_photo(8, size=512)
    one, other = resize(photo, size), resize(crop(photo, 0.03, 0.03, 0.03, 0.03), size)
    assert len(fingerprint(one)) == FINGERPRINT_BYTES
    assert as_set(propose_pairs(fingerprints_of([one, other]))) == {(0, 1)}
    assert are_near_duplicates(one, other)


def test_pictures_without_structure_are_never_paired():
    random = np.random.default_rng(0)
    flat = [np.full((SIZE, SIZE, 3), level, np.uint8) for level in (0, 0, 128, 255)]
    noisy = [random.integers(126, 130, (SIZE, SIZE, 3)).astype(np.uint8) for _ in range(2)]
    assert all(fingerprint(pixels) == bytes(FINGERPRINT_BYTES) for pixels in flat + noisy)
    assert propose_pairs(fingerprints_of(flat + noisy)).shape == (0, 2)
    assert not are_near_duplicates(flat[0], flat[1])


@pytest.mark.parametrize("num", [0, 1, 2])
def test_a_few_pictures_work(num):
    fingerprints = np.repeat(make_fingerprints(1), num, axis=0)
    pairs = propose_pairs(fingerprints)
    assert pairs.dtype == np.int64
    assert pairs.tolist() == ([[0, 1]] if num == 2 else [])


def test_unsigned_fingerprints_are_the_same():
    fingerprints = make_fingerprints(300)
    assert np.array_equal(propose_pairs(fingerprints), propose_pairs(fingerprints.view(np.uint8)))


@pytest.mark.parametrize("num", [500, 2500])
def test_pairs_are_sorted_unique_and_the_same_in_any_order(num):
    fingerprints = make_fingerprints(num)
    fingerprints[-100:] = change_a_little(fingerprints[:100])
    pairs = propose_pairs(fingerprints)
    assert len(pairs) >= 95
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert np.array_equal(pairs, np.unique(pairs, axis=0))
    assert np.array_equal(pairs, propose_pairs(fingerprints))
    order = np.random.default_rng(1).permutation(num)
    assert as_set(np.sort(order[propose_pairs(fingerprints[order])], axis=1)) == as_set(pairs)


def test_a_search_that_processes_share_finds_the_same():
    fingerprints = make_fingerprints(2500)
    fingerprints[-1500:] = change_a_little(np.repeat(fingerprints[:500], 3, axis=0))
    with process_pool.open_pool(2) as pool:

        def run(function, tasks):
            return process_pool.run_all(pool, function, tasks, sizes=[1] * len(tasks), title="searching")

        assert np.array_equal(propose_pairs(fingerprints, run), propose_pairs(fingerprints))


def test_planted_copies_are_found_among_many():
    fingerprints = make_fingerprints(4000)
    pairs = as_set(propose_pairs(np.concatenate([fingerprints, change_a_little(fingerprints[:200])])))
    assert sum((i, 4000 + i) in pairs for i in range(200)) >= 195


def test_many_equal_fingerprints_propose_few_pairs():
    pairs = propose_pairs(np.repeat(make_fingerprints(1), 20_000, axis=0))
    assert {int(first) for first, _ in pairs} | {int(second) for _, second in pairs} == set(range(20_000))
    assert len(pairs) < 40_000


def test_many_almost_equal_fingerprints_stay_bounded():
    random = np.random.default_rng(3)
    crowd = np.repeat(make_fingerprints(1), 8000, axis=0) + random.integers(-2, 3, (8000, FINGERPRINT_BYTES))
    pairs = propose_pairs(crowd.astype(np.int8))
    assert len(pairs) <= 8 * 8000


@pytest.mark.slow
def test_the_sample_has_no_near_duplicates():
    paths = sorted((ROOT / "data" / "sample").glob("*/*.png"))
    pictures = [resize(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), 256) for path in paths]
    assert len(pictures) == 191
    pairs = propose_pairs(fingerprints_of(pictures))
    assert [(paths[i].name, paths[j].name) for i, j in pairs if are_near_duplicates(pictures[i], pictures[j])] == []
