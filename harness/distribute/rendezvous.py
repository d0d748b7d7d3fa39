"""Where the tasks of a run meet: one of them receives all, itself too, and stays connected with each to the end.

It hands every task the addresses of all, passes on that one has ended and why, and lets all leave together. Whoever is
no task of this run is told so, or is not listened to. What a task says and hears is in peers.py.
"""

import contextlib
import selectors
import socket
import threading
import time

from harness.base.errors import ClusterError
from harness.distribute import ports
from harness.distribute.cluster import Cluster
from harness.distribute.links import Link, Message, NoMessage

_MOST_HELLO_BYTES = 2048
_HELLO_S = 10.0  # for a caller's first line
_MOST_CALLERS = 256  # that have not said who they are; more close the oldest
_LATE_S = 10.0  # after a failure: for tasks that start more slowly, and would wait for this one
_LEAVE_S = 5.0  # for the others' processes to end before this one
_LOOK_S = 0.2


class Host:
    """Receives the tasks in a thread of its own, from its making until `join`."""

    def __init__(self, cluster: Cluster) -> None:
        """Opens the port.

        Raises:
          ClusterError: it is taken.
        """
        self._cluster = cluster
        self._listener, self.port = _open_listener(cluster)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._callers: dict[Link, float] = {}  # when each called
        self._tasks: dict[int, Link] = {}  # that are connected
        self._addresses: dict[int, str] = {}  # of all tasks that have come
        self._ready: set[int] = set()
        self._done: set[int] = set()
        self._end: str | None = None  # of the task that ended first
        self._has_all = self._is_parting = self._is_left = False
        self._late_s = 0.0
        self._closes: float | None = None  # when this one stops to wait for others
        self._thread = threading.Thread(target=self._receive, name="rendezvous", daemon=True)
        self._thread.start()

    def list_absent(self) -> list[int]:
        """Returns the tasks that have not come. One that has may still have to copy records, or to load TensorFlow."""
        return [task for task in range(self._cluster.num_tasks) if task not in self._addresses]

    def leave(self, *, waits_for_late: bool) -> None:
        """Waits until the others have left, or heard that this task ends, which has hung up.

        Args:
          waits_for_late: whether tasks that have not come yet shall hear it too.
        """
        self._late_s = _LATE_S if waits_for_late else 0.0
        self._is_left = True
        self._thread.join(_LATE_S + _LEAVE_S)

    def _receive(self) -> None:
        try:
            while not self._is_over():
                for key, _ in self._selector.select(_LOOK_S):
                    if key.fileobj is self._listener:
                        self._accept()
                    elif isinstance(key.fileobj, Link) and not key.fileobj.is_closed:
                        self._hear(key.fileobj)
                for link in [link for link, since in self._callers.items() if time.monotonic() - since > _HELLO_S]:
                    self._drop(link)
        finally:
            for link in (*self._callers, *self._tasks.values()):
                link.close()
            self._listener.close()
            self._selector.close()

    def _is_over(self) -> bool:
        if not self._is_left or self._cluster.task in self._tasks:
            return False
        if self._closes is None:
            limit_s = _LEAVE_S if self._is_parting else 0.0 if self._has_all else self._late_s
            self._closes = time.monotonic() + limit_s
        is_alone = not self._tasks and len(self._addresses) == self._cluster.num_tasks
        return is_alone or time.monotonic() > self._closes

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it has gone again
            link = Link(self._listener.accept()[0], most_bytes=_MOST_HELLO_BYTES)
            self._selector.register(link, selectors.EVENT_READ)
            self._callers[link] = time.monotonic()
        if len(self._callers) > _MOST_CALLERS:
            self._drop(next(iter(self._callers)))

    def _drop(self, link: Link) -> None:
        self._selector.unregister(link)
        self._callers.pop(link, None)
        link.close()

    def _hear(self, link: Link) -> None:
        task = self._find_task(link)
        try:
            is_there = link.read(0)
            while (message := link.take()) is not None:
                if task is None:
                    task = self._identify(link, message)
                else:
                    self._obey(task, message)
                if task is None:
                    return
        except (NoMessage, TimeoutError):
            is_there = False
        if is_there:
            return
        self._drop(link)
        if task is not None:
            del self._tasks[task]
            self._tell_end(task, "is gone: its connection closed without a word, as when it is killed")

    def _find_task(self, link: Link) -> int | None:
        return next((task for task, known in self._tasks.items() if known is link), None)

    def _identify(self, link: Link, message: Message) -> int | None:
        """Takes a caller in that is a task of this run, and returns which; tells others that they are not."""
        hello = message.content if isinstance(message.content, dict) else {}
        task, address = hello.get("task"), hello.get("address")
        if message.kind != "hello" or not isinstance(hello.get("run"), str):
            self._drop(link)
            return None
        if hello["run"] != self._cluster.run:
            link.send("other", self._cluster.run)
            self._drop(link)
            return None
        if type(task) is not int or not 0 <= task < self._cluster.num_tasks or not isinstance(address, str):
            self._drop(link)
            return None
        if task in self._addresses:
            link.send("end", f"another process is task {task} already, at {self._addresses[task]}")
            self._drop(link)
            return None
        self._tasks[task], self._addresses[task] = link, address
        del self._callers[link]
        link.send("met", self._cluster.run)
        if self._end is not None:
            link.send("end", self._end)
        return task

    def _close_door(self) -> None:
        """Listens no longer: TensorFlow may open the same port."""
        self._selector.unregister(self._listener)
        self._listener.close()
        for link in tuple(self._callers):
            self._drop(link)

    def _obey(self, task: int, message: Message) -> None:
        if message.kind == "ready":
            self._ready.add(task)
            if len(self._ready) == self._cluster.num_tasks and self._end is None:
                self._has_all = True
                self._close_door()
                self._tell_all("go", [self._addresses[task] for task in range(self._cluster.num_tasks)])
            return
        if message.kind == "unready":
            if not self._has_all:
                self._ready.discard(task)
                self._tasks[task].send("free")
            return
        if message.kind == "end":
            self._tell_end(task, f"ended: {message.content}")
        self._done.add(task)
        if len(self._done) == self._cluster.num_tasks:
            self._is_parting = True
            self._tell_all("leave", None)

    def _tell_end(self, task: int, what: str) -> None:
        if self._end is None and not self._is_parting:  # who parts needs nobody any more
            self._end = f"task {task} ({self._addresses[task]}) {what}"
            self._tell_all("end", self._end, but=task)

    def _tell_all(self, kind: str, content: object, *, but: int | None = None) -> None:
        """Tells all, this process last: whatever becomes of it once it knows, the others have heard."""
        for task, link in sorted(self._tasks.items(), key=lambda entry: entry[0] == self._cluster.task):
            if task != but:
                link.send(kind, content)


def _open_listener(cluster: Cluster) -> tuple[socket.socket, int]:
    is_local, reason = ports.are_local(cluster.meeting_points), ""
    for point in cluster.meeting_points:
        port = ports.split_address(point)[1]
        try:
            return ports.listen(port, is_local=is_local, is_fixed=bool(cluster.addresses)), port
        except OSError as error:
            reason = error.strerror or str(error)
    taken = ", ".join(str(ports.split_address(point)[1]) for point in cluster.meeting_points)
    raise ClusterError(
        f"task {cluster.task} of {cluster.num_tasks} cannot listen at port {taken}: {reason}. End what uses it, or "
        "give another."
    )
