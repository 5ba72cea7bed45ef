"""How the sources check what they are given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import ConfigurationError

__all__ = ["not_allowed", "number", "one_of", "seconds"]


def not_allowed(source: object, field: str, value: object, allowed: str) -> ConfigurationError:
    """The error for a value that is not allowed."""
    return ConfigurationError(
        f"{type(source).__name__}.{field}: {value!r} is not allowed; {allowed}"
    )


def seconds(source: object, field: str, value: Any, *, zero: bool = False) -> float:
    """`value`, a finite number of seconds > 0, or also 0.

    Raises:
        ConfigurationError: it is something else.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value < math.inf or (value == 0 and not zero):
        raise not_allowed(source, field, value, f"seconds {'>=' if zero else '>'} 0")
    return float(value)


def number(source: object, field: str, value: Any) -> int:
    """`value`, a whole number >= 1.

    Raises:
        ConfigurationError: it is something else.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise not_allowed(source, field, value, "a whole number >= 1")
    return value


def one_of(source: object, field: str, value: Any, allowed: Sequence[str]) -> Any:
    """`value`, one of those.

    Raises:
        ConfigurationError: it is something else.
    """
    if not isinstance(value, str) or value not in allowed:
        raise not_allowed(source, field, value, " or ".join(map(repr, allowed)))
    return value
