"""The recipes: the programs in `examples/sdks/` run, and the page shows what is in them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .harness import CHOSEN, MODULES, is_installed

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "sdks.md"
BLOCK = re.compile(r"<!-- (examples/sdks/\w+\.py) -->\n```python\n(.*?)```\n", re.DOTALL)
HERE = CHOSEN.split(",") if CHOSEN else [name for name in MODULES if is_installed(name)]
WORDS = "tok14 tok15"


def example(name: str) -> Path:
    """The program for an SDK."""
    return ROOT / "examples" / "sdks" / f"with_{name.replace('-', '_')}.py"


@pytest.mark.parametrize("name", HERE)
def test_an_example_runs(name: str) -> None:
    """The program ends well, having printed whole answers."""
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    environment.pop("PYTHONSAFEPATH", None)  # the examples share a module that lies beside them
    done = subprocess.run(
        [sys.executable, str(example(name))],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    wanted = 3 if name == "pydantic-ai-slim" else 4
    assert sum(line.endswith(WORDS) for line in done.stdout.splitlines()) == wanted


@pytest.mark.parametrize("name", MODULES)
def test_the_page_shows_the_example(name: str) -> None:
    """There is a recipe for each SDK, and it stands word for word in its program."""
    text = example(name).read_text()
    shown = [code for path, code in BLOCK.findall(PAGE.read_text()) if ROOT / path == example(name)]
    assert shown
    assert all(code in text for code in shown)


@pytest.mark.parametrize("name", MODULES)
def test_the_page_names_the_sdk(name: str) -> None:
    """The table has a line for each SDK, with the version that was tested."""
    assert re.search(rf"^\| {re.escape(name)} \| \d+\.\d+\.\d+ \|", PAGE.read_text(), re.MULTILINE)
