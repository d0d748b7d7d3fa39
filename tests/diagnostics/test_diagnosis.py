"""What was found as a page, as an object and in one sentence; and nodes beside one another."""

import base64
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import ClusterError, ConfigError
from harness.base.text import count, format_bytes
from harness.diagnostics import comparison, nodes
from harness.diagnostics.checks.finding import Finding
from harness.diagnostics.diagnosis import Diagnosis, Page
from harness.diagnostics.nodes import Answers, Collector, NodeReport

CORES = Finding("machine", "cores", "ok", "2 of 2", values={"usable": 2})
DEVICES = Finding("tensorflow", "devices", "ok", "/cpu:0", values={"devices": ["/cpu:0"]})
LITTLE = Finding("memory", "memory", "warning", "1.5 GB free", "End what holds it.")
BROKEN = Finding("gpus", "driver", "problem", "nvidia-smi fails with 18", "Have it mended.")


def test_a_warning_without_a_fix_is_a_fault():
    with pytest.raises(ValueError, match="is a warning without a fix"):
        Finding("memory", "memory", "warning", "little")


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        *[(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9940, "9.9 kB"), (9960, "10 kB"), (999_600, "1.0 MB")],
        *[(24_700_000_000, "25 GB"), (3_456_000_000_000, "3.5 TB"), (5_000_000_000_000_000, "5,000 TB")],
    ],
)
def test_sizes_are_short(num_bytes, text):
    assert format_bytes(num_bytes) == text


def test_numbers_have_their_plural():
    assert (count(1, "GPU"), count(2, "GPU"), count(1200, "file")) == ("1 GPU", "2 GPUs", "1,200 files")


@pytest.mark.parametrize(
    ("findings", "status", "verdict"),
    [
        ((CORES, DEVICES), "ok", "A training will run here on 2 processors; no warning."),
        ((CORES, DEVICES, LITTLE), "warning", "A training will run here on 2 processors; 1 warning."),
        ((DEVICES, LITTLE, BROKEN), "problem", "A training as asked will not run here: 1 problem, 1 warning."),
        ((CORES,), "ok", "Nothing speaks against a training here as far as was looked: no warning."),
    ],
)
def test_the_verdict_is_one_sentence(findings, status, verdict):
    told = Diagnosis(findings).as_json()
    assert (told["status"], told["verdict"]) == (status, verdict)


def test_what_several_checks_came_upon_counts_once():
    again = Finding("training", "settings", "problem", BROKEN.found, BROKEN.fix)
    assert Diagnosis((BROKEN, LITTLE, again)).problems == (BROKEN,)


def test_devices_are_counted_by_their_kind():
    def on(*names: str) -> str:
        found = Finding("tensorflow", "devices", "ok", "", values={"devices": list(names)})
        return Diagnosis((CORES, found)).verdict

    assert on("/gpu:0", "/gpu:1") == "A training will run here on 2 GPUs; no warning."
    assert on("/cpu:0", "/cpu:1") == "A training will run here on 2 processors as 2 devices; no warning."


def test_the_object_has_the_documented_keys_and_can_be_read_again():
    told = json.loads(json.dumps(Diagnosis((CORES, BROKEN)).as_json()))
    assert list(told) == ["format", "status", "verdict", "num_problems", "num_warnings", "checks"]
    assert told["format"] == 1 and (told["num_problems"], told["num_warnings"]) == (1, 0)
    assert told["checks"][1] == {
        "group": "gpus",
        "name": "driver",
        "status": "problem",
        "found": "nvidia-smi fails with 18",
        "fix": "Have it mended.",
        "values": {},
    }
    assert Diagnosis.from_json(told) == Diagnosis((CORES, BROKEN))


def test_a_page_has_headings_columns_and_wrapped_lines():
    long = Finding("memory", "shared memory", "ok", "words " * 12)
    assert Page(60).format_groups([CORES, LITTLE, long]) == (
        "machine\n"
        "  ok       cores  2 of 2\n"
        "\n"
        "memory\n"
        "  warning  memory         1.5 GB free\n"
        "  ok       shared memory  words words words words words\n"
        "                          words words words words words\n"
        "                          words words"
    )


