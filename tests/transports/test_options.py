"""Options for one call: as an extension, as a header, or around it; and what is not allowed."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

import pytest

import aiclient
from aiclient import CallOptions, ConfigurationError, RetryPolicy
from aiclient.testing import FakeNode

from .helpers import MODELS, Caller, nodes_of, tried

Calls = Callable[..., Caller]
Fakes = Callable[..., FakeNode]
pytestmark = pytest.mark.anyio


async def test_three_ways_to_say_it(calls: Calls, fakes: Fakes) -> None:
    """An extension, a header and a block around the call all reach the balancer."""
    caller = calls(nodes_of(fakes(), fakes()))
    by_extension = await caller.get(extensions={"aiclient": CallOptions(pin="b")})
    by_header = await caller.get(headers={"X-Aiclient-Pin": "b"})
    with aiclient.options(pin="b"):
        by_block = await caller.get()
    assert [tried(r) for r in (by_extension, by_header, by_block)] == [["b"]] * 3
    assert tried(await caller.get()) == ["a"]


async def test_the_nearest_one_wins(calls: Calls, fakes: Fakes) -> None:
    """The extension over the header over the inner block over the outer one."""
    caller = calls(nodes_of(*[fakes() for _ in range(4)]))
    extension = {"aiclient": CallOptions(pin="d")}
    header = {"x-aiclient-pin": "c"}
    with aiclient.options(pin="a"):
        with aiclient.options(pin="b"):
            assert tried(await caller.get(extensions=extension, headers=header)) == ["d"]
            assert tried(await caller.get(headers=header)) == ["c"]
            assert tried(await caller.get()) == ["b"]
        assert tried(await caller.get()) == ["a"]


async def test_what_one_leaves_open_the_next_one_says(calls: Calls, fakes: Fakes) -> None:
    """They are merged option by option."""
    a, b = fakes(), fakes()
    a.fault("500")
    caller = calls(nodes_of(a, b))
    with aiclient.options(idempotent=True):
        response = await caller.request(
            "POST",
            "/v1/files",
            headers={"x-aiclient-deadline": "30"},
            extensions={"aiclient": CallOptions(retry=RetryPolicy(attempts=2))},
        )
    assert tried(response) == ["a", "b"]


async def test_a_block_that_ends_by_an_exception(calls: Calls, fakes: Fakes) -> None:
    """Leaves nothing behind."""
    caller = calls(nodes_of(fakes(), fakes()))
    with pytest.raises(KeyError), aiclient.options(pin="b"):
        raise KeyError
    assert tried(await caller.get()) == ["a"]


def test_a_block_holds_for_its_own_context() -> None:
    """Other threads and tasks have contexts of their own."""
    seen = []
    context = contextvars.copy_context()
    with aiclient.options(key="k"):
        seen.append(contextvars.copy_context().run(aiclient.context.current_options).key)
        seen.append(context.run(aiclient.context.current_options).key)
    assert seen == ["k", None]


@pytest.mark.parametrize(
    ("word", "nodes"), [("true", ["a", "b"]), ("1", ["a", "b"]), ("False", ["a"]), ("0", ["a"])]
)
async def test_the_callers_word_on_idempotence(
    calls: Calls, fakes: Fakes, word: str, nodes: list[str]
) -> None:
    """It overrules the table of routes, in both directions."""
    a, b = fakes(), fakes()
    a.fault("500", times=1)
    caller = calls(nodes_of(a, b))
    response = await caller.post(headers={"x-aiclient-idempotent": word})
    assert tried(response) == nodes


async def test_a_key_chooses_the_node(calls: Calls, fakes: Fakes) -> None:
    """The same key goes to the same node, whichever way it is given."""
    nodes = nodes_of(*[fakes() for _ in range(4)])
    caller = calls(nodes, picker=aiclient.ConsistentHash())
    for key in ("user-1", "user-2", "user-3"):
        homes = {
            *tried(await caller.get(headers={"x-aiclient-key": key})),
            *tried(await caller.get(extensions={"aiclient": CallOptions(key=key)})),
        }
        with aiclient.options(key=key):
            homes |= set(tried(await caller.get()))
        assert len(homes) == 1


async def test_pinned_calls_are_never_retried(calls: Calls, fakes: Fakes) -> None:
    """A pinned call sees its node as it is, even one that is out."""
    a, b = fakes(), fakes()
    b.fault("500")
    caller = calls(nodes_of(a, b))
    caller.balancer.eject("b", 60)
    for name in ("b", b.url, f"127.0.0.1:{b.port}"):
        response = await caller.post(extensions={"aiclient": CallOptions(pin=name)})
        assert (response.status_code, tried(response)) == (500, ["b"])


async def test_an_unknown_pin(calls: Calls, fakes: Fakes) -> None:
    """Is an error that names the nodes there are."""
    caller = calls(nodes_of(fakes()))
    with pytest.raises(ConfigurationError, match=r"'z' is not one of the nodes; there are: a"):
        await caller.get(extensions={"aiclient": CallOptions(pin="z")})


@pytest.mark.parametrize(
    ("header", "value", "message"),
    [
        ("idempotent", "perhaps", r"'perhaps' is not allowed"),
        ("deadline", "soon", r"x-aiclient-deadline: 'soon' is not allowed"),
        ("deadline", "nan", r"deadline"),
        ("deadline", "inf", r"deadline"),
        ("deadline", "-1", r"x-aiclient-deadline: '-1' is not allowed"),
        ("deadline", "0", r"deadline"),
        ("retries", "3", r"there are x-aiclient-key, -pin, -idempotent"),
        ("", "x", r"x-aiclient-: 'x' is not allowed"),
        ("deadline", b"\xff\xfe", r"deadline"),
    ],
)
async def test_bad_headers(
    calls: Calls, fakes: Fakes, header: str, value: Any, message: str
) -> None:
    """A header that makes no sense is the caller's mistake, said before anything is sent."""
    node = fakes()
    caller = calls(node.url)
    with pytest.raises(ConfigurationError, match=message):
        await caller.get(headers=[(f"x-aiclient-{header}".encode(), value)])
    assert node.requests.total == 0
    assert (await caller.get(MODELS)).status_code == 200


