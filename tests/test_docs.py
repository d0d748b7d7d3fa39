"""What README and docs name exists: commands with their flags, files, functions and settings."""

import ast
import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT, run_command
from test_order import FILES, ORDER

from harness.config import settings

PAGES = [ROOT / "README.md", ROOT / "jobs" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"python -m (harness\.\w+)([^`\n#|]*)")
EXTENDING = ROOT / "docs" / "extending.md"
FILE = re.compile(r"[\w./-]+\.py\b")
NAME = re.compile(r"`([a-z_]+)((?:\.\w+)+)`")  # `loss.make_loss`, `gradients.Updater.apply`
DATA_FILES = ("csv", "html", "json", "py", "yaml")


def shown_commands() -> list[tuple[str, str]]:
    """Every shown command once: module and arguments."""
    found = {}
    for page in [*PAGES, *(ROOT / "configs").glob("*.yaml")]:
        for module, arguments in COMMAND.findall(page.read_text()):
            found[module.removeprefix("harness."), arguments.strip()] = None
    return list(found)


@pytest.mark.parametrize(("module", "arguments"), shown_commands(), ids=" ".join)
def test_a_shown_command_is_accepted(module, arguments, smoke_run, tmp_path):
    if module in ("build_records", "cross_validate", "train", "tune"):
        words = shlex.split(arguments)
        if "runs/tune/best.yaml" in words:  # is made by the search
            words = [
                str(ROOT / "configs" / "residual_cnn.yaml") if word == "runs/tune/best.yaml" else word for word in words
            ]
        done = run_command(module, *words, "--show-config")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("data.images")
    else:
        shown = {word for word in shlex.split(arguments) if word.startswith("--")}
        assert shown <= set(re.findall(r"--[\w.-]+", run_command(module, "--help-all").stdout))


def test_every_module_with_a_command_is_in_the_readme():
    modules = {path.stem for path in (ROOT / "harness").glob("*.py") if 'if __name__ == "__main__"' in path.read_text()}
    assert modules == {module for module, _ in shown_commands()}


def test_what_the_pages_name_is_there():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        text = page.read_text()
        assert set(re.findall(r"\bmake (demo|test|check|\w+\b(?=`))", text)) <= targets
        for name in re.findall(r"\b((?:configs|jobs|docs|benchmarks)/[\w.]+\.\w+)", text):
            assert (ROOT / name).exists() or name == "jobs/site.sh", f"{page} names {name}"  # which the user writes
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (page.parent / link).exists(), f"{page.name} links {link}"


def test_the_gate_runs_what_the_readme_names():
    gate = (ROOT / ".ci" / "run").read_text()
    assert "make check\n" in gate and "make test\n" in gate
    assert "make test" in (ROOT / "README.md").read_text()


def find_file(name: str) -> Path | None:
    """A file that a page names, by its path from the top or from the package's folder."""
    return next((folder / name for folder in (ROOT, ROOT / "harness") if (folder / name).is_file()), None)


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "tfrecords" / "README.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_file_that_a_page_names_is_there(page):
    assert [name for name in FILE.findall(page.read_text()) if find_file(name) is None] == []


def defines(body: list[ast.stmt], names: list[str]) -> bool:
    """Whether a module's or a class's body binds the first name, and that one's body the next."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            bound = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
        else:
            continue
        if names[0] in bound:
            return len(names) == 1 or defines(getattr(node, "body", []), names[1:])
    return False


def named_in_code(text: str) -> list[tuple[str, list[str], list[Path]]]:
    """Every `file.name`: the text, the name's parts, and the files that may be meant, those of its paragraph first."""
    found = []
    for paragraph in re.split(r"\n\s*\n|\n(?=[|\d])", text):
        near = [path for name in FILE.findall(paragraph) if (path := find_file(name))]
        for stem, rest in NAME.findall(paragraph):
            parts = rest.strip(".").split(".")
            if stem == "keras" or parts[-1] in DATA_FILES or stem + rest in settings.setting_names():
                continue
            meant = [path for path in near if path.stem == stem] or [p for p in FILES.values() if p.stem == stem]
            found.append((stem + rest, parts, meant))
    return found


def test_every_name_in_the_map_is_in_its_file():
    named = named_in_code(EXTENDING.read_text())
    assert len(named) > 50
    missing = [
        text
        for text, parts, files in named
        if not any(defines(ast.parse(path.read_text()).body, parts) for path in files)
    ]
    assert missing == []


def test_the_map_has_every_folder_in_the_order_of_imports():
    listed = re.findall(r"^\| `harness/([\w/]*)` \|", EXTENDING.read_text(), re.MULTILINE)
    assert listed == [*(folder.replace(".", "/") + "/" for folder in ORDER), ""]
