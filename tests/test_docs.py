"""The commands that README and docs name exist and take the flags they are shown with."""

import re
import shlex

import pytest
from conftest import ROOT, run_command

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"python -m (harness\.\w+)([^`\n#|]*)")


def shown_commands() -> list[tuple[str, str]]:
    """Every shown command once: module and arguments."""
    found = {}
    for page in [*PAGES, *(ROOT / "configs").glob("*.yaml")]:
        for module, arguments in COMMAND.findall(page.read_text()):
            found[module.removeprefix("harness."), arguments.strip()] = None
    return list(found)


@pytest.mark.parametrize(("module", "arguments"), shown_commands(), ids=" ".join)
def test_a_shown_command_is_accepted(module, arguments, smoke_run, tmp_path):
    if module in ("build_records", "train", "tune"):
        words = shlex.split(arguments)
        if "runs/tune/best.yaml" in words:  # is made by the search
            words = [str(ROOT / "configs" / "best.yaml") if word == "runs/tune/best.yaml" else word for word in words]
        done = run_command(module, *words, "--show-config")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("data.images")
    else:
        shown = {word for word in shlex.split(arguments) if word.startswith("--")}
        assert shown <= set(re.findall(r"--[\w.-]+", run_command(module, "--help").stdout))


def test_every_module_with_a_command_is_in_the_readme():
    modules = {path.stem for path in (ROOT / "harness").glob("*.py") if 'if __name__ == "__main__"' in path.read_text()}
    assert modules == {module for module, _ in shown_commands()}


def test_what_the_pages_name_is_there():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        text = page.read_text()
        assert set(re.findall(r"\bmake (demo|test|check|\w+\b(?=`))", text)) <= targets
        for name in re.findall(r"\b((?:configs|jobs|docs|benchmarks)/[\w.]+\.\w+)", text):
            assert (ROOT / name).exists(), f"{page.name} names {name}"
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (page.parent / link).exists(), f"{page.name} links {link}"


def test_the_gate_runs_what_the_readme_names():
    gate = (ROOT / ".ci" / "run").read_text()
    assert "make check\n" in gate and "make test\n" in gate
    assert "make test" in (ROOT / "README.md").read_text()
