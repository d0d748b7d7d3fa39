"""What a run says its records were built with: what their manifest says, not what a command has as a default."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.config.schema import Config
from harness.dataset.build import summary
from harness.dataset.records import provenance
from harness.dataset.records.manifest import Manifest

BUILT = Config.model_validate(
    {
        "data": {"images": "data/crops", "follow_links": True, "classes": ["cat", "dog"]},
        "clean": {"min_side": 16, "range": [0, 4095]},
        "split": {"validation": 0.3, "previous": "tfrecords/before"},
        "records": {"image_size": 64, "fit": "pad", "pad_color": [0, 0, 90]},
    }
)


def make_manifest(config: Config, **changes: object) -> Manifest:
    built = summary.list_settings(config)
    data = Manifest(("cat", "dog"), 64, "jpeg", {}, {}, "data/crops", "", "", "", built)
    return replace(data, config={**built, **changes})


def test_a_run_has_the_settings_of_its_records():
    given = Config.model_validate({"data": {"records": "elsewhere"}, "train": {"epochs": 3}})
    filled = provenance.fill(given, make_manifest(BUILT), Path("elsewhere"))
    assert (filled.clean, filled.split, filled.records) == (BUILT.clean, BUILT.split, BUILT.records)
    assert (filled.data.images, filled.data.records) == (Path("data/crops"), Path("elsewhere"))
    assert filled.data.follow_links and filled.data.classes == ("cat", "dog")
    assert filled.train == given.train
    assert provenance.list_overruled(given, filled) == []


def test_a_setting_that_was_given_otherwise_is_told():
    given = Config.model_validate({"records": {"image_size": 128}, "clean": {"min_side": 16}})
    filled = provenance.fill(given, make_manifest(BUILT), Path("crops"))
    assert provenance.list_overruled(given, filled) == ["records.image_size is 128, the records were built with 64"]


@pytest.mark.parametrize(
    "records", [{"image_size": 64, "of_another_version": 1}, {"image_size": 64, "fit": "of another version"}]
)
def test_what_this_version_does_not_know_is_left_out(records):
    filled = provenance.fill(Config(), make_manifest(BUILT, records=records), Path("crops"))
    assert (filled.records.image_size, filled.records.fit, filled.clean) == (64, "stretch", BUILT.clean)


def test_records_that_do_not_say_so_change_nothing():
    data = replace(make_manifest(BUILT), config={})
    filled = provenance.fill(Config(), data, Path("crops"))
    assert (filled.clean, filled.split, filled.records) == (Config().clean, Config().split, Config().records)
