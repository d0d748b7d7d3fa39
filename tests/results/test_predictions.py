"""predictions.csv: what was said of each picture comes back to the bit, and a file of another form is refused."""

import json

import numpy as np
import pytest
from conftest import read_findings, run_python
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import CheckpointError, DataError
from harness.dataset.records import tfrecord
from harness.input.expected import Expected
from harness.input.loaded_split import Split
from harness.results import metrics, predictions
from harness.results.predictions import Prediction
from harness.runs.workdir import Workdir

NAMES = ("happy", "sad")
CHANCES = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]], np.float32)


def write_split(folder, origins) -> Split:
    """A split of records whose pictures cannot be decoded, in two shards."""
    examples = [
        tfrecord.encode_example({tfrecord.IMAGE: b"none", tfrecord.FILENAME: path, tfrecord.GROUP: group})
        for path, group in origins
    ]
    halves = {str(folder / "0"): examples[:1], str(folder / "1"): examples[1:]}
    for path, half in halves.items():
        tfrecord.write_shard(folder / path, half)
    shards = tuple((path, len(half)) for path, half in halves.items())
    return Split(len(examples), shards, Expected(2, "raw", NAMES))


def test_pictures_come_in_the_order_of_the_records_with_both_probabilities(tmp_path):
    split = write_split(tmp_path, [(b"happy/2.png", b"one"), ("happy/ü, 1.png".encode(), b""), (b"sad/1.png", b"two")])
    found = predictions.collect(split, NAMES, np.array([0, 0, 1], np.int32), CHANCES)
    exact = [[float(value) for value in row] for row in CHANCES]
    assert found == (
        Prediction("happy/2.png", "one", "happy", "happy", exact[0][0], exact[0][0]),
        Prediction("happy/ü, 1.png", "", "happy", "sad", exact[1][1], exact[1][0]),
        Prediction("sad/1.png", "two", "sad", "sad", exact[2][1], exact[2][1]),
    )


def test_damaged_records_are_told(tmp_path):
    split = write_split(tmp_path, [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")])
    content = (tmp_path / "1").read_bytes()
    (tmp_path / "1").write_bytes(content[:-1])
    with pytest.raises(DataError, match="1 is damaged in record 1"):
        predictions.collect(split, NAMES, np.array([0, 0, 1]), CHANCES)


NAME = st.text(st.characters(exclude_characters="\0", codec=None)) | st.text("'=+-@\t\r\n\", a\ud800\udc80")
PAIR = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)


@given(st.lists(st.tuples(NAME, NAME, NAME, NAME, PAIR), min_size=1, max_size=5))
def test_whatever_names_hold_comes_back_and_probabilities_to_the_bit(tmp_path_factory, drawn):
    path = tmp_path_factory.mktemp("run") / "predictions.csv"
    written = tuple(Prediction(*names, high, low) for *names, (low, high) in drawn)
    predictions.write(path, written)
    assert predictions.read(path) == written


HEADER = "path,group,label,predicted,probability,label_probability\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "its columns are not path, group, label, predicted, probability, label_probability"),
        (b"path,group\n", "its columns are not"),
        (HEADER.encode(), "it has no row"),
        (f"{HEADER}a,b,c,d,1\n".encode(), "picture 1 has 5 columns, expected 6"),
        (f"{HEADER}a,b,c,c,1,1\na,b,c,d,high,0\n".encode(), "picture 2 has a probability that is no number"),
        (f"{HEADER}a,b,c,d,nan,0\n".encode(), "picture 1 has a probability that is not from 0 to 1"),
        (f"{HEADER}a,b,c,d,1.5,0\n".encode(), "picture 1 has a probability that is not from 0 to 1"),
        (f"{HEADER}a,b,c,d,0.5,0.6\n".encode(), "or below that of its own class"),
        (HEADER.encode() + b"\xff,b,c,d,1,0\n", "codec can't decode"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, content, expected):
    path = tmp_path / "predictions.csv"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"predictions\.csv cannot be read: .*{expected}.* Remove metrics"):
        predictions.read(path)


def test_a_run_without_them_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"predictions\.csv cannot be read: No such file"):
        predictions.read(tmp_path / "predictions.csv")
    with pytest.raises(CheckpointError, match="it is no file"):
        predictions.read(tmp_path)


def test_a_run_says_of_each_validation_picture_what_its_figures_come_from(smoke_run, face_records):
    found = predictions.read(Workdir(smoke_run).predictions)
    findings = read_findings(face_records)
    expected = {
        path: (row["group"], row["class_name"]) for path, row in findings.items() if row["split"] == "validation"
    }
    assert {row.path: (row.group, row.label) for row in found} == expected and len(found) == 4
    measured = json.loads(Workdir(smoke_run).metrics.read_text())
    assert sum(row.label == row.predicted for row in found) / 4 == measured["accuracy"]
    assert metrics.cross_entropy(np.array([row.label_probability for row in found])).mean() == measured["loss"]


def test_reading_predictions_loads_no_tensorflow():
    program = "import harness.results.predictions, sys; sys.exit('tensorflow' in sys.modules)"
    assert run_python(program).returncode == 0
