"""python -m harness.compare on hand-made runs: figures, words, what differs, and what is refused."""

import json
import re
from pathlib import Path

import pytest
from conftest import run_command_anew, run_python
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import start_run, write_run

from harness import compare
from harness.base.errors import CheckpointError, ConfigError, DataError, StorageError
from harness.comparison import comparison, page, plain_values, tables
from harness.results import predictions

GOOD = [0.9] * 8 + [0.1] * 8
WORSE = [0.2] * 7 + GOOD[7:]  # seven happy pictures are taken for sad


@pytest.fixture
def runs(tmp_path):
    one = write_run(tmp_path / "runs" / "one", WORSE)
    return one, write_run(tmp_path / "runs" / "two", GOOD, optim__learning_rate=0.01, model__widths=[8, 16])


def compare_json(capsys, *words):
    assert compare.main([*map(str, words), "--json", "--quiet"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_words_come_first_and_the_best_run_is_on_top(runs, capsys):
    assert compare.main([*map(str, runs), "--quiet"]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0] == "two, compared with one: accuracy better, log loss better"
    assert lines[2] == "on validation: 16 pictures; the highest accuracy first"
    assert lines[4].split()[:2] == ["two", "1.000"] and lines[5].split()[:2] == ["one", "0.562"]
    assert max(map(len, lines)) <= 100
    assert "optim.learning_rate" in text and "0.001" in text and "[8, 16]" in text
    assert "the runs disagree on 7 of 16 pictures" in text
    assert "happy/0.png" in text and "sad 0.80" in text


@pytest.mark.parametrize(
    ("keeps", "expected"),
    [
        (("last", "last"), "Whoever takes the better run has chosen it by these pictures, which flatters a little;"),
        (("last", "best"), "b chose the epoch by these pictures, which flatters a little;"),
        (("best", "best"), "a, b chose the epoch by these pictures, which flatters a little;"),
    ],
)
def test_only_runs_that_keep_their_best_epoch_are_said_to_have_chosen_it(
    keeps, expected, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for name, keep in zip("ab", keeps):
        write_run(Path(name), [0.9] * 12 + [0.2] * 12, train__keep=keep)

    compare.main(["a", "b"])

    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r"note: (.*?;)", said)[1] == expected


def test_json_has_everything(runs, capsys):
    found = compare_json(capsys, *runs)
    assert list(found) == [
        "measured_on",
        "num_examples",
        "num_groups",
        "class_names",
        "reference",
        "runs",
        "differences",
        "settings",
        "num_disagreements",
        "disagreements",
        "notes",
    ]
    assert (found["measured_on"], found["num_examples"], found["num_groups"]) == ("validation", 16, 16)
    assert found["reference"] == str(runs[0])
    (difference,) = found["differences"]
    assert (difference["num_won"], difference["num_lost"]) == (7, 0)
    assert difference["mcnemar_p"] == pytest.approx(2 / 2**7)
    assert difference["accuracy"]["difference"] == pytest.approx(7 / 16) and difference["accuracy"]["word"] == "better"
    # Pictures differ by 1 seven times and by 0 nine times: variance of the mean 7/16 * 9/16 / 15; t(15) is 2.13145.
    half = 2.13145 * (7 / 16 * 9 / 16 / 15) ** 0.5
    assert difference["accuracy"]["ci95"] == pytest.approx([7 / 16 - half, 7 / 16 + half], abs=1e-5)
    assert found["settings"] == {
        "model.widths": {str(runs[0]): "[16, 32, 16]", str(runs[1]): "[8, 16]"},
        "optim.learning_rate": {str(runs[0]): "0.001", str(runs[1]): "0.01"},
    }
    assert found["num_disagreements"] == len(found["disagreements"]) == 7
    assert found["disagreements"][0]["answers"][str(runs[1])] == {"predicted": "happy", "probability": 0.9}
    one = found["runs"][0]
    assert (one["accuracy"], one["num_parameters"], one["num_bytes"], one["best_epoch"]) == (0.5625, 1234, 1_500_000, 7)
    assert one["ms_a_picture"] is None  # nothing was asked


def test_it_answers_without_tensorflow(runs):
    program = (
        f"import sys\nfrom harness import compare\ncompare.main({[str(run) for run in runs]!r})\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert run_python(program).returncode == 0


def test_the_surest_mistake_that_another_run_avoids_comes_first(tmp_path, capsys):
    # Picture 1 is wrong in one run at 0.7, 2 at 0.95; 3 is right in the second run only.
    one = write_run(tmp_path / "one", [0.9, 0.3, 0.05, 0.2, 0.1, 0.1, 0.1, 0.1])
    two = write_run(tmp_path / "two", [0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1])
    found = compare_json(capsys, one, two)
    assert [picture["path"] for picture in found["disagreements"]] == ["happy/2.png", "happy/3.png", "happy/1.png"]


def test_thirty_runs_are_told_within_a_hundred_columns(tmp_path, capsys):
    roots = [
        write_run(tmp_path / f"run-with-a-long-name-{index:02d}", WORSE if index % 2 else GOOD, train__seed=index)
        for index in range(30)
    ]
    file = tmp_path / "page.html"
    assert compare.main([*map(str, roots), "--html", str(file), "--quiet"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    assert "29 runs are compared with" in text and "corrected after Holm" in " ".join(text.split())
    found = compare_json(capsys, *roots)
    # Seven pictures lost have p 1/64 = 0.015625, of which 15 are the smallest: times 29 that is 0.453.
    assert found["differences"][0]["accuracy"]["p"] == pytest.approx(29 / 64)
    assert {one["accuracy"]["word"] for one in found["differences"]} == {"not shown to differ"}
    assert file.read_text().count("run-with-a-long-name-29") > 1


def test_a_run_of_another_version_is_compared_by_the_settings_that_are_known(runs, capsys):
    one, other = runs
    environment = json.loads((other / "environment.json").read_text())
    (other / "environment.json").write_text(json.dumps(environment | {"harness": "9.8.7"}))
    text = (other / "config.yaml").read_text()
    text = text.replace("optim:\n", "optim:\n  warp: 9\n").replace("learning_rate: 0.01", "learning_rate: fast")
    (other / "config.yaml").write_text(text)
    found = compare_json(capsys, one, other)["settings"]
    assert found["optim.learning_rate"] == {str(one): "0.001", str(other): ""}
    assert "optim.warp" not in found and found["version of harness"][str(other)] == "9.8.7"
    (other / "metrics.json").write_text("{}")
    refuse(CheckpointError, runs, "metrics.json cannot be read", ". The run was made by harness 9.8.7")


def test_a_page_that_cannot_be_written_is_refused_before_runs_are_asked(runs, monkeypatch):
    monkeypatch.setattr(comparison, "load_runs", lambda roots: pytest.fail("it has begun"))
    with pytest.raises(StorageError, match=r"/proc/page\.html cannot be written"):
        compare.main([*map(str, runs), "--html", "/proc/page.html", "--quiet"])


@pytest.mark.parametrize("place", ["report.html", "", "link.html"])
def test_a_page_is_never_written_over_what_is_no_comparison(runs, tmp_path, place):
    (tmp_path / "report.html").write_text("<!doctype html>of somebody else")
    (tmp_path / "link.html").symlink_to("report.html")
    with pytest.raises(ConfigError, match=r"--html .* (is a folder|is no comparison)\. Give"):
        compare.main([*map(str, runs), "--html", str(tmp_path / place), "--quiet"])
    assert (tmp_path / "report.html").read_text() == "<!doctype html>of somebody else"


def test_a_comparison_may_be_made_again(runs, tmp_path, capsys):
    file = tmp_path / "page.html"
    for one, other in (runs, runs[::-1]):
        assert compare.main([str(one), str(other), "--html", str(file), "--quiet"]) == 0
        assert f"Differences from {one.name} on" in file.read_text()


def test_hostile_names_are_escaped(tmp_path):
    evil = write_run(tmp_path / "<script>alert(1)<" / "x", GOOD, data__images="<img src=x onerror=alert(2)>")
    file = tmp_path / "page.html"
    assert compare.main([str(write_run(tmp_path / "ok", WORSE)), str(evil), "--html", str(file), "--quiet"]) == 0
    text = file.read_text()
    assert "&lt;script&gt;" in text and "<script" not in text and "<img" not in text


def refuse(kind, words, *parts):
    with pytest.raises(kind) as caught:
        compare.main([*map(str, words), "--quiet"])
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_what_cannot_be_compared_is_refused_in_words(runs, tmp_path):
    one, two = runs
    refuse(ConfigError, [one], "there is one run only")
    refuse(ConfigError, [one, two, one], "given twice")
    link = tmp_path / "link"
    link.symlink_to(one)
    refuse(ConfigError, [one, link], "link is given twice, as")
    refuse(CheckpointError, [one, tmp_path / "none"], "is no run folder")
    refuse(CheckpointError, [one, start_run(tmp_path / "begun").root], "is not complete", "python -m harness.train")
    refuse(ConfigError, [one, two, "--clean.min_side", "9"], "--clean.min_side is about picture files")
    refuse(ConfigError, [one, two, "--records", tmp_path], "--records is about a split")


def test_runs_on_other_records_or_classes_are_refused(runs, tmp_path):
    other = write_run(tmp_path / "other", GOOD, records="b2" * 32)
    refuse(DataError, [runs[0], other], "trained on other records", "b2b2b2b2", "a1a1a1a1", "--images DIR")
    metrics = json.loads((other / "metrics.json").read_text())
    (other / "metrics.json").write_text(json.dumps({**metrics, "class_names": ["happy", "tired"]}))
    refuse(DataError, [runs[0], other], "knows other classes", "happy | tired", "happy | sad")


def test_damaged_files_are_named(runs):
    one, two = runs
    good = (two / "predictions.csv").read_text()
    (two / "predictions.csv").write_text(good[:-5])
    refuse(CheckpointError, [one, two], "predictions.csv cannot be read")
    (two / "predictions.csv").write_text("\n".join(good.splitlines()[:-1]) + "\n")
    refuse(CheckpointError, [one, two], "do not belong together", "--split validation")
    (two / "predictions.csv").write_text(good.replace("happy/3.png", "happy/33.png"))
    refuse(DataError, [one, two], "not measured on the same pictures", "happy/33.png")
    (two / "predictions.csv").unlink()
    refuse(CheckpointError, [one, two], "predictions.csv cannot be read")
    (two / "metrics.json").write_text('{"accuracy": 2}')
    refuse(CheckpointError, [one, two], "metrics.json cannot be read", "Remove metrics.json of the run")
    (two / "environment.json").write_text("{}")
    refuse(CheckpointError, [one, two], "environment.json cannot be read")


def test_a_validation_of_one_class_has_no_area(tmp_path, capsys):
    roots = []
    for name in ("one", "two"):
        root = write_run(tmp_path / name, GOOD)
        values = json.loads((root / "metrics.json").read_text())
        (root / "metrics.json").write_text(json.dumps({**values, "auc": None, "auc_ci95": None}))
        roots.append(root)
    assert compare.main([*map(str, roots), "--quiet"]) == 0
    assert "no setting differs" in (text := capsys.readouterr().out)
    assert "all runs take every picture for the same class" in text


def test_an_error_is_a_sentence_with_its_exit_code(tmp_path):
    done = run_command_anew("compare", tmp_path / "a", tmp_path / "b")
    assert done.returncode == 5 and done.stderr.count("\n") == 1 and "is no run folder" in done.stderr


NAME = st.text(max_size=60) | st.text("<>&\"'\u202e\x1b\n\ud800 =#", max_size=60)


@settings(max_examples=30)
@given(st.lists(st.tuples(NAME, NAME, NAME), min_size=1, max_size=4), st.sampled_from([2, 5]))
def test_whatever_names_hold_text_is_of_printable_lines_and_the_page_has_no_markup_of_theirs(
    tmp_path_factory, names, num_runs
):
    folder = tmp_path_factory.mktemp("drawn")
    roots = [write_run(folder / str(number), [0.9 if number % 2 else 0.2] * len(names)) for number in range(num_runs)]
    for root in roots:
        rows = predictions.read(root / "predictions.csv")
        drawn = [row._replace(path=path, group=group) for row, (path, group, _) in zip(rows, names)]
        predictions.write(root / "predictions.csv", drawn)
    environment = json.loads((roots[0] / "environment.json").read_text())
    version = names[0][2].encode(errors="replace").decode()  # JSON holds no half of a surrogate pair
    (roots[0] / "environment.json").write_text(json.dumps({**environment, "harness": version}))
    found = comparison.compare("validation", comparison.read_answers(comparison.load_runs(roots)))
    assert all(line.isprintable() for line in tables.describe(found).split("\n"))
    json.dumps(plain_values.make(found))
    tags = set(re.findall(r"<(\w+)", page.render(found).encode().decode()))
    ours = "html head meta title style body h1 h2 p nav a main section div table thead tbody tr th td span wbr"
    assert tags <= set(ours.split())
