import json

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from .helpers import CHAT, SECRET, Check, finding


@pytest.fixture
def server(httpserver: HTTPServer) -> HTTPServer:
    """A server that knows what a test tells it, and answers 404 to the rest."""
    httpserver.no_handler_status_code = 404
    return httpserver


def url_of(server: HTTPServer) -> str:
    """Its URL as a node's."""
    return f"http://{server.host}:{server.port}"


def test_an_ollama_without_openai_api(check: Check, server: HTTPServer) -> None:
    """Models from /api/tags, the token from /api/chat; its health route is /api/tags too."""
    server.expect_request("/api/tags").respond_with_json({"models": [{"name": "llama3:8b"}]})
    server.expect_request("/api/chat", method="POST").respond_with_json({"message": {}})
    outcome = check("--json", url_of(server))
    found = finding(outcome)
    assert (outcome.status, found["models"], found["hints"]) == (0, ["llama3:8b"], [])
    assert found["inference"]["path"] == "/api/chat"
    assert found["health"]["path"] == "/api/tags"


def test_no_model_loaded(check: Check, server: HTTPServer) -> None:
    """An OpenAI API with an empty list of models cannot be asked anything."""
    server.expect_request("/v1/models").respond_with_json({"data": []})
    outcome = check(url_of(server))
    assert outcome.status == 1
    assert "no model is loaded" in outcome.out


@pytest.mark.parametrize("body", ["", "nonsense", "[]", "{}", '{"data": 3}', '{"data": [1]}'])
def test_a_list_of_models_that_is_none(check: Check, server: HTTPServer, body: str) -> None:
    """A server may answer anything."""
    server.expect_request("/v1/models").respond_with_data(body)
    assert check(url_of(server)).status == 1


def test_a_redirect_is_not_followed(check: Check, server: HTTPServer) -> None:
    """Credentials stay with the node given."""
    away = Response(status=307, headers={"location": f"http://elsewhere.test/?{SECRET}"})
    server.expect_request("/health").respond_with_response(away)
    outcome = check(url_of(server))
    assert outcome.status == 1
    assert "/health is redirected (307)" in outcome.out


@pytest.mark.parametrize(
    ("headers", "metrics", "signal"),
    [
        ({}, None, "none"),
        (
            {"endpoint-load-metrics": "TEXT named_metrics.kv_cache_usage_perc=0.4"},
            None,
            "ORCA (kv_cache_usage_perc=0.4)",
        ),
        ({"x-queue-time": "1", "x-inference-time": "9"}, None, "TGI (x-queue-time, x-inference-"),
        ({}, "# TYPE vllm:num_requests_running gauge\n", "/metrics (vLLM)"),
        ({}, "# HELP other something\n", "/metrics"),
        ({}, "<html>not found</html>", "none"),
    ],
)
def test_the_load_signal(
    check: Check, server: HTTPServer, headers: dict[str, str], metrics: str | None, signal: str
) -> None:
    """What a node tells about its load is named."""
    good = Response("{}", headers=headers)
    server.expect_request("/health").respond_with_data("ok")
    server.expect_request("/v1/models").respond_with_json({"data": [{"id": "m"}]})
    server.expect_request(CHAT, method="POST").respond_with_response(good)
    if metrics is not None:
        server.expect_request("/metrics").respond_with_data(metrics)
    outcome = check("--json", url_of(server))
    assert outcome.status == 0
    assert finding(outcome)["load_signal"].startswith(signal)


def test_what_a_node_says_cannot_control_the_terminal(check: Check, server: HTTPServer) -> None:
    """Model names and headers are made printable; they are no markup either."""
    name = "\x1b[2J[red]evil[/red]\x07"

    def models(_: Request) -> Response:
        return Response(json.dumps({"data": [{"id": name}]}))

    server.expect_request("/health").respond_with_data("ok")
    server.expect_request("/v1/models").respond_with_handler(models)
    server.expect_request(CHAT, method="POST").respond_with_data("{}")
    outcome = check(url_of(server))
    assert "[2J[red]evil[/red]" in outcome.out
    assert all(line.isprintable() for line in outcome.out.splitlines())
    assert finding(check("--json", url_of(server)))["models"] == [name]
