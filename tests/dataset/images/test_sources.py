"""Picture files in folders: none of them makes the reader wait, read more than it must, or fail."""

import itertools
import os
import sys
import time
from pathlib import Path

import pytest
from conftest import draw_face, run_without_privileges, write_picture

from harness.config.dataset_sections import CleanConfig
from harness.config.preparation import Preparation
from harness.dataset.images import sources
from harness.dataset.images.rejection import Reason, Rejected
from harness.dataset.listing.walk import walk_files

LIMITS = CleanConfig()


def test_walking_is_in_order_and_reading_keeps_it(tmp_path):
    for name in ("b.png", "a.png", "sub/c.png"):
        write_picture(tmp_path / name, draw_face(1, happy=True))
    (tmp_path / "bad.png").write_bytes(b"no")
    paths = list(walk_files(tmp_path))
    assert [path.name for path in paths] == ["a.png", "b.png", "bad.png", "c.png"]
    found = list(sources.read_all(paths, LIMITS, Preparation(32)))
    assert [path for path, _ in found] == paths
    assert [isinstance(picture, Rejected) for _, picture in found] == [False, False, True, False]


def test_pictures_that_take_much_memory_are_read_in_turn(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_MOST_SHARE", 1000)  # bytes: every picture takes more
    monkeypatch.setattr(sources, "_LEAST_SHARE", 1000)
    paths = [write_picture(tmp_path / f"{index}.png", draw_face(index, happy=True)) for index in range(9)]
    found = list(sources.read_all(paths, LIMITS, Preparation(64)))
    assert [path for path, _ in found] == paths
    assert all((picture == draw_face(index, happy=True)).all() for index, (_, picture) in enumerate(found))


@pytest.mark.parametrize(("num_ahead", "most_bytes", "expected"), [(50, 256_000_000, 50), (500, 307_200, 100)])
def test_no_more_is_read_than_was_asked_for_ahead(tmp_path, monkeypatch, num_ahead, most_bytes, expected):
    monkeypatch.setattr(sources.processors, "count_usable", lambda: 2)
    monkeypatch.setattr(sources, "_MOST_AHEAD", most_bytes)  # pictures of 32x32 take 3,072
    path = write_picture(tmp_path / "face.png", draw_face(1, happy=True))
    taken = itertools.count()
    found = sources.read_all((path for _ in taken), LIMITS, Preparation(32), num_ahead=num_ahead)
    for _ in range(3):
        assert next(found)[1].shape == (32, 32, 3)
    found.close()
    assert next(taken) == expected + 2  # one for each that was given


def refusal(path: Path, limits: CleanConfig = LIMITS) -> Rejected:
    with pytest.raises(Rejected) as refused:
        sources.read(path, limits)
    return refused.value


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.parametrize("name", ["/proc/self/status", "/proc/self/maps", "/proc/kmsg"])
def test_a_file_that_states_no_size_is_empty_whatever_it_would_give(tmp_path, name):
    if not os.access(name, os.R_OK):
        pytest.skip(f"{name} cannot be read here")
    (tmp_path / "link.png").symlink_to(name)
    start = time.monotonic()
    assert refusal(tmp_path / "link.png").reason == Reason.EMPTY
    assert time.monotonic() - start < 5


def test_no_more_is_read_than_the_size_that_was_stated(tmp_path):
    path = write_picture(tmp_path / "face.png", draw_face(1, happy=True))
    content = path.read_bytes()
    assert sources.read_bytes(path, LIMITS) == content
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(8 << 40)
    start = time.monotonic()
    assert refusal(tmp_path / "sparse.png").measured == "8796093022208 bytes"
    assert time.monotonic() - start < 1
    with (tmp_path / "zeros.png").open("wb") as file:
        file.truncate(50_000_000)
    assert refusal(tmp_path / "zeros.png").reason == Reason.NOT_AN_IMAGE


def test_what_cannot_be_read_is_unreadable_however_large(tmp_path):
    for name, size in (("small.png", 100), ("large.png", 10_000)):
        (tmp_path / name).write_bytes(bytes(size))
        (tmp_path / name).chmod(0)
    done = run_without_privileges(f"""
from pathlib import Path
from harness.config.dataset_sections import CleanConfig
from harness.dataset.images import sources
from harness.config.preparation import Preparation
from harness.dataset.images.rejection import Rejected
for name in ("small.png", "large.png"):
    try:
        sources.read(Path({str(tmp_path)!r}) / name, CleanConfig(max_bytes=1000))
    except Rejected as refused:
        print(refused)
""")
    told = (
        "unreadable: Permission denied; expected a readable file. No setting takes it: make it readable, or remove it."
    )
    assert done.stdout.splitlines() == [told] * 2, done.stderr
