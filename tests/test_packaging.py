"""A wheel holds the whole package, and works where the checkout is not. An editable installation would hide a gap."""

import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, SMOKE, command_environment, command_line, write_faces

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only git tells which files belong to the package"),
]
# The build backend is that of this environment: nothing is downloaded.
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


def run(*words: object, cwd: Path, **environment: str) -> str:
    """Runs a program to its end; returns its output."""
    done = subprocess.run(
        list(map(str, words)),
        cwd=cwd,
        env=command_environment() | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def list_tracked(*paths: str) -> list[str]:
    listed = run("git", "ls-files", "-z", *paths, cwd=ROOT).split("\0")
    return [name for name in listed if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of the tracked files alone, built apart from the checkout and what earlier builds left in it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in list_tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    run(*PIP, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", target, source, cwd=target)
    (made,) = target.glob("harness-*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """An environment with the wheel in it, and the dependencies of this one, but not its editable installation."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    # Python adds the folders that a .pth file names, and does not read the .pth files in them.
    ours = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    (packages / "dependencies.pth").write_text("\n".join(ours) + "\n")
    run(*PIP, "install", "--no-index", "--no-deps", "--target", packages, wheel, cwd=folder)
    return folder


def test_the_wheel_holds_every_module(wheel):
    expected = {name for name in list_tracked("harness") if name.endswith(".py")}
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if name.endswith(".py")}
    assert "harness/dataset/records/tfrecord.py" in expected
    assert found == expected


def test_an_installed_package_builds_and_trains_away_from_the_checkout(installed, tmp_path):
    def run_here(*words: object) -> str:
        return run(installed / "bin" / "python", *words[1:], cwd=tmp_path, PYTHONPATH="")

    where = run_here(sys.executable, "-c", "import harness; print(harness.__file__)")
    assert installed in Path(where.strip()).parents
    write_faces(tmp_path / "pics")
    small = ("--config", SMOKE, "--records", "rec")
    run_here(*command_line("build_records", "--images", "pics", *small))
    assert (tmp_path / "rec" / "manifest.json").is_file()
    run_here(*command_line("train", *small, "--epochs", 1, "--run", "run"))
    assert (tmp_path / "run" / "export" / "model.keras").stat().st_size > 0
    assert json.loads((tmp_path / "run" / "export" / "signature.json").read_text())["class_names"] == ["happy", "sad"]
