"""How the GPUs and processors of a machine are divided among trainings."""

import os

import pytest

from harness.base.errors import ConfigError
from harness.config import settings
from harness.config.settings import Setting
from harness.search.trials.slots import list_slots

ALL_CPUS = frozenset(os.sched_getaffinity(0))


def slots_of(environment, **stated):
    names = {"gpus": "runtime.gpus", "slots": "tune.slots", "each": "tune.gpus_per_trial"}
    config = settings.make_config({names[key]: Setting(value, "a test") for key, value in stated.items()})
    return list_slots(config.tune, config.runtime, environment)


def gpus_of(environment, **stated):
    return [slot.gpus for slot in slots_of(environment, **stated)]


def test_every_gpu_has_a_slot_in_the_words_of_cuda():
    assert gpus_of({"CUDA_VISIBLE_DEVICES": "2,0"}) == [("2",), ("0",)]
    assert gpus_of({"CUDA_VISIBLE_DEVICES": "GPU-aa,MIG-bb"}) == [("GPU-aa",), ("MIG-bb",)]


def test_what_stands_after_no_gpu_is_not_seen():
    assert gpus_of({"CUDA_VISIBLE_DEVICES": "1,-1,0"}) == [("1",)]


def test_the_gpus_that_are_asked_for_are_used():
    four = {"CUDA_VISIBLE_DEVICES": "4,5,6,7"}
    assert gpus_of(four, gpus="2") == [("4",), ("5",)]
    assert gpus_of(four, gpus="1,3") == [("5",), ("7",)]
    assert gpus_of(four, gpus="none") == [None]


def test_several_gpus_a_trial_make_groups():
    four = {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4"}
    assert gpus_of(four, each=2) == [("0", "1"), ("2", "3")]
    assert gpus_of(four, each=2, slots=1) == [("0", "1")]
    with pytest.raises(ConfigError, match=r"tune.gpus_per_trial is 8, but there are 5 GPUs"):
        gpus_of(four, each=8)
    with pytest.raises(ConfigError, match=r"tune.slots is 3, but 5 GPUs make 2 groups"):
        gpus_of(four, each=2, slots=3)


def test_more_slots_than_gpus_share_them_in_turn():
    assert gpus_of({"CUDA_VISIBLE_DEVICES": "0,1"}, slots=3) == [("0",), ("1",), ("0",)]


def test_a_cpu_is_one_slot_that_has_all_of_it():
    (slot,) = slots_of({"CUDA_VISIBLE_DEVICES": ""})
    assert (slot.gpus, slot.cpus, slot.num_on_node) == (None, ALL_CPUS, 1)


def test_processors_are_divided_among_slots():
    slots = slots_of({"CUDA_VISIBLE_DEVICES": ""}, slots=len(ALL_CPUS))
    assert [len(slot.cpus) for slot in slots] == [1] * len(ALL_CPUS)
    assert frozenset().union(*(slot.cpus for slot in slots)) == ALL_CPUS
    more = slots_of({"CUDA_VISIBLE_DEVICES": ""}, slots=len(ALL_CPUS) + 1)
    assert {slot.cpus for slot in more} == {ALL_CPUS}


def test_tasks_of_a_node_divide_its_gpus_and_share_its_memory():
    step = {
        "CUDA_VISIBLE_DEVICES": "0,1,2,3",
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_STEP_NODELIST": "n[1-2]",
        "SLURM_STEP_TASKS_PER_NODE": "2,1",
    }
    first, second, alone = (slots_of(step | {"SLURM_PROCID": str(task)}) for task in range(3))
    assert [slot.gpus for slot in (*first, *second)] == [("0",), ("1",), ("2",), ("3",)]
    assert {slot.num_on_node for slot in (*first, *second)} == {4}
    assert [slot.gpus for slot in alone] == [("0",), ("1",), ("2",), ("3",)]
    assert {slot.num_on_node for slot in alone} == {4}
