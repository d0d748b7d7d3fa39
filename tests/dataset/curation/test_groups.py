"""Lists of groups as people write them."""

import os
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.base.errors import ConfigError, DataError
from harness.config.schema import Config
from harness.dataset.curation.findings import Finding
from harness.dataset.curation.groups import assign_groups
from harness.dataset.curation.plan import make_plan
from harness.dataset.listing.listed import Listed, Listing

PATHS = ("happy/a.png", "happy/b.png", "sad/c.png")


def read(folder, content: str | bytes, rule: str = "auto") -> dict[str, str]:
    (folder / "groups.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return dict(assign_groups(PATHS, folder, rule).keys)


@pytest.mark.parametrize(
    "content",
    [
        "path,group\nhappy/a.png,ann\nsad/c.png,ann\n",
        "\ufeffgroup,path\r\nann,happy/a.png\r\n\r\nann,sad/c.png",
        "note,path,group\n,happy/a.png,ann,,\n,sad/c.png,ann\n,happy/b.png\n\n,happy/b.png,\n",
        "path,group\n'=1/x.png,bob\nhappy/a.png,ann\nsad/c.png,ann\nnobody.png,ann\n",
    ],
)
def test_groups_are_read_in_every_form(tmp_path, content):
    assert read(tmp_path, content) == {"happy/a.png": "ann", "happy/b.png": "happy/b.png", "sad/c.png": "ann"}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("path,person\nhappy/a.png,ann,too,much\n", "it has path, person"),
        ("file\nhappy/a.png,ann,x\n", "it has file"),
        ("path,group\n", "it has nothing"),
        ("", "it has nothing"),
        ("\n\n", "it has nothing"),
    ],
)
def test_a_missing_column_is_named_with_those_there_are(tmp_path, content, found):
    with pytest.raises(DataError, match=r"groups.csv must have the columns path and group; " + found):
        read(tmp_path, content)


@pytest.mark.parametrize("content", [b"path,group\nhappy/\xe4.png,x\n", b'path,group\n"' + 200_000 * b"a" + b'",x\n'])
def test_a_list_that_is_no_text_or_too_large_is_refused(tmp_path, content):
    with pytest.raises(DataError, match=r"split.group_by needs .*groups.csv, which cannot be read"):
        read(tmp_path, content)


def test_a_pipe_in_place_of_a_list_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "people.csv")
    with pytest.raises(DataError, match=r"split.group_by needs .*people.csv, which cannot be read"):
        assign_groups(PATHS, tmp_path, "people.csv:person")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=40) | st.text("path,group\n\r\"'=\0", max_size=40).map(lambda text: f"path,group{text}".encode())
)
def test_no_list_ends_in_anything_but_groups_or_one_sentence(tmp_path, content):
    try:
        assert set(read(tmp_path, content)) == set(PATHS)
    except DataError as error:
        assert "groups.csv" in str(error)


PATIENTS = tuple(
    f"{name}/patient_{patient:02d}/img_{index}.jpg"
    for patient in range(12)
    for name in ("happy", "sad")
    for index in range(2)
)


def test_an_expression_is_searched_in_the_name_and_then_in_the_path(tmp_path):
    found = assign_groups(PATIENTS, tmp_path, "(patient_[0-9]+)")
    assert {path: path.split("/")[1] for path in PATIENTS} == found.keys
    assert found.warnings == ()
    names = ("very_happy/ann_1.jpg", "very_happy/bob_1.jpg", "very_happy/ann_2.jpg", "sad/cy_2.jpg", "sad/di_1.jpg")
    found = assign_groups(names, tmp_path, "^([a-z]+)_")
    assert list(found.keys.values()) == ["ann", "bob", "ann", "cy", "di"]
    assert found.warnings == ()


def test_an_expression_that_matches_name_and_folder_says_which_counts(tmp_path):
    found = assign_groups(PATIENTS, tmp_path, "([0-9]+)")
    assert found.keys["sad/patient_07/img_1.jpg"] == "1"
    assert found.warnings[0] == (
        "of 48 pictures split.group_by '([0-9]+)' matches both the name and a folder: of 'happy/patient_00/img_0.jpg' "
        "'0' and '00'. The name counts. If the folder is meant, end the expression with a /, such as '([0-9]+)/'."
    )
    found = assign_groups(PATIENTS, tmp_path, "([0-9]+)/")
    assert found.keys["sad/patient_07/img_1.jpg"] == "07" and found.warnings == ()


