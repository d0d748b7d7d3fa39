"""TCP ports of a run's tasks: which they try, and how one is kept for TensorFlow until it opens it.

Nothing is sent or received here.
"""

import contextlib
import hashlib
import ipaddress
import socket
from collections.abc import Sequence

from harness.base.errors import ClusterError

RANGE = range(20000, 30000)  # a site opens these between its nodes; below those that Linux gives to clients
_NUM_DERIVED = 8


def derive(name: str) -> tuple[int, ...]:
    """Returns a few ports that follow from a name, in the order to try them; another name gives others."""
    digest = hashlib.sha256(name.encode()).digest()
    places = [int.from_bytes(digest[4 * index : 4 * index + 4], "big") for index in range(_NUM_DERIVED)]
    return tuple(RANGE[place % len(RANGE)] for place in places)


def listen(port: int, *, is_local: bool, is_fixed: bool) -> socket.socket:
    """Returns a socket that listens.

    Args:
      port: where.
      is_local: only this machine can reach it; else it listens on all interfaces, since the name by which others reach
        this node may mean another address to the node itself.
      is_fixed: the port is the user's, and taken also while connections of an earlier run fade out on it.

    Raises:
      OSError: the port is taken.
    """
    listener = _bind(port, is_local=is_local, is_fixed=is_fixed)
    try:
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


def hold(port: int) -> socket.socket:
    """Returns a socket that keeps a port of the user's until it is closed, and lets TensorFlow open it meanwhile.

    Raises:
      OSError: the port is taken.
    """
    held = _bind(port, is_fixed=True)
    try:
        held.listen()  # only this tells whether another listens, and it must not go on: TensorFlow could not
    finally:
        held.close()
    return _bind(port, is_fixed=True)


def hold_free(name: str) -> socket.socket:
    """Returns a socket that keeps a free port of `RANGE` until it is closed, and lets TensorFlow open it meanwhile.

    Raises:
      ClusterError: none is free.
    """
    first = derive(name)[0] - RANGE.start
    for step in range(len(RANGE)):
        with contextlib.suppress(OSError):
            return _bind(RANGE[(first + step) % len(RANGE)])
    raise ClusterError(f"no port from {RANGE.start} to {RANGE.stop - 1} is free on {socket.gethostname()}.")


def split_address(address: str) -> tuple[str, int]:
    """Returns host and port of "host:port"; an IPv6 address stands in brackets there."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def are_local(addresses: Sequence[str]) -> bool:
    """Tells whether all addresses are those of the loopback interface, by IPv4."""
    return all(_is_loopback(split_address(address)[0]) for address in addresses)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bind(port: int, *, is_local: bool = False, is_fixed: bool = False) -> socket.socket:
    has_both = socket.has_dualstack_ipv6() and not is_local
    bound = socket.socket(socket.AF_INET6 if has_both else socket.AF_INET)
    try:
        if has_both:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if is_fixed:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1" if is_local else "", port))
        # Set only now, so that another socket's port was refused; TensorFlow's server sets it, and gets in beside this.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except OSError:
        bound.close()
        raise
    return bound
