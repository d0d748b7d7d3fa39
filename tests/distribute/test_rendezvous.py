"""Tasks that wait for one another, with a limit."""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.base.errors import ClusterError
from harness.distribute.cluster import Cluster
from harness.distribute.rendezvous import meet


@pytest.fixture
def addresses():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return (f"127.0.0.1:{port}", "127.0.0.1:1", "127.0.0.1:2")


def test_all_come_in_any_order(addresses):
    with ThreadPoolExecutor(3) as pool:
        waits = [pool.submit(meet, Cluster(task, addresses), timeout_s=20) for task in (2, 0, 1)]
        assert [wait.result() for wait in waits] == [None, None, None]


def test_the_chief_names_who_is_missing(addresses):
    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(meet, Cluster(task, addresses), timeout_s=1) for task in (0, 1))
        with pytest.raises(ClusterError, match=r"1 of 3 tasks did not come within 1 s: 2 \(127.0.0.1:2\)"):
            first.result()
        with pytest.raises(ClusterError, match="task 1 of 3 waited 1 s for the first at "):
            second.result()


def test_a_missing_chief_is_named(addresses):
    with pytest.raises(ClusterError, match=f"waited 0.3 s for the first at {addresses[0]}: Connection refused"):
        meet(Cluster(1, addresses), timeout_s=0.3)


def test_a_port_in_use_is_named(addresses):
    port = int(addresses[0].rpartition(":")[2])
    with socket.create_server(("", port)), pytest.raises(ClusterError, match=f"cannot listen at port {port}"):
        meet(Cluster(0, addresses), timeout_s=1)


def test_strangers_are_not_counted(addresses):
    port = int(addresses[0].rpartition(":")[2])
    with ThreadPoolExecutor(1) as pool:
        chief = pool.submit(meet, Cluster(0, addresses), timeout_s=2)
        sent = 0
        while sent < 2:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1) as stranger:
                    stranger.sendall((b"GET / HTTP/1.1\r\n\r\n", b"7\n")[sent])
                sent += 1
            except ConnectionRefusedError:
                continue
        with pytest.raises(ClusterError, match="2 of 3 tasks did not come"):
            chief.result()
