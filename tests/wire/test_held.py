"""The system calls made with the interpreter lock held do what a socket's own methods do."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from aiclient.wire import held

WAYS = [(held._is_quiet, held._send_some), held._with_the_lock()]
ways = pytest.mark.parametrize(("is_quiet", "send_some"), WAYS, ids=["socket", "ctypes"])


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as ours,
    ):
        theirs, _ = listener.accept()
        with theirs:
            yield ours, theirs


def test_the_c_library_is_reached_here() -> None:
    """Else the other tests would test the same thing twice."""
    assert held.is_quiet is not held._is_quiet
    assert held.send_some is not held._send_some


@ways
def test_an_open_connection_is_quiet(
    pair: tuple[socket.socket, socket.socket],
    is_quiet: held.IsQuiet,
    send_some: held.SendSome,
) -> None:
    """Until something waits to be read, which looking leaves there."""
    ours, theirs = pair
    assert is_quiet(ours)
    theirs.sendall(b"unasked")
    ours.recv(1, socket.MSG_PEEK)  # now it is here
    assert not is_quiet(ours)
    assert ours.recv(7) == b"unasked", "nothing was taken"
    assert is_quiet(ours)


@ways
def test_a_closed_connection_is_not_quiet(
    pair: tuple[socket.socket, socket.socket],
    is_quiet: held.IsQuiet,
    send_some: held.SendSome,
) -> None:
    """Its end can be read."""
    ours, theirs = pair
    theirs.close()
    assert ours.recv(1, socket.MSG_PEEK) == b""
    assert not is_quiet(ours)


@ways
def test_a_reset_connection_is_not_quiet(
    pair: tuple[socket.socket, socket.socket],
    is_quiet: held.IsQuiet,
    send_some: held.SendSome,
) -> None:
    """Its error has been read; its end is left."""
    ours, theirs = pair
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    with pytest.raises(ConnectionResetError):
        ours.recv(1, socket.MSG_PEEK)
    assert not is_quiet(ours)


@ways
def test_what_fits_is_sent_and_counted(
    pair: tuple[socket.socket, socket.socket],
    is_quiet: held.IsQuiet,
    send_some: held.SendSome,
) -> None:
    """As much as the kernel has room for, and no byte is lost."""
    ours, theirs = pair
    assert send_some(ours, b"with\0nul") == 8
    assert theirs.recv(100) == b"with\0nul"
    most = 64 * 1024 * 1024
    taken = send_some(ours, bytes(most))
    assert 0 < taken < most, "nobody reads: there is an end to what fits"
    assert send_some(ours, bytes(most)) == 0
    received = 0
    while received < taken:
        received += len(theirs.recv(1 << 20))
    assert received == taken


@ways
def test_of_a_closed_socket_nothing_is_expected(
    pair: tuple[socket.socket, socket.socket],
    is_quiet: held.IsQuiet,
    send_some: held.SendSome,
) -> None:
    """Whoever needs to know why asks it in the ordinary way."""
    ours, _ = pair
    ours.close()
    assert not is_quiet(ours)
    assert send_some(ours, b"x") == 0


def test_without_a_c_library_the_sockets_methods_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python without ctypes is a Python."""

    def missing() -> None:
        raise ImportError("no ctypes")

    monkeypatch.setattr(held, "_with_the_lock", missing)
    assert held._best() == (held._is_quiet, held._send_some)
