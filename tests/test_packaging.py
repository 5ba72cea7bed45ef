"""What is shipped: versions that agree, the files of wheel and sdist, nothing private in them."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

# Machine paths and registry hosts, spelled so that this file does not contain them itself.
PRIVATE = re.compile(
    "|".join(
        [
            *(rf"(?<![\w.])/{top}/" for top in ("root", "work", "home", "Users")),
            *(re.escape(".".join(host)) for host in [("pypi", "org"), ("pythonhosted", "org")]),
            *(re.escape(".".join(host)) for host in [("npmjs", "org"), ("debian", "org")]),
        ]
    )
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory holding the sdist and the wheel, built offline from this tree."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    return out


def test_versions_agree() -> None:
    """pyproject.toml, the installed metadata and the newest CHANGELOG entry name one version."""
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    newest = re.findall(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE)[0]
    assert PROJECT["version"] == metadata.version("aiclient") == newest


def test_dependencies_stay_few() -> None:
    """The core depends on four libraries; whatever else it uses is an extra."""
    names = {re.split(r"[<>=\[]", line)[0] for line in PROJECT["dependencies"]}
    assert names == {"anyio", "attrs", "httpx", "opentelemetry-api"}


def test_wheel_is_typed_and_holds_nothing_but_the_package(built: Path) -> None:
    """The wheel carries py.typed and the licence, and installs no second top-level package."""
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    info = f"aiclient-{PROJECT['version']}.dist-info"
    assert {"aiclient/__init__.py", "aiclient/py.typed", f"{info}/licenses/LICENSE"} <= set(names)
    assert {name.split("/")[0] for name in names} == {"aiclient", info}


def test_sdist_can_run_the_tests(built: Path) -> None:
    """A packager finds the tests and what they need in the sdist."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {"tests/test_packaging.py", "noxfile.py", "pyproject.toml", "LICENSE"} <= names
    assert {"README.md", "CHANGELOG.md", "docs/conf.py", "aiclient/py.typed"} <= names


@pytest.mark.parametrize("marker", ["demo-command", "test-command"])
def test_readme_commands_are_one_line_each(marker: str) -> None:
    """README's two commands can be copied in one go; .ci/run runs the second as it stands there."""
    readme = (ROOT / "README.md").read_text("utf-8")
    blocks = re.findall(
        rf"^<!-- {marker} -->\n```bash\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL
    )
    assert [block.count("\n") for block in blocks] == [1]


def test_no_file_names_a_machine() -> None:
    """No file carries a path of the machine it was written on, or a package registry's host."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files are ours is not known")
    # Untracked files too, so that a new one fails here and not after its commit.
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = []
    for name in sorted(filter(None, listed.split("\0"))):
        try:
            text = (ROOT / name).read_text("utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # binary, or deleted in the work tree
        for number, line in enumerate(text.splitlines(), 1):
            if match := PRIVATE.search(line):
                found.append(f"{name}:{number}: {match[0]}")
    assert not found, "\n".join(["private names in:", *found])
