"""Python and the installed packages against the ranges that the packages themselves state. It imports none of them."""

import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from harness import __version__
from harness.base.text import count
from harness.diagnostics.checks.finding import Finding, Status

GROUP = "software"
_OWN = "harness"
_ALONE = ("tensorflow", "keras")  # have a line each
# Distributions that are the same module: two of them at once overwrite one another's files.
_SAME_MODULE = {
    "cv2": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "tensorflow": (
        *("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-intel", "tensorflow-rocm", "tensorflow-macos"),
        *("tf-nightly", "tf-nightly-cpu", "intel-tensorflow"),
    ),
}


@dataclass(frozen=True)
class Misfit:
    """A requirement that is not met: who states it, what it asks for, and the version that is there, "" for none."""

    by: str
    asked: str
    name: str
    version: str
    is_too_new: bool = False


def check_packages(distribution: str = _OWN) -> Iterator[Finding]:
    """Yields what is installed, beside the ranges in the metadata of a distribution and of what it needs.

    Args:
      distribution: the one to begin with.
    """
    try:
        from packaging.requirements import Requirement  # noqa: F401 - all below is done with it
    except ImportError:
        yield Finding(GROUP, "packages", "problem", "packaging is missing", "pip install packaging")
        return
    yield _check_python(distribution)
    yield _check_own(distribution)
    versions, misfits = walk(distribution)
    for name in _ALONE:
        yield _check_one(name, versions, [misfit for misfit in misfits if misfit.name == name])
    others = [misfit for misfit in misfits if misfit.name not in _ALONE]
    yield _sum_up(versions, len(others))
    for misfit in others:
        yield _tell_misfit(misfit, f"package {misfit.name}")
    yield from _check_builds(distribution)
    yield _check_io(versions.get("tensorflow", ""), distribution)


def _check_python(distribution: str) -> Finding:
    from packaging.specifiers import SpecifierSet

    version = platform.python_version()
    known = _metadata_of(distribution)
    asked = (known and known.get("Requires-Python")) or ""
    values = {"version": version, "executable": sys.executable}
    if asked and not SpecifierSet(asked).contains(version, prereleases=True):
        fix = f"Make an environment with a Python {asked}: python3 -m venv .venv"
        return Finding(GROUP, "python", "problem", f"{version}, but {distribution} takes {asked}", fix, values)
    return Finding(GROUP, "python", "ok", f"{version}, {sys.executable}", values=values)


def _check_own(distribution: str) -> Finding:
    folder = Path(__file__).parents[2]
    values = {"version": __version__, "folder": str(folder)}
    installed = _version_of(distribution)
    if not installed:
        found = f"{__version__} in {folder}, not installed: the ranges of its packages are unknown"
        return Finding(GROUP, "harness", "warning", found, f"pip install -e {folder.parent}", values)
    if distribution == _OWN and installed != __version__:
        found = f"{__version__} in {folder}, but {installed} is what is installed"
        return Finding(GROUP, "harness", "warning", found, f"pip install -e {folder.parent}", values)
    return Finding(GROUP, "harness", "ok", f"{__version__}, {folder}", values=values)


def walk(distribution: str) -> tuple[dict[str, str], list[Misfit]]:
    """Returns the versions of all that a distribution needs, directly or not, and what does not fit."""
    versions: dict[str, str] = {}
    misfits: dict[tuple[str, str], Misfit] = {}
    waiting, seen = [(distribution, "")], set()
    while waiting:
        by, extra = waiting.pop()
        for requirement in _requirements_of(by, extra):
            name = _normal(requirement.name)
            version = versions[name] = _version_of(name)
            if not version or not requirement.specifier.contains(version, prereleases=True):
                misfit = Misfit(by, str(requirement.specifier), name, version, _is_too_new(requirement, version))
                misfits.setdefault((by, name), misfit)
            for following in [(name, ""), *((name, asked) for asked in requirement.extras)]:
                if version and following not in seen:
                    seen.add(following)
                    waiting.append(following)
    return {name: version for name, version in versions.items() if version}, list(misfits.values())


def _requirements_of(name: str, extra: str) -> list:
    """The requirements that hold here: of an extra those that it adds."""
    from packaging.requirements import Requirement

    known = _metadata_of(name)
    parsed = [Requirement(text) for text in (known and known.get_all("Requires-Dist")) or []]
    plain = [one for one in parsed if one.marker is None or one.marker.evaluate({"extra": ""})]
    if not extra:
        return plain
    return [one for one in parsed if one not in plain and one.marker.evaluate({"extra": extra})]


