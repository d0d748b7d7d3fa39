"""What a search shows on a terminal while it runs."""

import io
import json
import logging
import socket
from pathlib import Path

import pytest
from rich.console import Console

from harness.base import app
from harness.base.text import shorten
from harness.locks import lock
from harness.search.progress import make_table, open_table
from harness.search.trials.trial import Trial

HEADER = "epoch,loss,val_loss,val_accuracy,images_per_s\n"


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_narrow_terminal_cuts_the_settings_and_no_figure(tmp_path: Path, width):
    (tmp_path / "metrics.csv").write_text(f"{HEADER}12,0.654321,0.712345,0.5625,1234.5\n")
    values = {f"optim.setting_{index}": 0.000123456 * (index + 1) for index in range(12)}
    table = make_table([Trial("017", tmp_path, values, "running")], "val_loss", 20, seconds=61.0)
    console = Console(width=width, record=True, file=(tmp_path / "screen").open("w"))
    console.print(table)
    title, header, row = (line.rstrip() for line in console.export_text().splitlines())
    assert title == "0 of 20 trials done, 1 running, 0 failed, 01:01"
    assert header.split() == ["trial", "epoch", "loss", "val", "loss", "val", "accuracy", "images/s", "settings"]
    assert row.split()[:6] == ["017", "12", "0.6543", "0.7123", "0.5625", "1234"]
    assert "  optim.setting_0 " in row and row.endswith("…") and len(row) == width


@pytest.mark.parametrize("other", [None, "node-17", "node-17.of-a-cluster.example.org"])
def test_nodes_are_named_once_a_trial_runs_on_another_one(tmp_path: Path, other):
    trials = [Trial(name, tmp_path / name, {}, "running") for name in ("000", "001", "002")]
    for trial in trials:
        trial.run.mkdir()
    here, there, _ = (trial.run / ".lock" for trial in trials)  # nobody trains the third just now
    with lock.hold_folder(here.parent):
        owner = json.loads(here.read_text())
        there.write_text(json.dumps(owner | {"host": other or owner["host"]}))
        table = make_table(trials, "val_loss", 20, seconds=61.0)
    columns = {str(column.header): list(map(str, column.cells)) for column in table.columns}
    assert columns["trial"] == ["000", "001", "002"]
    own = shorten(socket.gethostname().partition(".")[0], 16)
    assert columns.get("node") == (other and [own, "node-17", ""])


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_log_lines_stand_above_the_table_and_leave_nothing_of_it(monkeypatch):
    terminal = _Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(logging.getLogger("harness"), "handlers", [])
    app.start_logging()
    with open_table(lambda: (), objective="val_loss", total=2, is_shown=True) as show:
        show()
        for line in ("trial 000: begun", "trial 000: ended"):
            logging.getLogger("harness").info(line)
    logging.getLogger("harness").info("afterwards")
    # The first line draws the table below it, which the next one erases.
    before, _, after = terminal.getvalue().partition("trial 000: ended\n")
    assert "trial 000: begun\n" in before and before.endswith("\x1b[2K") and "0 of 2 trials done" in after
    assert after.endswith("\x1b[2Kafterwards\n")
