"""What is said of all files together."""

from harness.dataset.curation.findings import Finding, summarise
from harness.dataset.images.rejection import Reason


def test_classes_are_summed_in_the_order_of_their_labels():
    found = [
        Finding("10/a", "10"),
        Finding("2/b", "2"),
        Finding("2/c", "2").rejected(Reason.EMPTY, "", ""),
        Finding("d"),
    ]
    assert summarise(found, ("2", "10")) == (
        "class       found  kept  empty\n"
        "2               2     1      1\n"
        "10              1     1      0\n"
        "(no class)      1     1      0\n"
        "total           4     3      1"
    )
