import subprocess
import sys

import pytest

import aiclient

from .helpers import PATIENCE, call, run


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_one_line_says_what_to_install(missing: str) -> None:
    """aiclient.cli can be imported without click and rich; the script says how to get them."""
    program = (
        "import sys; sys.modules[sys.argv.pop()] = None\n"
        "import aiclient.cli\n"
        "print('imported')\n"
        "aiclient.cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, missing],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "imported\n")
    assert done.stderr == f"aiclient: {missing} is missing: pip install 'aiclient[cli]'\n"


def test_importing_it_loads_neither_click_nor_rich() -> None:
    """`import aiclient.cli` costs nothing that only a command needs."""
    program = "import sys, aiclient.cli; sys.exit(bool({'click', 'rich'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints name and version."""
    outcome = call(monkeypatch, capsys, "--version")
    assert (outcome.status, outcome.out) == (0, f"aiclient {aiclient.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--help",), ("aiclient demo", "aiclient check http://", "aiclient top http://")),
        (("demo", "--help"), ("--seconds", "--seed", "SIGKILL", "interrupted", "Exit status")),
        (("top", "--help"), ("--interval", "--once", "status page", "Exit status")),
        (("check", "--help"), ("--timeout", "--header", "AICLIENT_API_KEY", "--json", "/v1")),
    ],
)
def test_help_says_what_there_is(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    told: tuple[str, ...],
) -> None:
    """Each help text names the options and what the command does, without markup left over."""
    outcome = call(monkeypatch, capsys, *arguments)
    assert outcome.status == 0
    assert [word for word in told if word not in outcome.out] == []
    assert "\\b" not in outcome.out


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("demo", "--seconds", "1"), ("demo", "--seed", "x"), ("check",), ("top",)],
)
def test_wrong_usage_is_status_2(arguments: tuple[str, ...]) -> None:
    """Wrong usage is explained on standard error, without a traceback."""
    outcome = run(*arguments)
    assert outcome.status == 2
    assert "Error: " in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out == ""
