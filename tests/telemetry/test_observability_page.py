"""docs/observability.md says what the code does: its tables are the code's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import aiclient
from aiclient import BreakerPolicy
from aiclient.core.events import EventKind
from aiclient.telemetry import labels
from aiclient.telemetry.events import _NOTED
from aiclient.testing import FakeNode

from .built import built
from .conftest import CHAT, InOrder, Lines, Metrics, Spans, named

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/observability.md").read_text("utf-8")


def tables(heading: str) -> list[list[list[str]]]:
    """The rows of each table below a heading, up to the next one, without their heads."""
    section = re.split(rf"^#+ {re.escape(heading)}$", PAGE, flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", section, flags=re.MULTILINE)[0]
    found = re.findall(r"(?:^\|.*\n)+", section, flags=re.MULTILINE)
    return [
        [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()[2:]]
        for table in found
    ]


def codes(cell: str) -> list[str]:
    """What stands in backticks in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def metric_rows() -> dict[str, list[str]]:
    """The rows of the metric tables, by name."""
    rows = [row for heading in ("Metrics", "Generative AI") for row in tables(heading)[0]]
    return {codes(row[0])[0]: row for row in rows}


def busy(nodes: list[FakeNode]) -> None:
    """Calls of all kinds: good, streamed, retried, failed, with a node that is taken out."""
    with aiclient.Client(
        named(nodes), picker=InOrder(), breaker=BreakerPolicy(consecutive=1), base_url="http://llm"
    ) as client:
        for body in ({"model": "m"}, {"model": "m", "stream": True}):
            for node in nodes:
                node.set(token_time=0.001)
            client.post(CHAT, json=body)
        nodes[0].fault("500")
        client.post(CHAT, json={"model": "m"})
        nodes[1].fault("500")
        client.post(CHAT, json={"model": "m"})


def test_the_metric_tables_are_the_code_s(monkeypatch: Any) -> None:
    """Every metric, in its kind and its unit; none that does not exist."""
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental")
    documented = {name: (row[1], codes(row[2])[0]) for name, row in metric_rows().items()}
    assert documented == {name: (one.kind, one.unit) for name, one in built().items()}


def test_the_metrics_attributes_are_the_code_s(
    measured: Metrics, nodes: list[FakeNode], monkeypatch: Any
) -> None:
    """What the points of a busy service carry is what the tables say."""
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental")
    busy(nodes)
    rows = metric_rows()
    same = set(codes(rows["gen_ai.client.operation.time_to_first_chunk"][3]))
    found = measured.collect()
    found.update({name: found.get(name, []) for name in rows})
    for name, row in rows.items():
        carried = {key for point in found[name] for key in point.attributes}
        documented = set(codes(row[3])) | (same if "the same" in row[3] else set())
        # Gauges of a closed balancer show nothing.
        assert carried == documented or not found[name], name
    assert sum(bool(points) for points in found.values()) >= 10


def test_the_bounds_are_the_code_s() -> None:
    """As many as the page says."""
    bounds = re.search(r"(\d+) nodes, (\d+) services and (\d+) models", PAGE)
    assert bounds is not None
    most = [one._most for one in (labels.NODES, labels.SERVICES, labels.MODELS)]
    assert [int(one) for one in bounds.groups()] == most


def test_the_span_table_is_the_code_s(traced: Spans, nodes: list[FakeNode]) -> None:
    """What the spans of a busy service carry is what the table says."""
    busy(nodes)
    carried = {"call": set[str](), "attempt": set[str]()}
    for span in traced.all:
        carried["call" if span.name.startswith("aiclient") else "attempt"].update(
            span.attributes or {}
        )
    documented = {"call": set[str](), "attempt": set[str]()}
    for row in tables("Traces")[0]:
        for which, names in documented.items():
            if row[0] in (which, "both"):
                names.update(codes(row[1]))
    carried["call"].add("error.type")  # of a call that raised
    assert carried == documented


def test_the_event_table_is_the_code_s() -> None:
    """The events of a span, in the words of the log."""
    names = [codes(row[0])[0] for row in tables("Traces")[1]]
    assert set(names) == {"first byte"} | {str(kind) for kind in _NOTED}
    assert set(names) - {"first byte"} <= {kind.value for kind in EventKind}


def test_the_record_tables_are_the_code_s(logged: Lines, nodes: list[FakeNode]) -> None:
    """Every field of a call's record and of its attempts; and of the example."""
    busy(nodes)
    calls, attempts = (
        [code for row in table for code in codes(row[0])] for table in tables("Access log")
    )
    always = ["time", "level", "logger"]
    for line in logged.calls:
        assert sorted(line) == sorted({*always, *calls} - {"trace_id", "span_id"})
        for attempt in line["attempts"]:
            assert sorted(attempt) == sorted(attempts)
    (example,) = re.findall(r"^```json\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert sorted(json.loads(example)) == sorted({*always, *calls})
    assert sorted(json.loads(example)["attempts"][0]) == sorted(attempts)


def test_every_panel_of_the_advice_exists() -> None:
    """The table names panels of the dashboard."""
    dashboard = json.loads((ROOT / "docs/grafana-dashboard.json").read_text("utf-8"))
    titles = [panel["title"] for panel in dashboard["panels"]]
    for row in tables("Dashboard")[0]:
        for name in row[0].split(", "):
            assert any(title.startswith(name) for title in titles), name
