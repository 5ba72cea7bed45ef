"""Every setting refuses what makes no sense, in words that help."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from aiclient.core.balancer import BalancerCore
from aiclient.errors import ConfigurationError
from aiclient.settings import (
    NO_OPTIONS,
    BreakerPolicy,
    CallOptions,
    Deadlines,
    OutlierPolicy,
    RetryPolicy,
)

NAN, INF = float("nan"), float("inf")
NO_NUMBER = ["1", True, NAN, INF, -INF, [1], 1j]
SECONDS = [0, -1, -0.5, None, *NO_NUMBER]
FROM_0 = [-1, -0.5, None, *NO_NUMBER]
OR_NONE = [0, -1, *NO_NUMBER]
SHARE = [-0.1, 1.1, 5, None, *NO_NUMBER]
FLAG = [0, 1, "yes", None]
WHOLE_1 = [0, -1, 1.5, None, *NO_NUMBER]
WHOLE_0 = [-1, 1.5, None, *NO_NUMBER]

BAD: dict[type, dict[str, list[Any]]] = {
    RetryPolicy: {
        "attempts": [*WHOLE_1, 101],
        "budget": SHARE,
        "reserve": WHOLE_0,
        "backoff": SECONDS,
        "max_backoff": [*SECONDS, 0.01],
        "max_wait": FROM_0,
        "hold_body": WHOLE_0,
        "idempotent": [True, "yes", 5],
    },
    BreakerPolicy: {
        "consecutive": WHOLE_1,
        "consecutive_connect": WHOLE_1,
        "success_rate": SHARE,
        "min_samples": WHOLE_1,
        "window": SECONDS,
        "open_for": SECONDS,
        "max_open": SECONDS,
        "max_open_connect": SECONDS,
        "cool_for": SECONDS,
        "max_cool": SECONDS,
        "stall_after": OR_NONE,
        "slow_start": FROM_0,
    },
    OutlierPolicy: {
        "max_ejected": SHARE,
        "success_rate_gap": SHARE,
        "fail_fast": FLAG,
        "no_node": ["", "Raise", None, 5, True, []],
    },
    Deadlines: {
        "first_byte": OR_NONE,
        "idle": OR_NONE,
        "total": OR_NONE,
        "header": ["", "a b", "ä", "a:", 5, b"a"],
    },
    CallOptions: {
        "idempotent": [1, "yes"],
        "key": [5, b"k"],
        "deadline": OR_NONE,
        "retry": [3, "yes", BreakerPolicy()],
        "pin": [5, b"node"],
    },
}


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        pytest.param(kind, field, value, id=f"{kind.__name__}.{field}={value!r}")
        for kind, fields in BAD.items()
        for field, values in fields.items()
        for value in values
    ],
)
def test_a_bad_value_is_refused(kind: type, field: str, value: object) -> None:
    """The message names class and field, the value, and what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        kind(**{field: value})
    text = str(caught.value)
    assert text.startswith(f"{kind.__name__}.{field}: ")
    allowed = text.partition(" is not allowed; ")[2]
    assert len(allowed) > 3
    if field != "key":  # a key may be a user's name
        assert repr(value) in text


@pytest.mark.parametrize("kind", BAD)
def test_every_field_is_tried(kind: type) -> None:
    """The table above forgets none; the defaults are allowed."""
    assert set(BAD[kind]) == {field.name for field in attrs.fields(kind)}
    kind()


@pytest.mark.parametrize("kind", BAD)
def test_an_unknown_name_is_refused(kind: type) -> None:
    """With those that exist; and so are positions."""
    with pytest.raises(ConfigurationError, match=rf"{kind.__name__}\.retries does not exist; .*"):
        kind(retries=3)
    with pytest.raises(ConfigurationError, match="keywords only"):
        kind(3)


@pytest.mark.parametrize("kind", BAD)
def test_they_are_frozen_values(kind: type) -> None:
    """Equal, hashable, unchangeable, with a repr; `attrs.evolve` checks as well."""
    one, other = kind(), kind()
    assert one == other
    assert hash(one) == hash(other)
    assert repr(one).startswith(f"{kind.__name__}(")
    field, values = next(iter(BAD[kind].items()))
    with pytest.raises(AttributeError):
        setattr(one, field, values[0])
    with pytest.raises(ConfigurationError):
        attrs.evolve(one, **{field: values[0]})


def test_good_values_are_taken() -> None:
    """At the edges."""
    RetryPolicy(attempts=1, budget=0, reserve=0, max_wait=0, hold_body=0, idempotent=lambda f: None)
    RetryPolicy(attempts=100, budget=1.0, backoff=1, max_backoff=1)
    BreakerPolicy(success_rate=0, slow_start=0, stall_after=None, consecutive=1)
    OutlierPolicy(max_ejected=1, success_rate_gap=0, fail_fast=True, no_node="answer")
    Deadlines(first_byte=0.001, idle=1, total=10**6, header="X-Deadline-Ms")
    CallOptions(idempotent=False, key="", deadline=0.5, retry=RetryPolicy(), pin="a")


def test_a_key_is_not_shown() -> None:
    """It may be somebody's name."""
    assert "user-42" not in repr(CallOptions(key="user-42"))


def test_options_over_options() -> None:
    """What is set wins, what is not is left; False counts as set."""
    inner = CallOptions(idempotent=False, deadline=5.0)
    outer = CallOptions(idempotent=True, key="k", pin="a", deadline=9.0, retry=RetryPolicy())
    merged = inner.over(outer)
    assert merged == CallOptions(
        idempotent=False, key="k", pin="a", deadline=5.0, retry=RetryPolicy()
    )
    assert inner.over(NO_OPTIONS) is inner
    assert NO_OPTIONS.over(outer) == outer


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("retry", 3),
        ("retry", True),
        ("breaker", RetryPolicy()),
        ("outlier", 0.5),
        ("deadlines", 20.0),
        ("clock", 5),
        ("rng", 42),
        ("picker", "LeastLoad"),
    ],
)
def test_a_balancer_refuses_wrong_policies(name: str, value: object) -> None:
    """By name."""
    with pytest.raises(ConfigurationError, match=f"^{name}: .* is not allowed; "):
        BalancerCore(["http://a:1"], **{name: value})  # type: ignore[arg-type]