def test_folders_below_the_class_are_groups_across_classes(tmp_path):
    found = assign_groups((*PATIENTS, "happy/alone.jpg"), tmp_path, "folder")
    assert found.keys["happy/patient_03/img_0.jpg"] == found.keys["sad/patient_03/img_1.jpg"] == "patient_03"
    assert found.keys["happy/alone.jpg"] == "happy/alone.jpg"
    assert found.rule == "the folder below the class; 1 of 49 pictures are in no group"
    assert found.warnings[0].startswith("1 of 49 pictures are in no group, e.g. 'happy/alone.jpg'")
    with pytest.raises(DataError, match=r"no class in .* has a folder for each person .*'happy/a.png'.*CLASS/PERSON/"):
        assign_groups(PATHS, tmp_path, "folder")


def test_a_rule_that_matches_nothing_is_refused_with_examples_of_both(tmp_path):
    with pytest.raises(
        DataError, match=r"'\(person_\[0-9\]\+\)', which matches no picture: they are 'happy/a.png', 'ha"
    ):
        assign_groups(PATHS, tmp_path, "(person_[0-9]+)")
    with pytest.raises(
        DataError,
        match=r"groups.csv names none of the 3 pictures .* column path has line 2: 'x/1.jpg', "
        r"line 4: 'x/2.jpg'; the pictures are 'happy/a.png', 'happy/b.png', 'sad/c.png'",
    ):
        read(tmp_path, "path,group\nx/1.jpg,ann\n\nx/2.jpg,bob\n")
    with pytest.raises(DataError, match=r"the column 'group' is empty for every picture"):
        read(tmp_path, "path,group\nhappy/a.png,\n")


def test_pictures_in_no_group_and_rows_of_no_picture_are_counted(tmp_path):
    paths = [f"happy/{number:03d}.png" for number in range(100)]
    (tmp_path / "groups.csv").write_text(
        "path,group\n" + "".join(f"{path},{path[-6:-4]}\n" for path in paths[1:]) + "a/zz.png,no\n"
    )
    found = assign_groups(paths, tmp_path, "auto")
    assert found.rule == (
        "column 'group' of groups.csv; 1 of its 100 rows name no picture here, such as line 101: 'a/zz.png'; "
        "1 of 100 pictures are in no group"
    )
    assert found.warnings == ()
    found = assign_groups([*paths, "sad/1.png"], tmp_path, "auto")
    assert found.warnings == (
        "2 of 101 pictures are in no group, e.g. 'happy/000.png', 'sad/1.png': each of them is placed by itself. "
        "If they belong together, name their groups too (split.group_by).",
    )


def test_one_group_or_a_very_large_one_is_warned_of(tmp_path):
    rows = "path,group\n" + "".join(f"{path},{'ann' if path < 'sad' else path[11:13]}\n" for path in PATIENTS)
    (tmp_path / "groups.csv").write_text(rows)
    assert assign_groups(PATIENTS, tmp_path, "auto").warnings == (
        "the group 'ann' has 24 of 48 pictures, all on one side of the split. If that is not one person or object, "
        "correct split.group_by.",
    )
    assert assign_groups(PATIENTS, tmp_path, "(img)").warnings == (
        "all 48 pictures are in one group, 'img': they cannot be split. Correct split.group_by.",
    )


def test_groups_that_differ_in_case_only_are_warned_of(tmp_path):
    (tmp_path / "groups.csv").write_text("path,group\nhappy/a.png,Ann\nhappy/b.png,ann \nsad/c.png,bob\n")
    assert assign_groups(PATHS, tmp_path, "auto").warnings == (
        "the groups 'Ann' and 'ann' differ in case or blanks only, and are two. If that is not meant, write them "
        "alike.",
    )


