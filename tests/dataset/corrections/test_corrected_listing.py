"""Which labels a table of corrections changes in a listing, and which tables are refused, with what is said."""

from pathlib import Path

import pytest

from harness.base.errors import DataError
from harness.config.dataset_sections import DataConfig
from harness.dataset.corrections import corrected_listing
from harness.dataset.images.rejection import Reason
from harness.dataset.listing.listed import Listed, Listing
from harness.dataset.listing.pictures import list_pictures

FILES = ("cat/1.jpg", "cat/2.jpg", "cat/deep/3.jpg", "dog/1.jpg", "dog/4.jpg", "fox/5.jpg", "fox/6.jpg")


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"never opened")
    return folder


@pytest.fixture
def pets(tmp_path) -> Path:
    return write(tmp_path / "pets", *FILES)


def correct(images: Path, text: str | bytes, **data) -> Listing:
    (images / "corrections.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    config = DataConfig.model_validate({"images": images, **data})
    return corrected_listing.correct(list_pictures(config), "corrections.csv", config)


def refuse(images: Path, text: str | bytes, **data) -> str:
    with pytest.raises(DataError) as refused:
        correct(images, text, **data)
    return str(refused.value)


def test_only_the_named_pictures_have_another_label(pets):
    found = correct(pets, "path,label,reason\ncat/1.jpg,dog,a puppy\nfox/5.jpg,,two animals\ndog/4.jpg,dog,sure\n")
    assert sorted(found.pictures) == [
        Listed("cat/1.jpg", "dog", label_was="cat", label_reason="a puppy"),
        Listed("cat/2.jpg", "cat"),
        Listed("cat/deep/3.jpg", "cat"),
        Listed("dog/1.jpg", "dog"),
        Listed("dog/4.jpg", "dog", label_was="dog", label_reason="sure"),
        Listed("fox/6.jpg", "fox"),
    ]
    [left_out] = found.left_out
    assert left_out == (
        Listed("fox/5.jpg", "fox", label_was="fox", label_reason="two animals"),
        Reason.LEFT_OUT,
        "no label in line 3 of corrections.csv: two animals",
        "a label",
    )
    assert found.lines == ("labels by corrections.csv: 1 changed, 1 confirmed, 1 picture left out",)
    assert found.class_names == ("cat", "dog", "fox")


@pytest.mark.parametrize(
    "text",
    [
        b"path,label\ncat/1.jpg,dog\n",
        b"\xef\xbb\xbfpath,label\r\ncat/1.jpg,dog\r\n",
        b"\xef\xbb\xbfPath;Label;Reason\r\ncat/1.jpg;dog;\r\n",
        b"label,reason,path\n dog ,, cat/1.jpg \n\n",
        "path,label\ncat/1.jpg,dog\n".encode("utf-16"),
        b'path,label\n"cat/1.jpg","dog"\ncat/1.jpg,dog\n',
    ],
    ids=["plain", "mark and CRLF", "semicolons", "other order", "UTF-16", "said twice"],
)
def test_the_table_may_be_written_as_spreadsheets_write_it(pets, text):
    found = correct(pets, text)
    assert found.by_path["cat/1.jpg"] == Listed("cat/1.jpg", "dog", label_was="cat")
    assert sum(item.label_was != "" for item in found.pictures) == 1


def test_names_that_a_table_escapes_or_cuts_are_found(tmp_path):
    images = write(tmp_path / "odd", "=a/1.jpg", "=a/ü.jpg", " b/+1.jpg", " b/2.jpg ", "=a/3.jpg", " b/4.jpg")
    found = correct(images, "path,label\n'=a/1.jpg,b\n=a/u\u0308.jpg,b\nb/2.jpg,'=a\n")
    assert {item.path: item.class_name for item in found.pictures if item.label_was} == {
        "=a/1.jpg": " b",
        "=a/ü.jpg": " b",
        " b/2.jpg ": "=a",
    }


def test_labels_are_those_of_the_merged_classes(pets):
    wanted = {"pet": ["cat", "dog"], "wild": ["fox"]}
    found = correct(pets, "path,label\ncat/1.jpg,wild\ndog/1.jpg,pet\n", classes=wanted)
    assert {item.path: (item.label_was, item.class_name) for item in found.pictures if item.label_was} == {
        "cat/1.jpg": ("pet", "wild"),
        "dog/1.jpg": ("pet", "pet"),
    }
    told = refuse(pets, "path,label\nfox/5.jpg,cat\n", classes=wanted)
    assert told == (
        "corrections.csv, line 2: 'cat' is no class: expected pet | wild, or an empty cell to leave the picture out. "
        "data.classes merges it into 'pet': write that."
    )
    told = refuse(pets, "path,label\nfox/5.jpg,cat\n", classes=["cat", "dog"])
    assert "line 2: 'fox/5.jpg' is no picture in " in told and "of a class that data.classes takes" in told


def test_given_splits_and_groups_stay(tmp_path):
    images = write(tmp_path / "s", *(f"{split}/{name}" for split in ("train", "test") for name in FILES))
    found = correct(images, "path,label\ntest/cat/1.jpg,dog\n")
    assert found.by_path["test/cat/1.jpg"] == Listed("test/cat/1.jpg", "dog", "test", label_was="cat")
    flat = write(tmp_path / "flat", "a.jpg", "b.jpg", "c.jpg")
    (flat / "labels.csv").write_text("path,label,patient\na.jpg,cat,ann\nb.jpg,dog,ben\nc.jpg,,ben\n")
    told = refuse(flat, "path,label\nc.jpg,dog\n", labels="labels.csv")
    assert told == (
        "corrections.csv, line 2: 'c.jpg' has no label that could be corrected: it is unlabelled (line 4 of labels.csv "
        "has no label). No setting takes it: write its label into the table if it is meant."
    )
    (flat / "labels.csv").write_text("path,label,patient\na.jpg,cat,ann\nb.jpg,dog,ben\nc.jpg,dog,ben\n")
    found = correct(flat, "path,label\nc.jpg,cat\n", labels="labels.csv")
    assert found.by_path["c.jpg"] == Listed("c.jpg", "cat", "", "ben", "dog")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "",
            "corrections.csv has no header path,label: its first line has nothing. Put path,label or path,label,reason",
        ),
        ("cat/1.jpg,dog\n", "corrections.csv has no header path,label: its first line has cat/1.jpg, dog. Put"),
        ("path,class\ncat/1.jpg,dog\n", "has no header path,label: its first line has path, class"),
        (
            "path,label,raeson\ncat/1.jpg,dog,x\n",
            "has the column 'raeson' in its first line: expected path,label or path,label,reason. Rename or remove it. "
            "Did you mean 'reason'?",
        ),
        ("path,label,label\ncat/1.jpg,dog,fox\n", "corrections.csv has the column label 2 times. Rename all but one."),
        ("path,label\ncat/1.jpg,dog,fox\n", "corrections.csv, line 2, has 3 cells"),
        (
            "path,label\ncat/2.jpg,dog\ncat/1.jpg,Dgo\n",
            "corrections.csv, line 3: 'Dgo' is no class: expected cat | dog | fox, or an empty cell to leave the "
            "picture out. Did you mean 'dog'?",
        ),
        ("path,label\ncat/1.jpg,zebra\n", "line 2: 'zebra' is no class: expected cat | dog | fox, or an empty cell to"),
        ("path,label\ncat/9.jpg,dog\n", "corrections.csv, line 2: 'cat/9.jpg' is no picture in "),
        (
            "path,label\n3.jpg,dog\n",
            "as cleaning.csv has it. Correct or remove the line. Did you mean 'cat/deep/3.jpg'?",
        ),
        ("path,label\n.\\Cat\\2.JPG,dog\n", "Did you mean 'cat/2.jpg'?"),
        ("path,label\nx/pets/dog/1.jpg,dog\n", "Did you mean 'dog/1.jpg'?"),
        ("path,label\n,dog\n", "corrections.csv, line 2, has an empty path. Write the picture's there, or remove"),
        ("path,label\ncat/../dog/1.jpg,dog\n", "line 2: 'cat/../dog/1.jpg' leads out of the images folder."),
        ("path,label\n../pets/dog/1.jpg,dog\n", "line 2: '../pets/dog/1.jpg' leads out of the images folder."),
        ("path,label\n/etc/passwd,dog\n", "line 2: '/etc/passwd' leads out of the images folder. Write the path below"),
        (
            "path,label\ncat/1.jpg,dog\ncat/2.jpg,dog\ncat/1.jpg,fox\n",
            "corrections.csv, line 4: 'cat/1.jpg' has the label 'fox' here and 'dog' in line 2. Remove one of the",
        ),
        ("path,label\ncat/1.jpg,dog\ncat/1.jpg,\n", "line 3: 'cat/1.jpg' has the label '' here and 'dog' in line 2."),
        (b"path,label\ncat/1.jpg,dog\ncat/2.jpg,d\xf6g\n", "cannot be read: line 3 is not valid UTF-8: save it as CSV"),
        (b'path,label\ncat/1.jpg,"dog\n', "cannot be read: line 2: "),
        (b"path,label\ncat/1.jpg,d\0g\n", "cannot be read: it holds null characters"),
        (
            "path,label\nfox/5.jpg,cat\nfox/6.jpg,\n",
            "corrections.csv leaves the class 'fox' without a picture: 1 changed, 0 confirmed, 1 picture left out. "
            "Remove lines of it, or merge the class into another with data.classes.",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(pets, text, told):
    assert told in refuse(pets, text)


def test_a_table_that_is_not_there_is_named(pets):
    config = DataConfig(images=pets)
    with pytest.raises(
        DataError, match=r"clean\.labels needs .*/corrections\.csv, which cannot be read: there is no suc"
    ):
        corrected_listing.correct(list_pictures(config), "corrections.csv", config)


def test_a_cell_that_may_be_two_classes_is_refused(tmp_path):
    images = write(tmp_path / "odd", "a/1.jpg", "a /2.jpg", "b/3.jpg")
    told = refuse(images, "path,label\nb/3.jpg,a\n", classes=["a", "a ", "b"])
    assert told == "corrections.csv, line 2: 'a' may be 'a' or 'a '. Rename one of them."
