"""A connection between two tasks of a run: messages as lines of JSON, each an object with one entry, "kind": content.

What comes in is a stranger's until it has proved otherwise: a line has a limit, and no line breaks anything.
"""

import contextlib
import json
import select
import socket
from collections.abc import Mapping
from typing import NamedTuple

_CHUNK_BYTES = 65536
_SEND_S = 5.0  # a peer whose buffer stays full as long is as good as gone
# A node that loses its power says nothing: the system asks after 10 s of silence, and gives up after 30 s more.
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 6}


class Message(NamedTuple):
    """What one task tells another."""

    kind: str
    content: object


class NoMessage(ValueError):
    """A line that no task of ours has written; its text is the line's beginning."""


class Link:
    """One end of a connection. It may be used by one thread that reads, and under a lock by others that write."""

    def __init__(self, connection: socket.socket, *, most_bytes: int) -> None:
        """Takes the connection over; a line may have `most_bytes`."""
        self.most_bytes = most_bytes
        self._connection, self._unread = connection, b""
        connection.settimeout(_SEND_S)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):  # not on every system
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def fileno(self) -> int:
        """Returns the descriptor, for a selector."""
        return self._connection.fileno()

    @property
    def is_closed(self) -> bool:
        """Whether `close` has been called."""
        return self._connection.fileno() < 0

    def send(self, kind: str, content: object = None) -> None:
        """Sends a message; to one that is gone it is lost without an error, which whoever reads learns."""
        with contextlib.suppress(OSError):
            self._connection.sendall(json.dumps({kind: content}).encode() + b"\n")

    def receive(self, timeout_s: float | None) -> Message | None:
        """Waits for one message.

        Returns:
          The message; None once the other end has closed or is gone.

        Raises:
          NoMessage: what came is none.
          TimeoutError: none came.
        """
        while (found := self.take()) is None:
            if not self.read(timeout_s):
                return None
        return found

    def read(self, timeout_s: float | None) -> bool:
        """Reads what has come, waiting for the first byte; returns whether the other end is still there.

        Raises:
          TimeoutError: nothing came.
        """
        waiting = select.poll()
        waiting.register(self._connection, select.POLLIN)
        if not waiting.poll(None if timeout_s is None else 1000 * timeout_s):
            raise TimeoutError
        try:
            found = self._connection.recv(_CHUNK_BYTES)
        except OSError:
            return False
        self._unread += found
        return bool(found)

    def take(self) -> Message | None:
        """Returns the first message of what was read and not yet taken; None if its end has not come.

        Raises:
          NoMessage: it is none.
        """
        line, end, rest = self._unread.partition(b"\n")
        if len(line) > self.most_bytes or (line and not line.startswith(b"{")):
            raise NoMessage(repr(line[:60].decode(errors="replace")))
        if not end:
            return None
        self._unread = rest
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, Mapping) or len(found) != 1:
            raise NoMessage(repr(line[:60].decode(errors="replace")))
        return Message(*next(iter(found.items())))

    def hang_up(self) -> None:
        """Ends the connection for both sides; what was sent still arrives, and who reads here learns of the end."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Frees the connection; nobody must be reading."""
        self._connection.close()
