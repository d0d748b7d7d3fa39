"""Class folders and files whose names are whatever the file system takes.

They are built, found up to date, read back, moved away and given back, as if their names were plain.
"""

import atexit
import contextlib
import os
import random
import subprocess
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from attacks import Files, pictures
from harness.base.errors import DataError
from harness.config.schema import Config
from harness.dataset.build import builder, process_pool
from harness.dataset.curation import findings, quarantine

# What programs stumble over, which is drawn far more often than it occurs.
ODD_LETTERS = "\r\n\t\x1b\x85\x7f'\"=+-@$[]{}*?\\;,%#~&<>|`^_.: \u2028\u202e\u0301\u200beEnN0éßİaA幸😀"
_MOST_BYTES = 200  # of a name; the file system takes 255, and to some of ours a few letters are added
_REFUSALS = (
    "is not valid UTF-8",
    "differ in case, blanks or Unicode form only",  # as "e\u0301" and "E\u0301", or "a b" and "a  b", do
)
_NOT_MOVED = ("", "bad_name", "unreadable")


def draw_name(chance: random.Random, *, is_text: bool = False) -> str:
    """Returns the name of a file: odd letters, or any bytes."""
    while True:
        size = chance.choice((1, 2, 5, 12, 60))
        if is_text or chance.random() < 0.8:
            name = "".join(chance.choice(ODD_LETTERS) for _ in range(size))
        else:
            name = os.fsdecode(bytes(chance.choice([n for n in range(1, 256) if n != 0x2F]) for _ in range(size)))
        if name not in (".", "..") and len(os.fsencode(name)) <= _MOST_BYTES:
            return name


def make(seed: int) -> Files:
    """Returns an images folder of two classes, each with three pictures of its own and three files more."""
    chance = random.Random(seed)
    images, good, made = draw_name(chance), iter(_good_pictures()), Files()
    names: list[str] = []
    while len(names) < 2:
        name = draw_name(chance, is_text=chance.random() < 0.95).lstrip(".") or f"class {len(names)}"
        names += [name] if name not in names else []
    for name in names:
        made |= {f"{images}/{name}/good {number}": next(good) for number in range(3)}
        more = (next(good), pictures.sample_pictures()["bits"], b"no picture", b"")
        made |= {f"{images}/{name}/{draw_name(chance)}": chance.choice(more) for _ in range(3)}
    return made


@cache
def _good_pictures() -> tuple[bytes, ...]:
    drawn = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    return tuple(cv2.imencode(".png", pixels)[1].tobytes() for pixels in drawn)


@cache
def _keep_workers() -> None:
    """Has all builds of this process share a worker: to start one takes longer than a build."""
    pool = process_pool.Pool(1)
    atexit.register(pool.stop)
    process_pool.open_pool = lambda _: contextlib.nullcontext(pool)


def attempt(folder: Path) -> None:
    """Builds records beside the images, under the same name; moves what was rejected away and back."""
    _keep_workers()
    (images,) = folder.iterdir()
    records, rejects = folder / "records" / images.name, folder / "rejects" / images.name
    sections = {"data": {"images": images, "records": records}, "clean": {"near_copies": "ignore"}}
    config = Config.model_validate({**sections, "runtime": {"workers": 1}, "records": {"image_size": 16}})
    before = _snapshot(images)
    try:
        builder.build(config)
        assert "is up to date" in builder.build(config)
    except DataError as error:
        assert any(words in str(error) for words in _REFUSALS), error
        return
    found = findings.read(records / findings.FILE_NAME)
    shown = sorted(os.fsencode(path).decode("utf-8", "backslashreplace") for path in before)
    assert sorted(item.path for item in found) == shown, (found, shown)
    num_moved = quarantine.move_rejects(found, images, rejects)
    assert num_moved == sum(item.reason not in _NOT_MOVED for item in found) == len(before) - len(_snapshot(images))
    if num_moved:
        subprocess.run(["sh", rejects / "undo.sh"], check=True, cwd="/", stdout=subprocess.DEVNULL)
    assert _snapshot(images) == before


def _snapshot(folder: Path) -> Files:
    """Every file below a folder with its bytes."""
    return {os.fspath(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
