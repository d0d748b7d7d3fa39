"""What the tests share: drawn pictures, commands as subprocesses, and one small run for all who only look."""

import contextlib
import csv
import functools
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import yaml
from forked import run_forked
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent


settings.register_profile("harness", deadline=None)  # a test must not fail for a busy machine
settings.load_profile("harness")


def draw_face(seed: int, *, happy: bool, size: int = 64) -> np.ndarray:
    """A smiling or frowning face, a little different for every seed: uint8 [size, size, 3], RGB."""
    random = np.random.default_rng(seed)
    face = np.full((size, size, 3), 255, np.uint8)
    centre = (size // 2 + int(random.integers(-3, 4)), size // 2 + int(random.integers(-3, 4)))
    cv2.circle(face, centre, size // 2 - 6, tuple(int(v) for v in random.integers(120, 250, 3)), -1)
    for side in (-1, 1):
        cv2.circle(face, (centre[0] + side * size // 7, centre[1] - size // 8), size // 16, (20, 20, 20), -1)
    mouth = (centre[0], centre[1] + (size // 12 if happy else size // 4))
    angles = (20, 160) if happy else (200, 340)
    cv2.ellipse(face, mouth, (size // 5, size // 7), 0, *angles, (20, 20, 20), 2)
    return face


def write_picture(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return path


def write_faces(folder: Path, num_each: int = 12) -> Path:
    for label in ("happy", "sad"):
        for index in range(num_each):
            face = draw_face(1000 * (label == "sad") + index, happy=label == "happy")
            write_picture(folder / label / f"face_{index:02d}.png", face)
    return folder


def run_python(program: str, timeout_s: int = 120) -> subprocess.CompletedProcess:
    """Runs a program of its own, for what a process can do once only, such as dividing its CPU."""
    return subprocess.run(
        [sys.executable, "-c", program],
        env=command_environment(),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def run_without_privileges(program: str) -> subprocess.CompletedProcess:
    """Runs a program for which permissions hold, also if the tests are run as root."""
    prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    try:
        return subprocess.run(
            [*prefix, sys.executable, "-c", program],
            env=command_environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("there is no setpriv")


def run_command(
    module: str, *arguments: object, cwd: Path = ROOT, timeout_s: int = 180, stdin: bytes = b""
) -> subprocess.CompletedProcess:
    """Runs `python -m harness.MODULE` to its end, forked from a process that has imported TensorFlow."""
    _, _, name, *words = command_line(module, *arguments)
    return run_forked(name, words, cwd=cwd, environment=command_environment(), timeout_s=timeout_s, stdin=stdin)


def run_command_anew(
    module: str, *arguments: object, cwd: Path = ROOT, timeout_s: int = 180, uses_gpus: bool = False
) -> subprocess.CompletedProcess:
    """Runs `python -m harness.MODULE` to its end in a process of its own, for what its start does."""
    return subprocess.run(
        command_line(module, *arguments),
        cwd=cwd,
        env=command_environment(uses_gpus=uses_gpus),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


TRAINING, PRECISION = ("bench", "cross_validate", "train", "tune", "verify_resume"), "--train.precision"


def command_line(module: str, *arguments: object) -> list[str]:
    """A command; trainings are in float32 unless told otherwise, lest what they learn depend on the CPU's kind."""
    words = [sys.executable, "-m", f"harness.{module}", *map(str, arguments)]
    return [*words, PRECISION, "float32"] if module in TRAINING and PRECISION not in words else words


def command_environment(*, uses_gpus: bool = False) -> dict[str, str]:
    hidden = {} if uses_gpus else {"CUDA_VISIBLE_DEVICES": "-1"}
    return {**os.environ, "PYTHONPATH": str(ROOT), **hidden, "COLUMNS": "120"}


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def bytes_of(records: Path) -> dict[str, bytes]:
    """Every file of a records folder but its report, which names the command that was typed."""
    return {name: content for name, content in files_of(records).items() if name != "report.html"}


def read_findings(records: Path) -> dict[str, dict[str, str]]:
    """The rows of cleaning.csv by path."""
    with (records / "cleaning.csv").open(newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def list_recorded(records: Path) -> set[str]:
    """The names of the pictures in all shards."""
    from tensorflow.train import Example

    from harness.dataset.records import tfrecord

    examples = (Example.FromString(text) for shard in records.glob("*.tfrecord") for text in _read_shard(shard))
    return {example.features.feature[tfrecord.FILENAME].bytes_list.value[0].decode() for example in examples}


def _read_shard(shard: Path) -> list[bytes]:
    from harness.dataset.records import tfrecord

    with shard.open("rb") as file:
        return list(tfrecord.read_shard(file, shard.stat().st_size))


def read_history(run):
    with (run / "metrics.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def free_addresses(count: int) -> list[str]:
    """Below the ports that the system lends to clients: another test may have one of those before it is used."""
    found: list[str] = []
    while len(found) < count:
        address = "127.0.0.1", 10_000 + secrets.randbelow(10_000)
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(address)
            if (name := f"{address[0]}:{address[1]}") not in found:
                found.append(name)
    return found


def name_tasks(num_tasks: int = 2) -> list[dict[str, str]]:
    """TF_CONFIG of processes that train together."""
    cluster = {"worker": free_addresses(num_tasks)}
    tasks = [{"cluster": cluster, "task": {"type": "worker", "index": index}} for index in range(num_tasks)]
    return [{"TF_CONFIG": json.dumps(task)} for task in tasks]


SMOKE = ROOT / "configs" / "smoke.yaml"


@pytest.fixture(scope="module")
def warm_workers():
    """Worker processes that stay for all builds of a module within the test's own process: starting takes longest."""
    from harness.dataset.build import process_pool

    with process_pool.open_pool(2) as pool, pytest.MonkeyPatch.context() as patch:
        patch.setattr(process_pool, "open_pool", lambda num_workers: contextlib.nullcontext(pool))
        yield


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("pictures") / "faces")


@pytest.fixture(scope="session")
def face_records(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records") / "faces"
    done = run_command_anew("build_records", "--config", SMOKE, "--images", faces, "--records", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def smoke_run(face_records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "smoke"
    words = ("--records", face_records, "--run", folder, "--gpus", "all", "--runtime.exports", "[h5,saved_model]")
    done = run_command_anew("train", "--config", SMOKE, *words)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0].split() == ["setting", "asked", "in", "force", "reason"]
    assert lines[1] == "devices         gpus all  /cpu:0    no GPU found: training on the CPU"
    assert lines[10].startswith("emotion_cnn: 20 pictures to train on, 4 to validate, happy | sad; run folder ")
    assert "WARNING" not in done.stderr and "E0000" not in done.stderr  # TensorFlow's own lines stay away
    return folder


@pytest.fixture(scope="session")
def logical_cpus():
    """A function of a number of replicas, one or two, to devices, for modules that split the CPU when they begin."""
    import tensorflow as tf

    from harness.distribute.devices import Devices

    @functools.cache  # two strategies on the same devices would number their collective operations alike
    def make_strategy(names: tuple[str, ...]) -> tf.distribute.Strategy:
        return tf.distribute.MirroredStrategy(names) if len(names) > 1 else tf.distribute.get_strategy()

    def make(num_replicas: int) -> Devices:
        names = tuple(f"/cpu:{index}" for index in range(num_replicas))
        return Devices(make_strategy(names), names, "float32")

    return make


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes; its tests are skipped where none can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a file system: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.fixture
def failing_disk(tmp_path):
    """An ext4 file system that `abort` makes read-only in the middle of work, and `mend` mounts again as it is then."""
    image, place = tmp_path / "image", tmp_path / "place"
    disk = place / "disk"
    disk.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(64 << 20)

    def run(*words: object) -> subprocess.CompletedProcess:
        return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)

    def mount() -> None:
        done = run("mount", "-o", "loop", image, disk)
        assert done.returncode == 0, done.stderr

    def mend() -> None:
        assert run("umount", disk).returncode == 0
        assert run("e2fsck", "-fy", image).returncode in (0, 1)
        mount()

    run("mount", "--bind", place, place)
    run("mount", "--make-shared", place)  # what is unmounted here is so in the namespaces that other tests make, too
    if run("mkfs.ext4", "-q", image).returncode or run("mount", "-o", "loop", image, disk).returncode:
        run("umount", place)
        pytest.skip("cannot make and mount an ext4 file system")
    yield SimpleNamespace(path=disk, abort=lambda: run("mount", "-o", "remount,abort", disk), mend=mend)
    run("umount", disk)
    run("umount", place)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory):
    """A SLURM of four nodes, for modules of tests/distribute, which are skipped where none can run."""
    import slurm_cluster

    if lacks := slurm_cluster.check():
        pytest.skip(lacks)
    with slurm_cluster.start(tmp_path_factory.mktemp("slurm"), num_nodes=4) as running:
        yield running


@pytest.fixture(scope="session")
def chromium() -> str:
    """A browser to open pages in, for tests that are skipped where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if path := shutil.which(name):
            return path
    return pytest.skip("there is no Chromium: how pages look is not proven here (apt-get install chromium)")


def wait_for(path: Path) -> None:
    wait_until(path.exists)


def wait_until(is_so: Callable[[], object], limit_s: float = 120) -> None:
    limit = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < limit, is_so
        time.sleep(0.05)


def write_search(folder: Path, records: Path) -> Path:
    """Writes the config of a search of two trials in a folder; returns its file."""
    path = folder / "search.yaml"
    tree = {
        "data": {"records": str(records)},
        "model": {"widths": [2, 2], "dense_units": 4},
        "train": {"epochs": 2, "batch_size": 8},
        "tune": {
            "folder": str(folder / "tune"),
            "trials": 2,
            "max_epochs": 2,
            "space": {
                "optim.learning_rate": {"min": 1e-4, "max": 1e-2, "sampling": "log"},
                "model.dense_units": {"min": 4, "max": 16, "step": 4},
                "model.head": {"values": ["sigmoid", "softmax"]},
            },
        },
    }
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture
def search(face_records, tmp_path):
    """The config of a search of two trials."""
    return write_search(tmp_path, face_records)
