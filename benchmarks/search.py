"""What a search costs beside its trials, and whether one that is killed again and again ends as one left alone.

    python benchmarks/search.py cost --trials 200            parent's share of the CPU time, and its memory
    python benchmarks/search.py kills --trials 12 --kills 10  kill -9 of all its processes at random moments

Both take the smoke config in two slots, with the sample records.
"""

import argparse
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from build_records import ROOT

from harness.diagnostics import resume
from harness.runs.workdir import Workdir

_SPACE = {
    "optim.learning_rate": {"min": 1e-4, "max": 1e-2, "sampling": "log"},
    "model.dense_units": {"values": [4, 8, 16]},
}
_LOOK_S = 1.0


def main() -> None:
    """Parses the flags, builds the records, and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cost", "kills"))
    parser.add_argument("--trials", type=int, default=12, metavar="N")
    parser.add_argument("--epochs", type=int, default=3, metavar="N")
    parser.add_argument("--kills", type=int, default=10, metavar="K")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = write_config(folder, arguments.trials, arguments.epochs)
        run("build_records", "--config", config)
        if arguments.what == "cost":
            measure_cost(folder, config)
        else:
            compare_kills(folder, config, arguments.kills, random.Random(arguments.seed))


def write_config(folder: Path, num_trials: int, num_epochs: int) -> Path:
    """Writes the config of a search; returns its file."""
    tree = yaml.safe_load((ROOT / "configs" / "smoke.yaml").read_text())
    tree["data"] = {"images": str(ROOT / "data" / "sample"), "records": str(folder / "records")}
    tree["train"] |= {"epochs": num_epochs, "patience": 0}
    tree["runtime"] = {"deterministic": True}
    tree["tune"] = {"trials": num_trials, "slots": 2, "retrain": 0, "space": _SPACE}
    path = folder / "search.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def words(command: str, *arguments: object) -> list[str]:
    """Returns a command line."""
    return [sys.executable, "-m", f"harness.{command}", *map(str, arguments)]


def run(command: str, *arguments: object) -> None:
    """Runs a command to its end, without a word."""
    subprocess.run(words(command, *arguments, "--quiet"), check=True, stdout=subprocess.DEVNULL)


def measure_cost(folder: Path, config: Path) -> None:
    """Prints the CPU time of the search process and of its trials, and its memory as trials go by."""
    search = subprocess.Popen(words("tune", "--config", config, "--tune.folder", folder / "tune", "--quiet"))
    shown = 0
    while search.poll() is None:
        num_done = len(list((folder / "tune" / "trials").glob("*/metrics.json")))
        if num_done >= shown:
            cpu_s, memory_mb = read_usage(search.pid)
            print(f"{num_done:>5} trials  search {cpu_s:7.1f} s CPU  {memory_mb:6.0f} MB", flush=True)
            shown = num_done + 20 if num_done else 1
        time.sleep(_LOOK_S)
    everything = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"all processes {everything.ru_utime + everything.ru_stime:.1f} s CPU, ended with {search.wait()}")


def read_usage(pid: int) -> tuple[float, float]:
    """Returns the CPU seconds of a process, without its children, and its memory in MB."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def compare_kills(folder: Path, config: Path, num_kills: int, moments: random.Random) -> None:
    """Searches once alone and once with kills, and prints what differs."""
    started = time.monotonic()
    run("tune", "--config", config, "--tune.folder", folder / "alone")
    whole_s = time.monotonic() - started
    print(f"left alone: {whole_s:.0f} s", flush=True)
    for number in range(num_kills):
        wait_s = moments.uniform(0, 2 * whole_s / num_kills)
        search = subprocess.Popen(
            words("tune", "--config", config, "--tune.folder", folder / "killed", "--quiet"), start_new_session=True
        )
        try:
            search.wait(timeout=wait_s)
            print(f"kill {number + 1}: it had ended before", flush=True)
        except subprocess.TimeoutExpired:
            os.killpg(search.pid, signal.SIGKILL)
            search.wait()
            num_done = len(list((folder / "killed" / "trials").glob("*/metrics.json")))
            print(f"kill {number + 1}: after {wait_s:.1f} s, {num_done} trials done", flush=True)
    run("tune", "--config", config, "--tune.folder", folder / "killed")
    names = sorted(path.name for path in (folder / "alone" / "trials").iterdir())
    assert names == sorted(path.name for path in (folder / "killed" / "trials").iterdir())
    differing = {
        name: found
        for name in names
        if (found := resume.compare(*(Workdir(folder / which / "trials" / name) for which in ("alone", "killed"))))
    }
    print(f"{len(names)} trials, {len(differing)} differ {differing or ''}")


if __name__ == "__main__":
    main()
