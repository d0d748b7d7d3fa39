"""How the tasks of a run become one strategy: they meet, and TensorFlow connects them.

TensorFlow's Python holds the interpreter's lock while it waits for the other tasks: none of this process' threads could
hear that one of them has ended meanwhile, nor could anything but a signal end it. So the function of TensorFlow's
library that waits is called from here, without the lock. It is not part of TensorFlow's public interface.
"""

import contextlib
import ctypes
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures

import tensorflow as tf
from tensorflow.python import _pywrap_tensorflow_internal, pywrap_tfe

from harness.base.errors import ClusterError
from harness.distribute.cluster import make_tf_config
from harness.distribute.collectives import describe_loss
from harness.distribute.peers import Peers

log = logging.getLogger("harness")
_MEET_S = 600  # tasks of one job start together, but a cold file system takes minutes to read TensorFlow
_CONNECT_S = 300  # they have met by then
_LOOK_S = 0.01  # a SIGTERM that TensorFlow takes in this time is lost


def join(peers: Peers) -> tf.distribute.Strategy:
    """Waits for the other tasks, connects TensorFlow with theirs, and sets TF_CONFIG; call it in the main thread.

    Raises:
      ClusterError: another has not come, or has ended, or TensorFlow cannot connect them.
      InterruptedRun: this process was asked to stop before all had come.
    """
    cluster = peers.cluster
    log.info("waiting for %d tasks at %s", cluster.num_tasks, cluster.meeting_points[0])
    addresses = peers.meet(timeout_s=_MEET_S)
    os.environ["TF_CONFIG"] = make_tf_config(cluster.task, addresses)

    def fail(why: str) -> ClusterError:
        return ClusterError(
            f"task {cluster.task} of {cluster.num_tasks} could not join the others at {' '.join(addresses[:8])}: "
            f"{why}. See whether their nodes reach one another at these ports."
        )

    def connect(context: object, server: bytes) -> None:
        """Connects TensorFlow in another thread, and hears meanwhile whether a task has ended."""
        connecting = _start(_enable_collective_ops, context, server)
        started = time.monotonic()
        while not connecting.done():
            futures.wait([connecting], _LOOK_S)
            _heed_sigterm()
            if end := peers.find_end(timeout_s=0):
                raise peers.make_loss(end)
            if time.monotonic() - started > _CONNECT_S:
                raise fail(f"TensorFlow has not connected them within {_CONNECT_S:g} s")
        connecting.result()

    try:
        with _connecting_by(connect):
            return tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        if end := peers.find_end():
            raise peers.make_loss(end) from None
        raise fail(describe_loss(error)) from None
    finally:
        peers.release_port()
        _heed_sigterm()


@contextlib.contextmanager
def _connecting_by(connect: Callable[[object, bytes], None]) -> Iterator[None]:
    """Lets TensorFlow call a function of ours in place of its own, which has the same arguments."""
    own = pywrap_tfe.TFE_EnableCollectiveOps
    pywrap_tfe.TFE_EnableCollectiveOps = connect
    try:
        yield
    finally:
        pywrap_tfe.TFE_EnableCollectiveOps = own


def _start(work: Callable[..., object], *arguments: object) -> futures.Future[object]:
    """Begins work that cannot be stopped, in a thread which does not keep the process from ending."""
    outcome: futures.Future[object] = futures.Future()

    def run() -> None:
        try:
            outcome.set_result(work(*arguments))
        except Exception as error:
            outcome.set_exception(error)

    threading.Thread(target=run, name="join", daemon=True).start()
    return outcome


def _enable_collective_ops(context: object, server: bytes) -> None:
    """Does what TensorFlow's function of the name does; whoever calls ctypes' functions lets go of Python's lock.

    Args:
      context: a TFE_Context in a capsule, which must not be freed meanwhile.
      server: a serialized ServerDef.

    Raises:
      OpError: TensorFlow's.
    """
    library = ctypes.CDLL(_pywrap_tensorflow_internal.__file__)
    library.TF_NewStatus.restype, library.TF_Message.restype = ctypes.c_void_p, ctypes.c_char_p
    for function in (library.TF_GetCode, library.TF_Message, library.TF_DeleteStatus):
        function.argtypes = [ctypes.c_void_p]
    enable = library.TFE_EnableCollectiveOps
    enable.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p]
    get_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    status = library.TF_NewStatus()
    try:
        enable(get_pointer(context, None), server, len(server), status)
        if code := library.TF_GetCode(status):
            raise tf.errors.OpError(None, None, library.TF_Message(status).decode(errors="replace"), code)
    finally:
        library.TF_DeleteStatus(status)


def _heed_sigterm() -> None:
    """Takes SIGTERM back from TensorFlow, which takes it for a notice of preemption that nobody reads here."""
    if (handler := signal.getsignal(signal.SIGTERM)) is not None:
        signal.signal(signal.SIGTERM, handler)
