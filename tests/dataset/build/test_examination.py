"""The examination of all files: what takes much memory, and what ends the process that looks at it."""

import io
import os
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from conftest import SMOKE, command_environment, command_line, draw_face, read_findings, write_faces
from PIL import Image, PngImagePlugin

from harness.config.dataset_sections import CleanConfig, DataConfig
from harness.config.schema import Config
from harness.dataset.build import process_pool
from harness.dataset.build.examination import Examiner
from harness.dataset.images import sources
from harness.dataset.images.costs import Costly
from harness.dataset.images.rejection import Reason, Rejected

# Stands for a fault in a library: Pillow ends the process on a file that says so.
FAULTY_PILLOW = """
import os, signal
import PIL.Image
open_whole = PIL.Image.open
def open_deadly(file, *arguments, **options):
    if b"deadly" in file.getvalue():
        os.kill(os.getpid(), signal.SIGKILL)
    return open_whole(file, *arguments, **options)
PIL.Image.open = open_deadly
"""


def write_deadly(path: Path, seed: int) -> None:
    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", "deadly")
    Image.fromarray(draw_face(seed, happy=path.parent.name == "happy")).save(path, pnginfo=note)


@pytest.fixture(scope="module")
def deadly(tmp_path_factory) -> Path:
    """Twenty-four faces, and two files that end who decodes them."""
    folder = write_faces(tmp_path_factory.mktemp("deadly") / "deadly")
    write_deadly(folder / "happy" / "face_05 b.png", 500)
    write_deadly(folder / "sad" / "zz.png", 501)
    return folder


def build(images: Path, records: Path, *flags: object, faulty: Path | None = None) -> subprocess.CompletedProcess:
    environment = command_environment()
    if faulty:
        (faulty / "sitecustomize.py").write_text(FAULTY_PILLOW)
        environment["PYTHONPATH"] = f"{faulty}{os.pathsep}{environment['PYTHONPATH']}"
    return subprocess.run(
        command_line("build_records", "--config", SMOKE, "--images", images, "--records", records, *flags),
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_file_that_ends_its_worker_gets_its_row_and_the_build_goes_on(deadly, tmp_path, num_workers):
    records = tmp_path / "records"
    done = build(deadly, records, "--runtime.workers", num_workers, faulty=tmp_path)
    assert done.returncode == 0, done.stderr
    found = read_findings(records)
    assert len(found) == 26
    rejected = {path: row for path, row in found.items() if row["reason"]}
    assert set(rejected) == {"happy/face_05 b.png", "sad/zz.png"}
    for row in rejected.values():
        assert (row["reason"], row["sha256"], row["num_bytes"]) == ("unreadable", "", "0")
        assert row["measured"] == "its examination ends the worker process (SIGKILL)"
    assert "is up to date" in build(deadly, records, faulty=tmp_path).stdout
    again = build(deadly, records)  # with a Pillow that is whole
    assert again.returncode == 3 and "was built from other pictures" in again.stderr
    assert build(deadly, records, "--overwrite").returncode == 0
    assert [row["verdict"] for row in read_findings(records).values()] == ["kept"] * 26


def rgba_of_zeros(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    data = zlib.compressobj(1)
    rows = b"".join(data.compress(bytes(1 + 4 * width)) for _ in range(height)) + data.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_picture_that_takes_much_memory_is_put_off_and_then_examined(tmp_path):
    images, cache = write_faces(tmp_path / "images", num_each=1), tmp_path / "cache"
    (images / "sad" / "large.png").write_bytes(rgba_of_zeros(6000, 5000))
    with pytest.raises(Costly) as costly:
        sources.read(images / "sad" / "large.png", CleanConfig(), budget=256_000_000)
    assert 330_000_000 < costly.value.num_bytes < 331_000_000  # 11 bytes a pixel
    paths = ["happy/face_00.png", "sad/face_00.png", "sad/large.png"]
    with process_pool.open_pool(2) as pool:
        found = Examiner(pool, Config(data=DataConfig(images=images)), cache).examine([(path, "") for path in paths])
        digests = [(path, item.sha256) for path, item in found.items() if item is not None]
        again = Examiner(pool, Config(data=DataConfig(images=images)), cache).examine(digests)
    assert {path: (item.width, item.height, item.verdict) for path, item in found.items() if item is not None} == {
        "happy/face_00.png": (64, 64, "kept"),
        "sad/face_00.png": (64, 64, "kept"),
        "sad/large.png": (6000, 5000, "kept"),
    }
    assert again == dict.fromkeys(paths)


def test_a_photograph_is_not_put_off(tmp_path):
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(draw_face(1, happy=True, size=2000)).resize((6000, 4000)).save(buffer, "JPEG", exif=exif)
    (tmp_path / "photo.jpg").write_bytes(buffer.getvalue())
    picture = sources.read(tmp_path / "photo.jpg", CleanConfig(), least_side=256, budget=16_000_000)
    assert (picture.height, picture.width) == (6000, 4000)


def test_more_memory_than_is_free_is_a_reason():
    with pytest.raises(
        Rejected, match=r"its decoding takes 1,000,000,000 MB of memory; expected at most the"
    ) as refused:
        sources.check_memory(10**15)
    assert refused.value.reason == Reason.UNREADABLE
    sources.check_memory(1000)
    assert sources.share_memory(1) >= sources.share_memory(10**6) == 16_000_000
