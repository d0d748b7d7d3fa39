"""Listings from tables of labels as users and published sets bring them."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.base.errors import DataError
from harness.config.dataset_sections import DataConfig
from harness.dataset.images.rejection import Reason
from harness.dataset.listing.labels import list_labelled
from harness.dataset.listing.listed import Listed
from harness.dataset.listing.pictures import list_pictures

NAMES = ("a.jpg", "b.jpg", "c.png", "deep/er/d.jpg")


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / "flat"
    for name in NAMES:
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).write_bytes(b"never opened")
    return images


def read(folder, text: str | bytes, labels: str = "labels.csv"):
    (folder / "labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return list_labelled(folder, labels)


def classes_of(listing) -> dict[str, str]:
    return {picture.path: picture.class_name for picture in listing.pictures}


CATS = {"a.jpg": "cat", "b.jpg": "dog", "c.png": "cat", "deep/er/d.jpg": "dog"}


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na.jpg,cat\nb.jpg,dog\nc.png,cat\ndeep/er/d.jpg,dog\n",
        "image_id;Breed;weight\na;cat;1,5\nb;dog;\nc;cat;2,5\nd;dog;3\n",
        ",Filename,Label,ClassName\n0,a.jpg,0,cat\n1,b.jpg,1,dog\n2,c.png,0,cat\n3,deep\\er\\d.jpg,1,dog\n",
        "Filename\tkind\nflat/a.jpg\tcat\nflat/b.jpg\tdog\nflat/c.png\tcat\nflat/deep/er/d.jpg\tdog\n",
        "filename, cat, dog\na.jpg, 1, 0\nb.jpg, 0, 1\nc.png, 1, 0\nd.jpg, 0, 1\n",
        "image,cat,dog,age\na,1.0,0.0,7\nb,0.0,1.0,8\nc,1.0,0.0,7\nd,0.0,1.0,9\n",
        "Datei;Sorte\nflat\\a.jpg;cat\nb.jpg;dog\nc.PNG;cat\nd.jpg;dog\n",
        "path,label,cat,dog\na.jpg,cat,1,1\nb.jpg,dog,1,1\nc.png,cat,0,0\nd.jpg,dog,0,0\n",
    ],
    ids=[
        "plain",
        "no endings",
        "two names",
        "other columns",
        "one-hot",
        "one-hot beside others",
        "another language",
        "label first",
    ],
)
def test_labels_are_found_in_the_tables_that_people_have(folder, text):
    found = read(folder, text)
    assert classes_of(found) == CATS and found.class_names == ("cat", "dog")
    assert found.left_out == () and found.warnings == () and found.depth == 0


def test_a_column_can_be_named(folder):
    text = "path,label,Kind\na.jpg,1,cat\nb.jpg,1,dog\nc.png,2,cat\nd.jpg,2,dog\n"
    assert classes_of(read(folder, text, "labels.csv:kind")) == CATS
    with pytest.raises(DataError, match=r"labels.csv has no column 'sort' for data.labels; it has path, label, Kind"):
        read(folder, text, "labels.csv:sort")


def test_groups_and_splits_come_along(folder):
    rows = "a.jpg,cat,p1,Training\nb.jpg,dog,p1,TRAIN\nc.png,cat,p2,val \nd.jpg,dog,,testing\n"
    found = read(folder, f"path,label,Patient ID,Split\n{rows}")
    assert found.pictures == (
        Listed("a.jpg", "cat", "train", "p1"),
        Listed("b.jpg", "dog", "train", "p1"),
        Listed("c.png", "cat", "validation", "p2"),
        Listed("deep/er/d.jpg", "dog", "test", ""),
    )
    assert found.group_rule == "column 'Patient ID' of labels.csv"
    assert found.lines == (
        "labels: column 'label' of labels.csv, pictures by 'path', splits by 'Split', groups by 'Patient ID'",
    )


def test_what_goes_without_a_label_is_counted_and_listed(folder):
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.jpg").write_text("no picture")
    found = read(folder, "path,label\na.jpg,cat\nb.jpg,dog\nc.png,\nx/y.jpg,cat\nz.jpg,fox\nz.jpg,fox\n,cat\n")
    assert classes_of(found) == {"a.jpg": "cat", "b.jpg": "dog"}
    assert [(item.file.path, item.file.class_name, item.reason, item.measured) for item in found.left_out] == [
        (".hidden.jpg", "", Reason.SYSTEM_FILE, ".hidden.jpg"),
        ("deep/er/d.jpg", "", Reason.UNLISTED, "not in labels.csv"),
        ("c.png", "", Reason.UNLABELLED, "line 4 of labels.csv has no label"),
        ("x/y.jpg", "cat", Reason.MISSING, "line 5 of labels.csv"),
        ("z.jpg", "fox", Reason.MISSING, "line 6 of labels.csv"),
    ]
    assert found.warnings == (
        "rows of labels.csv that name no picture: 4, such as line 5: 'x/y.jpg', line 6: 'z.jpg', line 7: 'z.jpg'. "
        "Put the files there, or correct the paths.",
        "files that are not in labels.csv: 1, such as 'deep/er/d.jpg'. Add rows with their labels if they are meant.",
        "pictures without a label in labels.csv: 1, such as 'c.png'. Write it there if they are meant.",
        "no picture is there of the classes fox of labels.csv.",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "path,label\nx.jpg,cat\ny.jpg,dog\n",
            r"names none of the 4 pictures of .*line 2: 'x.jpg'.*pictures are 'a.jpg', ",
        ),
        ("path,label\na.jpg,\nb.jpg,\n", "labels.csv has no label for any picture"),
        (
            "a.jpg,cat\nb.jpg,dog\n",
            r"needs a column path .* it has the columns a.jpg, cat. Put a first line such as path,la",
        ),
        ("foto,rasse\na,cat\nb,dog\n", "it has the columns foto, rasse. Rename the column that does"),
        ("foto,maske\na.jpg,a.png\nb.jpg,b.png\n", "it has the columns foto, maske. Rename the column that does"),
        (
            "2\nmale smiling\na.jpg -1  1\nb.jpg  1 -1\n",
            "has one column, 2, by its first line: expected columns separat",
        ),
        (
            "apple/1\npear/2\n",
            "has one column, apple/1, by its first line: expected .* such as path,label. Save it so.",
        ),
        ("path,label\n", "it has no rows"),
        ("", "it has no rows"),
        (
            "path,a,b\na.jpg,x,1\n",
            r"no column that is plainly the label; it has path, a, b. .* --data.labels labels.csv:a",
        ),
        (
            "path,split,patient\na.jpg,train,1\nb.jpg,test,2\n",
            r"it has path, split, patient. Say which: --data.labels labels.csv:COLUMN$",
        ),
        (
            "Datei;Größe;Diagnose;Ort\na.jpg;1,5;x;Ulm\nb.jpg;2,5;y;Ulm\nc.png;3,5;x;Ulm\n",
            r"it has Datei, Größe, Diagnose, Ort. Say which: --data.labels labels.csv:Diagnose$",
        ),
        (
            "path,target,species\na.jpg,1,x\nb.jpg,1,y\nc.png,2,x\n",
            r"several columns that may be the label: target | species",
        ),
        ("path,cat,dog\na.jpg,1,0\nb.jpg,1,1\n", "line 3, has a 1 in 2 of the columns cat, dog: expected exactly one"),
        ("path,cat,dog\na.jpg,1,0\nb.jpg,0,0\n", "line 3, has a 1 in 0 of the columns cat, dog: expected exactly one"),
        (
            "path,label,split\na.jpg,cat,train\nb.jpg,dog,7\n",
            "line 3: the column 'split' has '7'; expected train, valid",
        ),
        ("path,label,split\na.jpg,cat,train\nb.jpg,dog,\n", "line 3: b.jpg has a label and no split. Fill in split"),
        ("path,label\na.jpg,cat\na,dog\n", "names a.jpg twice: its label is 'cat' in line 2 and 'dog' in line 3"),
        ("path,label\nbig, a.jpg,cat\n", "labels.csv, line 2, has 3 cells and the first line names 2 columns"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(folder, text, expected):
    with pytest.raises(DataError, match=expected):
        read(folder, text)


def test_a_column_that_only_seems_to_be_a_split_is_said(folder):
    found = read(folder, "path,label,Usage\na.jpg,cat,home\nb.jpg,dog,work\n")
    assert found.lines[0].endswith("'Usage' is no split, as it has 'home'")
    assert {picture.split for picture in found.pictures} == {""}


def test_one_label_or_a_label_for_every_picture_is_refused(folder, tmp_path):
    (folder / "labels.csv").write_text("path,label\na.jpg,cat\nb.jpg,cat\n")
    with pytest.raises(DataError, match=r"every picture in .* has the label 'cat'"):
        list_pictures(DataConfig(images=folder, labels="labels.csv"))
    for number in range(20):
        (folder / f"{number}.jpg").write_bytes(b"x")
    rows = "".join(f"{number}.jpg,n{number}\n" for number in range(20))
    with pytest.raises(DataError, match=r"there are 20 labels for 20 pictures .*these are no classes"):
        read(folder, f"path,nickname\n{rows}")


def test_a_table_is_looked_for_in_the_images_folder_and_then_in_the_current_one(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    (folder.parent / "other.csv").write_text("path,label\na.jpg,cat\nb.jpg,dog\n")
    assert list_labelled(folder, "other.csv").lines == ("labels: column 'label' of ./other.csv, pictures by 'path'",)
    (folder / "other.csv").write_text("path,label\nc.png,cat\nb.jpg,dog\n")
    assert "c.png" in classes_of(list_labelled(folder, "other.csv"))
    with pytest.raises(
        DataError, match=r"data.labels needs .*nowhere.csv, which cannot be read: there is no such file"
    ):
        list_labelled(folder, "nowhere.csv")
    with pytest.raises(DataError, match=r"data.labels is 'label': expected a table such as labels.csv"):
        list_labelled(folder, "label")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    st.binary(max_size=60)
    | st.text("path,label;split\n\r\t\"'=01a.bjpg\0é", max_size=80).map(lambda text: f"path,label{text}".encode())
)
def test_no_table_ends_in_anything_but_a_listing_or_one_sentence(folder, content):
    try:
        found = read(folder, content)
    except DataError as error:
        assert "labels" in str(error)
    else:
        paths = [picture.path for picture in found.pictures] + [item.file.path for item in found.left_out]
        assert sorted(path for path in paths if (folder / path).is_file()) == sorted(NAMES)
        assert len(paths) == len(set(paths))


@pytest.mark.parametrize(
    ("text", "is_doubted"),
    [
        ("image_id,dx\n1,nv\n2,mel\n3,nv\n", True),
        ("path;label\npart_1\\1.jpg;nv\npart_2\\3.jpg;mel\n", True),
        ("path,label\n1.jpg,part_1\n3.jpg,part_2\n", False),  # what the folders say
        ("path,label\nx.jpg,nv\ny.jpg,mel\n", False),  # other pictures
        ("path,label\n1.jpg,nv\n3.jpg,nv\n", False),
        ("path,width,height\n1.jpg,5,6\n", False),
        ("", False),
    ],
)
def test_a_table_beside_folders_that_says_otherwise_is_told(tmp_path, text, is_doubted):
    for name in ("part_1/1.jpg", "part_1/2.jpg", "part_2/3.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "meta.csv").write_text(text)
    found = list_pictures(DataConfig(images=tmp_path))
    assert found.class_names == ("part_1", "part_2")
    doubt = (
        f"the folders in {tmp_path} are taken as the classes, but meta.csv beside them gives their pictures the labels "
        "mel, nv. If these are meant: --data.labels meta.csv"
    )
    assert found.doubt == (doubt if is_doubted else "")
