"""The documentation is true: its code runs, its links lead somewhere, its tables are the code's."""

import ast
import asyncio
import inspect
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import fields as dataclass_fields
from pathlib import Path
from types import CodeType
from typing import Any

import attrs
import pytest

import aiclient
from aiclient.core.events import LEVELS
from aiclient.core.node import NodeState
from aiclient.core.routes import ROUTES, route_of
from aiclient.core.verdict import Failure, of_failure, of_status
from aiclient.testing import FakeNode, Settings, faults

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^(<!-- run -->\n)?```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
POLICIES = [
    aiclient.RetryPolicy,
    aiclient.BreakerPolicy,
    aiclient.OutlierPolicy,
    aiclient.Deadlines,
    aiclient.Concurrency,
    aiclient.HealthCheck,
    aiclient.CallOptions,
]


def blocks(page: Path, *, marked: bool = False) -> list[str]:
    """The Python blocks of a page, each on the lines where it stands; or only those to be run."""
    text = page.read_text("utf-8")
    return [
        "\n" * text.count("\n", 0, match.start(2)) + match[2]
        for match in BLOCK.finditer(text)
        if match[1] or not marked
    ]


def table(page: str, heading: str) -> list[list[str]]:
    """The rows of all tables below a heading of a page in docs/, without their heads."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    section = re.split(rf"^#+ {re.escape(heading)}$", text, flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", section, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    heads = {n - 1 for n, line in enumerate(lines) if set(line) <= set("|- ")}
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for n, line in enumerate(lines)
        if n not in heads and n - 1 not in heads
    ]


def codes(cell: str) -> list[str]:
    """What stands in backticks in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def compiled(page: Path, code: str) -> CodeType:
    """A block of a page, ready to be run; `await` may stand outside of a function."""
    return compile(code, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


# Code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_compile(page: Path) -> None:
    """Every Python block is Python."""
    for code in blocks(page):
        compiled(page, code)


@pytest.fixture(scope="module")
def addresses() -> Iterator[list[str]]:
    """Where the nodes that the documentation calls 10.0.0.1 to 10.0.0.4 are in truth."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(FakeNode(prefill=0, token_time=0)) for _ in range(4)]
        yield [f"{node.host}:{node.port}" for node in nodes]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, marked=True)], ids=lambda page: page.name
)
def test_marked_blocks_run(page: Path, addresses: list[str]) -> None:
    """Blocks after `<!-- run -->` run, one after the other, against real sockets."""
    names: dict[str, Any] = {}
    for code in blocks(page, marked=True):
        here = re.sub(r"10\.0\.0\.([1-4]):8000", lambda m: addresses[int(m[1]) - 1], code)
        program = compiled(page, here)
        if program.co_flags & inspect.CO_COROUTINE:
            asyncio.run(eval(program, names))
        else:
            exec(program, names)


def test_something_is_run() -> None:
    """The marker is spelled as it should be: these pages hold code that is run."""
    running = {page.stem for page in PAGES if blocks(page, marked=True)}
    assert running >= {"README", "quickstart", "slb", "pickers", "leases", "operations", "testing"}


# Links


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    """A link to a file of ours leads to one, and its anchor to a heading."""
    broken = []
    for target in LINK.findall(FENCED.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        found = file.exists()
        if found and anchor:
            found = anchor in map(slug, HEADING.findall(file.read_text("utf-8")))
        if not found:
            broken.append(target)
    assert not broken


@pytest.mark.parametrize(
    "picture", sorted((ROOT / "docs/_static").glob("*.svg")), ids=lambda path: path.name
)
def test_pictures_are_used_and_described(picture: Path) -> None:
    """Each picture stands on a page, with a text for those who do not see it."""
    uses = [text for page in PAGES if picture.name in (text := page.read_text("utf-8"))]
    assert uses
    assert all(re.search(rf"!\[[^\]]{{20,}}\]\([^)]*{picture.name}\)", text) for text in uses)


# Settings


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.__name__)
def test_every_setting_is_documented_with_its_default(policy: Any) -> None:
    """The tables in settings.md name the settings there are, in order, with their defaults."""
    documented = [(codes(row[0]), codes(row[1])) for row in table("settings.md", policy.__name__)]
    assert documented == [([field.name], [repr(field.default)]) for field in attrs.fields(policy)]


def test_every_field_of_an_endpoint_is_documented_with_its_default() -> None:
    """The same for Endpoint, whose URL has none."""
    documented = {codes(row[0])[0]: codes(row[1]) for row in table("settings.md", "Endpoint")}
    real = [field for field in attrs.fields(aiclient.Endpoint) if field.init]
    assert documented == {
        field.name: [] if field.default is attrs.NOTHING else [repr(field.default)]
        for field in real
    }


def ranges() -> Iterator[tuple[Any, str, str]]:
    """Each setting of the tables, and the range they give for it."""
    for policy in POLICIES:
        for row in table("settings.md", policy.__name__):
            yield policy, codes(row[0])[0], row[2]


@pytest.mark.parametrize(
    ("policy", "name", "allowed"),
    [pytest.param(*case, id=f"{case[0].__name__}.{case[1]}") for case in ranges()],
)
def test_ranges_are_the_code_s(policy: Any, name: str, allowed: str) -> None:
    """What a table says is allowed is taken, what lies just outside is refused."""
    good: list[object] = []
    bad: list[object] = [object()]
    (good if "None" in allowed else bad).append(None)
    if match := re.match(r"(\d+) to (\d+)", allowed):
        low, high = int(match[1]), int(match[2])
        good += [low, high]
        bad += [low - 1, high + 1, float("nan")]
    elif match := re.match(r"(>=?) (\d+)", allowed):
        bound = int(match[2])
        bad += [bound - 1, float("nan"), float("inf")]
        (good if match[1] == ">=" else bad).append(bound)
    elif allowed.startswith("True or False"):
        good += [True, False]
        bad += [1, "yes"]
    else:
        good += codes(allowed)
    for value in good:
        policy(**{name: value})
    for value in bad:
        with pytest.raises(aiclient.ConfigurationError, match=name):
            policy(**{name: value})


# Semantics


def test_the_status_table_is_the_code_s() -> None:
    """semantics.md gives every HTTP status the verdict that core/verdict.py gives it."""
    rows = table("semantics.md", "HTTP answers")
    special = {int(code): row for row in rows for code in codes(row[0])}
    general = {row[0]: row for row in rows if not codes(row[0])}
    for status in range(200, 600):
        family = "below 400" if status < 400 else f"other {status // 100}xx"
        row = special.get(status, general[family])
        assert (status, row[1], row[2]) == (status, *of_status(status))


def test_the_failure_table_is_the_code_s() -> None:
    """semantics.md gives every failure its verdict, and none that does not exist."""
    documented = {
        codes(row[0])[0]: (row[1], row[2])
        for row in table("semantics.md", "No answer, or not a whole one")
    }
    assert documented == {failure.value: tuple(of_failure(failure)) for failure in Failure}


def test_the_route_table_is_the_code_s() -> None:
    """semantics.md names every inference route, and its examples are such routes."""
    rows = table("semantics.md", "Which calls may be sent twice")
    assert [codes(row[0]) for row in rows] == [[route.name] for route in ROUTES]
    for row, route in zip(rows, ROUTES, strict=True):
        examples = [code for code in codes(row[1]) if code.startswith("/")]
        assert examples
        assert [route_of(example) for example in examples] == [route] * len(examples)
        assert (row[2] == "yes", "store" in row[1]) == (route.streams, route.stores)


# Operations and testing


def documented_codes(page: str, heading: str) -> set[str]:
    """What stands in backticks in the first cells of a section's tables."""
    return {code for row in table(page, heading) for code in codes(row[0])}


def test_every_kind_of_event_is_documented_with_its_level() -> None:
    """operations.md lists the events that are told, and how loud they are in the log."""
    core = "".join(path.read_text("utf-8") for path in (ROOT / "aiclient/core").glob("*.py"))
    told = [kind for kind in aiclient.EventKind if f"EventKind.{kind.name}," in core]
    rows = {codes(row[0])[0]: row[1] for row in table("operations.md", "Log lines")}
    levels = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR"}
    assert rows == {kind.value: levels[LEVELS.get(kind, 20)] for kind in told}


@pytest.mark.parametrize(
    ("heading", "names"),
    [
        ("Snapshots", {field.name for field in attrs.fields(aiclient.NodeSnapshot)}),
        ("Snapshots", {state.value for state in NodeState}),
        (
            "What one call went through",
            {field.name for field in attrs.fields(aiclient.AttemptRecord)},
        ),
    ],
)
def test_every_field_is_documented(heading: str, names: set[str]) -> None:
    """What a snapshot, a node's state and an attempt can say is explained in operations.md."""
    assert names <= documented_codes("operations.md", heading)


def test_every_fault_and_setting_of_a_fake_node_is_documented() -> None:
    """testing.md names the faults, their options, and the settings with their defaults."""
    told = documented_codes("testing.md", "Faults")
    assert told >= {*faults._OPTIONS, *faults.FaultOptions.__annotations__}
    rows = {tuple(codes(row[0])): codes(row[1]) for row in table("testing.md", "FakeNode")}
    for field in dataclass_fields(Settings):
        assert rows.get((field.name,)) == [repr(field.default)], field.name


# The public names


@pytest.mark.parametrize("name", aiclient.__all__)
def test_public_names_have_a_docstring_and_a_place(name: str) -> None:
    """Each name of `aiclient.__all__` says what it is, and stands in api.md."""
    assert getattr(aiclient, name).__doc__
    assert re.search(rf"aiclient\.{name}\b", (ROOT / "docs/api.md").read_text("utf-8"))
