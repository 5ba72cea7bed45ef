import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import httpx
import pytest

import aiclient
from aiclient.status import asgi_app, wsgi_app

CANARY = "c4n4ry-s3cret"
Ask = Callable[..., httpx.Response]


def through_asgi(balancer: Any) -> Ask:
    """Asks the ASGI application, mounted at `root`."""

    def ask(method: str, path: str, root: str = "", accept: str = "*/*") -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(asgi_app(balancer), root_path=root)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(
                    method, root + path, headers={b"Accept": accept.encode("latin-1")}
                )

        return asyncio.run(asked())

    return ask


def through_wsgi(balancer: Any) -> Ask:
    """Asks the WSGI application, mounted at `root`, below the standard library's validator."""

    def ask(method: str, path: str, root: str = "", accept: str = "*/*") -> httpx.Response:
        url = httpx.URL(path)
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": root,
            "PATH_INFO": url.path if path else "",
            "QUERY_STRING": url.query.decode(),
            "HTTP_ACCEPT": accept,
        }
        setup_testing_defaults(environ)
        got: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc: object = None) -> Any:
            got[:] = [status, headers]
            return lambda data: None

        body: Any = validator(wsgi_app(balancer))(environ, start_response)
        content = b"".join(body)
        body.close()
        return httpx.Response(int(got[0][:3]), headers=got[1], content=content)

    return ask


KINDS = pytest.mark.parametrize("through", [through_asgi, through_wsgi])


@KINDS
@pytest.mark.parametrize(("root", "path"), [("", "/"), ("/status", "/"), ("/a/b", "")])
def test_the_page_is_where_it_is_mounted(
    balancer: aiclient.Balancer, through: Callable[[Any], Ask], root: str, path: str
) -> None:
    """Wherever that is, with or without the slash at its end."""
    answer = through(balancer)("GET", path, root)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "<title>aiclient</title>" in answer.text
    assert answer.headers["content-length"] == str(len(answer.content))


@KINDS
@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/?format=json", "text/html"),
        ("/status.json", "text/html"),
        ("/", "application/json"),
        ("/", "application/json, text/html;q=0.9"),
        ("/", "text/*;q=0.3, application/*"),
        ("/", "application/json;q=0.5, */*;q=0.1"),
    ],
)
@pytest.mark.parametrize("root", ["", "/status"])
def test_the_json_is_at_the_same_path(
    balancer: aiclient.Balancer, through: Callable[[Any], Ask], root: str, path: str, accept: str
) -> None:
    """By the query, by a path below, or by what is accepted."""
    answer = through(balancer)("GET", path, root, accept)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["vary"] == "Accept"
    assert [node["name"] for node in answer.json()["balancers"][0]["nodes"]] == [
        "http://10.0.0.1:8000",
        "http://10.0.0.2:8000",
    ]


@KINDS
@pytest.mark.parametrize(
    "accept",
    [
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "*/*",
        "",
        "application/json;q=0",
        "application/json;q=x, text/html;q=0.1",
        "text/html;q=0.9, application/json;q=0.8",
        ",;q=,=;;\xff",
    ],
)
def test_everybody_else_gets_the_page(
    balancer: aiclient.Balancer, through: Callable[[Any], Ask], accept: str
) -> None:
    """Browsers, curl, and who says nonsense."""
    answer = through(balancer)("GET", "/", accept=accept)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


