"""Plots of results: waiting times of each policy, and the shares over time of the first."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from .ideal import IDEAL
from .result import Result

__all__ = ["check_name", "plot"]

_FORMATS = (".svg", ".png")


def check_name(path: str) -> None:
    """See, before anything takes time, whether `plot` can draw into that file.

    Raises:
        ConfigurationError: it is neither SVG nor PNG.
        ModuleNotFoundError: matplotlib is missing.
    """
    if Path(path).suffix.lower() not in _FORMATS:
        raise ConfigurationError(f"plot: {path!r} is not allowed; a file that ends in .svg or .png")
    _matplotlib()


def plot(results: Sequence[Result], path: str) -> None:
    """Draw a row for each scenario into the file; its end says in which format.

    Raises:
        ConfigurationError, ModuleNotFoundError: as `check_name`.
        OSError: the file cannot be written.
    """
    check_name(path)
    rows: dict[tuple[str, int, int], list[Result]] = {}
    for result in results:
        key = (result.scenario, result.clients, result.nodes)
        rows.setdefault(key, []).append(result)
    figure = _matplotlib().Figure(figsize=(12, 3.5 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 2, squeeze=False)
    for (bars, lines), (key, row) in zip(axes, rows.items(), strict=True):
        _bars(bars, row, "{}: {} clients, {} nodes".format(*key))
        _lines(lines, next((one for one in row if one.picker != IDEAL), row[0]))
    figure.savefig(path)


def _bars(axes: Any, row: Sequence[Result], title: str) -> None:
    for place, (name, shade) in enumerate((("p50", 0.4), ("p90", 0.7), ("p99", 1.0))):
        heights = [getattr(one.waiting, name) for one in row]
        at = [number + 0.27 * (place - 1) for number in range(len(row))]
        axes.bar(at, heights, 0.25, label=name, color="tab:blue", alpha=shade)
    axes.set_xticks(range(len(row)), [one.picker for one in row], rotation=15, fontsize="small")
    axes.set(title=title, ylabel="waiting time [s]")
    axes.legend()


def _lines(axes: Any, result: Result) -> None:
    for label, shares in result.shares.items():
        axes.plot([100 * place / len(shares) for place in range(len(shares))], shares, label=label)
    axes.set(title=f"shares of {result.picker}", xlabel="% of the time", ylim=(0, None))
    axes.legend(fontsize="x-small", ncols=2)


def _matplotlib() -> Any:
    try:
        import matplotlib  # noqa: F401 - missing it is better said before its parts are asked for
    except ModuleNotFoundError as exc:
        if exc.name != "matplotlib":
            raise
        told = "matplotlib is missing: pip install 'aiclient[plots]'"
        raise ModuleNotFoundError(told, name="matplotlib") from exc
    # Not pyplot: no window system is asked for.
    return import_module("matplotlib.figure")
