"""Waits until all tasks of a cluster are there, before TensorFlow does: it waits without a limit and deaf to signals.

Every task tells its number to the first, which listens at its own address, and lets all go once it has heard them. No
port stays open.
"""

import contextlib
import socket
import time

from harness.base.errors import ClusterError
from harness.distribute.cluster import Cluster

_RETRY_S = 0.2
_GO = b"go\n"
_MOST_BYTES = 16  # of a task's number; whoever else connects is not listened to


def meet(cluster: Cluster, *, timeout_s: float) -> None:
    """Returns once all tasks have called it.

    Raises:
      ClusterError: some have not come within `timeout_s` seconds, or the chief's port is taken.
    """
    limit = time.monotonic() + timeout_s
    if cluster.is_chief:
        _gather(cluster, limit, timeout_s)
    else:
        _report(cluster, limit, timeout_s)


def _gather(cluster: Cluster, limit: float, timeout_s: float) -> None:
    port = int(cluster.addresses[0].rpartition(":")[2])
    came: dict[int, socket.socket] = {}
    with contextlib.ExitStack() as stack:
        try:
            listener = stack.enter_context(socket.create_server(("", port), backlog=cluster.num_tasks))
        except OSError as error:
            raise ClusterError(
                f"the first task cannot listen at port {port} of {cluster.addresses[0]}: {error.strerror}. End what "
                "uses it, or start the job anew, which gives another port."
            ) from None
        while len(came) < cluster.num_tasks - 1:
            try:
                listener.settimeout(max(0.001, limit - time.monotonic()))
                caller = stack.enter_context(listener.accept()[0])
            except TimeoutError:
                missing = [index for index in range(1, cluster.num_tasks) if index not in came]
                raise ClusterError(
                    f"{len(missing)} of {cluster.num_tasks} tasks did not come within {timeout_s:g} s: "
                    f"{', '.join(f'{index} ({cluster.addresses[index]})' for index in missing[:8])}. See whether they "
                    f"started, and whether their nodes reach {cluster.addresses[0]}."
                ) from None
            if (index := _read_index(caller)) in range(1, cluster.num_tasks):
                came[index] = caller
        for caller in came.values():
            with contextlib.suppress(OSError):  # it is gone again, which TensorFlow finds
                caller.sendall(_GO)


def _read_index(caller: socket.socket) -> int | None:
    try:
        caller.settimeout(5.0)
        text = caller.makefile("rb").readline(_MOST_BYTES)
    except OSError:
        return None
    return int(text) if text.endswith(b"\n") and text.strip().isdigit() else None


def _report(cluster: Cluster, limit: float, timeout_s: float) -> None:
    host, _, port = cluster.addresses[0].rpartition(":")
    reason = "no answer"
    while (left := limit - time.monotonic()) > 0:
        try:
            with socket.create_connection((host, int(port)), timeout=left) as chief:
                chief.sendall(b"%d\n" % cluster.task)
                chief.settimeout(max(0.001, limit - time.monotonic()))
                if chief.makefile("rb").readline(_MOST_BYTES) == _GO:
                    return
            reason = "it ended, or waits for others"
        except OSError as error:
            reason = error.strerror or "no answer"
        time.sleep(_RETRY_S)
    raise ClusterError(
        f"task {cluster.task} of {cluster.num_tasks} waited {timeout_s:g} s for the first at {cluster.addresses[0]}: "
        f"{reason}. See whether that task started, and whether this node reaches it."
    )
