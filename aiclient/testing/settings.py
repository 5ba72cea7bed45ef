"""What can be chosen about a fake node, validated in one place."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TypedDict

_PREFIX = re.compile(r"(/[A-Za-z0-9_.~-]+)+")


class SpeedOptions(TypedDict, total=False):
    """What can be changed while a node runs; see `Settings` for the meaning."""

    slots: int
    prefill: float
    token_time: float
    tokens: int


class SettingOptions(SpeedOptions, total=False):
    """All that can be chosen when a node is made; see `Settings` for the meaning."""

    model: str
    queue: int | None
    name: str | None
    api_key: str | None
    keepalive: float
    prefix: str


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one fake node. Raises ValueError naming the field that is wrong.

    - `slots`: how many requests are served at once (>= 1); the rest wait in order.
    - `prefill`: seconds before the first token (>= 0).
    - `token_time`: seconds for each token (>= 0).
    - `tokens`: tokens in an answer when the request does not say `max_tokens` (>= 1).
    - `model`: the model's name.
    - `queue`: how many may wait for a slot (>= 0); one more is answered 503. None: no limit.
    - `name`: the node's name in answers and in `x-fake-node`. None: `node-PORT`.
    - `api_key`: when set, all but /health want it, as `Authorization: Bearer KEY`, `x-api-key`
      or `x-goog-api-key`, and answer 401 without it.
    - `keepalive`: seconds after which an idle connection is closed (> 0).
    - `prefix`: a path such as `/proxy/a` below which the node answers; its URL ends in it.
    """

    slots: int = 4
    prefill: float = 0.05
    token_time: float = 0.01
    tokens: int = 16
    model: str = "fake-model"
    queue: int | None = None
    name: str | None = None
    api_key: str | None = None
    keepalive: float = 5.0
    prefix: str = ""

    def __post_init__(self) -> None:
        _check_count("slots", self.slots, least=1)
        _check_count("tokens", self.tokens, least=1)
        if self.queue is not None:
            _check_count("queue", self.queue, least=0)
        check_seconds("prefill", self.prefill)
        check_seconds("token_time", self.token_time)
        check_seconds("keepalive", self.keepalive)
        if self.keepalive == 0:
            raise ValueError("keepalive must be > 0 seconds")
        for name, value in (("model", self.model), ("name", self.name), ("api_key", self.api_key)):
            _check_text(name, value)
        _check_prefix(self.prefix)

    def with_speed(self, changes: SpeedOptions) -> Settings:
        """These settings with other `slots`, `prefill`, `token_time` or `tokens`.

        Raises ValueError for any other name or a value out of range.
        """
        allowed = SpeedOptions.__annotations__
        for name in changes:
            if name not in allowed:
                raise ValueError(f"{name!r} cannot be changed; allowed: {', '.join(allowed)}")
        return replace(self, **changes)


def _check_count(name: str, value: object, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number >= {least}, not {value!r}")


def _check_text(name: str, value: object) -> None:
    # Some of them become headers.
    if value is None and name != "model":
        return
    if not isinstance(value, str) or not (value.isascii() and value.isprintable()):
        raise ValueError(f"{name} must be printable ASCII text, not {value!r}")


def _check_prefix(prefix: object) -> None:
    if prefix != "" and not (isinstance(prefix, str) and _PREFIX.fullmatch(prefix)):
        raise ValueError(f"prefix must be empty or a path such as '/proxy/a', not {prefix!r}")


def check_seconds(name: str, value: object) -> None:
    """Raise ValueError unless `value` is a finite number of seconds >= 0."""
    if not isinstance(value, int | float) or not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be a finite number of seconds >= 0, not {value!r}")
