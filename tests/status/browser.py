"""Debian's Chromium without a window, driven over its DevTools protocol through two pipes."""

import base64
import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE = 40.0
# The protocol wants its pipes at 3 and 4, which here may be anything's.
LAUNCHER = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3])
os.dup2(read, 3), os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
OPTIONS = [
    "--headless",
    "--no-sandbox",  # tests run as root in containers; the page is our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-pipe",
]


class Page:
    """One tab. `problems`: what the browser had to complain about, errors of scripts included."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write
        self._selector = selectors.DefaultSelector()
        self._selector.register(read, selectors.EVENT_READ)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.problems: list[str] = []
        self.navigations = 0

    def attach(self) -> None:
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result, noting the events that come before it."""
        self._number += 1
        command: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._write, json.dumps(command).encode() + b"\0")
        give_up_at = time.monotonic() + PATIENCE
        while True:
            message = self._next(give_up_at)
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _next(self, give_up_at: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert self._selector.select(give_up_at - time.monotonic()), "Chromium is silent"
            data = os.read(self._read, 1 << 20)
            assert data, "Chromium has ended"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, message: dict[str, Any]) -> None:
        match message.get("method"):
            case "Runtime.exceptionThrown" | "Log.entryAdded":
                self.problems.append(json.dumps(message["params"]))
            case "Page.frameNavigated":
                self.navigations += 1

    def open(self, url: str) -> None:
        assert "errorText" not in self.ask("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, expression: str, seconds: float = PATIENCE) -> float:
        """Seconds until the expression was true."""
        start = time.monotonic()
        while not self.evaluate(expression):
            waited = time.monotonic() - start
            assert waited < seconds, f"not within {seconds} s: {expression}\n{self.text()}"
            time.sleep(0.02)
        return time.monotonic() - start

    def text(self) -> str:
        """What a person reads."""
        return self.evaluate("document.body ? document.body.innerText : ''")

    def size(self, width: int, height: int, scale: float = 1, *, phone: bool = False) -> None:
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=phone,
        )

    def prefer(self, scheme: str) -> None:
        """Light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))


@contextlib.contextmanager
def browser() -> Iterator[Page]:
    """A browser with an empty tab and a profile of its own."""
    assert CHROMIUM is not None
    to_read, from_us = os.pipe()
    from_it, to_write = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [sys.executable, "-c", LAUNCHER, str(to_read), str(to_write), CHROMIUM]
        process = subprocess.Popen(
            [*command, *OPTIONS, f"--user-data-dir={profile}"],
            pass_fds=(to_read, to_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_read)
        os.close(to_write)
        page = Page(from_it, from_us)
        try:
            page.attach()
            yield page
        finally:
            # All it has started is in the group that is its own.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            page._selector.close()
            os.close(from_it)
            os.close(from_us)