@pytest.mark.parametrize("extension", [{"pin": "a"}, "a", 3, True])
async def test_bad_extensions(calls: Calls, fakes: Fakes, extension: Any) -> None:
    """The extension is a `CallOptions` and nothing else."""
    with pytest.raises(ConfigurationError, match=r'extensions\["aiclient"\]: .*a CallOptions'):
        await calls(fakes().url).get(extensions={"aiclient": extension})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pinn": "a"}, r"CallOptions\.pinn does not exist; there are: idempotent, key"),
        ({"key": 42}, r"CallOptions\.key: .* a str, or None"),
        ({"idempotent": "yes"}, r"CallOptions\.idempotent: 'yes' is not allowed; a bool, or None"),
        ({"deadline": 0}, r"CallOptions\.deadline: 0 is not allowed; seconds > 0"),
        ({"deadline": True}, r"CallOptions\.deadline"),
        ({"retry": 3}, r"CallOptions\.retry: 3 is not allowed; a RetryPolicy, or None"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    """A wrong name or value is an error naming what is allowed."""
    with pytest.raises(ConfigurationError, match=message), aiclient.options(**options):
        pass
    with pytest.raises(ConfigurationError, match=message):
        CallOptions(**options)


def test_a_key_is_never_shown() -> None:
    """A key may be a user's name: neither the repr nor an error shows it."""
    assert "alice" not in repr(CallOptions(key="alice"))
    wrong: Any = b"alice"
    with pytest.raises(ConfigurationError) as caught:
        CallOptions(key=wrong)
    assert "alice" not in str(caught.value)


async def test_options_of_a_call_do_not_leak_into_the_next(calls: Calls, fakes: Fakes) -> None:
    """Nor does the request's own dict of extensions change for the caller."""
    caller = calls(nodes_of(fakes(), fakes()))
    extensions = {"aiclient": CallOptions(pin="b")}
    for _ in range(2):
        assert tried(await caller.get(extensions=extensions)) == ["b"]
    assert list(extensions) == ["aiclient"]
    assert tried(await caller.get()) == ["a"]
