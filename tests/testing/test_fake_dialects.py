import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from aiclient.testing import FakeNode

CHAT = "/v1/chat/completions"


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
    """The data of each event of a stream, without the final [DONE], which must be there."""
    assert response.headers["content-type"].startswith("text/event-stream")
    *data, done, end = response.text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    return [json.loads(line.removeprefix("data: ")) for line in data]


def test_models_lists_the_one_model(client: httpx.Client) -> None:
    """GET /v1/models names the model."""
    answer = client.get("/v1/models").json()
    assert answer["object"] == "list"
    assert [model["id"] for model in answer["data"]] == ["fake-model"]


def test_health_is_ok_and_takes_no_slot(client: httpx.Client, node: FakeNode) -> None:
    """GET /health is answered while the only slot is taken."""
    node.set(slots=1, prefill=3600)
    with client.stream("POST", CHAT, json={"stream": True}):
        response = client.get("/health")
    assert response.json() == {"status": "ok"}


def test_head_is_get_without_a_body(client: httpx.Client) -> None:
    """HEAD has the headers of GET, and the connection stays usable."""
    response = client.head("/health")
    assert response.status_code == 200
    assert response.headers["content-length"] == "15"
    assert response.content == b""
    assert client.get("/health").content == b'{"status":"ok"}'


def test_a_plain_chat_answer_is_complete(client: httpx.Client) -> None:
    """A plain chat completion has what an SDK reads."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    response = client.post(CHAT, json=body)
    answer = response.json()
    assert response.headers["x-fake-node"] == "n1"
    assert answer["id"].startswith("chatcmpl-")
    assert (answer["object"], answer["model"]) == ("chat.completion", "m")
    assert isinstance(answer["created"], int)
    [choice] = answer["choices"]
    content = "fake-model on n1: tok0 tok1 tok2"
    assert choice["message"] == {"role": "assistant", "content": content}
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert answer["usage"]["completion_tokens"] == 3
    total = answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]
    assert answer["usage"]["total_tokens"] == total


def test_a_chat_stream_is_complete(client: httpx.Client) -> None:
    """A chat stream: role, one delta for each token, the finish reason, [DONE]."""
    first, *words, last = events(client.post(CHAT, json={"stream": True}))
    assert first["object"] == "chat.completion.chunk"
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    said = [word["choices"][0]["delta"]["content"] for word in words]
    assert said == ["fake-model on n1: tok0", " tok1", " tok2"]
    assert all(word["choices"][0]["finish_reason"] is None for word in words)
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "stop")
    assert len({event["id"] for event in (first, *words, last)}) == 1
    assert "usage" not in last


def test_a_stream_tells_its_usage_when_asked(client: httpx.Client) -> None:
    """stream_options.include_usage adds a chunk without choices before [DONE]."""
    body = {"stream": True, "stream_options": {"include_usage": True}}
    *_, last = events(client.post(CHAT, json=body))
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 3


def test_completions_plain_and_streamed(client: httpx.Client) -> None:
    """/v1/completions says the same text both ways."""
    plain = client.post("/v1/completions", json={"prompt": "x"}).json()
    assert plain["object"] == "text_completion"
    assert plain["choices"][0]["text"] == "fake-model on n1: tok0 tok1 tok2"
    streamed = events(client.post("/v1/completions", json={"prompt": "x", "stream": True}))
    assert "".join(event["choices"][0]["text"] for event in streamed) == plain["choices"][0]["text"]
    assert streamed[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_request_says_how_many_tokens(client: httpx.Client, name: str) -> None:
    """max_tokens overrides the node's own number, plain and streamed."""
    plain = client.post(CHAT, json={name: 5}).json()
    assert plain["usage"]["completion_tokens"] == 5
    assert plain["choices"][0]["message"]["content"].endswith("tok4")
    assert len(events(client.post(CHAT, json={name: 5, "stream": True}))) == 7


