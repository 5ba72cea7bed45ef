"""The page as an application to be mounted, in either of Python's two ways."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, MutableMapping
from typing import Any

from .answers import answer
from .picture import Balancers, checked

__all__ = ["ASGIApp", "WSGIApp", "asgi_app", "wsgi_app"]

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
ASGIApp = Callable[[_Message, _Receive, _Send], Coroutine[Any, Any, None]]
WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def asgi_app(balancer: Balancers) -> ASGIApp:
    """The status page for FastAPI, Starlette and every other ASGI framework or server.

    Args:
        balancer: a `Balancer`, such as `client.balancer`; or several, as a mapping from names.

    Raises:
        ConfigurationError: it is neither.
    """
    balancers = checked(balancer)

    async def app(scope: _Message, receive: _Receive, send: _Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "http":
            accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
            query = bytes(scope.get("query_string", b""))
            found = answer(
                balancers,
                scope["method"],
                _below(scope),
                query.decode("latin-1"),
                accept.decode("latin-1"),
            )
            headers = [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in found.headers]
            await send({"type": "http.response.start", "status": found.code, "headers": headers})
            await send({"type": "http.response.body", "body": found.body})

    return app


def _below(scope: _Message) -> str:
    """The path below the mount. `root_path` begins it or is left out of it: both are in use."""
    path: str = scope["path"]
    root = str(scope.get("root_path", "")).rstrip("/")
    return path[len(root) :] if root and f"{path}/".startswith(f"{root}/") else path


async def _live(receive: _Receive, send: _Send) -> None:
    """For servers that have nothing but this application: there is nothing to start or stop."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


def wsgi_app(balancer: Balancers) -> WSGIApp:
    """The status page for Flask, Django and every other WSGI framework or server.

    Args:
        balancer: a `Balancer`, such as `client.balancer`; or several, as a mapping from names.

    Raises:
        ConfigurationError: it is neither.
    """
    balancers = checked(balancer)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        found = answer(
            balancers,
            environ["REQUEST_METHOD"],
            environ.get("PATH_INFO", ""),
            environ.get("QUERY_STRING", ""),
            environ.get("HTTP_ACCEPT", ""),
        )
        start_response(found.status, list(found.headers))
        return [found.body] if found.body else []

    return app
