"""A real etcd, of Debian's package etcd-server."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any

import httpx

from .following import eventually

ETCD = shutil.which("etcd")


def encoded(text: str) -> str:
    """As the JSON gateway has keys and values."""
    return b64encode(text.encode()).decode()


def free_port() -> int:
    """A port nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class Etcd:
    """One member with its data in a directory. Usable as a context manager."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._peer = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._token: dict[str, str] = {}

    def start(self) -> Etcd:
        """Run, and wait until it answers."""
        assert ETCD is not None
        options = {
            "data-dir": str(self._directory / "data"),
            "listen-client-urls": self.url,
            "advertise-client-urls": self.url,
            "listen-peer-urls": self._peer,
            "initial-advertise-peer-urls": self._peer,
            "initial-cluster": f"default={self._peer}",
            "heartbeat-interval": "10",
            "election-timeout": "100",
            "logger": "zap",
        }
        with (self._directory / "log").open("ab") as log:
            command = [ETCD, *(f"--{name}={value}" for name, value in options.items())]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        eventually(self._healthy, "etcd's start")
        return self

    def _healthy(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(self.url + "/health").json()["health"] == "true"
        return False

    def kill(self) -> None:
        """As when its machine goes down."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wipe(self) -> None:
        """Lose all data."""
        shutil.rmtree(self._directory / "data")

    def call(self, path: str, **question: Any) -> dict[str, Any]:
        """Ask the gateway."""
        response = httpx.post(f"{self.url}/v3{path}", json=question, headers=self._token)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def grant(self, ttl: int) -> str:
        """A lease."""
        lease: str = self.call("/lease/grant", TTL=ttl)["ID"]
        return lease

    def put(self, key: str, value: str, lease: str = "0") -> int:
        """Register; the revision."""
        answer = self.call("/kv/put", key=encoded(key), value=encoded(value), lease=lease)
        return int(answer["header"]["revision"])

    def delete(self, key: str) -> int:
        """Deregister; the revision."""
        return int(self.call("/kv/deleterange", key=encoded(key))["header"]["revision"])

    def demand_login(self, password: str) -> None:
        """Switch authentication on, for a user `root`."""
        self.call("/auth/user/add", name="root", password=password)
        self.call("/auth/role/add", name="root")
        self.call("/auth/user/grant", user="root", role="root")
        self.call("/auth/enable")
        self.login(password)

    def login(self, password: str) -> None:
        """From now on ask as that user."""
        self._token = {}
        token = self.call("/auth/authenticate", name="root", password=password)["token"]
        self._token = {"authorization": token}

    def __enter__(self) -> Etcd:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.kill()
