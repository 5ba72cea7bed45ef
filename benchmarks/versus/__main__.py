"""Runs every contender through every trial, shows the figures and writes the page."""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from . import __doc__ as told
from .callers import CONTENDERS, is_installed
from .figures import about, row_of
from .page import page, plot, summary
from .trials import TRIALS, WARM_UP, ideal, informed

Cell = tuple[str, str, int]  # trial, contender, seed


def arguments() -> argparse.Namespace:
    names = [trial.name for trial in TRIALS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.versus", description=(told or "").partition("\n")[0]
    )
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--trials", nargs="+", choices=names, default=names)
    parser.add_argument("--seconds", type=float, default=30.0, help="calls arrive that long")
    parser.add_argument("--warm-up", type=float, default=WARM_UP, help="seconds before that")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each, put together")
    parser.add_argument("--at-once", type=int, default=2, help="contenders measured side by side")
    parser.add_argument("--quick", action="store_true", help="only whether it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md, too")
    given = parser.parse_args()
    if given.quick:
        given.seconds, given.warm_up = min(given.seconds, 2.0), 0.0
    return given


def run(cell: Cell, *times: float) -> dict[str, Any]:
    """One contender through one trial, in a process of its own."""
    trial, name, seed = cell
    command = [sys.executable, "-m", "benchmarks.versus.run", name, trial]
    command += [*map(str, times), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} in {trial}:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(given: argparse.Namespace) -> list[dict[str, Any]]:
    """A row of figures for each contender in each trial, and for the ideal."""
    here = [name for name in given.contenders if is_installed(name)]
    for name in given.contenders:
        if name not in here:
            print(f"left out, not installed: {name}")
    seeds = range(1, given.seeds + 1)
    # Trial by trial, so that who is measured side by side stands the same. Those that occupy a core
    # each come last: they are no neighbours for the others.
    busy = [name for name in here if name.startswith("litellm")]
    calm = [name for name in here if name not in busy]
    cells = [
        (trial, name, seed)
        for group in (calm, busy)
        for trial in given.trials
        for seed in seeds
        for name in group
    ]
    began = time.monotonic()
    runs: dict[Cell, dict[str, Any]] = {}
    with concurrent.futures.ThreadPoolExecutor(given.at_once) as pool:
        waiting = {pool.submit(run, cell, given.seconds, given.warm_up): cell for cell in cells}
        for done in concurrent.futures.as_completed(waiting):
            runs[waiting[done]] = done.result()
            if sys.stderr.isatty():
                spent = time.monotonic() - began
                sys.stderr.write(f"\r{len(runs)} of {len(cells)} runs, {spent:.0f} s ")
    rows = []
    for trial in TRIALS:
        if trial.name in given.trials:
            scenario = trial.scenario(given.seconds, given.warm_up)
            for name, best in (("ideal", ideal), ("informed", informed)):
                rows.append(row_of(trial.name, name, [], [best(scenario, seed) for seed in seeds]))
            rows += [
                row_of(trial.name, name, [runs[trial.name, name, seed] for seed in seeds])
                for name in here
            ]
    return rows


def main() -> None:
    given = arguments()
    figures: dict[str, Any] = {
        "about": about(),
        "seconds": given.seconds,
        "warm_up": given.warm_up,
        "seeds": given.seeds,
        "at_once": given.at_once,
        "rows": measure(given),
    }
    print("\n" + summary(figures))
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if given.write:
        page(figures)
        plot(figures)


if __name__ == "__main__":
    main()
