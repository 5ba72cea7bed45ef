"""A fake AI node in a process of its own, which can be killed for real."""

from __future__ import annotations

import http.client
import json
import os
import selectors
import ssl
import subprocess
import sys
import threading
from dataclasses import asdict
from typing import Unpack

from .faults import Fault, FaultOptions
from .ports import ReservedPort, url_of
from .server import NodeStats
from .settings import SettingOptions, Settings, SpeedOptions

_START_TIMEOUT = 30.0
_STOP_TIMEOUT = 10.0
_CONTROL_TIMEOUT = 10.0


class NodeProcess:
    """A `FakeNode` as a process: the same settings, the same control, and a real SIGKILL.

        with NodeProcess(slots=2) as node:
            httpx.post(node.url + "/v1/chat/completions", json={"messages": []})
            node.kill()
            node.start()                  # again on the same port

    The process ends with this one, however this one ends. `host`, `port` and `tls` (a pair of
    files) are as for `FakeNode`; `aiclient.testing.Settings` gives the meaning of `settings`.
    Thread safe. POSIX only.

    Raises ValueError for a bad setting, OSError when the port is taken, RuntimeError when the
    process does not come up.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: tuple[str | os.PathLike[str], str | os.PathLike[str]] | None = None,
        **settings: Unpack[SettingOptions],
    ) -> None:
        self._settings = Settings(**settings)
        self._host = host
        self._port = port
        self._tls = tls
        self._lock = threading.RLock()
        self._reserved: ReservedPort | None = None  # guarded by _lock
        self._process: subprocess.Popen[bytes] | None = None  # guarded by _lock
        self._line: http.client.HTTPConnection | None = None  # guarded by _lock

    @property
    def host(self) -> str:
        """The address it listens on."""
        return self._host

    @property
    def port(self) -> int:
        """The port; known once it was started. Raises RuntimeError before that."""
        if self._port == 0:
            raise RuntimeError("the node has no port yet: start it first")
        return self._port

    @property
    def url(self) -> str:
        """`http://host:port`, with its prefix. Raises RuntimeError before the first start."""
        return url_of(self._host, self.port, tls=self._tls is not None) + self._settings.prefix

    @property
    def name(self) -> str:
        """Its name, as in `x-fake-node`. Raises RuntimeError before the first start."""
        return self._settings.name or f"node-{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id, or None when it is down."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    # life

    def start(self) -> NodeProcess:
        """Start the process and wait until it listens. Harmless if it runs."""
        with self._lock:
            if self.pid is not None:
                return self
            self._reap()
            if self._reserved is None:
                self._reserved = ReservedPort(self._host, self._port)
            self._port = self._reserved.port
            try:
                self._process = subprocess.Popen(
                    self._command(),
                    env=_environment(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C is for this process to handle
                )
                self._wait_until_listening(self._process)
            except BaseException:
                self.kill()
                self._let_go()
                raise
        return self

    def kill(self) -> None:
        """SIGKILL: the kernel closes its connections, new ones are refused."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
            self._reap()

    def terminate(self) -> None:
        """SIGTERM, and wait until it ended."""
        with self._lock:
            if self._process is not None:
                self._process.terminate()
            self._reap()

    def stop(self) -> None:
        """Terminate it and let go of the port."""
        with self._lock:
            self.terminate()
            self._let_go()

    def __enter__(self) -> NodeProcess:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    async def __aenter__(self) -> NodeProcess:
        return self.start()

    async def __aexit__(self, *_exc: object) -> None:
        self.stop()

    def _let_go(self) -> None:
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def _command(self) -> list[str]:
        command = [sys.executable, "-P", "-m", "aiclient.testing.node", "--exit-with-stdin"]
        options = {**asdict(self._settings), "host": self._host, "port": self._port}
        if self._tls is not None:
            options["certfile"], options["keyfile"] = map(str, self._tls)
        for name, value in options.items():
            if value is not None:
                command += [f"--{name.replace('_', '-')}={value}"]
        return command

    def _wait_until_listening(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            ready = selector.select(_START_TIMEOUT)
        if not ready or not process.stdout.readline().startswith(b"listening on "):
            self.kill()
            raise RuntimeError(f"the node process did not come up (status {process.returncode})")
        self._line = self._new_line()
        self.stats()  # the node keeps this connection from now on, whatever its fault

    def _reap(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    # control

    def fault(self, name: str, **options: Unpack[FaultOptions]) -> None:
        """As `FakeNode.fault`."""
        Fault.of(name, options)
        self._tell({"do": "fault", "name": name, **options})

    def heal(self) -> None:
        """As `FakeNode.heal`."""
        with self._lock:
            if self._process is not None:
                self._tell({"do": "heal"})

    def set(self, **changes: Unpack[SpeedOptions]) -> None:
        """As `FakeNode.set`; a later `start()` keeps the changes."""
        with self._lock:
            settings = self._settings.with_speed(changes)
            if self._process is not None:
                self._tell({"do": "set", **changes})
            self._settings = settings

    def stats(self) -> NodeStats:
        """The counters of the process, from 0 at each start."""
        return self._ask("GET", "/_fake/stats", None)

    def _tell(self, command: dict[str, object]) -> NodeStats:
        return self._ask("POST", "/_fake/control", json.dumps(command))

    def _ask(self, method: str, path: str, body: str | None) -> NodeStats:
        # One connection is kept for this: a node that refuses connections keeps those that
        # carried control requests, so it can still be healed.
        with self._lock:
            if self._line is None:
                raise RuntimeError("the node is not running")
            try:
                self._line.request(method, path, body)
                response = self._line.getresponse()
                data = json.loads(response.read())
            except BaseException:
                self._line.close()  # it connects anew with the next request
                raise
        if response.status == 400:
            raise ValueError(data["error"]["message"])
        return NodeStats(**data)

    def _new_line(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=_CONTROL_TIMEOUT)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=_CONTROL_TIMEOUT, context=context
        )

    def __repr__(self) -> str:
        where = self.url if self._port else self._host
        return f"<NodeProcess {where} {f'pid {self.pid}' if self.pid else 'down'}>"


def _environment() -> dict[str, str]:
    # The child must find the same package, also where it is not installed.
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)}