def test_a_table_is_found_in_the_images_folder_or_the_current_one(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    (tmp_path / "people.csv").write_text("file;Person\nhappy\\a.png;ann\nSAD/C.PNG;ann\n")
    monkeypatch.chdir(tmp_path)
    found = assign_groups(PATHS, tmp_path / "images", "people.csv:person")
    assert list(found.keys.values()) == ["ann", "happy/b.png", "ann"]
    assert found.rule.startswith("column 'Person' of ./people.csv, whose column 'file' names the pictures")
    assert list(assign_groups(PATHS, tmp_path / "images", "people.csv").keys.values()) == ["ann", "happy/b.png", "ann"]
    (tmp_path / "images" / "people.csv").write_text("path,person\nhappy/b.png,cy\n")
    assert assign_groups(PATHS, tmp_path / "images", "people.csv:person").keys["happy/b.png"] == "cy"
    with pytest.raises(ConfigError, match="with 0 groups"):
        assign_groups(PATHS, tmp_path / "images", "people")


def spell(path: str, draw) -> str:
    """The path as another program or person may write it."""
    path = unicodedata.normalize(draw(st.sampled_from(["NFC", "NFD"])), path)
    path = draw(st.sampled_from(["", "./", "faces/", "/data/faces/", "../faces/", "C:/x/Faces/", "././"])) + path
    path = draw(st.sampled_from([str, lambda text: text.replace("/", "\\"), lambda text: text.replace("/", "//")]))(
        path
    )
    path = draw(st.sampled_from([str, str.upper, lambda text: text.rpartition(".")[0]]))(path)
    return draw(st.sampled_from(["", " ", "  "])) + path + draw(st.sampled_from(["", " "]))


SPELT = ("happy/patient 1/é 1.jpg", "happy/patient 1/b.c.jpg", "happy/ü.png", "sad/patient 1/é 2.jpg", "sad/É.png")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.data())
def test_any_spelling_of_the_same_paths_gives_the_same_groups(tmp_path, data):
    folder = tmp_path / "faces"
    folder.mkdir(exist_ok=True)
    delimiter = data.draw(st.sampled_from([",", ";", "\t", "; ", ", "]))
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    names = data.draw(
        st.sampled_from([("path", "group"), (" Path", "GROUP "), ("File Name", "Group"), ("image", "group")])
    )
    rows = [(*names, "score"), *((spell(path, data.draw), "ann" if "1" in path else "bob", "0.5") for path in SPELT)]
    if data.draw(st.booleans()):
        rows = [row[::-1] for row in rows]
    text = end.join(delimiter.join(row) for row in rows) + end * data.draw(st.integers(0, 2))
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    (folder / "groups.csv").write_bytes(text.encode(encoding))
    assert list(assign_groups(SPELT, folder, "auto").keys.values()) == ["ann", "ann", "bob", "ann", "bob"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(st.data())
def test_no_group_is_ever_on_both_sides_of_the_split(tmp_path, data):
    folder = tmp_path / "faces"
    folder.mkdir(exist_ok=True)
    patients = data.draw(st.lists(st.integers(0, 9), min_size=6, max_size=40))
    paths = [f"{('happy', 'sad')[index % 2]}/p{key}/{index}.jpg" for index, key in enumerate(patients)]
    rows = [f"{spell(path, data.draw)},p{key}" for path, key in zip(paths, patients)]
    (folder / "groups.csv").write_text("\n".join(["path,group", *rows]))
    rule = data.draw(st.sampled_from(["auto", "folder", "(p[0-9])/", "groups.csv:group"]))
    config = Config.model_validate(
        {
            "data": {"images": folder},
            "clean": {"near_copies": "ignore"},
            "split": {"group_by": rule, "validation": 0.3, "test": 0.1},
        }
    )
    found = [Finding(path, path.partition("/")[0], pixels_sha256=path) for path in sorted(paths)]
    listing = Listing(tuple(Listed(path, path.partition("/")[0]) for path in sorted(paths)), ("happy", "sad"))
    sides: dict[str, set[str]] = {}
    try:
        made = make_plan(found, listing, config, lambda kept: [])
    except DataError as error:
        assert "no picture is left for" in str(error) and len(set(patients)) < 6
        return
    for item in made.findings:
        sides.setdefault(item.path.split("/")[1], set()).add(item.split)
        assert item.group == item.path.split("/")[1]
    assert all(len(side) == 1 for side in sides.values())
