"""Whatever is rejected, a person is told what was measured, the limit, the setting that decides, and what to do."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import settings
from harness.dataset.images import rejection
from harness.dataset.images.rejection import Reason, Rejected, advise

NONE = re.compile(r"No setting (takes|keeps) it")
SETTING = re.compile(r"--(clean\.\w+)")


@pytest.mark.parametrize("reason", Reason)
@given(measured=st.text(max_size=30), limit=st.text(max_size=30))
def test_every_rejection_names_a_setting_or_says_that_there_is_none(reason, measured, limit):
    told = str(Rejected(reason, measured, limit))
    assert told.startswith(f"{reason.replace('_', ' ')}: {measured}; expected {limit}. ")
    advice = advise(reason, measured)
    assert told.endswith(advice) and advice.endswith(".")
    assert set(SETTING.findall(advice)) <= set(settings.setting_names())
    assert SETTING.search(advice) or NONE.match(advice)
    assert not NONE.fullmatch(advice.rstrip("."))  # what to do follows


@pytest.mark.parametrize(
    ("reason", "measured", "expected"),
    [
        (Reason.TOO_SMALL, "20x30 pixels", "clean.min_side"),
        (Reason.TOO_LARGE, "30000x30000 = 900000000 pixels", "clean.max_pixels"),
        (Reason.TOO_LARGE, "300000000 bytes", "clean.max_bytes"),
        (Reason.SALVAGED, "extraneous bytes", "clean.salvaged"),
        (Reason.LABEL_CONFLICT, "equals sad/a.png", "clean.label_conflicts"),
        (Reason.LABEL_CONFLICT, "nearly equals sad/a.png", "clean.near_conflicts"),
        (Reason.UNREADABLE, "its decoding ran out of memory", "clean.max_pixels"),
    ],
)
def test_the_setting_is_the_one_that_decides(reason, measured, expected):
    assert SETTING.findall(advise(reason, measured)) == [expected]


@pytest.mark.parametrize("measured", ["Permission denied", "a pipe", "No such file or directory"])
def test_what_cannot_be_opened_is_no_matter_of_a_setting(measured):
    assert advise(Reason.UNREADABLE, measured) == "No setting takes it: make it readable, or remove it."


def test_many_rejections_are_told_by_the_most_frequent():
    small = [
        (f"a/{index}.png", Rejected(Reason.TOO_SMALL, f"{index}x9 pixels", "sides of at least 32")) for index in (7, 8)
    ]
    empty = ("b/x.png", Rejected(Reason.EMPTY, "0 bytes", "a picture"))
    assert rejection.summarise([empty, *small]) == (
        "2 too small, such as a/7.png (7x9 pixels; expected sides of at least 32). "
        "Lower --clean.min_side only if pictures as small are meant: they show little. The others: 1 empty."
    )
    assert rejection.summarise([]) == "there is no file. Put pictures there."
