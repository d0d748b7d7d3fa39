"""Tasks that meet, hear of one another's end, and leave together, each in a thread of its own with real connections."""

import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.base.errors import ClusterError, DataError, InterruptedRun
from harness.distribute.cluster import Cluster
from harness.distribute.peers import open_peers
from harness.distribute.ports import RANGE, derive, hold, hold_free


def free_ports(count):
    with contextlib.ExitStack() as stack:
        free = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in free]


def tasks_of(num_tasks, *, run="a run", ports=None, picks_ports=False):
    """Tasks of one machine; of a user's addresses, or such as SLURM starts, which pick their ports."""
    ports = ports or free_ports(num_tasks)
    addresses = tuple(f"127.0.0.1:{port}" for port in ports)
    points = addresses if picks_ports else addresses[:1]
    return [
        Cluster(
            task=task,
            num_tasks=num_tasks,
            run=run,
            host="127.0.0.1",
            hosts=("127.0.0.1",),
            meeting_points=points,
            receives=task == 0,
            addresses=() if picks_ports else addresses,
            num_local=num_tasks,
        )
        for task in range(num_tasks)
    ]


def run_all(tasks, work, **options):
    """Does the work as each task, at once; returns what each came to: a value, or the error."""

    def run(task):
        try:
            with open_peers(task, **options) as peers:
                return work(peers)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(tasks)) as pool:
        return [one.result(timeout=60) for one in [pool.submit(run, task) for task in tasks]]


def meet_and_part(peers):
    addresses = peers.meet(timeout_s=30)
    peers.part(None)
    return addresses


def test_all_come_in_any_order_and_leave_together():
    tasks = tasks_of(3)
    assert run_all(tasks[::-1], meet_and_part) == [tasks[0].addresses] * 3


def test_the_same_port_serves_again_at_once():
    tasks = tasks_of(2)
    for _ in range(3):
        assert run_all(tasks, meet_and_part) == [tasks[0].addresses] * 2


def test_tasks_that_pick_their_ports_learn_of_all():
    tasks = tasks_of(4, picks_ports=True)
    told = run_all(tasks, meet_and_part)
    assert told == [told[0]] * 4 and len(set(told[0])) == 4
    ports = [int(address.removeprefix("127.0.0.1:")) for address in told[0]]
    assert ports[0] == int(tasks[0].meeting_points[0].rpartition(":")[2])
    assert all(port in RANGE for port in ports[1:])


def test_two_runs_that_would_meet_at_the_same_ports_do_not():
    ports = free_ports(2)
    one, other = (tasks_of(2, run=run, ports=ports, picks_ports=True) for run in ("job 1", "job 2"))
    told = run_all([one[0], other[0], other[1], one[1]], meet_and_part)
    assert told[0] == told[3] != told[1] == told[2]
    assert {told[0][0], told[1][0]} == {f"127.0.0.1:{port}" for port in ports}


def test_a_task_of_another_run_is_refused_at_once_and_not_counted():
    ports = free_ports(3)
    chief = tasks_of(3, run="TF_CONFIG's a", ports=ports)[0]
    stranger = tasks_of(3, run="TF_CONFIG's b", ports=ports)[1]
    started = time.monotonic()
    with open_peers(chief) as peers:
        refused = run_all([stranger], lambda peers: peers.meet(timeout_s=60))[0]
        assert isinstance(refused, ClusterError)
        assert "it is of TF_CONFIG's b" in str(refused) and "of another run listens there, of TF_CONFIG's a" in str(
            refused
        )
        with pytest.raises(ClusterError, match=r"2 of 3 tasks did not come within 0.5 s: 1 \(127.0.0.1:"):
            peers.meet(timeout_s=0.5)
    assert time.monotonic() - started < 60


def test_a_task_that_has_come_is_waited_for_beyond_the_time_to_come():
    def come_late(peers):
        if not peers.cluster.is_chief:
            time.sleep(2)  # as one that copies records
        return peers.meet(timeout_s=1)

    tasks = tasks_of(2)
    assert run_all(tasks, come_late) == [tasks[0].addresses] * 2


def test_a_task_that_is_there_twice_is_refused():
    chief, second, _ = tasks_of(3)
    address = ("127.0.0.1", int(chief.meeting_points[0].rpartition(":")[2]))
    hello = {"hello": {"run": "a run", "task": 1, "address": "elsewhere:1"}}
    with open_peers(chief), socket.create_connection(address, timeout=10) as one:
        one.sendall(json.dumps(hello).encode() + b"\n")
        assert json.loads(one.makefile().readline()) == {"met": "a run"}
        again = run_all([second], lambda peers: peers.meet(timeout_s=30))[0]
    assert isinstance(again, ClusterError) and "another process is task 1 already, at elsewhere:1" in str(again)


def test_a_missing_chief_is_named():
    tasks = tasks_of(2)
    with open_peers(tasks[1]) as peers, pytest.raises(ClusterError) as caught:
        peers.meet(timeout_s=0.5)
    assert f"waited 0.5 s for the first at {tasks[0].addresses[0]}: Connection refused" in str(caught.value)


