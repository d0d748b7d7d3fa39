"""What TensorFlow's errors about a worker that is gone become."""

import pytest

from harness.base.tf_import import import_tensorflow

SILENT = """\
Graph execution error:

Detected at node CollectiveReduceV2_4 defined at (most recent call last):
<stack traces unavailable>
Collective ops is aborted by: Error reported from /job:worker/task:1: The following tasks are unhealthy (stopped \
sending heartbeats):
/job:worker/replica:0/task:1
The tasks have crashed. Check the task logs for an earlier error."""
ABORTED = """\
Graph execution error:

Detected at node CollectiveReduceV2_4 defined at (most recent call last):
<stack traces unavailable>
Collective ops is aborted by: Connection reset by peer
The error could be from a previous operation."""


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (SILENT, "task 1 has given no sign of life for too long"),
        (
            ABORTED,
            "Collective ops is aborted by: Connection reset by peer. TensorFlow's own lines say why",
        ),
        ("Socket closed.", "Socket closed. TensorFlow's own lines say why"),
    ],
)
def test_the_cause_of_a_loss_is_told_and_not_the_place_in_the_program(message, expected):
    import_tensorflow()
    import tensorflow as tf

    from harness.distribute.collectives import describe_loss

    assert describe_loss(tf.errors.UnavailableError(None, None, message)) == expected
