"""python -m harness.build_records on folders as people have them."""

import hashlib
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from conftest import (
    ROOT,
    SMOKE,
    bytes_of,
    command_environment,
    command_line,
    draw_face,
    files_of,
    read_findings,
    run_command,
    write_faces,
    write_picture,
)
from PIL import Image

from harness.base.errors import DataError
from harness.dataset.records import manifest


def build(images, records, *flags):
    return run_command("build_records", "--config", SMOKE, "--images", images, "--records", records, *flags)


def read_examples(records):
    found = {}
    for shard in sorted(records.glob("*.tfrecord")):
        for serialized in tf.data.TFRecordDataset(str(shard)):
            feature = tf.train.Example.FromString(serialized.numpy()).features.feature
            found[feature["image/filename"].bytes_list.value[0].decode()] = (shard.name.split("-")[0], feature)
    return found


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory):
    """Good pictures, and one of each thing that goes wrong."""
    folder = write_faces(tmp_path_factory.mktemp("odd") / "odd", num_each=10)
    happy, sad = folder / "happy", folder / "sad"
    good = (happy / "face_00.png").read_bytes()
    jpeg = cv2_jpeg(draw_face(77, happy=True))
    (happy / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (happy / "empty.png").write_bytes(b"")
    (happy / "text.jpg").write_text("not a picture at all")
    (happy / "cut.png").write_bytes(good[: len(good) * 2 // 3])
    write_picture(happy / "dot.png", draw_face(1, happy=True)[:1, :1])
    (happy / "copy of face 0.png").write_bytes(good)
    write_picture(happy / "really_webp.webp", draw_face(78, happy=True)).rename(happy / "really_webp.jpg")
    write_picture(happy / "deep" / "er" / "ünï cödé.png", draw_face(79, happy=True))
    (happy / ".hidden.png").write_bytes(good)
    (sad / "Thumbs.db").write_bytes(b"\0" * 10)
    conflict = draw_face(80, happy=False)
    write_picture(happy / "both.png", conflict)
    write_picture(sad / "both.bmp", conflict)
    (folder / "notes.txt").write_text("beside the classes")
    return folder


def cv2_jpeg(pixels):
    from harness.dataset.records.encoding import encode_jpeg

    return encode_jpeg(pixels, 90)


@pytest.fixture(scope="module")
def odd_records(odd_folder, tmp_path_factory):
    before = files_of(odd_folder)
    records = tmp_path_factory.mktemp("built") / "odd"
    done = build(odd_folder, records)
    assert done.returncode == 0, done.stderr
    assert files_of(odd_folder) == before, "the sources are only read"
    return records, done


def test_every_file_has_its_verdict(odd_records, odd_folder):
    findings = read_findings(odd_records[0])
    assert set(findings) == {path for path in files_of(odd_folder) if path != "notes.txt"}
    rejected = {path: row["reason"] for path, row in findings.items() if row["verdict"] == "rejected"}
    assert rejected == {
        "happy/.hidden.png": "system_file",
        "happy/cut.jpg": "cut_off",
        "happy/cut.png": "cut_off",
        "happy/dot.png": "too_small",
        "happy/empty.png": "empty",
        "happy/face_00.png": "duplicate",  # "copy of face 0.png" comes first in the alphabet
        "happy/text.jpg": "not_an_image",
        "happy/both.png": "label_conflict",
        "sad/Thumbs.db": "system_file",
        "sad/both.bmp": "label_conflict",
    }
    assert findings["happy/dot.png"]["measured"] == "1x1 pixels"
    assert findings["happy/dot.png"]["limit"] == "sides of at least 32"
    assert findings["happy/both.png"]["measured"] == "equals sad/both.bmp"
    assert findings["sad/both.bmp"]["measured"] == "equals happy/both.png"
    assert findings["happy/really_webp.jpg"]["format"] == "webp"


def test_the_screen_shows_the_sums(odd_records):
    lines = [line.split() for line in odd_records[1].stdout.splitlines()]
    assert ["happy", "20", "12", "1", "1", "1", "2", "1", "1", "1"] in lines
    assert ["sad", "12", "10", "1", "0", "0", "0", "0", "0", "1"] in lines


def test_the_records_hold_what_the_findings_say(odd_records, odd_folder):
    examples, findings = read_examples(odd_records[0]), read_findings(odd_records[0])
    kept = {path: row for path, row in findings.items() if row["verdict"] == "kept"}
    assert set(examples) == set(kept)
    for path, (split, feature) in examples.items():
        assert split == kept[path]["split"]
        assert (
            feature["image/sha256"].bytes_list.value[0].decode()
            == hashlib.sha256((odd_folder / path).read_bytes()).hexdigest()
        )
        assert feature["image/class/text"].bytes_list.value[0].decode() == path.split("/")[0]
        assert feature["image/class/label"].int64_list.value[0] == ["happy", "sad"].index(path.split("/")[0])
        assert (feature["image/height"].int64_list.value[0], feature["image/width"].int64_list.value[0]) == (32, 32)
        assert tf.io.decode_jpeg(feature["image/encoded"].bytes_list.value[0]).shape == (32, 32, 3)


def test_the_manifest_counts_and_digests_every_shard(odd_records):
    found = manifest.load(odd_records[0])
    assert found.class_names == ("happy", "sad")
    assert found.num_examples == 22
    assert {name: info.num_examples for name, info in found.splits.items()} == {"train": 18, "validation": 4, "test": 0}
    assert sum(len(info.shards) for info in found.splits.values()) == len(list(odd_records[0].glob("*.tfrecord")))
    for info in found.splits.values():
        for shard in info.shards:
            assert manifest.verify_shard(shard, odd_records[0]) == shard.num_examples


def test_the_outcome_is_one_json_object(odd_folder, odd_records):
    done = build(odd_folder, odd_records[0], "--json")
    found = manifest.load(odd_records[0])
    assert json.loads(done.stdout) == {
        "records": str(odd_records[0]),
        "splits": {
            name: {
                "num_examples": sum(counts),
                "num_groups": found.splits[name].num_groups,
                "num_shards": len(found.splits[name].shards),
                "class_counts": dict(zip(("happy", "sad"), counts)),
            }
            for name, counts in (("train", (10, 8)), ("validation", (2, 2)), ("test", (0, 0)))
        },
        "rejected": {
            "cut_off": 2,
            "duplicate": 1,
            "empty": 1,
            "label_conflict": 2,
            "not_an_image": 1,
            "system_file": 2,
            "too_small": 1,
        },
        "digest": found.digest,
    }


def test_one_worker_and_three_write_the_same_bytes(odd_folder, odd_records, tmp_path):
    for workers in (1, 3):
        done = build(odd_folder, tmp_path / str(workers), "--runtime.workers", workers)
        assert done.returncode == 0, done.stderr
    assert bytes_of(tmp_path / "1") == bytes_of(tmp_path / "3") == bytes_of(odd_records[0])


def test_a_second_build_is_up_to_date_and_a_changed_one_is_refused(faces, tmp_path):
    images, records = tmp_path / "faces", tmp_path / "records"
    shutil.copytree(faces, images)
    assert build(images, records).returncode == 0
    before = files_of(records)
    done = build(images, records)
    assert done.returncode == 0 and "is up to date: 20 train, 4 validation" in done.stdout
    (images / "happy" / "face_00.png").unlink()
    done = build(images, records)
    assert done.returncode == 3 and "was built from other pictures" in done.stderr and "--overwrite" in done.stderr
    done = build(faces, records, "--split.seed", "5")
    assert done.returncode == 3 and "was built from other settings" in done.stderr
    assert "split.seed was 0, now 5. Replace it" in done.stderr
    done = build(faces, records, "--data.classes", "[sad, happy]")
    assert done.returncode == 3 and "): data.classes was null, now ['sad', 'happy']. Replace it" in done.stderr
    assert files_of(records) == before
    assert build(images, records, "--overwrite").returncode == 0
    assert manifest.load(records).num_examples == 23


def test_workers_do_not_outlive_a_killed_build(tmp_path):
    write_faces(tmp_path / "faces", num_each=150)
    process = subprocess.Popen(
        command_line("build_records", "--images", tmp_path / "faces", "--records", tmp_path / "out", "--quiet"),
        cwd=ROOT,
        env=command_environment(),
    )

    listing = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 60
    while len(workers := listing.read_text().split()) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(workers) >= 2 and not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_odd_files_are_handled_by_rule(faces, tmp_path):
    images = shutil.copytree(faces, tmp_path / "faces")
    outside = write_picture(tmp_path / "outside.png", draw_face(50, happy=True))
    (images / "happy" / "link.png").symlink_to(outside)
    (images / "happy" / "nowhere.png").symlink_to(tmp_path / "nothing")
    (images / "happy" / "others").symlink_to(images / "sad")
    os.mkfifo(images / "happy" / "pipe.png")
    write_picture(images / "happy" / "x.png", draw_face(51, happy=True)).rename(
        images / "happy" / 'two\nlines, "x".png'
    )
    write_picture(images / "happy" / ".cache" / "thumb.png", draw_face(52, happy=True))
    misnamed = os.fsencode(images / "happy") + b"/latin-\xe9.png"
    Path(os.fsdecode(misnamed)).write_bytes(outside.read_bytes())
    done = build(images, tmp_path / "records", "--clean.near_copies", "ignore")
    assert done.returncode == 0, done.stderr
    odd = {
        path: (row["verdict"], row["reason"], row["notes"])
        for path, row in read_findings(tmp_path / "records").items()
        if "face_" not in path
    }
    assert odd == {
        "happy/link.png": ("kept", "", "symbolic_link low_information"),
        "happy/nowhere.png": ("rejected", "unreadable", ""),
        "happy/others": ("rejected", "linked_folder", ""),
        "happy/pipe.png": ("rejected", "unreadable", ""),
        'happy/two\nlines, "x".png': ("kept", "", "low_information"),
        "happy/.cache/thumb.png": ("rejected", "system_file", ""),
        "happy/latin-\\xe9.png": ("rejected", "bad_name", ""),
    }
    assert 'happy/two\nlines, "x".png' in read_examples(tmp_path / "records")


def test_what_is_odd_about_a_kept_picture_is_noted(faces, tmp_path):
    images = shutil.copytree(faces, tmp_path / "faces")
    face = Image.fromarray(draw_face(60, happy=True, size=96))
    exif = Image.Exif()
    exif[0x0112] = 3
    face.save(images / "happy" / "turned.jpg", exif=exif)
    face.crop((0, 0, 96, 33)).save(images / "happy" / "wide.png")
    Image.new("RGB", (80, 80), (3, 3, 3)).save(images / "happy" / "night.png")
    face.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(images / "happy" / "webp.jpg", format="WEBP")
    jpeg = io.BytesIO()
    Image.fromarray(draw_face(61, happy=True)).save(jpeg, "JPEG")
    (images / "happy" / "endless.jpg").write_bytes(jpeg.getvalue()[:-2])
    Image.fromarray(draw_face(62, happy=True)).save(jpeg := io.BytesIO(), "JPEG")
    (images / "happy" / "more.jpg").write_bytes(jpeg.getvalue() + b"appended")
    assert build(images, tmp_path / "records", "--clean.near_copies", "ignore").returncode == 0
    found = read_findings(tmp_path / "records")
    assert {path: row["notes"] for path, row in found.items() if "face_" not in path} == {
        "happy/turned.jpg": "exif exif_rotated",
        "happy/wide.png": "low_information odd_aspect",
        "happy/night.png": "dark blurry low_information",
        "happy/webp.jpg": "wrong_extension",
        "happy/endless.jpg": "no_end_marker",
        "happy/more.jpg": "trailing_bytes",
    }
    night = found["happy/night.png"]
    assert (night["red"], night["green"], night["blue"], night["information"]) == ("3.0", "3.0", "3.0", "0.0")


@pytest.mark.slow
def test_a_decompression_bomb_costs_no_memory(faces, tmp_path):
    """The peak of the largest process with and without a picture of 900 million pixels."""

    def measure_peak(images: Path, records: Path) -> int:
        code = (
            "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], check=True);"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        command = command_line("build_records", "--config", SMOKE, "--images", images, "--records", records)
        done = subprocess.run(
            [sys.executable, "-c", code, *command],
            cwd=ROOT,
            env=command_environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        return int(done.stdout.split()[-1])

    images = shutil.copytree(faces, tmp_path / "faces")
    without = measure_peak(images, tmp_path / "without")
    (images / "happy" / "bomb.png").write_bytes(png_of_zeros(30_000, 30_000))
    with_bomb = measure_peak(images, tmp_path / "with")
    row = read_findings(tmp_path / "with")["happy/bomb.png"]
    assert (row["reason"], row["measured"]) == ("too_large", "30000x30000 = 900000000 pixels")
    assert with_bomb < without + 30_000  # kB; its pixels alone would be 2,700,000


def png_of_zeros(width: int, height: int) -> bytes:
    """A real, complete RGB picture, all black, compressed a thousandfold."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    compressor = zlib.compressobj(1)
    row = bytes(1 + 3 * width)
    pixels = b"".join(compressor.compress(row) for _ in range(height)) + compressor.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


class TestCopies:
    """Exact copies and near ones, within a class and across."""

    @pytest.fixture
    def images(self, tmp_path):
        images = tmp_path / "images"
        for index in range(12):
            write_picture(images / ("happy", "sad")[index % 2] / f"{index:02d}.png", draw_scene(index))
        write_picture(images / "happy" / "00 smaller.jpg", cv2.resize(draw_scene(0), (150, 150)))
        write_picture(images / "happy" / "00 mirrored.jpg", draw_scene(0)[:, ::-1])
        write_picture(images / "sad" / "02 again.png", draw_scene(2))
        write_picture(images / "sad" / "04 brighter.jpg", np.clip(draw_scene(4) * 1.15, 0, 255).astype(np.uint8))
        return images

    def test_near_copies_of_one_class_are_one_group(self, images, tmp_path):
        for seed in range(3):
            assert build(images, tmp_path / f"records{seed}", "--split.seed", seed).returncode == 0
            found = read_findings(tmp_path / f"records{seed}")
            copies = [found[f"happy/{name}"] for name in ("00.png", "00 smaller.jpg", "00 mirrored.jpg")]
            assert all(row["verdict"] == "kept" and row["near_copy_of"] for row in copies)
            assert len({(row["group"], row["split"]) for row in copies}) == 1

    def test_exact_copies_across_classes_are_dropped_by_default_and_near_ones_shown(self, images, tmp_path):
        done = build(images, tmp_path / "records")
        assert done.returncode == 0 and "label conflict" in done.stdout
        found = read_findings(tmp_path / "records")
        exact = {"happy/02.png": "equals sad/02 again.png", "sad/02 again.png": "equals happy/02.png"}
        near = {"happy/04.png", "sad/04 brighter.jpg"}
        assert {path: row["measured"] for path, row in found.items() if row["reason"] == "label_conflict"} == exact
        assert {path for path, row in found.items() if "near_conflict" in row["notes"].split()} == near
        assert len({(found[path]["group"], found[path]["split"]) for path in near}) == 1
        assert "near copies of different classes: 1 pair, kept on one side of the split" in done.stdout
        for expected in (
            "shows one thing under two classes, such as happy/02.png and sad/02 again.png: both are left out "
            "(clean.label_conflicts)",
            "shows nearly one thing under two classes, such as happy/04.png and sad/04 brighter.jpg: both are kept, on "
            "one side of the split (clean.near_conflicts)",
        ):
            assert expected in done.stderr, done.stderr
        page = (tmp_path / "records" / "report.html").read_text()
        shown = page[page.index("Nearly the same picture under different classes") : page.index("<h3>Exact copies")]
        assert "1 pair of 2 pictures" in shown and shown.count('src="data:image/jpeg') == 2
        assert all(f'title="{path}"' in shown for path in near)

    def test_near_copies_across_classes_are_dropped_if_asked(self, images, tmp_path):
        done = build(images, tmp_path / "records", "--clean.near_conflicts", "drop")
        assert done.returncode == 0 and "near copies of different classes: 1 pair, left out" in done.stdout
        found = read_findings(tmp_path / "records")
        assert {path: row["measured"] for path, row in found.items() if row["reason"] == "label_conflict"} == {
            "happy/02.png": "equals sad/02 again.png",
            "sad/02 again.png": "equals happy/02.png",
            "happy/04.png": "nearly equals sad/04 brighter.jpg",
            "sad/04 brighter.jpg": "nearly equals happy/04.png",
        }

    def test_copies_across_classes_can_be_an_error(self, images, tmp_path):
        done = build(images, tmp_path / "records", "--clean.label_conflicts", "fail")
        assert done.returncode == 3
        assert f"happy/02.png and sad/02 again.png in {images} show one picture under two classes" in done.stderr
        assert not (tmp_path / "records").exists()

    def test_copies_across_classes_can_be_kept_on_one_side(self, images, tmp_path):
        assert build(images, tmp_path / "records", "--clean.label_conflicts", "keep").returncode == 0
        found = read_findings(tmp_path / "records")
        for first, second, note in (
            ("happy/02.png", "sad/02 again.png", "label_conflict"),
            ("happy/04.png", "sad/04 brighter.jpg", "near_conflict"),
        ):
            assert found[first]["verdict"] == found[second]["verdict"] == "kept"
            assert found[first]["notes"] == found[second]["notes"] == note
            assert found[first]["group"] == found[second]["group"]

    def test_tiny_pictures_are_not_compared(self, tmp_path):
        for index in range(8):
            scene = cv2.resize(draw_scene(index // 2), (48, 48), interpolation=cv2.INTER_AREA)
            path = tmp_path / "images" / ("happy", "sad")[index // 2 % 2] / f"{index}.png"
            write_picture(path, scene if index % 2 else scene[:, ::-1])
        assert build(tmp_path / "images", tmp_path / "records").returncode == 0
        assert not any(row["near_copy_of"] for row in read_findings(tmp_path / "records").values())

    def test_a_crowd_of_near_copies_is_warned_of(self, images, tmp_path):
        for index in range(25):
            scene = draw_scene(0)
            scene[:4, :4] = index
            write_picture(images / "happy" / f"frame {index:02d}.png", scene)
        done = build(images, tmp_path / "records")
        assert done.returncode == 0, done.stderr
        assert re.search(r"the largest group of near copies holds 2\d of 3\d pictures", done.stderr), done.stderr
        assert "clean.near_copies: ignore" in done.stderr

    def test_near_copies_can_be_left_alone(self, images, tmp_path):
        assert build(images, tmp_path / "records", "--clean.near_copies", "ignore").returncode == 0
        found = read_findings(tmp_path / "records")
        assert not any(row["near_copy_of"] for row in found.values())
        assert found["sad/04 brighter.jpg"]["verdict"] == "kept"


def draw_scene(seed: int) -> np.ndarray:
    """A picture like no other: uint8 [240, 240, 3]."""
    random = np.random.default_rng(seed)
    scene = cv2.resize(random.integers(30, 200, (5, 5, 3), dtype=np.uint8), (240, 240), interpolation=cv2.INTER_CUBIC)
    for _ in range(6):
        corner, color = random.integers(0, 240, 2).tolist(), random.integers(0, 220, 3).tolist()
        cv2.circle(scene, corner, int(random.integers(8, 40)), color, -1)
    return scene


def test_small_pictures_are_said_not_to_be_compared_and_names_that_recur_to_be_groups_perhaps(tmp_path):
    """Icons lie in a folder for each size: the same drawing is there twice, and small pictures have no near copies."""
    images = write_faces(tmp_path / "icons", num_each=10)
    for path in list(images.glob("*/*.png")):
        for side in (40, 48):
            resized = cv2.resize(cv2.imread(str(path))[..., ::-1], (side, side), interpolation=cv2.INTER_AREA)
            write_picture(path.parent / str(side) / path.name, resized)
        path.unlink()
    (images / "sad" / "gone.png").symlink_to("../elsewhere.png")
    done = build(images, tmp_path / "records")
    assert done.returncode == 0, done.stderr
    told = "ear copies: not looked for among 40 of 40 pictures, with a side below 64 pixels or next to no structure"
    assert f"\ngroups: every picture by itself\nn{told}\n" in done.stdout
    assert f"Seed 0. N{told}.</p>" in (tmp_path / "records" / "report.html").read_text()
    assert "40 of 40 pictures are called like another of their class, such as happy/40/face_00.png and" in done.stderr
    assert "--split.group_by '^(.+)[.]'" in done.stderr
    gone = read_findings(tmp_path / "records")["sad/gone.png"]
    assert gone["measured"] == "a link to ../elsewhere.png, where nothing is"
    for rule, num_groups in (("^(.+)[.]", 10), ("none", 40)):
        done = build(images, tmp_path / "records", "--overwrite", "--split.group_by", rule)
        assert done.returncode == 0 and "are called like another" not in done.stderr
        assert len({found["group"] for found in read_findings(tmp_path / "records").values()} - {""}) == num_groups


def test_numbered_series_are_asked_about_and_the_rule_that_is_proposed_groups_them(tmp_path):
    images = write_faces(tmp_path / "faces", num_each=15)
    for path in images.glob("*/*.png"):
        number = int(path.stem[-2:])
        path.rename(path.with_name(f"{path.parent.name} {'abc'[number % 3]}-{number // 3}.png"))
    done = build(images, tmp_path / "records")
    assert done.returncode == 0 and "30 of 30 pictures are numbered in 6 series, the longest from happy/" in done.stderr
    rule = re.search(r"--split.group_by '(.+?)'\. If all", done.stderr)[1]
    flags = ("--clean.near_copies", "ignore", "--split.group_by", rule)
    done = build(images, tmp_path / "records", "--overwrite", *flags)
    assert done.returncode == 0 and "numbered in" not in done.stderr
    groups = {found["group"] for found in read_findings(tmp_path / "records").values()}
    assert groups == {f"{label} {letter}" for label in ("happy", "sad") for letter in "abc"}


def test_a_shortcut_is_warned_of_with_its_figure(tmp_path):
    """All happy faces are PNGs and all sad ones JPEGs."""
    images = write_faces(tmp_path / "faces", num_each=30)
    for path in (images / "sad").iterdir():
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()
    done = build(images, tmp_path / "records", "--clean.near_copies", "ignore")
    assert done.returncode == 0
    assert "warning: the file format alone tells the classes apart: balanced accuracy 1.00" in done.stderr
    assert "the file format alone tells the classes apart" in (tmp_path / "records" / "report.html").read_text()


def test_the_report_shows_what_became_of_every_picture(odd_records):
    page = (odd_records[0] / "report.html").read_text()
    for told in ("cut off", "not an image", "label conflict", "happy/both.png", "sad/both.bmp", "--images", "sha256"):
        assert told in page, told
    assert 'src="data:image/jpeg;base64,' in page and "<script" not in page


@pytest.mark.parametrize("encoding", ["png", "raw"])
def test_lossless_records_keep_every_pixel(faces, tmp_path, encoding):
    assert build(faces, tmp_path / "records", "--records.encoding", encoding).returncode == 0
    for path, (_, feature) in read_examples(tmp_path / "records").items():
        stored = feature["image/encoded"].bytes_list.value[0]
        pixels = tf.io.decode_png(stored).numpy() if encoding == "png" else np.frombuffer(stored, np.uint8)
        source = cv2.cvtColor(cv2.imread(str(faces / path)), cv2.COLOR_BGR2RGB)
        assert np.array_equal(pixels.reshape(32, 32, 3), cv2.resize(source, (32, 32), interpolation=cv2.INTER_AREA))
        assert feature["image/format"].bytes_list.value[0] == encoding.encode()


def test_changed_groups_are_other_pictures(faces, tmp_path):
    images = shutil.copytree(faces, tmp_path / "faces")
    (images / "groups.csv").write_text("path,group\nhappy/face_00.png,one\n")
    assert build(images, tmp_path / "records").returncode == 0
    assert "is up to date" in build(images, tmp_path / "records").stdout
    (images / "groups.csv").write_text("path,group\nhappy/face_00.png,two\n")
    done = build(images, tmp_path / "records")
    assert done.returncode == 3 and "was built from other pictures" in done.stderr


def test_a_folder_that_holds_something_else_is_left_alone(faces, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    for flags in ((), ("--overwrite",)):
        done = build(faces, tmp_path, *flags)
        assert done.returncode == 3 and "holds no records" in done.stderr
    assert files_of(tmp_path) == {"thesis.txt": b"years of work"}


def test_a_class_without_a_usable_picture_is_an_error(faces, tmp_path):
    images = tmp_path / "faces"
    shutil.copytree(faces, images)
    (images / "angry").mkdir()
    (images / "angry" / "a.png").write_bytes(b"")
    done = build(images, tmp_path / "records")
    assert done.returncode == 3
    assert "has no usable picture: 1 empty" in done.stderr
    assert not (tmp_path / "records").exists()


def test_what_is_wrong_with_a_whole_class_is_told_with_a_file_a_limit_and_a_setting(faces, tmp_path):
    images = shutil.copytree(faces, tmp_path / "faces")
    for place, name in enumerate(("angry", "calm")):
        for index in range(3):
            write_picture(images / name / f"{index}.png", draw_face(70 + 3 * place + index, happy=True)[::3, ::3])
    (images / "angry" / "x.png").write_bytes(b"")
    done = build(images, tmp_path / "records")
    assert done.returncode == 3
    assert (
        f"the class 'angry' of {images} has no usable picture: 3 too small, such as angry/0.png (22x22 pixels; "
        "expected sides of at least 32). Lower --clean.min_side only if pictures as small are meant: they show little. "
        "The others: 1 empty. If the class is not meant, remove its folder, or name the others with --data.classes. "
        "1 more class has none either."
    ) in done.stderr
    done = build(images, tmp_path / "records", "--clean.min_side", 16)
    assert done.returncode == 0, done.stderr


def test_many_rejected_files_are_told_with_the_most_frequent_reason(faces, tmp_path):
    images = shutil.copytree(faces, tmp_path / "faces")
    for index in range(3):
        write_picture(images / "sad" / f"small {index}.png", draw_face(index, happy=True)[::3, ::3])
    (images / "happy" / "x.png").write_bytes(b"")
    done = build(images, tmp_path / "records")
    expected = (
        "4 of 28 files are rejected: 3 too small, such as sad/small 0.png (22x22 pixels; expected sides of at least "
        "32). Lower --clean.min_side only if pictures as small are meant: they show little. The others: 1 empty."
    )
    assert done.returncode == 0 and f"warning: {expected}" in done.stderr, done.stderr
    page = (tmp_path / "records" / "report.html").read_text()
    assert expected in page and "<p>No setting takes it: copy it again, or remove it.</p>" in page


def test_one_class_folder_is_not_enough(faces, tmp_path):
    shutil.copytree(faces / "happy", tmp_path / "one" / "happy")
    done = build(tmp_path / "one", tmp_path / "records")
    assert done.returncode == 3 and "found happy" in done.stderr


@pytest.mark.parametrize("rule", ["face_([0-9]+)", "groups.csv:person"])
def test_a_group_stays_on_one_side(faces, tmp_path, rule):
    images, records = tmp_path / "faces", tmp_path / "records"
    shutil.copytree(faces, images)
    rows = [f"{path.parent.name}/{path.name},{path.stem[-2:]}" for path in sorted(images.rglob("*.png"))]
    (images / "groups.csv").write_text("path,person\n" + "\n".join(rows) + "\n")
    assert build(images, records, "--split.group_by", rule, "--clean.near_copies", "ignore").returncode == 0
    sides = {}
    for split, feature in read_examples(records).values():
        sides.setdefault(feature["image/group"].bytes_list.value[0], set()).add(split)
    assert len(sides) == 12 and all(len(found) == 1 for found in sides.values())


@pytest.mark.parametrize(
    ("rule", "code", "expected"),
    [
        ("face_[", 2, "is no regular expression"),
        ("face_.*", 2, "with 0 groups: expected one"),
        ("people.csv:name", 3, "cannot be read"),
    ],
)
def test_a_wrong_group_rule_is_explained(faces, tmp_path, rule, code, expected):
    done = build(faces, tmp_path / "records", "--split.group_by", rule)
    assert done.returncode == code and expected in done.stderr


def test_the_sample_keeps_all_drawings_of_one_emoji_on_one_side(tmp_path):
    done = run_command("build_records", "--records", tmp_path / "sample")
    assert done.returncode == 0, done.stderr
    findings = read_findings(tmp_path / "sample")
    assert len(findings) == 191 and all(row["verdict"] == "kept" for row in findings.values())
    sides = {}
    for row in findings.values():
        emoji = row["path"].split("_")[1].removesuffix(".png")
        assert row["group"] == emoji
        sides.setdefault(emoji, set()).add(row["split"])
    assert len(sides) == 39 and all(len(found) == 1 for found in sides.values())
    found = manifest.load(tmp_path / "sample").splits
    assert 0.15 < found["validation"].num_examples / 191 < 0.25
    assert {
        feature["image/height"].int64_list.value[0] for _, feature in read_examples(tmp_path / "sample").values()
    } == {256}


class TestManifest:
    @pytest.fixture
    def records(self, face_records, tmp_path):
        return shutil.copytree(face_records, tmp_path / "faces")

    def test_a_cut_shard_is_named_with_both_sizes(self, records):
        shard = sorted(records.glob("*.tfrecord"))[0]
        size = shard.stat().st_size
        with shard.open("r+b") as file:
            file.truncate(size - 7)
        with pytest.raises(DataError, match=f"{shard.name} has {size - 7} bytes but the manifest says {size}"):
            manifest.load(records)

    def test_a_missing_shard_is_named(self, records):
        shard = sorted(records.glob("*.tfrecord"))[0]
        shard.unlink()
        with pytest.raises(DataError, match=f"{shard.name} is missing"):
            manifest.load(records)

    def test_a_changed_byte_is_found_by_verify(self, records):
        info = manifest.load(records).splits["train"].shards[0]
        content = bytearray((records / info.file).read_bytes())
        content[len(content) // 2] ^= 1
        (records / info.file).write_bytes(content)
        with pytest.raises(DataError, match=r"is damaged in record [0-9]+ at byte [0-9]+: its checksum is wrong"):
            manifest.verify_shard(info, records)

    @pytest.mark.parametrize("text", ["", "{}", '{"format": 99}', "[1]"])
    def test_a_manifest_that_is_none_is_refused(self, records, text):
        (records / "manifest.json").write_text(text)
        with pytest.raises(DataError, match="cannot be read as a manifest of format 2"):
            manifest.load(records)

    def test_a_shard_outside_the_folder_is_refused(self, records):
        value = json.loads((records / "manifest.json").read_text())
        value["splits"]["train"]["shards"][0]["file"] = "../secret.tfrecord"
        (records / "manifest.json").write_text(json.dumps(value))
        with pytest.raises(DataError, match=r"shards.0.file is .\.\./secret\.tfrecord.: String should match pattern"):
            manifest.load(records)

    def test_a_split_that_is_empty_is_an_error_with_those_there_are(self, records):
        with pytest.raises(DataError, match="no pictures in a split 'test'; it has train, validation"):
            manifest.load(records).shard_paths(records, "test")
