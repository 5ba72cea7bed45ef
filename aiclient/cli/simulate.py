"""`aiclient simulate`: which policy for this fleet, in virtual time."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from aiclient import ConfigurationError, simulation
from aiclient.simulation.compare import resized
from aiclient.simulation.ideal import IDEAL
from aiclient.simulation.plot import check_name, plot
from aiclient.simulation.runner import means, picker_named

_WIDTH_OF_A_PIPE = 160
_COLUMNS = (
    "policy",
    "wait mean",
    "p50",
    "p90",
    "p99",
    "first byte p50",
    "p99",
    "latency p50",
    "p99",
    "errors",
    "broken",
    "retries",
    "ejected",
)


def run(
    names: Sequence[str],
    pickers: Sequence[str],
    clients: int | None,
    nodes: int | None,
    seconds: float | None,
    seeds: int,
    *,
    as_json: bool,
    plot_to: str | None,
) -> int:
    """Simulate, and print what came of it; the exit status."""
    try:
        scenarios = [
            resized(simulation.load(name), clients=clients, nodes=nodes, seconds=seconds)
            for name in names or simulation.names()
        ]
        # An own picker is looked for where the command runs, as `python -m` would.
        sys.path.insert(0, os.getcwd())
        for picker in pickers:
            picker_named(picker)
        if plot_to is not None:
            check_name(plot_to)
        wanted = [IDEAL, *(pickers or simulation.PICKERS)]
        tasks = [
            simulation.Task(scenario, picker, seed)
            for scenario in scenarios
            for picker in dict.fromkeys(wanted)
            for seed in range(seeds)
        ]
        found = means(tasks, _simulated(tasks))
        if plot_to is not None:
            plot(found, plot_to)
    except (ConfigurationError, ModuleNotFoundError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    if as_json:
        click.echo(json.dumps([result.as_dict() for result in found], indent=1))
    else:
        _print(scenarios, found)
    return 0


def _simulated(tasks: Sequence[simulation.Task]) -> list[simulation.Result]:
    console = Console(stderr=True, force_terminal=sys.stderr.isatty())
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        total = sum(task.scenario.calls for task in tasks)
        shown = bar.add_task(f"{total:,} calls", total=total)
        return simulation.run_all(tasks, progress=lambda calls: bar.advance(shown, calls))


def _print(scenarios: Sequence[simulation.Scenario], found: Sequence[simulation.Result]) -> None:
    console = Console(force_terminal=sys.stdout.isatty(), highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH_OF_A_PIPE)
    each = len(found) // len(scenarios)
    for place, scenario in enumerate(scenarios):
        rows = found[place * each : (place + 1) * each]
        first = rows[0]
        about = (
            f"{scenario.name}: {scenario.what}\n{first.clients} clients, {first.nodes} nodes, "
            f"{first.calls:,} calls x {first.seeds} seeds; times in seconds"
        )
        table = Table(*_COLUMNS, title=about, title_justify="left")
        for column in table.columns[1:]:
            column.justify = "right"
        for result in rows:
            table.add_row(*_cells(result))
        console.print(table)


def _cells(result: simulation.Result) -> list[str]:
    waiting, first, latency = result.waiting, result.first_byte, result.latency
    times = (
        *(waiting.mean, waiting.p50, waiting.p90, waiting.p99),
        *(first.p50, first.p99, latency.p50, latency.p99),
    )
    counts = (result.errors, result.interrupted, result.retries, result.ejections)
    return [
        result.picker,
        *(f"{seconds:.2f}" for seconds in times),
        *(f"{count:.0f}" if count == round(count) else f"{count:.1f}" for count in counts),
    ]
