import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from aiclient.testing import FakeNode, NodeProcess

TEXT = "fake-model on n1: tok0 tok1 tok2"
ANTHROPIC = "/v1/messages"
OLLAMA = "/api/chat"
GEMINI = "/v1beta/models/gemini-x:generateContent"
GEMINI_STREAM = "/v1beta/models/gemini-x:streamGenerateContent?alt=sse"
COHERE = "/v2/chat"
GROQ = "/openai/v1/chat/completions"


@pytest.fixture
def node() -> Iterator[FakeNode]:
    """A node that takes no time."""
    with FakeNode(prefill=0, token_time=0, tokens=3, name="n1") as node:
        yield node


@pytest.fixture
def client(node: FakeNode) -> Iterator[httpx.Client]:
    """A client of that node."""
    with httpx.Client(base_url=node.url) as client:
        yield client


def events(response: httpx.Response) -> list[Any]:
    """The data of each event of a stream; [DONE] is none, a name must be the data's type."""
    assert response.headers["content-type"].startswith("text/event-stream")
    found = []
    for event in response.text.removesuffix("\n\n").split("\n\n"):
        *name, data = event.split("\n")
        if data == "data: [DONE]":
            continue
        found.append(json.loads(data.removeprefix("data: ")))
        assert not name or name == [f"event: {found[-1]['type']}"]
    return found


def lines(response: httpx.Response) -> list[Any]:
    """The lines of a stream of JSON."""
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def test_anthropic_messages(client: httpx.Client) -> None:
    """A message has its text in a content block, and its usage."""
    answer = client.post(ANTHROPIC, json={"model": "m", "messages": []}).json()
    assert (answer["type"], answer["role"], answer["model"]) == ("message", "assistant", "m")
    assert answer["content"] == [{"type": "text", "text": TEXT}]
    assert answer["stop_reason"] == "end_turn"
    assert answer["usage"]["output_tokens"] == 3


def test_anthropic_stream(client: httpx.Client) -> None:
    """The events come in Anthropic's order and make up the same text."""
    found = events(client.post(ANTHROPIC, json={"stream": True}))
    assert [event["type"] for event in found] == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert found[0]["message"]["content"] == []
    assert "".join(event["delta"]["text"] for event in found[2:5]) == TEXT
    assert found[-2]["usage"] == {"output_tokens": 3}


def test_anthropic_counts_tokens(client: httpx.Client) -> None:
    """The tokens of a prompt are counted without a slot."""
    answer = client.post(f"{ANTHROPIC}/count_tokens", json={"messages": []}).json()
    assert answer["input_tokens"] >= 1


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (OLLAMA, lambda part: part["message"]["content"]),
        ("/api/generate", lambda part: part["response"]),
    ],
)
def test_ollama_text(client: httpx.Client, path: str, said: Any) -> None:
    """Streams by default, as lines of JSON; plain when asked; both end with done."""
    whole = client.post(path, json={"model": "m", "stream": False}).json()
    assert (said(whole), whole["done"], whole["eval_count"]) == (TEXT, True, 3)
    parts = lines(client.post(path, json={"model": "m"}))
    assert "".join(map(said, parts)) == TEXT
    assert [part["done"] for part in parts] == [False, False, False, True]
    assert parts[-1]["done_reason"] == "stop"
    assert len(lines(client.post(path, json={"options": {"num_predict": 1}}))) == 2


def test_ollama_embed_and_tags(client: httpx.Client) -> None:
    """One vector for each input; one model."""
    answer = client.post("/api/embed", json={"input": ["a", "b"]}).json()
    assert [len(vector) for vector in answer["embeddings"]] == [8, 8]
    [model] = client.get("/api/tags").json()["models"]
    assert model["model"] == "fake-model"


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_gemini_text(client: httpx.Client, version: str) -> None:
    """The model stands in the path; the parts of a stream make up the same text."""

    def said(part: Any) -> str:
        text: str = part["candidates"][0]["content"]["parts"][0]["text"]
        return text

    whole = client.post(GEMINI.replace("v1beta", version), json={"contents": []}).json()
    assert (said(whole), whole["modelVersion"]) == (TEXT, "gemini-x")
    assert whole["candidates"][0]["finishReason"] == "STOP"
    assert whole["usageMetadata"]["candidatesTokenCount"] == 3
    parts = events(client.post(GEMINI_STREAM.replace("v1beta", version), json={}))
    assert "".join(map(said, parts)) == TEXT
    assert parts[-1]["candidates"][0]["finishReason"] == "STOP"


def test_gemini_embeddings(client: httpx.Client) -> None:
    """One by one and together they are the same."""
    content = {"parts": [{"text": "a"}]}
    one = client.post("/v1beta/models/e:embedContent", json={"content": content}).json()
    body = {"requests": [{"content": content}]}
    all_ = client.post("/v1beta/models/e:batchEmbedContents", json=body).json()
    assert all_["embeddings"] == [one["embedding"]]


