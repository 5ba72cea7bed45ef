"""What a user could do about what was found."""

from __future__ import annotations

import httpx

import aiclient

from .findings import Answer, Finding
from .protocols import speaks_plain_http, speaks_tls

_MOST_ADDRESSES = 4


def about_url(found: Finding, endpoint: aiclient.Endpoint) -> None:
    """The mistake everybody makes once."""
    if endpoint.path.endswith("/v1"):
        right = found.node.removesuffix("/v1")
        found.hint(
            f"/v1 is given twice: the SDK's base_url ends in it too, so the node is asked for "
            f"/v1/v1/...; the node's URL is {right}"
        )


def about_addresses(found: Finding, endpoint: aiclient.Endpoint, addresses: list[str]) -> None:
    """One name, several nodes."""
    if len(addresses) < 2:
        return
    some = ", ".join(addresses[:_MOST_ADDRESSES])
    more = ", ..." if len(addresses) > _MOST_ADDRESSES else ""
    name = f", with Endpoint(url, tls_name={endpoint.host!r})" if endpoint.scheme == "https" else ""
    found.hint(
        f"{endpoint.host} has {len(addresses)} addresses ({some}{more}), and only one was asked: "
        f"each is a node of its own; give them one by one{name}"
    )


def about_status(found: Finding, answer: Answer, *, with_key: bool) -> None:
    """What a status other than success says."""
    status, path = answer.status, answer.path
    if status in (401, 403):
        if with_key:
            found.hint(f"{path} answers {status}: the key or header given is not accepted")
        else:
            found.hint(
                f"{path} answers {status}: a key is missing: "
                "--header NAME:VALUE, or AICLIENT_API_KEY in the environment"
            )
    elif status in (429, 503, 529):
        found.hint(f"{path} answers {status}: the node lives and is full, or still loading")
    elif status is not None and 300 <= status < 400:
        found.hint(f"{path} is redirected ({status}): give the URL it leads to")
    elif status is not None and status >= 400:
        found.hint(f"{path} answers {status}")


def about_no_models(found: Finding, models: Answer, *, with_key: bool) -> None:
    """No model was found that could be asked."""
    if models.ok:
        found.hint("no model is loaded: /v1/models lists none")
    elif models.status in (404, 405):
        found.hint(
            f"no OpenAI API here (/v1/models answers {models.status}), and no Ollama: "
            "is this the right port, or is a path missing?"
        )
    elif found.health is models or found.health is None or models.status != found.health.status:
        about_status(found, models, with_key=with_key)


async def about_silence(
    found: Finding, endpoint: aiclient.Endpoint, answer: Answer, exc: Exception, timeout: float
) -> None:
    """A request without an answer: sets `answer.error` in a few words, and says what to do."""
    text = str(exc)
    answer.error = _in_short(exc, text)
    found.reachable = not isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout)
    if isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout):
        await _about_connecting(found, endpoint, exc, timeout)
    elif isinstance(exc, httpx.TimeoutException):
        found.hint(
            f"{answer.path}: connected, and no answer within {timeout:g} s: it hangs or is "
            "overloaded (--timeout gives it longer)"
        )
    elif not await about_https(found, endpoint, timeout):
        found.hint(f"{answer.path}: {answer.error}: another kind of server, or it is crashing")


def _in_short(exc: Exception, text: str) -> str:
    if "no valid certificate" in text:
        return "bad cert"
    if isinstance(exc, httpx.ConnectError):
        return "refused" if "refused" in text else "no connect"
    if isinstance(exc, httpx.TimeoutException):
        return "timeout"
    broken = isinstance(exc, httpx.NetworkError) or "disconnected" in text or "closed" in text
    return "broken off" if broken else "not HTTP"


async def _about_connecting(
    found: Finding, endpoint: aiclient.Endpoint, exc: Exception, timeout: float
) -> None:
    text = str(exc)
    where = f"port {endpoint.port} of {endpoint.host}"
    if "refused" in text:
        found.hint(f"nothing listens on {where}: is the server running, and is that its port?")
    elif "no valid certificate" in text:
        _about_certificate(found, endpoint, text)
    elif endpoint.scheme == "https" and await speaks_plain_http(endpoint, timeout):
        found.hint(f"http, not https, is spoken on {where}: http://{endpoint.netloc}")
    elif isinstance(exc, httpx.ConnectTimeout):
        found.hint(f"nothing answers on {where}: a wrong address, or a firewall")
    else:
        found.hint(f"no connection to {where}: {text}")


def _about_certificate(found: Finding, endpoint: aiclient.Endpoint, text: str) -> None:
    if "mismatch" in text:
        found.hint(
            f"its certificate is for another name than {endpoint.host}: use the name it was made "
            "for, or Endpoint(url, tls_name=...)"
        )
    elif "expired" in text:
        found.hint("its certificate has expired")
    else:
        found.hint(
            "its certificate is signed by nobody this machine trusts: SSL_CERT_FILE=ca.pem in the "
            "environment, or verify= for the client"
        )


async def about_https(found: Finding, endpoint: aiclient.Endpoint, timeout: float) -> bool:
    """Whether the port is one for https although http was given."""
    if endpoint.scheme != "http" or not await speaks_tls(endpoint, timeout):
        return False
    found.hint(
        f"https, not http, is spoken on port {endpoint.port}: "
        f"https://{endpoint.host}:{endpoint.port}{endpoint.path}"
    )
    return True