@pytest.mark.parametrize("count", [0, -1, 131_073, "5", 1.5])
def test_a_wrong_number_of_tokens_is_refused(client: httpx.Client, count: object) -> None:
    """max_tokens out of range or of a wrong type is a 400 that names it."""
    response = client.post(CHAT, json={"max_tokens": count})
    assert response.status_code == 400
    assert "max_tokens" in response.json()["error"]["message"]


def test_the_longest_answer_is_served(client: httpx.Client) -> None:
    """An answer of the greatest allowed length arrives whole."""
    answer = client.post(CHAT, json={"max_tokens": 131_072}).json()
    assert answer["choices"][0]["message"]["content"].endswith(" tok131071")


def test_embeddings_are_the_same_for_the_same_input(client: httpx.Client) -> None:
    """Vectors are small, deterministic, one for each entry."""
    answer = client.post("/v1/embeddings", json={"input": ["a", "b", "a"]}).json()
    a, b, again = (entry["embedding"] for entry in answer["data"])
    assert len(a) == 8
    assert a == again != b
    [alone] = client.post("/v1/embeddings", json={"input": "a"}).json()["data"]
    assert alone["embedding"] == a
    [tokens] = client.post("/v1/embeddings", json={"input": [1, 2, 3]}).json()["data"]
    assert len(tokens["embedding"]) == 8


def test_embeddings_in_base64_are_the_same_numbers(client: httpx.Client) -> None:
    """base64, which SDKs ask for, holds the same vector as 32-bit floats."""
    [plain] = client.post("/v1/embeddings", json={"input": "a"}).json()["data"]
    body = {"input": "a", "encoding_format": "base64"}
    [packed] = client.post("/v1/embeddings", json=body).json()["data"]
    numbers = struct.unpack("<8f", base64.b64decode(packed["embedding"]))
    assert list(numbers) == plain["embedding"]


def test_too_many_inputs_are_refused(client: httpx.Client) -> None:
    """One request cannot keep the node busy for long with embeddings."""
    response = client.post("/v1/embeddings", json={"input": ["a"] * 2049})
    assert response.status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", b"", 404),
        ("GET", CHAT, b"", 405),
        ("POST", "/health", b"{}", 405),
        ("POST", CHAT, b"{", 400),
        ("POST", CHAT, b"\xff\xfe", 400),
        ("POST", CHAT, b"[]", 400),
        ("POST", CHAT, b"[" * 100_000, 400),
        ("POST", CHAT, b'{"max_tokens": ' + b"9" * 5000 + b"}", 400),
    ],
)
def test_what_is_wrong_is_an_error_object(
    client: httpx.Client, method: str, path: str, body: bytes, status: int
) -> None:
    """A bad request is an OpenAI-style error with the node's name, and the node lives on."""
    response = client.request(method, path, content=body)
    assert response.status_code == status
    assert response.json()["error"]["code"] == status
    assert response.headers["x-fake-node"] == "n1"
    assert client.get("/health").is_success


def test_the_api_key_is_wanted_under_v1_only() -> None:
    """With api_key, /v1/* answers 401 without the right key; /health does not ask."""
    with FakeNode(prefill=0, token_time=0, api_key="k") as node, httpx.Client() as client:
        assert client.get(node.url + "/health").status_code == 200
        for key, status in ((None, 401), ("Bearer x", 401), ("k", 401), ("Bearer k", 200)):
            headers = {"authorization": key} if key else {}
            response = client.post(node.url + CHAT, json={}, headers=headers)
            assert response.status_code == status


def test_a_query_does_not_hide_the_route(client: httpx.Client, node: FakeNode) -> None:
    """The query is recorded and plays no part in the routing."""
    assert client.get("/health?a=1").is_success
    assert node.requests[-1].path == "/health?a=1"


def test_a_model_name_that_needs_quoting_stays_itself() -> None:
    """Quotes and backslashes in a model's name come out as they went in, in a stream too."""
    model = 'a"b\\c'
    with FakeNode(prefill=0, token_time=0, tokens=1, model=model, name="n") as node:
        response = httpx.post(node.url + CHAT, json={"stream": True, "model": "\x00"})
    assert events(response)[1]["choices"][0]["delta"]["content"] == f"{model} on n: tok0"
