"""A program that kills a search before each of its writes in turn, goes on with it, and prints how many there were.

Only the training is left out: it writes its figures at once.
"""

import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import sklearn.gaussian_process  # noqa: F401 - once, before the forks

from harness.config import settings
from harness.search import outcome
from harness.search.trial_queue import TrialQueue
from harness.search.trials import child
from harness.search.trials.child import Ending
from harness.search.trials.slot_loop import Stop, work
from harness.search.trials.slots import Slot
from harness.search.tuner import load_trials

GIVEN = settings.read_file(Path(sys.argv[1]))
CONFIG = settings.make_config(GIVEN)
FOLDER = CONFIG.tune.folder
OF_TRAINING = ("metrics.json", "trained")
TIMES = re.compile(r'("(?:started|finished|seconds)": )[^\n]+')  # a search that was killed has not noted its seconds
CHANGES = (
    "os.rename",
    "os.rmdir",
)  # most of what makes a folder finds it there, and a name is removed after its rename


def train(workdir, slot, **_):
    with (FOLDER / "trained").open("a") as file:
        file.write(f"{workdir.root.name}\n")
    tried = settings.make_config(settings.read_file(workdir.trial_config))
    workdir.metrics.write_text(json.dumps({"loss": tried.optim.learning_rate, "accuracy": 0.5, "epochs": 1}))
    return Ending(0, seconds=1.0)


def search():
    child.train = train
    stop = Stop(lambda: None)
    work(TrialQueue(CONFIG, GIVEN, stop), (Slot(0, 1, None, frozenset(os.sched_getaffinity(0))),), stop)
    outcome.write_best(CONFIG, GIVEN, load_trials(CONFIG))


def run(limit):
    """Searches in a process that is killed before its write of this number; returns how it ended."""
    if (pid := os.fork()) == 0:
        count = [0]

        def watch(event, words):
            is_write = event == "open" and isinstance(words[2], int) and words[2] & (os.O_WRONLY | os.O_RDWR)
            if (is_write or event in CHANGES) and (path := str(words[0])).startswith(str(FOLDER)):
                count[0] += not path.endswith(OF_TRAINING)
                if count[0] == limit:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        search()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def look():
    files = {path.relative_to(FOLDER).as_posix(): path for path in FOLDER.rglob("*")}
    return {
        name: TIMES.sub(r"\1", path.read_text()) if path.is_file() else ""
        for name, path in files.items()
        if not name.startswith("claims")
    }


assert run(limit=-1) == 0
expected, limit = look(), 1
while True:
    shutil.rmtree(FOLDER)
    if (code := run(limit)) == 0:
        break
    assert code == -signal.SIGKILL and run(limit=-1) == 0, limit
    found = look()
    assert found == expected, (limit, {name for name in found | expected if found.get(name) != expected.get(name)})
    limit += 1
print(limit - 1, *sorted(expected))