@KINDS
def test_it_only_answers(balancer: aiclient.Balancer, through: Callable[[Any], Ask]) -> None:
    """HEAD is GET without the body; nothing else is allowed; other paths are not there."""
    ask = through(balancer)
    whole, head = ask("GET", "/"), ask("HEAD", "/")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == whole.headers["content-length"]
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = ask(method, "/")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    for path in ("/x", "/status.json/", "/../etc/passwd", "/%3Cscript%3E"):
        answer = ask("GET", path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "text/plain"
        assert "script" not in answer.text
    assert ask("HEAD", "/x").content == b""


@KINDS
def test_the_page_may_run_its_own_script_and_nothing_else(
    balancer: aiclient.Balancer, through: Callable[[Any], Ask]
) -> None:
    """No asset from elsewhere, none inline but the two that are named by their hash."""
    answer = through(balancer)("GET", "/")
    policy = dict(
        (part.strip().split(" ", 1))
        for part in answer.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    for kind in ("script-src", "style-src"):
        assert re.fullmatch(r"'sha256-[A-Za-z0-9+/=]{44}'", policy[kind])
    urls = set(re.findall(r"""["'(](?:https?:)?//[^"')]*""", answer.text))
    assert urls == {'"http://www.w3.org/2000/svg'}  # a name, not an address
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", answer.text)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


@KINDS
def test_names_from_outside_are_data(through: Callable[[Any], Ask]) -> None:
    """A node's name is nowhere in the page, and in the JSON only as a string of ASCII."""
    name = "</script><script>alert('\N{SNOWMAN}')</script>"
    node = aiclient.Endpoint(
        "http://a:1", name=name, labels={name: name}, headers={"Authorization": CANARY}
    )
    ask = through({name: aiclient.Balancer([node])})
    page, data = ask("GET", "/"), ask("GET", "/status.json")
    assert "alert" not in page.text
    assert data.content.isascii()
    (found,) = data.json()["balancers"]
    assert (found["name"], found["nodes"][0]["labels"]) == (name, {name: name})
    assert CANARY not in page.text + data.text


@KINDS
def test_several_balancers_on_one_page(through: Callable[[Any], Ask]) -> None:
    """Each under its name, in their order."""
    balancers = {
        name: aiclient.Balancer([f"http://{name}:1"]) for name in ("chat", "embeddings", "a")
    }
    found = through(balancers)("GET", "/status.json").json()["balancers"]
    assert [(each["name"], each["nodes"][0]["url"]) for each in found] == [
        (name, f"http://{name}:1") for name in balancers
    ]


@pytest.mark.parametrize("make", [asgi_app, wsgi_app])
@pytest.mark.parametrize("wrong", [None, {}, "http://a:1", {"": None}, {"a": 1}, {1: None}, []])
def test_what_is_no_balancer_is_refused(make: Callable[[Any], Any], wrong: object) -> None:
    """When the application is made, not at its first request."""
    with pytest.raises(aiclient.ConfigurationError, match="balancer: "):
        make(wrong)


@pytest.mark.parametrize(
    ("path", "root", "status"),
    [
        ("/status/", "/status", 200),  # the path holds the root, as ASGI has it
        ("/status", "/status", 200),
        ("/", "/status", 200),  # it is left out, as older frameworks did
        ("/status/status.json", "/status/", 200),
        ("/status.json", "/status", 200),
        ("/statusx", "/status", 404),
        ("/status/status/", "/status", 404),
    ],
)
def test_both_meanings_of_root_path(
    balancer: aiclient.Balancer, path: str, root: str, status: int
) -> None:
    """Frameworks do not agree on whether the path begins with it."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "root_path": root, "headers": []}
    asyncio.run(asgi_app(balancer)(scope, _never, send))
    assert sent[0]["status"] == status


async def _never() -> Any:
    raise AssertionError("nothing is to be received")


def test_asgi_beside_http(balancer: aiclient.Balancer) -> None:
    """A server's start and stop are confirmed; a WebSocket is refused."""
    app = asgi_app(balancer)

    @asynccontextmanager
    async def played(*kinds: str) -> AsyncIterator[list[str]]:
        coming, sent = [{"type": kind} for kind in kinds], []

        async def receive() -> Any:
            return coming.pop(0)

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await app({"type": kinds[0].split(".")[0], "path": "/"}, receive, send)
        yield sent

    async def main() -> None:
        async with played("lifespan.startup", "lifespan.shutdown") as sent:
            assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        async with played("websocket.connect") as sent:
            assert sent == ["websocket.close"]

    asyncio.run(main())


def test_a_closed_balancer_is_shown_as_such(balancer: aiclient.Balancer) -> None:
    """The page outlives it."""
    balancer.close()
    found = json.loads(through_wsgi(balancer)("GET", "/status.json").content)
    assert found["balancers"][0]["closed"] is True
