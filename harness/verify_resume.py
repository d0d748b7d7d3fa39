"""python -m harness.verify_resume: a training that is killed ends as if it had been left alone, on this machine too."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.base import app
from harness.base.errors import ClusterError, ExitCode
from harness.config import flags
from harness.dataset.records import manifest
from harness.diagnostics import resume
from harness.distribute import cluster

DESCRIPTION = """\
Proves on this machine that a training which is killed ends as if it had been left alone: a few epochs are trained
twice, once in one go and once killed without warning (SIGKILL) and started again, at random moments: while it starts,
between steps, while it measures or saves. Weights, optimizer, dropout seeds, the best weights and figures are then
compared bit by bit. Takes the flags of a training, and 2 epochs unless told otherwise. It prints IDENTICAL and the
steps of the last checkpoint at each kill, or the first tensor that differs (exit code 5). Both trainings are removed
afterwards. The first is started as you would, the second in processes forked after TensorFlow's import, to save time.

  python -m harness.verify_resume --config configs/smoke.yaml
  python -m harness.verify_resume --epochs 2 --kills 3 --runtime.logical_cpus 2
"""
_SECTIONS = ("data", "augment", "model", "optim", "train", "runtime")
_DEFAULT_EPOCHS = 2


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    parser = flags.make_parser("verify_resume", DESCRIPTION, sections=_SECTIONS, seed="train.seed")
    parser.add_argument("--kills", type=int, default=10, help="times to kill the second training (default: 10)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep both run folders in this new folder")
    arguments = parser.parse_args(argv)
    config, given = flags.read_config(arguments)
    app.start_logging(quiet=arguments.quiet)
    if cluster.find_cluster(os.environ) is not None:
        raise ClusterError(
            "verify_resume trains in one process, but TF_CONFIG or SLURM's step names several tasks. Unset TF_CONFIG, "
            "or start it outside of srun."
        )
    manifest.load(config.data.records_folder, config.data.images)
    epochs = config.train.epochs if "train.epochs" in given else _DEFAULT_EPOCHS
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.keep or Path(folder)
        root.mkdir(parents=True, exist_ok=arguments.keep is None)
        found = resume.verify(config, root, Path(folder), epochs=epochs, num_kills=arguments.kills)
    if found.difference:
        app.show(f"DIFFERENT: {found.difference}")
        return ExitCode.CHECKPOINT
    app.show(f"IDENTICAL: {epochs} epochs, killed at step {', '.join(map(str, found.killed_at))}")
    return ExitCode.DONE


if __name__ == "__main__":
    raise SystemExit(app.run(main))