def test_cohere_chat(client: httpx.Client) -> None:
    """Plain and streamed say the same, with a finish reason and a usage."""
    whole = client.post(COHERE, json={"model": "m", "messages": []}).json()
    assert whole["message"]["content"] == [{"type": "text", "text": TEXT}]
    assert whole["finish_reason"] == "COMPLETE"
    found = events(client.post(COHERE, json={"stream": True}))
    words = [event["delta"]["message"]["content"]["text"] for event in found[2:5]]
    assert "".join(words) == TEXT
    assert [found[n]["type"] for n in (0, 1, 2, 5, 6)] == [
        "message-start",
        "content-start",
        "content-delta",
        "content-end",
        "message-end",
    ]


def test_cohere_embed(client: httpx.Client) -> None:
    """Vectors by type."""
    answer = client.post("/v2/embed", json={"texts": ["a", "b"]}).json()
    assert len(answer["embeddings"]["float"]) == 2


def test_groq_is_openai_below_a_path(client: httpx.Client) -> None:
    """`/openai/v1` answers as `/v1` does."""
    answer = client.post(GROQ, json={"messages": []}).json()
    assert answer["choices"][0]["message"]["content"] == TEXT


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (ANTHROPIC, lambda body: (body["type"], body["error"]["type"])),
        (OLLAMA, lambda body: body["error"]),
        (GEMINI, lambda body: (body["error"]["code"], body["error"]["status"])),
        (COHERE, lambda body: body["message"]),
        (GROQ, lambda body: (body["error"]["code"], body["error"]["type"])),
    ],
)
def test_errors_are_in_the_dialect(
    client: httpx.Client, node: FakeNode, path: str, said: Any
) -> None:
    """A fault, a full queue and a bad body are told in the form of the provider."""
    expected = {
        ANTHROPIC: ("error", "rate_limit_error"),
        GEMINI: (429, "RESOURCE_EXHAUSTED"),
        GROQ: (429, "rate_limit_error"),
    }
    node.fault("429", retry_after=2, times=1)
    response = client.post(path, json={})
    assert (response.status_code, response.headers["retry-after"]) == (429, "2")
    assert said(response.json()) == expected.get(path, "the fake node was told to fail")
    response = client.post(path, content=b"[")
    assert response.status_code == 400
    assert "JSON" in response.text


@pytest.mark.parametrize(
    ("path", "start"),
    [
        (ANTHROPIC, b'event: error\ndata: {"type":"error"'),
        (OLLAMA, b'{"error":"'),
        (GEMINI_STREAM, b'data: {"error":{"code":503'),
        (COHERE, b"event: error\ndata: "),
        (GROQ, b'data: {"error":'),
    ],
)
def test_error_events_are_in_the_dialect(
    client: httpx.Client, node: FakeNode, path: str, start: bytes
) -> None:
    """The fault `error_event` answers a stream with 200 and an error of the provider's form."""
    node.fault("error_event")
    response = client.post(path, json={"stream": True})
    assert response.status_code == 200
    assert response.content.startswith(start)


@pytest.mark.parametrize("header", ["x-api-key", "x-goog-api-key"])
def test_a_key_may_come_as_the_provider_wants_it(header: str) -> None:
    """Anthropic's and Google's headers are as good as a bearer token."""
    with FakeNode(prefill=0, token_time=0, api_key="k") as node:
        for key, status in (("k", 200), ("x", 401)):
            response = httpx.post(node.url + ANTHROPIC, json={}, headers={header: key})
            assert response.status_code == status


@pytest.mark.parametrize("kind", [FakeNode, NodeProcess])
def test_a_node_below_a_path(kind: type[FakeNode] | type[NodeProcess]) -> None:
    """With `prefix` the node's URL ends in it, and there is nothing beside it."""
    with kind(prefix="/proxy/a", prefill=0, token_time=0) as node:
        assert node.url.endswith(f":{node.port}/proxy/a")
        assert httpx.get(node.url + "/health").status_code == 200
        assert httpx.post(node.url + ANTHROPIC, json={}).status_code == 200
        for path in ("/health", "/proxy/ab/health", "/proxy/a"):
            assert httpx.get(f"http://{node.host}:{node.port}{path}").status_code == 404
        node.fault("503")
        assert httpx.post(node.url + ANTHROPIC, json={}).json()["type"] == "error"
        assert node.stats().received == 6


@pytest.mark.parametrize("prefix", ["proxy", "/", "/a/", "/a b", "//a", None])
def test_a_wrong_prefix_is_refused(prefix: Any) -> None:
    """A prefix begins with a slash and does not end in one."""
    with pytest.raises(ValueError, match="prefix"):
        FakeNode(prefix=prefix)
