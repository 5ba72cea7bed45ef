import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from aiclient.simulation import PICKERS

PATIENCE = 100
SHRUNK = ("--seconds", "60", "--nodes", "3", "--seeds", "2")


def simulate(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`aiclient simulate ...`, as a user runs it."""
    return python("-m", "aiclient.cli", "simulate", *arguments, cwd=cwd)


def python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A Python process."""
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=cwd
    )


def test_it_prints_a_table_with_the_ideal_and_every_policy() -> None:
    """One table for each scenario; nothing on stderr, which is no terminal."""
    done = simulate("slow-node", *SHRUNK)
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("slow-node: one node in eight", "4 clients, 3 nodes", "2 seeds", "ideal"):
        assert word in done.stdout
    assert [name for name in PICKERS if name not in done.stdout] == []


def test_json_can_be_read_and_repeated() -> None:
    """The same command prints the same, and the options replace what the file says."""
    arguments = ("kill", "even", *SHRUNK, "--clients", "7", "--picker", "Random", "--json")
    first, again = simulate(*arguments), simulate(*arguments)
    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    found = json.loads(first.stdout)
    told = [(one["scenario"], one["picker"], one["clients"], one["nodes"]) for one in found]
    expected = [(s, p, 7, 3) for s in ("kill", "even") for p in ("ideal", "Random")]
    assert told == expected
    assert found[1]["waiting"]["p99"] >= found[0]["waiting"]["p99"]
    assert all(one["in_flight"] == 0 and one["seeds"] == 2 for one in found)


def test_it_plots(tmp_path: Path) -> None:
    """SVG and PNG, by the file's end."""
    svg, png = tmp_path / "out.svg", tmp_path / "out.png"
    for path in (svg, png):
        done = simulate("even", *SHRUNK, "--picker", "Random", "--plot", str(path))
        assert done.returncode == 0, done.stderr
    assert ET.parse(svg).getroot().tag.endswith("svg")
    assert png.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("no-such",), 1, "scenario: 'no-such' is not allowed"),
        (("even", "--picker", "Best"), 1, "picker: 'Best' is not allowed"),
        (("even", "--picker", "json:Nothing"), 1, "picker: 'json:Nothing' is not allowed"),
        (("even", "--plot", "out.pdf"), 1, "plot: 'out.pdf' is not allowed"),
        (("even", "--plot", "no/such/folder/out.svg", *SHRUNK), 1, "no/such/folder"),
        (("even", "--seeds", "0"), 2, "--seeds"),
        (("even", "--nodes", "many"), 2, "--nodes"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: tuple[str, ...], status: int, told: str, tmp_path: Path
) -> None:
    """No traceback; the line names what is wrong."""
    done = simulate(*arguments, cwd=tmp_path)
    assert done.returncode == status
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_own_picker(tmp_path: Path) -> None:
    """module:Class, found from where the command runs; its processes find it too."""
    (tmp_path / "mine.py").write_text(
        "class First:\n    def pick(self, candidates, context):\n        return candidates[0]\n"
    )
    done = simulate("even", *SHRUNK, "--picker", "mine:First", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shares = json.loads(done.stdout)[1]["shares"]
    assert sum(shares["node 0"]) > 15


@pytest.mark.parametrize(("missing", "extra"), [("simpy", "simulation"), ("matplotlib", "plots")])
def test_without_the_extra_one_line_says_what_to_install(missing: str, extra: str) -> None:
    """As with every other extra."""
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "sys.argv = ['aiclient', 'simulate', 'even', '--plot', 'x.svg', '--seconds', '5']\n"
        "from aiclient.cli import main\nmain()"
    )
    done = python("-c", program)
    assert done.returncode == 1
    assert f"{missing} is missing: pip install 'aiclient[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_importing_it_loads_neither() -> None:
    """`import aiclient.simulation` needs no extra."""
    needed = "bool({'simpy', 'matplotlib'} & set(sys.modules))"
    program = f"import sys, aiclient.simulation; sys.exit({needed})"
    assert python("-c", program).returncode == 0


def test_compare_prints_a_table_of_all_policies() -> None:
    """The command of docs/default-picker.md, for the smallest scenario."""
    done = python("-m", "aiclient.simulation.compare", "--seeds", "1", "sessions", "even")
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [cell.strip() for cell in rows[0][5:-1]] == ["ideal", *PICKERS]
    assert [row[1].strip() for row in rows[1:3]] == ["sessions", "even"]
    assert "-" in [cell.strip() for cell in rows[2]]
    assert "LeastLoad" in done.stdout.split("beyond the ideal")[1]
