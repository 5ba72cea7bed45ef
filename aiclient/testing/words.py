"""What a fake model says, how much of it, and the vectors it makes: the same in every dialect."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from .answers import Refusal, encode_json
from .settings import Settings

MAX_TOKENS = 131_072
MAX_INPUTS = 2048
# Stands for the word in the shape of an event; no text a node sends holds it.
MARK = "\x00"
_numbers = itertools.count(1)


def next_number() -> int:
    """A number no other answer of this process has."""
    return next(_numbers)


def text(tokens: int, settings: Settings) -> str:
    """A whole answer: the model's name, the node's name, and `tokens` words."""
    return " ".join([_first(settings), *[f"tok{number}" for number in range(1, tokens)]])


def deltas(shape: bytes, tokens: int, settings: Settings) -> Iterator[bytes]:
    """The same answer word by word, each in place of `MARK` in an encoded event."""
    # Encoding each event on its own would be most of what a stream costs.
    before, after = shape.rsplit(encode_json(MARK)[1:-1].encode(), 1)
    yield b"%b%b%b" % (before, encode_json(_first(settings))[1:-1].encode(), after)
    for number in range(1, tokens):
        yield b"%b tok%d%b" % (before, number, after)


def _first(settings: Settings) -> str:
    return f"{settings.model} on {settings.name}: tok0"


def tokens_wanted(body: object, settings: Settings, *names: str) -> int:
    """The first of the fields `names` that says how many tokens, or the node's own number.

    Raises Refusal for one that makes no sense.
    """
    for name in names:
        count = body.get(name) if isinstance(body, Mapping) else None
        if count is None:
            continue
        if not isinstance(count, int) or not 1 <= count <= MAX_TOKENS:
            raise Refusal(400, f"{name} must be a whole number from 1 to {MAX_TOKENS}")
        return count
    return settings.tokens


def prompt_tokens(prompt: object) -> int:
    """About how many tokens a prompt has."""
    return max(1, len(str(prompt)) // 4)


def listed(given: Any, name: str) -> list[Any]:
    """The inputs of an embedding call, one or many, as a list. Raises Refusal for too many."""
    is_list = isinstance(given, list) and bool(given) and not isinstance(given[0], int)
    inputs = given if is_list else [given]
    if len(inputs) > MAX_INPUTS:
        raise Refusal(400, f"{name} may have at most {MAX_INPUTS} entries")
    return inputs


def vector(entry: object) -> list[float]:
    """Eight numbers, the same for the same input."""
    digest = hashlib.blake2b(encode_json(entry).encode(), digest_size=8).digest()
    return [byte / 128 - 1 for byte in digest]