@pytest.mark.parametrize("taken", [0, 1])
def test_all_learn_at_once_that_a_port_of_the_users_is_taken(taken):
    tasks = tasks_of(3)
    port = int(tasks[taken].addresses[taken].rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)) as stranger:
        threading.Thread(target=answer_all, args=(stranger, b"HTTP/1.0 400 Bad Request\r\n\r\n"), daemon=True).start()
        told = run_all(tasks, lambda peers: peers.meet(timeout_s=60))
        stranger.shutdown(socket.SHUT_RDWR)
    assert [type(one) for one in told] == [ClusterError] * 3, told
    assert "cannot listen at" in str(told[taken]) and "Address already in use" in str(told[taken])
    for one in told[:taken] + told[taken + 1 :]:
        expected = "cannot listen at" if taken else "no task of harness and says 'HTTP/1.0 400 Bad Request"
        assert expected in str(one)


def answer_all(listener, answer):
    """A stranger's server: says its piece to everybody, and closes."""
    with contextlib.suppress(OSError):
        while True:
            caller = listener.accept()[0]
            with caller:
                caller.sendall(answer)
                caller.recv(4096)


def test_where_only_one_place_is_a_strangers_another_is_found():
    ports = free_ports(2)
    tasks = tasks_of(2, ports=ports, picks_ports=True)
    with socket.create_server(("127.0.0.1", ports[0])):  # accepts, and says nothing
        told = run_all(tasks, meet_and_part)
    assert told[0] == told[1] and told[0][0] == f"127.0.0.1:{ports[1]}"


def test_a_task_that_fails_before_all_have_come_ends_the_others_with_its_reason():
    def fail_as_second(peers):
        if peers.cluster.task == 1:
            raise DataError("records/train-0 is missing.")
        return peers.meet(timeout_s=60)

    told = run_all(tasks_of(3), fail_as_second)
    assert isinstance(told[1], DataError)
    for one in (told[0], told[2]):
        assert isinstance(one, ClusterError) and "ended: records/train-0 is missing. " not in str(one)
        assert "task 1 (127.0.0.1:" in str(one) and "ended: records/train-0 is missing" in str(one)


def test_one_that_comes_after_the_chief_has_failed_hears_why():
    tasks, has_failed = tasks_of(2), threading.Event()

    def fail_as_chief(peers):
        if peers.cluster.is_chief:
            has_failed.set()
            raise DataError("no such folder.")
        return peers.meet(timeout_s=60)

    def come_late():
        has_failed.wait(20)
        return run_all(tasks[1:], fail_as_chief)[0]

    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(come_late)
        assert isinstance(run_all(tasks[:1], fail_as_chief)[0], DataError)
        assert "task 0 (127.0.0.1:" in str(late.result()) and "ended: no such folder" in str(late.result())


def test_one_that_ends_while_the_others_train_is_named_when_they_need_it():
    silenced = []

    def fail_as_last(peers):
        peers.meet(timeout_s=30)
        if peers.cluster.task == 2:
            raise DataError("shard 7 is damaged.")
        peers.part(None)

    told = run_all(tasks_of(3), fail_as_last, silence=lambda: silenced.append(1))
    assert isinstance(told[2], DataError) and len(silenced) >= 2
    for index in (0, 1):
        assert isinstance(told[index], ClusterError)
        assert f"worker {index} of 3 lost another: task 2 (127.0.0.1:" in str(told[index])
        assert "ended: shard 7 is damaged. The same command on all workers goes on" in str(told[index])


def test_what_to_do_is_said_once_where_one_loss_follows_another():
    def lose_a_third(peers):
        peers.meet(timeout_s=30)
        if peers.cluster.task == 1:
            raise peers.make_loss("task 2 has given no sign of life for too long")
        peers.part(None)

    told = run_all(tasks_of(2), lose_a_third)[0]
    assert isinstance(told, ClusterError) and "ended: it lost another: task 2 has given no sign of life" in str(told)
    assert str(told).count("The same command on all workers goes on") == 1


def test_one_that_has_done_all_does_not_take_the_end_of_another_for_success():
    tasks = tasks_of(2)
    said = [
        b'{"met": "a run"}\n',
        b'{"go": ["a:1", "b:2"]}\n',
        b'{"end": "task 0 (a:1) ended: the disk is full"}\n{"leave": null}\n',  # as they arrive at a busy process
    ]

    def play_chief(listener):
        with listener.accept()[0] as caller, caller.makefile() as lines:
            for words in said:
                lines.readline()
                caller.sendall(words)
            lines.readline()

    with socket.create_server(("127.0.0.1", int(tasks[0].addresses[0].rpartition(":")[2]))) as listener:
        threading.Thread(target=play_chief, args=(listener,), daemon=True).start()
        told = run_all(tasks[1:], meet_and_part)[0]
    assert isinstance(told, ClusterError) and "lost another: task 0 (a:1) ended: the disk is full" in str(told)


def test_one_that_waits_for_others_can_be_stopped():
    with open_peers(tasks_of(2)[0], should_stop=lambda: "SIGTERM") as peers:
        with pytest.raises(InterruptedRun, match="stopped by SIGTERM while it waited for the other tasks"):
            peers.meet(timeout_s=60)
        peers.release_port()