def _metadata_of(name: str):
    try:
        return metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None


def _version_of(name: str) -> str:
    try:
        return metadata.version(name) or ""  # None where an install was cut short
    except metadata.PackageNotFoundError:
        return ""


def _normal(name: str) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(name)


def _is_too_new(requirement, version: str) -> bool:
    """Whether the version fits but for the upper end of the range."""
    from packaging.specifiers import SpecifierSet

    lower = [str(part) for part in requirement.specifier if part.operator not in ("<", "<=")]
    return bool(version) and SpecifierSet(",".join(lower)).contains(version, prereleases=True)


def _check_one(name: str, versions: dict[str, str], misfits: Sequence[Misfit]) -> Finding:
    version = versions.get(name, "")
    values = {"version": version}
    if misfits:
        told = _tell_misfit(misfits[0], name)
        return Finding(GROUP, name, told.status, told.found, told.fix, values)
    if not version:
        return Finding(GROUP, name, "unknown", "not looked for: its range is unknown", values=values)
    return Finding(GROUP, name, "ok", version, values=values)


def _sum_up(versions: dict[str, str], num_misfits: int) -> Finding:
    direct = ", ".join(f"{name} {versions[name]}" for name in _direct_names(versions))
    found = f"{count(len(versions), 'package')} looked at, {num_misfits or 'none'} out of range"
    return Finding(GROUP, "packages", "ok", f"{found}: {direct}" if direct else found, values=dict(versions))


def _direct_names(versions: dict[str, str]) -> list[str]:
    named = [_normal(requirement.name) for requirement in _requirements_of(_OWN, "")]
    return [name for name in named if name in versions and name not in _ALONE]


def _tell_misfit(misfit: Misfit, name: str) -> Finding:
    install = f"pip install '{misfit.name}{misfit.asked}'"
    values = {"version": misfit.version, "asked": misfit.asked, "by": misfit.by}
    asked = f"{misfit.by} takes {misfit.asked}" if misfit.asked else f"{misfit.by} needs it"
    is_own = misfit.by == _OWN
    if not misfit.version:
        others = [other for other in _same_module(misfit.name) if _version_of(other)]
        if others:
            found = f"not installed, but {others[0]} {_version_of(others[0])} has the same module; {asked}"
            return Finding(GROUP, name, "warning", found, f"pip uninstall -y {others[0]} && {install}", values)
        return Finding(GROUP, name, "problem" if is_own else "warning", f"not installed; {asked}", install, values)
    status: Status = "problem" if is_own and not misfit.is_too_new else "warning"
    word = "newer than what was tried" if misfit.is_too_new else "too old"
    return Finding(GROUP, name, status, f"{misfit.version}, {word}: {asked}", install, values)


def _same_module(name: str) -> tuple[str, ...]:
    return next((names for names in _SAME_MODULE.values() if name in names), ())


def _check_builds(distribution: str) -> Iterator[Finding]:
    for module, names in _SAME_MODULE.items():
        found = [name for name in names if _version_of(name)]
        if len(found) > 1:
            asked = [one for one in _requirements_of(distribution, "") if _normal(one.name) in names]
            kept = f"{names[0]}{asked[0].specifier if asked else ''}"
            text = f"{' and '.join(found)} are installed at once, and overwrite one another's module {module}"
            fix = f"pip uninstall -y {' '.join(found)} && pip install '{kept}'"
            yield Finding(GROUP, f"builds of {module}", "problem", text, fix, {"installed": found})


def _check_io(tensorflow: str, distribution: str) -> Finding:
    pair = {_normal(one.name): one.specifier for one in _requirements_of(distribution, "io")}
    version = _version_of("tensorflow-io")
    values = {"version": version}
    why = "it stopped at 0.37.1, which loads with TensorFlow up to 2.17.1"
    if not version:
        return Finding(GROUP, "tensorflow-io", "ok", f"not installed; only s3:// needs it ({why})", values=values)
    if "tensorflow" in pair and not pair["tensorflow"].contains(tensorflow, prereleases=True):
        found = f"{version} does not load with TensorFlow {tensorflow}: {why}"
        fix = "Use an environment of its own for s3://: pip install -e '.[io]'. Else: pip uninstall -y tensorflow-io"
        return Finding(GROUP, "tensorflow-io", "warning", found, fix, values)
    return Finding(GROUP, "tensorflow-io", "ok", f"{version}, for s3:// ({why})", values=values)
