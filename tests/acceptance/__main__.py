"""`python -m tests.acceptance [words]`: the full matrix, or the cells whose names have a word."""

from __future__ import annotations

import logging
import sys
import time

from .matrix import FULL
from .nodes import Fleet
from .run import HEADING, run


def main(words: list[str]) -> int:
    """Print the table; the exit status is 1 if a cell is not what it has to be."""
    logging.getLogger("aiclient").setLevel(logging.ERROR)  # ejections are what this is about
    cells = [cell for cell in FULL if not words or any(word in str(cell) for word in words)]
    started = time.monotonic()
    bad = 0
    sys.stdout.write(f"{HEADING}\n")
    with Fleet(max(cell.nodes for cell in cells)) as fleet:
        for cell in cells:
            outcome = run(cell, fleet)
            problems = outcome.problems()
            bad += bool(problems)
            sys.stdout.write("\n  ".join([outcome.row(), *problems]) + "\n")
            sys.stdout.flush()
    seconds = time.monotonic() - started
    sys.stdout.write(f"\n{len(cells)} cells, {bad} of them bad, in {seconds:.0f} s\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
