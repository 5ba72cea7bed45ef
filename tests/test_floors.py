"""The rooms of the package and who may import whom (an arrow goes down, or stays on its floor)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "aiclient"

# Low to high. A new room needs a line here; a room that is not listed is an error.
FLOORS = [
    {"errors", "endpoint", "facts", "settings", "health_check"},
    {"context"},
    {"core"},
    {"wire", "telemetry", "discovery", "health", "balancer", "lease", "loops", "pausing"},
    {"transports"},
    {"client", "httpx2", "status"},  # httpx2: the same four shells for the other family, generated
    {"aiclient"},  # aiclient/__init__.py itself, and what users import from it
    {"simulation", "testing", "cli"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

# core/ decides, it never does: no I/O, no waiting, no telemetry.
NOT_IN_CORE = {
    *("anyio", "asyncio", "sniffio", "trio"),
    *("h11", "h2", "http", "httpcore", "httpcore2", "httpx", "httpx2", "urllib.request"),
    *("concurrent", "multiprocessing", "select", "selectors", "socket", "ssl", "subprocess"),
    *("_thread", "opentelemetry", "threading", "time.sleep"),
}
# Judged by the names used of them: `import threading` is fine where only Lock is used.
PER_NAME = {"threading", "time"}
# The one lock: this name, in this file only.
THE_LOCK = ("core/guarded.py", "threading.Lock")


def violations(path: str, source: str) -> list[str]:
    """What one module (its path below aiclient/) imports against the rules, one line each."""
    found = []
    own = room_of_path(path)
    if own not in FLOOR:
        return [f"{path}: room {own!r} is on no floor"]
    for line, name in imported(path, source):
        problem = None
        if name.split(".")[0] == "aiclient":
            problem = against_floors(own, room_of_name(name))
        elif own == "core" and (path, name) != THE_LOCK and below(name, NOT_IN_CORE):
            problem = f"core may not use {name}"
        if problem:
            found.append(f"{path}:{line}: {problem}")
    return found


def against_floors(own: str, other: str) -> str | None:
    """Why a module of room `own` may not import from room `other`, or None."""
    if own == other:
        return None
    if other not in FLOOR:
        return f"room {other!r} is on no floor"
    if own == "testing":
        return f"testing stands alone, it may not import {other}"
    if FLOOR[other] > FLOOR[own]:
        return f"{own} (floor {FLOOR[own]}) may not import {other} (floor {FLOOR[other]})"
    return None


def below(name: str, modules: set[str]) -> bool:
    """Whether a dotted name is one of these modules, or in one of them."""
    return any(f"{name}.".startswith(f"{module}.") for module in modules)


def room_of_path(path: str) -> str:
    """The room a file is in, by its path below aiclient/."""
    first = path.split("/")[0].removesuffix(".py")
    return "aiclient" if first == "__init__" else first


def room_of_name(name: str) -> str:
    """The room a dotted name lives in: `aiclient.Client` is in the package root itself."""
    parts = name.split(".")
    if len(parts) == 1:
        return "aiclient"
    module = PACKAGE / parts[1]
    known = parts[1] in FLOOR or module.is_dir() or module.with_suffix(".py").is_file()
    return parts[1] if known else "aiclient"


def imported(path: str, source: str) -> Iterator[tuple[int, str]]:
    """Every dotted name a module imports, under TYPE_CHECKING and in functions too.

    `from a import b` is `a.b`; after `import a`, each use `a.b` is `a.b` (a module alone may be
    harmless where one of its names is not: time and time.sleep).
    """
    package = ["aiclient", *path.split("/")[:-1]]
    tree = ast.parse(source)
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    bound = alias.asname or alias.name.split(".")[0]
                    aliases[bound] = alias.name if alias.asname else bound
                    if alias.name not in PER_NAME:
                        yield node.lineno, alias.name
            case ast.ImportFrom(module=module, names=names, level=level):
                base = package[: len(package) - level + 1] if level else []
                for alias in names:
                    name = ".".join([*base, *([module] if module else []), alias.name])
                    yield node.lineno, name.removesuffix(".*")
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                level = len(name) - len(name.lstrip("."))
                base = package[: len(package) - level + 1] if level else []
                yield node.lineno, ".".join([*base, name.lstrip(".")])
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=attr) if (
                aliases.get(module) in PER_NAME
            ):
                yield node.lineno, f"{aliases[module]}.{attr}"


def test_no_arrow_runs_back_up() -> None:
    """Imports go down only, and the core does no I/O."""
    modules = sorted(PACKAGE.rglob("*.py"))
    assert modules
    found = [
        line
        for module in modules
        for line in violations(module.relative_to(PACKAGE).as_posix(), module.read_text("utf-8"))
    ]
    assert not found, "\n".join(["imports against the floors:", *found])


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("errors.py", "from aiclient.core.node import Node"),
        ("errors.py", "from .core import node"),
        ("settings.py", "from . import client"),
        ("core/node.py", "from ..transports import httpx"),
        ("core/node.py", "from .. import telemetry"),
        ("core/deep/node.py", "from ...wire.pool import Pool"),
        ("core/node.py", "import aiclient"),
        ("core/node.py", "from aiclient import Client"),
        ("wire/pool.py", "import aiclient.transports.sync"),
        ("transports/sync.py", "def f():\n    from aiclient import client"),
        ("client.py", "if TYPE_CHECKING:\n    from aiclient.testing import FakeNode"),
        ("client.py", "importlib.import_module('aiclient.cli')"),
        ("client.py", "importlib.import_module('.simulation', __package__)"),
        ("__init__.py", "from aiclient.testing import FakeNode"),
        ("__init__.py", "def __getattr__(name):\n    from . import testing"),
        ("testing/node.py", "from aiclient.errors import BalancerError"),
        ("testing/node.py", "import aiclient"),
        ("attic.py", ""),
        ("core/load.py", "import httpx"),
        ("core/load.py", "import httpx._models as m"),
        ("core/load.py", "from anyio import sleep"),
        ("core/load.py", "from opentelemetry.trace import Tracer"),
        ("core/load.py", "import asyncio.events"),
        ("core/load.py", "from time import sleep"),
        ("core/load.py", "import time\ntime.sleep(1)"),
        ("core/load.py", "import time as t\nt.sleep(1)"),
        ("core/load.py", "from threading import Lock"),
        ("core/guarded.py", "from threading import Thread"),
        ("core/guarded.py", "import threading\nthreading.Thread()"),
    ],
)
def test_wrong_imports_are_found(path: str, source: str) -> None:
    """The test above can fail: each of these is an arrow back up."""
    assert violations(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("settings.py", "from aiclient.errors import ConfigurationError"),
        ("core/node.py", "from ..endpoint import Endpoint\nfrom .load import Load"),
        ("core/__init__.py", "from .node import Node\nfrom . import load"),
        ("core/load.py", "import time\ntime.monotonic()"),
        ("core/guarded.py", "from threading import Lock"),
        ("core/guarded.py", "import threading\nthreading.Lock()"),
        ("core/load.py", "import selectors_of_mine, httpxyz"),
        ("wire/pool.py", "import httpcore, ssl, time\ntime.sleep(0)"),
        ("telemetry.py", "from .core import call"),
        ("client.py", "from .transports import sync"),
        ("__init__.py", "from .client import Client\nfrom aiclient.errors import BalancerError"),
        ("testing/node.py", "from .clock import FakeClock\nfrom aiclient.testing import clock"),
        ("simulation/run.py", "from aiclient.testing import FakeClock"),
        ("cli/demo.py", "import aiclient\naiclient.Client\nfrom aiclient import Client, testing"),
    ],
)
def test_right_imports_are_not(path: str, source: str) -> None:
    """Arrows down or along a floor are fine."""
    assert violations(path, source) == []
