"""Installed packages against the ranges of their own metadata, with real metadata of packages made for the test."""

import json
import sys
from pathlib import Path

import pytest
from conftest import run_python

from harness.diagnostics.checks import packages
from harness.diagnostics.checks.packages import Misfit


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that puts the metadata of a distribution where Python finds it first."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(name: str, version: str, *requires: str, python: str = "") -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Python: {python}"] * bool(python) + [f"Requires-Dist: {one}" for one in requires]
        (folder / "METADATA").write_text("\n".join(lines) + "\n")

    return put


def look(distribution="trainer"):
    return {finding.name: finding for finding in packages.check_packages(distribution)}


def test_this_environment_fits():
    found = look("harness")
    assert {one.status for one in found.values()} == {"ok"}, found
    assert list(found) == ["python", "harness", "tensorflow", "keras", "packages", "tensorflow-io"]
    assert found["packages"].values["numpy"] == __import__("numpy").__version__


def test_ranges_are_followed_to_what_the_packages_need(install):
    install("trainer", "1.0", "alpha-one <3,>=2", "Beta_Two >=1")
    install("alpha-one", "2.5", "gamma-three <2")
    install("beta-two", "0.9", "delta-four; extra == 'more'", "epsilon-five; python_version < '3'")
    install("gamma-three", "2.1")
    versions, misfits = packages.walk("trainer")
    assert versions == {"alpha-one": "2.5", "beta-two": "0.9", "gamma-three": "2.1"}
    assert misfits == [
        Misfit("trainer", ">=1", "beta-two", "0.9", False),
        Misfit("alpha-one", "<2", "gamma-three", "2.1", True),
    ]


def test_an_extra_that_is_asked_for_counts(install):
    install("trainer", "1.0", "alpha-one[fast]")
    install("alpha-one", "2.5", "missing-one; extra == 'fast'", "missing-two; extra == 'slow'")
    assert packages.walk("trainer")[1] == [Misfit("alpha-one", "", "missing-one", "", False)]


def test_packages_that_need_one_another_end(install):
    install("trainer", "1.0", "alpha-one")
    install("alpha-one", "2.5", "beta-two")
    install("beta-two", "1.0", "alpha-one <2")
    assert packages.walk("trainer")[1] == [Misfit("beta-two", "<2", "alpha-one", "2.5", True)]


def test_what_is_out_of_range_is_told_with_what_to_install(install):
    install("harness", "0.1.0", "tensorflow <2.22,>=2.17.1", "keras <4,>=3.6", "lost-one >=1", "old-one >=2")
    install("tensorflow", "2.30.0", "stray-one")
    install("keras", "2.15.0")
    install("old-one", "1.0")
    found = look("harness")
    told = {name: (found[name].status, found[name].found, found[name].fix) for name in found}
    assert told["tensorflow"] == (
        "warning",
        "2.30.0, newer than what was tried: harness takes <2.22,>=2.17.1",
        "pip install 'tensorflow<2.22,>=2.17.1'",
    )
    assert told["keras"] == ("problem", "2.15.0, too old: harness takes <4,>=3.6", "pip install 'keras<4,>=3.6'")
    assert told["package lost-one"] == ("problem", "not installed; harness takes >=1", "pip install 'lost-one>=1'")
    assert told["package old-one"][:2] == ("problem", "1.0, too old: harness takes >=2")
    assert told["package stray-one"][:2] == ("warning", "not installed; tensorflow needs it")


def test_two_builds_of_one_module_are_a_problem(install):
    install("opencv-python", "4.12.0.88")
    install("tensorflow-cpu", "2.21.0")
    found = look("harness")
    assert found["builds of cv2"].status == found["builds of tensorflow"].status == "problem"
    assert found["builds of cv2"].found == (
        "opencv-python-headless and opencv-python are installed at once, and overwrite one another's module cv2"
    )
    assert found["builds of tensorflow"].fix.startswith(
        "pip uninstall -y tensorflow tensorflow-cpu && pip install 'tens"
    )


def test_another_build_in_place_of_the_asked_one_is_a_warning(install):
    install("trainer", "1.0", "tensorflow-gpu <3,>=2")
    found = look()
    assert (found["package tensorflow-gpu"].status, found["package tensorflow-gpu"].found) == (
        "warning",
        f"not installed, but tensorflow {__import__('tensorflow').__version__} has the same module; "
        "trainer takes <3,>=2",
    )


@pytest.mark.parametrize(("version", "status"), [("2.17.1", "ok"), ("2.21.0", "warning")])
def test_tensorflow_io_goes_with_the_tensorflow_it_was_built_for(install, version, status):
    install("harness", "0.1.0", "tensorflow", "tensorflow ==2.17.1; extra == 'io'")
    install("tensorflow", version)
    install("tensorflow-io", "0.37.1")
    found = look("harness")["tensorflow-io"]
    assert found.status == status and "it stopped at 0.37.1" in found.found


def test_a_python_that_is_too_old_is_a_problem(install):
    install("trainer", "1.0", python=">=4.2")
    found = look()["python"]
    version = ".".join(map(str, sys.version_info[:3]))
    assert (found.status, found.found) == ("problem", f"{version}, but trainer takes >=4.2")


def test_without_metadata_the_ranges_are_unknown():
    found = look("nothing-of-this-name")
    assert found["harness"].status == "warning" and "pip install -e " in found["harness"].fix
    assert found["tensorflow"].status == "unknown"


def test_the_checks_import_none_of_the_packages():
    program = (
        "import sys; from harness.diagnostics.checks import packages; list(packages.check_packages());"
        "sys.exit(bool({'tensorflow', 'numpy', 'cv2', 'pydantic', 'yaml'} & set(sys.modules)))"
    )
    assert run_python(program).returncode == 0


@pytest.mark.parametrize("module", ["pydantic", "yaml", "google_crc32c"])
def test_a_missing_package_is_told_although_the_command_needs_it(tmp_path, module):
    Path(tmp_path, f"{module}.py").write_text("raise ModuleNotFoundError('No such module')\n")
    start = f"import sys; sys.path.insert(0, {str(tmp_path)!r})"
    program = f"{start}; from harness import doctor; sys.exit(doctor.main(['--json']))"
    done = run_python(program)
    assert done.returncode == 6, done.stderr
    told = json.loads(done.stdout)
    assert {one["group"] for one in told["checks"]} == {"software"}
    assert [one["found"] for one in told["checks"] if one["status"] == "problem"] == [
        "harness cannot be imported: No such module"
    ]
