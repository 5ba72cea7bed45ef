"""Runs the sections, shows their figures, and writes them down."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.document import FOLDER, write

from . import __doc__ as told
from . import curves, rates, slb
from .contenders import TITLES, present
from .in_flight import in_flight
from .machine import about
from .page import page, plots

SECTIONS: dict[str, Callable[[bool], list[dict[str, Any]]]] = {
    "calls": rates.calls,
    "connections": rates.connections,
    "in_flight": in_flight,
    "by_in_flight": curves.by_in_flight,
    "by_nodes": curves.by_nodes,
    "picks": curves.picks,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale", description=(told or "").partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="small numbers: only whether it runs")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="this section alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md, too")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    figures: dict[str, Any] = {"about": about(), "quick": given.quick}
    facts = figures["about"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    print(f"{facts['python']}, {facts['machine']}, {facts['cores']} cores, {versions}")
    print(f"at most {facts['open_files']} open files per process")
    for missing in sorted(TITLES.keys() - set(present(TITLES))):
        print(f"left out, not installed: {TITLES[missing]}")
    for name, section in SECTIONS.items():
        if given.only is None or name in given.only:
            figures[name] = section(given.quick)
            figures["slb"] = slb.costs(figures)
            # After each of them: whoever stops a long run has what it brought so far.
            if given.json is not None:
                given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if figures.get("slb"):
        slb.show(figures["slb"])
    if given.write:
        write("scale", page(figures))
        plots(figures, FOLDER)


if __name__ == "__main__":
    main()
