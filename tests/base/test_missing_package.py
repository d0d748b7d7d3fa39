"""A command that is started outside its environment says so on one line."""

import subprocess
import sys

import pytest
from conftest import ROOT
from test_docs import shown_commands

from harness.base import errors

COMMANDS = sorted({module for module, _ in shown_commands()} - {"doctor"})  # which examines the packages itself


def run_without_packages(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-S", "-m", f"harness.{module}", *arguments]  # -S: site-packages are not on the path
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env={})


@pytest.mark.parametrize("module", COMMANDS)
def test_outside_the_environment_one_line_says_what_to_do(module):
    done = run_without_packages(module, "--help")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not installed for" in done.stderr and "source .venv/bin/activate" in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 2


def test_doctor_says_it_among_its_findings():
    done = run_without_packages("doctor")
    assert done.returncode != 0
    assert "harness cannot be imported: No module named" in done.stdout and "Traceback" not in done.stderr


def test_a_fault_of_ours_keeps_its_traceback(capsys):
    error = ModuleNotFoundError("No module named 'harness.nothing'", name="harness.nothing")
    errors.tell_start_up_error(type(error), error, None)
    assert capsys.readouterr().err == "ModuleNotFoundError: No module named 'harness.nothing'\n"


def test_a_program_that_imports_harness_keeps_its_own_hook():
    code = "import sys; before = sys.excepthook; import harness; print(sys.excepthook is before)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_ctrl_c_while_a_command_is_still_importing_is_one_sentence(capsys):
    errors.tell_start_up_error(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert capsys.readouterr().err == "stopped by Ctrl-C before anything was done.\n"
