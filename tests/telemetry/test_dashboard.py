"""docs/grafana-dashboard.json over a real Prometheus that scrapes a real service."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from .built import built

HERE = Path(__file__).parent
DASHBOARD = HERE.parent.parent / "docs/grafana-dashboard.json"
CONFIG = """
global: {{scrape_interval: 500ms}}
scrape_configs:
  - job_name: service
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
PROMETHEUS = shutil.which("prometheus")


def panels() -> list[dict[str, Any]]:
    """Those that show something."""
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries() -> dict[str, str]:
    """Every query, as Grafana would send it, by the panel it stands in."""
    found = {}
    for panel in panels():
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", "5s").replace("$service", ".*")
            assert "$" not in query
            found[f"{panel['title']} {target['refId']}"] = query
    return found


@pytest.fixture
def service() -> Iterator[int]:
    """The port of the metrics of a service that is busy."""
    command = [sys.executable, str(HERE / "scraped.py")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.stdin.close()


@pytest.fixture
def prometheus(service: int, tmp_path: Path) -> Iterator[str]:
    """The URL of a Prometheus that scrapes the service."""
    assert PROMETHEUS is not None
    config = tmp_path / "prometheus.yml"
    config.write_text(CONFIG.format(port=service))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*free.getsockname())
    command = [
        PROMETHEUS,
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={address}",
    ]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    yield f"http://{address}"
    process.terminate()
    process.wait(30)


def ask(url: str, query: str) -> list[Any]:
    """The series a query gives now; one that is wrong is an error."""
    try:
        response = httpx.get(f"{url}/api/v1/query", params={"query": query})
    except httpx.TransportError:
        return []  # it is not there yet
    if response.status_code == 503:
        return []  # it is still starting
    answer = response.json()
    assert answer["status"] == "success", answer
    found: list[Any] = answer["data"]["result"]
    # NaN is no data: nothing divided by nothing.
    return [series for series in found if series["value"][1] != "NaN"]


@pytest.mark.slow
@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed")
def test_every_query_returns_data(prometheus: str) -> None:
    """No panel stays empty over a service that does all the dashboard speaks of."""
    empty = queries()
    give_up_at = time.monotonic() + 90
    while empty:
        empty = {title: query for title, query in empty.items() if not ask(prometheus, query)}
        assert not empty or time.monotonic() < give_up_at, empty
        time.sleep(0.25)


@pytest.mark.slow
@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed")
def test_a_query_can_be_empty(prometheus: str) -> None:
    """The test above can fail: a metric that does not exist gives nothing."""
    while not ask(prometheus, "aiclient_panic"):
        time.sleep(0.25)
    assert not ask(prometheus, "aiclient_no_such_metric")


def test_every_metric_is_shown() -> None:
    """By its name as Prometheus has it, but for the opt-in ones."""
    shown = " ".join(queries().values())
    names = {name.replace(".", "_") for name in built() if not name.startswith("gen_ai.")}
    assert len(names) >= 14
    assert not [name for name in names if name not in shown]


def test_panels_are_described_and_do_not_overlap() -> None:
    """Each says what it shows, and stands in a place of its own."""
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        assert panel["description"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
