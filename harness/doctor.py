"""python -m harness.doctor: what this machine is, and whether a training will run on it as asked."""

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from harness.base import app
from harness.base.errors import ExitCode
from harness.diagnostics import isolation
from harness.diagnostics.checks import packages
from harness.diagnostics.checks.finding import Finding
from harness.diagnostics.diagnosis import Diagnosis, Page
from harness.diagnostics.isolation import Check

if TYPE_CHECKING:
    from harness.diagnostics.doctor import Request

log = logging.getLogger("harness")
DESCRIPTION = """\
Looks at this machine as a training would use it, and says line by line what is fine, what may go wrong and what keeps
it from running, with what to do: packages, processors, memory, GPUs, disks, SLURM, records; then TensorFlow, a small
step on each device, a sum over all of them, and a step of the training itself. Takes the flags of a training. Each
check has its own time limit: nothing that hangs stops the others. It writes one small folder beside the run folder and
the records each, and removes it. Exit code 0, or 6 if there is a problem.

  python -m harness.doctor                                         as python -m harness.train would run
  python -m harness.doctor --config configs/residual_cnn.yaml --gpus 2 --batch-size 64
  python -m harness.doctor --records tfrecords/flowers --verify    reads every byte of the records
  python -m harness.doctor --nodes                                 every node of a SLURM allocation, side by side
"""
_SECTIONS = ("data", "augment", "model", "optim", "train", "runtime")
_NODES, _AS_NODE = "--nodes", "--as-node"


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    try:
        from harness.config import flags
        from harness.diagnostics import doctor
        from harness.runs.workdir import name_run
    except ImportError as error:
        return _tell_missing(error, as_json="--json" in argv)
    parser = flags.make_parser("doctor", DESCRIPTION, sections=_SECTIONS, seed="train.seed")
    _add_flags(parser)
    arguments = parser.parse_args(argv)
    config, given = flags.read_config(arguments)
    app.start_logging(quiet=arguments.quiet)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # what was started is ended on the way
    if arguments.nodes:
        return _examine_nodes(argv, arguments)
    request = doctor.Request(
        config=name_run(config, arguments.config),
        environment=os.environ,
        names_records=not given.keys().isdisjoint(("data.records", "data.images")),
        verify=arguments.verify,
        sums_with_others=arguments.as_node,
    )
    return _examine(request, arguments)


def _tell_missing(error: ImportError, *, as_json: bool) -> int:
    """Tells of the packages alone, where one is missing or broken that every command needs."""
    report = _Report(as_json=as_json)
    fix = "pip install -e . installs what is missing; --force-reinstall with the package's name mends a broken one."
    broken = Finding(packages.GROUP, "imports", "problem", f"harness cannot be imported: {error}", fix)
    report.take([*isolation.run([Check(packages.GROUP, "packages", packages.check_packages)]), (broken,)])
    return report.end()


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print all that is found as one JSON object")
    parser.add_argument("--quick", action="store_true", help="leave out what needs TensorFlow")
    parser.add_argument("--verify", action="store_true", help="read every byte of the records")
    parser.add_argument(_NODES, action="store_true", help="examine every node of a SLURM allocation, and compare them")
    parser.add_argument(_AS_NODE, action="store_true", help=argparse.SUPPRESS)  # as --nodes has srun start it


def _examine(request: "Request", arguments: argparse.Namespace) -> int:
    from harness.diagnostics import doctor, nodes

    if arguments.as_node:
        nodes.announce(os.environ)
    report = _Report(as_json=arguments.json or arguments.as_node)
    report.take(doctor.examine_quickly(request))
    if not arguments.quick:
        log.info("importing TensorFlow, and trying devices and a step ...")
        report.take(doctor.examine_thoroughly(request))
    if arguments.as_node:
        nodes.report(report.diagnosis, os.environ)
        return ExitCode.DONE
    return report.end()


def _examine_nodes(argv: Sequence[str], arguments: argparse.Namespace) -> int:
    from harness.diagnostics import comparison, nodes

    names = nodes.list_nodes(os.environ)
    log.info("examining %s; this takes as long as the slowest of them ...", " ".join(names))
    passed = [word for word in argv if word not in (_NODES, "--json", "--quiet")]
    answers = nodes.examine(names, [*passed, _AS_NODE, "--quiet"], os.environ)
    diagnosis = Diagnosis(comparison.compare(answers), f"on these {len(names)} nodes" if len(names) > 1 else "")
    if arguments.json:
        of_nodes = {
            name: node.diagnosis.as_json() | {"clock_ahead_s": round(node.ahead_s, 3)}
            for name, node in answers.reports.items()
        }
        print(json.dumps({**diagnosis.as_json(), "nodes": of_nodes}))
    else:
        page = Page.of_terminal(is_terminal=sys.stdout.isatty())
        if answers.reports:
            app.show(comparison.format_side_by_side(answers.reports, page.width) + "\n")
        print(page.format_end(diagnosis))
    return ExitCode.CLUSTER if diagnosis.problems else ExitCode.DONE


class _Report:
    """What is found, shown as it comes; as JSON at the end."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._findings: list[Finding] = []
        self._page = Page.of_terminal(is_terminal=sys.stdout.isatty())

    @property
    def diagnosis(self) -> Diagnosis:
        return Diagnosis(tuple(self._findings))

    def take(self, found: Iterable[Sequence[Finding]]) -> None:
        """Takes what each check found, and shows a group once it is complete."""
        waiting: list[Finding] = []
        for findings in found:
            for finding in findings:
                if waiting and waiting[-1].group != finding.group:
                    self._show(waiting)
                    waiting = []
                waiting.append(finding)
        self._show(waiting)

    def _show(self, group: Sequence[Finding]) -> None:
        if not self._as_json and group:
            print(("\n" if self._findings else "") + self._page.format_groups(group), flush=True)
        self._findings += group

    def end(self) -> int:
        """Prints what to do and the verdict; returns the exit code."""
        diagnosis = self.diagnosis
        print(json.dumps(diagnosis.as_json()) if self._as_json else "\n" + self._page.format_end(diagnosis))
        return ExitCode.CLUSTER if diagnosis.problems else ExitCode.DONE


if __name__ == "__main__":
    raise SystemExit(app.run(main))
