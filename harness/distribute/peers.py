"""What a task of a run says to the others, and hears of them, beside TensorFlow and from its first second to its last.

Every task calls the one that receives all (rendezvous.py) and stays connected: so it learns at once that another has
ended and why, and all leave together. Gradients and figures take another way (collectives.py).
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

from harness.base.errors import ClusterError, InterruptedRun
from harness.distribute import ports
from harness.distribute.cluster import Cluster
from harness.distribute.links import Link, Message, NoMessage
from harness.distribute.rendezvous import Host

_MOST_BYTES = 16 << 20  # the addresses of all tasks
_CALL_S = 10.0  # for a connection
_ANSWER_S = 60.0  # for the first answer: one that loads TensorFlow from a cold file system is deaf for a while
_MOST_PAUSE_S = 2.0  # between two calls
_NUM_SILENT = 5  # calls closed without a word, after which it is no task of ours that listens
_TELL_S = 10.0  # to reach the others before this one ends
_ALIKE_S = 2.0  # for the others to fail too
_LOOK_S = 0.2
_WORD_S = 2.0  # why a task ended comes just before, or just after, TensorFlow's errors about it


class Peers:
    """The other tasks of the run, as this one is connected with them."""

    def __init__(
        self, cluster: Cluster, *, should_stop: Callable[[], str | None], silence: Callable[[], object]
    ) -> None:
        """Begins to look for the others, in threads.

        Args:
          cluster: the tasks.
          should_stop: asked while it waits for the others; a reason ends that.
          silence: called once, when another ends or all leave: TensorFlow has nothing more to say to a person then.
        """
        self.cluster = cluster
        self._should_stop, self._silence = should_stop, silence
        self._host: Host | None = None
        self._held: socket.socket | None = None
        self._changed = threading.Condition()
        self._link: Link | None = None
        self._strangers: dict[str, str] = {}  # who answers at a meeting point that is none of ours
        self._reason = "no answer"  # for which nobody has been met
        self._addresses: tuple[str, ...] | None = None  # of all tasks, once all have come
        self._end: str | None = None  # who ended first, and why
        self._loss: str | None = None  # why this one ends, if it does for the end of another
        self._met_at = ""
        self._kept: object = None
        self._is_parting = self._is_closed = self._is_too_late = self._is_free = False

    def _open(self) -> None:
        cluster, points = self.cluster, self.cluster.meeting_points
        if cluster.receives:
            self._host = Host(cluster)
            points = (f"127.0.0.1:{self._host.port}",)
        address, failure = self._take_port()
        hello = {"run": cluster.run, "task": cluster.task, "address": address}
        for point in points:
            threading.Thread(target=self._call, args=(point, len(points), hello), name="peers", daemon=True).start()
        if failure is not None:
            raise failure

    def _take_port(self) -> tuple[str, ClusterError | None]:
        """Returns this task's address for TensorFlow, and why it cannot be used, which the others shall hear too."""
        cluster = self.cluster
        if cluster.addresses:
            address = cluster.addresses[cluster.task]
            if self._host is None:
                try:
                    self._held = ports.hold(ports.split_address(address)[1])
                except OSError as error:
                    return address, ClusterError(
                        f"task {cluster.task} of {cluster.num_tasks} cannot listen at {address}: {error.strerror}. End "
                        "what uses that port, or give another in TF_CONFIG."
                    )
            return address, None
        if self._host is not None:
            return f"{cluster.host}:{self._host.port}", None
        self._held = ports.hold_free(f"{cluster.run} task {cluster.task}")
        return f"{cluster.host}:{self._held.getsockname()[1]}", None

    def meet(self, *, timeout_s: float) -> tuple[str, ...]:
        """Waits until all tasks are ready; returns the address of each.

        For a task that is connected it waits as long as the caller's watchdog lets it: that task may copy records, and
        its end is heard of.

        Raises:
          ClusterError: some have not come within `timeout_s` seconds, or one has ended.
          InterruptedRun: this process was asked to stop.
        """
        started, cluster, is_told = time.monotonic(), self.cluster, False
        with self._changed:
            while self._addresses is None and self._end is None:
                if self._should_stop() and (not is_told or self._may_leave()):
                    break
                if self._link is not None and not is_told:
                    self._link.send("ready")
                    is_told = True
                # The task that receives all says who is absent; this one only whether it has met that.
                is_waiting = bool(self._host.list_absent()) if self._host else self._link is None
                if is_waiting and time.monotonic() - started > timeout_s:
                    self._is_too_late = True
                    raise self._find_nobody(timeout_s)
                self._changed.wait(_LOOK_S)
            if self._addresses is None:
                if reason := self._should_stop():
                    raise InterruptedRun(
                        f"stopped by {reason} while it waited for the other tasks; nothing has been trained. The same "
                        "command starts it."
                    )
                raise ClusterError(f"task {cluster.task} of {cluster.num_tasks} does not start: {self._end}.")
            return self._addresses

    def _may_leave(self) -> bool:
        """Takes back that this task is ready; returns False where it is too late: the others count on it to join them.

        TensorFlow would wait for it in vain, and for minutes.
        """
        if self._link is not None:
            self._link.send("unready")
        self._changed.wait_for(lambda: self._is_free or self._addresses or self._end, _TELL_S)
        return self._addresses is None

    def _find_nobody(self, timeout_s: float) -> ClusterError:
        cluster, points = self.cluster, " or ".join(self.cluster.meeting_points)
        if self._host is None:
            return ClusterError(
                f"task {cluster.task} of {cluster.num_tasks} waited {timeout_s:g} s for the first at {points}: "
                f"{self._reason}. See whether that task started, and whether this node reaches it."
            )
        missing = self._host.list_absent()
        named = [f"{task} ({cluster.addresses[task]})" if cluster.addresses else str(task) for task in missing[:8]]
        return ClusterError(
            f"{len(missing)} of {cluster.num_tasks} tasks did not come within {timeout_s:g} s: {', '.join(named)}. See "
            f"whether they started, and whether their nodes reach {points}."
        )

    def release_port(self) -> None:
        """Gives up the port that was kept for TensorFlow, which has opened it."""
        if self._held is not None:
            self._held.close()

    def find_end(self, *, timeout_s: float = _WORD_S) -> str | None:
        """Returns which task ended first and why, if one has; TensorFlow may notice a little before."""
        with self._changed:
            self._changed.wait_for(lambda: self._end is not None, timeout_s)
            return self._end

    def part(self, kept: object) -> None:
        """Returns once all tasks have called it: nobody needs another any more, and may end without harm to others.

        Args:
          kept: is held as long as this: TensorFlow can take a minute to free its iterators, and a process that ends
            at once need not wait for that.

        Raises:
          ClusterError: another has ended before.
        """
        self._kept = kept
        with self._changed:
            if self._link is not None:
                self._link.send("done")
            self._changed.wait_for(lambda: self._is_parting or self._end is not None)
            # Where one has ended, the others leave too, and hear of both at once.
            if self._end is not None:
                raise self.make_loss(self._end)

    def make_loss(self, end: str) -> ClusterError:
        """Returns the error that tells of a task which ended while this one needed it."""
        self._loss = end
        return ClusterError(
            f"worker {self.cluster.task} of {self.cluster.num_tasks} lost another: {end}. The same command on all "
            "workers goes on from the last checkpoint."
        )

    def close(self, failure: BaseException | None = None) -> None:
        """Tells the others why this task ends, unless all leave together, and ends the connection.

        The task that receives all stays until the others have left or heard of it, for some seconds at most.
        """
        is_known = isinstance(failure, InterruptedRun) or self._is_too_late
        is_reachable = self._host is not None or not self.cluster.receives
        is_news = isinstance(failure, Exception) and is_reachable and not is_known
        with self._changed:
            if is_news:
                self._changed.wait_for(lambda: self._link is not None or self._end is not None, _TELL_S)
            if self._link is not None and not self._is_parting:
                self._link.send("end", f"it lost another: {self._loss}" if self._loss else _describe(failure))
                # Where all fail alike, one that still reads what was exchanged last must not lose this one.
                self._changed.wait_for(lambda: self._is_parting, _ALIKE_S if self._addresses else 0)
            self._is_closed = True
            if self._link is not None:
                self._link.hang_up()
            self._changed.notify_all()
        self.release_port()
        if self._host is not None:
            self._host.leave(waits_for_late=is_news)

    def _call(self, point: str, num_points: int, hello: object) -> None:
        """Calls one place until a task of this run answers, here or at another place; then hears what it says."""
        num_silent, pause_s = 0, _LOOK_S
        while not self._is_closed and self._link is None and self._end is None:
            answer, link = self._ask(point, hello)
            num_silent = num_silent + 1 if answer == _CLOSED else 0
            with self._changed:
                if isinstance(answer, Message) and answer.kind == "met" and self._link is None and not self._is_closed:
                    self._link, self._met_at = link, point
                    self._changed.notify_all()
                    break
                if link is not None:
                    link.close()
                self._judge(point, num_points, answer, is_stranger=num_silent >= _NUM_SILENT)
                self._changed.wait(pause_s)
            pause_s = min(_MOST_PAUSE_S, 1.5 * pause_s)
        else:
            return
        self._listen(link)

    def _ask(self, point: str, hello: object) -> tuple[Message | str, Link | None]:
        """Returns what answers at a place: a message, or in words why there is none."""
        try:
            connection = socket.create_connection(ports.split_address(point), timeout=_CALL_S)
        except OSError as error:
            return error.strerror or "no answer", None
        link = Link(connection, most_bytes=_MOST_BYTES)
        link.send("hello", hello)
        try:
            return link.receive(_ANSWER_S) or _CLOSED, link
        except NoMessage as error:
            return f"{_STRANGER} says {error}", link
        except TimeoutError:
            return f"{_STRANGER} has said nothing for {_ANSWER_S:g} s", link

    def _judge(self, point: str, num_points: int, answer: Message | str, *, is_stranger: bool) -> None:
        """Notes what answered at a place that is not the one looked for; ends the search when none is left."""
        if self._link is not None:
            return
        if isinstance(answer, Message):
            if answer.kind == "end":
                self._note_end(str(answer.content))
                return
            answer, is_stranger = f"a task of another run listens there, of {str(answer.content)[:200]}", True
        self._reason = answer
        if is_stranger or answer.startswith(_STRANGER):
            self._strangers[point] = answer
        else:
            self._strangers.pop(point, None)
        if len(self._strangers) == num_points:
            self._note_end(
                f"it is of {self.cluster.run}, and cannot meet the others at {point}: {self._strangers[point]}. End "
                "what listens there, or give another port"
            )

    def _listen(self, link: Link) -> None:
        """Hears what the task that receives all has to say, until it closes."""
        with contextlib.suppress(NoMessage):
            while (message := link.receive(None)) is not None:
                with self._changed:
                    if message.kind == "go" and isinstance(message.content, list):
                        self._addresses = tuple(map(str, message.content))
                    elif message.kind == "free":
                        self._is_free = True
                    elif message.kind == "leave":
                        self._is_parting = True
                        self._silence()
                    elif message.kind == "end":
                        self._note_end(str(message.content))
                    self._changed.notify_all()
        with self._changed:
            if not self._is_parting and not self._is_closed:
                self._note_end(f"the task at {self._met_at} is gone: its connection closed without a word")
        link.close()

    def _note_end(self, end: str) -> None:
        if self._end is None:
            self._end = end
            self._silence()
            self._changed.notify_all()


_CLOSED = "it closes the connection without a word"
_STRANGER = "what listens there is no task of harness and"


def _describe(failure: BaseException | None) -> str:
    if isinstance(failure, KeyboardInterrupt):
        return "stopped by Ctrl-C"
    return str(failure).strip().rstrip(".")[:1000] if failure is not None else "it had nothing more to do"


@contextlib.contextmanager
def open_peers(
    cluster: Cluster,
    *,
    should_stop: Callable[[], str | None] = lambda: None,
    silence: Callable[[], object] = lambda: None,
) -> Iterator[Peers]:
    """Connects this task with the others for what is done within; see `Peers` for the arguments.

    An error within is told to the others.

    Raises:
      ClusterError: this task's port is taken.
    """
    peers = Peers(cluster, should_stop=should_stop, silence=silence)
    try:
        peers._open()
        yield peers
    except BaseException as error:
        peers.close(error)
        raise
    peers.close()
