"""OpenTelemetry's metrics of generative AI, read off the answers as they pass. An opt-in: their
names are in development, the answers are searched, and the models' names become attributes.

The opt-in is OpenTelemetry's own: `OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental`.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from .labels import MODELS

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

    from ..core.call import Call

__all__ = ["GenAI", "Reading", "opted_in"]

_CHAT, _TEXT, _EMBED = "chat", "text_completion", "embeddings"
# By route: the operation, and whose interface it is, whoever serves it.
_OPERATIONS = {
    "chat/completions": (_CHAT, "openai"),
    "completions": (_TEXT, "openai"),
    "responses": (_CHAT, "openai"),
    "embeddings": (_EMBED, "openai"),
    "messages": (_CHAT, "anthropic"),
    "cohere/chat": (_CHAT, "cohere"),
    "ollama/chat": (_CHAT, "ollama"),
    "ollama/generate": (_TEXT, "ollama"),
    "ollama/embed": (_EMBED, "ollama"),
    "generateContent": ("generate_content", "gcp.gemini"),
    "streamGenerateContent": ("generate_content", "gcp.gemini"),
}
_MODEL = re.compile(rb'"model"\s*:\s*"([^"\\]{1,100})"')
# In the text of an answer the quotes would be escaped.
_INPUT = re.compile(
    rb'"(?:prompt_tokens|input_tokens|prompt_eval_count|promptTokenCount)"\s*:\s*(\d{1,12})'
)
_OUTPUT = re.compile(
    rb'"(?:completion_tokens|output_tokens|eval_count|candidatesTokenCount)"\s*:\s*(\d{1,12})'
)
_SIGNS = (b"oken", b"eval_count")
# Enough for a name and its number that come in two pieces.
_OVERLAP = 64

_FIRST_SECONDS = tuple(0.01 * 2**n for n in range(14))
_CHUNK_SECONDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKENS = tuple(4.0**n for n in range(14))


def opted_in() -> bool:
    """Whether the service wants them."""
    words = os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "").split(",")
    return "gen_ai_latest_experimental" in {word.strip() for word in words}


class GenAI:
    """The instruments."""

    def __init__(self, meter: Meter) -> None:
        self.first_chunks = meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            "s",
            "From the call to the first piece of its stream.",
            explicit_bucket_boundaries_advisory=_FIRST_SECONDS,
        )
        self.chunks = meter.create_histogram(
            "gen_ai.client.operation.time_per_output_chunk",
            "s",
            "From one piece of a stream to the next.",
            explicit_bucket_boundaries_advisory=_CHUNK_SECONDS,
        )
        self.tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Tokens of the question and of the answer, as the node counts them.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )

    def reading(self, call: Call, service: str) -> Reading | None:
        """Reads the answer of a call; None where it is no such operation."""
        operation = _OPERATIONS.get(call.kind[0])
        if operation is None or call.facts is None:
            return None
        attributes = {
            "aiclient.service": service,
            "gen_ai.operation.name": operation[0],
            "gen_ai.provider.name": operation[1],
        }
        model = _MODEL.search(call.facts.body or b"")
        if model is not None:
            attributes["gen_ai.request.model"] = MODELS(model[1].decode("utf-8", "replace"))
        return Reading(self, call, attributes)


class Reading:
    """Sees each piece of an answer, and keeps none."""

    __slots__ = ("_attributes", "_call", "_end", "_genai", "_input", "_last_at", "_output")

    def __init__(self, genai: GenAI, call: Call, attributes: dict[str, str]) -> None:
        self._genai = genai
        self._call = call
        self._attributes = attributes
        self._last_at: float | None = None
        self._end = b""
        self._input: int | None = None
        self._output: int | None = None

    def piece(self, piece: bytes) -> None:
        """The next piece of the answer; or all of it."""
        if self._call.kind[1]:
            now = self._call.balancer.clock()
            if self._last_at is None:
                self._genai.first_chunks.record(now - self._call.started, self._attributes)
            else:
                self._genai.chunks.record(now - self._last_at, self._attributes)
            self._last_at = now
        text = self._end + piece
        self._end = text[-_OVERLAP:]
        if any(sign in text for sign in _SIGNS):
            # Those that come last are the whole: some nodes count as they go.
            for found in _INPUT.finditer(text):
                self._input = int(found[1])
            for found in _OUTPUT.finditer(text):
                self._output = int(found[1])

    def done(self) -> None:
        """The call is over."""
        for kind, tokens in (("input", self._input), ("output", self._output)):
            if tokens is not None:
                self._genai.tokens.record(tokens, {**self._attributes, "gen_ai.token.type": kind})
