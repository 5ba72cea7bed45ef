"""Writes what a benchmark found into docs/benchmarks.md, between two marks of its own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["FOLDER", "table", "write"]

FOLDER = Path(__file__).parent.parent / "docs"


def write(name: str, text: str) -> None:
    """Replace what stands between `<!-- NAME: begin -->` and `<!-- NAME: end -->`."""
    page = FOLDER / "benchmarks.md"
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{page.name} has no marks for {name}")
    page.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")


def table(heading: Iterable[str], body: Iterable[Iterable[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    names = list(heading)
    rule = ["---", *("--:" for _ in names[1:])]
    return "\n".join("| " + " | ".join(line) + " |" for line in [names, rule, *map(list, body)])
