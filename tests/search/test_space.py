"""The space of a search: what it may propose is looked at before the first trial."""

import pytest

from harness.base.errors import ConfigError
from harness.config.schema import AugmentConfig, Config, Range, TrainConfig, TuneConfig
from harness.search.space import check_batches

MIXUP = {"augment.mixup": Range(values=(0.0, 0.2))}


def config_of(space, **train):
    return Config(train=TrainConfig(**train), tune=TuneConfig(space=space))


@pytest.mark.parametrize(
    ("extent", "wrong"),
    [
        (Range(values=(8, 9)), 9),
        (Range(min=4, max=16), 5),
        (Range(min=5, max=15, step=2), 5),
        (Range(min=3, max=48, step=2, sampling="log"), 3),
        (Range(min=8, max=64, sampling="log"), 9),
    ],
    ids=["values", "range", "odd steps", "odd powers", "any"],
)
def test_batches_that_two_devices_cannot_share_are_refused_before_the_first_trial(extent, wrong):
    config = config_of({"train.batch_size": extent})
    with pytest.raises(
        ConfigError, match=rf"propose a train.batch_size of {wrong}, which 2 devices.*multiples of 2 on"
    ):
        check_batches(config, 2)
    check_batches(config, 1)


@pytest.mark.parametrize(
    "extent",
    [Range(values=(8, 10)), Range(min=4, max=16, step=2), Range(min=4, max=64, step=2, sampling="log")],
    ids=["values", "range", "powers"],
)
def test_batches_that_two_devices_can_share_are_taken(extent):
    check_batches(config_of({"train.batch_size": extent}), 2)


def test_a_batch_for_each_replica_is_shared_evenly_whatever_it_is():
    check_batches(config_of({"train.batch_size": Range(values=(8, 9))}, batch_per="replica"), 2)
    either = {"train.batch_size": Range(values=(8, 9)), "train.batch_per": Range(values=("replica", "step"))}
    with pytest.raises(ConfigError, match=r"train.batch_size of 9"):
        check_batches(config_of(either), 2)


def test_pairs_of_mixup_have_to_divide_too():
    with pytest.raises(
        ConfigError, match=r"train.batch_size of 10, .* in pairs for augment.mixup.*multiples of 4 only"
    ):
        check_batches(config_of({"train.batch_size": Range(values=(8, 10)), **MIXUP}), 2)
    with pytest.raises(ConfigError, match=r"train.batch_size of 6"):
        check_batches(config_of(MIXUP, batch_size=6), 2)
    check_batches(config_of({"train.batch_size": Range(values=(8, 12)), **MIXUP}), 2)
    off = Config(augment=AugmentConfig(enabled=False), tune=TuneConfig(space=MIXUP), train=TrainConfig(batch_size=6))
    check_batches(off, 2)
