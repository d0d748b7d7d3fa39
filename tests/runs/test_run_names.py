"""What a run is called that nobody has given a name."""

from pathlib import Path

import pytest

from harness.config.schema import Config
from harness.runs.workdir import name_run


@pytest.mark.parametrize(
    ("sections", "config_file", "expected"),
    [
        ({}, None, "runs/emotion_cnn"),
        ({"model": {"name": "residual_cnn"}}, None, "runs/residual_cnn"),
        ({"data": {"images": "data/flowers"}}, None, "runs/flowers"),
        ({"data": {"records": "tfrecords/crops"}}, None, "runs/crops"),
        ({"data": {"records": "s3://bucket/records/crops"}}, None, "runs/crops"),
        ({"data": {"records": "tfrecords/crops"}, "model": {"name": "residual_cnn"}}, None, "runs/crops-residual_cnn"),
        ({"data": {"records": "tfrecords/crops"}}, "configs/residual_cnn.yaml", "runs/residual_cnn"),
        (
            {"data": {"records": "tfrecords/crops"}, "train": {"run": "elsewhere"}},
            "configs/residual_cnn.yaml",
            "elsewhere",
        ),
    ],
)
def test_a_run_is_called_like_its_config_file_or_its_records(sections, config_file, expected):
    config = Config.model_validate(sections)
    assert name_run(config, Path(config_file) if config_file else None).train.run == Path(expected)


def test_records_in_the_current_folder_have_its_name(tmp_path, monkeypatch):
    (tmp_path / "crops").mkdir()
    monkeypatch.chdir(tmp_path / "crops")
    assert name_run(Config.model_validate({"data": {"records": "."}}), None).train.run == Path("runs/crops")
