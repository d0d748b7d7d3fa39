"""TensorBoard's HParams entry of a trial that has failed; one that is complete has written its own.

It is written without TensorFlow, whose summaries would open the GPUs in the process of the search.
"""

import contextlib
import time
from collections.abc import Mapping

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import summary
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from harness.base.text import name_by_values
from harness.runs.workdir import Workdir
from harness.search.space.combinations import Value


def write_failed(workdir: Workdir, values: Mapping[str, Value]) -> None:
    """Writes what a failed trial tried, and that it failed."""
    name = name_by_values(workdir.root.name, values)
    parts = summary.session_start_pb(dict(values), group_name=name), summary.session_end_pb(STATUS_FAILURE)
    with contextlib.closing(EventFileWriter(str(workdir.events("validation")))) as writer:
        for part in parts:
            same = Summary.FromString(part.SerializeToString())  # of TensorFlow's class where that is imported
            writer.add_event(Event(wall_time=time.time(), summary=same))
