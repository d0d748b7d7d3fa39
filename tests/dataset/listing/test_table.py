"""Tables as spreadsheets, scripts and people write them."""

import pytest

from harness.base.errors import DataError
from harness.dataset.listing import table
from harness.dataset.listing.table import Row


def read(folder, content: str | bytes, name: str = "labels.csv"):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return table.read(folder / name, "data.labels", folder)


TEXT = "path,label,note\na.jpg,cat,é\nb.jpg,dog,\n"
WANTED = (Row(2, ("a.jpg", "cat", "é")), Row(3, ("b.jpg", "dog", "")))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encoding_and_delimiter_are_found_out(tmp_path, encoding, delimiter):
    found = read(tmp_path, TEXT.replace(",", delimiter).encode(encoding))
    assert (found.name, found.columns, found.rows) == ("labels.csv", ("path", "label", "note"), WANTED)


@pytest.mark.parametrize(
    ("text", "columns", "rows"),
    [
        ("sep=;\r\npath;x\r\na,b.jpg;0,5\r\n", ("path", "x"), [Row(3, ("a,b.jpg", "0,5"))]),
        ("path;score;label\na.jpg;0,5;cat\nb.jpg;1,25;dog\n", ("path", "score", "label"), None),
        (' path , label \n a.jpg , "big, cat"\n', ("path", "label"), None),
        (
            "path,label\n\n,,\na.jpg\n\nb.jpg,dog,,\n",
            ("path", "label"),
            [Row(4, ("a.jpg", "")), Row(6, ("b.jpg", "dog"))],
        ),
        (
            'path,label\n"a\nb.jpg",cat\nc.jpg,dog',
            ("path", "label"),
            [Row(2, ("a\nb.jpg", "cat")), Row(4, ("c.jpg", "dog"))],
        ),
        ("path\na.jpg\n", ("path",), [Row(2, ("a.jpg",))]),
        ("", (), []),
        ("\n\n", (), []),
    ],
)
def test_rows_are_read_with_their_lines(tmp_path, text, columns, rows):
    found = read(tmp_path, text)
    assert found.columns == columns
    assert rows is None or list(found.rows) == rows


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("path,label\na.jpg,K\xe4fer\n".encode("latin-1"), "line 2 is not valid UTF-8: save it as CSV in UTF-8"),
        (TEXT.replace("é", "e").encode("utf-16-le"), "null characters"),
        (b"PK\x03\x04anything", "a workbook of a spreadsheet program: save it as CSV"),
        ('path,label\na.jpg,cat\n"b.jpg,dog\n', "line 3: unexpected end of data"),
    ],
)
def test_what_is_no_table_is_refused_with_what_to_do(tmp_path, content, expected):
    with pytest.raises(DataError, match=f"data.labels needs .*labels.csv, which cannot be read: .*{expected}"):
        read(tmp_path, content)


def test_a_row_with_more_cells_than_columns_is_named(tmp_path):
    found = read(tmp_path, "path,label\na.jpg,cat,\n1,b.jpg,dog\n")
    with pytest.raises(
        DataError, match=r"labels.csv, line 3, has 3 cells and the first line names 2 columns \(path, lab"
    ):
        table.check_width(found)


def test_columns_are_found_whatever_their_case_and_blanks(tmp_path):
    found = read(tmp_path, " ID ,Image Name,Patient-ID,LABEL,label\n1,a.jpg,p1,x,y\n")
    assert table.find_path_column(found) == 1
    assert table.guess_column(found, table.GROUP_NAMES) == 2
    assert table.find_column(found, "label") == 4
    with pytest.raises(DataError, match=r"labels.csv has the column Label 2 times"):
        table.find_column(found, "Label")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("people.csv:person", ("people.csv", "person")),
        ("people.csv", ("people.csv", "")),
        ("a:b/people.TSV:x", ("a:b/people.TSV", "x")),
        ("s3://bucket/people.csv", ("s3://bucket/people.csv", "")),
        ("s3://bucket/people.csv:person", ("s3://bucket/people.csv", "person")),
        ("^([a-z]+)_", None),
        ("([0-9]+)[.]csv:", None),
        ("folder", None),
    ],
)
def test_a_table_and_its_column_are_named_in_one_word(text, expected):
    assert table.parse_name(text) == expected