def test_the_end_repeats_problems_first_with_what_to_do():
    assert Page(80).format_end(Diagnosis((LITTLE, BROKEN))) == (
        "What to do\n"
        " 1. gpus, driver: nvidia-smi fails with 18\n"
        "    -> Have it mended.\n"
        " 2. memory, memory: 1.5 GB free\n"
        "    -> End what holds it.\n"
        "\n"
        "A training as asked will not run here: 1 problem, 1 warning."
    )
    assert Page(80).format_end(Diagnosis((CORES, DEVICES))) == "A training will run here on 2 processors; no warning."


def test_names_from_outside_cannot_move_the_cursor():
    odd = Finding("storage", "run", "ok", "runs/\x1b[2J\nnew")
    assert Page(80).format_groups([odd]) == "storage\n  ok       run  runs/\\x1b[2J\\nnew"


@given(st.lists(st.text(max_size=90), min_size=1, max_size=4), st.integers(60, 120))
def test_no_line_is_wider_than_the_page_unless_a_word_is(texts, width):
    findings = [Finding("group", "name", "problem", text, text + ".") for text in texts]
    for page in (Page(width).format_groups(findings), Page(width).format_end(Diagnosis(tuple(findings)))):
        assert max(map(len, page.splitlines())) <= width


def test_colours_are_for_terminals_that_want_them(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31;1mPROBLEM\x1b[0m" in Page.of_terminal(is_terminal=True).format_groups([BROKEN])
    assert "\x1b" not in Page.of_terminal(is_terminal=False).format_groups([BROKEN])
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in Page.of_terminal(is_terminal=True).format_groups([BROKEN])


def node(version="2.21.0", numpy="2.4.6", ahead_s=0.0, gpus=("Tesla T4",), others=()):
    findings = (
        Finding("software", "tensorflow", "ok", version, values={"version": version}),
        Finding("software", "packages", "ok", "", values={"numpy": numpy, "keras": "3.15.1"}),
        Finding("memory", "memory", "ok", "", values={"total_bytes": 64_000_000_000}),
        *(Finding("gpus", f"gpu {place}", "ok", name, values={"name": name}) for place, name in enumerate(gpus)),
        *others,
    )
    return NodeReport(Diagnosis(findings), ahead_s)


def test_nodes_that_are_alike_have_nothing_to_tell():
    assert comparison.compare(Answers({"n1": node(), "n2": node(ahead_s=0.4)})) == ()


def test_what_differs_is_told_with_the_nodes():
    reports = {"n1": node(), "n2": node(version="2.20.0", ahead_s=-90.0), "n3": node(gpus=(), numpy="2.3.0")}
    found = {one.name: (one.status, one.found) for one in comparison.compare(Answers(reports))}
    assert found == {
        "TensorFlow": ("problem", "2.21.0 on n1 n3; 2.20.0 on n2"),
        "GPUs": ("problem", "1 Tesla T4 on n1 n2; none on n3"),
        "numpy": ("warning", "2.4.6 on n1 n2; 2.3.0 on n3"),
        "clock": ("warning", "beside this machine's: n2 -90.0 s"),
    }


def test_a_silent_node_is_named_with_what_was_said():
    answers = Answers({"n1": node()}, ("n2", "n4"), "srun: error: n2\nsrun: error: Unable to create step")
    (found,) = comparison.compare(answers)
    assert (found.status, found.values) == ("problem", {"missing": ["n2", "n4"]})
    assert found.found == "no answer from n2 n4; the last that was said: srun: error: Unable to create step"


def test_what_several_nodes_found_is_told_once():
    reports = {"n1": node(others=(LITTLE,)), "n2": node(others=(LITTLE, BROKEN)), "n3": node()}
    told = [(one.status, one.found) for one in comparison.compare(Answers(reports))]
    assert told == [("warning", "on n1 n2: 1.5 GB free"), ("problem", "on n2: nvidia-smi fails with 18")]


def test_nodes_stand_side_by_side_with_a_mark_where_they_differ():
    table = comparison.format_side_by_side({"n1": node(), "n2": node(version="2.20.0")}, 100).splitlines()
    assert table[0].split() == ["n1", "n2"]
    marked = [line.split()[0] for line in table if line.endswith("<- differs")]
    assert marked == ["TensorFlow"]
    assert next(line.split() for line in table if line.startswith("memory")) == ["memory", "64", "GB", "64", "GB"]


def test_many_nodes_that_are_alike_share_a_column():
    reports = {f"node{index:03d}": node() for index in range(100)} | {"odd": node(version="2.20.0")}
    table = comparison.format_side_by_side(reports, 80).splitlines()
    assert "node000 and 99 alike" in table[0] and table[0].split()[-1] == "odd"
    assert max(map(len, table)) <= 80


def lines_of(report: Diagnosis, name: str, capsys) -> list[bytes]:
    nodes.report(report, {"SLURMD_NODENAME": name})
    return capsys.readouterr().out.encode().splitlines()


def test_reports_whose_lines_are_mixed_come_together_again(capsys):
    first, second = node().diagnosis, node(version="2.20.0", others=(LITTLE,) * 20).diagnosis
    lines = [*lines_of(first, "n1", capsys), *lines_of(second, "n2", capsys)]
    assert len(lines) > 4 and max(map(len, lines)) < 1000
    collector, now = Collector(), float(lines[0].split()[4])
    completed = [collector.take(line, now + 0.1) for line in [b"srun: hello", *lines[::2], *lines[1::2]]]
    assert sorted(filter(None, completed)) == ["n1", "n2"]
    assert {name: one.diagnosis for name, one in collector.reports.items()} == {"n1": first, "n2": second}
    assert collector.said == ["srun: hello"] and -1 < collector.reports["n1"].ahead_s < 1


@pytest.mark.parametrize(
    "content", [b"!!!", base64.b64encode(b"{}"), base64.b64encode(b"[1]"), base64.b64encode(b'{"checks": [{"a": 1}]}')]
)
def test_a_report_that_is_none_is_said_not_raised(content):
    collector = Collector()
    assert collector.take(b"harness-doctor n1 0 1 12.5 " + content, 12.5) == ""
    assert collector.reports == {} and collector.said == ["a line of n1 was cut"]


def test_a_node_that_has_begun_is_known_before_it_answers(capsys):
    nodes.announce({"SLURMD_NODENAME": "n7"})
    collector = Collector()
    assert collector.take(capsys.readouterr().out.encode(), 0.0) == ""
    assert collector.begun == {"n7"} and collector.reports == {} and collector.said == []


@given(st.binary(max_size=80))
def test_lines_of_any_content_raise_nothing(line):
    Collector().take(line, 0.0)
    Collector().take(b"harness-doctor " + line, 0.0)


def test_nodes_are_those_of_an_allocation():
    inside = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-3]"}
    assert nodes.list_nodes(inside) == ("n1", "n2", "n3")
    with pytest.raises(ConfigError, match=r"no SLURM_JOB_NODELIST\)\. Get one with salloc"):
        nodes.list_nodes({})
    with pytest.raises(ConfigError, match="leave out the srun"):
        nodes.list_nodes(inside | {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "3"})
    with pytest.raises(ClusterError, match="SLURM_JOB_NODELIST is 'n\\[3-1\\]'"):
        nodes.list_nodes(inside | {"SLURM_JOB_NODELIST": "n[3-1]"})


@pytest.mark.parametrize(
    ("environment", "cores"), [({"SLURM_CPUS_PER_TASK": "16"}, ["--cpus-per-task=16"]), ({"SLURM_NTASKS": "2"}, [])]
)
def test_each_node_gets_the_cores_of_a_task_of_the_job(tmp_path, monkeypatch, environment, cores):
    """Of what srun is told: with a SLURM that binds no task it makes no difference."""
    srun = tmp_path / "srun"
    srun.write_text('#!/bin/sh\necho "$*"\n')
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    answers = nodes.examine(("n1", "n2"), ("--quick",), environment)
    assert answers.missing == ("n1", "n2")
    together, first, second = map(str.split, answers.said.splitlines())
    assert "--nodelist=n1,n2" in together and {"--nodelist=n1", "--nodelist=n2"} <= {*first, *second}
    for words in (together, first, second):
        assert [word for word in words if word.startswith("--cpus-per-task")] == cores
        assert words[-3:] == ["-m", "harness.doctor", "--quick"]