def test_one_that_was_asked_to_stop_before_it_meets_the_others_lets_none_start():
    tasks, stops = tasks_of(2), threading.Event()
    stops.set()

    def come_last(peers):
        time.sleep(1)  # the first is ready by then
        return peers.meet(timeout_s=60)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run_all, tasks[:1], lambda peers: peers.meet(timeout_s=60))
        last = pool.submit(run_all, tasks[1:], come_last, should_stop=lambda: "SIGTERM" if stops.is_set() else None)
        (first,), (last,) = first.result(60), last.result(60)
    assert isinstance(last, InterruptedRun) and isinstance(first, ClusterError), (first, last)
    assert "task 0 of 2 does not start: task 1 (127.0.0.1:" in str(first) and "stopped by SIGTERM" in str(first)


def test_tasks_that_are_stopped_while_they_meet_start_all_or_none():
    for delay_ms in range(0, 40, 2):
        tasks, asked = tasks_of(3), threading.Event()

        def stop_one(peers, asked=asked, delay_ms=delay_ms):
            if peers.cluster.task == 2:
                threading.Timer(0.2 + delay_ms / 1000, asked.set).start()
            time.sleep(0.2)
            return peers.meet(timeout_s=60)

        def is_asked(asked=asked):
            return "SIGUSR2" if asked.is_set() else None

        told = run_all(tasks, stop_one, should_stop=is_asked)
        have_started = [isinstance(one, tuple) for one in told]
        assert all(have_started) or not any(have_started), told
        assert all(isinstance(one, tuple | InterruptedRun | ClusterError) for one in told), told


HOSTILE = [
    *(b"GET / HTTP/1.1\r\n\r\n", b"\n", b"{}\n", b"[]\n", b"{\n", b'{"hello": null}\n', b"\xff" * 100, b"7\n"),
    b'{"hello": {"run": 7, "task": 1, "address": "a"}}\n',
    b'{"hello": {"run": "a run", "task": 9, "address": "a"}}\n',
    b'{"hello": {"run": "a run", "task": true, "address": "a"}}\n',
    b'{"hello": {"run": "a run", "task": 1}}\n',
    b'{"end": "because"}\n{"done": null}\n',
    *(b"x" * 1_000_000, b'{"hello": "' + b"x" * 1_000_000, b"[" * 100_000 + b"\n", b'{"hello": ' + b"[" * 2000),
]


def test_strangers_are_neither_counted_nor_waited_for():
    tasks = tasks_of(2)
    address = ("127.0.0.1", int(tasks[0].meeting_points[0].rpartition(":")[2]))
    with open_peers(tasks[0]) as chief, contextlib.ExitStack() as stack:
        for _ in range(300):  # half-open ones, which say nothing
            stack.enter_context(socket.create_connection(address, timeout=10))
        for line in HOSTILE:
            with socket.create_connection(address, timeout=10) as stranger, contextlib.suppress(OSError):
                stranger.sendall(line)
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(run_all, tasks[1:], meet_and_part)
            assert meet_and_part(chief) == tasks[0].addresses
            assert other.result() == [tasks[0].addresses]


def test_who_asks_without_belonging_hears_which_run_it_is():
    tasks = tasks_of(2, run="SLURM's job 7 step 0")
    address = ("127.0.0.1", int(tasks[0].meeting_points[0].rpartition(":")[2]))
    with open_peers(tasks[0]), socket.create_connection(address, timeout=10) as stranger:
        stranger.sendall(b'{"hello": {"run": "SLURM\'s job 8 step 0", "task": 1, "address": "a:1"}}\n')
        assert json.loads(stranger.makefile().readline()) == {"other": "SLURM's job 7 step 0"}


def test_a_local_run_is_not_reachable_from_elsewhere():
    tasks = tasks_of(2)
    port = int(tasks[0].meeting_points[0].rpartition(":")[2])
    with open_peers(tasks[0]), socket.create_server(("127.0.0.2", port)) as other:
        assert other.getsockname()[0] == "127.0.0.2"  # as all interfaces would not have left it free


def test_a_held_port_is_taken_for_all_but_one_who_asks_for_the_same():
    held = hold_free("a name")
    port = held.getsockname()[1]
    assert port in RANGE and port in derive("a name")[:1]
    with pytest.raises(OSError, match="in use"), socket.socket() as other:
        other.bind(("", port))
    with hold_free("a name") as other:
        assert other.getsockname()[1] == port + 1
    with socket.socket() as server:  # as TensorFlow's does it
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("", port))
        server.listen()
        with pytest.raises(OSError, match="in use"):
            hold(port)
    held.close()


def test_ports_follow_from_the_name_and_differ():
    assert derive("SLURM's job 1 step 0") == derive("SLURM's job 1 step 0")
    firsts = {derive(f"SLURM's job {job} step {step}")[0] for job in range(0, 156 * 20, 156) for step in range(5)}
    assert len(firsts) >= 95 and all(port in RANGE for port in firsts)
