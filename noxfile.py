"""Every gate of this project: `nox` runs them all, `nox -s tests-3.12 -- -k name` one of them."""

from __future__ import annotations

import os
import sys

import nox

PYPROJECT = nox.project.load_toml("pyproject.toml")
PREFIX = "Programming Language :: Python :: "
PYTHONS = [
    line.removeprefix(PREFIX)
    for line in PYPROJECT["project"]["classifiers"]
    if line.startswith(PREFIX)
]
# Where none of these is installed, the tests still run: on the Python that runs nox.
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
if RUNNING not in PYTHONS:
    PYTHONS.append(RUNNING)

# The tests come last, so that pytest's closing line is near the end of the output.
nox.options.sessions = ["lint", "typing", "docs", "sdks", "tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True
# A Python that is not installed is skipped, and said; in CI that is an error. None is downloaded.
nox.options.error_on_missing_interpreters = bool(os.environ.get("CI"))
nox.options.download_python = "never"
# uv takes a tenth of pip's time, where there is one. virtualenv ships pip itself, so that it works
# where `python -m venv` lacks ensurepip (Debian).
nox.options.default_venv_backend = "uv|virtualenv"
# As pip does: else every process of a test run would compile what it imports.
os.environ.setdefault("UV_COMPILE_BYTECODE", "1")


# SAFEPATH: `python -m aiclient` in a test's subprocess finds the wheel, not the source tree.
ENV = {"PYTHONSAFEPATH": "1"}
# Most of the tests' time is waiting: that many processes keep two cores busy, and more of them get
# into each other's way.
SPREAD = ("pytest", "-n", "4", "--dist", "worksteal")
MATRIX = "tests/acceptance/test_matrix.py"
# About other programs and about text, not about Python: once is enough.
ONCE = (
    MATRIX,
    "tests/cli/test_demo.py",
    "tests/discovery/test_dns_fleet.py",
    "tests/discovery/test_etcd.py",
    "tests/discovery/test_etcd_faults.py",
    "tests/simulation",
    "tests/status/test_browser.py",
    "tests/test_benchmarks.py",
    "tests/telemetry/test_dashboard.py",
    "tests/test_docs.py",
    "tests/test_examples.py",
)


def install(session: nox.Session, group: str, *, project: bool = True) -> None:
    """Install one dependency group and, built as a wheel, the project itself."""
    # Read here, because `pip install --group` needs pip 25.1.
    requirements = nox.project.dependency_groups(PYPROJECT, group)
    session.install(*requirements, *(["."] if project else []))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting, and that the generated files are up to date."""
    install(session, "lint", project=False)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("python", "scripts/generate.py", "--check")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types, with both checkers our users have."""
    install(session, "typing")
    session.run("mypy")
    session.run("pyright")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning or a dangling reference is an error."""
    install(session, "docs")
    session.run("sphinx-build", "-EanW", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests against the installed wheel: all of them on the Python that runs nox; on the
    others not the slow ones, which ask about algorithms and sheer numbers, and not `ONCE`.
    """
    install(session, "tests")
    if session.posargs:
        session.run("pytest", *session.posargs, env=ENV)
        return
    if session.python != RUNNING:
        left_out = [f"--ignore={path}" for path in ONCE]
        session.run(*SPREAD, "-m", "not slow", *left_out, env=ENV)
        return
    # The clients once more, the same tests over the other httpx family.
    session.run(*SPREAD, "tests/transports", env={**ENV, "AICLIENT_FAMILY": "httpx2"})
    session.run(*SPREAD, f"--ignore={MATRIX}", env=ENV)
    # By itself: a thousand calls at once meet their timeouts where nobody else wants the CPU.
    session.run("pytest", MATRIX, env=ENV)


@nox.session
def matrix(session: nox.Session) -> None:
    """Run every cell of the acceptance matrix and print the table (not in the default run)."""
    install(session, "tests")
    session.run("python", "-m", "tests.acceptance", env={"AICLIENT_MATRIX": "full"})


@nox.session
def bench(session: nox.Session) -> None:
    """Measure everything and write docs/benchmarks.md: an hour (not part of the default run).

    `nox -s bench -- --quick` only shows that it runs, and writes nothing.
    """
    lists = ["-r", "benchmarks/versus/peers.txt", "-r", "benchmarks/scale/clients.txt"]
    session.install(".[simulation,plots]", "opentelemetry-sdk", *lists)
    args = session.posargs
    session.run("python", "benchmarks/overhead.py", *args)
    session.run("python", "benchmarks/telemetry.py", *args)
    session.run("python", "-m", "benchmarks.versus", *(args or ["--write"]))
    session.run("python", "-m", "benchmarks.scale", *(args or ["--write"]))


# By environment: llama-index and litellm still want the openai SDK from before its version 3.
SDKS = {
    "current": [
        "openai",
        "anthropic",
        "mistralai",
        "ollama",
        "google-genai",
        "groq",
        "cohere",
        "huggingface_hub",
        "langchain-openai",
        "pydantic-ai-slim",
    ],
    "openai2": ["llama-index-llms-openai", "litellm"],
}


@nox.session
@nox.parametrize("environment", list(SDKS))
def sdks(session: nox.Session, environment: str) -> None:
    """Run the real AI SDKs, as they are on PyPI today, over nodes of which one dies."""
    names = SDKS[environment]
    extras = {"pydantic-ai-slim": "[openai]"}
    session.install(
        "--upgrade",
        *[name + extras.get(name, "") for name in names],
        *["pytest>=8.4", "pytest-timeout", "pytest-xdist", ".[httpx2]"],
    )
    env = {
        "AICLIENT_SDKS": ",".join(names),  # one that cannot be imported is an error
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # nothing is fetched
        "PYTHONSAFEPATH": "1",
    }
    session.run("pytest", "-n", "2", "tests/sdks", "--timeout=60", *session.posargs, env=env)
    if environment == "current":
        session.run("python", "benchmarks/sdks.py", "--quick", env=env)
