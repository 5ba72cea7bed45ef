"""The metrics of generative AI: an opt-in, read off the answers of every dialect."""

from __future__ import annotations

from typing import Any

import pytest

import aiclient
from aiclient.telemetry.genai import Reading, opted_in
from aiclient.testing import FakeNode

from .conftest import STREAM, Call, Metrics

pytestmark = pytest.mark.anyio
OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"
FIRST = "gen_ai.client.operation.time_to_first_chunk"
CHUNKS = "gen_ai.client.operation.time_per_output_chunk"
TOKENS = "gen_ai.client.token.usage"


@pytest.fixture
def opted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As OpenTelemetry has it."""
    monkeypatch.setenv(OPT_IN, "http, gen_ai_latest_experimental")


def usage(measured: Metrics) -> dict[str, float]:
    """How many tokens were counted, by kind."""
    found = measured.collect().get(TOKENS, [])
    return {point.attributes["gen_ai.token.type"]: point.sum for point in found}


async def test_it_is_off(measured: Metrics, call: Call) -> None:
    """Nothing is read unless it is asked for."""
    assert not opted_in()
    await call(json={**STREAM, "model": "m"})
    assert not [name for name in measured.collect() if name.startswith("gen_ai")]


@pytest.mark.usefixtures("opted")
async def test_a_plain_answer(measured: Metrics, call: Call) -> None:
    """Has tokens, and no chunks."""
    response = await call(json={"model": "m", "messages": []})
    told = response.json()["usage"]
    assert usage(measured) == {
        "input": told["prompt_tokens"],
        "output": told["completion_tokens"],
    }
    (one, _) = measured.collect()[TOKENS]
    assert {name: value for name, value in one.attributes.items() if name[:6] == "gen_ai"} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
        "gen_ai.token.type": one.attributes["gen_ai.token.type"],
    }
    assert FIRST not in measured.collect()


@pytest.mark.usefixtures("opted")
async def test_a_stream(measured: Metrics, call: Call, nodes: list[FakeNode]) -> None:
    """Has a first chunk and the others, and tokens where the node is asked for them."""
    for node in nodes:
        node.set(token_time=0.02, tokens=10)
    await call(json={**STREAM, "model": "m", "stream_options": {"include_usage": True}})
    found = measured.collect()
    (first,), (chunks,) = found[FIRST], found[CHUNKS]
    assert first.count == 1
    assert chunks.count >= 5
    assert 0.1 < chunks.sum < 10
    assert usage(measured)["output"] == 10


DIALECTS: list[tuple[str, dict[str, Any], str, str]] = [
    ("/v1/messages", {"max_tokens": 5}, "chat", "anthropic"),
    ("/v1/messages", {"max_tokens": 5, **STREAM}, "chat", "anthropic"),
    ("/api/chat", {"stream": False}, "chat", "ollama"),
    ("/api/chat", STREAM, "chat", "ollama"),
    ("/v1beta/models/m:generateContent", {"contents": []}, "generate_content", "gcp.gemini"),
]


@pytest.mark.usefixtures("opted")
@pytest.mark.parametrize(("path", "body", "operation", "provider"), DIALECTS)
def test_dialects(
    measured: Metrics,
    nodes: list[FakeNode],
    path: str,
    body: dict[str, Any],
    operation: str,
    provider: str,
) -> None:
    """Whoever's interface it is."""
    nodes[0].set(tokens=5)
    with aiclient.Client(nodes[0].url) as client:
        asked = {"model": "m", "messages": [{"role": "user", "content": "hello"}], **body}
        client.post(path, json=asked).raise_for_status()
    assert measured.values(TOKENS, "gen_ai.operation.name", "gen_ai.provider.name") == {
        (operation, provider): 2
    }
    assert usage(measured)["output"] == 5


@pytest.mark.usefixtures("opted")
async def test_errors_have_no_tokens(measured: Metrics, call: Call, nodes: list[FakeNode]) -> None:
    """An answer that is none is not read."""
    for node in nodes:
        node.fault("404")
    await call(json=STREAM)
    assert not [name for name in measured.collect() if name.startswith("gen_ai")]


@pytest.mark.usefixtures("opted")
async def test_models_are_bounded(
    measured: Metrics, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers may name any."""
    monkeypatch.setattr("aiclient.telemetry.genai.MODELS._most", 1)
    for model in ("a", "b", "c"):
        await call(json={"model": model})
    assert measured.values(TOKENS, "gen_ai.request.model") == {("a",): 2, ("other",): 4}


class Kept:
    """What is recorded."""

    def __init__(self) -> None:
        self.tokens: Any = self
        self.found: list[int] = []

    def record(self, value: int, attributes: object) -> None:
        self.found.append(value)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_numbers_in_pieces(size: int) -> None:
    """However an answer is cut, its numbers are whole; its text is not mistaken for them."""
    answer = b'{"content": "\\"output_tokens\\": 5", "usage": {"input_tokens": 12, '
    answer += b'"output_tokens" : 345678}}'
    kept = Kept()

    class Plain:
        kind = ("messages", False, 0)

    reading = Reading(kept, Plain(), {})  # type: ignore[arg-type]
    for start in range(0, len(answer), size):
        reading.piece(answer[start : start + size])
    reading.done()
    assert kept.found == [12, 345678]
