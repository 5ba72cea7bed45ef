"""The benchmarks run, and write what they found: their smallest form, so that they cannot rot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def ran(*command: str) -> str:
    """What it printed; the benchmarks are no package, so they are found from the checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_overhead() -> None:
    """One short round of each."""
    printed = ran("benchmarks/overhead.py", "--quick")
    assert "pick and release at  10000 nodes" in printed


@pytest.mark.slow
def test_against_others(tmp_path: Path) -> None:
    """Those that are here: two need nothing, two are Debian's; a killed node costs us nothing."""
    figures = tmp_path / "versus.json"
    contenders = ("aiclient", "round-robin", "nginx", "haproxy")
    chosen = ("--trials", "even", "kill", "--at-once", "4", "--json", str(figures))
    printed = ran("-m", "benchmarks.versus", "--quick", "--contenders", *contenders, *chosen)
    rows: list[dict[str, Any]] = json.loads(figures.read_text())["rows"]
    ours = [row for row in rows if row["contender"] == "aiclient"]
    assert [row["trial"] for row in ours] == ["even", "kill"]
    assert all(row["answered"] > 50 and not row["errors"] for row in ours)
    assert "| kill |" in printed


@pytest.mark.slow
def test_the_line_brings_the_waiting_near_the_ideal() -> None:
    """With all defaults, and nearly as near as when it is told how many places there are; by a
    client that has yet to learn that.
    """
    cold = ("--warm-up", "0")
    printed = ran("-m", "benchmarks.versus.simulated", *cold, "--seeds", "6", "--trials", "500")
    cells = [cell.strip() for cell in printed.splitlines()[-1].strip("|").split("|")]
    assert cells[0] == "500"
    ideal, _, _, without, learnt, limited = (float(cell.split()[0]) for cell in cells[1:])
    assert ideal <= limited <= learnt < without
    assert learnt - ideal < 0.6 * (without - ideal)


@pytest.mark.slow
def test_scale(tmp_path: Path) -> None:
    """Small numbers of everything."""
    figures = tmp_path / "scale.json"
    ran("-m", "benchmarks.scale", "--quick", "--json", str(figures))
    found: dict[str, Any] = json.loads(figures.read_text())
    lease = next(row for row in found["in_flight"] if row["contender"] == "lease")
    assert lease["good"] == lease["in_flight"]
    assert not lease["errors"]
    assert all(found[name] for name in ("calls", "connections", "by_nodes", "picks", "slb"))


def test_the_page_says_how_it_was_made() -> None:
    """Both parts were written by their commands: versions, machine and date."""
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for name in ("versus", "scale"):
        part = page.partition(f"<!-- {name}: begin -->")[2].partition(f"<!-- {name}: end -->")[0]
        assert "CPython" in part
        assert "aiclient 0." in part
