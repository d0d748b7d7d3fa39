"""python -m harness.build_records where the sample pictures are not at hand, as after an installation."""

import pytest
from conftest import run_command, write_faces


@pytest.mark.parametrize("flags", [(), ("--images", "data/sample")], ids=["no flags", "as train advises"])
def test_without_the_sample_a_newcomer_is_told_what_to_give(flags, tmp_path):
    done = run_command("build_records", *flags, cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr == (
        "error: the sample pictures are part of the source checkout, and there is no data/sample here: give your own "
        "with --images FOLDER, where FOLDER has one sub-folder of pictures for each class.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_another_missing_folder_is_named_and_the_sample_is_not(tmp_path):
    done = run_command("build_records", "--images", "flowers", cwd=tmp_path)
    assert done.returncode == 3
    assert "there is no images folder flowers" in done.stderr and "sample" not in done.stderr


def test_a_folder_of_that_name_is_used_wherever_it_lies(tmp_path):
    write_faces(tmp_path / "data" / "sample", num_each=4)
    done = run_command("build_records", "--records.image_size", 32, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tfrecords" / "sample" / "manifest.json").is_file()
