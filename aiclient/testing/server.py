"""The listening socket of a fake node, its connections, and its control endpoint."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import asdict, dataclass

from . import dialects
from .answers import Answer
from .connection import Connection
from .exchange import Ending, Exchange, NodeState
from .faults import Fault
from .http1 import BadRequest, Request
from .settings import Settings, SpeedOptions
from .slots import Slots

_log = logging.getLogger("aiclient.testing")
_CONTROL = "/_fake/"
_ACCEPT_AT_ONCE = 100
_ACCEPT_PAUSE = 0.1
_TLS_GOODBYE = 1.0
_CLOSING_ROUNDS = 100


@dataclass(frozen=True, slots=True)
class NodeStats:
    """Counters of a node.

    - `received`: requests read, whatever became of them (control requests aside).
    - `served`: of these, answered whole with a status below 400.
    - `active`: of these, not answered yet: in service, waiting for a slot, or hanging.
    - `waiting`: of these, waiting for a slot.
    - `connections`: open connections (control connections aside).
    - `fault`: the name of the fault that is on, or None.
    """

    received: int
    served: int
    active: int
    waiting: int
    connections: int
    fault: str | None


class Server:
    """One node. While it is open, all but `stats` runs in the loop's thread."""

    def __init__(self, settings: Settings, tls: ssl.SSLContext | None) -> None:
        self.state = NodeState(settings, Slots(settings.slots))
        self._tls = tls
        self._new_listener: Callable[[], socket.socket] | None = None
        self._listener: socket.socket | None = None
        self._connections: set[Connection] = set()
        self._control_connections = 0

    def stats(self) -> NodeStats:
        """The counters at this moment; from any thread."""
        fault = self.state.faults.current
        return NodeStats(
            received=self.state.requests.total,
            served=self.state.served,
            active=self.state.active,
            waiting=self.state.slots.waiting,
            connections=len(self._connections) - self._control_connections,
            fault=fault.name if fault else None,
        )

    # life

    def open(self, new_listener: Callable[[], socket.socket]) -> None:
        """Start to listen; `new_listener()` gives a listening, non-blocking socket."""
        self._new_listener = new_listener
        self._listen()

    async def close(self, *, reset: bool) -> None:
        """Stop listening and close every connection at once, with an RST if `reset`."""
        self._stop_listening()
        connections = list(self._connections)
        tasks = [connection.task for connection in connections if connection.task]
        for connection in connections:
            if reset:
                connection.reset()
            else:
                connection.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in connections:
            if not connection.was_greeted:  # asyncio never heard of this socket
                connection.sock.close()
        await _until_closed(connections)
        self._connections.clear()
        self._control_connections = 0
        self.state.faults.heal()

    def forget_sockets(self) -> None:
        """After a fork, in the child: drop the copies of what belongs to the parent."""
        if self._listener is not None:
            self._listener.close()
        for connection in self._connections:
            connection.sock.close()

    def _listen(self) -> None:
        if self._listener is None and self._new_listener is not None:
            self._listener = self._new_listener()
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    # control: the same for FakeNode and, through /_fake/control, for NodeProcess

    async def fault(self, fault: Fault) -> None:
        """Let every request from now on meet `fault`."""
        self.state.faults.begin(fault)
        if fault.name != "refuse":
            self._listen()
            return
        self._stop_listening()
        for connection in list(self._connections):
            if connection.is_idle and not connection.is_control:
                connection.close()
        await asyncio.sleep(0)  # asyncio closes the sockets then; who asked may rely on it

    def heal(self) -> None:
        """No fault any more."""
        self.state.faults.heal()
        self._listen()

    def set_speed(self, changes: SpeedOptions) -> None:
        """Change the speed. Raises ValueError."""
        self.state.settings = self.state.settings.with_speed(changes)
        self.state.slots.resize(self.state.settings.slots)

    async def _control(self, request: Request) -> Answer:
        route = (request.method, request.path)
        try:
            if route == ("POST", "/_fake/control"):
                await self._obey(request.json())
            elif route != ("GET", "/_fake/stats"):
                return dialects.error(404, "there is POST /_fake/control and GET /_fake/stats")
        except (ValueError, RecursionError) as exc:
            return dialects.error(400, str(exc))
        return Answer(body=json.dumps(asdict(self.stats())).encode())

    async def _obey(self, command: object) -> None:
        options: dict[str, object] = command if isinstance(command, dict) else {}
        match options.pop("do", None):
            case "fault":
                name = options.pop("name", None)
                await self.fault(Fault.of(name, options))  # type: ignore[arg-type]
            case "heal":
                self.heal()
            case "set":
                self.set_speed(options)  # type: ignore[arg-type]
            case other:
                raise ValueError(f'an object with "do": "fault", "heal" or "set", not {other!r}')

    # connections

    def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(_ACCEPT_AT_ONCE):
            if self._listener is None:
                return
            try:
                sock, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:  # out of file descriptors: trying again at once would spin
                _log.warning("the fake node cannot accept connections: %s", exc)
                loop.remove_reader(self._listener)
                loop.call_later(_ACCEPT_PAUSE, self._accept_again, self._listener)
                return
            sock.setblocking(False)
            keepalive = self.state.settings.keepalive
            connection = Connection(sock, keepalive, self._forget)
            self._connections.add(connection)
            connection.task = loop.create_task(self._attend(connection))

    def _accept_again(self, listener: socket.socket) -> None:
        if listener is self._listener:
            asyncio.get_running_loop().add_reader(listener, self._accept)

    def _forget(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.discard(connection)
            if connection.is_control:
                self._control_connections -= 1

    async def _attend(self, connection: Connection) -> None:
        connection.was_greeted = True
        try:
            await self._greet(connection)
            await self._answer_requests(connection)
        except Exception:
            _log.exception("the fake node failed to answer")
        finally:
            connection.close()

    async def _greet(self, connection: Connection) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                connection.sock,
                ssl=self._tls,
                ssl_shutdown_timeout=_TLS_GOODBYE if self._tls else None,
            )
        except OSError as exc:
            _log.debug("no TLS handshake with the fake node: %s", exc)
            await _until_closed([connection])
            self._forget(connection)

    async def _answer_requests(self, connection: Connection) -> None:
        ending = Ending.KEEP
        while ending is Ending.KEEP and not connection.is_closing:
            if self._listener is None and not connection.is_control:
                break
            try:
                request = await connection.read()
                ending = await self._answer(connection, request)
            except BadRequest as bad:
                request = Request("", "", {}, b"", "HTTP/1.1", False)
                answer = dialects.error(bad.status, str(bad))
                ending = await Exchange(self.state, connection, request).send(answer)
            if ending is Ending.KEEP:
                await connection.flush()
        if ending is Ending.RESET:
            connection.reset()

    async def _answer(self, connection: Connection, request: Request) -> Ending:
        exchange = Exchange(self.state, connection, request)
        if request.path.startswith(_CONTROL):
            if not connection.is_control:
                connection.is_control = True
                self._control_connections += 1
            return await exchange.send(await self._control(request))
        state = self.state
        state.requests.append(request)
        state.active += 1
        try:
            return await exchange.run()
        finally:
            state.active -= 1


async def _until_closed(connections: list[Connection]) -> None:
    # asyncio closes an aborted socket a few turns of the loop later; a loop that ended before
    # would leave it to the garbage collector.
    for _ in range(_CLOSING_ROUNDS):
        if all(connection.sock.fileno() == -1 for connection in connections):
            return
        await asyncio.sleep(0)
