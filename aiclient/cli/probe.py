"""Asks one node how it is: a health request, and one inference request for a single token."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

import httpx

import aiclient

from . import hints, load_signal
from .findings import Answer, Finding
from .names import addresses_of

_HEALTH, _MODELS, _TAGS, _METRICS = "/health", "/v1/models", "/api/tags", "/metrics"
_OPENAI_CHAT, _OLLAMA_CHAT = "/v1/chat/completions", "/api/chat"
# vLLM and Triton tell their load in an answer's headers when asked; lower case for Triton.
_ASK_FOR_LOAD = {"endpoint-load-metrics-format": "text"}
_QUESTION = [{"role": "user", "content": "Hi"}]
# Below 1: a connection that does not come is to be told from an answer that does not.
_CONNECT_SHARE = 0.8
_MOST_BODY = 1024 * 1024
_MISSING = (404, 405, 501)
_FORBIDDEN = (401, 403)


class Probe:
    """Asks `endpoint`, and no other node, with `headers`; each request may take `timeout` s."""

    def __init__(
        self, endpoint: aiclient.Endpoint, headers: Mapping[str, str], timeout: float
    ) -> None:
        self._endpoint = endpoint
        self._headers = dict(headers)
        self._has_key = bool(headers)
        self._timeout = timeout
        self._found = Finding(str(endpoint))

    async def run(self) -> Finding:
        """Ask. Whatever happens is a finding."""
        found = self._found
        hints.about_url(found, self._endpoint)
        try:
            addresses = await addresses_of(self._endpoint, self._timeout)
        except OSError as exc:
            found.health = Answer(_HEALTH, error="no name")
            found.hint(f"{self._endpoint.host} cannot be resolved: {str(exc) or 'no answer'}")
            return found
        hints.about_addresses(found, self._endpoint, addresses)
        try:
            client = self._client()
        except aiclient.ConfigurationError as exc:  # such as a certificate file that is not there
            found.health = Answer(_HEALTH, error="not asked")
            found.hint(str(exc))
            return found
        async with client:
            await self._ask(client)
        return found

    def _client(self) -> aiclient.AsyncClient:
        # One node, one try, nothing remembered: the node itself is to be seen.
        return aiclient.AsyncClient(
            [self._endpoint],
            retry=None,
            breaker=None,
            outlier=None,
            deadlines=aiclient.Deadlines(total=self._timeout),
            timeout=httpx.Timeout(self._timeout, connect=_CONNECT_SHARE * self._timeout),
            headers=self._headers,
        )

    async def _ask(self, client: aiclient.AsyncClient) -> None:
        found = self._found
        found.health, _ = await self._request(client, "GET", _HEALTH)
        if found.health.status is None:
            return
        if found.health.status == 400:
            await hints.about_https(found, self._endpoint, self._timeout)
        models, body = await self._request(client, "GET", _MODELS)
        found.models = _names(body, "data", "id")
        if found.health.status in _MISSING:
            found.health = models
        else:
            hints.about_status(found, found.health, with_key=self._has_key)
        chat: dict[str, object] = {"messages": _QUESTION, "max_tokens": 1}
        if found.models or models.status in _FORBIDDEN:
            await self._infer(client, _OPENAI_CHAT, chat)
        elif models.status is not None:
            await self._ask_ollama(client, models)

    async def _ask_ollama(self, client: aiclient.AsyncClient, models: Answer) -> None:
        """The node lists no models as OpenAI's API does: perhaps it is an older Ollama."""
        tags, body = await self._request(client, "GET", _TAGS)
        self._found.models = _names(body, "models", "name")
        if self._found.models:
            if self._found.health is models:
                self._found.health = tags
            chat = {"messages": _QUESTION, "stream": False, "options": {"num_predict": 1}}
            await self._infer(client, _OLLAMA_CHAT, chat)
        else:
            hints.about_no_models(self._found, models, with_key=self._has_key)

    async def _infer(
        self, client: aiclient.AsyncClient, path: str, chat: dict[str, object]
    ) -> None:
        found = self._found
        if found.models:
            chat = {"model": found.models[0], **chat}
        found.inference, _ = await self._request(client, "POST", path, chat)
        hints.about_status(found, found.inference, with_key=self._has_key)
        if found.inference.status is None:
            return
        metrics, body = await self._request(client, "GET", _METRICS)
        if metrics.ok:
            found.signals += load_signal.in_metrics(body)

    async def _request(
        self,
        client: aiclient.AsyncClient,
        method: str,
        path: str,
        chat: dict[str, object] | None = None,
    ) -> tuple[Answer, bytes]:
        """One request: how it was answered, and with what."""
        answer, body = Answer(path), b""
        begun = time.monotonic()
        headers = _ASK_FOR_LOAD if chat else None
        try:
            async with client.stream(method, path, json=chat, headers=headers) as response:
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > _MOST_BODY:
                        break
        except httpx.HTTPError as exc:
            await hints.about_silence(self._found, self._endpoint, answer, exc, self._timeout)
            return answer, b""
        answer.status, answer.seconds = response.status_code, time.monotonic() - begun
        self._found.reachable = True
        if chat:
            self._found.signals += load_signal.in_headers(response.headers)
        return answer, body


def _names(body: bytes, key: str, name: str) -> list[str]:
    """The models in a list of them: `{key: [{name: ...}, ...]}`; none if it is no such list."""
    try:
        listed = json.loads(body)[key]
        return [str(each[name]) for each in listed]
    except (ValueError, TypeError, KeyError, RecursionError):
        return []
