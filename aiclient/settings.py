"""Every setting, frozen and validated: a bad value is a `ConfigurationError` that says what is."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, dataclass_transform

import attrs

from .errors import ConfigurationError

if TYPE_CHECKING:
    from .facts import RequestFacts

__all__ = [
    "BreakerPolicy",
    "CallOptions",
    "Concurrency",
    "Deadlines",
    "OutlierPolicy",
    "RetryPolicy",
]

_T = TypeVar("_T")
_Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(attrs.field,))
def _settings(cls: type[_T]) -> type[_T]:
    """`attrs.frozen`, keyword only, with unknown names reported as a `ConfigurationError`."""
    frozen = attrs.frozen(kw_only=True)(cls)
    names = [field.name for field in attrs.fields(frozen)]  # type: ignore[arg-type]
    build = frozen.__init__

    @functools.wraps(build)
    def __init__(self: Any, *args: Any, **values: Any) -> None:
        if args:
            raise ConfigurationError(f"{cls.__name__} takes keywords only: {', '.join(names)}")
        for name in values:
            if name not in names:
                raise ConfigurationError(
                    f"{cls.__name__}.{name} does not exist; there are: {', '.join(names)}"
                )
        build(self, **values)

    setattr(__init__, "__signature__", inspect.signature(build))  # noqa: B010 - mypy and pyright disagree
    frozen.__init__ = __init__  # type: ignore[method-assign]
    return frozen


def _refuse(instance: object, name: str, value: object, allowed: str) -> ConfigurationError:
    return ConfigurationError(
        f"{type(instance).__name__}.{name}: {value!r} is not allowed; {allowed}"
    )


def _number(
    low: float, high: float, what: str, *, open_low: bool = False, none: bool = False
) -> _Validator:
    bound = f"> {low:g}" if open_low else f">= {low:g}"
    allowed = f"{what} {bound}" + (f" and <= {high:g}" if high < math.inf else "")
    allowed += ", or None" if none else ""

    def check(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is None and none:
            return
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise _refuse(instance, attribute.name, value, allowed)
        # NaN fails every comparison, so it is refused here too.
        within = low <= value <= high and value < math.inf
        if not within or (open_low and value == low):
            raise _refuse(instance, attribute.name, value, allowed)

    return check


def _whole(low: int, high: int = 2**31) -> _Validator:
    def check(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _refuse(instance, attribute.name, value, f"a whole number >= {low}")

    return check


def _whole_or_none(low: int) -> _Validator:
    def check(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is None:
            return
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= 2**31:
            allowed = f"a whole number >= {low}, or None"
            raise _refuse(instance, attribute.name, value, allowed)

    return check


def _flag(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, bool):
        raise _refuse(instance, attribute.name, value, "True or False")


def _no_node(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value not in ("raise", "answer"):
        raise _refuse(instance, attribute.name, value, "'raise' or 'answer'")


_seconds = _number(0, math.inf, "seconds", open_low=True)
_seconds_or_none = _number(0, math.inf, "seconds", open_low=True, none=True)
_share = _number(0, 1, "a share")


@_settings
class RetryPolicy:
    """When a failed call is tried on another node. `retry=None` tries every call once.

    Args:
        attempts: Tries per call at most, the first included; >= 1. Default 3.
        budget: Retries allowed per successful call, 0 to 1. Default 0.2, as Finagle's.
        reserve: Retries always left in a quiet budget; the budget's capacity is this or the peak
            of calls in flight during the last minute, whichever is larger, so that the death of
            one node of two is survived. Default 20.
        backoff: Seconds of the shortest backoff. It doubles with each attempt, with full jitter,
            and is waited only when every node was tried. Default 0.05.
        max_backoff: Seconds of the longest backoff. Default 2.
        max_wait: Seconds a call without a deadline waits at most while all nodes cool under
            back-pressure; then it gets the node's own answer. Default 10.
        hold_body: Bytes up to which a JSON answer of an inference route is read before it is
            handed over, so that a node dying inside it is survived. 0 hands over at once.
            Default 1 MiB.
        idempotent: A function of the request's facts (method, path, headers) that returns True or
            False to decide whether a call may be sent twice, None to leave it to the table.
    """

    attempts: int = attrs.field(default=3, validator=_whole(1, 100))
    budget: float = attrs.field(default=0.2, validator=_share)
    reserve: int = attrs.field(default=20, validator=_whole(0))
    backoff: float = attrs.field(default=0.05, validator=_seconds)
    max_backoff: float = attrs.field(default=2.0, validator=_seconds)
    max_wait: float = attrs.field(default=10.0, validator=_number(0, math.inf, "seconds"))
    hold_body: int = attrs.field(default=1024 * 1024, validator=_whole(0))
    idempotent: Callable[[RequestFacts], bool | None] | None = attrs.field(default=None)

    def __attrs_post_init__(self) -> None:
        if self.idempotent is not None and not callable(self.idempotent):
            raise _refuse(self, "idempotent", self.idempotent, "a callable or None")
        if self.max_backoff < self.backoff:
            raise _refuse(self, "max_backoff", self.max_backoff, f"at least backoff={self.backoff}")


@_settings
class BreakerPolicy:
    """What takes one node out, and for how long. `breaker=None` never does.

    Args:
        consecutive: Faults in a row that open the breaker. Default 5.
        consecutive_connect: The same for failures to connect, where nothing was sent. Default 2.
        success_rate: Share of good outcomes within `window` below which it opens. Default 0.5.
        min_samples: Outcomes within `window` needed before the rate counts. Default 5: AI calls
            are few, so volumes such as 100 in 10 s would never be reached.
        window: Seconds of the exact sliding window. Default 60.
        open_for: Seconds it stays open the first time; doubles each time, jittered by 10%. While
            the node refuses connections at once, and calls are many, it is a fifth of the time it
            has been out instead, where that is more. Default 5.
        max_open: Longest seconds open. Default 300.
        max_open_connect: Longest seconds open for a node that cannot be connected to. Default 30.
        cool_for: Seconds a node answering 429, 503 or 529 rests; doubles while it has no
            success; a longer Retry-After counts. Default 0.5.
        max_cool: Longest seconds of rest. Default 60.
        stall_after: Seconds of silence, at the least, before a node is suspected of having
            stalled while its peers answer; None never suspects. Default 2.
        slow_start: Seconds over which a node that is new among proven ones, or comes back, is
            brought to its full share. Default 10; 0 gives it at once.
    """

    consecutive: int = attrs.field(default=5, validator=_whole(1))
    consecutive_connect: int = attrs.field(default=2, validator=_whole(1))
    success_rate: float = attrs.field(default=0.5, validator=_share)
    min_samples: int = attrs.field(default=5, validator=_whole(1))
    window: float = attrs.field(default=60.0, validator=_seconds)
    open_for: float = attrs.field(default=5.0, validator=_seconds)
    max_open: float = attrs.field(default=300.0, validator=_seconds)
    max_open_connect: float = attrs.field(default=30.0, validator=_seconds)
    cool_for: float = attrs.field(default=0.5, validator=_seconds)
    max_cool: float = attrs.field(default=60.0, validator=_seconds)
    stall_after: float | None = attrs.field(default=2.0, validator=_seconds_or_none)
    slow_start: float = attrs.field(default=10.0, validator=_number(0, math.inf, "seconds"))


@_settings
class OutlierPolicy:
    """How many nodes may be out at once, and the comparison with peers. None lifts the cap.

    Args:
        max_ejected: Share of the nodes that soft evidence (5xx, deadlines, success rate) may take
            out, 0 to 1; at least one node, never the last. Nodes that cannot even be connected
            to are not counted. Default 0.5. Beyond it: panic, all are tried by score.
        success_rate_gap: How far below its peers' a node's success rate must be to be taken out
            for it; keeps a fault of the whole service from ejecting its nodes. Default 0.2.
        fail_fast: Instead of panicking raise `NoNodeAvailable`. Default False.
        no_node: What an HTTP client does when no node may take a call: "raise" raises
            `NoNodeAvailable`; "answer" gives a 503 that says why and carries
            `x-should-retry: false`, for callers whose SDK would retry an exception. Default
            "raise".
    """

    max_ejected: float = attrs.field(default=0.5, validator=_share)
    success_rate_gap: float = attrs.field(default=0.2, validator=_share)
    fail_fast: bool = attrs.field(default=False, validator=_flag)
    no_node: Literal["raise", "answer"] = attrs.field(default="raise", validator=_no_node)


@_settings
class Deadlines:
    """Limits on a call's time, beside httpx's own `timeout=`; all in seconds, None: no limit.

    Args:
        first_byte: From the pick of a node to its first content byte. A node missing it is at
            fault, and an idempotent call goes to another one.
        idle: Between two pieces of an answer.
        total: For the whole call, all attempts and the answer included.
        header: Name of a request header that tells the node the milliseconds left of `total`.
    """

    first_byte: float | None = attrs.field(default=None, validator=_seconds_or_none)
    idle: float | None = attrs.field(default=None, validator=_seconds_or_none)
    total: float | None = attrs.field(default=None, validator=_seconds_or_none)
    header: str | None = attrs.field(default=None)

    def __attrs_post_init__(self) -> None:
        name = self.header
        if name is not None and not (
            isinstance(name, str) and name and name.replace("-", "").isalnum() and name.isascii()
        ):
            raise _refuse(self, "header", name, "a header's name, or None")


@_settings
class Concurrency:
    """How many calls a node gets at once; the others wait in the client, for whichever node has a
    place first. `concurrency=None` sends every call at once.

    Args:
        limit: Calls in flight at each node, at most, from this balancer. Default None: how many a
            node works on at once is learnt from when its answers come, and calls wait only where
            that lets them begin sooner, never longer than such a call usually takes.
        max_wait: Seconds a call waits for a place under a `limit`, before it ends as `Overloaded`.
            Default 30.
        queue: Calls that may wait under a `limit`; one more ends as `Overloaded` at once. Default
            None: any number.
    """

    limit: int | None = attrs.field(default=None, validator=_whole_or_none(1))
    max_wait: float = attrs.field(default=30.0, validator=_seconds)
    queue: int | None = attrs.field(default=None, validator=_whole_or_none(0))


@_settings
class CallOptions:
    """Options for one call; what is None is left to the balancer's settings.

    Args:
        idempotent: Whether the call may be sent twice.
        key: What `ConsistentHash` hashes: the same key goes to the same node.
        deadline: Seconds for the whole call; overrides `Deadlines.total`.
        retry: A `RetryPolicy` for this call; its `budget` and `reserve` do not count, there is one
            budget for all calls.
        pin: The one node to use, by name, URL or `host:port`, whatever its state: for debugging.
    """

    idempotent: bool | None = attrs.field(default=None)
    key: str | None = attrs.field(default=None, repr=False)
    deadline: float | None = attrs.field(default=None, validator=_seconds_or_none)
    retry: RetryPolicy | None = attrs.field(default=None)
    pin: str | None = attrs.field(default=None)

    def __attrs_post_init__(self) -> None:
        for name, kind in (
            ("idempotent", bool),
            ("key", str),
            ("retry", RetryPolicy),
            ("pin", str),
        ):
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                shown = "a value" if name == "key" else value
                raise _refuse(self, name, shown, f"a {kind.__name__}, or None")

    def over(self, base: CallOptions) -> CallOptions:
        """These options where they are set, `base`'s where they are not."""
        if base is NO_OPTIONS:
            return self
        return CallOptions(
            idempotent=base.idempotent if self.idempotent is None else self.idempotent,
            key=base.key if self.key is None else self.key,
            deadline=base.deadline if self.deadline is None else self.deadline,
            retry=base.retry if self.retry is None else self.retry,
            pin=base.pin if self.pin is None else self.pin,
        )


NO_OPTIONS = CallOptions()
